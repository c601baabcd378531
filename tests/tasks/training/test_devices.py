"""Where training runs: an absent GPU, several devices, other numbers, memory that ends."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from schemas.errors import ResourceError
from schemas.named import Named
from schemas.training import Gpus, Training
from tasks.training import devices

RNG = np.random.default_rng(5)


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="a GPU is there")
def test_gpu_that_is_asked_for_and_absent_is_an_error_and_auto_takes_the_cpu():
    for wanted, count in (("gpu", "1 GPU,"), (Gpus(gpus=2), "2 GPUs,")):
        with pytest.raises(ResourceError, match=rf"training\.device asks for {count} and TensorFlow sees none"):
            devices.find(wanted)
    assert devices.find("auto") == devices.find("cpu") == ("CPU:0",)
    assert devices.precision("auto", ("CPU:0",)) == "float32"


def test_memory_is_what_the_spec_says_or_a_quarter_of_the_hosts():
    assert devices.memory_bytes(Training(memory_mb=3), ("CPU:0",)) == 3 << 20
    assert 0 < devices.memory_bytes(Training(), ("CPU:0",)) <= devices._host_bytes() / 4


def test_error_of_python_code_in_a_graph_is_none_of_the_device():
    def fails() -> None:
        raise RuntimeError("of the user's own")

    with pytest.raises(tf.errors.UnknownError, match="of the user's own") as raised:
        tf.function(lambda: tf.numpy_function(fails, [], tf.float32))()
    assert not devices.lost(raised.value)


def test_memory_on_a_gpu_is_what_both_the_card_and_the_host_have_room_for(monkeypatch):
    monkeypatch.setattr(devices, "_host_bytes", lambda: 32 << 30)
    for card, expected in ((80, 8), (10, 5)):
        monkeypatch.setattr(devices, "_gpu_bytes", lambda card=card: card << 30)
        assert devices.memory_bytes(Training(), ("GPU:0",)) == expected << 30


@pytest.mark.parametrize(("memory", "share"), [(None, 2048), (900, 300), (2, 1)])
def test_trainings_at_the_same_time_share_the_memory(monkeypatch, memory, share):
    monkeypatch.setattr(devices, "_host_bytes", lambda: 24 << 30)
    assert devices.shared(Training(memory_mb=memory), ("CPU:0",), by=3).memory_mb == share


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_learns_and_leaves_a_float32_network(engine, examples, policy):
    numbers = RNG.normal(size=(64, 3))
    given = examples(numbers, numbers @ [[1.0], [2.0], [-1.0]])
    keys = {"optimizer": Named(name="adam", learning_rate=0.02), "hidden": (16,), "batch_size": 16}
    exact, mixed = engine(given, **keys), engine(given, policy=policy, **keys)
    losses = {each.policy: [each.train(epoch) for epoch in range(1, 31)] for each in (exact, mixed)}
    assert losses[policy] != losses["float32"]
    assert losses[policy][-1] == pytest.approx(losses["float32"][-1], rel=0.1, abs=0.05)
    assert {layer.dtype_policy.name for layer in mixed.network.layers} == {"float32"}
    assert {variable.dtype for variable in mixed.network.variables} == {"float32"}


def test_layers_get_back_the_very_policies_they_had(engine, examples):
    """A network file says which of them are one object: it is not to tell whether steps were taken after a resume."""
    network = engine(examples(np.zeros((4, 3)), np.zeros((4, 1))), hidden=(4, 4)).network
    before = [id(layer.dtype_policy) for layer in network.layers]
    with devices.computing_in("mixed_bfloat16", network):
        assert [layer.dtype_policy.name for layer in network.layers].count("mixed_bfloat16") > 2
    assert [id(layer.dtype_policy) for layer in network.layers] == before


MIRRORED = """
import itertools, json, pathlib, sys
import keras, numpy as np, tensorflow as tf
from schemas.networks import Mlp
from tasks.encoders.table import NUMBERS, Slot
from tasks.encoders.target import NumberTarget
from tasks.networks import files, mlp
from tasks.training import devices, loop, noise
from tasks.training.engine import Engine
from tasks.training.feed import Examples
from schemas.training import Training

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
random = np.random.default_rng(0)
numbers = random.normal(size=(41, 3)).astype(np.float32)  # the last batch has one row, less than there are devices
weight = random.random(41).astype(np.float32)
given = Examples({NUMBERS: numbers}, numbers @ np.array([[1], [2], [3]], np.float32), weight)
devices_of = [("CPU:0",), ("CPU:0", "CPU:1")]
for shape, names in itertools.product(json.loads(sys.argv[1]), devices_of):
    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
    with devices.scope(names):
        slot = Slot(name=NUMBERS, shape=(3,), columns=("a", "b", "c"))
        network = mlp.build(Mlp(hidden=(8,), **shape), [slot], NumberTarget(names=("y",), centers=(0,), scales=(1,)))
        adam = keras.optimizers.Adam(0.01, use_ema="l2" in shape)
        engine = Engine(network, keras.losses.MeanSquaredError(), adam, given, batch_size=8, seed=0)
        history = loop.fit(engine, given, Training(epochs=3))
        network = engine.published()
    network.compile(optimizer=adam, loss=keras.losses.MeanSquaredError())
    files.save(network, pathlib.Path(sys.argv[2]))
    saved = keras.models.load_model(sys.argv[2])
    assert (saved(given.inputs).numpy() == network(given.inputs).numpy()).all()
    weights = [variable.numpy().tolist() for variable in saved.trainable_variables]
    said = {"device": history.device, "loss": history.loss, "judged": history.validation_loss}
    print(json.dumps({**said, "steps": int(saved.optimizer.iterations), "weights": weights}))
with devices.scope(devices_of[1]):
    (layer,), strategy = noise.hashable(network), tf.distribute.get_strategy()
    drawn = strategy.run(tf.function(lambda: noise._dropout(layer, tf.ones((41, 8)), training=True)))
    print(json.dumps([each.numpy().tolist() for each in strategy.experimental_local_results(drawn)]))
"""


def test_two_devices_take_the_steps_of_one_and_train_with_noise_and_normalisation(tmp_path):
    shapes = [
        {"l2": 0.01, "constraint": {"name": "max_norm", "max_value": 0.5}},
        {"dropout": 0.2, "normalization": "batch"},
    ]
    command = [sys.executable, "-c", MIRRORED, json.dumps(shapes), str(tmp_path / "network.keras")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    one, two, noisy_one, noisy_two, (noise, other_noise) = (json.loads(line) for line in ended.stdout.splitlines())
    assert (one["device"], two["device"], one["steps"]) == ("CPU:0", "2 devices", two["steps"])
    np.testing.assert_allclose(one["loss"], two["loss"], rtol=1e-4)
    np.testing.assert_allclose(one["judged"], two["judged"], rtol=1e-4)
    for first, second in zip(one["weights"], two["weights"], strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-3, atol=1e-5)
    assert noisy_two["loss"][-1] < noisy_two["loss"][0]
    assert noisy_two["loss"][-1] == pytest.approx(noisy_one["loss"][-1], rel=0.5)
    assert np.mean(np.array(noise) == other_noise) == pytest.approx(0.68, abs=0.1)  # 0.8² + 0.2²
