"""R1-R5, R7, R8: each problem, in each form that its target can have, from the spec to predictions of raw rows."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_linnerud

from schemas.contract import Contract
from schemas.data import Source
from schemas.prediction import PredictRequest
from schemas.spec import Spec
from schemas.spec_file import read_spec
from schemas.stages import EncodeRequest, EvaluateRequest, IngestRequest, Input, TrainRequest
from tasks import encode, evaluate, ingest, predict, train
from tasks.bundle import Bundle

NUMBERS = {"mean_absolute_error", "root_mean_squared_error", "r2"}
TWO_CLASSES = {"roc_auc", "pr_auc", "log_loss", "accuracy", "f1"}
CLASSES = {"accuracy", "balanced_accuracy", "f1_macro", "log_loss"}
LABELS = {"hamming_loss", "subset_accuracy", "f1_micro", "f1_macro", "roc_auc"}


class Case:
    """A model from a spec: its figures on the test rows, its network, and what it says of the raw rows."""

    def __init__(self, frame: pd.DataFrame, folder: Path, **keys: Any) -> None:
        """Write rows and spec, and run the stages."""
        frame.reset_index(names="row").to_parquet(folder / "rows.parquet")
        spec, inputs = _spec(frame, folder, **keys), {"workspace": str(folder / "workspace")}
        source = Source(path=spec.data.path)
        asked: Any = {"source": source, "contract": Contract.of(spec), "split": spec.split}
        inputs |= {"ingest": ingest.run(IngestRequest(**inputs, **asked)).as_input}
        encoded = encode.run(EncodeRequest(**inputs)).as_input
        asked = {"encode": encoded, "network": spec.network, "training": spec.training}
        trained = train.run(TrainRequest(**inputs, **asked))
        asked = {"name": spec.name, "train": trained.as_input, "evaluation": spec.evaluation}
        self.test = evaluate.run(EvaluateRequest(**inputs, **asked)).metrics["test"]
        bundle = Input(path=f"{trained.path}/bundle")
        network = Bundle(bundle).trainable()
        self.output, self.loss = network.layers[-1], network.loss.name
        output = str(folder / "said.parquet")
        predict.run(PredictRequest(bundle=bundle, source=source, output=output))
        self.said = pd.read_parquet(output).drop(columns="row")

    def ends_with(self, units: int, activation: str, loss: str) -> bool:
        """Say whether the network has this output layer and this loss."""
        return (self.output.units, self.output.activation.__name__, self.loss) == (units, activation, loss)


def _spec(frame: pd.DataFrame, folder: Path, *, problem: str, target: Any, columns: Any = None, **keys: Any) -> Spec:
    """Write a spec to a file and read it, as a user does; columns not named are numbers."""
    target = {"column": target} if isinstance(target, str) else target
    taken = {target.get("column"), *target.get("columns", ())}
    numbers = {str(name): {"kind": "numeric"} for name in frame if name not in taken}
    spec: dict[str, Any] = {
        "name": "it",
        "problem": problem,
        "data": {"path": "rows.parquet", "key": ["row"]},
        "target": target,
        "columns": columns or numbers,
        "network": {"hidden": [16]},
        "training": {"epochs": 30, "batch_size": 16, "optimizer": {"name": "adam", "learning_rate": 0.005}},
        "evaluation": {"bootstrap": 0, "importance": 0, "worst": 0, **keys.pop("evaluation", {})},
    }
    (folder / "spec.yaml").write_text(Spec.model_validate({**spec, **keys}).to_json())
    return read_spec(folder / "spec.yaml")


def test_regression(tmp_path: Path) -> None:
    """R1: one number; one unit without activation, MSE; MAE, RMSE and R²."""
    frame = load_diabetes(as_frame=True).frame
    case = Case(frame, tmp_path, problem="regression", target="target")
    assert case.ends_with(1, "linear", "mean_squared_error")
    assert case.test.keys() >= NUMBERS
    assert case.test["r2"] > 0.3
    assert np.corrcoef(case.said["prediction"], frame["target"])[0, 1] > 0.6


def test_multioutput_regression(tmp_path: Path) -> None:
    """R2: several numbers; a unit for each, MSE; MAE, RMSE and R² of each, and their averages."""
    names = ["Weight", "Waist", "Pulse"]
    frame = pd.concat([load_linnerud(as_frame=True).frame] * 5, ignore_index=True)
    case = Case(frame, tmp_path, problem="multioutput_regression", target={"columns": names})
    assert case.ends_with(3, "linear", "mean_squared_error")
    for metric in NUMBERS:
        each = [case.test[f"{metric}[{name}]"] for name in names]
        assert case.test[metric] == pytest.approx(np.mean(each))
    assert list(case.said.columns) == [f"prediction_{name}" for name in names]


@pytest.mark.parametrize(
    ("negative", "positive"),
    [(0, 1), (False, True), ("malignant", "benign")],
    ids=["zeros-and-ones", "false-and-true", "labels"],
)
def test_binary(tmp_path: Path, negative: Any, positive: Any) -> None:
    """R3: two values of any kind; one sigmoid, binary cross-entropy; ROC AUC, PR AUC, log-loss, accuracy, F1."""
    frame = load_breast_cancer(as_frame=True).frame.iloc[:, -8:]
    frame = frame.assign(target=[positive if each else negative for each in frame["target"]])
    target = {"column": "target", "positive": str(positive).lower()}
    case = Case(frame, tmp_path, problem="binary", target=target)
    assert case.ends_with(1, "sigmoid", "binary_crossentropy")
    assert case.test.keys() >= TWO_CLASSES
    assert case.test["roc_auc"] > 0.95
    right = case.said["prediction"].astype(str).str.lower() == frame["target"].astype(str).str.lower()
    assert right.mean() > 0.9
    assert (
        (case.said["probability"] >= 0.5) == (case.said["prediction"].astype(str).str.lower() == target["positive"])
    ).all()


@pytest.mark.parametrize("form", ["columns", "text", "lists"])
def test_multilabel(tmp_path: Path, form: str) -> None:
    """R4: columns of 0/1, or one column of lists; a sigmoid a label; Hamming loss, subset accuracy, F1, mean AUC."""
    iris = load_iris(as_frame=True).frame
    traits = pd.DataFrame({"flower": iris.target != 0, "large": iris["petal length (cm)"] > 4.5})
    features = iris.drop(columns="target")
    lists = [[name for name in traits if row[name]] for _, row in traits.iterrows()]
    frame, target = {
        "columns": (features.join(traits.astype(int)), {"columns": ["flower", "large"]}),
        "text": (features.assign(traits=["|".join(each) for each in lists]), "traits"),
        "lists": (features.assign(traits=lists), "traits"),
    }[form]
    case = Case(frame, tmp_path, problem="multilabel", target=target)
    assert case.ends_with(2, "sigmoid", "binary_crossentropy")
    assert case.test.keys() >= LABELS
    assert case.test["hamming_loss"] < 0.15
    assert (case.said[["prediction_flower", "prediction_large"]].to_numpy() == traits.to_numpy()).mean() > 0.85


def irises(form: str) -> tuple[pd.DataFrame, Any, str]:
    """Irises whose species is told in one of three ways, the target of the spec, and the loss that belongs to it."""
    frame = load_iris(as_frame=True).frame.iloc[np.random.default_rng(0).permutation(150)].reset_index(drop=True)
    species, features = frame["target"], frame.drop(columns="target")
    if form == "integers":
        return frame, "target", "sparse_categorical_crossentropy"
    if form == "strings":
        names = species.map(dict(enumerate(("setosa", "versicolor", "virginica"))))
        return features.assign(target=names), "target", "sparse_categorical_crossentropy"
    one_hot = pd.get_dummies(species, dtype=int).rename(columns=str)
    return features.join(one_hot), {"columns": ["0", "1", "2"]}, "categorical_crossentropy"


FORMS = ("integers", "strings", "one-hot")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Case]:
    """The irises, learned from each form of their species."""
    top = {"metrics": [{"name": "top_k_categorical_accuracy", "k": 2}]}
    cases = {}
    for form in FORMS:
        frame, target, _ = irises(form)
        folder = tmp_path_factory.mktemp(f"irises-{form}-")
        cases[form] = Case(frame, folder, problem="multiclass", target=target, evaluation=top)
    return cases


@pytest.mark.parametrize("form", FORMS)
def test_multiclass(told: dict[str, Case], form: str) -> None:
    """R5: integers, strings, one-hot columns; a softmax; that form's cross-entropy; accuracies, F1, log-loss, top-k."""
    case = told[form]
    assert case.ends_with(3, "softmax", irises(form)[2])
    assert case.test.keys() >= CLASSES | {"top_k_categorical_accuracy(k=2)"}
    assert case.test["accuracy"] > 0.85
    assert case.test["top_k_categorical_accuracy(k=2)"] >= case.test["accuracy"]


def test_integer_labels_their_names_and_their_one_hot_form_give_the_same_predictions(told: dict[str, Case]) -> None:
    """R8: to the last bit, with the loss that belongs to each form."""
    said = [case.said.filter(like="probability_").to_numpy() for case in told.values()]
    np.testing.assert_array_equal(said[0], said[1])
    np.testing.assert_array_equal(said[0], said[2])
    assert told["integers"].said["prediction"].tolist() == [int(each) for each in told["one-hot"].said["prediction"]]


@pytest.mark.parametrize(("size", "nested"), [(8, True), (28, True), (28, False)], ids=["8", "28", "28-flat"])
def test_images(tmp_path: Path, size: int, nested: bool) -> None:
    """R7: digits as arrays of 8 x 8 or 28 x 28 numbers a row, nested or flat, train as multiclass; top-k is shown."""
    digits = load_digits()
    at = np.arange(size) * 8 // size
    images = digits.images[:600][:, at][:, :, at]
    values = [each.tolist() if nested else each.ravel() for each in images]
    frame = pd.DataFrame({"image": values, "digit": digits.target[:600]})
    columns = {"image": {"kind": "tensor", "shape": [size, size]}}
    case = Case(frame, tmp_path, problem="multiclass", target="digit", columns=columns)
    assert case.ends_with(10, "softmax", "sparse_categorical_crossentropy")
    assert case.test.keys() >= CLASSES | {"top_3_accuracy"}
    assert case.test["accuracy"] > 0.8
    assert (case.said["prediction"] == frame["digit"]).mean() > 0.9
