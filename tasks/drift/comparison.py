"""New data beside what a model was trained on: every column tested, with regard to how many tests there are."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from scipy import stats

from schemas.drift import Change, ColumnDrift, Drift, DriftReport, DriftSummary, Role
from schemas.reference import Buckets, Categories, Marginal, Reference, Times
from tasks.drift import marginals, statistics
from tasks.drift.statistics import Difference

What = Literal["distribution", "missing", "unknown"]


@dataclass(frozen=True)
class _Test:
    """One test of one column."""

    name: str
    role: Role
    what: What
    difference: Difference


def compare(reference: Reference, new: Reference, drift: Drift) -> DriftReport:
    """Compare new data with a reference, column by column; what only one of them has is told and not compared.

    P-values are corrected together for all columns by Benjamini and Hochberg's procedure
    (scipy.stats.false_discovery_control).
    """
    pairs: list[tuple[Role, Mapping[str, Marginal], Mapping[str, Marginal]]] = [
        ("feature", reference.columns, new.columns),
        ("target", reference.targets, new.targets),
        ("prediction", reference.predictions, new.predictions),
    ]
    found: list[_Test] = []
    notes: list[str] = []
    for role, old, present in pairs:
        if not old or not present:  # a batch without labels, a reference without predictions
            continue
        found += [
            test
            for name in old
            if name in present and name not in drift.ignore
            for test in _tests(name, role, old[name], present[name])
        ]
        notes += _notes(role, old, present, drift)
    columns = tuple(_columns(found, drift))
    compared = sum(column.role == "feature" for column in columns)
    return DriftReport(
        rows=new.rows,
        reference_rows=reference.rows,
        columns=columns,
        notes=tuple(notes),
        summary=_summary(columns, drift, compared=compared),
    )


def _tests(name: str, role: Role, old: Marginal, new: Marginal) -> Iterator[_Test]:
    old, new = _alike(old, new)
    if type(old) is type(new) and type(old) in statistics.DISTRIBUTIONS:
        distribution = statistics.DISTRIBUTIONS[type(old)](old, new)
    else:
        distribution = None
    differences: list[tuple[What, Difference | None]] = [
        ("distribution", distribution),
        ("missing", statistics.missing(old, new)),
        ("unknown", statistics.unknown(old, new)),
    ]
    yield from (_Test(name, role, what, each) for what, each in differences if each is not None)


def _alike(old: Marginal, new: Marginal) -> tuple[Marginal, Marginal]:
    """Return categories as buckets where the other one has only these."""
    if isinstance(old, Buckets) and isinstance(new, Categories):
        return old, marginals.hashed(new)
    if isinstance(old, Categories) and isinstance(new, Buckets):
        return marginals.hashed(old), new
    return old, new


def _notes(role: Role, old: Mapping[str, Marginal], new: Mapping[str, Marginal], drift: Drift) -> Iterator[str]:
    for name in old:
        if name in drift.ignore:
            yield f"{role} {name!r} is ignored"
        elif name not in new:
            yield f"{role} {name!r} is not there any more"
        elif isinstance(old[name], Times) and isinstance(new[name], Times):
            yield f"of {role} {name!r} only missing values are compared: later data has later times"
        elif _alike(old[name], new[name])[0].kind != _alike(old[name], new[name])[1].kind:
            yield f"{role} {name!r} was of another kind"
    yield from (f"{role} {name!r} is new" for name in new if name not in old)


def _columns(found: Sequence[_Test], drift: Drift) -> Iterator[ColumnDrift]:
    """Yield the columns with their tests, in their order."""
    adjusted = stats.false_discovery_control([test.difference.p_value for test in found]) if found else []
    changes: dict[tuple[str, Role], list[Change]] = {}
    for test, p_value in zip(found, adjusted, strict=True):
        bound = drift.distance if test.what == "distribution" else drift.rate
        size = max(map(abs, test.difference.effects.values())) / bound
        changes.setdefault((test.name, test.role), []).append(
            Change(
                what=test.what,
                p_value=test.difference.p_value,
                adjusted=float(p_value),
                effects=dict(test.difference.effects),
                size=size,
                drifted=bool(p_value <= drift.significance and size >= 1),
            )
        )
    for (name, role), made in changes.items():
        yield ColumnDrift(name=name, role=role, changes=tuple(made))


def _summary(columns: Sequence[ColumnDrift], drift: Drift, *, compared: int) -> DriftSummary:
    drifted = sorted((each for each in columns if each.drifted), key=lambda each: -each.main.size)
    names: dict[Role, tuple[str, ...]] = {
        role: tuple(each.name for each in drifted if each.role == role) for role in ("feature", "target", "prediction")
    }
    share = len(names["feature"]) / compared if compared else 0.0
    counts = bool(names["target"] or names["prediction"]) or share > drift.tolerated
    return DriftSummary(
        drifted=counts,
        reason=_reason(drifted, counts=counts, compared=compared),
        features=names["feature"],
        share=share,
        targets=names["target"],
        predictions=names["prediction"],
        worst=drifted[0].name if drifted else None,
    )


_ROLES: Mapping[Role, str] = {"feature": "features", "target": "the target", "prediction": "the predictions"}


def _reason(drifted: Sequence[ColumnDrift], *, counts: bool, compared: int) -> str:
    """Return a sentence on what drifted, the worst by its largest effect."""
    if not drifted:
        counted = f"{compared} feature{'s' * (compared != 1)}"
        return f"no drift: of {counted} none differs from the champion's training data by more than chance"
    features = sum(each.role == "feature" for each in drifted)
    said = [f"{features} of {compared} features"] if features else []
    said += [_ROLES[role] for role in ("target", "prediction") if any(each.role == role for each in drifted)]
    tolerated = "" if counts else ", which is tolerated"
    listed = " and ".join(filter(None, (", ".join(said[:-1]), said[-1])))
    return f"drift in {listed}{tolerated}: most in {drifted[0].name!r} ({drifted[0].main.said})"
