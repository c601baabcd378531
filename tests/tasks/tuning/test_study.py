"""R34: which trials a study asks for, also after it was killed while several of them were under way."""

from pathlib import Path

from schemas.stages import TuneRequest
from tasks.tuning.record import Outcome
from tasks.tuning.study import Asked, Study

SPACE = {"training.batch_size": {"low": 8, "high": 4096, "log": True}}


def study(folder: Path, **tuning: object) -> Study:
    known = {"ingest": {"path": "a", "digest": "0"}, "encode": {"path": "b", "digest": "0"}}
    tuning = {"trials": 4, "parallel": 3, "space": SPACE} | tuning
    return Study(TuneRequest.model_validate(known | {"tuning": tuning}), folder)


def tell(study: Study, asked: Asked, loss: float) -> None:
    study.tell(asked, Outcome(state="complete", validation_loss=loss, best_epoch=1, epochs=1))


def test_trials_that_were_under_way_come_again_under_their_own_numbers(tmp_path: Path) -> None:
    killed = study(tmp_path)
    first, second, third = (killed.ask() for _ in range(3))
    assert first and second and third
    tell(killed, second, 0.5)

    resumed = study(tmp_path)
    again = [resumed.ask() for _ in range(3)]
    assert [asked and asked.number for asked in again] == [1, 3, 4]
    assert [asked and asked.settings for asked in again[:2]] == [{}, third.settings]
    assert resumed.ask() is None
    for asked, loss in zip(again[::-1], (0.2, 0.3, 0.4), strict=True):
        assert asked
        tell(resumed, asked, loss)
    record = resumed.record()
    assert [(trial.number, trial.validation_loss) for trial in record.trials] == [
        (1, 0.4),
        (2, 0.5),
        (3, 0.3),
        (4, 0.2),
    ]
    assert record.trials[0].settings == {}
    assert record.trials[1].settings == second.settings
    assert record.best == record.chosen.number == 4
    assert study(tmp_path).record() == record


def test_where_time_ended_a_study_that_was_killed_the_best_trial_is_found_by_its_number(tmp_path: Path) -> None:
    killed = study(tmp_path, trials=None, minutes=1)
    first, _, third = (killed.ask() for _ in range(3))
    assert first and third
    tell(killed, first, 0.5)
    tell(killed, third, 0.4)
    record = study(tmp_path, trials=None, minutes=1).record()
    assert [trial.number for trial in record.trials] == [1, 3]
    assert record.chosen.settings == third.settings
