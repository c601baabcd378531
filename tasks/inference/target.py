"""What is predicted, and what kind of problem that is."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import BooleanColumn
from schemas.data import Problem
from schemas.errors import DataError
from tasks.coercion import to_booleans, to_label_lists, to_numbers
from tasks.inference.guesses import percent, shown
from tasks.inference.observed import Observed
from tasks.inference.sample import Sample

MOST_CLASSES = 20
"""More different integers than this are a number to predict, not classes."""

_MOST_LABELS = 1_000
_ROWS_A_CLASS = 3
_POSITIVE = frozenset({"1", "1.0", "true", "t", "yes", "y", "on", "ja", "oui", "si", "sí", "sim", "positive", "pos"})
_NEGATIVE = frozenset({"0", "0.0", "false", "f", "no", "n", "off", "nein", "non", "não", "negative", "neg"})
_NO_LABELS = frozenset({"", "?", "na", "n/a", "#n/a", "<na>", "nan", "null"})
_SEPARATORS = ("|", ";", ",")


@dataclass(frozen=True)
class TargetGuess:
    """The problem, and the target as the spec has it."""

    problem: Problem
    options: dict[str, Any]
    """The keys below `target`."""
    said: str
    """What was seen, in a few words."""
    notes: dict[str, str] = field(default_factory=dict)
    """What is to say of single keys."""
    nulls: tuple[str, ...] = ()
    """Texts in the target that look as if they meant a missing value."""


def guess_target(sample: Sample, names: list[str]) -> TargetGuess:
    """Return the problem that one or several target columns pose; raises DataError when they pose none."""
    return _several(sample, names) if len(names) > 1 else _single(sample, names[0])


def _several(sample: Sample, names: list[str]) -> TargetGuess:
    options = {"columns": names}
    flags = [flag for name in names if (flag := _flags(sample.columns[name])) is not None]
    if len(flags) == len(names):
        matrix = np.column_stack(flags)
        if len(names) > 2 and (matrix.sum(axis=1) == 1).all():
            return TargetGuess("multiclass", options, "exactly one of the columns is 1 in each row: one-hot classes")
        return TargetGuess(
            "multilabel", options, f"columns of 0 and 1; {matrix.sum(axis=1).mean():.1f} of them are 1 a row"
        )
    for name in names:
        seen = sample.observed(name)
        if _numbers(seen) is None:
            raise DataError(
                f"target {name!r} does not hold numbers in every row, such as {shown(seen.texts)}; several targets are "
                "all numbers, or all 0 and 1"
            )
    return TargetGuess("multioutput_regression", options, f"{len(names)} columns of numbers")


def _flags(values: pa.Array) -> np.ndarray[Any, np.dtype[np.bool_]] | None:
    """Return the column as truth values (missing is false), or None if it holds anything else than two such words."""
    if pa.types.is_nested(values.type) or pa.types.is_temporal(values.type):
        return None
    words = BooleanColumn()
    coerced = to_booleans(values, true=words.true, false=words.false, nulls=("",))
    if any(mask.any() for mask, _ in coerced.problems) or coerced.values.null_count == len(values):
        return None
    return coerced.values.fill_null(False).to_numpy(zero_copy_only=False)


def _numbers(seen: Observed) -> np.ndarray[Any, np.dtype[np.float64]] | None:
    """Return the different numbers of a column that holds nothing else, or None."""
    if pa.types.is_nested(seen.type) or pa.types.is_temporal(seen.type) or pa.types.is_boolean(seen.type):
        return None
    try:
        values = to_numbers(seen.known, name=seen.name, nulls=()).values
    except DataError:  # more digits than a number can hold
        return None
    there = seen.known_counts[values.is_valid().to_numpy(zero_copy_only=False)].sum()
    return np.unique(values.drop_null().to_numpy()) if there and there >= 0.95 * seen.known_counts.sum() else None


def _single(sample: Sample, name: str) -> TargetGuess:
    seen = sample.observed(name)
    if pa.types.is_nested(seen.type):
        return _label_lists(seen)
    if pa.types.is_temporal(seen.type):
        raise DataError(f"target {name!r} holds {seen.type}; predict a number or a label made from it")
    separator = _separator(seen)
    if separator is not None:
        return _labels_in_text(seen, separator)
    labels = _Labels.of(sample, seen)
    if len(labels.counts) < 2:
        only = shown(list(labels.counts)) or "missing values"
        raise DataError(f"target {name!r} has nothing but {only}: there is nothing to learn")
    numbers = _numbers(seen)
    if numbers is not None and len(numbers) > 2 and (labels.too_many_to_be_codes or (numbers % 1 != 0).any()):
        return TargetGuess("regression", {"column": name}, f"{numbers[0]:g} to {numbers[-1]:g}")
    return _classes(sample, labels, name)


@dataclass(frozen=True)
class _Labels:
    """The labels of a target and how many rows of the sample have each, the most frequent first."""

    counts: dict[str, int]
    nulls: tuple[str, ...]
    """What stands among them and looks as if it meant that there is none."""

    @classmethod
    def of(cls, sample: Sample, seen: Observed) -> "_Labels":
        counts = dict(zip(seen.texts.to_pylist(), seen.counts.tolist(), strict=True))
        later = sample.all_texts(seen.name, most=_MOST_LABELS) - set(counts)
        counts |= dict.fromkeys(sorted(later), 0)
        nulls = tuple(text for text in counts if seen.is_text and text.strip().lower() in _NO_LABELS)
        return cls({text: count for text, count in counts.items() if text not in nulls}, nulls)

    @property
    def rows(self) -> int:
        return sum(self.counts.values())

    @property
    def too_many_to_be_codes(self) -> bool:
        return len(self.counts) > MOST_CLASSES or self.rows < _ROWS_A_CLASS * len(self.counts)


def _classes(sample: Sample, labels: _Labels, name: str) -> TargetGuess:
    counts, different = labels.counts, len(labels.counts)
    if different > _MOST_LABELS or (different > MOST_CLASSES and 2 * different > labels.rows):
        raise DataError(
            f"target {name!r} has {different:,} different values in {sample.rows_said}, such as {shown(list(counts))}: "
            "neither numbers nor classes"
        )
    shares = [f"{label!r} {percent(count, labels.rows)}" for label, count in list(counts.items())[:5]]
    said = ", ".join(shares) + (f" and {different - 5} more" if different > 5 else "")
    if different == 2:
        options = {"column": name, "positive": _positive(list(counts))}
        return TargetGuess(
            "binary", options, said, {"positive": "the label whose probability is predicted"}, labels.nulls
        )
    kept = sorted(label for label, count in counts.items() if count >= _ROWS_A_CLASS)
    if not sample.whole or len(kept) < 2 or len(kept) == different:
        return TargetGuess("multiclass", {"column": name}, said, nulls=labels.nulls)
    rare = shown([label for label in counts if label not in kept])
    notes = {"classes": f"not {rare}: fewer rows than there are splits"}
    return TargetGuess("multiclass", {"column": name, "classes": kept}, said, notes, labels.nulls)


def _positive(labels: list[str]) -> str:
    """Return the label that says yes, else the rarer one. `labels` begins with the more frequent one."""
    for label in labels:
        other = next((other for other in labels if other != label), "")
        if label.strip().lower() in _POSITIVE or other.strip().lower() in _NEGATIVE:
            return label
    return labels[-1]


def _label_lists(seen: Observed) -> TargetGuess:
    inner = seen.type.value_type if not pa.types.is_struct(seen.type) else seen.type
    if not (pa.types.is_string(inner) or pa.types.is_large_string(inner) or pa.types.is_integer(inner)):
        raise DataError(
            f"target {seen.name!r} holds {seen.type}; a list is a list of labels, numbers need a column each"
        )
    return _multilabel(seen, pc.list_flatten(seen.values).cast(pa.string()), {"column": seen.name})


def _separator(seen: Observed) -> str | None:
    """Return what stands between labels, if texts are made of a few labels again and again."""
    if not seen.is_text or _numbers(seen) is not None:
        return None
    for separator in _SEPARATORS:
        labels = _split(seen.known, separator)
        joined, different = len(labels) > len(seen.known), len(labels.unique())
        few = different < len(labels) if separator == "|" else 2 * different <= len(labels)
        if joined and few and different < 2 * len(seen.known):
            return separator
    return None


def _split(texts: pa.Array, separator: str) -> pa.Array:
    return pc.list_flatten(to_label_lists(texts, separator=separator, nulls=()).values)


def _labels_in_text(seen: Observed, separator: str) -> TargetGuess:
    options = {"column": seen.name} | ({"separator": separator} if separator != "|" else {})
    return _multilabel(seen, _split(seen.known, separator), options)


def _multilabel(seen: Observed, labels: pa.Array, options: dict[str, Any]) -> TargetGuess:
    different = sorted(labels.unique().drop_null().to_pylist())
    if len(different) > _MOST_LABELS:
        raise DataError(f"target {seen.name!r} has {len(different):,} different labels, such as {shown(different)}")
    return TargetGuess("multilabel", options, f"lists of {len(different)} labels: {shown(different, most=5)}")
