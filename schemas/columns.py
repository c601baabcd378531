"""The kinds of feature columns: what their values must be, and how a network gets to see them.

Each kind is one class with a `kind` tag. Its encoder, of the same kind, is in `tasks.encoders`.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Discriminator, Field, model_validator

from schemas import names
from schemas.document import Document

DatetimePart = Literal[
    "year",
    "quarter",
    "month",
    "day",
    "day_of_week",
    "day_of_year",
    "week_of_year",
    "time",
    "hour",
    "minute",
    "second",
    "day_part",
]


class _Column(Document):
    required: bool = False
    """Whether a missing value rejects the row. Otherwise the encoder has a place for missing values."""
    nulls: tuple[str, ...] | None = None
    """Texts that mean a missing value in this column; by default those of `data.nulls`."""


class NumericColumn(_Column):
    """A number. Missing values are replaced by the training median, and a column of 0/1 says where."""

    kind: Literal["numeric"] = "numeric"
    scale: Literal["standard", "robust", "quantile", "min_max", "log", "none"] = "standard"
    """standard: (x - mean) / deviation. robust: (x - median) / interquartile range. min_max: to 0...1.
    quantile: x's rank among the training values as a normal deviate, whatever their distribution.
    log: standard after sign(x) log(1 + |x|). none: as it is."""
    integer: bool = False
    """Whether a value with a fraction rejects the row."""
    minimum: float | None = Field(default=None, allow_inf_nan=False)
    """The smallest value allowed; a smaller one rejects the row."""
    maximum: float | None = Field(default=None, allow_inf_nan=False)
    """The largest value allowed; a larger one rejects the row."""
    impute: Literal["median", "mean", "zero"] = "median"
    """What stands in for a missing value; statistics are those of the training split."""

    @model_validator(mode="after")
    def _some_value_fits(self) -> Self:
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"minimum {self.minimum:g} is above maximum {self.maximum:g}: no value would fit")
        return self


class _Categorical(_Column):
    categories: tuple[str, ...] | None = None
    """The values allowed, in this order; another one rejects the row. By default those seen in training, sorted,
    and a value not seen there gets the bucket for unknown ones."""
    min_count: int = Field(default=1, ge=1)
    """A category with fewer training rows than this shares the bucket for rare and unknown ones."""
    max_categories: int = Field(default=1_000, ge=1)
    """How many categories are kept, the most frequent first; the others share the bucket for rare and unknown ones."""

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if self.categories is not None and len(set(self.categories)) < len(self.categories):
            raise ValueError("categories must be distinct")
        return self


class OrdinalColumn(_Categorical):
    """A category that has an order: one number, the position in `categories` (or in alphabetical order).

    Do not use it where there is no order: 0, 1, 2 for India, Japan, US tell the network that India < Japan < US.
    """

    kind: Literal["ordinal"] = "ordinal"
    scale: Literal["standard", "none"] = "none"
    """standard: the position less its mean, over its deviation. none: the position."""


class OneHotColumn(_Categorical):
    """A category without order and with few values: one 0/1 column per category."""

    kind: Literal["one_hot"] = "one_hot"


class EmbeddingColumn(_Categorical):
    """A category without order and with many values: an integer code, and a vector that the network learns per code."""

    kind: Literal["embedding"] = "embedding"
    max_categories: int = Field(default=50_000, ge=1)
    """How many categories are kept, the most frequent first; the others share the bucket for rare and unknown ones."""
    size: int | None = Field(default=None, ge=1)
    """Length of the learned vector; by default round(1.6 n^0.56), at most 64, for n categories."""


class HashingColumn(_Column):
    """A category with so many values, or ever new ones, that no list of them is kept: a learned vector by its hash.

    Values that share a vector cannot be told apart.
    """

    kind: Literal["hashing"] = "hashing"
    buckets: int = Field(default=4_096, ge=2)
    """How many learned vectors there are; with several times as many values, most of them share one."""
    size: int | None = Field(default=None, ge=1)
    """Length of the learned vector; by default round(1.6 n^0.56), at most 64, for n buckets."""


class TargetMeanColumn(_Categorical):
    """A category as the mean of the target where it stands: one number for each output of the network.

    The mean is less the overall one, in deviations of the target. A training row sees the means of other rows only
    (cross-fitting), so that its own target does not leak into its features.
    """

    kind: Literal["target_mean"] = "target_mean"
    max_categories: int = Field(default=10_000, ge=1)
    """How many categories are kept, the most frequent first; the others share the bucket for rare and unknown ones."""
    folds: int = Field(default=5, ge=2)
    """Into how many parts the training rows are cut: a row's mean is that of the other parts."""
    smooth: float = Field(default=10.0, ge=0, allow_inf_nan=False)
    """How many rows of the overall mean are mixed into each category's own."""


class MultiHotColumn(_Categorical):
    """Any number of categories a row: a list column, or text with a separator. One 0/1 column per category."""

    kind: Literal["multi_hot"] = "multi_hot"
    separator: str = Field(default="|", min_length=1)
    """In text: what stands between two categories."""


class TextColumn(_Column):
    """A text of a few words: its words and their sequences, hashed into a fixed number of columns that count them.

    Each row is scaled to length 1. Capitals and punctuation do not matter; a missing text is zeros.
    """

    kind: Literal["text"] = "text"
    buckets: int = Field(default=256, ge=2)
    """How many columns there are; words that share one cannot be told apart."""
    words: int = Field(default=2, ge=1)
    """The longest sequence of words that is counted beside the single ones: 2 tells "not good" from "good"."""


class DatetimeColumn(_Column):
    """A date or a time: the parts named, each a number. The column itself is dropped."""

    kind: Literal["datetime"] = "datetime"
    parts: tuple[DatetimePart, ...] = Field(default=("year", "month", "day", "day_of_week", "time"), min_length=1)
    """Parts to take. day_of_week: Monday is 0. week_of_year: ISO 8601. time: seconds of the day.
    day_part: night 0 (0 to 5 h), morning 1 (6 to 11 h), afternoon 2 (12 to 17 h), evening 3 (18 to 23 h)."""
    scale: Literal["standard", "none"] = "standard"
    """standard: each part less its mean, over its deviation. none: the plain number."""
    cyclical: bool = False
    """Whether a part that comes round (all but the year) becomes a sine and a cosine instead."""
    format: str | None = None
    """How text is read, as in Python's strptime, for example %d.%m.%Y; by default ISO 8601."""


class BooleanColumn(_Column):
    """Two values: 0 or 1. A missing value becomes 0, and a column of 0/1 says where."""

    kind: Literal["boolean"] = "boolean"
    true: tuple[str, ...] = ("true", "t", "yes", "y", "1")
    """Words that mean true, in any case."""
    false: tuple[str, ...] = ("false", "f", "no", "n", "0")
    """Words that mean false, in any case."""

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if both := {word.casefold() for word in self.true} & {word.casefold() for word in self.false}:
            raise ValueError(f"{min(both)!r} means both true and false; a word belongs to one")
        return self


class TensorColumn(_Column):
    """Numbers in a fixed shape, such as an image: a list column, or text with the numbers in row-major order."""

    kind: Literal["tensor"] = "tensor"
    shape: tuple[Annotated[int, Field(ge=1)], ...] = Field(min_length=1)
    """The shape, for example [28, 28]."""
    scale: Literal["standard", "min_max", "none"] = "min_max"
    """One scale for the whole tensor. standard: (x - mean) / deviation. min_max: to 0...1. none: as it is."""

    @property
    def size(self) -> int:
        """How many numbers the tensor has."""
        return math.prod(self.shape)


class CustomColumn(_Column):
    """Numbers that code of your own makes: `{kind: custom, encoder: module:factory, of: numeric, bins: 8}`.

    The factory gets the keys beside `of` as arguments, and returns an object with four methods: `observe(values)` takes
    the training values, batch by batch; `state()` returns what was learned of them, as JSON has it; `names(state)` one
    name for each number that comes out; `transform(values, state)` the numbers, finite, of shape (n, names). The object
    that transforms is a fresh one, and several threads call it: all that it knows is the state.
    """

    model_config = ConfigDict(extra="allow")

    kind: Literal["custom"] = "custom"
    encoder: str = Field(pattern=names.REFERENCE)
    """The factory, as module:factory. The operator allows its module by EVERMODEL_ALLOW_MODULES."""
    of: Literal["text", "numeric"] = "text"
    """What the array of values holds. text: texts, None where one is missing. numeric: float64, NaN where missing."""

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments that stand beside the factory."""
        return dict(self.model_extra or {})


Column = Annotated[
    NumericColumn
    | OrdinalColumn
    | OneHotColumn
    | EmbeddingColumn
    | HashingColumn
    | TargetMeanColumn
    | MultiHotColumn
    | TextColumn
    | DatetimeColumn
    | BooleanColumn
    | TensorColumn
    | CustomColumn,
    Discriminator("kind"),
]
CategoricalColumn = OrdinalColumn | OneHotColumn | EmbeddingColumn | TargetMeanColumn
"""Kinds with one category a row, of which a list is kept."""


def own_encoders(columns: Mapping[str, Column]) -> tuple[str, ...]:
    """Return the factories of the user's own that columns name, as module:factory."""
    return tuple(dict.fromkeys(each.encoder for each in columns.values() if isinstance(each, CustomColumn)))
