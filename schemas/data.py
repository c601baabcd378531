"""The part of a spec about data: where rows come from, what is predicted, how rows are shared out."""

import os
import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, model_validator

from schemas.document import Document
from schemas.period import Moment

Problem = Literal["regression", "multioutput_regression", "binary", "multilabel", "multiclass"]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
Fraction = Annotated[float, Field(ge=0, lt=1)]

REGRESSION: frozenset[Problem] = frozenset({"regression", "multioutput_regression"})


_VARIABLE = re.compile(r"\$\{(\w+)\}")


def environment_names(text: str) -> list[str]:
    """Return the environment variables that a text names as ${NAME}."""
    return _VARIABLE.findall(text)


def expand_environment(text: str) -> str:
    """Replace ${NAME} by the environment variable NAME; raises ValueError when it is not set or nothing is left."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in os.environ:
            raise ValueError(f"environment variable {match[1]} is not set")
        return os.environ[match[1]]

    expanded = _VARIABLE.sub(value, text)
    if not expanded:
        raise ValueError("must not be empty")
    return expanded


def _expandable(text: str) -> str:
    expand_environment(text)
    return text


Expandable = Annotated[str, AfterValidator(_expandable)]
"""Text in which ${NAME} stands for an environment variable. It is checked here and replaced only where it is used, so
that a secret in the variable reaches no request, log, parameter or registry."""


class Source(Document):
    """Files with rows, and how they are read."""

    path: Expandable
    """A file, a folder, a glob or an fsspec URL; ${NAME} is replaced by that environment variable.
    A relative path counts from the spec's own folder. Of a folder or glob, names that begin with _ or . are left out,
    unless the glob says so itself, as _*.csv does."""
    format: Literal["csv", "parquet", "json", "arrow"] | None = None
    """How the files are written (json: one object a line); by default judged by the name's ending."""
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    """What stands between two CSV fields."""
    encoding: str = "utf-8"
    """Encoding of CSV and JSON files."""

    @property
    def location(self) -> str:
        """The path with environment variables in their places: to be opened, not to be shown."""
        return expand_environment(self.path)


class Data(Source):
    """Where the rows come from, and what is tolerated of them."""

    nulls: tuple[str, ...] = ("",)
    """Texts that mean a missing value. Nothing else does: NA or None can be real categories."""
    key: tuple[str, ...] = ()
    """Columns that name a row. A second row of the same key is rejected, and the key decides the row's split."""
    weight: str | None = None
    """Column with the sample weight: 0 or more. Training and evaluation weigh rows by it."""
    extra: Literal["ignore", "forbid"] = "ignore"
    """What happens to columns that the spec does not name: left out and reported, or refused."""
    minimum_rows: int = Field(default=10, ge=3)
    """Fewer accepted rows than this are refused."""
    maximum_rejected: Fraction = 0.01
    """The largest share of rejected rows that is allowed; above it the run is refused."""
    time: str | None = None
    """The rows' date or time, for since, until and retraining.window; by default the column of a split by time."""
    since: Moment | None = None
    """Rows from this date or time on are taken (inclusive); without a zone, UTC is meant."""
    until: Moment | None = None
    """Rows before this date or time are taken (exclusive): 2025-01-01 for all of 2024. For a backfill it is the day as
    of which the model would have been trained; its version replaces no champion as of a later day."""
    model: str | None = Field(default=None, pattern=r"^[\w.]+:\w+$")
    """A pandera DataFrameModel of your own, as module:name, checked on each batch beside the checks of this spec.
    The operator allows its module by EVERMODEL_ALLOW_MODULES."""


class Target(Document):
    """What is predicted."""

    column: str | None = None
    """The target's column: a number, a label, or (multilabel) a list of labels."""
    columns: tuple[str, ...] = ()
    """Several target columns: the outputs, the 0/1 labels, or the one-hot classes."""
    classes: tuple[str, ...] | None = None
    """The labels, in this order; another one rejects the row. By default those of the training split, sorted."""
    positive: str | None = None
    """Binary: the label whose probability is predicted; by default the second of the two in sorted order."""
    separator: str = "|"
    """Multilabel in one text column: what stands between two labels."""
    scale: Literal["standard", "none"] = "standard"
    """Regression: whether the network learns the target less its mean, over its deviation.
    Predictions always come back in the target's own units."""

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if (self.column is None) == (not self.columns):
            raise ValueError("give either column or columns")
        if len(set(self.columns)) < len(self.columns):
            raise ValueError("columns must be distinct")
        if self.classes is not None and len(set(self.classes)) < max(2, len(self.classes)):
            raise ValueError("classes must be two or more, and distinct")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The target's columns, one or several."""
        return self.columns or (self.column or "",)


class _Fractions(Document):
    validation: Fraction = 0.2
    """Share of rows that early stopping and tuning look at."""
    test: Fraction = 0.2
    """Share of rows that only evaluation looks at."""

    @model_validator(mode="after")
    def _leave_rows_to_train(self) -> Self:
        if self.validation <= 0 or self.test <= 0:
            raise ValueError("validation and test must be above 0, such as 0.2")
        if self.validation + self.test >= 1:
            raise ValueError(
                f"validation + test must be below 1, got {self.validation + self.test:g}; use fractions such as 0.2"
            )
        return self


class HashSplit(_Fractions):
    """Each row goes where a hash of its key (without a key: of its values) says, in this run and all later ones."""

    by: Literal["hash"] = "hash"
    seed: int = 0
    """Another seed gives another assignment."""


class GroupSplit(_Fractions):
    """All rows of a group go to the same split: for rows that are not independent, such as visits of one patient."""

    by: Literal["group"] = "group"
    column: str
    """The column that names the group."""
    seed: int = 0
    """Another seed gives another assignment."""


class TimeSplit(_Fractions):
    """The oldest rows train, later ones validate, the latest test: for a future that may differ from the past."""

    by: Literal["time"] = "time"
    column: str
    """The column with the date or time: ISO 8601, or in the format that its datetime column says."""


class ColumnSplit(Document):
    """A column says where each row goes."""

    by: Literal["column"] = "column"
    column: str
    """The column with the names of the splits. Another value in it stops the run."""
    train: tuple[str, ...] = ("train",)
    """Values that mean training."""
    validation: tuple[str, ...] = ("validation",)
    """Values that mean validation."""
    test: tuple[str, ...] = ("test",)
    """Values that mean test."""

    @model_validator(mode="after")
    def _apart(self) -> Self:
        values = (*self.train, *self.validation, *self.test)
        if twice := sorted({value for value in values if values.count(value) > 1}):
            raise ValueError(f"{twice[0]!r} means two splits; a value belongs to one")
        if not (self.train and self.validation and self.test):
            raise ValueError("train, validation and test want one value or more each")
        return self


def _by_hash(value: Any) -> Any:
    return {"by": "hash", **value} if isinstance(value, dict) else value


Split = Annotated[
    Annotated[HashSplit | GroupSplit | TimeSplit | ColumnSplit, Discriminator("by")], BeforeValidator(_by_hash)
]
