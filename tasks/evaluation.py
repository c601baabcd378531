"""Scoring bundles on published rows, and comparing two of them."""

import logging
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from schemas.errors import DataError
from schemas.stages import EvaluateRequest, Verdict
from tasks import metrics
from tasks.bundle import Bundle
from tasks.encoders.table import weights
from tasks.metrics import Scored
from tasks.tables import read_batches

log = logging.getLogger("evermodel.evaluate")

_TRAIN_ROWS = 200_000  # more do not make the training figures more telling


def score(bundle: Bundle, ingested: Path, split: str) -> Scored:
    """Return a split's predictions beside the truth; of the training rows at most the first 200,000."""
    return score_batches(bundle, _batches(ingested, split))


def _batches(ingested: Path, split: str) -> Iterator[pa.Table]:
    rows = 0
    for batch in read_batches(ingested / "rows" / f"{split}.parquet"):
        yield batch
        rows += batch.num_rows
        log.info("evaluate: %s %s rows", split, f"{rows:,}", extra={"event": {"stage": "evaluate", "rows": rows}})
        if split == "train" and rows >= _TRAIN_ROWS:
            return


def score_batches(bundle: Bundle, batches: Iterable[pa.Table]) -> Scored:
    """Return the predictions of accepted rows, batch by batch, beside the truth."""
    truths, predictions, row_weights = [], [], []
    for batch in batches:
        truths.append(bundle.encoder.target.truth(batch))
        predictions.append(bundle.predict(batch))
        row_weights.append(weights(batch))
    known = [weight for weight in row_weights if weight is not None]
    weight = np.concatenate(known) if any(each.any() for each in known) else None
    return Scored(bundle.contract.problem, _names(bundle), np.concatenate(truths), np.concatenate(predictions), weight)


def _names(bundle: Bundle) -> tuple[str, ...]:
    target = bundle.encoder.target
    return target.names if target.kind == "numbers" else target.classes


def champion(request: EvaluateRequest, bundle: Bundle, ingested: Path) -> tuple[Scored | None, str]:
    """Return the champion's predictions of the test rows; None, and why, when it cannot be compared on them."""
    if request.champion is None:
        return None, "there is no champion yet"
    champion = Bundle(request.champion)
    if (champion.contract.problem, _names(champion)) != (bundle.contract.problem, _names(bundle)):
        return (
            None,
            f"the champion predicts something else ({champion.contract.problem}: {', '.join(_names(champion))})",
        )
    try:
        return score(champion, ingested, "test"), ""
    except (DataError, KeyError, pa.ArrowInvalid) as error:
        return None, f"the champion cannot read the present rows ({error})"


def verdict(
    metric: str, challenger: Mapping[str, float], champion: Mapping[str, float] | None, *, why_not: str
) -> Verdict:
    """Return whether the challenger wins by a metric; without a champion to compare with it does, and why is said.

    Raises DataError when the test rows leave the metric without a value.
    """
    value = challenger[metric]
    if math.isnan(value):
        raise DataError(
            f"{metric} has no value on the test rows, for example because they hold one class only; "
            "set another evaluation.metric or a larger split.test"
        )
    if champion is None or math.isnan(champion[metric]):
        return Verdict(better=True, reason=f"promoted: {why_not}", metric=metric, challenger=value)
    other = champion[metric]
    better = metrics.better(metric, value, other)
    reason = (
        f"{'promoted' if better else 'not promoted'}: {metric} {value:.4g} against the champion's {other:.4g} "
        "on the same test rows"
    )
    return Verdict(better=better, reason=reason, metric=metric, challenger=value, champion=other)
