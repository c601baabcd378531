"""Lazy embeddings (R9): Adam where each row is in the batch, stillness where it is not, the same bytes after a stop."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from schemas.named import Named
from schemas.training import Training
from tasks.training import lazy
from tasks.training.checkpoints import Checkpoints
from tasks.training.loop import fit

RNG = np.random.default_rng(4)
ADAM = Named(name="adam", learning_rate=0.05)


def coded(examples, codes):
    codes = np.asarray(codes, np.int32)
    return examples(RNG.normal(size=(len(codes), 2)), RNG.normal(size=(len(codes), 1)), embedding_0=codes)


def table(engine) -> np.ndarray:
    return engine.network.get_layer("embedding_0_vectors").embeddings.numpy()


OPTIMIZERS = {
    "adam": ADAM,
    "norm of each": Named(name="adam", learning_rate=0.05, clipnorm=0.01),
    "norm of all": Named(name="adam", learning_rate=0.05, global_clipnorm=0.01),
}


@pytest.mark.parametrize(("name", "xla"), [(name, False) for name in OPTIMIZERS] + [("norm of each", True)])
def test_rows_that_are_in_each_batch_move_as_by_adam(engine, examples, name, xla):
    given = coded(examples, np.tile(np.repeat(np.arange(5), 3), 4))
    how = {"optimizer": OPTIMIZERS[name], "batch_size": 60, "hidden": (4,), "xla": xla}
    rows, whole = (engine(given, lazy_embeddings=wanted, **how) for wanted in (True, False))
    for epoch in (1, 2, 3):
        assert rows.train(epoch) == pytest.approx(whole.train(epoch), rel=1e-5)
    for one, other in zip(rows.state, whole.state, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_row_that_no_batch_holds_does_not_move_nor_its_moments(engine, examples, policy):
    given = coded(examples, RNG.choice([0, 2, 5, 9], 40))
    adam = engine(given, optimizer=ADAM, lazy_embeddings=True, policy=policy)
    before = table(adam)
    adam.train(1)
    still = [1, 3, 4, 6, 7, 8]
    np.testing.assert_array_equal(table(adam)[still], before[still])
    assert (table(adam)[[0, 2, 5, 9]] != before[[0, 2, 5, 9]]).all()
    moments = [each.numpy() for each in adam.optimizer.variables if each.shape == before.shape]
    assert len(moments) == 2
    assert all((each[still] == 0).all() and (each[[0, 2, 5, 9]] != 0).all() for each in moments)


def test_row_waits_with_its_momentum_for_a_batch_that_holds_it(engine, examples):
    given = coded(examples, [0, 1])
    adam = engine(given, optimizer=ADAM, batch_size=1, lazy_embeddings=True)
    dense = engine(given, optimizer=ADAM, batch_size=1, lazy_embeddings=False)
    adam.train(1)
    dense.train(1)
    first = int(np.argmax(np.abs(table(adam) - table(dense)).sum(axis=1)))  # the code of the first step
    assert not np.array_equal(table(adam)[first], table(dense)[first])
    np.testing.assert_allclose(table(adam)[1 - first], table(dense)[1 - first], rtol=1e-5)


def test_training_that_was_stopped_ends_with_the_same_bytes(engine, examples, tmp_path):
    given = coded(examples, RNG.integers(0, 50, 200))
    how = {"optimizer": ADAM, "hidden": (4,), "dropout": 0.2, "lazy_embeddings": True, "batch_size": 8}

    def stop(progress, *_):
        if progress.epoch == 3:
            raise InterruptedError

    training = Training(epochs=4, batch_size=8, early_stopping=None)
    whole = engine(given, **how)
    fit(whole, given, training)
    with pytest.raises(InterruptedError):
        fit(engine(given, **how), given, training, checkpoints=Checkpoints(tmp_path), after_epoch=stop)
    resumed = engine(given, **how)
    fit(resumed, given, training, checkpoints=Checkpoints(tmp_path))
    assert (tmp_path / "batch-8.npz").exists()
    for one, other in zip(resumed.state, whole.state, strict=True):
        np.testing.assert_array_equal(one, other)


def test_saved_network_has_adam_with_its_moments(engine, examples, tmp_path):
    adam = engine(coded(examples, [0, 1, 1, 3]), optimizer=ADAM, lazy_embeddings=True)
    adam.train(1)
    adam.network.compile(optimizer=adam.optimizer, loss="mean_squared_error")
    adam.network.save(tmp_path / "network.keras")
    optimizer = keras.saving.load_model(tmp_path / "network.keras").optimizer
    assert type(optimizer) is keras.optimizers.Adam
    for saved, variable in zip(optimizer.variables, adam.optimizer.variables, strict=True):
        np.testing.assert_array_equal(saved.numpy(), variable.numpy())


@pytest.mark.parametrize(
    ("codes", "batch_size", "optimizer", "chosen"),
    [
        (20_000, 256, keras.optimizers.Adam, True),
        (19_999, 256, keras.optimizers.Adam, False),
        (20_000, 512, keras.optimizers.Adam, False),
        (20_000, 256, keras.optimizers.AdamW, False),
        (20_000, 256, keras.optimizers.SGD, False),
        (20_000, 256, lambda: keras.optimizers.Adam(weight_decay=0.1), False),
    ],
)
def test_large_tables_are_lazy_unless_the_optimizer_moves_all_rows(codes, batch_size, optimizer, chosen):
    codes_in = keras.Input((), dtype="int32")
    network = keras.Model(codes_in, keras.layers.Embedding(codes, 1)(codes_in))
    found = lazy.tables(network, optimizer(), batch_size=batch_size, wanted="auto")
    assert [layer.input_dim for layer in found] == [codes] * chosen


def test_table_with_a_penalty_moves_as_a_whole():
    codes = keras.Input((), dtype="int32")
    network = keras.Model(codes, keras.layers.Embedding(9, 1, embeddings_regularizer="l2")(codes))
    assert not lazy.tables(network, keras.optimizers.Adam(), batch_size=1, wanted=True)


def test_reading_rows_is_no_layer_of_its_own(engine, examples):
    adam = engine(coded(examples, [0, 1]), optimizer=ADAM, lazy_embeddings=True)
    adam.train(1)
    layer = adam.network.get_layer("embedding_0_vectors")
    assert "call" not in vars(layer)
    assert "update_step" not in vars(adam.optimizer)
    np.testing.assert_array_equal(layer(tf.constant([1])), table(adam)[[1]])


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"optimizer": "sgd"}, "lazy_embeddings: sgd moves all rows of an embedding in each step; take plain adam"),
        ({"optimizer": {"name": "adam", "weight_decay": 0.1}}, "adam with weight_decay moves all rows"),
        ({"members": 2}, "lazy_embeddings is for one network on one device; set it to auto"),
        ({"device": {"gpus": 2}}, "lazy_embeddings is for one network on one device"),
    ],
)
def test_lazy_embeddings_where_they_cannot_be_are_refused(keys, message):
    with pytest.raises(ValueError, match=message):
        Training(lazy_embeddings=True, **keys)
    Training(**keys)
