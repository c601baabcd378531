"""What a data set looked like, column by column and never row by row: later data is compared with it."""

from typing import Annotated, Literal

from pydantic import Discriminator

from schemas.document import Document


class _Marginal(Document):
    rows: int
    """Rows, with or without a value."""
    missing: int
    """Rows without a value."""


class Numbers(_Marginal):
    """The distribution of numbers in a sample of rows: of texts their lengths, of tensors their means."""

    kind: Literal["numbers"] = "numbers"
    """The kind of marginal."""
    values: tuple[float, ...]
    """Ascending: all different values while there are few, otherwise quantiles at even steps."""
    counts: tuple[int, ...]
    """How many of the sampled rows each stands for."""


class Categories(_Marginal):
    """How often each category occurs, while there are few; each entry of a list counts."""

    kind: Literal["categories"] = "categories"
    """The kind of marginal."""
    values: tuple[str, ...]
    """The categories, the most frequent first."""
    counts: tuple[int, ...]
    """How often each occurs."""


class Buckets(_Marginal):
    """How often categories occur of which there are many, or whose names are not kept: by a hash of their names."""

    kind: Literal["buckets"] = "buckets"
    """The kind of marginal."""
    counts: tuple[int, ...]
    """How often the categories of each bucket occur."""


class Times(_Marginal):
    """The period that times lie in. How they lie in it is not kept: later data has later times."""

    kind: Literal["times"] = "times"
    """The kind of marginal."""
    earliest: float | None
    """Seconds since 1970."""
    latest: float | None
    """Seconds since 1970."""


Marginal = Annotated[Numbers | Categories | Buckets | Times, Discriminator("kind")]
"""What is kept of one column."""


class Reference(Document):
    """The accepted rows of a data set and, in a bundle, what the network says of rows that it was not trained on."""

    rows: int
    """How many rows there are."""
    columns: dict[str, Marginal]
    """The features."""
    targets: dict[str, Marginal]
    """The target's columns."""
    predictions: dict[str, Marginal] = {}
    """What predict writes, of rows of the validation split: in bundles alone."""
    period: Times | None = None
    """The times that decide the split; else those of the first feature that is a time."""
