"""Monitor: new rows through the champion's contract and network, beside what it was made from; trains nothing."""

import itertools
import json
import logging
import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas import names
from schemas.contract import ROW, Contract
from schemas.document import digest
from schemas.errors import DataError
from schemas.monitoring import MonitorRequest, MonitorResult
from schemas.reference import Marginal, Reference
from schemas.stages import Rows, Values
from tasks import plugins, stage
from tasks.bundle import Bundle
from tasks.coercion import outside
from tasks.drift import marginals
from tasks.drift.comparison import compare
from tasks.problems import REJECTED
from tasks.profiles import Profiler
from tasks.row_keys import UInts, mix
from tasks.rows import RowReader
from tasks.samples import Sample
from tasks.sources.files import fingerprint, list_files
from tasks.sources.readers import open_file
from tasks.tables import TableWriter, single_array
from tasks.workspaces import place

log = logging.getLogger("evermodel.monitor")

VERSION = 2

_SAMPLE_ROWS = 20_000


def run_key(request: MonitorRequest) -> str:
    """Return the run key: the same rows are judged once a version, however often they are looked at."""
    return _run_key(request, _content(request))


def _run_key(request: MonitorRequest, content: str) -> str:
    own = plugins.source_digests(metric.name for metric in request.metrics if names.is_reference(metric.name))
    return stage.run_key("monitor", request, version=VERSION, content=content, **({"code": digest(own)} if own else {}))


def _content(request: MonitorRequest) -> str:
    memory = place(request.workspace).directory / "fingerprints.json"
    return fingerprint(list_files(request.source), encoding=request.source.encoding, memory=memory)


def run(request: MonitorRequest) -> MonitorResult:
    """Score new rows, compare them and the predictions with the champion's reference, and measure labelled ones.

    Rows that break the contract go to rejected.parquet. Raises DataError when no row keeps it, and when the rows change
    while they are read.
    """
    content = _content(request)

    def make(request: MonitorRequest, out: Path) -> Mapping[str, Any]:
        return _make(request, out, content)

    return stage.publish(MonitorResult, request, stage="monitor", key=_run_key(request, content), make=make)


def _make(request: MonitorRequest, out: Path, content: str) -> Mapping[str, Any]:
    bundle = Bundle(request.bundle)
    rows, new = _observed(request, bundle, out)
    labelled = _Labelled(request, bundle)
    measured = labelled.measured()
    if _content(request) != content:  # also what was read twice is the same then
        raise DataError(f"{request.source.path} changed while it was read; run again when its writer is done")
    (out / "quality.json").write_text(json.dumps(measured, indent=2) + "\n")
    summary = None
    if bundle.reference is not None:
        report = compare(bundle.reference, new.model_copy(update={"targets": labelled.targets()}), request.drift)
        (out / "drift.json").write_text(report.to_json())
        summary = report.summary
    return {
        "name": request.name,
        "version": request.version,
        "checked": round(time.time(), 3),
        "rows": rows,
        "labelled": labelled.rows,
        "metrics": measured,
        "drift": summary,
    }


def _observed(request: MonitorRequest, bundle: Bundle, out: Path) -> tuple[Rows, Reference]:
    """Return how many rows there are, and their marginals with those of the predictions; write the rejected rows."""
    reader = RowReader(list_files(request.source), request.source, bundle.contract, with_target=False)
    profiler, said = Profiler(bundle.contract, with_target=False), Sample(_SAMPLE_ROWS)
    accepted = 0
    with TableWriter(out / "rejected.parquet", REJECTED) as rejects:
        for batch in reader:
            rejects.write(batch.rejected)
            if batch.accepted.num_rows:
                hashes = _numbered(batch.accepted)
                profiler.add(batch.accepted, hashes)
                said.add(pa.table(bundle.encoder.target.columns(bundle.predict(batch.accepted))), hashes)
            accepted += batch.accepted.num_rows
            log.info("monitor: %s rows", f"{accepted:,}", extra={"event": {"stage": "monitor", "rows": accepted}})
    if not accepted:
        why = f": {reader.rejections.summary()}" if rejects.rows else ""
        raise DataError(f"{request.source.path} holds no row that keeps the contract of {request.name}{why}")
    predictions = marginals.predictions({name: said.rows.column(name) for name in said.rows.column_names})
    found = profiler.reference().model_copy(update={"predictions": predictions})
    return Rows(read=accepted + rejects.rows, accepted=accepted, rejected=rejects.rows), found


def _numbered(rows: pa.Table) -> UInts:
    """Return a hash of each row's number, shape (n,): rows need no key to be sampled."""
    return mix(rows.column(ROW).to_numpy().astype(np.uint64) + np.uint64(1))


class _Labelled:
    """The rows that came with a target: read by themselves, since labels come late and often for some rows only.

    Of several files, those count that have the target's columns.
    """

    def __init__(self, request: MonitorRequest, bundle: Bundle) -> None:
        self._request, self._bundle = request, bundle
        self.rows = 0
        names = {file: set(open_file(file, request.source).names) for file in list_files(request.source)}
        self._files = [file for file in names if names[file].issuperset(bundle.contract.target.names)]
        everywhere = set.intersection(*(names[file] for file in self._files)) if self._files else set()
        self._contract = self._plain(bundle.contract, everywhere) if self._files else None
        self._profiler = Profiler(self._contract.model_copy(update={"columns": {}})) if self._contract else None

    def _plain(self, contract: Contract, there: set[str]) -> Contract:
        """Return the contract of features and target alone, and of weights where all files have them."""
        weight = contract.weight if contract.weight in there else None
        unasked = {"key": (), "split": None, "split_time": False, "slices": (), "model": None, "weight": weight}
        return contract.model_copy(update=unasked)

    def measured(self) -> Values:
        """Return the metrics of the labelled rows; none without such rows."""
        from tasks import metrics
        from tasks.evaluation import score_batches

        batches = self._batches()
        first = next(batches, None)
        if first is None:
            return {}
        scored = score_batches(self._bundle, itertools.chain([first], batches))
        found = metrics.compute(scored, self._request.metrics)
        return {name: value if math.isfinite(value) else None for name, value in found.items()}

    def _batches(self) -> Iterator[pa.Table]:
        if self._contract is None or self._profiler is None:
            return
        for batch in RowReader(self._files, self._request.source, self._contract, with_target=True):
            if batch.accepted.num_rows:
                self._profiler.add(batch.accepted, _numbered(batch.accepted))
            known = self._known(batch.accepted)
            self.rows += known.num_rows
            if known.num_rows:
                yield known

    def _known(self, rows: pa.Table) -> pa.Table:
        """Return the rows whose labels the network can say."""
        target = self._bundle.encoder.target
        if target.kind == "numbers" or len(target.names) > 1:
            return rows
        values = single_array(rows.column(target.names[0]))
        if pa.types.is_list(values.type):
            return rows.filter(pa.array(~outside(values, target.classes)))
        return rows.filter(pc.is_in(values, value_set=pa.array(target.classes, pa.string())))

    def targets(self) -> dict[str, Marginal]:
        """Return the marginals of the target's columns, once the rows were measured."""
        return self._profiler.reference().targets if self._profiler is not None and self.rows else {}


if __name__ == "__main__":
    stage.main(MonitorRequest, run)
