"""What a rule says of a column, and how that is put."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from schemas.columns import Column
from tasks.inference.observed import Observed

MOST_ONE_HOT = 30
"""A category with more values gets an embedding."""

RARE = 5
"""Values with fewer rows than this share a bucket, if there are rows enough."""


@dataclass(frozen=True)
class Guess:
    """A feature's kind, or None to leave the column out, and what a person should know."""

    said: str
    column: Column | None = None
    key: bool = False
    """Whether the column names a row."""


def nulls_of(seen: Observed, *more: str) -> tuple[str, ...] | None:
    """Return what means a missing value in a column, or None if that is nothing but an empty text."""
    words = (*seen.null_words, *more)
    return ("", *words) if words else None


def shown(texts: Sequence[str] | pa.Array, *, most: int = 3) -> str:
    """Return some texts as they are shown to people: in quotes, the first few, none too long."""
    said = [repr(text if len(text) <= 24 else f"{text[:23]}…") for text in map(str, texts[:most])]
    return ", ".join(said) + (", …" if len(texts) > most else "")


def percent(part: int, whole: int) -> str:
    """Return a share for people: 0.3 %, 12 %."""
    share = 100 * part / whole
    return "under 0.1 %" if share < 0.1 else f"{share:.1f} %" if share < 10 else f"{share:.0f} %"
