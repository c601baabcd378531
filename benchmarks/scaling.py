"""What a row, a column and a core change: `python -m benchmarks.scaling [--rows N] [--write]`.

The data stages run on two lengths and two widths of a generated table, and once more on one core. A stage's processor
seconds are fitted by its start, so much a row, and so much a number in each row; docs/scaling.md gets the table.
"""

import argparse
import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks import page
from benchmarks.processes import Run
from benchmarks.run import STAGES, stages
from benchmarks.tables import NUMBERS

_WIDER = 4 * NUMBERS
_HEADER = (
    "stage",
    "start, s",
    "µs a row",
    "µs a number",
    "clock on one core : on {cores}",
    "memory, MB",
    "MB for {wider} numbers",
    "10⁸ rows",
    "10⁹ rows",
)


def main() -> None:
    """Measure, and print a table in Markdown, or put it into docs/scaling.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=8_000_000, help="rows of the longer table, of two")
    parser.add_argument("--write", action="store_true", help="put the table into docs/scaling.md")
    arguments = parser.parse_args()
    long, short = arguments.rows, arguments.rows // 4
    sizes = [(rows, numbers) for rows in (short, long) for numbers in (NUMBERS, _WIDER)]
    took = {size: _took(*size) for size in sizes}
    with _on_one_core():
        alone = _took(long, NUMBERS)
    lines = [_line(stage, {size: runs[stage] for size, runs in took.items()}, alone[stage]) for stage in STAGES]
    header = [name.format(cores=len(os.sched_getaffinity(0)), wider=_WIDER) for name in _HEADER]
    said = f"{page.machine()}, {short:,} and {long:,} rows:\n\n{page.table(header, lines)}"
    print(said)
    if arguments.write:
        page.write("scaling", said, on=page.SCALING)


def _took(rows: int, numbers: int) -> dict[str, Run]:
    with tempfile.TemporaryDirectory() as folder:
        return dict(stages(Path(folder), rows, numbers=numbers))


@contextlib.contextmanager
def _on_one_core() -> Iterator[None]:
    """Let the processes that are started meanwhile have one core."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def _line(stage: str, took: dict[tuple[int, int], Run], alone: Run) -> tuple[str, ...]:
    """Return a stage's costs, and what they come to for many rows of the narrower table on all cores."""
    effects = np.array([(1, rows, rows * numbers) for rows, numbers in took], float)
    start, row, number = np.linalg.lstsq(effects, [run.cpu_seconds for run in took.values()])[0]
    short, long = sorted({rows for rows, _ in took})
    together = took[long, NUMBERS]
    clock = (together.seconds - took[short, NUMBERS].seconds) / (long - short)
    return (
        stage,
        f"{start:.1f}",
        f"{row * 1e6:.2f}",
        f"{number * 1e6:.3f}",
        f"{alone.seconds / together.seconds:.2f}",
        f"{together.peak_mb:,.0f}",
        f"{took[long, _WIDER].peak_mb:,.0f}",
        *(f"{(together.seconds + clock * (rows - long)) / 60:.1f} min" for rows in (10**8, 10**9)),
    )


if __name__ == "__main__":
    main()
