"""R9, R11: the kinds of networks beside the plain one."""

import keras
import numpy as np
import pytest

from schemas.named import Constraint, Regularizer
from schemas.networks import Mlp, Residual, WideAndDeep
from tasks.encoders.table import Slot
from tasks.encoders.target import LabelTarget, NumberTarget
from tasks.networks import architecture

SLOTS = [
    Slot(name="numbers", shape=(3,), columns=("a", "b", "c")),
    Slot(name="embedding_0", shape=(), columns=("e",), cardinality=5, size=2),
    Slot(name="tensor_0", shape=(2, 2), columns=("t",)),
]
ROWS = {
    "numbers": np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32),
    "embedding_0": np.arange(6, dtype=np.int32) % 5,
    "tensor_0": np.random.default_rng(1).normal(size=(6, 2, 2)).astype(np.float32),
}
NUMBERS = {"numbers": ROWS["numbers"]}
ONE = NumberTarget(names=("y",), centers=(0.0,), scales=(1.0,))
MULTICLASS = LabelTarget(names=("y",), classes=("a", "b", "c"), binary=False)
KINDS = [Mlp(hidden=(4,)), WideAndDeep(hidden=(4,)), Residual(width=4)]


@pytest.mark.parametrize("network", KINDS, ids=lambda network: network.kind)
def test_every_kind_takes_every_slot_and_says_what_the_problem_asks(network):
    built = architecture.build(network, SLOTS, MULTICLASS, {})
    np.testing.assert_allclose(built(ROWS).numpy().sum(axis=1), 1, rtol=1e-5)
    assert sorted(tensor.name for tensor in built.inputs) == sorted(ROWS)


@pytest.mark.parametrize("network", KINDS, ids=lambda network: network.kind)
def test_every_kind_takes_the_activation_of_a_bounded_target(network):
    """R6."""
    bounded = network.model_copy(update={"output_activation": "softplus"})
    assert (architecture.build(bounded, SLOTS, ONE, {})(ROWS).numpy() >= 0).all()


def test_wide_and_deep_is_the_sum_of_a_linear_model_and_hidden_layers():
    built = architecture.build(WideAndDeep(hidden=(4,)), SLOTS[:1], ONE, {})
    whole = built(NUMBERS).numpy()
    wide = NUMBERS["numbers"] @ built.get_layer("wide").kernel.numpy()
    built.get_layer("wide").kernel.assign(np.zeros((3, 1)))
    np.testing.assert_allclose(whole, wide + built(NUMBERS).numpy(), rtol=1e-4, atol=1e-6)
    assert built.get_layer("deep").kernel.shape == (4, 1)


def test_residual_block_passes_its_input_on():
    """With all that blocks add set to 0 the network is its first layer, the last activation and the output."""
    built = architecture.build(Residual(width=4, blocks=3, normalization="none"), SLOTS[:1], ONE, {})
    for index in (1, 2, 3):
        back = built.get_layer(f"back_{index}")
        back.kernel.assign(np.zeros(back.kernel.shape))
    stem = np.maximum(NUMBERS["numbers"] @ built.get_layer("stem").kernel.numpy(), 0)
    np.testing.assert_allclose(
        built(NUMBERS).numpy(), stem @ built.get_layer("output").kernel.numpy(), rtol=1e-4, atol=1e-6
    )
    assert built.get_layer("wider_3").kernel.shape == (4, 8)


def test_residual_layers_have_the_penalties_the_dropout_and_the_normalisation_of_the_spec():
    built = architecture.build(Residual(width=4, blocks=1, l2=0.1, dropout=0.5), SLOTS, ONE, {})
    kinds = [type(layer).__name__ for layer in built.layers]
    assert (kinds.count("Dropout"), kinds.count("BatchNormalization"), len(built.losses)) == (2, 2, 3)
    assert keras.ops.isfinite(built(ROWS, training=True)).numpy().all()


@pytest.mark.parametrize("network", KINDS, ids=lambda network: network.kind)
def test_every_kind_takes_the_penalty_and_the_constraint_of_the_spec(network):
    named = {"regularizer": Regularizer(name="l2"), "constraint": Constraint(name="max_norm")}
    built = architecture.build(network.model_copy(update=named), SLOTS, ONE, {})
    hidden = [each for each in built.layers if getattr(each, "kernel_constraint", None) is not None]
    assert len(hidden) == len(built.losses) == (5 if network.kind == "residual" else 1)
