"""The gate: a challenger passes it by passing every check, and each check is one entry of a list."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from schemas.drift import DriftSummary
from schemas.errors import DataError
from schemas.promotion import Check, Verdict
from schemas.stages import EvaluateRequest
from tasks import metrics
from tasks.bundle import Bundle
from tasks.metrics import Scored
from tasks.promotion import champion as champions
from tasks.promotion import drift as drifts
from tasks.promotion.evidence import Evidence
from tasks.promotion.gain import comparison, confidence, gain
from tasks.promotion.guards import guards, required, slices
from tasks.promotion.leakage import leakage

CHECKS: tuple[Callable[[Evidence], Iterator[Check]], ...] = (
    comparison,
    gain,
    confidence,
    guards,
    required,
    slices,
    leakage,
    drifts.drift,
)
"""What a challenger has to pass. A new check is one more function here."""


def evidence(
    request: EvaluateRequest,
    bundle: Bundle,
    ingested: Path,
    test: Scored,
    measured: Mapping[str, float],
    *,
    metric: str,
) -> Evidence:
    """Return what is to be judged, with the champion scored on the same test rows.

    Raises DataError when the test rows leave the deciding metric without a value, and ResourceError when the champion's
    files are not those that were registered.
    """
    if math.isnan(measured[metric]):
        raise DataError(
            f"{metric} has no value on the test rows, for example because they hold one class only; "
            "set another evaluation.metric or a larger split.test"
        )
    version, rows = request.champion_version or "?", ingested / "rows" / "test.parquet"
    champion = champions.score(request.champion, bundle, rows, test, version=version) if request.champion else None
    scored = champion.scored if champion else None
    found = metrics.compute(scored, request.evaluation.wanted) if scored else None
    if champion and found and math.isnan(found[metric]):
        champion, found = champions.Champion(version, why_not=f"its {metric} has no value"), None
    return Evidence(
        policy=request.promotion,
        evaluation=request.evaluation,
        metric=metric,
        bundle=bundle,
        ingested=ingested,
        test=test,
        measured=measured,
        champion=champion,
        champion_measured=found,
    )


def verdict(evidence: Evidence, *, drift: DriftSummary | None = None) -> Verdict:
    """Return whether the challenger passes every check, with all of them and one sentence.

    `drift` says how the rows differ from those of the champion.
    """
    evidence = dataclasses.replace(evidence, drift=drift)
    checks = tuple(check for find in CHECKS for check in find(evidence))
    metric, champion = evidence.metric, evidence.champion_measured
    return Verdict(
        better=all(check.passed or check.asks for check in checks),
        reason=_reason(evidence, checks),
        metric=metric,
        challenger=evidence.measured[metric],
        champion=champion[metric] if champion else None,
        checks=checks,
    )


def _reason(evidence: Evidence, checks: tuple[Check, ...]) -> str:
    metric, champion, said = evidence.metric, evidence.champion_measured, []
    if evidence.champion is None:
        said.append("there is no champion yet")
    elif champion is not None:
        values = f"{metric} {evidence.measured[metric]:.4g} against the champion's {champion[metric]:.4g}"
        said.append(f"{values} on the same {len(evidence.test.truth):,} test rows")
    failed = [check for check in checks if not check.passed]
    if failed:
        said = [*said[bool(evidence.champion is None) :], *(check.sentence for check in failed)]
        return f"{'a person decides' if all(check.asks for check in failed) else 'not promoted'}: {'; '.join(said)}"
    proof = [check.sentence for check in checks if check.name == "confidence"]
    return f"promoted: {'; '.join([*said, *proof])}"
