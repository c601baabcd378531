"""R11: metrics of each epoch, and the best epoch by one of them."""

import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from schemas.contract import Contract
from schemas.data import ColumnSplit, Source
from schemas.errors import SpecError, TrainingError
from schemas.named import Metric, Optimizer
from schemas.stages import EncodeRequest, EvaluateRequest, IngestRequest, Input, TrainRequest, TrainResult, TuneRequest
from schemas.tuning import Tuning
from tasks import encode, evaluation, ingest, metrics, register, train
from tasks.bundle import Bundle
from tasks.findings import refits
from tasks.training import checkpoints
from tasks.tuning.trainer import LocalTrainer

OWN = """
import numpy as np

def calm_error(y_true, y_pred, sample_weight=None):
    error = float(np.abs(y_true - y_pred).mean())
    return error if error <= 0.35 else float("nan")

def shy_error(y_true, y_pred, sample_weight=None):
    if np.any(y_true != y_pred):
        raise ValueError("not today")
    return 0.0

def impossible_error(y_true, y_pred, sample_weight=None):
    return float("nan") if np.any(y_true != y_pred) else 0.0
"""

PROBLEMS: dict[str, dict[str, Any]] = {
    "binary": {"column": "kind", "positive": "b"},
    "regression": {"column": "sum"},
    "multilabel": {"columns": ["big", "old"]},
}


def rows() -> pd.DataFrame:
    random = np.random.default_rng(0)
    size, age, noise = random.normal(size=(3, 300))
    wide = 1000 + 100 * (size + age + noise)
    kind = np.where(size + age + noise > 0.8, "b", "a")
    split = np.repeat(["train", "validation", "test"], 100)
    marks = {"big": (size + noise > 0) * 1, "old": (age + noise > 0.5) * 1}
    weight = 1.0 + 3 * (age > 0)
    return pd.DataFrame({"size": size, "age": age, "kind": kind, "sum": wide, **marks, "w": weight, "split": split})


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TrainRequest]:
    """A request by problem, for rows that are ingested and encoded, with a weight each."""
    folder, found = tmp_path_factory.mktemp("epochs"), {}
    rows().to_csv(folder / "rows.csv", index=False)
    for problem, target in PROBLEMS.items():
        columns = {"size": {"kind": "numeric"}, "age": {"kind": "numeric"}}
        given = {"problem": problem, "target": target, "columns": columns, "split": "split", "weight": "w"}
        source, split = Source(path=str(folder / "rows.csv")), ColumnSplit(column="split")
        known = {"workspace": str(folder), "source": source, "split": split}
        ingested = ingest.run(IngestRequest(contract=Contract.model_validate(given), **known))
        encoded = encode.run(EncodeRequest(workspace=str(folder), ingest=ingested.as_input))
        inputs = {"ingest": ingested.as_input, "encode": encoded.as_input}
        found[problem] = TrainRequest(workspace=str(folder), network={"hidden": [4]}, **inputs)
    return found


def asked(request: TrainRequest, folder: Path, *, by: Any = None, patience: int = 4, **training: Any) -> TrainRequest:
    """The request with another workspace and training, in which `by` decides on the best epoch."""
    stopping = {"patience": patience, **({"metric": by} if by else {})}
    given = {"epochs": 12, "batch_size": 20, "early_stopping": stopping} | training
    optimizer = {"name": "adam", "learning_rate": 0.03}
    return TrainRequest.model_validate(
        request.model_dump() | {"workspace": str(folder), "training": {"optimizer": optimizer} | given}
    )


def history(result: TrainResult) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(result.path, "history.json").read_text())
    return found


def evaluated(request: TrainRequest, result: TrainResult, *wanted: Any) -> dict[str, float]:
    """The figures that evaluation has of the published network and the validation rows."""
    bundle = Bundle(Input(path=f"{result.path}/bundle"))
    scored = evaluation.score(bundle, Path(request.ingest.path), "validation")
    assert scored.weight is not None and len(set(scored.weight)) > 1
    return metrics.compute(scored, [Metric.model_validate(each) for each in wanted])


@pytest.mark.parametrize(
    ("problem", "by", "best", "shown"),
    [
        ("binary", "roc_auc", np.argmax, ("pr_auc", "matthews_corrcoef", {"name": "f1_score", "average": "weighted"})),
        ("regression", "mean_absolute_error", np.argmin, ("r2", "mean_squared_log_error")),
        ("multilabel", "f1_score[old]", np.argmax, ("F1Score", "hamming_loss")),
    ],
)
def test_best_epoch_by_a_metric_has_the_figures_that_evaluation_gives(prepared, tmp_path, problem, by, best, shown):
    weights = {} if problem == "regression" else {"class_weight": "balanced"}
    request = asked(prepared[problem], tmp_path, by=by, metrics=shown, **weights)
    result = train.run(request)
    seen = history(result)
    deciding = seen["metrics"][by]
    assert (seen["decided_by"], result.best_epoch) == (by, 1 + best(deciding))
    assert result.epochs == len(deciding) == min(12, result.best_epoch + 4)
    assert result.validation_loss == seen["validation_loss"][result.best_epoch - 1]
    figures = evaluated(request, result, *shown, *([by] if "[" not in by else []))
    assert {"f1_score[big]", "f1_score[old]"} <= seen["metrics"].keys() or problem != "multilabel"
    assert len(seen["metrics"]) >= 1 + len(shown)
    for name, values in seen["metrics"].items():
        assert values[result.best_epoch - 1] == pytest.approx(figures[name], rel=1e-5), name

    plain = history(train.run(asked(prepared[problem], tmp_path, **weights)))
    common = min(len(plain["loss"]), len(seen["loss"]))
    assert plain["validation_loss"][:common] == seen["validation_loss"][:common]
    assert "metrics" not in plain and "decided_by" not in plain


def test_members_have_a_best_epoch_each_and_a_stopped_training_goes_on_to_the_same_end(
    prepared, tmp_path, monkeypatch, caplog
):
    caplog.set_level(logging.INFO, "evermodel")
    monkeypatch.setattr(checkpoints, "_SHARE", 0)
    request = asked(prepared["binary"], tmp_path / "a", by="pr_auc", metrics=["roc_auc"], members=3)
    result = train.run(request)
    seen = history(result)
    for member in seen["members"]:
        best = member["best_epoch"]
        assert best == 1 + int(np.argmax(member["metrics"]["pr_auc"][: best + 4]))
    for name, figure in seen["ensemble_metrics"].items():
        np.testing.assert_allclose(
            seen["metrics"][name], np.mean([each["metrics"][name] for each in seen["members"]], axis=0)
        )
        assert evaluated(request, result)[name] == pytest.approx(figure, rel=1e-5)
    logged = [(name, epoch) for name, _, epoch in register._epochs(Path(result.path))]
    epochs = range(1, result.epochs + 1)
    for name in ("validation_loss", "epoch_validation_pr_auc", "epoch_validation_roc_auc"):
        assert [epoch for logged_name, epoch in logged if logged_name == name] == [*epochs]
    said = [record for record in caplog.records if hasattr(record, "event") and "epoch" in record.event]
    assert [each.event["metrics"]["pr_auc"] for each in said] == seen["metrics"]["pr_auc"]
    assert f", pr_auc {seen['metrics']['pr_auc'][0]:.4g}" in said[0].getMessage()

    again = request.model_copy(update={"workspace": str(tmp_path / "b")})
    with stopping_after(3), pytest.raises(StopError):
        train.run(again)
    assert train.run(again).files == result.files
    assert "train: goes on after epoch 2" in caplog.text


class StopError(BaseException):
    """What ends a training from outside."""


class stopping_after(logging.Handler):  # noqa: N801
    """Stops a training when an epoch is told, before its checkpoint."""

    def __init__(self, epoch: int) -> None:
        super().__init__()
        self._epoch = epoch

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "event", {}).get("epoch") == self._epoch:
            raise StopError

    def __enter__(self) -> None:
        logging.getLogger("evermodel.train").addHandler(self)

    def __exit__(self, *_: object) -> None:
        logging.getLogger("evermodel.train").removeHandler(self)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module with metrics of the user's own."""
    path = tmp_path / "own_epochs.py"
    path.write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("EVERMODEL_ALLOW_MODULES", "own_epochs")
    yield path
    sys.modules.pop("own_epochs", None)


def test_epoch_without_a_value_is_no_better(prepared, tmp_path, own, caplog):
    shown = ["own_epochs:shy_error"]
    request = asked(prepared["binary"], tmp_path, by="own_epochs:calm_error", metrics=shown, patience=12)
    seen = history(train.run(request))
    values = seen["metrics"]["calm_error"]
    assert values[0] is None
    known = [np.inf if value is None else value for value in values]
    assert seen["best_epoch"] == 1 + int(np.argmin(known)) > 1
    assert set(seen["metrics"]["shy_error"]) == {None}
    assert caplog.text.count("own_epochs:shy_error has no value for what the network says: not today") == 1
    key = train.run_key(request)
    own.write_text(OWN + "\n")
    assert train.run_key(request) != key, "the source of a metric is part of what the outcome depends on"


def test_metric_without_any_value_ends_in_one_message(prepared, tmp_path, own):
    request = asked(prepared["binary"], tmp_path, by="own_epochs:impossible_error", epochs=2)
    said = r"training\.early_stopping\.metric: impossible_error had no value in any of 2 epochs"
    with pytest.raises(TrainingError, match=said):
        train.run(request)


def test_outputs_that_are_no_numbers_are_told_as_without_metrics(prepared, tmp_path):
    request = asked(prepared["regression"], tmp_path, by="r2", batch_size=100)
    wild = request.training.model_copy(update={"optimizer": Optimizer(name="sgd", learning_rate=1e30)})
    with pytest.raises(TrainingError, match=r"epoch 1, validation: the loss is no number .*learning_rate"):
        train.run(request.model_copy(update={"training": wild}))


@pytest.mark.parametrize(
    ("problem", "training", "message"),
    [
        ("binary", {"by": "r2"}, r"training\.early_stopping\.metric: r2 does not fit problem binary"),
        ("binary", {"metrics": ["accurcy"]}, r"training\.metrics: there is no metric 'accurcy'; did you mean"),
        ("multilabel", {"by": "F1Score"}, r"training\.early_stopping\.metric: no metric 'F1Score'"),
    ],
)
def test_metric_that_does_not_fit_is_refused_before_training(prepared, tmp_path, problem, training, message):
    with pytest.raises(SpecError, match=message):
        train.run(asked(prepared[problem], tmp_path, **training))


def test_trials_and_refits_keep_the_best_epoch_by_the_metric(prepared, tmp_path):
    request = asked(prepared["binary"], tmp_path, by="roc_auc", metrics=["accuracy"])
    result = train.run(request)
    known = {"ingest": request.ingest, "encode": request.encode}
    learned = {"network": request.network, "training": request.training}
    tuning = Tuning(metric="roc_auc", space={"network.hidden": {"choices": [[4]]}})
    trainer = LocalTrainer(TuneRequest(workspace=str(tmp_path), tuning=tuning, **known, **learned), disk=tmp_path)
    outcome = trainer.fit({}, lambda *_: True)
    best = (outcome.best_epoch, outcome.epochs, outcome.validation_loss)
    assert best == (result.best_epoch, result.epochs, result.validation_loss)
    assert outcome.metric == pytest.approx(max(history(result)["metrics"]["roc_auc"]), rel=1e-5)

    bundle = Bundle(Input(path=f"{result.path}/bundle"))
    about = EvaluateRequest(
        workspace=str(tmp_path),
        name="it",
        ingest=request.ingest,
        train=result.as_input,
        encode=request.encode,
        **learned,
    )
    trainer = refits._Trainer(about, bundle, tmp_path)
    again = trainer.bundle(np.arange(trainer.rows), seed=request.training.seed)
    for one, other in zip(again.network.get_weights(), bundle.network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_refit_trains_for_the_number_of_epochs_that_was_best_by_the_metric(prepared, tmp_path, caplog):
    caplog.set_level(logging.INFO, "evermodel")
    request = asked(prepared["binary"], tmp_path, by="roc_auc").model_copy(update={"refit": True})
    result = train.run(request)
    told = [each.event["epoch"] for each in caplog.records if getattr(each, "event", {}).get("refit")]
    best = 1 + int(np.argmax(history(result)["metrics"]["roc_auc"]))
    assert (len(told), result.best_epoch) == (best, best)
