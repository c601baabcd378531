"""The names that a spec may use are those that the installed libraries have."""

import keras
import pytest

from schemas import fits, names
from schemas.networks import Mlp
from tasks.encoders.table import Slot
from tasks.encoders.target import NumberTarget
from tasks.networks import mlp
from tasks.training.names import content


def test_file_holds_what_the_libraries_have():
    assert names.FILE.read_text(encoding="utf-8") == content(), "run `make docs`"


def test_every_loss_and_metric_of_keras_is_described_by_what_it_takes():
    losses, metrics = fits.described()
    assert losses == {entry.name for entry in names.entries("loss")}
    assert metrics == {entry.name for entry in names.entries("metric")}


@pytest.mark.parametrize("entry", names.entries("activation"), ids=lambda entry: entry.name)
def test_every_activation_makes_a_hidden_layer(entry):
    """R9."""
    target = NumberTarget(names=("y",), centers=(0.0,), scales=(1.0,))
    slots = [Slot(name="numbers", shape=(3,), columns=("a", "b", "c"))]
    network = mlp.build(Mlp(hidden=(4,), activation=entry.name), slots, target)
    assert keras.ops.isfinite(network({"numbers": keras.ops.ones((2, 3))})).numpy().all()
