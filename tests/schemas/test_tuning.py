"""R34: what a spec says of tuning, and what is refused before any data is read."""

from typing import Any

import optuna
import pytest
from optuna.trial import FixedTrial
from pydantic import ValidationError

from schemas.spec import Spec
from schemas.stages import TuneRequest
from schemas.tuning import Choices, Layers, Range, default_space

SPEC = {
    "name": "it",
    "problem": "binary",
    "data": {"path": "rows.csv"},
    "target": {"column": "y"},
    "columns": {"x": {"kind": "numeric"}},
}


def spec(space: dict[str, Any] | None = None, **keys: Any) -> Spec:
    return Spec.model_validate(SPEC | {"tuning": {"space": space}} | keys)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"network.hiden": [[8]]}, r"unknown key network.hiden; did you mean network.hidden\?"),
        ({"data.path": ["a"]}, r"data.path is no key below network or training"),
        ({"network.dropout": {"low": 0.0, "high": 1.5}}, r"network.dropout 1.5 makes no valid spec \(.*less than 1"),
        ({"training.epochs": {"low": 0, "high": 9}, "network.hidden": [[8]]}, r"training.epochs 0 makes no valid spec"),
        ({"training.optimizer.name": ["adam", "adan"]}, r"'adan' makes no valid spec \(.*did you mean"),
        ({"training.optimizer.momentum": {"low": 0.0, "high": 0.9}}, r"Adam refuses momentum"),
        ({"network.activation": ["relu", "rellu"]}, r"network.activation 'rellu' makes no valid spec"),
        ({"training.loss": ["hinge"]}, r"training.loss is not varied, because it changes what the validation loss"),
        ({"training.seed": {"low": 0, "high": 9}}, r"training.seed is not varied"),
        ({"training.epochs": {"low": 9, "high": 3}}, r"low 9 must be below high 3"),
        ({"network.dropout": {"low": 0.0, "high": 0.5, "log": True}}, r"log wants low above 0"),
        ({"network.hidden": {"layers": [-1, 2], "units": [8]}}, r"layers must be whole numbers from 0"),
    ],
)
def test_a_space_with_a_value_that_makes_no_valid_spec_is_refused(space, message):
    with pytest.raises(ValidationError, match=message):
        spec(space)


def test_arguments_of_an_optimizer_may_belong_to_those_that_are_tried():
    spec({"training.optimizer.name": ["sgd", "rmsprop"], "training.optimizer.momentum": {"low": 0.0, "high": 0.9}})


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("r2", r"tuning.metric: r2 does not fit problem binary; there fit accuracy, "),
        ("accurcy", r"tuning.metric: there is no metric 'accurcy'; did you mean accuracy"),
        ({"name": "precision", "treshold": 0.3}, r"tuning.metric: precision_score refuses treshold: it takes average"),
        ({"name": "top_k_categorical_accuracy", "k": 2}, r"tuning.metric: TopKCategoricalAccuracy does not fit"),
    ],
)
def test_a_metric_that_does_not_fit_is_refused(metric, message):
    with pytest.raises(ValidationError, match=message):
        Spec.model_validate(SPEC | {"tuning": {"metric": metric}})


WATCHED = {"training.metrics": lambda metric: [metric], "training.early_stopping.metric": lambda metric: metric}


@pytest.mark.parametrize("key", WATCHED)
def test_a_metric_of_epochs_that_does_not_fit_is_refused(key):
    *above, last = key.removeprefix("training.").split(".")
    training = {last: WATCHED[key]("r2")}
    training = {above[0]: training} if above else training
    with pytest.raises(ValidationError, match=rf"{key}: r2 does not fit problem binary; there fit accuracy, "):
        Spec.model_validate(SPEC | {"training": training})


def test_what_is_watched_in_trials_is_the_same_for_all():
    with pytest.raises(ValidationError, match=r"training.early_stopping.metric is not varied, because it changes"):
        spec({"training.early_stopping.metric": ["roc_auc", "f1"]})
    with pytest.raises(ValidationError, match=r"training.metrics is not varied, because it"):
        spec({"training.metrics": [["roc_auc"], ["f1"]]})


def test_metrics_of_epochs_change_no_run_key_where_there_are_none():
    plain = Spec.model_validate(SPEC).training.model_dump(mode="json")
    assert "metrics" not in plain
    assert "metric" not in plain["early_stopping"]


@pytest.mark.parametrize(
    ("key", "part"),
    [
        ("tuning.metric", {"tuning": {"metric": "quantile_coverage"}}),
        ("training.early_stopping.metric", {"training": {"early_stopping": {"metric": "quantile_coverage"}}}),
    ],
)
def test_a_metric_without_a_direction_decides_nothing(key, part):
    regression = SPEC | {"problem": "regression"} | part
    with pytest.raises(ValidationError, match=rf"{key}: quantile_coverage is neither better lower nor higher"):
        Spec.model_validate(regression)


def test_own_metric_is_own_code():
    tuned = Spec.model_validate(SPEC | {"tuning": {"metric": {"name": "own:gain", "cost": 2}}})
    assert tuned.own_code == ("own:gain",)
    watched = {"metrics": ["own:loss", "accuracy"], "early_stopping": {"metric": "own:gain"}}
    assert Spec.model_validate(SPEC | {"training": watched}).own_code == ("own:loss", "own:gain")


def test_tuning_without_an_end_is_refused():
    with pytest.raises(ValidationError, match="one of trials and minutes must be set"):
        Spec.model_validate(SPEC | {"tuning": {"trials": None}})


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        ({}, {"network.hidden", "network.activation", "network.dropout"}),
        ({"kind": "residual"}, {"network.blocks", "network.width", "network.activation", "network.dropout"}),
        ({"kind": "custom", "builder": "a:b"}, set()),
    ],
)
def test_by_default_all_is_varied_that_a_network_has(network, expected):
    found = spec(network=network)
    space = default_space(found.network, found.training)
    of_training = {"optimizer.name", "optimizer.learning_rate", "optimizer.weight_decay", "batch_size", "epochs"}
    assert space.keys() == expected | {f"training.{key}" for key in of_training}
    spec({key: each.model_dump(mode="json") for key, each in space.items()}, network=network)  # all of it is valid


def test_by_default_optimizers_are_those_that_take_the_specs_own_arguments():
    found = spec(training={"optimizer": {"name": "sgd", "momentum": 0.9}})
    assert default_space(found.network, found.training)["training.optimizer.name"].probes == ("sgd", "rmsprop")


def test_drawn_settings_make_the_spec_they_say():
    trial = FixedTrial({"h.layers": 2, "h.units.1": 16, "h.units.2": 8, "lr": 0.01, "size": 64})
    layers = Layers(layers=Range(low=1, high=3), units=Range(low=8, high=16, step=8))
    settings = {
        "network.hidden": layers.draw(trial, "h"),
        "training.optimizer.learning_rate": Range(low=1e-3, high=0.1, log=True).draw(trial, "lr"),
        "training.batch_size": Choices(choices=(32, 64)).draw(trial, "size"),
    }
    found = spec(training={"optimizer": "sgd", "epochs": 7}).settled(settings)
    assert found.network.hidden == (16, 8)
    assert found.training.optimizer.arguments == {"learning_rate": 0.01}
    assert (found.training.batch_size, found.training.epochs) == (64, 7)


@pytest.mark.parametrize(
    ("keys", "largest"),
    [
        ({"low": 0.0, "high": 0.5, "step": 0.1}, 0.5),
        ({"low": 8, "high": 30, "step": 8}, 24),
        ({"low": 1, "high": 3}, 3),
    ],
)
def test_a_range_is_drawn_in_its_steps(keys, largest):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = [Range.model_validate(keys).draw(study.ask(), "x") for _ in range(60)]
    assert (min(drawn), max(drawn)) == (keys["low"], pytest.approx(largest))
    assert all((value - keys["low"]) / keys.get("step", 1) % 1 == pytest.approx(0, abs=1e-9) for value in drawn[:5])


def test_when_to_tune_is_no_part_of_what_tune_makes():
    known = {"ingest": {"path": "a", "digest": "1"}, "encode": {"path": "b", "digest": "2"}}
    always, never, longer = (
        TuneRequest.model_validate(known | {"tuning": tuning}).identity()
        for tuning in ({"when": "always"}, {"when": "never"}, {"trials": 40})
    )
    assert always == never != longer
