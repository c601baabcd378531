"""Named columns against one column of lists: `python -m benchmarks.layout [--rows N] [--columns C] [--write]`.

Encoded rows are written to Parquet as encode does, and read into a matrix as train does, both ways by turns.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks import page
from tasks.tables import ROW_GROUP_ROWS, TableWriter, read_batches

_LAYOUTS = {"named": "a column a number", "list": "one column of fixed-size lists"}


def main() -> None:
    """Measure, and print a table in Markdown, or put it into docs/benchmarks.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    arguments = parser.parse_args()
    shape = (arguments.rows, arguments.columns)
    with tempfile.TemporaryDirectory() as folder:
        rows = _measured(Path(folder), shape, arguments.repeats)
    said = (
        f"{page.machine()}, {shape[0]:,} rows × {shape[1]} float32, medians of {arguments.repeats}:\n\n"
        + page.table(("layout", "write, s", "read, s", "processor, s", "file, MB"), rows)
    )
    print(said)
    if arguments.write:
        page.write("layout", said)


def _measured(folder: Path, shape: tuple[int, int], repeats: int) -> list[tuple[str, ...]]:
    """Return a line for each layout; they take turns, and the first turn does not count."""
    took: dict[str, list[tuple[float, ...]]] = {layout: [] for layout in _LAYOUTS}
    for turn in range(repeats + 1):
        for layout, seconds in took.items():
            write, _ = _seconds(_write, layout, folder / layout, shape)
            read, processor = _seconds(_read, layout, folder / layout, shape)
            if turn:
                seconds.append((write, read, processor))
    return [
        (
            name,
            *(f"{statistics.median(values):.2f}" for values in zip(*took[layout], strict=True)),
            f"{(folder / layout).stat().st_size / 1e6:,.0f}",
        )
        for layout, name in _LAYOUTS.items()
    ]


def _seconds(action: Callable[..., object], *arguments: object) -> tuple[float, float]:
    """Return wall and processor seconds."""
    started, used = time.perf_counter(), time.process_time()
    action(*arguments)
    return time.perf_counter() - started, time.process_time() - used


def _write(layout: str, path: Path, shape: tuple[int, int]) -> None:
    rows, columns = shape
    listed = pa.schema([("numbers", pa.list_(pa.float32(), columns))])
    named = pa.schema([(f"number_{index}", pa.float32()) for index in range(columns)])
    schema = named if layout == "named" else listed
    values = np.random.default_rng(0).standard_normal((min(rows, ROW_GROUP_ROWS), columns), np.float32)
    by_column = np.asfortranarray(values)
    with TableWriter(path, schema, compression="none") as writer:
        for start in range(0, rows, ROW_GROUP_ROWS):
            count = min(ROW_GROUP_ROWS, rows - start)
            if layout == "named":
                arrays = [pa.array(by_column[:count, index]) for index in range(columns)]
            else:
                arrays = [pa.FixedSizeListArray.from_arrays(pa.array(values[:count].reshape(-1)), columns)]
            writer.write(pa.table(arrays, schema=schema))


def _read(layout: str, path: Path, shape: tuple[int, int]) -> np.ndarray:
    matrix, at = np.empty(shape, np.float32), 0
    for batch in read_batches(path):
        block = matrix[at : at + batch.num_rows]
        if layout == "named":
            for index, column in enumerate(batch.columns):
                block[:, index] = column.to_numpy()
        else:
            block[:] = batch.column(0).combine_chunks().flatten().to_numpy().reshape(block.shape)
        at += batch.num_rows
    return matrix


if __name__ == "__main__":
    main()
