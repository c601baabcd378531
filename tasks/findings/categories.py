"""How many rows hold a category that training did not keep, because it was rare or not there."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tasks.encoders.categorical import CategoryEncoder
from tasks.encoders.table import TableEncoder
from tasks.splits import SPLITS
from tasks.tables import read_batches


@dataclass(frozen=True)
class Categories:
    """One column of categories."""

    name: str
    kept: int
    """Categories that have a place of their own in the encoder."""
    outside: Mapping[str, float]
    """By split, the share of its rows with another category; in the training split those are the rare ones."""


def find(encoder: TableEncoder, ingested: Path) -> tuple[Categories, ...]:
    """Return the columns of categories, those with the most strange test rows first."""
    columns = {each.name: each for each in encoder.columns if isinstance(each, CategoryEncoder)}
    if not columns:
        return ()
    shares = {str(split): _shares(encoder, ingested / "rows" / f"{split}.parquet") for split in SPLITS}
    found = [
        Categories(name, len(column.categories), {split: each.get(name, 0.0) for split, each in shares.items()})
        for name, column in columns.items()
    ]
    return tuple(sorted(found, key=lambda each: -each.outside["test"]))


def _shares(encoder: TableEncoder, path: Path) -> dict[str, float]:
    rows, outside = 0, Counter[str]()
    for batch in read_batches(path):
        rows += batch.num_rows
        outside += encoder.unknown(batch)
    return {name: count / rows for name, count in outside.items()}
