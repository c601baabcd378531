"""R22, R36: losses, metrics and networks of the user's own, from the spec to a bundle that is loaded again."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes, load_digits

from schemas.contract import Contract
from schemas.data import Source
from schemas.errors import ResourceError, SpecError
from schemas.evaluation import Evaluation
from schemas.spec import Spec
from schemas.stages import EncodeRequest, EvaluateRequest, IngestRequest, Input, TrainRequest, TrainResult
from tasks import encode, evaluate, ingest, train
from tasks.bundle import Bundle
from tasks.networks import files
from tasks.tables import read_table

OWN = """
import keras

def absolute(y_true, y_pred):
    return keras.ops.mean(keras.ops.abs(y_true - y_pred), axis=-1)

def create_loss(threshold=1.0):
    def huber(y_true, y_pred):
        error = keras.ops.abs(y_true - y_pred)
        return keras.ops.where(error < threshold, error**2 / 2, threshold * (error - threshold / 2))
    return huber

def whole(y_true, y_pred):
    return keras.ops.mean(keras.ops.abs(y_true - y_pred))

def share_below(limit=1.0):
    return lambda y_true, y_pred, sample_weight=None: float((y_pred < limit).mean())

@keras.saving.register_keras_serializable(package="own")
class Doubled(keras.layers.Layer):
    def call(self, values):
        return 2 * values

def doubled(inputs, units=4):
    return Doubled()(keras.layers.Dense(units, activation="relu")(inputs["numbers"]))

def wrong(inputs):
    return inputs["numbers"][:, :, None]

class Unregistered(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(4)

    def call(self, values):
        return self.dense(values)

def unregistered(inputs):
    return Unregistered()(inputs["numbers"])

number = 3
"""


@pytest.fixture
def own(tmp_path, monkeypatch) -> Path:
    """A module of the user's own, which the operator allows."""
    (tmp_path / "own_code.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("EVERMODEL_ALLOW_MODULES", "own_code")
    yield tmp_path / "own_code.py"
    sys.modules.pop("own_code", None)


def prepared(folder: Path, frame: pd.DataFrame, **keys: Any) -> tuple[Spec, TrainRequest]:
    """A spec for a frame, ingested and encoded, and what train is asked for it."""
    frame.to_parquet(folder / "rows.parquet")
    spec = Spec.model_validate({"name": "own", "data": {"path": str(folder / "rows.parquet")}, **keys})
    asked = IngestRequest(
        workspace=str(folder), source=Source(path=spec.data.path), contract=Contract.of(spec), split=spec.split
    )
    ingested = ingest.run(asked)
    encoded = encode.run(EncodeRequest(workspace=str(folder), ingest=ingested.as_input))
    inputs = {"ingest": ingested.as_input, "encode": encoded.as_input}
    request = TrainRequest(workspace=str(folder), **inputs, network=spec.network, training=spec.training)
    return spec, request


@pytest.fixture(scope="module")
def diabetes(tmp_path_factory) -> TrainRequest:
    """A regression on 442 patients, ingested and encoded, for two epochs of a linear model."""
    columns = {name: {"kind": "numeric"} for name in ("bmi", "bp", "s5")}
    frame = load_diabetes(as_frame=True).frame[[*columns, "target"]]
    keys = {"problem": "regression", "target": {"column": "target"}, "columns": columns}
    keys |= {"network": {"hidden": []}, "training": {"epochs": 2}}
    return prepared(tmp_path_factory.mktemp("diabetes"), frame, **keys)[1]


def asked(request: TrainRequest, **keys: Any) -> TrainRequest:
    """The request with other keys of training or another network."""
    network = keys.pop("network", request.network)
    training = request.training.model_dump() | keys
    return TrainRequest.model_validate(request.model_dump() | {"training": training, "network": network})


def bundle_of(result: TrainResult) -> Bundle:
    return Bundle(result.as_input.model_copy(update={"path": f"{result.path}/bundle", "digest": None}))


LOSS = {"name": "own_code:create_loss", "threshold": 0.5}
# Errors of 0.1 and 3: half a square, and 0.5 (3 - 0.25).
HUBER = (0.1**2 / 2 + 0.5 * 2.75) / 2


def test_factory_and_its_arguments_travel_with_the_model(diabetes, own):
    """R22: with nothing at all, and with compile=False."""
    result = train.run(asked(diabetes, loss=LOSS))
    path = Path(result.path, "bundle", "network.keras")
    truth, said = np.zeros((2, 1), np.float32), np.array([[0.1], [3.0]], np.float32)
    for loaded in (bundle_of(result).trainable(), keras.models.load_model(path)):
        assert float(loaded.loss(truth, said)) == pytest.approx(HUBER)
        assert int(loaded.optimizer.iterations) > 0

    plain = keras.models.load_model(path, compile=False)
    rows = read_table(Path(diabetes.ingest.path, "rows", "test.parquet"))
    numbers = bundle_of(result).encoder.transform(rows)
    np.testing.assert_array_equal(plain(numbers).numpy(), bundle_of(result).network(numbers).numpy())


def test_predictions_need_neither_the_code_nor_the_permission(diabetes, own, monkeypatch):
    result = train.run(asked(diabetes, loss=LOSS))
    monkeypatch.setenv("EVERMODEL_ALLOW_MODULES", "")
    assert bundle_of(result).network.output_shape == (None, 1)
    with pytest.raises(SpecError, match="module own_code is not allowed"):
        bundle_of(result).trainable()


PLAIN_KERAS = """
import sys, keras

class Mine(keras.losses.Loss):
    def __init__(self, function, arguments, reduction):
        super().__init__(reduction=reduction)
        self.seen = function, arguments

    def call(self, y_true, y_pred):
        return y_true - y_pred

mine = keras.models.load_model(sys.argv[1], custom_objects={"evermodel>OwnLoss": Mine})
print(keras.models.load_model(sys.argv[1], compile=False).count_params(), *mine.loss.seen)
"""


def test_keras_alone_opens_the_file_with_custom_objects_or_uncompiled(diabetes, own, tmp_path):
    """R22."""
    result = train.run(asked(diabetes, loss=LOSS))
    command = [sys.executable, "-c", PLAIN_KERAS, f"{result.path}/bundle/network.keras"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip() == f"{result.parameters} own_code:create_loss {{'threshold': 0.5}}"


def test_source_of_own_code_is_recorded_and_part_of_the_run_key(diabetes, own):
    request = asked(diabetes, loss=LOSS)
    before, result = train.run_key(request), train.run(request)
    assert bundle_of(result)._manifest.code.keys() == {"own_code:create_loss"}
    own.write_text(OWN.replace("error**2 / 2", "error**2"))
    assert train.run_key(request) != before
    assert train.run_key(diabetes) == train.run_key(asked(diabetes))


def test_own_loss_trains_as_the_loss_of_keras_does(diabetes, own):
    own_loss = train.run(asked(diabetes, loss={"name": "own_code:create_loss", "threshold": 2.0}))
    keras_loss = train.run(asked(diabetes, loss={"name": "huber", "delta": 2.0}))
    assert own_loss.validation_loss == pytest.approx(keras_loss.validation_loss, rel=1e-5)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ({"name": "own_code:create_loss", "treshold": 2}, r"create_loss refuses \{'treshold': 2\}: TypeError"),
        ("own_code:number", "own_code:number is a int; a function is wanted"),
        ("own_code:missing", "own_code:missing cannot be loaded: AttributeError"),
        ("own_code:whole", "returns one number for all rows"),
        ("os:system", "module os is not allowed; the operator sets EVERMODEL_ALLOW_MODULES=os or gives --allow-module"),
    ],
)
def test_own_loss_that_cannot_be_used_is_refused(diabetes, own, loss, message):
    with pytest.raises(SpecError, match=message):
        train.run(asked(diabetes, loss=loss))


def test_own_metric_is_computed_and_part_of_the_run_key(diabetes, own):
    """R22."""
    result = train.run(diabetes)
    wanted = {"metrics": ["own_code:absolute", {"name": "own_code:share_below", "limit": 1e6}, "explained_variance"]}
    request = EvaluateRequest(
        workspace=diabetes.workspace,
        name="own",
        ingest=diabetes.ingest,
        train=result.as_input,
        evaluation=Evaluation.model_validate(wanted),
    )
    key, figures = evaluate.run_key(request), evaluate.run(request).metrics["test"]
    assert figures["absolute"] == pytest.approx(figures["mean_absolute_error"], rel=1e-5)
    assert figures["share_below(limit=1000000.0)"] == 1
    assert figures["explained_variance_score"] >= figures["r2"]
    own.write_text(OWN + "\n")
    assert evaluate.run_key(request) != key


def test_network_with_a_layer_of_ones_own_is_loaded_again(diabetes, own):
    """R36."""
    result = train.run(asked(diabetes, network={"kind": "custom", "builder": "own_code:doubled", "units": 3}))
    assert bundle_of(result).network.get_layer("output").kernel.shape == (3, 1)
    own.write_text(OWN.replace("2 * values", "3 * values"))
    with pytest.raises(ResourceError, match="was made with another source of own_code"):
        _ = bundle_of(result).network
    own.unlink()
    with pytest.raises(ResourceError, match=r"needs own_code, which does not load: .* there is no module own_code"):
        _ = bundle_of(result).network


def test_a_champion_whose_code_has_changed_is_not_replaced_unasked_and_ends_no_evaluation(diabetes, own):
    champion = train.run(asked(diabetes, network={"kind": "custom", "builder": "own_code:doubled", "units": 3}))
    own.write_text(OWN.replace("2 * values", "3 * values"))
    request = EvaluateRequest(
        workspace=diabetes.workspace,
        name="own",
        ingest=diabetes.ingest,
        train=train.run(diabetes).as_input,
        champion=Input(path=f"{champion.path}/bundle"),
        champion_version="1",
    )
    verdict = evaluate.run(request).verdict
    assert not verdict.better
    assert "the champion (version 1) cannot be compared on the present test rows: it does not load" in verdict.reason
    warm = train.run(diabetes.model_copy(update={"champion": request.champion}))
    assert warm.started_from is None
    assert "training begins afresh, as the champion's network does not load (" in warm.warnings[0]


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ({"builder": "own_code:doubled", "unit": 3}, r"own_code:doubled refuses \{'unit': 3\}"),
        ({"builder": "own_code:wrong"}, r"own_code:wrong fails: TypeError: a tensor of shape \(rows, features\) is"),
        (
            {"builder": "own_code:unregistered"},
            "own_code:unregistered: a saved network finds Unregistered again only by its name; put @keras.saving",
        ),
        ({"builder": "os:system"}, "module os is not allowed"),
    ],
)
def test_builder_that_cannot_be_used_is_refused(diabetes, own, network, message):
    with pytest.raises(SpecError, match=message):
        train.run(asked(diabetes, network={"kind": "custom", **network}))


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> TrainRequest:
    """600 digits as images of 8 x 8, ingested and encoded."""
    given = load_digits()
    frame = pd.DataFrame({"image": [row.tolist() for row in given.data[:600]], "digit": given.target[:600]})
    columns = {"image": {"kind": "tensor", "shape": [8, 8]}}
    keys = {"problem": "multiclass", "target": {"column": "digit"}, "columns": columns}
    keys |= {"training": {"epochs": 6, "optimizer": {"name": "adam", "learning_rate": 0.01}}}
    return prepared(tmp_path_factory.mktemp("digits"), frame, **keys)[1]


def accuracy(result: TrainResult, request: TrainRequest) -> float:
    rows = read_table(Path(request.ingest.path, "rows", "test.parquet"))
    bundle = bundle_of(result)
    return float((bundle.predict(rows).argmax(axis=1) == bundle.encoder.target.truth(rows)).mean())


@pytest.mark.parametrize(
    ("network", "wanted"),
    [
        ({"builder": "examples.networks:cnn", "filters": 8}, 0.8),
        ({"builder": "examples.networks:recurrent", "column": "image", "cell": "gru"}, 0.5),
        ({"builder": "examples.networks:recurrent", "column": "image", "cell": "lstm"}, 0.4),
    ],
    ids=["cnn", "gru", "lstm"],
)
def test_images_and_sequences_are_learned_by_networks_of_ones_own(digits, monkeypatch, network, wanted):
    """R36: a row of pixels is a step of the sequence."""
    monkeypatch.setenv("EVERMODEL_ALLOW_MODULES", "examples")
    request = asked(digits, network={"kind": "custom", **network})
    assert accuracy(train.run(request), request) > wanted


def test_autoencoder_learns_from_the_rows_before_training(diabetes, monkeypatch, tmp_path):
    """R36: after no more than one epoch with a still optimiser, the weights are those of the autoencoder."""
    monkeypatch.setenv("EVERMODEL_ALLOW_MODULES", "examples")
    network = {"kind": "custom", "builder": "examples.networks:autoencoder", "code": 2}
    still = {"epochs": 1, "optimizer": {"name": "sgd", "learning_rate": 0.0}}
    kernels = []
    for epochs in (0, 5):
        result = train.run(asked(diabetes, network=network | {"epochs": epochs}, **still))
        kernels.append(bundle_of(result).network.get_layer("encoder_1").kernel.numpy())
        assert "decoder_1" not in [layer.name for layer in bundle_of(result).network.layers]
    assert not np.allclose(kernels[0], kernels[1])


@pytest.mark.parametrize("loss", ["threshold_huber", "quantile", "absolute"])
def test_losses_of_the_examples_train(diabetes, monkeypatch, loss):
    monkeypatch.setenv("EVERMODEL_ALLOW_MODULES", "examples")
    assert np.isfinite(train.run(asked(diabetes, loss=f"examples.losses:{loss}")).validation_loss)


def test_focal_loss_of_the_examples_is_that_of_keras(monkeypatch):
    """R22: the formula of Lin et al. 2017."""
    monkeypatch.setenv("EVERMODEL_ALLOW_MODULES", "examples")
    from tasks.training.custom import OwnLoss

    truth, said = np.array([[1.0], [0], [1]], np.float32), np.array([[0.7], [0.4], [0.01]], np.float32)
    own = OwnLoss("examples.losses:focal", {"gamma": 1.5, "alpha": 0.3})
    known = keras.losses.BinaryFocalCrossentropy(apply_class_balancing=True, gamma=1.5, alpha=0.3)
    assert float(own(truth, said)) == pytest.approx(float(known(truth, said)), rel=1e-4)


def test_hdf5_is_a_key_of_the_spec(diabetes):
    """R35."""
    result = train.run(asked(diabetes, save_format="h5"))
    opened = bundle_of(result)
    assert Path(result.path, "bundle", "network.h5").is_file()
    assert int(opened.trainable().optimizer.iterations) > 0
    again = files.load(Path(train.run(diabetes).path, "bundle", "network.keras"))
    rows = opened.encoder.transform(read_table(Path(diabetes.ingest.path, "rows", "test.parquet")))
    np.testing.assert_array_equal(opened.network(rows).numpy(), again(rows).numpy())
