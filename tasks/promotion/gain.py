"""Is the challenger better than the champion, and is that more than chance."""

from collections.abc import Iterator

from schemas.promotion import Check
from tasks.findings.resampling import interval, measure, resampled
from tasks.promotion.evidence import Evidence
from tasks.reports.formatting import plain


def comparison(evidence: Evidence) -> Iterator[Check]:
    """A champion that cannot be compared, or not with all that it knows, is not replaced unasked.

    Whether the data lost a column or the spec left it out cannot be seen here: without it the champion may look worse
    than it is.
    """
    champion = evidence.champion
    if champion is not None and champion.missing and evidence.champion_measured is not None:
        yield Check(
            name="comparison",
            passed=False,
            asks=True,
            sentence=f"the champion was scored without columns that it knows ({', '.join(champion.missing)}), which "
            "the spec or the data left out, so that it may look worse than it is",
        )
    if champion is not None and evidence.champion_measured is None:
        yield Check(
            name="comparison",
            passed=False,
            sentence=f"the champion (version {champion.version}) cannot be compared on the present test rows: "
            f"{champion.why_not}; look at the report and, if this version is to replace it, run evermodel promote",
        )


def gain(evidence: Evidence) -> Iterator[Check]:
    """The deciding metric is better by more than is needed, on the same rows."""
    if evidence.champion_measured is None:
        return
    ours, theirs = evidence.measured[evidence.metric], evidence.champion_measured[evidence.metric]
    found, needed = evidence.gain(evidence.metric, ours, theirs), evidence.policy.needed
    yield Check(
        name="gain",
        passed=found > needed,
        value=found,
        wanted=needed,
        sentence=f"a gain of {plain(found)}, wanted above {plain(needed)}",
    )


def confidence(evidence: Evidence) -> Iterator[Check]:
    """So sure is the gain: a one-sided interval by the paired bootstrap (Efron and Tibshirani, 1993, chapter 13).

    Both models are scored on the same resampled rows, so that rows that are hard for both do not blur the difference.
    """
    policy, champion = evidence.policy, evidence.champion
    if evidence.champion_measured is None or champion is None or champion.scored is None or policy.confidence is None:
        return
    score, metric = measure(evidence.metric, evidence.evaluation.wanted), evidence.metric
    values = resampled(
        lambda ours, theirs: evidence.gain(metric, score(ours), score(theirs)),
        *(evidence.test, champion.scored),
        resamples=policy.resamples,
        seed=policy.seed,
    )
    found = interval(values, level=2 * policy.confidence - 1)
    low = found.low if found else None
    said = f"with {100 * policy.confidence:g}\u00a0% confidence the gain is above {plain(low)}"
    unknown = f"{metric} has no value on most resamples of the test rows, so that nothing is proven"
    yield Check(
        name="confidence",
        passed=low is not None and low > policy.needed,
        value=low,
        wanted=policy.needed,
        sentence=unknown if low is None else f"{said}, wanted above {plain(policy.needed)}",
    )
