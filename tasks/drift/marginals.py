"""Marginals: what is kept of a column, made from values at hand or from counts of a whole data set."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.reference import Buckets, Categories, Marginal, Numbers
from tasks.encoders.base import Array
from tasks.row_keys import text_hashes
from tasks.tables import single_array

BUCKETS = 64
MOST_CATEGORIES = 1_000
"""Above so many only buckets are kept: a choice of the most frequent ones would look more frequent than they are."""
_MOST_NUMBERS = 500
_MOST_PREDICTIONS = 100


def numbers(sample: Array, *, rows: int, missing: int) -> Numbers:
    """Return the marginal of a sample of numbers, shape (n,), from a column of so many rows.

    Up to 500 different values are kept as they are, else 500 quantiles: a Kolmogorov-Smirnov statistic of two
    marginals is then off by 0.004 at most.
    """
    ordered = np.sort(sample.astype(np.float64, copy=False))
    values, counts = np.unique(ordered, return_counts=True)
    if len(values) > _MOST_NUMBERS:
        edges = np.arange(_MOST_NUMBERS + 1) * len(ordered) // _MOST_NUMBERS
        values, at = np.unique(ordered[(edges[:-1] + edges[1:] - 1) // 2], return_inverse=True)
        counts = np.bincount(at, weights=np.diff(edges)).astype(np.int64)
    return Numbers(rows=rows, missing=missing, values=tuple(values.tolist()), counts=tuple(counts.tolist()))


def categories(texts: pa.Array) -> Categories | Buckets:
    """Return the marginal of texts at hand."""
    table = pa.table(pc.value_counts(texts.drop_null()).flatten(), names=["values", "counts"])
    ordered = table.sort_by([("counts", "descending"), ("values", "ascending")])
    return counted(ordered, np.zeros(BUCKETS, np.int64), rows=len(texts), missing=texts.null_count)


def counted(ordered: pa.Table, further: Array, *, rows: int, missing: int, listed: bool = True) -> Categories | Buckets:
    """Return the marginal of counted texts: columns `values` and `counts`, the most frequent first.

    `further` are texts of which only their `bucket_counts` are known. Names are kept if they are to be `listed`.
    """
    if not listed or ordered.num_rows > MOST_CATEGORIES:
        return Buckets(rows=rows, missing=missing, counts=tuple((bucket_counts(ordered) + further).tolist()))
    values, counts = (tuple(ordered.column(name).to_pylist()) for name in ("values", "counts"))
    return Categories(rows=rows, missing=missing, values=values, counts=counts)


def bucket_counts(counted: pa.Table) -> Array:
    """Return how often counted texts occur by a hash of each, int64 of shape (64,)."""
    at = (text_hashes(single_array(counted.column("values"))) % np.uint64(BUCKETS)).astype(np.int64)
    return np.bincount(at, weights=counted.column("counts").to_numpy(), minlength=BUCKETS).astype(np.int64)


def hashed(marginal: Categories) -> Buckets:
    """Return categories as buckets, to compare them with such."""
    table = pa.table(
        {"values": pa.array(marginal.values, pa.string()), "counts": pa.array(marginal.counts, pa.int64())}
    )
    return Buckets(rows=marginal.rows, missing=marginal.missing, counts=tuple(bucket_counts(table).tolist()))


def predictions(columns: Mapping[str, pa.Array]) -> dict[str, Marginal]:
    """Return the marginals of what a fitted target's `columns` says: numbers, probabilities, and the label chosen."""
    found: dict[str, Marginal] = {}
    for name, column in list(columns.items())[:_MOST_PREDICTIONS]:
        values = single_array(pa.chunked_array([column]))
        if pa.types.is_floating(values.type):
            found[name] = numbers(values.to_numpy(), rows=len(values), missing=0)
        elif name == "prediction":
            found[name] = categories(values.cast(pa.string()))
    return found
