"""Generated tables of any size, written chunk by chunk."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.spec import Spec

NUMBERS = 10
_CHUNK_ROWS = 250_000


def write_table(path: Path, rows: int, *, numbers: int = NUMBERS) -> Spec:
    """Write a Parquet file with a key, numbers, three categories, a time and a binary target; return its spec."""
    with pq.ParquetWriter(path, _schema(numbers)) as writer:
        for start in range(0, rows, _CHUNK_ROWS):
            writer.write_table(_chunk(start, min(_CHUNK_ROWS, rows - start), numbers))
    kinds = {f"number_{index}": {"kind": "numeric"} for index in range(numbers)}
    kinds |= {"number_8": {"kind": "numeric", "scale": "robust"}, "number_9": {"kind": "numeric", "scale": "log"}}
    columns = kinds | {
        "colour": {"kind": "one_hot"},
        "grade": {"kind": "ordinal", "categories": list("abcde")},
        "shop": {"kind": "embedding"},
        "sold_at": {"kind": "datetime"},
    }
    return Spec.model_validate(
        {
            "name": "generated",
            "problem": "binary",
            "data": {"path": str(path), "key": ["id"]},
            "target": {"column": "returned"},
            "columns": columns,
        }
    )


def _schema(numbers: int) -> pa.Schema:
    fields = [(f"number_{index}", pa.float64()) for index in range(numbers)]
    texts = [(name, pa.string()) for name in ("colour", "grade", "shop")]
    return pa.schema([("id", pa.int64()), *fields, *texts, ("sold_at", pa.timestamp("us")), ("returned", pa.string())])


def _chunk(start: int, rows: int, width: int) -> pa.Table:
    random = np.random.default_rng(start)
    numbers = random.normal(size=(rows, width))
    numbers[random.random(rows) < 0.02, 3] = np.nan
    colours = np.array(["red", "green", "blue", "grey"])[random.integers(0, 4, rows)]
    grades = np.array(list("abcde"))[random.integers(0, 5, rows)]
    shops = np.char.add("shop-", random.integers(0, 5_000, rows).astype(str))
    seconds = random.integers(0, 5 * 365 * 86_400, rows)
    times = np.datetime64("2020-01-01", "us") + seconds * np.timedelta64(1_000_000, "us")
    returned = np.where(numbers[:, 0] + numbers[:, 1] + random.normal(size=rows) > 1, "yes", "no")
    columns = [np.arange(start, start + rows), *numbers.T, colours, grades, shops, times, returned]
    return pa.table([pa.array(column) for column in columns], schema=_schema(width))
