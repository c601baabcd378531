"""The contract: what a row must look like. It is published with the rows and travels in the bundle."""

from schemas.columns import Column, DatetimeColumn
from schemas.data import REGRESSION, Problem, Target
from schemas.document import Document
from schemas.spec import Spec

ROW, WEIGHT, SPLIT, KEY, SLICE = "_row", "_weight", "_split", "_key.", "_slice."
"""Columns of accepted rows beside the source's own: the number of the row in its source, from 0; the sample weight;
what decides the split; and, as prefixes, the columns of the key and those that only slices need, as text."""


class Contract(Document):
    """The columns of a raw row, their kinds and what is allowed in them."""

    problem: Problem
    """What kind of target is predicted."""
    columns: dict[str, Column]
    """The feature columns."""
    target: Target
    """The target."""
    key: tuple[str, ...] = ()
    """The columns that name a row."""
    weight: str | None = None
    """The column with the sample weight."""
    split: str | None = None
    """A column that only the split needs: a group, a time or the split's name."""
    split_time: bool = False
    """Whether the split's column is a time."""
    slices: tuple[str, ...] = ()
    """Columns that only slices need."""
    nulls: tuple[str, ...] = ("",)
    """Texts that mean a missing value."""
    model: str | None = None
    """A pandera model of the user's own, as module:name."""

    @classmethod
    def of(cls, spec: Spec) -> "Contract":
        """Return the contract that a spec makes."""
        split = getattr(spec.split, "column", None)
        taken = {*spec.columns, *spec.target.names, *spec.data.key, spec.data.weight, split}
        return cls(
            problem=spec.problem,
            columns=spec.columns,
            target=spec.target,
            key=spec.data.key,
            weight=spec.data.weight,
            split=split,
            split_time=spec.split.by == "time",
            slices=tuple(name for name in dict.fromkeys(_sliced(spec)) if name not in taken),
            nulls=spec.data.nulls,
            model=spec.data.model,
        )

    @property
    def labels_in_lists(self) -> bool:
        """Whether the target is one column with a list of labels a row."""
        return self.problem == "multilabel" and not self.target.columns

    def time_format(self, name: str) -> str | None:
        """Return in what format a column of times is written, where the spec says it; otherwise it is ISO 8601."""
        column = self.columns.get(name)
        return column.format if isinstance(column, DatetimeColumn) else None

    @property
    def target_is_number(self) -> bool:
        """Whether the target's columns hold numbers: measured ones, or 0 and 1."""
        return self.problem in REGRESSION or bool(self.target.columns)


def _sliced(spec: Spec) -> tuple[str, ...]:
    """Return the columns that the test rows are taken apart by, for the report or for promotion."""
    guarded = spec.promotion.slices.columns if spec.promotion.slices else ()
    return (*(spec.evaluation.slices or ()), *guarded)
