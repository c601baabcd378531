"""Some rows of a published file, without reading it whole."""

from pathlib import Path

import pyarrow as pa

from tasks.encoders.base import Array
from tasks.tables import read_batches


def rows_at(path: Path, positions: Array) -> pa.Table:
    """Return the rows at some positions, counted from 0 and ascending, in that order."""
    start, found = 0, []
    for batch in read_batches(path):
        inside = positions[(positions >= start) & (positions < start + batch.num_rows)] - start
        found.append(batch.take(pa.array(inside)))
        start += batch.num_rows
    return pa.concat_tables(found).combine_chunks()
