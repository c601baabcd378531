"""R33 and the report of real networks: evaluate as a stage."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from flows import requests
from schemas.evaluation import Evaluation
from schemas.spec import Spec
from schemas.stages import EncodeRequest, EvaluateRequest, EvaluateResult, Input
from tasks import bundle, bundle_contents, encode, evaluate, evaluation, ingest, train
from tasks.findings import refits

ROWS = 600


def frame() -> pd.DataFrame:
    """Rows of which x and the colour decide y; for people over 60, y is tossed. One row has no number."""
    random = np.random.default_rng(0)
    x, colour, age = (
        random.normal(size=ROWS).round(4),
        random.choice(["red", "green", "<b>"], ROWS),
        np.arange(ROWS) % 90,
    )
    likely = np.where(age > 60, 0.5, 1 / (1 + np.exp(-4 * x - 2 * (colour == "red"))))
    return pd.DataFrame(
        {
            "id": np.arange(ROWS),
            "x": [*x[:-1].astype(str), "unknown"],
            "noise": random.normal(size=ROWS).round(4),
            "colour": colour,
            "age": age,
            "y": np.where(random.random(ROWS) < likely, "yes", "no"),
        }
    )


def spec(folder: Path, **keys) -> Spec:
    return Spec.model_validate(
        {
            "name": "it",
            "problem": "binary",
            "data": {"path": str(folder / "rows.csv"), "key": ["id"]},
            "target": {"column": "y"},
            "columns": {"x": {"kind": "numeric"}, "noise": {"kind": "numeric"}, "colour": {"kind": "one_hot"}},
            "network": {"hidden": [8]},
            "training": {"epochs": 12, "optimizer": {"name": "adam", "learning_rate": 0.01}},
            "evaluation": {"slices": ["age", "colour"], "costs": {"false_negative": 5}, "bootstrap": 50, "worst": 5},
        }
        | keys
    )


def chain(spec: Spec, workspace: Path) -> tuple[EvaluateRequest, EvaluateResult]:
    """Run the stages up to evaluate."""
    place = str(workspace)
    ingested = ingest.run(requests.ingest_request(spec, workspace=place))
    encoded = encode.run(EncodeRequest(workspace=place, ingest=ingested.as_input))
    known = {"workspace": place, "ingest": ingested, "encode": encoded}
    trained = train.run(requests.train_request(spec, **known))
    asked = requests.evaluate_request(spec, **known, train=trained, champion=None)
    return asked, evaluate.run(asked)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory) -> tuple[EvaluateRequest, EvaluateResult]:
    folder = tmp_path_factory.mktemp("evaluated")
    frame().to_csv(folder / "rows.csv", index=False)
    return chain(spec(folder), folder / "workspace")


@pytest.fixture(scope="module")
def text(evaluated) -> str:
    """The report without its tags."""
    return re.sub(r"<[^>]*>", " ", Path(evaluated[1].path, "report.html").read_text(encoding="utf-8"))


def figure(result: EvaluateResult, name: str) -> pd.DataFrame:
    return pd.read_csv(Path(result.path, "figures", f"{name}.csv"))


def test_slices_go_by_columns_that_are_no_features(evaluated):
    ages = figure(evaluated[1], "slices").query("column == 'age'").set_index("value")
    assert len(ages) == 4
    old, young = ages.iloc[-1], ages.iloc[0]
    assert old.roc_auc < 0.75 < young.roc_auc
    assert old.low < old.roc_auc < old.high < young.roc_auc


def test_the_column_that_decides_matters_most_and_noise_does_not(evaluated):
    means = figure(evaluated[1], "importance").groupby("column").loss.mean()
    assert means.idxmax() == "x"
    assert means["x"] > 0.1
    assert abs(means["noise"]) < 0.03


def test_worst_predictions_and_rejected_rows_are_on_the_page(text):
    assert text.index("log loss") < text.index("Why rows were rejected")
    assert "x is no number" in re.sub(r"\s+", " ", text)
    assert "unknown" in text


def test_threshold_is_lower_where_a_miss_costs_more(evaluated, text):
    costs = figure(evaluated[1], "costs").query("split == 'validation'").sort_values("cost")
    assert costs.threshold.iloc[0] < 0.5
    assert "A false positive costs 1 and a false negative 5" in text
    assert re.search(r"by the costs, if calibrated\s+0\.1667", text)


def test_report_names_no_place_of_this_machine_and_escapes_the_data(evaluated):
    folder = Path(evaluated[1].path)
    html = (folder / "report.html").read_text(encoding="utf-8")
    for path in (folder / "report.html", *(folder / "figures").glob("*.csv"), folder / "metrics.json"):
        assert evaluated[0].workspace.rpartition("/")[0] not in path.read_text(encoding="utf-8")
    assert "&lt;b&gt;" in html
    assert "<b>" not in html.replace("<b>binary</b>", "").replace("<b>y</b>", "").replace("<b>Next step.</b>", "")


def test_same_request_gives_the_same_bytes(evaluated, tmp_path):
    again = evaluate.run(evaluated[0].model_copy(update={"workspace": str(tmp_path)}))
    assert again.files == evaluated[1].files


def test_champion_stands_beside_the_challenger(evaluated, tmp_path):
    place = Path(evaluated[0].train.path, "bundle")
    update = {"workspace": str(tmp_path), "champion": Input(path=str(place)), "champion_version": "7"}
    result = evaluate.run(evaluated[0].model_copy(update=update))
    html = Path(result.path, "report.html").read_text(encoding="utf-8")
    assert "Challenger and champion predict the same for every test row." in html
    assert bundle_contents.digest(place) in html
    assert set(figure(result, "roc").model) == {"champion", "model"}


def test_question_stays_the_same_whatever_the_report_shows(evaluated):
    asked = evaluated[0]
    other = asked.model_copy(update={"evaluation": Evaluation(bootstrap=0, refits=5, worst=0)})
    metric = asked.model_copy(update={"evaluation": Evaluation(metric="accuracy")})
    assert evaluate.question(asked) == evaluate.question(other) != evaluate.question(metric)
    assert evaluate.run_key(asked) != evaluate.run_key(other)


def test_nothing_is_computed_that_was_switched_off(evaluated, tmp_path):
    quiet = Evaluation(slices=(), bootstrap=0, importance=0, worst=0)
    result = evaluate.run(evaluated[0].model_copy(update={"workspace": str(tmp_path), "evaluation": quiet}))
    html = Path(result.path, "report.html").read_text(encoding="utf-8")
    for heading in ("slices", "importance", "mistakes"):
        assert f'id="{heading}"' not in html
    assert "interval" not in html


def test_refits_and_data_sizes_are_in_the_report(evaluated, tmp_path):
    """R33: on request, bias² and variance over bootstrap refits, and the curve over the number of rows."""
    folder = Path(evaluated[0].workspace).parent
    asked = spec(folder, evaluation={"refits": 3, "data_sizes": [0.1, 0.5], "bootstrap": 0, "importance": 0})
    _, result = chain(asked, folder / "workspace")
    html = Path(result.path, "report.html").read_text(encoding="utf-8")
    assert "Squared errors of 3 networks on the test rows" in html
    sizes = figure(result, "data_sizes")
    rows = json.loads(Path(evaluated[0].ingest.path, "result.json").read_text())["rows"]["train"]
    assert sizes.rows.tolist() == [round(0.1 * rows), round(0.5 * rows), rows]
    assert sizes.train.iloc[-1] == pytest.approx(result.metrics["train"]["roc_auc"])
    assert sizes.validation.between(0.4, 1).all()


def hard(rows: int, noise: float, *, seed: int = 0) -> pd.DataFrame:
    """A wave over two columns, hidden among eight: y needs many bends."""
    random = np.random.default_rng(seed)
    x = random.uniform(-3, 3, (rows, 8))
    y = np.sin(2 * x[:, 0]) * np.cos(2 * x[:, 1]) + noise * random.normal(size=rows)
    return pd.DataFrame(x, columns=[f"x{at}" for at in range(8)]).assign(y=y)


@pytest.mark.parametrize(
    ("rows", "noise", "useful", "hidden", "epochs", "verdict", "key"),
    [
        (3_000, 0.0, 2, [2], 30, "underfitting", "network.hidden"),
        (200, 1.0, 8, [512, 512], 60, "overfitting", "network.dropout"),
        (6_000, 0.1, 2, [64, 64], 60, "just right", None),
    ],
)
def test_verdict_is_right_for_networks_that_are_too_small_too_large_and_fair(
    tmp_path, rows, noise, useful, hidden, epochs, verdict, key
):
    """R33: a tiny network on a hard problem, a huge one on 200 noisy rows, and a fair one."""
    names = [f"x{at}" for at in range(useful)]
    hard(rows, noise).to_csv(tmp_path / "rows.csv", index=False)
    asked = spec(
        tmp_path,
        problem="regression",
        data={"path": str(tmp_path / "rows.csv")},
        columns={name: {"kind": "numeric"} for name in names},
        network={"hidden": hidden},
        training={"epochs": epochs, "optimizer": {"name": "adam", "learning_rate": 0.005}},
        evaluation={"importance": 0, "slices": [], "worst": 0},
    )
    _, result = chain(asked, tmp_path / "workspace")
    html = Path(result.path, "report.html").read_text(encoding="utf-8")
    assert f"Diagnosis: {verdict}" in html
    assert re.search(r"The gap of [−\d.]+ points has a 95\s%\sinterval of [−\d.]+ points to [−\d.]+ points", html)
    assert key is None or f"<code>{key}: " in html


def test_bias_and_variance_add_up_to_the_mean_error_of_the_refits(tmp_path):
    """R33."""
    hard(200, 0.5).to_csv(tmp_path / "rows.csv", index=False)
    asked, _ = chain(
        spec(
            tmp_path,
            problem="regression",
            data={"path": str(tmp_path / "rows.csv")},
            columns={f"x{at}": {"kind": "numeric"} for at in range(8)},
            training={"epochs": 5},
            evaluation={"refits": 3, "importance": 0, "bootstrap": 0, "slices": [], "worst": 0},
        ),
        tmp_path / "workspace",
    )
    challenger, ingested = bundle.Bundle(Input(path=f"{asked.train.path}/bundle")), Path(asked.ingest.path)
    test = evaluation.score(challenger, ingested, "test")
    found = refits.spread(asked, challenger, ingested, test, disk=tmp_path)
    errors = [
        np.mean((test.truth - evaluation.score(refit, ingested, "test").predicted) ** 2)
        for refit in refits.resampled(asked, challenger, disk=tmp_path)
    ]
    assert found.bias[0] + found.variance[0] == pytest.approx(np.mean(errors))
    assert len(set(errors)) == 3
    assert found.variance[0] > 0
