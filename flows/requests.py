"""What a spec asks of each stage."""

from collections.abc import Iterator
from typing import Any

from schemas.contract import Contract
from schemas.data import Source
from schemas.period import Period
from schemas.spec import Spec
from schemas.stages import (
    EncodeRequest,
    EncodeResult,
    EvaluateRequest,
    EvaluateResult,
    IngestRequest,
    IngestResult,
    Input,
    RegisterRequest,
    Start,
    TrainRequest,
    TrainResult,
    Tuned,
    TuneRequest,
    TuneResult,
)
from schemas.tuning import Tuning

Champion = tuple[str, Input] | None
"""The version that a challenger must beat, and its bundle."""

_NOT_OF_THE_VERSION: dict[str, Any] = {"columns": True, "data": {"path"}, "retraining": True, "schedules": True}


def ingest_request(spec: Spec, *, workspace: str, verify: bool = False) -> IngestRequest:
    """Return what ingest is asked to do."""
    return IngestRequest(
        workspace=workspace,
        source=Source(**{name: getattr(spec.data, name) for name in Source.model_fields}),
        contract=Contract.of(spec),
        split=spec.split,
        period=Period.of(spec),
        extra=spec.data.extra,
        minimum_rows=spec.data.minimum_rows,
        maximum_rejected=spec.data.maximum_rejected,
        verify=verify,
    )


def encode_request(*, workspace: str, ingest: IngestResult, start: Input | None = None) -> EncodeRequest:
    """Return what encode is asked to do; `start` is the bundle that training begins from."""
    return EncodeRequest(workspace=workspace, ingest=ingest.as_input, champion=start)


def train_request(
    spec: Spec, *, workspace: str, ingest: IngestResult, encode: EncodeResult | None, start: Input | None = None
) -> TrainRequest:
    """Return what train is asked to do; where nothing is encoded yet, what is known of it."""
    return TrainRequest(
        workspace=workspace,
        ingest=ingest.as_input,
        encode=encode.as_input if encode else Input(path=""),
        network=spec.network,
        training=spec.training,
        champion=start,
        refit=spec.retraining.refit,
    )


def tune_request(spec: Spec, *, workspace: str, ingest: IngestResult, encode: EncodeResult) -> TuneRequest:
    """Return what tune is asked to do."""
    return TuneRequest(
        workspace=workspace,
        ingest=ingest.as_input,
        encode=encode.as_input,
        network=spec.network,
        training=spec.training,
        tuning=spec.tuning or Tuning(),
    )


def evaluate_request(
    spec: Spec,
    *,
    workspace: str,
    ingest: IngestResult,
    encode: EncodeResult,
    train: TrainResult,
    champion: Champion,
    tune: TuneResult | None = None,
    tuned: Tuned | None = None,
) -> EvaluateRequest:
    """Return what evaluate is asked to do; how to train is said only where it has to.

    Of `tune` and `tuned` the former tells more: it is there where settings were tuned in this very run.
    """
    version, bundle = champion or (None, None)
    trains = spec.evaluation.trains
    return EvaluateRequest(
        workspace=workspace,
        name=spec.name,
        ingest=ingest.as_input,
        train=train.as_input,
        champion=bundle,
        champion_version=version,
        evaluation=spec.evaluation,
        promotion=spec.promotion,
        drift=spec.drift,
        encode=encode.as_input if trains else None,
        tune=tune.as_input if tune else None,
        tuned=None if tune else tuned,
        network=spec.network if trains else None,
        training=spec.training if trains else None,
    )


def register_request(
    spec: Spec,
    *,
    workspace: str,
    ingest: IngestResult,
    train: TrainResult,
    evaluate: EvaluateResult,
    champion: Champion,
    tuned: Tuned | None = None,
    start: Start | None = None,
) -> RegisterRequest:
    """Return what register is asked to do."""
    return RegisterRequest(
        workspace=workspace,
        name=spec.name,
        ingest=ingest.as_input,
        train=train.as_input,
        evaluate=evaluate.as_input,
        champion_version=champion[0] if champion else None,
        promote=spec.promotion.promote,
        smoke=spec.promotion.smoke,
        parameters=parameters(spec),
        tuned=tuned,
        start=start,
    )


def parameters(spec: Spec) -> dict[str, Any]:
    """Return what of a spec makes a version what it is: its values by dotted key."""
    return dict(_flat(spec.model_dump(mode="json", exclude=_NOT_OF_THE_VERSION)))


def _flat(tree: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of a tree under dotted names."""
    if isinstance(tree, dict):
        for name, value in tree.items():
            yield from _flat(value, f"{prefix}.{name}" if prefix else name)
    elif tree is not None:
        yield prefix, tree
