"""`make bench`: time and peak memory of the data stages as rows grow, each stage in a process of its own."""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks import page
from benchmarks.data import TRAIN
from benchmarks.processes import Run, run
from benchmarks.tables import NUMBERS, write_table
from flows.requests import ingest_request
from schemas.document import Document
from schemas.prediction import PredictRequest
from schemas.stages import EncodeRequest, IngestResult

STAGES = ("ingest", "encode", "predict")
_HEADER = ("rows", "stage", "seconds", "processor seconds", "rows/s", "peak memory, MB")


def main() -> None:
    """Measure, and print a table in Markdown, or put it into docs/benchmarks.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 5_000_000, 20_000_000])
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    arguments = parser.parse_args()
    lines = []
    for rows in arguments.rows:
        with tempfile.TemporaryDirectory() as folder:
            lines += [_line(rows, stage, took) for stage, took in stages(Path(folder), rows)]
    said = f"{page.machine()}:\n\n{page.table(_HEADER, lines)}"
    print(said)
    if arguments.write:
        page.write("growth", said)


def _line(rows: int, stage: str, took: Run) -> tuple[str, ...]:
    figures = (f"{took.seconds:.1f}", f"{took.cpu_seconds:.1f}", f"{rows / took.seconds:,.0f}", f"{took.peak_mb:,.0f}")
    return (f"{rows:,}", stage, *figures)


def stages(folder: Path, rows: int, *, numbers: int = NUMBERS) -> Iterator[tuple[str, Run]]:
    """Generate a table, run each of STAGES on it as a command, and yield what it took."""
    predict = _predict_request(folder, numbers)
    spec = write_table(folder / "table.parquet", rows, numbers=numbers)
    workspace = str(folder / "workspace")
    yield "ingest", (took := _took("ingest", ingest_request(spec, workspace=workspace), folder))
    ingest = IngestResult.model_validate_json(took.printed)
    yield "encode", _took("encode", EncodeRequest(workspace=workspace, ingest=ingest.as_input), folder)
    yield "predict", _took("predict", predict, folder)


def _predict_request(folder: Path, numbers: int) -> PredictRequest:
    """Return a request to score `table.parquet` with a network of two layers that has learned for one epoch."""
    spec = write_table(folder / "learned.parquet", 100_000, numbers=numbers)
    training = spec.training.model_copy(update={"epochs": 1, "batch_size": 4096})
    (folder / "spec.json").write_text(spec.model_copy(update={"training": training}).to_json())
    request = folder / "predict.json"
    source, output = folder / "table.parquet", folder / "output.parquet"
    run("-c", TRAIN, folder / "spec.json", folder / "learning", source, output, request)
    return PredictRequest.load(request)


def _took(stage: str, request: Document, folder: Path) -> Run:
    path = folder / f"{stage}.json"
    path.write_text(request.to_json())
    return run("-m", f"tasks.{stage}", path)


if __name__ == "__main__":
    main()
