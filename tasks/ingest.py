"""Ingest: raw rows in, checked and split rows out. Reads files once, batch by batch, in flat memory."""

import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.contract import ROW, WEIGHT, Contract
from schemas.data import REGRESSION, ColumnSplit, HashSplit, TimeSplit
from schemas.errors import DataError
from schemas.profile import Profile
from schemas.stages import IngestRequest, IngestResult, Rows
from tasks import plugins, stage, targets
from tasks.coercion import to_times
from tasks.parallel import Behind, in_order
from tasks.periods import Bounds, bounds, nothing_inside
from tasks.problems import REJECTED
from tasks.profiles import Profiler
from tasks.quotes import quoted
from tasks.repeated_keys import FirstPass, RepeatedKeys, SecondPass
from tasks.row_keys import UInts
from tasks.rows import Checked, RowReader
from tasks.sources.files import fingerprint, list_files
from tasks.sources.readers import open_file
from tasks.splits import NOWHERE, SPLITS, Codes, RareLabels, Splitter, labels_of
from tasks.tables import TableWriter, read_batches, single_array
from tasks.typed_rows import typed_schema
from tasks.workspaces import place

log = logging.getLogger("evermodel.ingest")

VERSION = 3


def run_key(request: IngestRequest) -> str:
    """Return the run key: it changes with the request, with any byte of the source's files and of a user's model."""
    return _run_key(request, _content(request))


def _run_key(request: IngestRequest, content: str) -> str:
    model = request.contract.model
    code = {"model": plugins.source_digest(model)} if model else {}
    return stage.run_key("ingest", request, version=VERSION, content=content, **code)


def _content(request: IngestRequest) -> str:
    memory = place(request.workspace).directory / "fingerprints.json"
    files, encoding = list_files(request.source), request.source.encoding
    return fingerprint(files, encoding=encoding, memory=memory, verify=request.verify)


def run(request: IngestRequest) -> IngestResult:
    """Check all rows against the contract, split them, and publish them with a profile.

    Raises DataError when a file is broken, or too many rows are rejected, or too few are left.
    """
    content = _content(request)

    def make(request: IngestRequest, out: Path) -> Mapping[str, Any]:
        return _make(request, out, content)

    return stage.publish(IngestResult, request, stage="ingest", key=_run_key(request, content), make=make)


def _make(request: IngestRequest, out: Path, content: str) -> Mapping[str, Any]:
    period = bounds_of(request, disk=out)
    read = _read(request, out, period)
    if _content(request) != content:
        raise DataError(f"{request.source.path} changed while it was read; run again when its writer is done")
    if period and read.rows.outside and not read.rows.read:
        raise nothing_inside(request.source.path, period, _times(request, period.column))
    _refuse_bad_data(request, read.reader, read.rows)
    rows = _with_rare_labels(request, read.notes.labels, out, read.rows)
    profile = read.notes.profiler.profile()
    (out / "profile.json").write_text(profile.to_json())
    (out / "reference.json").write_text(read.notes.profiler.reference().model_dump_json() + "\n")
    (out / "contract.json").write_text(request.contract.to_json())
    left_out = [f"{rows.outside:,} rows are outside the period ({period}) and were left out"] if rows.outside else []
    return {"rows": rows, "warnings": [*left_out, *_warnings(request.contract, read.reader, profile, rows)]}


class _Notes:
    """What is told of accepted rows as they pass."""

    def __init__(self, request: IngestRequest) -> None:
        """Start with no rows."""
        self._contract = request.contract
        self.profiler, self.labels = Profiler(request.contract), RareLabels(request.contract, request.split)
        self.weights = np.zeros(len(SPLITS))
        """The sum of weights in each split."""

    def add(self, rows: pa.Table, hashes: UInts, codes: Codes) -> None:
        """Take a batch, the hashes of its rows and their splits."""
        self.profiler.add(rows, hashes)
        if self._contract.problem not in REGRESSION:
            values, at = labels_of(rows, self._contract)
            self.labels.add(values, rows.column(ROW).to_numpy()[at], hashes[at], codes[at])
        if self._contract.weight:
            self.weights += np.bincount(codes, weights=rows.column(WEIGHT).to_numpy(), minlength=len(SPLITS))


@dataclass(frozen=True)
class _Pass:
    """What is known when all rows are written."""

    reader: RowReader
    notes: _Notes
    rows: Rows


def _read(request: IngestRequest, out: Path, period: Bounds | None) -> _Pass:
    """Write all rows; a second time if keys repeat that came too far apart to be seen at once."""
    with tempfile.TemporaryDirectory(dir=out) as folder:
        first = FirstPass(Path(folder))
        done = _pass(request, out, first, period)
        suspects = first.suspects()
    if not len(suspects):
        return done
    log.info("ingest: %s keys repeat, the rows are read once more to find where", f"{len(suspects):,}")
    return _pass(request, out, SecondPass(suspects), period)


def _pass(request: IngestRequest, out: Path, repeated: RepeatedKeys, period: Bounds | None) -> _Pass:
    files = list_files(request.source)
    reader = RowReader(files, request.source, request.contract, with_target=True, repeated=repeated, period=period)
    notes = _Notes(request)
    return _Pass(reader, notes, _write_rows(request, reader, notes, out, period=period))


def bounds_of(request: IngestRequest, *, disk: Path | None = None) -> Bounds | None:
    """Return the bounds of the period that is asked for; a relative one takes a pass over its column."""
    period = request.period
    return bounds(period, _times(request, period.column), disk=disk) if period else None


def _write_rows(request: IngestRequest, reader: RowReader, notes: _Notes, out: Path, *, period: Bounds | None) -> Rows:
    """Write accepted rows by split, and rejected ones; what is noted of them is noted beside that."""
    contract, counts = request.contract, {"read": 0, "accepted": 0, "rejected": 0, "outside": 0}
    splitter = Splitter(request.split, contract, times=_split_times(request, period), disk=out)
    schema = typed_schema(contract, with_target=True)

    def parted(batch: Checked) -> tuple[Checked, Codes, list[pa.Table]]:
        codes = splitter.assign(batch.accepted, batch.hashes)
        _refuse_unknown_split(request, batch.accepted, codes)
        return batch, codes, [batch.accepted.filter(pa.array(codes == code)) for code in range(len(SPLITS))]

    with ExitStack() as stack:
        writers = [stack.enter_context(TableWriter(_rows_path(out, name), schema)) for name in SPLITS]
        rejects = stack.enter_context(TableWriter(out / "rejected.parquet", REJECTED))
        behind = stack.enter_context(Behind())
        for batch, codes, parts in in_order(parted, reader):
            _refuse_extra(request, reader)
            for part, writer in zip(parts, writers, strict=True):
                writer.write(part)
            rejects.write(batch.rejected)
            behind.do(notes.add, batch.accepted, batch.hashes, codes)
            counts["read"] += batch.accepted.num_rows + batch.rejected.num_rows
            counts["accepted"] += batch.accepted.num_rows
            counts["rejected"] += batch.rejected.num_rows
            counts["outside"] += batch.outside
            log.info(
                "ingest: %s rows", f"{counts['read']:,}", extra={"event": {"stage": "ingest", "rows": counts["read"]}}
            )
    said = Rows(**counts, **{name: writer.rows for name, writer in zip(SPLITS, writers, strict=True)})
    if contract.weight:
        _refuse_weightless(contract.weight, notes.weights, said)
    return said


def _refuse_extra(request: IngestRequest, reader: RowReader) -> None:
    if request.extra == "forbid" and reader.extra:
        said = ", ".join(map(repr, reader.extra[:10]))
        raise DataError(f"{request.source.path}: unknown columns {said}; name them or set data.extra to ignore")


def _refuse_weightless(column: str, weights: Any, rows: Rows) -> None:
    for name, weight in zip(SPLITS, weights, strict=True):
        if getattr(rows, name) and not weight:
            raise DataError(f"weight column {column!r} holds nothing but zeros in the {name} split: no row would count")


def _rows_path(out: Path, split: str) -> Path:
    return out / "rows" / f"{split}.parquet"


def _split_times(request: IngestRequest, period: Bounds | None) -> Iterator[pa.Array]:
    """Yield the times of a split by time, without those outside the period: a pass over that one column, or two."""
    if not isinstance(request.split, TimeSplit):
        return
    if period is None:
        yield from _times(request, request.split.column)
        return
    for values, deciding in _columns_of_times(request, request.split.column, period.column):
        yield values.filter(pa.array(~period.outside(deciding)))


def _times(request: IngestRequest, name: str) -> Iterator[pa.Array]:
    """Yield all times of a column, batch by batch."""
    return (values for (values,) in _columns_of_times(request, name))


def _columns_of_times(request: IngestRequest, *names: str) -> Iterator[list[pa.Array]]:
    contract = request.contract
    for file in list_files(request.source):
        reader = open_file(file, request.source)
        if missing := [name for name in names if name not in reader.names]:
            raise DataError(f"{file.path}: column {missing[0]!r}, which says when rows are of, is missing")
        for batch in reader.batches(list(dict.fromkeys(names))):
            columns = [single_array(batch.columns.column(name)) for name in names]
            yield [
                to_times(values, pattern=contract.time_format(name), name=name, nulls=contract.nulls).values
                for name, values in zip(names, columns, strict=True)
            ]


def _refuse_unknown_split(request: IngestRequest, rows: pa.Table, codes: Codes) -> None:
    if isinstance(request.split, ColumnSplit) and (codes == NOWHERE).any():
        row = rows.slice(int(np.argmax(codes == NOWHERE)), 1)
        raise DataError(
            f"split.column {request.split.column!r} holds {quoted(row.column('_split')[0].as_py())} in row "
            f"{row.column(ROW)[0].as_py()}; name it under split.train, split.validation or split.test"
        )


def _refuse_bad_data(request: IngestRequest, reader: RowReader, rows: Rows) -> None:
    place = request.source.path
    if not rows.read:
        raise DataError(f"{place} holds 0 rows")
    if rows.rejected > request.maximum_rejected * rows.read:
        raise DataError(
            f"{place}: {rows.rejected:,} of {rows.read:,} rows break the contract, above data.maximum_rejected "
            f"{request.maximum_rejected:g}: {reader.rejections.summary()}; mend the source, or raise the limit"
        )
    if rows.accepted < request.minimum_rows:
        raise DataError(f"{place}: {rows.accepted} rows are too few; data.minimum_rows is {request.minimum_rows}")


def _with_rare_labels(request: IngestRequest, labels: RareLabels, out: Path, rows: Rows) -> Rows:
    """Check the classes, move rows of rare ones where a split has none, and return the new counts."""
    if request.contract.problem not in REGRESSION:
        targets.refuse_few_classes(request.contract, labels.labels)
    if not isinstance(request.split, HashSplit):
        labels.refuse_untrained()
    elif moves := labels.moves():
        rows = _moved(out, moves, rows)
    for name in SPLITS:
        if not getattr(rows, name):
            raise DataError(f"no row falls into the {name} split: too few rows ({rows.accepted}), or change split")
    return rows


def _moved(out: Path, moves: Mapping[int, int], rows: Rows) -> Rows:
    """Rewrite the splits with some rows in other ones, behind those that stay."""
    numbers = pa.array(sorted(moves), pa.int64())
    coming: list[list[pa.Table]] = [[] for _ in SPLITS]
    for name in SPLITS:
        for batch in read_batches(_rows_path(out, name)):
            moving = batch.filter(pc.is_in(batch.column(ROW), value_set=numbers))
            to = np.array([moves[row] for row in moving.column(ROW).to_pylist()], np.int8)
            for code, tables in enumerate(coming):
                tables.append(moving.filter(pa.array(to == code)))
    return rows.model_copy(
        update={
            name: _rewritten(_rows_path(out, name), numbers, come) for name, come in zip(SPLITS, coming, strict=True)
        }
    )


def _rewritten(path: Path, leaving: pa.Array, coming: Sequence[pa.Table]) -> int:
    """Rewrite a file without some rows and with other ones; return how many it has then."""
    before = path.rename(path.with_name("before.parquet"))
    with TableWriter(path, coming[0].schema) as writer:
        for batch in read_batches(before):
            writer.write(batch.filter(pc.invert(pc.is_in(batch.column(ROW), value_set=leaving))))
        for table in coming:
            writer.write(table)
    before.unlink()
    return writer.rows


def _warnings(contract: Contract, reader: RowReader, profile: Profile, rows: Rows) -> list[str]:
    said = [f"column {name!r} is not in the spec and was left out" for name in reader.extra[:20]]
    for name, column in profile.columns.items():
        if column.missing == profile.rows:
            said.append(f"column {name!r} has no value at all and will be left out")
        elif column.unique == 1 and contract.problem in REGRESSION and name in contract.target.names:
            raise DataError(f"target {name!r} is {column.minimum:g} in every row: there is nothing to learn")
        elif column.unique == 1:
            said.append(f"column {name!r} is constant: it tells the network nothing")
    if rows.rejected:
        said.append(f"{rows.rejected:,} rows rejected: {reader.rejections.summary(most=3)}")
    return said


if __name__ == "__main__":
    stage.main(IngestRequest, run)
