"""The loop: when it stops, which epoch it keeps, and what it says."""

import logging

import numpy as np
import pytest

from schemas.errors import TrainingError
from schemas.named import Named
from schemas.training import EarlyStopping, Training
from tasks.training import checkpoints
from tasks.training.engine import Engine
from tasks.training.loop import fit, refit

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


AVERAGED = Named(name="sgd", learning_rate=0.5, use_ema=True, ema_momentum=0.8)


def test_averages_of_the_weights_are_judged_and_published_while_training_goes_on_from_the_weights(engine, examples):
    given, validation = examples(X, 3 * X), examples(X, 2 * X)
    plain = engine(given, optimizer=Named(name="sgd", learning_rate=0.5), batch_size=16)
    weights, averages, losses = [], [], []
    for epoch in range(1, 21):  # of one step each
        plain.train(epoch)
        weights.append([variable.numpy() for variable in plain.network.trainable_variables])
        share = 0.8 if averages else 0.0
        averages.append(
            [share * old + (1 - share) * new for old, new in zip((averages or weights)[-1], weights[-1], strict=True)]
        )
        kernel, bias = averages[-1]
        losses.append(float(np.mean((X * kernel + bias - 2 * X) ** 2)))
    averaged = engine(given, optimizer=AVERAGED, batch_size=16)
    history = fit(averaged, validation, Training(epochs=20, early_stopping=None))
    assert 1 < history.best_epoch < 20
    np.testing.assert_allclose(history.validation_loss, losses, rtol=1e-4)
    reached = [variable.numpy() for variable in averaged.network.trainable_variables]
    assert all(np.array_equal(*pair) for pair in zip(reached, weights[history.best_epoch - 1], strict=True))
    published = averaged.published().trainable_variables
    for variable, expected in zip(published, averages[history.best_epoch - 1], strict=True):
        np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-5)


def test_gain_below_min_delta_does_not_count(learner):
    history = fit(*learner, training(early_stopping=EarlyStopping(patience=3, min_delta=1e9)))
    assert (history.best_epoch, history.epochs) == (1, 4)


def test_state_is_copied_where_it_is_kept_and_not_after_each_epoch(learner, monkeypatch):
    copied, state = [], Engine.state
    monkeypatch.setattr(Engine, "state", property(lambda self: copied.append(1) or state.fget(self), state.fset))
    history = fit(*learner, training(early_stopping=EarlyStopping(patience=3, min_delta=1e9)))
    assert (history.epochs, len(copied)) == (4, 2)  # for its shapes, and the best epoch


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


def test_refit_whose_last_step_leaves_no_numbers_is_refused(engine, examples, tmp_path):
    """Of a loss that is one, where `fit` would see it in the validation."""
    sgd = engine(examples(X, 3 * X), optimizer=Named(name="sgd", learning_rate=3e38), batch_size=16)
    with pytest.raises(TrainingError, match=r"refit, epoch 1: a weight is no number \(-?inf\); lower training\.optim"):
        refit(sgd, [1], checkpoints=checkpoints.Checkpoints(tmp_path))


def test_each_epoch_is_said_with_its_figures(learner, caplog):
    caplog.set_level(logging.INFO, "evermodel")
    history = fit(*learner, Training(epochs=2))
    said = [record for record in caplog.records if record.name == "evermodel.train"]
    assert said[0].getMessage().startswith("train: epoch 1/2, loss ")
    assert [record.event["validation_loss"] for record in said] == history.validation_loss


class StopError(Exception):
    """What ends a training from outside."""


def stopped(learner, directory, epoch: int, **keys) -> None:
    """Train with checkpoints, and stop after an epoch was reported, before its own checkpoint."""

    class Stop(logging.Handler):
        def emit(self, record):
            if record.event["epoch"] == epoch:
                raise StopError

    handler = Stop()
    log = logging.getLogger("evermodel.train")
    log.addHandler(handler)
    try:
        with pytest.raises(StopError), checkpoints.kept(directory) as kept:
            fit(*learner, training(**keys), checkpoints=kept)
    finally:
        log.removeHandler(handler)


NADAM = Named(name="nadam", learning_rate=0.05, use_ema=True, ema_momentum=0.5)
NOISY = {"optimizer": NADAM, "hidden": (6,), "dropout": 0.3, "normalization": "batch"}


def test_stopped_training_goes_on_to_the_same_end(engine, examples, tmp_path, caplog, monkeypatch):
    caplog.set_level(logging.INFO, "evermodel")
    monkeypatch.setattr(checkpoints, "_SHARE", 0)
    given, validation = examples(X, 3 * X), examples(X, 2 * X)
    undisturbed = engine(given, **NOISY)
    expected = fit(undisturbed, validation, training(early_stopping={"patience": 4}))
    assert expected.best_epoch < expected.epochs - 1
    for epoch in (3, expected.epochs):  # when the best epoch is the latest, and when it is not
        stopped((engine(given, **NOISY), validation), tmp_path / "kept", epoch, early_stopping={"patience": 4})
        assert f"train: goes on after epoch {epoch - 1}" not in caplog.text
        resumed = engine(given, **NOISY)
        with checkpoints.kept(tmp_path / "kept") as kept:
            assert fit(resumed, validation, training(early_stopping={"patience": 4}), checkpoints=kept) == expected
        assert f"train: goes on after epoch {epoch - 1}" in caplog.text
        for one, other in zip(variables(resumed), variables(undisturbed), strict=True):
            np.testing.assert_array_equal(one, other)
        assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("fault", ["cut short", "one bit", "another network", "another device"])
def test_checkpoint_that_is_broken_or_foreign_is_set_aside(engine, examples, tmp_path, caplog, monkeypatch, fault):
    caplog.set_level(logging.INFO, "evermodel")
    monkeypatch.setattr(checkpoints, "_SHARE", 0)
    given, validation = examples(X, 3 * X), examples(X, 2 * X)
    stopped((engine(given), validation), tmp_path / "kept", 3)
    (path,) = (tmp_path / "kept").glob("*.npz")
    content = path.read_bytes()
    if fault == "cut short":
        path.write_bytes(content[: len(content) // 2])
    elif fault == "one bit":
        place = content.index(b'"identity"')
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    elif fault == "another device":
        monkeypatch.setattr(Engine, "device", "GPU:0")
    hidden = (3,) if fault == "another network" else ()
    undisturbed = fit(engine(given, hidden=hidden), validation, training())
    with checkpoints.kept(tmp_path / "kept") as kept:
        assert fit(engine(given, hidden=hidden), validation, training(), checkpoints=kept) == undisturbed
        assert path.with_suffix(".aside").exists()
    why = "is of another training" if fault.startswith("another") else "cannot be read"
    assert f"{path} {why}" in caplog.text


def test_of_two_runs_of_one_training_one_keeps_no_checkpoints(learner, tmp_path):
    with checkpoints.kept(tmp_path / "kept"), checkpoints.kept(tmp_path / "kept") as second:
        fit(*learner, Training(epochs=1), checkpoints=second)
        assert list((tmp_path / "kept").iterdir()) == []
