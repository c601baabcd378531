"""Speed and memory of the data path: `python -m benchmarks.data [--rows N] [--predicted N] [--repeats R] [--write]`.

Every figure is a ratio of processes that ran one after the other in the same minutes; medians are of the ratios.
"""

import argparse
import shutil
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import page
from benchmarks.processes import Run, run
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
from schemas.prediction import PredictRequest
from schemas.stages import EncodeRequest, Input
from tasks import encode, ingest, train
spec, workspace = Spec.load(Path(sys.argv[1])), sys.argv[2]
ingested = ingest.run(ingest_request(spec, workspace=workspace))
encoded = encode.run(EncodeRequest(workspace=workspace, ingest=ingested.as_input))
trained = train.run(train_request(spec, workspace=workspace, ingest=ingested, encode=encoded))
bundle = Input(path=f"{trained.path}/bundle")
request = PredictRequest(bundle=bundle, source={"path": sys.argv[3]}, output=sys.argv[4])
Path(sys.argv[5]).write_text(request.to_json())
"""


def main() -> None:
    """Measure, and print tables in Markdown, or put them into docs/benchmarks.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--predicted", type=int, default=5_000_000, help="rows to predict")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="put the tables into docs/benchmarks.md")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tables = [
            encode_by_turns(Path(folder), arguments.rows, arguments.repeats),
            predict_by_turns(Path(folder), arguments.predicted, arguments.repeats),
        ]
    said = "\n\n".join([f"{page.machine()}:", *tables])
    print(said)
    if arguments.write:
        page.write("data", said)


def encode_by_turns(folder: Path, rows: int, repeats: int) -> str:
    """Ingest and encode against benchmarks/by_hand.py."""
    spec = write_table(folder / "table.parquet", rows)
    (folder / "spec.json").write_text(spec.to_json())
    by_hand, ours = [], []
    for _ in range(repeats):
        by_hand.append(run("-m", "benchmarks.by_hand", "encode", folder / "table.parquet", folder / "by_hand"))
        ours.append(run("-c", ENCODE, folder / "spec.json", folder / "workspace"))
        shutil.rmtree(folder / "by_hand")
        shutil.rmtree(folder / "workspace")
    return compared(f"Ingest and encode {rows:,} rows of 16 columns", by_hand, ours)


def predict_by_turns(folder: Path, rows: int, repeats: int) -> str:
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
    return compared(f"Predict {rows:,} rows", by_hand, ours)


def compared(title: str, by_hand: Sequence[Run], ours: Sequence[Run]) -> str:
    """Return a table of medians, and of the medians of the ratios."""
    rows = []
    for what in ("seconds", "cpu_seconds", "peak_mb"):
        pairs = [(getattr(one, what), getattr(other, what)) for one, other in zip(by_hand, ours, strict=True)]
        first, second = (statistics.median(values) for values in zip(*pairs, strict=True))
        ratio = statistics.median(one / other for one, other in pairs)
        rows.append((what.replace("_", " "), f"{first:,.1f}", f"{second:,.1f}", f"{ratio:.2f}"))
    table = page.table(("", "by hand", "Evermodel", "ratio"), rows)
    return f"{title}, {page.turns(len(ours))}:\n\n{table}"


if __name__ == "__main__":
    main()
