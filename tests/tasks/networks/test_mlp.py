"""R1-R6, R9, R11: the network that a spec describes."""

import keras
import numpy as np
import pytest

from schemas.errors import SpecError
from schemas.networks import Mlp
from tasks.encoders.table import Slot
from tasks.encoders.target import LabelsTarget, LabelTarget, NumberTarget
from tasks.networks import mlp

NUMBERS = Slot(name="numbers", shape=(3,), columns=("a", "b", "c"))
EMBEDDING = Slot(name="embedding_0", shape=(), columns=("e",), cardinality=5, size=2)
TENSOR = Slot(name="tensor_0", shape=(2, 2), columns=("t",))
ONE = NumberTarget(names=("y",), centers=(0.0,), scales=(1.0,))
TWO = NumberTarget(names=("y", "z"), centers=(0.0, 0.0), scales=(1.0, 1.0))
BINARY = LabelTarget(names=("y",), classes=("no", "yes"), binary=True)
MULTICLASS = LabelTarget(names=("y",), classes=("a", "b", "c"), binary=False)
MULTILABEL = LabelsTarget(names=("y",), classes=("a", "b"))


def kinds(network: keras.Model) -> list[str]:
    return [type(layer).__name__ for layer in network.layers]


@pytest.mark.parametrize(
    ("target", "units", "activation"),
    [
        (ONE, 1, "linear"),
        (TWO, 2, "linear"),
        (BINARY, 1, "sigmoid"),
        (MULTILABEL, 2, "sigmoid"),
        (MULTICLASS, 3, "softmax"),
    ],
)
def test_output_belongs_to_the_problem(target, units, activation):
    output = mlp.build(Mlp(), [NUMBERS], target).layers[-1]
    assert (output.units, output.activation.__name__) == (units, activation)


@pytest.mark.parametrize("activation", ["relu", "softplus", "sigmoid", "tanh", "linear"])
def test_output_of_a_bounded_target_is_selectable(activation):
    output = mlp.build(Mlp(output_activation=activation), [NUMBERS], ONE).layers[-1]
    assert output.activation.__name__ == activation


def test_every_slot_is_an_input_of_its_name():
    network = mlp.build(Mlp(hidden=(4,)), [NUMBERS, EMBEDDING, TENSOR], ONE)
    assert {tensor.name: (tensor.shape, tensor.dtype) for tensor in network.inputs} == {
        "numbers": ((None, 3), "float32"),
        "embedding_0": ((None,), "int32"),
        "tensor_0": ((None, 2, 2), "float32"),
    }
    assert network.get_layer("hidden_1").kernel.shape == (3 + 2 + 4, 4)


@pytest.mark.parametrize("slot", [NUMBERS, EMBEDDING, TENSOR])
def test_one_slot_is_enough(slot):
    network = mlp.build(Mlp(), [slot], ONE)
    rows = np.zeros((2, *slot.shape), "int32" if slot.cardinality else "float32")
    assert network({slot.name: rows}).shape == (2, 1)


def test_hidden_layers_are_as_many_and_as_wide_as_the_spec_says():
    network = mlp.build(Mlp(hidden=(10, 100, 7, 3, 2), activation="gelu"), [NUMBERS], ONE)
    assert [network.get_layer(f"hidden_{index}").units for index in range(1, 6)] == [10, 100, 7, 3, 2]
    assert network.get_layer("activation_5").activation.__name__ == "gelu"


def test_no_hidden_layer_makes_a_linear_model():
    assert kinds(mlp.build(Mlp(hidden=()), [NUMBERS], ONE)) == ["InputLayer", "Dense"]


@pytest.mark.parametrize(
    ("network", "layers"),
    [
        (Mlp(), ["Dense", "Activation"]),
        (Mlp(dropout=0.5), ["Dense", "Activation", "Dropout"]),
        (Mlp(normalization="batch"), ["Dense", "BatchNormalization", "Activation"]),
        (Mlp(normalization="layer", dropout=0.1), ["Dense", "LayerNormalization", "Activation", "Dropout"]),
    ],
)
def test_hidden_layer_is_sum_then_normalisation_then_activation_then_dropout(network, layers):
    built = mlp.build(network.model_copy(update={"hidden": (4, 4)}), [NUMBERS], ONE)
    assert kinds(built) == ["InputLayer", *layers, *layers, "Dense"]


def test_penalties_and_initializer_reach_the_hidden_layers():
    network = mlp.build(Mlp(hidden=(4,), l1=0.5, l2=0.25, initializer="ones"), [NUMBERS], ONE)
    assert [float(loss) for loss in network.losses] == [pytest.approx(12 * 0.5 + 12 * 0.25)]
    assert network.get_layer("output").kernel_regularizer is None


@pytest.mark.parametrize(
    ("name", "penalty"),
    [
        ({"name": "l1_l2", "l1": 0.5, "l2": 0.25}, 12 * 0.5 + 12 * 0.25),
        ({"name": "L2", "l2": 1}, 12),
        ("l1", 12 * 0.01),
        ({"name": "orthogonal_regularizer", "factor": 0.5, "mode": "columns"}, 0.5),  # all columns point the same way
    ],
)
def test_regularizer_by_its_keras_name_penalises_the_hidden_layers(name, penalty):
    network = mlp.build(Mlp(hidden=(4,), regularizer=name, initializer="ones"), [NUMBERS], ONE)
    assert [float(loss) for loss in network.losses] == [pytest.approx(penalty)]
    assert network.get_layer("output").kernel_regularizer is None


@pytest.mark.parametrize(
    ("key", "named", "said"),
    [
        ("initializer", {"name": "variance_scaling", "mode": "fan"}, r"VarianceScaling refuses \{'mode': 'fan'\}"),
        ("regularizer", {"name": "orthogonal_regularizer", "mode": "all"}, r"OrthogonalRegularizer refuses"),
    ],
)
def test_argument_that_only_keras_can_judge_is_refused(key, named, said):
    with pytest.raises(SpecError, match=rf"network\.{key}: {said}"):
        mlp.build(Mlp(**{key: named}), [NUMBERS], ONE)
