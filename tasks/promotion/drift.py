"""Has the data changed so much that a person should look before predictions change too."""

from collections.abc import Iterator

from schemas.promotion import Check
from tasks.promotion.evidence import Evidence
from tasks.reports.formatting import percent

_MOST_NAMES = 5


def drift(evidence: Evidence) -> Iterator[Check]:
    """No larger share of the features has drifted from the champion's data than is allowed."""
    bound, found = evidence.policy.drift, evidence.drift
    if bound is None or found is None:
        return
    passed = found.share <= bound.share
    more = f" and {len(found.features) - _MOST_NAMES} more" if len(found.features) > _MOST_NAMES else ""
    names = f" ({', '.join(found.features[:_MOST_NAMES])}{more})" if found.features else ""
    said = f"{percent(found.share)} of the features{names} have drifted from the champion's data"
    yield Check(
        name="drift",
        passed=passed,
        asks=not passed and bound.then == "approve",
        value=found.share,
        wanted=bound.share,
        sentence=said if passed else f"{said}, at most {percent(bound.share)} are allowed (promotion.drift)",
    )
