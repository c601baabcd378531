"""R40: a challenger has to be better than the champion on the same rows, and by more than chance."""

import dataclasses
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from schemas.errors import SpecError
from schemas.evaluation import Evaluation
from schemas.promotion import Check, Promotion
from tasks import metrics
from tasks.metrics import DEFAULT_METRIC, Scored
from tasks.promotion.champion import Champion
from tasks.promotion.evidence import Evidence
from tasks.promotion.gain import comparison, confidence, gain
from tasks.promotion.gate import verdict
from tasks.promotion.guards import guards, required

PROBLEMS = ("regression", "multioutput_regression", "binary", "multiclass", "multilabel")


def pair(problem: Any, *, rows: int = 300, skill: float = 0.0, seed: int = 0) -> tuple[Scored, Scored]:
    """What challenger and champion say of the same rows: both err, the challenger less by `skill`."""
    random = np.random.default_rng(seed)
    if problem.endswith("regression"):
        outputs = ("y",) if problem == "regression" else ("a", "b")
        truth = random.normal(size=(rows, len(outputs)))
        ours, theirs = (truth + random.normal(size=truth.shape) * (1 - each) for each in (skill, 0))
        return Scored(problem, outputs, truth, ours), Scored(problem, outputs, truth, theirs)
    classes = {"binary": ("no", "yes"), "multiclass": ("a", "b", "c"), "multilabel": ("a", "b")}[problem]
    if problem == "multilabel":
        truth = random.integers(2, size=(rows, 2)).astype(np.int8)
        ours, theirs = (
            np.clip(0.5 + (truth - 0.5) * (0.3 + each) + noise(random, (rows, 2)), 0.01, 0.99) for each in (skill, 0)
        )
        return Scored(problem, classes, truth, ours), Scored(problem, classes, truth, theirs)
    truth = random.integers(len(classes), size=rows)
    hot = np.eye(len(classes))[truth]
    ours, theirs = (np.exp(hot * (1 + 3 * each) + random.normal(size=hot.shape)) for each in (skill, 0))
    said = (each / each.sum(axis=1, keepdims=True) for each in (ours, theirs))
    first, second = (Scored(problem, classes, truth, each) for each in said)
    return first, second


def noise(random: np.random.Generator, shape: tuple[int, int]) -> np.ndarray[Any, Any]:
    return random.normal(size=shape) * 0.3


def evidence(challenger: Scored, champion: Scored | None, *, metric: str | None = None, **policy: Any) -> Evidence:
    return Evidence(
        policy=Promotion.model_validate(policy),
        evaluation=Evaluation(),
        metric=metric or DEFAULT_METRIC[challenger.problem],
        bundle=cast("Any", None),  # no check here looks at it
        ingested=Path(),
        test=challenger,
        measured=metrics.compute(challenger),
        champion=Champion("1", champion) if champion else None,
        champion_measured=metrics.compute(champion) if champion else None,
    )


def only(checks: Any) -> Check:
    (found,) = checks
    return cast("Check", found)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_clear_gain_is_proven_and_its_reverse_is_not(problem: str) -> None:
    better, worse = pair(problem, skill=0.5)
    assert only(gain(evidence(better, worse))).passed
    assert only(confidence(evidence(better, worse))).passed
    assert not only(gain(evidence(worse, better))).passed
    assert not only(confidence(evidence(worse, better))).passed


@pytest.mark.parametrize("problem", PROBLEMS)
def test_equal_predictions_are_no_gain(problem: str) -> None:
    one, _ = pair(problem)
    for check in (gain, confidence):
        found = only(check(evidence(one, one)))
        assert (found.passed, found.value, found.wanted) == (False, 0, 0)


@pytest.mark.parametrize("problem", ["regression", "binary"])
def test_of_equally_good_challengers_about_one_in_twenty_seems_better(problem: str) -> None:
    """The level holds: without the interval half of them would replace the champion."""
    pairs = [evidence(*pair(problem, rows=120, seed=seed), resamples=100) for seed in range(60)]
    assert 15 < sum(only(gain(each)).passed for each in pairs) < 45
    assert sum(only(confidence(each)).passed for each in pairs) <= 9


def test_pairing_proves_a_small_gain_on_every_row() -> None:
    """Rows are hard for both: alone each model's figure would differ by more than the gain, from sample to sample."""
    truth = np.random.default_rng(0).normal(size=(200, 1))
    champion = Scored("regression", ("y",), truth, np.zeros_like(truth))
    challenger = dataclasses.replace(champion, predicted=0.05 * truth)
    found = only(confidence(evidence(challenger, champion)))
    assert found.passed
    spread = np.std([np.sqrt(np.mean(np.random.default_rng(at).choice(truth, 200) ** 2)) for at in range(50)])
    assert found.value is not None
    assert 0 < found.value < 2 * spread


def test_seed_decides_the_proof() -> None:
    first, again, other = (
        only(confidence(evidence(*pair("binary", skill=0.2), seed=seed))).value for seed in (0, 0, 1)
    )
    assert first == again != other


def test_a_wanted_gain_is_wanted_with_confidence() -> None:
    challenger, champion = pair("regression", skill=0.3)  # about 0.3 better
    assert only(confidence(evidence(challenger, champion, minimum_gain=0.1))).passed
    refused = evidence(challenger, champion, minimum_gain=0.23)
    assert only(gain(refused)).passed
    assert not only(confidence(refused)).passed


def test_a_margin_lets_an_equal_one_pass_and_a_worse_one_not() -> None:
    one, other = pair("regression", rows=2000)
    assert only(confidence(evidence(one, other, margin=0.1))).passed
    challenger, champion = pair("regression", rows=2000, skill=0.3)
    assert not only(gain(evidence(champion, challenger, margin=0.1))).passed


def test_without_confidence_the_values_alone_decide() -> None:
    challenger, champion = pair("binary", rows=60, skill=0.05, seed=3)
    asked = evidence(challenger, champion, confidence=None)
    assert not list(confidence(asked))
    assert only(gain(asked)).passed is (asked.measured["roc_auc"] > (asked.champion_measured or {})["roc_auc"])


def test_rows_of_one_class_prove_nothing() -> None:
    rows = Scored("binary", ("no", "yes"), np.array([0] * 40 + [1]), np.full((41, 2), 0.5))
    found = only(confidence(evidence(rows, rows, resamples=100)))
    assert found.passed is False


def test_the_first_version_has_nobody_to_beat() -> None:
    challenger, _ = pair("binary")
    for check in (comparison, gain, confidence):
        assert not list(check(evidence(challenger, None)))


@pytest.mark.parametrize(("most", "passed"), [(0.0, False), (0.5, True)])
def test_a_guarded_metric_may_fall_by_so_much(most: float, passed: bool) -> None:
    better, worse = pair("binary", skill=0.5)
    found = only(guards(evidence(worse, better, guards={"recall": most})))
    assert (found.name, found.passed, found.wanted) == ("guard recall", passed, most)
    assert found.value is not None
    assert 0 < found.value < 0.5


def test_a_guard_knows_that_lower_errors_are_better() -> None:
    better, worse = pair("regression", skill=0.5)
    assert only(guards(evidence(better, worse, guards={"mean_absolute_error": 0}))).passed
    assert not only(guards(evidence(worse, better, guards={"mean_absolute_error": 0}))).passed


def test_an_unknown_guard_is_refused_even_without_a_champion() -> None:
    with pytest.raises(SpecError, match="no metric 'recal' is computed of the test rows; there are roc_auc"):
        list(guards(evidence(pair("binary")[0], None, guards={"recal": 0})))


@pytest.mark.parametrize(
    ("problem", "limits", "passed"),
    [
        ("binary", {"roc_auc": 0.7}, True),
        ("binary", {"roc_auc": 0.999}, False),
        ("regression", {"mean_absolute_error": 1e9}, True),
        ("regression", {"mean_absolute_error": 1e-9}, False),
    ],
)
def test_a_required_value_is_reached_with_or_without_a_champion(
    problem: str, limits: dict[str, float], passed: bool
) -> None:
    better, worse = pair(problem, skill=0.5)
    for champion in (worse, None):
        found = only(required(evidence(better, champion, required=limits)))
        assert (found.passed, found.wanted) == (passed, *limits.values())
        assert "or better" in found.sentence
    with pytest.raises(SpecError, match=r"promotion.required: no metric 'recal'"):
        list(required(evidence(better, None, required={"recal": 0})))


def test_a_challenger_below_what_is_required_is_refused_though_it_beats_the_champion() -> None:
    better, worse = pair("regression", skill=0.5)
    found = verdict(evidence(better, worse, required={"r2": 0.999999}, leakage=None))
    assert not found.better
    assert [each.name for each in found.checks if not each.passed] == ["required r2"]
    assert found.reason.startswith("not promoted: ")
    assert "required" in found.reason
