"""Speed and memory of the data path: `python -m benchmarks.data [--rows N] [--repeats R]`.

Every figure is a ratio of processes that ran one after the other in the same minutes; medians are of the ratios.
"""

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.tables import write_table

OURS = """
import sys
from pathlib import Path
from flows.requests import ingest_request
from schemas.spec import Spec
from schemas.stages import EncodeRequest
from tasks import encode, ingest
spec = Spec.load(Path(sys.argv[1]))
ingested = ingest.run(ingest_request(spec, workspace=sys.argv[2]))
encode.run(EncodeRequest(workspace=sys.argv[2], ingest=ingested.as_input))
"""


@dataclass(frozen=True)
class Run:
    """What a process took, its start included."""

    seconds: float
    cpu_seconds: float
    peak_mb: float


def main() -> None:
    """Measure, and print tables in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    with tempfile.TemporaryDirectory() as folder:
        against_by_hand(Path(folder), arguments.rows, arguments.repeats)


def against_by_hand(folder: Path, rows: int, repeats: int) -> None:
    """Ingest and encode against benchmarks/by_hand.py, by turns."""
    spec = write_table(folder / "table.parquet", rows)
    (folder / "spec.json").write_text(spec.to_json())
    ours, by_hand = [], []
    for _ in range(repeats):
        by_hand.append(run(["-m", "benchmarks.by_hand", str(folder / "table.parquet"), str(folder / "by_hand")]))
        ours.append(run(["-c", OURS, str(folder / "spec.json"), str(folder / "workspace")]))
        shutil.rmtree(folder / "by_hand")
        shutil.rmtree(folder / "workspace")
    print(f"Ingest and encode, {rows:,} rows x 16 columns, {repeats} times by turns, medians:\n")
    print("| | by hand, whole frames | Evermodel | ratio |", "|---|---|---|---|", sep="\n")
    for what in ("seconds", "cpu_seconds", "peak_mb"):
        pairs = [(getattr(one, what), getattr(other, what)) for one, other in zip(by_hand, ours, strict=True)]
        first, second = (statistics.median(values) for values in zip(*pairs, strict=True))
        ratio = statistics.median(one / other for one, other in pairs)
        print(f"| {what.replace('_', ' ')} | {first:,.1f} | {second:,.1f} | {ratio:.2f} |", flush=True)


def run(arguments: list[str]) -> Run:
    """Run Python to its end; return what it took by the operating system's account."""
    started = time.perf_counter()
    with subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{arguments[:2]} ended with {process.returncode}")
    seconds = time.perf_counter() - started
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


if __name__ == "__main__":
    main()
