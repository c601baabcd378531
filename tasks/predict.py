"""Predict: raw rows in, predictions out, row by row as the bundle's contract reads them."""

import logging
import time
import uuid
from pathlib import Path

import pyarrow as pa

from schemas.contract import KEY, ROW
from schemas.errors import ResourceError, SpecError
from schemas.prediction import PredictRequest, PredictResult
from schemas.stages import Rows
from tasks import stage
from tasks.bundle import Bundle
from tasks.parallel import in_order
from tasks.problems import REJECTED
from tasks.rows import Checked, RowReader
from tasks.sources.files import list_files
from tasks.tables import CsvWriter, TableWriter
from tasks.typed_rows import typed_schema

log = logging.getLogger("evermodel.predict")


def run(request: PredictRequest) -> PredictResult:
    """Score a source's rows with a bundle and write them with their keys (without a key: with their numbers).

    Rows that break the contract go to a rejects file. Both files appear whole or not at all. Raises SpecError for an
    output that is neither .parquet nor .csv.
    """
    started = time.perf_counter()
    output = Path(request.output)
    if output.suffix not in (".parquet", ".csv"):
        raise SpecError(f"output {output} must end with .parquet or .csv")
    bundle, files = Bundle(request.bundle), list_files(request.source)
    if any(output.resolve() == Path(file.path).resolve() for file in files):
        raise SpecError(f"output {output} is the source itself; choose another name")
    reader = RowReader(files, request.source, bundle.contract, with_target=False)
    rejects = output.with_name(f"{output.stem}.rejected.parquet")
    scratch = [_beside(output), _beside(rejects)]
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        accepted, rejected = _write(bundle, reader, *scratch)
        scratch[0].replace(output)
        if rejected:
            scratch[1].replace(rejects)
        else:
            rejects.unlink(missing_ok=True)
    except OSError as error:
        raise ResourceError(f"cannot write {output}: {error.strerror or error}") from error
    finally:
        for path in scratch:
            path.unlink(missing_ok=True)
    return PredictResult(
        output=str(output),
        rejected_output=str(rejects) if rejected else None,
        rows=Rows(read=accepted + rejected, accepted=accepted, rejected=rejected),
        seconds=round(time.perf_counter() - started, 3),
    )


def predictions(bundle: Bundle, rows: pa.Table) -> pa.Table:
    """Return the predictions for typed rows as named columns, behind the key's columns or `row`."""
    keys = [name for name in rows.column_names if name.startswith(KEY)]
    columns = {name.removeprefix(KEY): rows.column(name) for name in keys} or {"row": rows.column(ROW)}
    said = bundle.encoder.target.columns(bundle.predict(rows))
    return pa.table([*columns.values(), *said.values()], names=[*columns, *said])


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}{path.suffix}")


def _write(bundle: Bundle, reader: RowReader, output: Path, rejects: Path) -> tuple[int, int]:
    layout = predictions(bundle, typed_schema(bundle.contract, with_target=False).empty_table()).schema
    _ = bundle.network  # loaded once, before several threads want it

    def scored(batch: Checked) -> tuple[pa.Table, Checked]:
        return predictions(bundle, batch.accepted), batch

    accepted = 0
    with _writer(output, layout) as writer, TableWriter(rejects, REJECTED) as rejected:
        for said, batch in in_order(scored, reader):
            writer.write(said)
            rejected.write(batch.rejected)
            accepted += batch.accepted.num_rows
            log.info("predict: %s rows", f"{accepted:,}", extra={"event": {"stage": "predict", "rows": accepted}})
    return accepted, rejected.rows


def _writer(output: Path, layout: pa.Schema) -> TableWriter | CsvWriter:
    return CsvWriter(output, layout) if output.suffix == ".csv" else TableWriter(output, layout)


if __name__ == "__main__":
    stage.main(PredictRequest, run)
