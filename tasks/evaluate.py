"""Evaluate: scores a bundle on raw validated rows, as prediction does, and the champion's on the same test rows."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schemas import names
from schemas.document import digest
from schemas.drift import Drift
from schemas.evaluation import Evaluation
from schemas.profile import Profile
from schemas.stages import EvaluateRequest, EvaluateResult, IngestResult, TrainResult, TuneResult
from tasks import plugins, stage

if TYPE_CHECKING:
    from tasks.bundle import Bundle
    from tasks.drift.references import Comparison
    from tasks.metrics import Scored
    from tasks.tuning.record import Study

VERSION = 6


def run_key(request: EvaluateRequest) -> str:
    """Return the run key: it changes with the bundles, any byte of the rows, and the source of metrics of one's own."""
    own = (metric.name for metric in request.evaluation.wanted if names.is_reference(metric.name))
    code = plugins.source_digests(own)
    return stage.run_key("evaluate", request, version=VERSION, **({"code": digest(code)} if code else {}))


def question(request: EvaluateRequest) -> str:
    """Return the run key that the request would have without a champion: what is asked, whoever has to be beaten."""
    unasked = dict.fromkeys(("champion", "champion_version", "encode", "tune", "tuned", "network", "training"))
    metric = Evaluation(metric=request.evaluation.metric)  # the rest of it is what the report shows
    return run_key(request.model_copy(update={**unasked, "evaluation": metric, "drift": Drift()}))


def run(request: EvaluateRequest) -> EvaluateResult:
    """Score all splits, compare with the champion on the test rows, and publish metrics, plots and a report.

    Raises DataError when the test rows leave the deciding metric without a value.
    """
    return stage.publish(EvaluateResult, request, stage="evaluate", key=run_key(request), make=_make)


def _make(request: EvaluateRequest, out: Path) -> Mapping[str, Any]:
    from tasks import evaluation, metrics
    from tasks.bundle import Bundle
    from tasks.findings import findings
    from tasks.findings.network import Network
    from tasks.promotion import gate, smoke
    from tasks.reports import report
    from tasks.reports.content import Content
    from tasks.splits import SPLITS

    ingested, ingest = stage.opened(IngestResult, request.ingest)
    trained, train = stage.opened(TrainResult, request.train)
    bundle = Bundle(request.train.model_copy(update={"path": str(trained / "bundle"), "digest": None}))
    scored = {str(split): evaluation.score(bundle, ingested, split) for split in SPLITS}
    measured = {split: metrics.compute(each, request.evaluation.wanted) for split, each in scored.items()}
    metric = metrics.deciding(request.evaluation.metric, bundle.contract.problem, measured["test"])
    evidence = gate.evidence(request, bundle, ingested, scored["test"], measured["test"], metric=metric)
    champion, champion_measured = evidence.champion, evidence.champion_measured
    judged = {split: each for split, each in scored.items() if split != "validation" or not train.refitted}
    drift = _drift(request, ingested, bundle, champion.scored if champion else None)
    verdict = gate.verdict(evidence, drift=drift.report.summary if drift else None)
    content = Content(
        name=request.name,
        champion_version=request.champion_version,
        scored=judged,
        metrics=measured,
        champion=champion.scored if champion else None,
        champion_metrics=dict(champion_measured) if champion_measured else None,
        verdict=verdict,
        history=json.loads((trained / "history.json").read_text()),
        profile=Profile.load(ingested / "profile.json"),
        contract=bundle.contract,
        ingest=ingest,
        train=train,
        evaluation=request.evaluation,
        drift=drift,
        network=Network.of(bundle.network),
        findings=findings.find(request, bundle, ingested, judged, metric=metric, disk=out),
        tuning=_tuning(request),
        tuned=request.tuned,
        lineage=_lineage(request, trained / "bundle", ingest, train),
    )
    report.write(out, content)
    figures = {
        "metrics": {split: _defined(measured[split]) for split in judged},
        "champion_metrics": _defined(champion_measured) if champion_measured else None,
    }
    (out / "metrics.json").write_text(json.dumps(figures, indent=2) + "\n")
    (out / "verdict.json").write_text(verdict.to_json())
    smoke.note(out, scored["test"])
    if drift is not None:
        (out / "drift.json").write_text(drift.report.to_json())
    return {**figures, "verdict": verdict, "drift": drift and drift.report.summary}


def _drift(
    request: EvaluateRequest, ingested: Path, challenger: "Bundle", champion: "Scored | None"
) -> "Comparison | None":
    """Compare the rows with those that the champion was made from, and what it says of them with what it said then."""
    from tasks.bundle import Bundle
    from tasks.drift import references

    if request.champion is None:
        return None
    before = Bundle(request.champion)
    predicted = champion.predicted if champion and before.outputs == challenger.outputs else None
    return references.of_evaluation(ingested, before, predicted, request.drift)


def _tuning(request: EvaluateRequest) -> "Study | None":
    from tasks.tuning.record import Study

    if request.tune is None:
        return None
    tuned, _ = stage.opened(TuneResult, request.tune)
    return Study.load(tuned / "study.json")


def _lineage(
    request: EvaluateRequest, directory: Path, ingest: IngestResult, train: TrainResult
) -> tuple[tuple[str, str, str], ...]:
    """Return what stands behind the figures: a name, a run key or version, a digest."""
    from tasks import bundle_contents, workspaces

    made = bundle_contents.Manifest.load(directory / workspaces.MANIFEST)
    champion = request.champion and (
        request.champion.digest or bundle_contents.digest(workspaces.place(request.champion.path).directory)
    )
    return (
        *((each.stage, each.run_key, each.digest) for each in (ingest, train)),
        ("bundle", f"Keras {made.keras}, TensorFlow {made.tensorflow}", bundle_contents.digest(directory)),
        *([("begun from", "the weights of the bundle", train.started_from)] if train.started_from else []),
        *([("refit", "on training and validation rows", train.digest)] if train.refitted else []),
        *([("champion", f"version {request.champion_version or '?'}", champion)] if champion else []),
    )


def _defined(values: Mapping[str, float]) -> dict[str, float | None]:
    """Return metrics with None for those that have no value: JSON knows no NaN."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


if __name__ == "__main__":
    stage.main(EvaluateRequest, run)
