"""Evaluate: scores a bundle on raw validated rows, as prediction does, and the champion's on the same test rows."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from schemas import names
from schemas.document import digest
from schemas.profile import Profile
from schemas.stages import EvaluateRequest, EvaluateResult, IngestResult, TrainResult
from tasks import plugins, stage
from tasks.splits import SPLITS

VERSION = 2


def run_key(request: EvaluateRequest) -> str:
    """Return the run key: it changes with the bundles, any byte of the rows, and the source of metrics of one's own."""
    own = (metric.name for metric in request.evaluation.wanted if names.is_reference(metric.name))
    code = plugins.source_digests(own)
    return stage.run_key("evaluate", request, version=VERSION, **({"code": digest(code)} if code else {}))


def question(request: EvaluateRequest) -> str:
    """Return the run key that the request would have without a champion: what is asked, whoever has to be beaten."""
    return run_key(request.model_copy(update={"champion": None, "champion_version": None}))


def run(request: EvaluateRequest) -> EvaluateResult:
    """Score all splits, compare with the champion on the test rows, and publish metrics, plots and a report.

    Raises DataError when the test rows leave the deciding metric without a value.
    """
    return stage.publish(EvaluateResult, request, stage="evaluate", key=run_key(request), make=_make)


def _make(request: EvaluateRequest, out: Path) -> Mapping[str, Any]:
    from tasks import evaluation, metrics
    from tasks.bundle import Bundle
    from tasks.reports import report

    ingested, ingest = stage.opened(IngestResult, request.ingest)
    trained, train = stage.opened(TrainResult, request.train)
    bundle = Bundle(request.train.model_copy(update={"path": str(trained / "bundle"), "digest": None}))
    scored = {str(split): evaluation.score(bundle, ingested, split) for split in SPLITS}
    measured = {split: metrics.compute(each, request.evaluation.wanted) for split, each in scored.items()}
    metric = metrics.deciding(request.evaluation.metric, bundle.contract.problem, measured["test"])
    champion, why_not = evaluation.champion_metrics(request, bundle, ingested)
    verdict = evaluation.verdict(metric, measured["test"], champion, why_not=why_not)
    content = report.Content(
        name=request.name,
        champion_version=request.champion_version,
        scored=scored,
        metrics=measured,
        champion_metrics=champion,
        verdict=verdict,
        history=json.loads((trained / "history.json").read_text()),
        profile=Profile.load(ingested / "profile.json"),
        contract=bundle.contract,
        ingest=ingest,
        train=train,
    )
    report.write(out, content)
    figures = {
        "metrics": {split: _defined(values) for split, values in measured.items()},
        "champion_metrics": _defined(champion) if champion else None,
    }
    (out / "metrics.json").write_text(json.dumps(figures, indent=2) + "\n")
    (out / "verdict.json").write_text(verdict.to_json())
    return {**figures, "verdict": verdict}


def _defined(values: Mapping[str, float]) -> dict[str, float | None]:
    """Return metrics with None for those that have no value: JSON knows no NaN."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


if __name__ == "__main__":
    stage.main(EvaluateRequest, run)
