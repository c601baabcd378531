"""Rare and unknown categories, as a table."""

from collections.abc import Sequence

from tasks.findings.categories import Categories
from tasks.reports.elements import Table
from tasks.reports.formatting import number, percent

_MOST = 100


def table(found: Sequence[Categories]) -> Table:
    """Return one row a column of categories."""
    said = (
        "Rare: too few training rows for a place of its own (min_count, max_categories). Such rows, and those with a "
        "category that training has never seen, share what the network learned for other categories."
    )
    if len(found) > _MOST:
        said += f" The first {_MOST} of {len(found)} columns."
    return Table(
        title="Rare and unknown categories",
        header=("column", "categories kept", "rare in train", "rare or unknown in validation", "in test"),
        rows=tuple(
            (each.name, number(each.kept), *(percent(each.outside[split]) for split in ("train", "validation", "test")))
            for each in found[:_MOST]
        ),
        caption=said,
    )
