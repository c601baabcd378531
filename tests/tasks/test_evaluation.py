"""Which of two bundles is better, and when that cannot be said."""

import math

import pytest

from schemas.errors import DataError
from tasks.evaluation import verdict


@pytest.mark.parametrize(
    ("metric", "challenger", "champion", "better"),
    [
        ("roc_auc", 0.9, 0.8, True),
        ("roc_auc", 0.8, 0.9, False),
        ("roc_auc", 0.8, 0.8, False),
        ("root_mean_squared_error", 1.0, 2.0, True),
        ("log_loss", 2.0, 1.0, False),
    ],
)
def test_the_better_one_wins_by_the_direction_of_the_metric(
    metric: str, challenger: float, champion: float, better: bool
) -> None:
    said = verdict(metric, {metric: challenger}, {metric: champion}, why_not="")
    assert said.better is better
    assert f"{metric} {challenger:.4g} against the champion's {champion:.4g}" in said.reason


@pytest.mark.parametrize("champion", [None, {"r2": math.nan}])
def test_without_a_champion_to_compare_with_the_challenger_wins_and_the_reason_is_said(
    champion: dict[str, float] | None,
) -> None:
    said = verdict("r2", {"r2": 0.1}, champion, why_not="there is no champion yet")
    assert (said.better, said.reason, said.champion) == (True, "promoted: there is no champion yet", None)


def test_a_metric_without_a_value_decides_nothing() -> None:
    with pytest.raises(DataError, match=r"roc_auc has no value .* set another evaluation\.metric"):
        verdict("roc_auc", {"roc_auc": math.nan}, None, why_not="")
