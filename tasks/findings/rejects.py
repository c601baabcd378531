"""What ingest rejected: the reasons with their counts, and some of the rows."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc

from tasks.tables import read_batches

_MOST_REASONS, _MOST_ROWS = 20, 5


@dataclass(frozen=True)
class Rejects:
    """Rejected rows, by reason and some of them."""

    reasons: tuple[tuple[str, int], ...]
    """The most frequent ones, each with its rows; a row may have several."""
    rows: tuple[dict[str, str | int | None], ...]
    """The first few: file, row, reasons, record."""


def find(path: Path) -> Rejects | None:
    """Return what a file of rejected rows holds; None when it holds none."""
    counts, first = Counter[str](), list[dict[str, str | int | None]]()
    for batch in read_batches(path):
        said = pc.list_flatten(pc.split_pattern(batch.column("reasons").combine_chunks(), "; "))
        values, each = pc.value_counts(said).flatten()
        counts.update(dict(zip(values.to_pylist(), each.to_pylist(), strict=True)))
        first += batch.slice(0, _MOST_ROWS - len(first)).to_pylist()
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return Rejects(tuple(ranked[:_MOST_REASONS]), tuple(first)) if first else None
