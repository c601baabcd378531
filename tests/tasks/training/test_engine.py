"""The engine: its losses against NumPy's, and the order and noise of its epochs."""

import gc
import logging
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

from schemas import names
from schemas.errors import SpecError
from schemas.named import Named
from tasks.encoders.target import LabelsTarget, LabelTarget
from tasks.training import engine as engine_module
from tasks.training import feed
from tasks.training.engine import Engine

RNG = np.random.default_rng(3)
NUMBERS = RNG.normal(size=(11, 3))
WEIGHT = np.array([1, 0, 2, 3, 0.5, 1, 1, 4, 1, 0.25, 7])
STILL = Named(name="sgd", learning_rate=0.0)

BINARY = LabelTarget(names=("y",), classes=("no", "yes"), binary=True)
MULTICLASS = LabelTarget(names=("y",), classes=("a", "b", "c"), binary=False)
MULTILABEL = LabelsTarget(names=("y",), classes=("a", "b"))


def weights(engine: Engine) -> list[np.ndarray]:
    return [variable.numpy() for variable in engine.network.trainable_variables]


def outputs(engine: Engine, examples) -> np.ndarray:
    return engine.network(examples.inputs).numpy().astype(np.float64)


def entropies(truth: np.ndarray, probability: np.ndarray) -> np.ndarray:
    return -np.log(np.where(truth, probability, 1 - probability))


CASES = {
    "mean_squared_error": (None, RNG.normal(size=(11, 1)), lambda y, p: ((y - p) ** 2)[:, 0]),
    "mean_absolute_error": (None, RNG.normal(size=(11, 1)), lambda y, p: np.abs(y - p)[:, 0]),
    "binary_crossentropy": (BINARY, (RNG.random((11, 1)) < 0.5) * 1.0, lambda y, p: entropies(y, p)[:, 0]),
    "sparse_categorical_crossentropy": (MULTICLASS, RNG.integers(0, 3, 11), lambda y, p: -np.log(p[np.arange(11), y])),
    "categorical_crossentropy": (
        MULTICLASS,
        np.eye(3)[RNG.integers(0, 3, 11)],
        lambda y, p: -np.log((p * y).sum(axis=1)),
    ),
    "multilabel": (MULTILABEL, (RNG.random((11, 2)) < 0.5) * 1.0, lambda y, p: entropies(y, p).mean(axis=1)),
}


@pytest.mark.parametrize("name", CASES)
def test_loss_is_the_weighted_mean_and_counts_each_row_of_an_epoch_once(engine, examples, name):
    target, truth, formula = CASES[name]
    given = examples(NUMBERS, truth, WEIGHT)
    keys = {} if target is None else {"target": target}
    loss = "binary_crossentropy" if name == "multilabel" else name
    still = engine(given, loss=loss, optimizer=STILL, **keys)
    losses = WEIGHT * formula(truth, outputs(still, given))
    assert still.loss(given) == pytest.approx(losses.sum() / WEIGHT.sum(), rel=1e-5)
    assert still.train(1) == pytest.approx(losses.mean(), rel=1e-5)  # batches of 4, 4 and 3 rows


def test_each_label_has_a_weight_of_its_own(engine, examples):
    truth = (RNG.random((11, 2)) < 0.5) * 1.0
    weight = RNG.random((11, 2))
    given = examples(NUMBERS, truth, weight)
    still = engine(given, target=MULTILABEL, loss="binary_crossentropy", optimizer=STILL)
    losses = weight * entropies(truth, outputs(still, given))
    assert still.loss(given) == pytest.approx(losses.sum() / weight.sum(), rel=1e-5)
    assert still.train(1) == pytest.approx(losses.mean(), rel=1e-5)


def test_loss_goes_through_more_rows_than_fit_one_piece(engine, examples):
    numbers = RNG.normal(size=(8193 * 2, 1))
    given = examples(numbers, numbers * 2)
    still = engine(given, optimizer=STILL)
    assert still.loss(given) == pytest.approx(((outputs(still, given) - numbers * 2) ** 2).mean(), rel=1e-4)


@pytest.mark.parametrize(("missing", "held"), [(0, True), (1, False)])
def test_validation_rows_are_moved_once_where_the_budget_holds_them_beside_those_of_training(
    engine, examples, missing, held
):
    """Three numbers, a target and a weight take 20 bytes a row, and the last piece is filled up."""
    numbers = RNG.normal(size=(8193, 3))
    given, validation = examples(numbers, numbers[:, :1], RNG.random(8193)), examples(numbers, numbers[:, 1:2])
    still = engine(given, optimizer=STILL, budget_bytes=20 * (8193 + 2 * 8192) - missing)
    assert not still._feed.streams
    before = still.loss(validation)
    still.hold(validation)
    assert still.loss(validation) == before
    validation.target[:] = 0  # what is on the device does not hear of it
    assert (still.loss(validation) == before) is held
    assert still.loss(given) != before


CONSTRAINTS = {
    "max_norm": ({"max_value": 0.5}, lambda kernel: np.linalg.norm(kernel, axis=0) <= 0.5 + 1e-5),
    "unit_norm": ({}, lambda kernel: np.isclose(np.linalg.norm(kernel, axis=0), 1, atol=1e-4)),
    "min_max_norm": (
        {"min_value": 0.2, "max_value": 0.4},
        lambda kernel: np.isclose(np.linalg.norm(kernel, axis=0).clip(0.2, 0.4), np.linalg.norm(kernel, axis=0)),
    ),
    "non_neg": ({}, lambda kernel: kernel >= 0),
}


@pytest.mark.parametrize("name", [entry.snake for entry in names.entries("constraint")])
@pytest.mark.parametrize("how", [{}, {"xla": True, "policy": "mixed_bfloat16"}], ids=["plain", "compiled"])
def test_weights_keep_to_their_constraint_in_every_step(engine, examples, name, how):
    """R11."""
    arguments, holds = CONSTRAINTS[name]
    given = examples(NUMBERS, RNG.normal(size=(11, 1)))
    trained = engine(given, hidden=(4,), constraint={"name": name, **arguments}, **how)
    before = trained.network.get_layer("hidden_1").kernel.numpy()
    trained.train(1)
    after = trained.network.get_layer("hidden_1").kernel.numpy()
    assert not holds(before).all()
    assert holds(after).all()
    assert (after != before).any()


def test_step_goes_down_the_gradient_of_the_weighted_loss(engine, examples):
    truth = RNG.normal(size=(11, 1))
    given = examples(NUMBERS, truth, WEIGHT)
    sgd = engine(given, batch_size=11)
    kernel, bias = weights(sgd)
    error = 2 * WEIGHT[:, None] * (outputs(sgd, given) - truth) / 11
    sgd.train(1)
    expected = [kernel - 0.1 * NUMBERS.T @ error, bias - 0.1 * error.sum(axis=0)]
    for actual, wanted in zip(weights(sgd), expected, strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("batch_size", "steps"), [(4, 3), (10, 2), (500, 1)])
def test_last_batch_may_be_smaller(engine, examples, batch_size, steps):
    """Of one row even, whose normalisation divides by nothing."""
    given = examples(NUMBERS, NUMBERS[:, :1])
    sgd = engine(given, batch_size=batch_size, hidden=(4,), normalization="batch")
    assert np.isfinite(sgd.train(1))
    assert int(sgd.optimizer.iterations) == steps
    assert np.isfinite(weights(sgd)[0]).all()


def test_penalty_is_part_of_the_training_loss_alone(engine, examples):
    given = examples(NUMBERS, NUMBERS[:, :1])
    still = engine(given, optimizer=STILL, hidden=(5,), activation="linear", l1=0.5, l2=0.25)
    kernel = weights(still)[0]
    penalty = 0.5 * np.abs(kernel).sum() + 0.25 * (kernel**2).sum()
    assert still.train(1) - still.loss(given) == pytest.approx(penalty, rel=1e-4)


def trained(engine, given, *epochs: int, seed: int = 0, **network) -> list[np.ndarray]:
    """The weights after some epochs."""
    fresh = engine(given, seed=seed, **network)
    for epoch in epochs:
        fresh.train(epoch)
    return weights(fresh)


def equal(first: list[np.ndarray], second: list[np.ndarray]) -> bool:
    return all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))


def test_rows_come_in_another_order_each_epoch(engine, examples):
    given = examples(NUMBERS, NUMBERS[:, :1] ** 2)
    assert not equal(trained(engine, given, 1), trained(engine, given, 2))


NOISY = {"hidden": (6, 5), "dropout": 0.5, "normalization": "batch"}


def test_same_seed_gives_the_same_weights_and_another_seed_others(engine, examples):
    given = examples(NUMBERS, NUMBERS[:, :1] ** 2)
    first = trained(engine, given, 1, 2, seed=5, **NOISY)
    assert equal(first, trained(engine, given, 1, 2, seed=5, **NOISY))
    assert not equal(first, trained(engine, given, 1, 2, seed=6, **NOISY))


def test_epoch_can_be_repeated_from_the_state_before_it(engine, examples):
    noisy = engine(examples(NUMBERS, NUMBERS[:, :1] ** 2), optimizer=Named(name="adam"), **NOISY)
    noisy.train(1)
    variables = [*noisy.network.variables, *noisy.optimizer.variables]
    before = [variable.numpy() for variable in variables]
    first = (noisy.train(2), weights(noisy))
    for variable, value in zip(variables, before, strict=True):
        variable.assign(value)
    assert noisy.train(2) == first[0]
    assert equal(weights(noisy), first[1])


def test_dropout_makes_other_noise_in_each_epoch_and_none_in_the_loss(engine, examples):
    given = examples(NUMBERS, NUMBERS[:, :1])
    still = engine(given, optimizer=STILL, hidden=(20,), dropout=0.5)
    losses = [still.train(epoch) for epoch in range(1, 6)]
    assert len(set(losses)) == 5
    assert still.loss(given) == still.loss(given) not in losses


def test_noise_of_a_batch_does_not_return_in_the_next_epoch(engine, examples):
    noisy = engine(examples(NUMBERS, NUMBERS[:, :1]), optimizer=STILL, hidden=(20, 20), dropout=0.5, batch_size=1)
    state = [layer.seed_generator.state for layer in noisy.network.layers if hasattr(layer, "seed_generator")]
    seen = set()
    for epoch in (1, 2, 3):
        noisy.train(epoch)
        ends = [generator.numpy().astype(int) for generator in state]  # 11 batches further than the epoch began
        seen |= {(key, count - back) for key, count in ends for back in range(1, 12)}
    assert len(seen) == 3 * 2 * 11


def test_batch_normalisation_learns_the_moments_of_the_rows(engine, examples):
    numbers = RNG.normal(loc=5, size=(64, 3))
    still = engine(
        examples(numbers, numbers[:, :1]), optimizer=STILL, hidden=(4,), normalization="batch", batch_size=64
    )
    kernel = weights(still)[0]
    for epoch in range(1, 4):
        still.train(epoch)
    moved = (1 - 0.99**3) * (numbers @ kernel).mean(axis=0)  # Keras's momentum is 0.99
    np.testing.assert_allclose(still.network.get_layer("normalization_1").moving_mean.numpy(), moved, rtol=1e-4)


def test_embeddings_and_tensors_learn(engine, examples):
    codes, images = RNG.integers(0, 4, 40).astype(np.int32), RNG.normal(size=(40, 2, 2)).astype(np.float32)
    target = (codes * 2.0 + images.sum(axis=(1, 2)))[:, None]
    given = examples(np.zeros((40, 1)), target, embedding_0=codes, tensor_0=images)
    adam = engine(given, optimizer=Named(name="adam", learning_rate=0.05), hidden=(16,))
    before = adam.loss(given)
    for epoch in range(1, 21):
        adam.train(epoch)
    assert adam.loss(given) < before / 2
    assert not np.allclose(adam.network.get_layer("embedding_0_vectors").embeddings.numpy(), 0, atol=0.1)


def test_adam_moves_a_code_by_the_sum_of_its_rows(engine, examples):
    codes = np.repeat(np.arange(4, dtype=np.int32), 10)
    given = examples(np.zeros((40, 1)), RNG.normal(size=(40, 1)), embedding_0=codes)
    adam = engine(given, optimizer=Named(name="adam", learning_rate=0.05), batch_size=40)
    table = adam.network.get_layer("embedding_0_vectors").embeddings
    before = table.numpy()
    adam.train(1)
    np.testing.assert_allclose(np.abs(table.numpy() - before), 0.05, rtol=1e-3)  # the first step, whatever the gradient


def test_steps_that_take_long_are_calls_of_their_own_between_which_the_process_hears(engine, examples, monkeypatch):
    monkeypatch.setattr(engine_module, "_CALL_FLOP", 6 * 4 * (3 + 1))  # one step of four rows
    linear, reached = engine(examples(NUMBERS, NUMBERS[:, :1])), []
    run = linear._run
    monkeypatch.setattr(linear, "_run", lambda *given: reached.append(run(*given)) or reached[-1])
    linear.train(1)
    assert [step for step, _ in reached] == [1, 2, 3]


def test_a_table_of_which_steps_move_a_few_rows_makes_none_longer(engine, examples):
    codes, zeros, adam = np.arange(40, dtype=np.int32), np.zeros((40, 1)), Named(name="adam")
    few, many = (
        engine(examples(zeros, zeros, embedding_0=codes * factor), optimizer=adam, lazy_embeddings=True)
        for factor in (1, 100)
    )
    assert few.step_flop == many.step_flop == 6 * 4 * (1 + 2 + 1)


def test_any_seed_is_taken(engine, examples):
    noisy = engine(examples(NUMBERS, NUMBERS[:, :1]), seed=2**40 + 3, hidden=(4,), dropout=0.5)
    assert np.isfinite(noisy.train(1))


@pytest.mark.parametrize("network", [NOISY, {"hidden": (6,)}], ids=["noisy", "plain"])
def test_xla_learns_as_the_plain_graph_does(engine, examples, network):
    given = examples(NUMBERS, NUMBERS[:, :1] ** 2, WEIGHT)
    plain, compiled = (engine(given, xla=xla, optimizer=Named(name="adam"), **network) for xla in (False, True))
    for epoch in (1, 2):
        assert compiled.train(epoch) == pytest.approx(plain.train(epoch), rel=1e-4)
    for one, other in zip(weights(compiled), weights(plain), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)
    assert int(compiled.optimizer.iterations) == 6
    assert compiled._compiled.experimental_get_tracing_count() == compiled._graph.experimental_get_tracing_count() == 1


def test_network_that_xla_cannot_compile_goes_on_without(engine, examples, caplog, monkeypatch, tmp_path):
    """Whether that comes out when XLA is measured or, where nothing can be kept, when it is used."""

    def foreign(values):
        return values + tf.stop_gradient(tf.ensure_shape(tf.numpy_function(np.float32, [0.0], tf.float32), []))

    caplog.set_level(logging.INFO, "evermodel")
    monkeypatch.setitem(keras.src.activations.ALL_OBJECTS_DICT, "mish", foreign)
    given = examples(NUMBERS, NUMBERS[:, :1])
    asked = {"hidden": (4,), "activation": "mish"}
    said = (
        "train: without XLA: it cannot compile this network",
        "goes on without XLA, which cannot compile this network",
    )
    (tmp_path / "timings").mkdir()
    for cache, line in zip((tmp_path, "/dev/null"), said, strict=True):
        monkeypatch.setenv("EVERMODEL_CACHE", str(cache))
        unasked, plain = engine(given, xla="auto", epochs=10**5, **asked), engine(given, **asked)
        assert unasked.train(1) == plain.train(1)
        assert not unasked.xla
        assert line in caplog.text
    with pytest.raises(SpecError, match=r"training\.xla: XLA cannot compile this network \(.*\); set it to auto or"):
        engine(given, xla=True, **asked).train(1)


@pytest.fixture
def small_pools(monkeypatch):
    """Blocks of 100 rows and pools of up to 4 blocks, for batches of 20 and rows of 20 bytes."""
    monkeypatch.setattr(feed, "_BLOCK_ROWS", 100)
    monkeypatch.setattr(feed, "_POOL_BYTES", 450 * 20)


@pytest.mark.parametrize(("xla", "rows"), [(False, 2033), (True, 2033), (False, 2000)])
def test_rows_streamed_from_disk_give_the_same_weights(engine, examples, tmp_path, small_pools, xla, rows):
    numbers = RNG.normal(size=(rows, 3)).astype(np.float32)
    numbers.tofile(tmp_path / "numbers")
    mapped = np.memmap(tmp_path / "numbers", np.float32, "r", shape=(rows, 3))
    target, weight = numbers[:, :1], RNG.random(rows)
    asked = {"xla": xla, "batch_size": 20, "hidden": (5,), "dropout": 0.2}
    resident = engine(examples(numbers, target, weight), **asked)
    streamed = engine(examples(mapped, target, weight), budget_bytes=3 * 400 * 20, **asked)
    assert (resident._feed.streams, streamed._feed.streams) == (False, True)
    for epoch in (1, 2):
        assert streamed.train(epoch) == resident.train(epoch)
    assert equal(weights(streamed), weights(resident))
    assert int(streamed.optimizer.iterations) == 2 * -(-rows // 20)


def test_less_memory_than_some_pools_cuts_them_and_keeps_the_order(engine, examples, tmp_path, small_pools):
    """Three pools of 400 rows, of 20 bytes each, do not fit: a part of 140 rows does, which is seven batches."""
    numbers = RNG.normal(size=(2033, 3)).astype(np.float32)
    numbers.tofile(tmp_path / "numbers")
    mapped = np.memmap(tmp_path / "numbers", np.float32, "r", shape=(2033, 3))
    asked = {"batch_size": 20, "hidden": (5,), "dropout": 0.2}
    resident = engine(examples(numbers, numbers[:, :1]), **asked)
    streamed = engine(examples(mapped, numbers[:, :1]), budget_bytes=3 * 150 * 20, **asked)
    assert [pool.rows for pool in streamed._feed.pools(1)][:4] == [140, 140, 120, 140]
    for epoch in (1, 2):
        assert streamed.train(epoch) == pytest.approx(resident.train(epoch), rel=1e-5)
    assert equal(weights(streamed), weights(resident))


class Placed:
    """Arrays on the device."""

    def __init__(self, arrays):
        self.inputs, self.target, self.weight = arrays


def test_first_pool_of_an_epoch_is_read_while_the_last_one_trains_and_three_are_held_at_most(small_pools):
    rows, held, placed = np.arange(2033, dtype=np.float32), weakref.WeakSet(), []
    given = feed.Examples({"x": np.zeros((2033, 3), np.float32)}, rows, rows)

    def place(arrays):
        held.add(pool := Placed(arrays))
        placed.append(pool.target)
        assert len(held) <= 3
        return pool

    asked = {"batch_size": 20, "seed": 0, "budget_bytes": 3 * 400 * 20}
    fed, alone = feed.Feed(given, epochs=3, place=place, **asked), feed.Feed(given, place=tuple, **asked)
    for epoch in (1, 2, 3):
        expected = [(pool.order.tolist(), pool.data[1][: pool.rows].tolist()) for pool in alone.pools(epoch)]
        for pool, (order, target) in zip(fed.pools(epoch), expected, strict=True):
            assert (pool.order.tolist(), pool.data.target[: pool.rows].tolist()) == (order, target)
            if pool.last:
                fed._reader.submit(int).result()  # when all that was begun is read
                assert len(placed) == epoch * len(expected) + (epoch < 3)


def test_rows_are_let_go_with_their_engine(engine, examples):
    given = engine(examples(NUMBERS, NUMBERS[:, :1]))
    given.train(1)
    gc.disable()
    try:
        fed = weakref.ref(given._feed)
        del given
        assert fed() is None
    finally:
        gc.enable()


def test_each_row_comes_once_an_epoch_and_pools_mix_blocks(small_pools):
    rows = np.arange(2033, dtype=np.float32)
    given = feed.Examples({"x": np.zeros((2033, 3), np.float32)}, rows, rows)
    fed = feed.Feed(given, batch_size=20, seed=0, budget_bytes=10**6, place=lambda arrays: arrays)
    epochs = []
    for epoch in (1, 2):
        pools = [pool.data[1][pool.order[: pool.rows]] for pool in fed.pools(epoch)]
        assert [len(pool) % 20 for pool in pools] == [0, 0, 0, 0, 0, 13]
        assert min(len({int(row) // 100 for row in pool[:60]}) for pool in pools) >= 3
        epochs.append(np.concatenate(pools))
        np.testing.assert_array_equal(np.sort(epochs[-1]), rows)
    assert not np.array_equal(*epochs)


def test_blocks_of_one_class_each_are_learned(engine, examples, small_pools):
    """Rows that lie in the order of their classes, as in a file that was sorted by them."""
    numbers = np.sort(np.random.default_rng(0).normal(size=(2000, 1)), axis=0)
    given = examples(numbers, (numbers > 0) * 1.0)
    adam = Named(name="adam", learning_rate=0.03)
    sorted_ = engine(given, target=BINARY, loss="binary_crossentropy", optimizer=adam, batch_size=20)
    for epoch in range(1, 5):
        sorted_.train(epoch)
    assert ((outputs(sorted_, given) > 0.5) == (numbers > 0)).mean() > 0.9


def test_budget_below_a_few_pools_is_refused(engine, examples):
    given = examples(NUMBERS, NUMBERS[:, :1])
    with pytest.raises(SpecError, match=r"0 MiB of rows .* at batch_size 4 it has to hold 1: set training\.mem"):
        engine(given, budget_bytes=100)
