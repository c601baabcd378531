"""The chain: ingest, encode, tune if the spec asks for it, train, evaluate, register."""

import functools
import importlib
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from prefect import Task, flow
from prefect.client.orchestration import get_client
from prefect.context import TaskRunContext
from prefect.states import Cancelled

from flows import approval, artifacts, outcomes, overlap, runners
from flows.logs import to_prefect
from flows.requests import (
    encode_request,
    evaluate_request,
    ingest_request,
    parameters,
    register_request,
    train_request,
    tune_request,
)
from schemas.changes import NO_CHANGES, Changes
from schemas.data import REGRESSION
from schemas.errors import ResourceError, StoppedError
from schemas.run import ModelVersion, RunResult, RunRows, StageRun
from schemas.runners import STAGES, Docker, Inline, StageName, WorkPool
from schemas.spec import Spec
from schemas.spec_file import absolute
from schemas.stages import (
    REQUESTS,
    EncodeResult,
    EvaluateRequest,
    EvaluateResult,
    IngestResult,
    Input,
    RegisterResult,
    Request,
    Result,
    Start,
    TrainRequest,
    TrainResult,
    Tuned,
    TuneRequest,
    TuneResult,
)
from tasks import evaluate, plugins, secret_files, stage, targets, train, warm_start
from tasks.registry import Registry
from tasks.tuning import reuse
from tasks.workspaces import place

log = logging.getLogger("evermodel.flow")

DEFAULT_WORKSPACE = ".evermodel"

R = TypeVar("R", bound=Result)

_NAMES = {request: name for name, request in REQUESTS.items()}

GPU = "gpu"
"""Tag of tasks that use a GPU: the server's concurrency limit of this name says how many may run at once."""

_STOPPED = (StoppedError.__name__, "termination signal", "interrupt signal")
"""One of these is in what Prefect says of a run that was stopped."""

_REGISTRY_DELAYS_S: list[float] = [1, 5, 25]


def _cache_key(_context: TaskRunContext, parameters: dict[str, Any]) -> str:
    return f"{parameters['stage']}-{parameters['run_key']}"


def _run(
    stage: StageName, request: Request, run_key: str, runner: Inline | Docker | WorkPool | None, model: str
) -> str:
    """Run one stage, unless it stands already; return its run key, which is what Prefect caches by.

    Without a runner the stage stands: Prefect's cache, which a flow in a new container has not, is no condition.
    """
    if runner is not None:
        runners.run(stage, request, runner, model=model)
    return run_key


def _may_help(_task: Any, _run: Any, state: Any) -> bool:
    """Retry what lies outside the run, such as a registry that does not answer; never what the data or spec decide."""
    return isinstance(state.result(raise_on_failure=False), ResourceError)


def _task(name: StageName) -> Task[..., str]:
    return Task(
        _run,
        name=name,
        task_run_name=name,
        cache_key_fn=_cache_key,
        persist_result=True,
        result_serializer="json",
        retries=len(_REGISTRY_DELAYS_S) if name == "register" else 0,
        retry_delay_seconds=_REGISTRY_DELAYS_S,
        retry_condition_fn=_may_help,
    )


_TASKS = {name: _task(name) for name in STAGES}


def _cancelled(flow: Any, flow_run: Any, state: Any) -> None:  # noqa: ARG001 - Prefect names its arguments
    """Show a run that was stopped on purpose, by SIGTERM or Ctrl-C, as cancelled, not as crashed."""
    if any(sign in (state.message or "") for sign in _STOPPED):
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(flow_run.id, Cancelled(message=state.message), force=True)


@flow(name="retrain", flow_run_name="{spec.name}", on_crashed=[_cancelled])
def retrain(
    spec: Spec,
    workspace: str = DEFAULT_WORKSPACE,
    force: bool = False,
    verify: bool = False,
    changes: Changes = NO_CHANGES,
) -> RunResult:
    """Retrain a model: what a stage has published already for the same spec and data is used again.

    Raises the stage's own EvermodelError when one fails. While another run of the model goes on, this one does what
    `spec.retraining.overlap` says.

    Args:
        spec: The whole spec, as it was deployed.
        workspace: Where stages publish: a directory, or a URL such as s3://bucket/folder.
        force: Run every stage anew, whatever stands already.
        verify: Read the data even if size and times of its files say that it is the same.
        changes: What this run does otherwise. What is left empty is as the spec says.
    """
    secret_files.load()
    spec = changes.applied_to(absolute(spec, folder=Path()))
    plugins.source_digests(spec.own_code)  # refuses what the operator does not allow before anything is done
    work = [spec.model_dump(mode="json"), force, verify]
    answers = approval.given()
    with to_prefect(), overlap.turn(spec, workspace=workspace, work=work, must_run=bool(answers)) as not_now:
        if not_now:
            return outcomes.ended(RunResult.skipped(spec.name, not_now))
        return outcomes.ended(_retrained(spec, workspace, force=force and not answers, verify=verify, answers=answers))


def _retrained(
    spec: Spec, workspace: str, *, force: bool, verify: bool, answers: Mapping[str, approval.Approval]
) -> RunResult:
    """Let answers decide, then run the stages, one after the other."""
    chain = _Chain(spec, workspace, force=force)
    before = approval.take(answers, spec.name, chain.registry)
    ingest = chain.run(IngestResult, ingest_request(spec, workspace=workspace, verify=verify))
    start, begun = chain.start(train_request(spec, workspace=workspace, ingest=ingest, encode=None))
    encode = chain.run(EncodeResult, encode_request(workspace=workspace, ingest=ingest, start=begun))
    if encode.outputs and spec.problem not in REGRESSION:  # known since now, unless the spec lists them
        targets.refuse_for_classes(spec, encode.outputs)
    tuned, tune = chain.tuned(tune_request(spec, workspace=workspace, ingest=ingest, encode=encode))
    spec = spec.settled(tuned.settings) if tuned else spec
    trained = chain.run(
        TrainResult, train_request(spec, workspace=workspace, ingest=ingest, encode=encode, start=begun)
    )
    known: Any = {"workspace": workspace, "ingest": ingest, "train": trained}
    known |= {"champion": chain.champion(evaluate_request(spec, **known, encode=encode, champion=None))}
    evaluated = chain.run(EvaluateResult, evaluate_request(spec, **known, encode=encode, tune=tune, tuned=tuned))
    registered = chain.run(
        RegisterResult, register_request(spec, **known, evaluate=evaluated, tuned=tuned, start=start)
    )
    register, now = approval.settled(
        registered,
        chain.registry,
        timeout_hours=spec.promotion.timeout_hours,
        shown=artifacts.question(registered, evaluated.verdict),
    )
    result = RunResult(
        run_key=register.run_key,
        stages=chain.stages,
        rows=RunRows.of(ingest.rows),
        metrics=evaluated.metrics,
        champion_metrics=evaluated.champion_metrics,
        warnings=[
            *ingest.warnings,
            *chain.warnings,
            *encode.warnings,
            *(tune.warnings if tune else ()),
            *trained.warnings,
        ],
        drift=evaluated.drift,
        decided=before or now,
        model=ModelVersion(
            name=register.name, version=register.version, promoted=register.promoted, reason=register.reason
        ),
        report=str(place(evaluated.path) / "report.html"),
    )
    artifacts.publish(result, ingest, evaluated, chain.registry)
    return result


class _Chain:
    """Runs one stage after the other as Prefect tasks, and keeps account of them."""

    def __init__(self, spec: Spec, workspace: str, *, force: bool) -> None:
        self._spec, self._workspace, self._force = spec, place(workspace), force
        self.registry = Registry(workspace=workspace)
        self.stages: dict[str, StageRun] = {}
        self.warnings: list[str] = []

    def run(self, kind: type[R], request: Request) -> R:
        """Run a stage, or take from Prefect's cache what stands there published."""
        started = time.perf_counter()
        name = _NAMES[type(request)]
        module = importlib.import_module(f"tasks.{name}")
        run_key = module.run_key(request)
        target = self._workspace / name / run_key
        if self._force:
            target.discard()
        standing = stage.published(kind, target) is not None and (name != "register" or module.stands(request))
        runner = self._spec.runner_of(name)
        if name == "ingest" and not standing and self._spec.gpus_of_flow:
            train.refuse_absent_gpus(self._spec.training)  # or it would be told of when all data is read
        tags = {GPU} if self._spec.uses_gpu(name) and not standing else None
        task = _TASKS[name].with_options(refresh_cache=not standing, tags=tags)
        task(name, request, run_key, None if standing else runner, self._spec.name)
        result = stage.published(kind, target)  # what stands there is the truth, not what Prefect remembers
        if result is None:
            raise ResourceError(f"{target} was removed while the run went on; run again")
        seconds = round(time.perf_counter() - started, 3)
        self.stages[name] = StageRun(cached=standing, seconds=seconds, path=str(target))
        said = "stands already" if standing else f"done in {seconds:.1f} s"
        log.info("%s: %s", name, said, extra={"event": {"stage": name, "status": "done", "cached": standing}})
        return result

    def start(self, request: TrainRequest) -> tuple[Start | None, Input | None]:
        """Return from which champion training begins, and its bundle; no bundle where it begins afresh."""
        if self._spec.retraining.start == "fresh":
            return None, None
        name = self._spec.name
        start = warm_start.find(request, self.registry, name, parameters(self._spec))
        begun, warnings = warm_start.bundle(start, self.registry, name)
        self.warnings += warnings
        return start, begun

    def tuned(self, request: TuneRequest) -> tuple[Tuned | None, TuneResult | None]:
        """Return the settings to train with, and what tune has published if they are of this very run.

        There are none where the spec wants no tuning.
        """
        if self._spec.tuning is None:
            return None, None
        drifted = functools.partial(
            reuse.drifted, registry=self.registry, ingest=request.ingest, drift=self._spec.drift
        )
        known = reuse.known(request, self.registry.versions(self._spec.name), drifted=drifted)
        if known is not None:
            when, age = request.tuning.when, known.age
            log.info(
                "tune: settings of %d version%s before are used again (tuning.when: %s)", age, "s" * (age > 1), when
            )
            return known, None
        result = self.run(TuneResult, request)
        return reuse.made(request, result), result

    def champion(self, request: EvaluateRequest) -> tuple[str, Input] | None:
        """Return the version that the trained bundle must beat, and its bundle."""
        version = self.registry.incumbent(request.name, evaluate.question(request))
        return (version.version, self.registry.bundle(version)) if version else None
