"""What the challenger had to prove, check by check."""

from schemas.promotion import Check, Verdict
from tasks.reports.elements import Section, Table
from tasks.reports.formatting import plain

_LATER = (
    "What follows the evaluation is not known here: that the registered version loads and predicts the same, and what "
    "a person decides. It stands with the version in the registry."
)


def section(verdict: Verdict) -> Section:
    """Return the section."""
    if not verdict.checks:
        return Section(notes=(f"There was nothing to prove. {_LATER}",))
    passed, count = sum(check.passed for check in verdict.checks), len(verdict.checks)
    said = f"{passed} of {count} check{'s' * (count > 1)} passed."
    return Section(notes=(said,), tables=(_table(verdict.checks),))


def _table(checks: tuple[Check, ...]) -> Table:
    return Table(
        title="",
        header=("check", "outcome", "in words", "found", "limit"),
        rows=tuple(
            (
                check.name,
                _outcome(check),
                check.sentence[:1].upper() + check.sentence[1:],
                plain(check.value),
                plain(check.wanted),
            )
            for check in checks
        ),
        caption=_LATER,
        text_columns=3,
        long=2,
    )


def _outcome(check: Check) -> str:
    if check.passed:
        return "✓ passed"
    return "? a person decides" if check.asks else "✗ not passed"
