"""What a data set looks like, column by column: written by ingest, shown in the report."""

from schemas.document import Record


class Histogram(Record):
    """Counts of values between edges."""

    edges: tuple[float, ...]
    """n + 1 ascending edges of n bins; times are seconds since 1970."""
    counts: tuple[int, ...]
    """Rows per bin, of the sample that the histogram is made from."""


class ColumnProfile(Record):
    """One column of the accepted rows."""

    kind: str
    """The column's kind; for a target: number, label or labels."""
    missing: int
    """Rows without a value."""
    unique: int | None = None
    """Different values; null when there are more than 10,000 or the values are tensors."""
    minimum: float | None = None
    """Smallest number; for times, seconds since 1970."""
    maximum: float | None = None
    """Largest number; for times, seconds since 1970."""
    mean: float | None = None
    """Mean of the numbers."""
    deviation: float | None = None
    """Standard deviation of the numbers."""
    histogram: Histogram | None = None
    """Distribution of the numbers in a sample of rows."""
    top: tuple[tuple[str, int], ...] = ()
    """The most frequent values, each with its count (of categories, labels and booleans)."""


class Profile(Record):
    """The accepted rows of a data set."""

    rows: int
    """How many there are."""
    sample: int
    """How many of them the histograms are made from: those with the smallest hashes."""
    columns: dict[str, ColumnProfile]
    """Features, then targets."""
