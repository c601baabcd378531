"""R42: drift of constructed data, with the numbers of scipy on the raw values."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import stats
from scipy.spatial import distance

from schemas.contract import Contract
from schemas.drift import ColumnDrift, Drift, DriftReport
from schemas.reference import Buckets, Categories, Numbers, Reference, Times
from tasks.drift.comparison import compare
from tasks.drift.marginals import numbers
from tasks.profiles import Profiler
from tasks.typed_rows import typed_schema

KINDS = {
    "x": {"kind": "numeric"},
    "colour": {"kind": "one_hot"},
    "shop": {"kind": "hashing"},
    "tags": {"kind": "multi_hot"},
    "said": {"kind": "text"},
    "pixels": {"kind": "tensor", "shape": [2]},
    "at": {"kind": "datetime"},
}
COLOURS = ("red", "green", "blue")


def rows(count: int = 2000, *, seed: int, weights=(0.5, 0.3, 0.2), **columns) -> dict[str, list]:
    random = np.random.default_rng(seed)
    return {
        "x": random.normal(size=count).tolist(),
        "colour": random.choice(COLOURS, count, p=weights).tolist(),
        "shop": [f"shop {each}" for each in random.integers(0, 5000, count)],
        "tags": [list(random.choice(["a", "b", "c"], 2, replace=False)) for _ in range(count)],
        "said": ["la" * each for each in random.integers(1, 20, count)],
        "pixels": random.random((count, 2)).tolist(),
        "at": pd.date_range(f"20{seed:02}-01-01", periods=count, freq="h", unit="us").tolist(),
        "y": random.normal(size=count).tolist(),
    } | columns


def reference(table: dict[str, list]) -> Reference:
    """The reference that ingest would publish, made from batches."""
    columns = {name: KINDS.get(name, {"kind": "numeric"}) for name in table if name != "y"}
    contract = Contract.model_validate({"problem": "regression", "target": {"column": "y"}, "columns": columns})
    schema = typed_schema(contract, with_target=True)
    count = len(table["y"])
    typed = pa.table({**table, "_row": range(count)}).select(schema.names).cast(schema)
    profiler, hashes = Profiler(contract), np.random.default_rng(0).integers(0, 2**63, count).astype(np.uint64)
    for start in range(0, count, 700):
        profiler.add(typed.slice(start, 700), hashes[start : start + 700])
    return Reference.model_validate_json(profiler.reference().model_dump_json())


def compared(old: dict[str, list], new: dict[str, list], **settings) -> DriftReport:
    return compare(reference(old), reference(new), Drift(**settings))


def column(report: DriftReport, name: str) -> ColumnDrift:
    return next(each for each in report.columns if each.name == name)


def test_the_same_distribution_does_not_drift():
    report = compared(rows(seed=1), rows(seed=3))
    assert not report.summary.drifted
    assert report.summary.features == ()
    assert report.summary.reason.startswith("no drift: of 6 features none differs")
    assert "of feature 'at' only missing values are compared" in " ".join(report.notes)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("x", {"x": np.random.default_rng(9).normal(0.5, size=2000).tolist()}),
        ("colour", {"weights": (0.3, 0.3, 0.4)}),
        ("shop", {"shop": [f"shop {each}" for each in np.random.default_rng(9).integers(0, 20, 2000)]}),
        ("tags", {"tags": [["a"]] * 2000}),
        ("said", {"said": ["la" * 30] * 2000}),
        ("pixels", {"pixels": [[0.8, 0.9]] * 2000}),
    ],
)
def test_a_change_of_one_column_is_found_there_and_nowhere_else(name, change):
    report = compared(rows(seed=1), rows(seed=3, **change))
    assert report.summary.features == (name,)
    assert report.summary.worst == name
    assert report.summary.share == pytest.approx(1 / 6)
    assert column(report, name).main.what == "distribution"
    assert f"drift in 1 of 6 features: most in '{name}'" in report.summary.reason


def test_more_missing_values_are_drift_of_any_column():
    late = [None if at % 5 == 0 else value for at, value in enumerate(rows(seed=3)["at"])]
    report = compared(rows(seed=1), rows(seed=3, at=late))
    assert report.summary.features == ("at",)
    assert column(report, "at").main.effects == {"missing_rate": pytest.approx(0.2)}


def test_new_categories_are_told_from_another_mix():
    new = rows(seed=3)
    new["colour"] = [*["violet"] * 200, *new["colour"][200:]]
    change = next(each for each in column(compared(rows(seed=1), new), "colour").changes if each.what == "unknown")
    assert change.drifted
    assert change.effects == {"unknown_rate": pytest.approx(0.1)}


def test_categories_that_are_mostly_seen_once_are_not_unknown_for_that():
    words = [f"word {each}" for each in np.random.default_rng(1).integers(0, 1000, 1000)]
    report = compared(rows(500, seed=1, colour=words[:500]), rows(500, seed=3, colour=words[500:]))
    assert {each.what for each in column(report, "colour").changes} == {"distribution", "unknown"}
    assert not report.summary.drifted


def test_a_target_that_drifts_counts_whatever_share_of_the_features_may():
    new = rows(seed=3, y=np.random.default_rng(9).normal(1, size=2000).tolist(), weights=(0.3, 0.3, 0.4))
    report = compared(rows(seed=1), new, tolerated=0.5)
    assert report.summary.targets == ("y",)
    assert report.summary.drifted
    tolerated = compared(rows(seed=1), rows(seed=3, weights=(0.3, 0.3, 0.4)), tolerated=0.5)
    assert (tolerated.summary.features, tolerated.summary.drifted) == (("colour",), False)
    assert "which is tolerated" in tolerated.summary.reason


def test_ignored_columns_may_change():
    report = compared(rows(seed=1), rows(seed=3, weights=(0.3, 0.3, 0.4)), ignore=["colour"])
    assert not report.summary.drifted
    assert "feature 'colour' is ignored" in report.notes


def test_columns_on_one_side_are_told():
    old, new = rows(seed=1), rows(seed=3)
    del old["shop"], new["tags"]
    assert {"feature 'shop' is new", "feature 'tags' is not there any more"} <= {*compared(old, new).notes}


def test_a_difference_that_is_sure_but_small_is_no_drift():
    old, new = (np.random.default_rng(seed).normal(seed * 0.03, size=300_000) for seed in (1, 2))
    assert stats.ks_2samp(old, new).pvalue < 1e-9
    sides = [
        Reference(rows=len(each), columns={"x": numbers(each, rows=len(each), missing=0)}, targets={})
        for each in (old, new)
    ]
    (change,) = compare(*sides, Drift()).columns[0].changes
    assert change.adjusted < 1e-6
    assert not change.drifted


def test_false_alarms_among_many_columns_are_rare():
    """Forty comparisons of fifty columns, all of the same distribution: of a hundred such one may find drift."""
    random = np.random.default_rng(0)
    alarms = 0
    for _ in range(40):
        old, new = (
            Reference(
                rows=60,
                columns={f"c{at}": numbers(random.normal(size=60), rows=60, missing=0) for at in range(50)},
                targets={},
            )
            for _ in range(2)
        )
        alarms += compare(old, new, Drift()).summary.drifted
    assert alarms <= 2  # more have a chance below 1 in 100


def test_figures_are_those_of_scipy_on_the_raw_values():
    random = np.random.default_rng(5)
    old = rows(400, seed=1, x=random.normal(size=400).tolist())
    new = rows(300, seed=3, x=random.normal(0.3, 1.5, size=300).tolist(), weights=(0.4, 0.3, 0.3))
    report = compared(old, new)
    (x,) = column(report, "x").changes
    found = stats.ks_2samp(old["x"], new["x"], method="asymp")
    assert x.effects["kolmogorov_smirnov"] == pytest.approx(found.statistic, rel=1e-12)
    assert x.p_value == pytest.approx(found.pvalue, rel=1e-12)
    wanted = stats.wasserstein_distance(old["x"], new["x"]) / np.std(old["x"])
    assert x.effects["wasserstein"] == pytest.approx(wanted, rel=1e-12)

    counts = np.array([[side["colour"].count(each) for each in COLOURS] for side in (old, new)])
    (colour,) = column(report, "colour").changes
    assert colour.p_value == pytest.approx(stats.chi2_contingency(counts).pvalue)
    assert colour.effects["jensen_shannon"] == pytest.approx(distance.jensenshannon(*counts, base=2))

    p_values = [change.p_value for each in report.columns for change in each.changes]
    adjusted = [change.adjusted for each in report.columns for change in each.changes]
    assert adjusted == pytest.approx(stats.false_discovery_control(p_values))


def test_quantiles_stand_for_many_values():
    random = np.random.default_rng(3)
    old, new = random.lognormal(size=20_000), random.lognormal(0.2, size=15_000)
    kept, present = numbers(old, rows=20_000, missing=0), numbers(new, rows=15_000, missing=0)
    assert (len(kept.values), sum(kept.counts)) == (500, 20_000)
    sides = [Reference(rows=each.rows, columns={"x": each}, targets={}) for each in (kept, present)]
    (change,) = compare(*sides, Drift()).columns[0].changes
    assert change.effects["kolmogorov_smirnov"] == pytest.approx(stats.ks_2samp(old, new).statistic, abs=0.004)
    assert change.effects["wasserstein"] == pytest.approx(stats.wasserstein_distance(old, new) / old.std(), rel=0.1)


def test_a_reference_holds_marginals_of_each_kind_and_no_names_of_hashed_categories():
    found = reference(rows(seed=1))
    kinds = {name: type(each) for name, each in found.columns.items()}
    assert kinds == {
        "x": Numbers, "colour": Categories, "shop": Buckets, "tags": Categories, "said": Numbers, "pixels": Numbers,
        "at": Times,
    }  # fmt: skip
    assert "shop 1" not in found.to_json()
    assert sum(found.columns["shop"].counts) == 2000
    assert found.period == found.columns["at"]
    assert found.period.earliest == pd.Timestamp("2001-01-01").timestamp()


def test_many_categories_become_buckets_on_both_sides():
    few = [f"word {at % 500}" for at in range(2000)]
    many = [f"word {at % 1500}" for at in range(2000)]
    assert isinstance(reference(rows(seed=1, colour=many)).columns["colour"], Buckets)
    assert "colour" not in compared(rows(seed=1, colour=few), rows(seed=3, colour=few)).summary.features
    report = compared(rows(seed=1, colour=["word 1"] * 2000), rows(seed=3, colour=many))
    assert report.summary.features == ("colour",)
