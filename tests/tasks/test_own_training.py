"""R36: networks with a train_step of their own, and others that no graph takes, are trained by Keras's fit."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from sklearn.datasets import load_diabetes

from schemas.contract import Contract
from schemas.data import Source
from schemas.errors import ResourceError, SpecError, TrainingError
from schemas.spec import Spec
from schemas.stages import EncodeRequest, EvaluateRequest, IngestRequest, TrainRequest, TrainResult
from schemas.training import Training
from tasks import encode, evaluate, ingest, train
from tasks.bundle import Bundle
from tasks.tables import read_table
from tasks.training import feed, keras_fit

OWN = """
import keras
import tensorflow as tf

class Stepping(keras.Model):
    def train_step(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x, y, self(self.seen(x), training=True), sample_weight)
        self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        return {"loss": loss}

    def seen(self, x):
        return x

@keras.saving.register_keras_serializable(package="own")
class Plain(Stepping):
    pass

@keras.saving.register_keras_serializable(package="own")
class Noisy(Stepping):
    def seen(self, x):
        noise = tf.random.normal(tf.shape(x["numbers"])) + keras.random.normal(tf.shape(x["numbers"]))
        return {**x, "numbers": x["numbers"] + 0.1 * noise}

@keras.saving.register_keras_serializable(package="own")
class Lost(Stepping):
    def train_step(self, data):
        return {"loss": tf.constant(float("nan"))}

@keras.saving.register_keras_serializable(package="own")
class Silent(Stepping):
    def train_step(self, data):
        return {"seen": tf.constant(1.0)}

@keras.saving.register_keras_serializable(package="own")
class Losing(keras.Model):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return super().compute_loss(x, y, y_pred, sample_weight, training)

@keras.saving.register_keras_serializable(package="own")
class Rivalling(Stepping):
    def __init__(self, *arguments, **keys):
        super().__init__(*arguments, **keys)
        self.rival = keras.optimizers.SGD()

@keras.saving.register_keras_serializable(package="own")
class Broken(Stepping):
    def seen(self, x):
        return x["missing"]

@keras.saving.register_keras_serializable(package="own")
class Clocked(keras.layers.Layer):
    def compute_output_spec(self, values):
        return keras.KerasTensor(values.shape, values.dtype)

    def call(self, values):
        return values * float(values.numpy().size > 0)

@keras.saving.register_keras_serializable(package="own")
class Within(keras.Model):
    def __init__(self, units=4, **keys):
        super().__init__(**keys)
        self.units, self.dense = units, keras.layers.Dense(units)

    def call(self, values):
        return self.dense(values)

    def train_step(self, data):
        raise RuntimeError("Keras calls it of the whole network alone")

    def get_config(self):
        return {**super().get_config(), "units": self.units}

def features(inputs):
    parts = [keras.layers.Flatten()(values) for values in inputs.values()]
    return keras.layers.Dropout(0.2)(keras.layers.Dense(6, activation="relu", name="mine")(
        parts[0] if len(parts) == 1 else keras.layers.Concatenate()(parts)))

def model(inputs, own="Plain"):
    return globals()[own](inputs, features(inputs))

def linear(inputs, own="Plain"):
    return globals()[own](inputs, keras.layers.Rescaling(1.0)(inputs["numbers"]))

def tensor(inputs):
    return keras.layers.Rescaling(1.0)(inputs["numbers"])

def eager(inputs):
    made = keras.Model(inputs, tensor(inputs))
    made.run_eagerly = True
    return made

def clocked(inputs):
    return Clocked()(inputs["numbers"])

def within(inputs):
    return Within()(inputs["numbers"])

def part(inputs):
    return keras.Model(inputs["sex"], keras.layers.Flatten()(inputs["sex"]))

def empty(inputs):
    return Within()
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> Path:
    """A module of the user's own, which the operator allows, in a folder on the Python path."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "own_training.py").write_text(OWN)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setenv("EVERMODEL_ALLOW_MODULES", "own_training")
        yield folder
    sys.modules.pop("own_training", None)


@pytest.fixture(scope="module")
def patients(tmp_path_factory) -> TrainRequest:
    """A regression on 442 patients with a weight, one column as vectors, ingested and encoded."""
    folder = tmp_path_factory.mktemp("patients")
    frame = load_diabetes(as_frame=True).frame[["sex", "bmi", "s5", "target"]]
    frame = frame.assign(sex=np.where(frame.sex > 0, "f", "m"), w=np.where(frame.bmi > 0, 2.0, 1.0))
    frame.to_parquet(folder / "rows.parquet")
    columns = {"bmi": {"kind": "numeric"}, "s5": {"kind": "numeric"}, "sex": {"kind": "embedding"}}
    data = {"path": str(folder / "rows.parquet"), "weight": "w"}
    keys = {"problem": "regression", "target": {"column": "target"}, "columns": columns}
    spec = Spec.model_validate({"name": "own", "data": data, **keys})
    source = Source(path=spec.data.path)
    ingested = ingest.run(
        IngestRequest(workspace=str(folder), source=source, contract=Contract.of(spec), split=spec.split)
    )
    encoded = encode.run(EncodeRequest(workspace=str(folder), ingest=ingested.as_input))
    inputs = {"ingest": ingested.as_input, "encode": encoded.as_input}
    return TrainRequest(workspace=str(folder), **inputs, training={"epochs": 4, "batch_size": 60})


def asked(request: TrainRequest, builder: str, *, workspace: Path | None = None, **training: Any) -> TrainRequest:
    """The request with a builder of the module, such as "model" or "model Plain", and other keys of training."""
    name, *kind = builder.split()
    network = {"kind": "custom", "builder": f"own_training:{name}", **({"own": kind[0]} if kind else {})}
    given = request.model_dump() | {"network": network, "training": request.training.model_dump() | training}
    return TrainRequest.model_validate(given | ({"workspace": str(workspace)} if workspace else {}))


def bundle_of(result: TrainResult) -> Bundle:
    return Bundle(result.as_input.model_copy(update={"path": f"{result.path}/bundle", "digest": None}))


def history(result: TrainResult) -> dict[str, Any]:
    return json.loads(Path(result.path, "history.json").read_text())


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [message for message in caplog.messages if "Keras's fit" in message]


@pytest.mark.parametrize(
    ("builder", "why"),
    [
        ("linear Plain", "Plain has its own train_step"),
        ("linear Losing", "Losing has its own compute_loss"),
        ("eager", "the network runs eagerly"),
        ("clocked", "a step of it cannot be a graph: AttributeError: "),
    ],
)
def test_what_keras_has_to_train_learns_as_the_engine_would(patients, own, caplog, builder, why):
    """Order, weights and first weights are the same, and the network's own step does what Keras's does."""
    caplog.set_level("INFO", "evermodel")
    watched = {"metrics": ["r2"], "early_stopping": {"metric": "mean_absolute_error"}}
    expected, result = (train.run(asked(patients, each, **watched)) for each in ("tensor", builder))
    (line,) = said(caplog)
    assert line.startswith(f"train: trains by Keras's fit: {why}")
    np.testing.assert_allclose(history(result)["loss"], history(expected)["loss"], rtol=1e-4)
    np.testing.assert_allclose(history(result)["validation_loss"], history(expected)["validation_loss"], rtol=1e-4)
    figures = history(result)["metrics"]
    for name, values in history(expected)["metrics"].items():
        np.testing.assert_allclose(figures[name], values, rtol=1e-4)
    assert result.best_epoch == 1 + int(np.argmin(figures["mean_absolute_error"]))
    assert bundle_of(result).network.count_params() == result.parameters


def test_averages_of_weights_are_judged_and_published_as_by_the_engine(patients, own):
    averaged = {"optimizer": {"name": "adam", "learning_rate": 0.02, "use_ema": True, "ema_momentum": 0.7}}
    expected, result = (train.run(asked(patients, name, **averaged)) for name in ("tensor", "linear Plain"))
    for curve in ("loss", "validation_loss"):
        np.testing.assert_allclose(history(result)[curve], history(expected)[curve], rtol=1e-4)
    for mine, theirs in zip(*(bundle_of(each).network.get_weights() for each in (result, expected)), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-3)


def test_network_of_a_class_of_ones_own_is_evaluated_and_loaded_to_go_on(patients, own, monkeypatch):
    """R36."""
    request = asked(patients, "model Plain")
    result = train.run(request)
    evaluated = evaluate.run(
        EvaluateRequest(workspace=request.workspace, name="own", ingest=request.ingest, train=result.as_input)
    )
    assert np.isfinite(evaluated.metrics["test"]["mean_absolute_error"])
    network = bundle_of(result).trainable()
    assert type(network).__name__ == "Plain"
    assert network.get_layer("mine").units == 6
    steps = -(-read_table(Path(request.ingest.path, "rows", "train.parquet"), columns=["_row"]).num_rows // 60)
    assert int(network.optimizer.iterations) == result.best_epoch * steps
    plain = keras.saving.load_model(Path(result.path, "bundle", "network.keras"), compile=False)
    assert plain.count_params() == result.parameters
    monkeypatch.setenv("EVERMODEL_ALLOW_MODULES", "")
    with pytest.raises(ResourceError, match=r"own_training\.Plain, which is not allowed in a network file"):
        _ = bundle_of(result).network


def test_training_with_noise_of_its_own_that_was_killed_ends_in_the_same_bytes(patients, own, tmp_path, caplog):
    """BAD_INPUTS 42, 43: dropout, keras.random and tf.random, in a process of its own and in this one."""
    caplog.set_level("INFO", "evermodel")
    lasting = {"epochs": 6, "early_stopping": None}
    expected = train.run(asked(patients, "model Noisy", **lasting))
    losses = history(expected)["loss"]
    assert len(set(losses)) == 6
    again = asked(patients, "model Noisy", workspace=tmp_path, **lasting)
    (tmp_path / "request.json").write_text(again.to_json())
    environment = {**os.environ, "PYTHONPATH": str(own)}
    command = [sys.executable, "-m", "tasks.train", str(tmp_path / "request.json")]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not list(tmp_path.glob("checkpoints/*/*.npz")):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert train.run(again).files == expected.files
    assert "train: goes on after epoch " in caplog.text


def test_own_step_of_a_model_within_is_no_reason_to_refuse_the_network(patients, own, caplog):
    caplog.set_level("INFO", "evermodel")
    result = train.run(asked(patients, "within"))
    assert said(caplog) == [
        "train: trains by Keras's fit: Within has its own train_step, but Keras calls that of the whole network"
    ]
    assert history(result)["loss"][-1] < history(result)["loss"][0]
    assert bundle_of(result).network.count_params() == result.parameters


@pytest.mark.parametrize(
    ("builder", "training", "error", "message"),
    [
        ("model Plain", {"members": 3}, SpecError, r"\(Plain has its own train_step\): set training\.members to 1$"),
        ("clocked", {"members": 2}, SpecError, r"cannot be a graph: .*\): set training\.members to 1$"),
        (
            "model Plain",
            {"precision": "mixed_bfloat16", "lazy_embeddings": True},
            SpecError,
            r"set training\.precision to float32, training\.lazy_embeddings to auto$",
        ),
        ("model Lost", {}, TrainingError, r"epoch 1, step 1: the loss is no number \(nan\)"),
        (
            "model Silent",
            {},
            TrainingError,
            r"train_step returns \['seen'\]; it has to return the loss by",
        ),
        ("model Broken", {}, TrainingError, r"epoch 1: the network fails: KeyError: 'missing'"),
        ("model Rivalling", {}, SpecError, r"the optimizer of its own, rival, .* take it out"),
        ("model Within", {}, SpecError, r"own_training:model fails: TypeError: "),
        ("empty", {}, SpecError, r"Within is a model of no inputs: return Within\(inputs, tensor\)"),
        ("part", {}, SpecError, r"a model of all inputs is wanted: return Functional\(inputs, tensor\)"),
    ],
)
def test_network_that_cannot_be_trained_is_refused_in_one_message(patients, own, builder, training, error, message):
    with pytest.raises(error, match=message):
        train.run(asked(patients, builder, **training))


def test_several_gpus_are_for_the_engine_alone():
    with pytest.raises(SpecError, match=r"set training\.device to gpu$"):
        keras_fit.refuse_misfit("it runs eagerly", Training(device={"gpus": 2}))


def test_rows_streamed_from_disk_give_the_same_weights(own, tmp_path, monkeypatch):
    from own_training import Plain

    monkeypatch.setattr(feed, "_BLOCK_ROWS", 100)
    monkeypatch.setattr(feed, "_POOL_BYTES", 450 * 20)
    numbers = np.random.default_rng(0).normal(size=(2033, 3)).astype(np.float32)
    numbers.tofile(tmp_path / "numbers")
    mapped = np.memmap(tmp_path / "numbers", np.float32, "r", shape=numbers.shape)
    trained = []
    for rows, budget in ((numbers, 1 << 30), (mapped, 3 * 400 * 20)):
        keras.utils.set_random_seed(0)
        inputs = {"numbers": keras.Input((3,), name="numbers")}
        network = Plain(inputs, keras.layers.Dense(1)(inputs["numbers"]))
        given = feed.Examples({"numbers": rows}, numbers[:, :1], np.ones(len(rows), np.float32))
        how = {"batch_size": 20, "seed": 3, "budget_bytes": budget, "eagerly": False}
        fitted = keras_fit.KerasFit(network, keras.losses.MeanSquaredError(), keras.optimizers.Adam(), given, **how)
        assert fitted._feed.streams == (budget < 1 << 30)
        trained.append([fitted.train(1), fitted.train(2), fitted.loss(given), *fitted.state])
    for one, other in zip(*trained, strict=True):
        np.testing.assert_array_equal(one, other)
