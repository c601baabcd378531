"""`make bench`: time and peak memory of the data stages as rows grow, each stage in a process of its own."""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.tables import write_table
from flows.requests import ingest_request
from schemas.document import Document
from schemas.stages import EncodeRequest, EncodeResult, IngestResult

HEADER = ("| rows | stage | seconds | rows/s | peak memory, MB |", "|---|---|---|---|---|")


def main() -> None:
    """Measure, and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 5_000_000])
    arguments = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    print(*HEADER, sep="\n")
    for rows in arguments.rows:
        with tempfile.TemporaryDirectory() as folder:
            measure(rows, Path(folder))


def measure(rows: int, folder: Path) -> None:
    """Generate a table, run ingest and encode on it, print a line each."""
    spec = write_table(folder / "table.parquet", rows)
    workspace = str(folder / "workspace")
    ingest = IngestResult.model_validate(_timed("ingest", ingest_request(spec, workspace=workspace), folder, rows))
    EncodeResult.model_validate(
        _timed("encode", EncodeRequest(workspace=workspace, ingest=ingest.as_input), folder, rows)
    )


def _timed(stage: str, request: Document, folder: Path, rows: int) -> object:
    """Run a stage as a command; print its wall time and its peak resident memory."""
    path = folder / f"{stage}.json"
    path.write_text(request.to_json())
    started = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", f"tasks.{stage}", str(path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        result = json.loads(process.stdout.read())
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - started
    print(f"| {rows:,} | {stage} | {seconds:.1f} | {rows / seconds:,.0f} | {usage.ru_maxrss / 1024:,.0f} |", flush=True)
    return result


if __name__ == "__main__":
    main()
