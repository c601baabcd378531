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
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.tables import write_table

ENCODE = """
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
TRAIN = """
import sys
from pathlib import Path
from flows.requests import ingest_request, train_request
from schemas.spec import Spec
from schemas.stages import EncodeRequest, Input, PredictRequest
from tasks import encode, ingest, train
spec, workspace = Spec.load(Path(sys.argv[1])), sys.argv[2]
ingested = ingest.run(ingest_request(spec, workspace=workspace))
encoded = encode.run(EncodeRequest(workspace=workspace, ingest=ingested.as_input))
trained = train.run(train_request(spec, workspace=workspace, ingest=ingested, encode=encoded))
bundle = Input(path=f"{trained.path}/bundle")
request = PredictRequest(bundle=bundle, source={"path": sys.argv[3]}, output=sys.argv[4])
Path(sys.argv[5]).write_text(request.to_json())
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
        encode_by_turns(Path(folder), arguments.rows, arguments.repeats)
        predict_by_turns(Path(folder), arguments.rows, arguments.repeats)


def encode_by_turns(folder: Path, rows: int, repeats: int) -> None:
    """Ingest and encode against benchmarks/by_hand.py."""
    spec = write_table(folder / "table.parquet", rows)
    (folder / "spec.json").write_text(spec.to_json())
    by_hand, ours = [], []
    for _ in range(repeats):
        by_hand.append(run("-m", "benchmarks.by_hand", "encode", folder / "table.parquet", folder / "by_hand"))
        ours.append(run("-c", ENCODE, folder / "spec.json", folder / "workspace"))
        shutil.rmtree(folder / "by_hand")
        shutil.rmtree(folder / "workspace")
    show(f"Ingest and encode {rows:,} rows of 16 columns", by_hand, ours)


def predict_by_turns(folder: Path, rows: int, repeats: int) -> None:
    """Predict against benchmarks/by_hand.py, with a network of two layers that has learned for one epoch."""
    spec = write_table(folder / "learned.parquet", 100_000)
    training = spec.training.model_copy(update={"epochs": 1, "batch_size": 4096})
    (folder / "spec.json").write_text(spec.model_copy(update={"training": training}).to_json())
    write_table(folder / "table.parquet", rows)
    request, output = folder / "predict.json", folder / "output.parquet"
    run("-c", TRAIN, folder / "spec.json", folder / "workspace", folder / "table.parquet", output, request)
    by_hand, ours = [], []
    for _ in range(repeats):
        by_hand.append(run("-m", "benchmarks.by_hand", "predict", folder / "table.parquet", output))
        ours.append(run("-m", "tasks.predict", request))
    show(f"Predict {rows:,} rows", by_hand, ours)


def show(title: str, by_hand: Sequence[Run], ours: Sequence[Run]) -> None:
    """Print medians, and the median of the ratios."""
    print(f"\n{title}, {len(ours)} times by turns, medians:\n")
    print("| | by hand, whole frames | Evermodel | ratio |", "|---|---|---|---|", sep="\n")
    for what in ("seconds", "cpu_seconds", "peak_mb"):
        pairs = [(getattr(one, what), getattr(other, what)) for one, other in zip(by_hand, ours, strict=True)]
        first, second = (statistics.median(values) for values in zip(*pairs, strict=True))
        ratio = statistics.median(one / other for one, other in pairs)
        print(f"| {what.replace('_', ' ')} | {first:,.1f} | {second:,.1f} | {ratio:.2f} |", flush=True)


def run(*arguments: str | Path) -> Run:
    """Run Python to its end; return what it took by the operating system's account."""
    started = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        said = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{arguments[:2]} ended with {process.returncode}: {said.decode()}")
    seconds = time.perf_counter() - started
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


if __name__ == "__main__":
    main()
