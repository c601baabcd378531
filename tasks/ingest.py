"""Ingest: raw rows in, checked and split rows out. Reads files once, batch by batch, in flat memory."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from schemas.columns import DatetimeColumn
from schemas.contract import ROW, WEIGHT, Contract
from schemas.errors import DataError
from schemas.profile import Profile
from schemas.spec import REGRESSION, ColumnSplit, HashSplit, TimeSplit
from schemas.stages import IngestRequest, IngestResult, Rows
from tasks import stage
from tasks.coercion import to_times
from tasks.profiles import Profiler
from tasks.rows import REJECTED, RowReader, typed_schema
from tasks.sources.files import File, fingerprint, list_files
from tasks.sources.readers import open_file
from tasks.splits import NOWHERE, SPLITS, Codes, RareLabels, Splitter, identities
from tasks.tables import TableWriter, read_batches

log = logging.getLogger("evermodel.ingest")

VERSION = 1


def run_key(request: IngestRequest) -> str:
    """Return the run key: it changes with the request and with any byte of the source's files."""
    return _run_key(request, list_files(request.source))


def _run_key(request: IngestRequest, files: Sequence[File]) -> str:
    memory = Path(request.workspace) / "fingerprints.json"
    content = fingerprint(files, encoding=request.source.encoding, memory=memory)
    return stage.run_key("ingest", request, version=VERSION, content=content)


def run(request: IngestRequest) -> IngestResult:
    """Check all rows against the contract, split them, and publish them with a profile.

    Raises DataError when a file is broken, or too many rows are rejected, or too few are left.
    """
    return stage.publish(IngestResult, request, stage="ingest", key=run_key(request), make=_make)


def _make(request: IngestRequest, out: Path) -> Mapping[str, Any]:
    files = list_files(request.source)
    before = fingerprint(files, encoding=request.source.encoding)
    reader = RowReader(files, request.source, request.contract, with_target=True)
    profiler, labels = Profiler(request.contract), RareLabels()
    rows = _write_rows(request, reader, profiler, labels, out)
    if fingerprint(files, encoding=request.source.encoding) != before:
        raise DataError(f"{request.source.path} changed while it was read; run again when its writer is done")
    _refuse_bad_data(request, reader, rows)
    rows = _with_rare_labels(request, labels, out, rows)
    profile = profiler.profile()
    (out / "profile.json").write_text(profile.to_json())
    (out / "contract.json").write_text(request.contract.to_json())
    return {"rows": rows, "warnings": _warnings(request.contract, reader, profile, rows)}


def _write_rows(
    request: IngestRequest, reader: RowReader, profiler: Profiler, labels: RareLabels, out: Path
) -> Rows:
    contract, counts = request.contract, {"read": 0, "accepted": 0, "rejected": 0}
    splitter = Splitter(request.split, contract, times=_times(request))
    schema = typed_schema(contract, with_target=True)
    weight = 0.0
    with ExitStack() as stack:
        writers = [stack.enter_context(TableWriter(_rows_path(out, name), schema)) for name in SPLITS]
        rejects = stack.enter_context(TableWriter(out / "rejected.parquet", REJECTED))
        for batch in reader:
            rows = batch.accepted
            hashes = identities(rows, contract)
            codes = splitter.assign(rows, hashes)
            _refuse_unknown_split(request, rows, codes)
            for code, writer in enumerate(writers):
                writer.write(rows.filter(pa.array(codes == code)))
            rejects.write(batch.rejected)
            profiler.add(rows, hashes)
            if not contract.target_is_number and not contract.labels_in_lists:
                target = rows.column(contract.target.names[0]).combine_chunks()
                labels.add(target, rows.column(ROW).to_numpy(), hashes, codes)
            weight += float(np.sum(rows.column(WEIGHT).to_numpy())) if contract.weight else 1.0
            counts["read"] += rows.num_rows + batch.rejected.num_rows
            counts["accepted"] += rows.num_rows
            counts["rejected"] += batch.rejected.num_rows
            log.info("ingest: %s rows", f"{counts['read']:,}", extra={"event": {"stage": "ingest", "rows": counts["read"]}})
    if counts["accepted"] and not weight:
        raise DataError(f"weight column {contract.weight!r} holds nothing but zeros: no row would count")
    return Rows(**counts, **{name: writer.rows for name, writer in zip(SPLITS, writers, strict=True)})


def _rows_path(out: Path, split: str) -> Path:
    return out / "rows" / f"{split}.parquet"


def _times(request: IngestRequest) -> Iterator[pa.Array]:
    """Yield all times of a split by time: a pass over that one column."""
    if not isinstance(request.split, TimeSplit):
        return
    name, contract = request.split.column, request.contract
    column = contract.columns.get(name)
    pattern = column.format if isinstance(column, DatetimeColumn) else None
    for file in list_files(request.source):
        reader = open_file(file, request.source)
        if name not in reader.names:
            raise DataError(f"{file.path}: column {name!r}, which decides the split, is missing")
        for batch in reader.batches([name]):
            values = batch.columns.column(name).combine_chunks()
            yield to_times(values, pattern=pattern, name=name, nulls=contract.nulls).values


def _refuse_unknown_split(request: IngestRequest, rows: pa.Table, codes: Codes) -> None:
    if isinstance(request.split, ColumnSplit) and (codes == NOWHERE).any():
        row = rows.slice(int(np.argmax(codes == NOWHERE)), 1)
        raise DataError(
            f"split.column {request.split.column!r} holds {row.column('_split')[0].as_py()!r} in row "
            f"{row.column(ROW)[0].as_py()}; name it under split.train, split.validation or split.test"
        )


def _refuse_bad_data(request: IngestRequest, reader: RowReader, rows: Rows) -> None:
    place = request.source.path
    if not rows.read:
        raise DataError(f"{place} holds 0 rows")
    if rows.rejected > request.maximum_rejected * rows.read:
        raise DataError(
            f"{place}: {rows.rejected:,} of {rows.read:,} rows break the contract, above data.maximum_rejected "
            f"{request.maximum_rejected:g}: {reader.rejections.summary()}"
        )
    if rows.accepted < request.minimum_rows:
        raise DataError(f"{place}: {rows.accepted} rows are too few; data.minimum_rows is {request.minimum_rows}")
    if request.extra == "forbid" and reader.extra:
        raise DataError(f"{place}: unknown columns {', '.join(map(repr, reader.extra[:10]))}; name them or set data.extra")


def _with_rare_labels(request: IngestRequest, labels: RareLabels, out: Path, rows: Rows) -> Rows:
    """Check the classes, move rows of rare ones where a split has none, and return the new counts."""
    contract = request.contract
    if labels.labels or not (contract.problem in REGRESSION or contract.target.columns or contract.labels_in_lists):
        _refuse_few_classes(contract, labels.labels)
    if isinstance(request.split, HashSplit) and (moves := labels.moves()):
        rows = _moved(out, moves, rows)
    for name in SPLITS:
        if not getattr(rows, name):
            raise DataError(f"no row falls into the {name} split: too few rows ({rows.accepted}), or change split")
    return rows


def _refuse_few_classes(contract: Contract, labels: list[str]) -> None:
    name = contract.target.names[0]
    if len(labels) < 2:
        raise DataError(f"target {name!r} has one class only ({labels}): there is nothing to learn")
    if contract.problem == "binary" and len(labels) > 2:
        raise DataError(
            f"target {name!r} has {len(labels)} classes ({', '.join(labels[:5])}...), but problem binary wants two; "
            "use multiclass or name two target.classes"
        )
    if contract.target.positive is not None and contract.target.positive not in labels:
        raise DataError(f"target.positive {contract.target.positive!r} is no label; there are {', '.join(labels)}")


def _moved(out: Path, moves: Mapping[int, int], rows: Rows) -> Rows:
    """Rewrite the splits with some rows in other ones."""
    moving = pa.array(sorted(moves))
    tables, counts = [pa.concat_tables(read_batches(_rows_path(out, name))) for name in SPLITS], {}
    everything = pa.concat_tables(tables)
    for code, (name, table) in enumerate(zip(SPLITS, tables, strict=True)):
        numbers = table.column(ROW).to_numpy()
        stay = table.filter(pa.array(~np.isin(numbers, moving.to_numpy())))
        coming = [row for row, to in moves.items() if to == code]
        come = everything.filter(pa.array(np.isin(everything.column(ROW).to_numpy(), coming)))
        with TableWriter(_rows_path(out, name), table.schema) as writer:
            writer.write(pa.concat_tables([stay, come]))
        counts[name] = stay.num_rows + come.num_rows
    return rows.model_copy(update=counts)


def _warnings(contract: Contract, reader: RowReader, profile: Profile, rows: Rows) -> list[str]:
    said = [f"column {name!r} is not in the spec and was left out" for name in reader.extra[:20]]
    for name, column in profile.columns.items():
        if column.missing == profile.rows:
            if name in contract.columns and contract.columns[name].required:
                raise DataError(f"column {name!r} is required, but has no value at all")
            said.append(f"column {name!r} has no value at all and will be left out")
        elif column.unique == 1:
            said.append(f"column {name!r} is constant: it tells the network nothing")
    if rows.rejected:
        said.append(f"{rows.rejected:,} rows rejected: {reader.rejections.summary(most=3)}")
    return said


if __name__ == "__main__":
    stage.main(IngestRequest, run)
