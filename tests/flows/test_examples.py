"""Each example runs end to end by the command, and is as good as scikit-learn's own models on the same split."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sklearn.linear_model import RidgeCV
from sklearn.metrics import root_mean_squared_error
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

pytestmark = pytest.mark.slow

Run = Callable[[str], dict[str, Any]]


@pytest.fixture
def run(evermodel: Callable[..., Any], tmp_path: Path) -> Run:
    """Write an example and run it as a user does; return what `--json` printed."""

    def run_example(name: str) -> dict[str, Any]:
        evermodel("example", name)
        result: dict[str, Any] = json.loads(evermodel("run", f"{name}.yaml", "--json").stdout)
        return result

    return run_example


def rows(result: dict[str, Any], split: str) -> pd.DataFrame:
    """The rows of a split as ingest published them."""
    frame: pd.DataFrame = pq.read_table(
        Path(result["stages"]["ingest"]["path"]) / "rows" / f"{split}.parquet"
    ).to_pandas()
    return frame.drop(columns=[name for name in frame if str(name).startswith("_")])


def test_regression_keeps_up_with_ridge(run: Run) -> None:
    """R1: diabetes, RMSE at most 5 % above ridge regression's."""
    result = run("diabetes")
    train, test = rows(result, "train"), rows(result, "test")
    ridge = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-2, 3, 20))).fit(*features(train))
    x, y = features(test)
    assert result["metrics"]["test"]["root_mean_squared_error"] <= 1.05 * root_mean_squared_error(y, ridge.predict(x))


def features(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series]:
    """Numeric features and the target, which comes last."""
    numbers = frame.apply(pd.to_numeric, errors="coerce")
    return numbers.iloc[:, :-1], numbers.iloc[:, -1]


def test_multioutput_regression_has_figures_for_each_output(run: Run) -> None:
    """R2: linnerud, twenty rows."""
    metrics = run("linnerud")["metrics"]["test"]
    assert {"r2", "r2[weight]", "r2[waist]", "r2[pulse]"} <= metrics.keys()
    assert np.mean([metrics[f"root_mean_squared_error[{name}]"] for name in ("weight", "waist", "pulse")]) < 40


def test_binary_reaches_the_quality_that_the_data_allows(run: Run) -> None:
    """R3: breast cancer, ROC AUC at least 0.98."""
    assert run("breast-cancer")["metrics"]["test"]["roc_auc"] >= 0.98


def test_multiclass_on_images_keeps_up_with_scikit_learn(run: Run) -> None:
    """R5, R7: digits, accuracy at least 0.95, and no more than 2 points below scikit-learn's MLP."""
    result = run("digits")
    train, test = rows(result, "train"), rows(result, "test")
    network = MLPClassifier((64,), early_stopping=True, random_state=0, max_iter=300)
    network.fit(np.stack(list(train["image"])) / 16, train["digit"])
    accuracy = network.score(np.stack(list(test["image"])) / 16, test["digit"])
    assert result["metrics"]["test"]["accuracy"] >= max(0.95, accuracy - 0.02)
    verdict = json.loads(Path(result["report"]).with_name("verdict.json").read_text())
    assert [check["name"] for check in verdict["checks"]] == ["leakage model"]  # an image is no single figure


def test_multilabel_learns_every_label(run: Run) -> None:
    """R4: traits of digits."""
    metrics = run("digit-traits")["metrics"]["test"]
    assert metrics["hamming_loss"] <= 0.05
    assert metrics["roc_auc"] >= 0.97


def test_a_table_with_text_dates_and_gaps_beats_chance_by_far(run: Run) -> None:
    """R26, R27, R28: flights, with a pipeline of scikit-learn's around .75 on such rows."""
    result = run("flights")
    assert result["metrics"]["test"]["roc_auc"] >= 0.73
    assert result["rows"]["read"] == result["rows"]["accepted"] + result["rows"]["rejected"] == 60_000
