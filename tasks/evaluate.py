"""Evaluate: scores a bundle on raw validated rows, as prediction does, and the champion's on the same test rows."""

import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from schemas.errors import DataError
from schemas.profile import Profile
from schemas.stages import EvaluateRequest, EvaluateResult, IngestResult, Metrics, TrainResult, Verdict
from tasks import metrics, stage
from tasks.bundle import Bundle
from tasks.encoders.table import weights
from tasks.metrics import Scored
from tasks.splits import SPLITS
from tasks.tables import read_batches

log = logging.getLogger("evermodel.evaluate")

VERSION = 1
_TRAIN_ROWS = 200_000  # more do not make the training figures more telling


def run_key(request: EvaluateRequest) -> str:
    """Return the run key: it changes with the bundles and with any byte of the rows."""
    return stage.run_key("evaluate", request, version=VERSION)


def run(request: EvaluateRequest) -> EvaluateResult:
    """Score all splits, compare with the champion on the test rows, and publish metrics, plots and a report."""
    return stage.publish(EvaluateResult, request, stage="evaluate", key=run_key(request), make=_make)


def _make(request: EvaluateRequest, out: Path) -> Mapping[str, Any]:
    from tasks.reports import report

    ingested, ingest = stage.opened(IngestResult, request.ingest)
    trained, train = stage.opened(TrainResult, request.train)
    bundle = Bundle(request.train.model_copy(update={"path": str(trained / "bundle"), "digest": None}))
    scored: dict[str, Scored] = {split: _scored(bundle, ingested, split) for split in SPLITS}
    measured: Metrics = {split: metrics.compute(each) for split, each in scored.items()}
    champion_metrics, why_not = _champion(request, bundle, ingested)
    verdict = _verdict(request, bundle, measured["test"], champion_metrics, why_not)
    _write_json(out / "metrics.json", {**measured, "champion": champion_metrics})
    (out / "verdict.json").write_text(verdict.to_json())
    report.write(
        out,
        report.Content(
            name=request.name,
            champion_version=request.champion_version,
            scored=scored,
            metrics=measured,
            champion_metrics=champion_metrics,
            verdict=verdict,
            history=json.loads((trained / "history.json").read_text()),
            profile=Profile.load(ingested / "profile.json"),
            contract=bundle.contract,
            ingest=ingest,
            train=train,
        ),
    )
    return {"metrics": measured, "champion_metrics": champion_metrics, "verdict": verdict}


def _scored(bundle: Bundle, ingested: Path, split: str) -> Scored:
    """Return a split's predictions beside the truth; of the training rows at most the first 200,000."""
    truths, predictions, row_weights, rows = [], [], [], 0
    for batch in read_batches(ingested / "rows" / f"{split}.parquet"):
        truths.append(_truth(bundle, batch))
        predictions.append(bundle.predict(batch))
        row_weights.append(weights(batch))
        rows += batch.num_rows
        log.info("evaluate: %s %s rows", split, f"{rows:,}", extra={"event": {"stage": "evaluate", "rows": rows}})
        if split == "train" and rows >= _TRAIN_ROWS:
            break
    known = [weight for weight in row_weights if weight is not None]
    weight = np.concatenate(known) if known and any(each.any() for each in known) else None
    target = bundle.encoder.target
    names = target.names if target.kind == "numbers" else target.classes
    return Scored(bundle.contract.problem, names, np.concatenate(truths), np.concatenate(predictions), weight)


def _truth(bundle: Bundle, rows: pa.Table) -> Any:
    return bundle.encoder.target.truth(rows)


def _champion(request: EvaluateRequest, bundle: Bundle, ingested: Path) -> tuple[dict[str, float] | None, str]:
    """Return the champion's metrics on the test rows; None, and why, when it cannot read them."""
    if request.champion is None:
        return None, "there is no champion yet"
    champion = Bundle(request.champion)
    if champion.contract.problem != bundle.contract.problem:
        return None, f"the champion solves another problem, {champion.contract.problem}"
    try:
        return metrics.compute(_scored(champion, ingested, "test")), ""
    except (DataError, KeyError, pa.ArrowInvalid) as error:
        return None, f"the champion cannot read the present rows ({error})"


def _verdict(
    request: EvaluateRequest,
    bundle: Bundle,
    challenger: Mapping[str, float],
    champion: Mapping[str, float] | None,
    why_not: str,
) -> Verdict:
    metric = metrics.deciding(request.evaluation.metric, bundle.contract.problem, challenger)
    value = challenger[metric]
    if champion is None:
        return Verdict(better=True, reason=f"promoted: {why_not}", metric=metric, challenger=value)
    other = champion[metric]
    better = metrics.better(metric, value, other) or (math.isnan(other) and not math.isnan(value))
    reason = (
        f"{'promoted' if better else 'not promoted'}: {metric} {value:.4g} against the champion's {other:.4g} "
        "on the same test rows"
    )
    return Verdict(better=better, reason=reason, metric=metric, challenger=value, champion=other)


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")


if __name__ == "__main__":
    stage.main(EvaluateRequest, run)
