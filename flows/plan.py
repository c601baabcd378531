"""What a run would do, found out without running it."""

import functools
import importlib
import itertools
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from flows.requests import encode_request, ingest_request, parameters, train_request, tune_request
from schemas.errors import DataError
from schemas.networks import Custom, Residual
from schemas.spec import Spec
from schemas.stages import (
    EncodeResult,
    IngestRequest,
    IngestResult,
    Input,
    TrainRequest,
    TrainResult,
    TuneRequest,
    TuneResult,
)
from schemas.tuning import Settings, Tuning, default_space
from tasks import encode, ingest, stage, targets, train, tune, warm_start
from tasks.registry import Registry
from tasks.rows import RowReader
from tasks.sources.files import list_files
from tasks.tuning import reuse
from tasks.workspaces import place

_BATCHES = 4


def plan(spec: Spec, workspace: str) -> Iterator[str]:
    """Yield lines for a person: what the data looks like against the spec, and which stages would run.

    Raises SpecError or DataError for what would make the run fail, as far as the names in the spec and the first rows
    of the data show.
    """
    _check_names(spec)
    request = ingest_request(spec, workspace=workspace)
    yield f"model     {spec.name}: {spec.problem}, target {', '.join(spec.target.names)}"
    yield from _data(spec, request)
    kinds = [column.kind for column in spec.columns.values()]
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    yield f"features  {len(kinds)} columns: {counts}"
    yield f"split     by {spec.split.by}"
    yield f"network   {_network(spec)}"
    training = spec.training
    yield f"training  at most {training.epochs} epochs of batches of {training.batch_size}, {training.optimizer.name}"
    if spec.tuning:
        yield f"tuning    {_tuning(spec, spec.tuning)}"
    yield f"stages    {_stages(spec, workspace, request)}"


def _check_names(spec: Spec) -> None:
    """Let Keras and scikit-learn make what the spec names, and try the metrics on a few rows."""
    from tasks import bundle, metrics
    from tasks.scored import sample

    bundle.load_tensorflow()
    catalogue = importlib.import_module("tasks.training.catalogue")
    catalogue.optimizer(spec.training.optimizer)
    if spec.training.loss is not None:
        catalogue.loss(spec.training.loss)
    if isinstance(spec.network, Custom):
        importlib.import_module("tasks.networks.custom").function(spec.network)
    else:
        for key in ("initializer", "regularizer", "constraint"):
            if (named := getattr(spec.network, key)) is not None:
                getattr(catalogue, key)(named, key=f"network.{key}")
    tuned = [spec.tuning.metric] if spec.tuning and spec.tuning.metric else []
    classes = max((metric.arguments.get("k", 0) for metric in (*spec.evaluation.wanted, *tuned)), default=0)
    rows = sample(spec.problem, classes=classes)
    metrics.compute(rows, spec.evaluation.wanted)
    metrics.compute(rows, tuned, key="tuning.metric")


def _network(spec: Spec) -> str:
    network = spec.network
    if isinstance(network, Custom):
        return f"custom, by {network.builder}"
    if isinstance(network, Residual):
        return f"residual, {network.blocks} blocks of width {network.width}, {network.activation}"
    hidden = ", ".join(map(str, network.hidden)) or "none"
    return f"{network.kind}, hidden layers {hidden}, {network.activation}"


def _data(spec: Spec, request: IngestRequest) -> Iterator[str]:
    files = list_files(request.source)
    period = ingest.bounds_of(request)
    reader = RowReader(files, request.source, request.contract, with_target=True, period=period)
    batches = list(itertools.islice(reader, _BATCHES))
    accepted = sum(batch.accepted.num_rows for batch in batches)
    rejected = sum(batch.rejected.num_rows for batch in batches)
    outside = sum(batch.outside for batch in batches)
    if not accepted + rejected + outside:
        raise DataError(f"{spec.data.path} holds 0 rows")
    yield f"data      {len(files)} file{'s' * (len(files) > 1)}, {spec.data.path}"
    yield f"rows      of the first {accepted + rejected:,} rows {rejected:,} would be rejected"
    if outside:
        yield f"          {outside:,} more of them are outside the period ({period})"
    if rejected:
        yield f"          {reader.rejections.summary()}"
    if rejected > spec.data.maximum_rejected * (accepted + rejected):
        yield f"          that is above data.maximum_rejected {spec.data.maximum_rejected:g}: the run would be refused"
    typed = pa.concat_tables(batch.accepted for batch in batches)
    targets.refuse_first_rows(spec, typed, are_all=len(batches) < _BATCHES)
    if reader.extra:
        yield f"          not in the spec: {', '.join(reader.extra[:20])}"


def _stages(spec: Spec, workspace: str, request: IngestRequest) -> str:
    home = place(workspace)
    ingested = stage.published(IngestResult, home / "ingest" / ingest.run_key(request))
    if ingested is None:
        return "all would run"
    begun = _start(spec, train_request(spec, workspace=workspace, ingest=ingested, encode=None))
    asked_of_encode = encode_request(workspace=workspace, ingest=ingested, start=begun)
    encoded = stage.published(EncodeResult, home / "encode" / encode.run_key(asked_of_encode))
    if encoded is None:
        return "ingest stands; encode and all after it would run"
    asked: Any = {"workspace": workspace, "ingest": ingested, "encode": encoded}
    stand = "ingest and encode"
    if spec.tuning:
        settings, stand = _settings(spec, tune_request(spec, **asked))
        if settings is None:
            return f"{stand} stand; tune and all after it would run"
        spec = spec.settled(settings)
    trained = stage.published(
        TrainResult,
        home / "train" / train.run_key(train_request(spec, **asked, start=begun)),
    )
    if trained is None:
        return f"{stand} stand; train and all after it would run"
    return f"{stand.replace(' and', ',')} and train stand; evaluate and register run if the champion changed"


def _start(spec: Spec, request: TrainRequest) -> Input | None:
    """Return the bundle that a run's training would begin from."""
    if spec.retraining.start == "fresh":
        return None
    registry = Registry(workspace=request.workspace)
    start = warm_start.find(request, registry, spec.name, parameters(spec))
    return warm_start.bundle(start, registry, spec.name)[0]


def _settings(spec: Spec, request: TuneRequest) -> tuple[Settings | None, str]:
    """Return the settings that a run would train with, if they are known, and what stands up to them."""
    registry = Registry(workspace=request.workspace)
    drifted = functools.partial(reuse.drifted, registry=registry, ingest=request.ingest, drift=spec.drift)
    if known := reuse.known(request, registry.versions(spec.name), drifted=drifted):
        return known.settings, "ingest and encode"
    tuned = stage.published(TuneResult, place(request.workspace) / "tune" / tune.run_key(request))
    return (tuned.settings, "ingest, encode and tune") if tuned else (None, "ingest and encode")


def _tuning(spec: Spec, tuning: Tuning) -> str:
    from tasks import metrics

    budget = [f"{tuning.trials} trials"] if tuning.trials else []
    budget += [f"{tuning.minutes:g} minutes"] if tuning.minutes else []
    space = tuning.space or default_space(spec.network, spec.training)
    when = tuning.when if isinstance(tuning.when, str) else f"every {tuning.when} versions"
    by = metrics.name_of(tuning.metric) if tuning.metric else "validation loss"
    return f"at most {' or '.join(budget)} over {', '.join(space)}, compared by {by}; anew: {when}"
