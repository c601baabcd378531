"""`make bench`: time and peak memory of the data stages as rows grow, each stage in a process of its own."""

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks import page
from benchmarks.data import TRAIN
from benchmarks.processes import run
from benchmarks.tables import write_table
from flows.requests import ingest_request
from schemas.document import Document
from schemas.prediction import PredictRequest
from schemas.stages import EncodeRequest, IngestResult

HEADER = ("rows", "stage", "seconds", "processor seconds", "rows/s", "peak memory, MB")


def main() -> None:
    """Measure, and print a table in Markdown, or put it into docs/benchmarks.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 5_000_000, 20_000_000])
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    arguments = parser.parse_args()
    lines = []
    for rows in arguments.rows:
        with tempfile.TemporaryDirectory() as folder:
            lines += list(measure(rows, Path(folder)))
    said = f"{page.machine()}:\n\n{page.table(HEADER, lines)}"
    print(said)
    if arguments.write:
        page.write("growth", said)


def measure(rows: int, folder: Path) -> Iterator[tuple[str, ...]]:
    """Generate a table, run ingest, encode and predict on it, and yield a line each."""
    predict = _predict_request(folder)
    spec = write_table(folder / "table.parquet", rows)
    workspace = str(folder / "workspace")
    line, result = _timed("ingest", ingest_request(spec, workspace=workspace), folder, rows)
    yield line
    ingest = IngestResult.model_validate(result)
    yield _timed("encode", EncodeRequest(workspace=workspace, ingest=ingest.as_input), folder, rows)[0]
    yield _timed("predict", predict, folder, rows)[0]


def _predict_request(folder: Path) -> PredictRequest:
    """Return a request to score `table.parquet` with a network of two layers that has learned for one epoch."""
    spec = write_table(folder / "learned.parquet", 100_000)
    training = spec.training.model_copy(update={"epochs": 1, "batch_size": 4096})
    (folder / "spec.json").write_text(spec.model_copy(update={"training": training}).to_json())
    request = folder / "predict.json"
    source, output = folder / "table.parquet", folder / "output.parquet"
    run("-c", TRAIN, folder / "spec.json", folder / "learning", source, output, request)
    return PredictRequest.load(request)


def _timed(stage: str, request: Document, folder: Path, rows: int) -> tuple[tuple[str, ...], object]:
    """Run a stage as a command; return a line with what it took, and its result."""
    path = folder / f"{stage}.json"
    path.write_text(request.to_json())
    took = run("-m", f"tasks.{stage}", path)
    figures = (f"{took.seconds:.1f}", f"{took.cpu_seconds:.1f}", f"{rows / took.seconds:,.0f}", f"{took.peak_mb:,.0f}")
    return (f"{rows:,}", stage, *figures), json.loads(took.printed)


if __name__ == "__main__":
    main()
