"""What may not get worse while the deciding metric gets better: other metrics, and parts of the test rows."""

import math
from collections.abc import Iterator

from schemas.errors import SpecError
from schemas.promotion import Check
from tasks.findings import slices as sliced
from tasks.findings.resampling import measure, taken
from tasks.promotion.evidence import Evidence
from tasks.reports.formatting import number


def guards(evidence: Evidence) -> Iterator[Check]:
    """No guarded metric is worse than the champion's by more than it may be. Raises SpecError for an unknown one."""
    for name, most in evidence.policy.guards.items():
        _refuse_unknown("guards", name, evidence)
        if evidence.champion_measured is not None:
            values = evidence.measured[name], evidence.champion_measured[name]
            yield _fall(evidence, f"guard {name}", name, values, most=most)


def required(evidence: Evidence) -> Iterator[Check]:
    """Each metric reaches what is required of it, whatever the champion's. Raises SpecError for an unknown one."""
    for name, wanted in evidence.policy.required.items():
        _refuse_unknown("required", name, evidence)
        found = evidence.measured[name]
        passed = not math.isnan(found) and evidence.gain(name, found, wanted) >= 0
        yield Check(
            name=f"required {name}",
            passed=passed,
            value=None if math.isnan(found) else found,
            wanted=wanted,
            sentence=f"{name} {number(found)}, required {number(wanted)} or better",
        )


def _refuse_unknown(key: str, name: str, evidence: Evidence) -> None:
    if name not in evidence.measured:
        there = ", ".join(evidence.measured)
        raise SpecError(f"promotion.{key}: no metric {name!r} is computed of the test rows; there are {there}")


def slices(evidence: Evidence) -> Iterator[Check]:
    """The deciding metric is not worse than the champion's on any part of the test rows that is large enough."""
    asked, champion = evidence.policy.slices, evidence.champion
    if asked is None or champion is None or champion.scored is None:
        return
    score, rows = measure(evidence.metric, evidence.evaluation.wanted), evidence.ingested / "rows" / "test.parquet"
    parts = sliced.parts(rows, evidence.bundle.contract, asked.columns, key="promotion.slices")
    for column, value, positions in parts:
        if len(positions) < asked.minimum_rows:
            continue
        ours, theirs = (score(taken(scored, positions)) for scored in (evidence.test, champion.scored))
        if not math.isnan(ours) or not math.isnan(theirs):  # of rows of one class nothing can be said
            yield _fall(evidence, f"slice {column}={value}", evidence.metric, (ours, theirs), most=asked.tolerance)


def _fall(evidence: Evidence, name: str, metric: str, values: tuple[float, float], *, most: float) -> Check:
    ours, theirs = values
    fall = -evidence.gain(metric, ours, theirs)
    undefined = math.isnan(fall)
    said = f"{name}: {metric} {number(ours)} against {number(theirs)}"
    return Check(
        name=name,
        passed=not undefined and fall <= most,
        value=None if undefined else fall,
        wanted=most,
        sentence=f"{said}, which cannot be compared" if undefined else f"{said}; it may be worse by {number(most)}",
    )
