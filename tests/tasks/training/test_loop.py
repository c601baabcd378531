"""The loop: when it stops, which epoch it keeps, and what it says."""

import logging

import numpy as np
import pytest

from schemas.errors import TrainingError
from schemas.spec import EarlyStopping, Named, Training
from tasks.training.loop import fit

X = np.linspace(-1, 1, 16)[:, None]
ADAM = Named(name="adam", learning_rate=0.05)


@pytest.fixture
def learner(engine, examples):
    """An engine that learns y = 3 x from an untrained weight below 2, and validation rows of which y = 2 x is true.

    The validation loss falls until the weight passes 2, and rises from there on.
    """
    return engine(examples(X, 3 * X), optimizer=ADAM, batch_size=8), examples(X, 2 * X)


def training(**keys) -> Training:
    return Training(epochs=100, **keys)


def variables(engine) -> list[np.ndarray]:
    return [variable.numpy() for variable in [*engine.network.variables, *engine.optimizer.variables]]


def test_training_stops_when_patience_ends_and_goes_back_to_the_best_epoch(learner, engine, examples):
    history = fit(*learner, training(early_stopping={"patience": 5}))
    assert 1 < history.best_epoch == 1 + int(np.argmin(history.validation_loss))
    assert len(history.loss) == len(history.validation_loss) == history.epochs == history.best_epoch + 5 < 100
    stopped_there = engine(examples(X, 3 * X), optimizer=ADAM, batch_size=8)
    for epoch in range(1, history.best_epoch + 1):
        stopped_there.train(epoch)
    for kept, expected in zip(variables(learner[0]), variables(stopped_there), strict=True):
        np.testing.assert_array_equal(kept, expected)
    assert learner[0].loss(learner[1]) == min(history.validation_loss)


def test_without_early_stopping_all_epochs_run_and_the_best_is_kept(learner):
    history = fit(*learner, training(early_stopping=None))
    assert history.epochs == 100
    assert learner[0].loss(learner[1]) == min(history.validation_loss)


def test_gain_below_min_delta_does_not_count(learner):
    history = fit(*learner, training(early_stopping=EarlyStopping(patience=3, min_delta=1e9)))
    assert (history.best_epoch, history.epochs) == (1, 4)


@pytest.mark.parametrize("where", ["step 2", "validation"])
def test_loss_that_is_no_number_ends_training_with_its_epoch_and_step(engine, examples, where):
    if where == "step 2":
        network = engine(examples(X, 3 * X), optimizer=Named(name="sgd", learning_rate=1e30), batch_size=8)
        validation = examples(X, X)
    else:
        network, validation = engine(examples(X, 3 * X)), examples(X, X * np.float32(np.inf))
    with pytest.raises(
        TrainingError, match=rf"epoch 1, {where}: the loss is no number .*lower training\.optimizer\.learning_rate"
    ):
        fit(network, validation, training())


def test_each_epoch_is_said_with_its_figures(learner, caplog):
    caplog.set_level(logging.INFO, "evermodel")
    history = fit(*learner, Training(epochs=2))
    assert caplog.messages[0].startswith("train: epoch 1/2, loss ")
    assert [record.event["validation_loss"] for record in caplog.records] == history.validation_loss
