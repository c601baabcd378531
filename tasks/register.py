"""Register: a version of the model in MLflow with all that belongs to it, and the aliases."""

import functools
import importlib.metadata
import json
import logging
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from schemas.contract import Contract
from schemas.promotion import Check
from schemas.stages import EvaluateRequest, EvaluateResult, IngestResult, RegisterRequest, RegisterResult, TrainResult
from tasks import bundle_contents, decisions, evaluate, freshness, stage, tags
from tasks.promotion import objections
from tasks.registry import Registry, Version, answering
from tasks.scratch import remove
from tasks.workspaces import MANIFEST, place

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.models import ModelSignature

    from tasks.promotion.smoke import Tester

log = logging.getLogger("evermodel.register")

VERSION = 2

_REQUIREMENTS = ("mlflow", "fsspec", "numpy", "pandas", "pandera", "pyarrow", "pydantic", "pyyaml", "scikit-learn")


_INGESTED = ("profile.json", "rows/test.parquet")


@dataclass(frozen=True)
class _Inputs:
    """What the stages before have published, whose files are verified once."""

    ingested: Path
    ingest: IngestResult
    trained: Path
    train: TrainResult
    evaluated: Path
    evaluation: EvaluateResult

    @classmethod
    def of(cls, request: RegisterRequest) -> Self:
        return cls(
            *stage.opened(IngestResult, request.ingest, files=_INGESTED),
            *stage.opened(TrainResult, request.train),
            *stage.opened(EvaluateResult, request.evaluate),
        )


def run_key(request: RegisterRequest) -> str:
    """Return the run key: it changes with the bundle and its evaluation."""
    return stage.run_key("register", request, version=VERSION)


def registry_of(request: RegisterRequest) -> Registry:
    """Return the registry that a request speaks of."""
    return Registry(workspace=request.workspace, tracking_uri=request.tracking_uri)


def stands(request: RegisterRequest) -> bool:
    """Say whether the version that this request makes is in the registry, compared as the request says."""
    version = _version(request, registry_of(request))
    return version is not None and version.tags.get(tags.COMPARED_WITH) == (request.champion_version or "")


def run(request: RegisterRequest) -> RegisterResult:
    """Make a version, point `challenger` to it, and `champion` too if it passed every check and nobody has to be asked.

    A version that an earlier run made, killed or not, is found by its question and decided on: no bundle becomes two
    versions because its report shows more or the last word is another person's. Raises ResourceError when the registry
    does not answer.
    """
    key = run_key(request)
    target = place(request.workspace) / "register" / key
    target.fetch()
    if target.directory.exists() and not stands(request):
        target.discard()  # the registry was emptied since, or the version compared with another champion
    return stage.publish(RegisterResult, request, stage="register", key=key, make=_make)


def _make(request: RegisterRequest, out: Path) -> Mapping[str, Any]:
    from tasks.promotion import smoke

    store = registry_of(request)
    given = _Inputs.of(request)
    with smoke.Tester() as tester, answering(store.uri):
        if request.smoke and given.evaluation.verdict.better:
            tester.start()
        with store.making(request.name):
            version = _version(request, store)
            version = _renewed(request, store, given, version) if version else _new_version(request, store, given, out)
        store.client.set_registered_model_alias(request.name, tags.CHALLENGER, version.version)
        smoke_test = functools.partial(_smoke, request, store, given, out=out, tester=tester)
        outcome = _outcome(request, store, version, given.evaluation, smoke_test)
    figures = {"name": request.name, "version": version.version, **outcome}
    shown = {**figures, "checks": [check.model_dump() for check in outcome["checks"]]}
    (out / "version.json").write_text(json.dumps(shown, indent=2) + "\n")
    log.info("register: %s version %s, %s", request.name, version.version, outcome["reason"])
    return figures


def _outcome(
    request: RegisterRequest,
    store: Registry,
    version: Version,
    evaluation: EvaluateResult,
    smoke_test: Callable[[Version], Check],
) -> dict[str, Any]:
    """Promote the version, or not; return promoted, waits, reason and the checks that were made here."""
    if tags.CHAMPION in version.aliases:  # a killed run had promoted it, or a person did
        why = version.tags.get(tags.REASON, evaluation.verdict.reason)
        if not decisions.of(version):
            decisions.replace(store, version, champion=version.version, what="promoted", why=why)
        return {"promoted": True, "reason": why, "checks": ()}
    checks, why_not = _objections(request, store, version, evaluation, smoke_test)
    what, why = _decision(request, evaluation, why_not)
    if what == "promoted":
        try:
            decisions.replace(store, version, champion=request.champion_version, what=what, why=why)
        except decisions.MovedError as error:
            what, why = "refused", f"not promoted: {error}"
    past = decisions.of(version)
    if what != "promoted" and not (past and past[-1].what == what == "waits"):  # or it would wait from now on
        decision = decisions.Decision(what=what, who=decisions.EVERMODEL, when=decisions.now().isoformat(), why=why)
        decisions.record(store, version, decision)
    return {"promoted": what == "promoted", "waits": what == "waits", "reason": why, "checks": checks}


def _decision(request: RegisterRequest, evaluation: EvaluateResult, why_not: str) -> tuple[decisions.What, str]:
    proof = evaluation.verdict.reason.removeprefix("promoted: ").removeprefix("a person decides: ")
    asks = any(check.asks for check in evaluation.verdict.checks)
    if why_not:
        return "refused", why_not
    if request.promote == "never":
        return "refused", f"not promoted, as promotion.promote is never: {proof}"
    if asks or request.promote == "approve":
        return "waits", f"waits for approval: {proof}"
    return "promoted", evaluation.verdict.reason


def _objections(
    request: RegisterRequest,
    store: Registry,
    version: Version,
    evaluation: EvaluateResult,
    smoke_test: Callable[[Version], Check],
) -> tuple[tuple[Check, ...], str]:
    """Return the checks that were made here, and why the version may not become champion: nothing if it may."""
    if not evaluation.verdict.better:
        return (), evaluation.verdict.reason
    if objection := objections.found(request, store, version):
        return (), objection
    if not request.smoke:
        return (), ""
    check = smoke_test(version)
    return (check,), "" if check.passed else f"not promoted: {check.sentence}"


def _smoke(
    request: RegisterRequest, store: Registry, given: _Inputs, version: Version, *, out: Path, tester: "Tester"
) -> Check:
    """Load the registered model as it comes from the registry, and predict what evaluate predicted."""
    folder = out / "registered"
    model = store.download(version, folder)
    rows = given.ingested / "rows" / "test.parquet"
    check = tester.check(model, rows=rows, evaluated=given.evaluated, count=request.smoke)
    remove(folder)
    store.client.set_model_version_tag(version.name, version.version, *_tag(check))
    return check


def _tag(check: Check) -> tuple[str, str]:
    """Return the tag of a version that tells a check."""
    return tags.allowed(f"{tags.CHECK}{check.name}"), f"{'passed' if check.passed else 'failed'}: {check.sentence}"


def _version(request: RegisterRequest, store: Registry) -> Version | None:
    """Return the version that has been made of this bundle; of several, as two machines may make, the champion."""
    identity = _identity(request).items()
    found = [each for each in store.versions(request.name) if identity <= each.tags.items()]
    return min(found, key=lambda each: tags.CHAMPION not in each.aliases, default=None)


def _identity(request: RegisterRequest) -> dict[str, str]:
    """Return the tags that no two versions share: the bundle, and what was asked of it."""
    trained, _ = stage.opened(TrainResult, request.train, files=())
    evaluated, _ = stage.opened(EvaluateResult, request.evaluate, files=())
    asked = EvaluateRequest.load(evaluated / "request.json")
    return {tags.BUNDLE: bundle_contents.digest(trained / "bundle"), tags.QUESTION: evaluate.question(asked)}


def _renewed(request: RegisterRequest, store: Registry, given: _Inputs, version: Version) -> Version:
    """Let a version that another run made show and tell what the present evaluation says of it."""
    if version.tags.get(tags.RUN_KEY) == run_key(request):
        return version
    store.client.log_artifacts(version.run_id, str(given.evaluated), "evaluation")
    _log_metrics(store.client, version.run_id, _measured(given.evaluation))
    for name, value in _compared(request, given.evaluation).items():
        store.client.set_model_version_tag(version.name, version.version, name, value)
    return store.find(version.name, version.version)


def _compared(request: RegisterRequest, evaluation: EvaluateResult) -> dict[str, str]:
    """Return the tags of a version that tell of its comparison, the one last that says that all of them are there."""
    checks = tags.named(_tag(check) for check in evaluation.verdict.checks)
    return {**checks, tags.COMPARED_WITH: request.champion_version or "", tags.RUN_KEY: run_key(request)}


def _new_version(request: RegisterRequest, store: Registry, given: _Inputs, out: Path) -> Version:
    from mlflow.exceptions import MlflowException

    client = store.client
    run_id = _logged_run(request, store, given, out)
    try:
        client.create_registered_model(request.name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    known = {
        **_compared(request, given.evaluation),
        **_identity(request),
        tags.TRAIN_KEY: given.train.run_key,
        tags.ORIGIN: freshness.origin_of(given.trained / "bundle", given.evaluation).model_dump_json(),
    }
    if request.tuned:
        known[tags.TUNED] = request.tuned.model_dump_json()
    if request.start:
        known[tags.START] = request.start.model_dump_json()
    source = f"{client.get_run(run_id).info.artifact_uri}/model"
    version = client.create_model_version(request.name, source, run_id=run_id, tags=known)
    return store.find(request.name, str(version.version))


def _logged_run(request: RegisterRequest, store: Registry, given: _Inputs, out: Path) -> str:
    """Log parameters, metrics, artifacts and the model itself as a finished run; return its id."""
    from mlflow.entities import Param

    client = store.client
    known = {
        "mlflow.source.name": "evermodel",
        "mlflow.runName": f"{request.name}-{given.train.run_key[:8]}",
        "evermodel.data": given.ingest.digest,
        tags.RUN_KEY: run_key(request),
    }
    run = client.create_run(_experiment(client, store, request.name), tags=known)
    run_id = str(run.info.run_id)
    known = tags.named((name, str(value)) for name, value in sorted(request.parameters.items()))
    parameters = [Param(name, value[:6000]) for name, value in known.items()]
    for start in range(0, len(parameters), 100):
        client.log_batch(run_id, params=parameters[start : start + 100])
    _log_metrics(client, run_id, [*_epochs(given.trained), *_measured(given.evaluation)])
    client.log_artifacts(run_id, str(given.evaluated), "evaluation")
    client.log_artifact(run_id, str(given.ingested / "profile.json"), "data")
    _save_model(given.trained / "bundle", out / "model")
    client.log_artifacts(run_id, str(out / "model"), "model")
    remove(out / "model")
    client.set_terminated(run_id)
    return run_id


def _experiment(client: "MlflowClient", store: Registry, name: str) -> str:
    found = client.get_experiment_by_name(name)
    return str(found.experiment_id if found else client.create_experiment(name, artifact_location=store.artifacts))


def _epochs(trained: Path) -> list[tuple[str, float, int]]:
    """Return what was seen in each epoch; metrics under other names than evaluation's, which are of the end."""
    history = json.loads((trained / "history.json").read_text())
    curves = {name: history[name] for name in ("loss", "validation_loss")}
    curves |= {f"epoch_validation_{name}": values for name, values in history.get("metrics", {}).items()}
    return [
        (tags.allowed(name), value, epoch)
        for name, values in curves.items()
        for epoch, value in enumerate(values, start=1)
        if value is not None
    ]


def _measured(evaluation: EvaluateResult) -> list[tuple[str, float, int]]:
    return [
        (tags.allowed(f"{split}_{name}"), value, 0)
        for split, values in evaluation.metrics.items()
        for name, value in values.items()
        if value is not None
    ]


def _log_metrics(client: "MlflowClient", run_id: str, figures: Sequence[tuple[str, float, int]]) -> None:
    """Log figures: name, value and epoch."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    metrics = [Metric(name, value, now, epoch) for name, value, epoch in figures]
    for start in range(0, len(metrics), 1000):
        client.log_batch(run_id, metrics=metrics[start : start + 1000])


def _save_model(source: Path, target: Path) -> None:
    """Write the MLflow model: the bundle, the code that reads it, and what must be installed."""
    import mlflow.pyfunc

    code = Path(__file__).parent
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow misses an input example: the signature is made from the contract
        mlflow.pyfunc.save_model(
            str(target),
            python_model=str(code / "pyfunc.py"),
            artifacts={"bundle": str(source)},
            code_paths=[str(code), str(code.parent / "schemas")],
            pip_requirements=_requirements(bundle_contents.Manifest.load(source / MANIFEST)),
            signature=_signature(Contract.load(source / "contract.json")),
        )


def _requirements(manifest: bundle_contents.Manifest) -> list[str]:
    """Return what a server of the model has to install: Keras and TensorFlow as they trained it, whatever is here."""
    here = [f"{name}=={importlib.metadata.version(name)}" for name in _REQUIREMENTS]
    return [*here, f"keras=={manifest.keras}", f"tensorflow-cpu=={manifest.tensorflow}"]


def _signature(contract: Contract) -> "ModelSignature":
    """Return the raw columns that the model takes; MLflow refuses rows without the required ones."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema
    from mlflow.types.schema import AnyType

    anything = AnyType()  # type: ignore[no-untyped-call]
    columns: list[Any] = [ColSpec(anything, name, required=each.required) for name, each in contract.columns.items()]
    return ModelSignature(inputs=Schema(columns))


if __name__ == "__main__":
    stage.main(RegisterRequest, run)
