"""R34: the tuning in the report."""

import pytest

from tasks.reports import drawing, tuning
from tasks.tuning.record import Study, Trial

KEYS = ("network.hidden", "training.optimizer.name", "training.optimizer.learning_rate")


def trial(number: int, state: str, loss: float | None = None, **known: object) -> Trial:
    settings = dict(zip(KEYS, ([16, 8], "sgd", 10.0**-number), strict=True)) if number > 1 else {}
    return Trial(number=number, state=state, validation_loss=loss, best_epoch=3, epochs=5, settings=settings, **known)


def study(*trials: Trial, best: int) -> Study:
    own = dict(zip(KEYS, ([8], "adam", None), strict=True))
    return Study(trials=trials, best=best, own=own, importances={KEYS[2]: 0.7, KEYS[0]: 0.2, KEYS[1]: 0.1})


@pytest.fixture
def whole() -> Study:
    """Four trials, of which the third is the best, one was ended early and one failed."""
    return study(
        trial(1, "complete", 0.5),
        trial(2, "pruned", 0.9),
        trial(3, "complete", 0.25),
        trial(4, "failed", reason="epoch 1, step 2: the loss is no number"),
        best=3,
    )


def test_report_says_how_trials_ended_and_what_the_best_had(whole):
    with drawing.style():
        section = tuning.section(whole)
    assert section.notes == (
        "4 trials: 2 trained to their end, 1 ended early, 1 failed. The network has the settings of trial 3, whose "
        "validation loss is 0.2500, against 0.5000 with the spec's own.",
    )
    settings, trials = section.tables
    assert settings.rows == (
        ("network.hidden", "8", "16, 8"),
        ("training.optimizer.name", "adam", "sgd"),
        ("training.optimizer.learning_rate", "–", "0.001"),
    )
    assert [row[0] for row in trials.rows] == ["3", "1"]
    assert "Trial 4 failed: epoch 1, step 2" in trials.caption


def test_figures_hold_every_trial_with_a_loss_and_the_best_so_far(whole, tmp_path):
    with drawing.style():
        plots = tuning.section(whole).plots
        for plot in plots:
            plot.write(tmp_path)
    history, importances = plots
    assert [*history.data["trial"]] == [1, 2, 3]
    assert [*history.data["best"]] == [0.5, 0.5, 0.25]
    assert importances.data["setting"][0] == "training.optimizer.learning_rate"
    assert {path.name for path in tmp_path.iterdir()} == {
        f"tuning_{name}.{ending}" for name in ("history", "importances") for ending in ("png", "csv")
    }


def test_report_says_what_metric_decided():
    known = {"metric": "roc_auc", "own": {"training.batch_size": 64}, "importances": {}}
    trials = [trial(1, "complete", 0.2, metric=0.8), trial(2, "pruned", 0.9), trial(3, "complete", 0.3, metric=0.9)]
    with drawing.style():
        section = tuning.section(Study(trials=trials, best=3, **known))
    assert "trial 3, whose roc_auc of the validation rows is 0.9000, against 0.8000 with" in section.notes[0]
    assert [*section.plots[0].data["best"]] == [0.8, 0.9]
    assert section.tables[1].header[:4] == ("trial", "roc_auc", "validation loss", "epoch")
    assert [row[:3] for row in section.tables[1].rows] == [("3", "0.9000", "0.3000"), ("1", "0.8000", "0.2000")]


def test_spec_that_was_best_is_said_to_be():
    with drawing.style():
        section = tuning.section(study(trial(1, "complete", 0.2), trial(2, "complete", 0.3), best=1))
    assert "None was better than the spec as it stands" in section.notes[0]
