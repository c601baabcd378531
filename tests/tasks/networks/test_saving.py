"""R35: both file formats bring back network, loss and optimiser to the last bit, and training goes on from them."""

from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from schemas import names
from schemas.errors import ResourceError
from schemas.named import Loss, Named
from schemas.networks import Mlp
from tasks.encoders.table import Slot
from tasks.encoders.target import LabelTarget
from tasks.networks import files, mlp
from tasks.training import catalogue

SLOTS = [
    Slot(name="numbers", shape=(3,), columns=("a", "b", "c")),
    Slot(name="embedding_0", shape=(), columns=("e",), cardinality=5, size=2),
]
ROWS = {"numbers": np.linspace(-1, 1, 24, dtype=np.float32).reshape(8, 3), "embedding_0": np.arange(8) % 5}
CODES = np.arange(8, dtype=np.int32) % 3
ARGUMENTS = {
    "Huber": {"delta": 2.5},
    "BinaryCrossentropy": {"label_smoothing": 0.1},
    "CategoricalFocalCrossentropy": {"gamma": 1.5, "alpha": [0.2, 0.3, 0.5]},
    "CategoricalGeneralizedCrossEntropy": {"q": 0.3},
    "Tversky": {"alpha": 0.3},
    "SparseCategoricalCrossentropy": {"ignore_class": 2},
}
SCHEDULE = {"name": "cosine_decay", "initial_learning_rate": 0.1, "decay_steps": 10}
OPTIMIZERS = [{"name": "adam", "learning_rate": SCHEDULE}, {"name": "sgd", "momentum": 0.9}, {"name": "ftrl"}]
LOSSES = [entry.name for entry in names.entries("loss") if entry.name not in {"CTC", "Circle"}]


def trained(loss: str, optimizer: Named, shape: dict[str, Any] | None = None) -> tuple[keras.Model, np.ndarray]:
    """A network after some steps, and the truth that its loss takes."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(1)
    target = LabelTarget(names=("y",), classes=("a", "b", "c"), binary=False)
    network = mlp.build(Mlp(hidden=(2,), **(shape or {"l2": 0.01})), SLOTS, target)
    made = catalogue.loss(Loss(name=loss, **ARGUMENTS.get(loss, {})))
    truth = CODES if catalogue.wants_codes(made) else np.eye(3, dtype=np.float32)[CODES]
    network.compile(optimizer=catalogue.optimizer(optimizer), loss=made, run_eagerly=True)
    network.train_on_batch(ROWS, truth)
    return network, truth


def state(network: keras.Model) -> list[np.ndarray]:
    return [variable.numpy() for variable in [*network.variables, *network.optimizer.variables]]


def assert_same(network: keras.Model, loaded: keras.Model, truth: np.ndarray) -> None:
    """Both are in the same state, say the same and lose the same."""
    for one, other in zip(state(network), state(loaded), strict=True):
        np.testing.assert_array_equal(one, other)
    said = network(ROWS).numpy()
    np.testing.assert_array_equal(loaded(ROWS).numpy(), said)
    assert float(loaded.loss(truth, said)) == float(network.loss(truth, said))


def assert_goes_on(network: keras.Model, loaded: keras.Model, truth: np.ndarray) -> None:
    """Both are in the same state after one step more."""
    for each in (network, loaded):
        each.compile(optimizer=each.optimizer, loss=each.loss, run_eagerly=True)
        each.train_on_batch(ROWS, truth)
    for one, other in zip(state(network), state(loaded), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_comes_back_with_its_arguments_from_both_formats(tmp_path, loss):
    """R35."""
    network, truth = trained(loss, Named(name="sgd"))
    for ending in ("keras", "h5"):
        files.save(network, tmp_path / f"network.{ending}")
        assert_same(network, files.load(tmp_path / f"network.{ending}", compiled=True), truth)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda optimizer: optimizer["name"])
def test_optimizer_comes_back_with_its_state_from_both_formats(tmp_path, optimizer):
    """R35."""
    for ending in ("keras", "h5"):
        network, truth = trained("CategoricalCrossentropy", Named(**optimizer))
        files.save(network, tmp_path / f"network.{ending}")
        assert_same(network, files.load(tmp_path / f"network.{ending}", compiled=True), truth)
        assert_goes_on(network, files.load(tmp_path / f"network.{ending}", compiled=True), truth)


@pytest.mark.parametrize("regularizer", [entry.name for entry in names.entries("regularizer")])
def test_penalty_and_constraint_come_back_from_both_formats(tmp_path, regularizer):
    """R11, R35."""
    named = {"regularizer": {"name": regularizer}, "constraint": {"name": "max_norm", "max_value": 0.5}}
    for ending in ("keras", "h5"):
        network, truth = trained("CategoricalCrossentropy", Named(name="sgd"), named)
        files.save(network, tmp_path / f"network.{ending}")
        loaded = files.load(tmp_path / f"network.{ending}", compiled=True)
        assert [float(each) for each in loaded.losses] == [float(each) for each in network.losses]
        assert_goes_on(network, loaded, truth)


@pytest.fixture
def saved(tmp_path) -> Path:
    files.save(trained("Huber", Named(name="adam"))[0], tmp_path / "network.h5")
    return tmp_path / "network.h5"


def test_same_network_gives_the_same_hdf5_bytes(saved, tmp_path):
    files.save(trained("Huber", Named(name="adam"))[0], tmp_path / "again.h5")
    assert saved.read_bytes() == (tmp_path / "again.h5").read_bytes()


def test_keras_alone_opens_the_hdf5_file_with_the_right_loss(saved):
    network, truth = trained("Huber", Named(name="adam"))
    loaded = keras.models.load_model(saved)
    np.testing.assert_array_equal(loaded(ROWS).numpy(), network(ROWS).numpy())
    assert float(loaded.loss(truth, truth * 9)) == float(network.loss(truth, truth * 9))


def test_lambda_in_an_hdf5_file_is_refused(tmp_path):
    inputs = keras.Input((3,))
    network = keras.Model(inputs, keras.layers.Lambda(lambda values: values * 2)(inputs))
    network.compile(optimizer="adam", loss=keras.losses.MeanSquaredError())
    files.save(network, tmp_path / "network.h5")
    with pytest.raises(ResourceError, match=r"holds builtins\.Lambda, which is not allowed"):
        files.load(tmp_path / "network.h5")


@pytest.mark.parametrize("kind", ["external", "soft"])
def test_link_in_an_hdf5_file_is_refused(saved, kind):
    with h5py.File(saved, "r+") as file:
        file["elsewhere"] = h5py.ExternalLink("/etc/passwd", "/") if kind == "external" else h5py.SoftLink("/x")
    with pytest.raises(ResourceError, match="holds the link //elsewhere, which is not allowed"):
        files.load(saved)


@pytest.mark.parametrize("kind", ["stored outside", "virtual"])
def test_data_outside_an_hdf5_file_are_refused(saved, tmp_path, kind):
    (tmp_path / "secret").write_bytes(bytes(64))
    with h5py.File(saved, "r+") as file:
        if kind == "virtual":
            layout = h5py.VirtualLayout((4,), dtype="f4")
            layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", shape=(4,))
            file.create_virtual_dataset("x", layout)
        else:
            file.create_dataset("x", (4,), dtype="f4", external=[(str(tmp_path / "secret"), 0, 16)])
    with pytest.raises(ResourceError, match="the data of /x are not in the file itself"):
        files.load(saved)


@pytest.mark.parametrize("content", [b"", b"no hdf5", b"\x89HDF\r\n\x1a\n" + bytes(100)])
def test_file_that_is_no_hdf5_network_is_refused(tmp_path, content):
    (tmp_path / "network.h5").write_bytes(content)
    with pytest.raises(ResourceError, match=r"is no \.h5 file"):
        files.load(tmp_path / "network.h5")
