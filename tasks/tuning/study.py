"""The study: which settings are tried next, which trials end early, and what a later run goes on from.

Optuna always minimises: a metric that is better higher is told to it with the other sign. Trials end early by their
validation losses, whatever they are compared by at their end: pruners look at nothing else but the epochs' values.

Trials live in memory. Those that are finished are written to Optuna's journal, each as one line, so that a process that
is killed leaves nothing half there. What is chosen depends on (seed, number of the trial) and on the trials before it:
a study that goes on from its journal chooses as one that was not disturbed.
"""

import itertools
import logging
import threading
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from schemas.errors import TrainingError
from schemas.stages import TuneRequest
from schemas.tuning import Settings, value_of
from tasks import metrics
from tasks.tuning import record
from tasks.tuning.record import Outcome

if TYPE_CHECKING:
    import optuna

log = logging.getLogger("evermodel.tune")

_NAME = "tune"  # hyperband shares out trials by it
_JOURNAL = "study.log"
_OUTCOME, _SETTINGS, _NUMBER = "outcome", "settings", "number"
_WARM_UP_EPOCHS = 5
"""Nothing is ended before: the first epochs say more of the learning rate than of the network."""


@dataclass(frozen=True)
class Asked:
    """A trial that is to be trained."""

    number: int
    """From 1. Optuna's own numbers are those of the order in a journal: trials side by side end in any order."""
    settings: Settings
    trial: "optuna.Trial"


class Study:
    """The trials of one tuning. Several threads may ask it at once."""

    def __init__(self, request: TuneRequest, folder: Path | None) -> None:
        """Begin, or go on from the journal in a folder that nobody else holds; without a folder keep no journal."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._request, self._tuning, self._space = request, request.tuning, request.space
        metric = self._tuning.metric
        self._criterion = metrics.name_of(metric) if metric else "validation loss"
        self._sign = 1 if metric is None or metrics.lower_is_better(metric.name) else -1
        self._lock, self._stopped = threading.Lock(), False
        self._study = optuna.create_study(study_name=_NAME, pruner=self._pruner())
        self._journal = None if folder is None else _journal(folder, self._study)
        spent = sum((trial.duration.total_seconds() for trial in self._finished if trial.duration), 0.0)
        left = np.inf if self._tuning.minutes is None else 60 * self._tuning.minutes - spent / self._tuning.parallel
        self._ends = time.monotonic() + left
        if done := len(self._finished):
            log.info("tune: goes on after trial %d, where an earlier run was stopped", done)

    @property
    def _finished(self) -> list["optuna.trial.FrozenTrial"]:
        return [trial for trial in self._study.get_trials(deepcopy=False) if trial.state.is_finished()]

    @property
    def _completed(self) -> list["optuna.trial.FrozenTrial"]:
        return [trial for trial in self._finished if trial.state.name == "COMPLETE"]

    def ask(self) -> Asked | None:
        """Return the next trial; None when the budget is spent. The first is the spec as it stands."""
        with self._lock:
            taken, most = {_number(trial) for trial in self._study.get_trials(deepcopy=False)}, self._tuning.trials
            number = next(each for each in itertools.count(1) if each not in taken)  # one that was stopped comes again
            over = number > 1 and time.monotonic() >= self._ends
            if self._stopped or over or (most is not None and len(taken) >= most):
                return None
            self._study.sampler = self._sampler(number - 1)
            trial = self._study.ask()
            trial.set_user_attr(_NUMBER, number)
            settings = {key: each.draw(trial, key) for key, each in self._space.items()} if number > 1 else {}
            return Asked(number=number, settings=settings, trial=trial)

    def goes_on(self, asked: Asked, epoch: int, validation_loss: float) -> bool:
        """Say whether a trial goes on after an epoch: it does not when it is worse than others, or time is over."""
        with self._lock:
            asked.trial.report(validation_loss, epoch)
            over = time.monotonic() >= self._ends and bool(self._completed)
            return not (self._stopped or over or (asked.number > 1 and asked.trial.should_prune()))

    def tell(self, asked: Asked, outcome: Outcome) -> None:
        """Take down what became of a trial."""
        from optuna.trial import TrialState

        states = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
        with self._lock:
            if self._stopped:
                return
            asked.trial.set_user_attr(_OUTCOME, outcome.model_dump(mode="json"))
            asked.trial.set_user_attr(_SETTINGS, asked.settings)
            value = self._cost(outcome) if outcome.state == "complete" else None
            told = self._study.tell(asked.trial, value, state=states[outcome.state])
            if self._journal is not None:
                self._journal.add_trial(told)
            self._say(asked, outcome)

    def _cost(self, outcome: Outcome) -> float:
        """Return what is minimised."""
        return self._sign * float((outcome.metric if self._tuning.metric else outcome.validation_loss) or 0.0)

    def stop(self) -> None:
        """Take nothing down any more: trials that are under way end, and are trained anew by a later run."""
        self._stopped = True

    def _say(self, asked: Asked, outcome: Outcome) -> None:
        measured = self._sign * self._cost(outcome)
        said = {
            "complete": f"{self._criterion} {measured:.4g} at epoch {outcome.best_epoch}",
            "pruned": f"ended early after epoch {outcome.epochs}",
            "failed": f"failed: {outcome.reason}",
        }[outcome.state]
        best = min(self._completed, key=lambda trial: (trial.value, _number(trial)), default=None)
        if best is not None:
            said += f"; best {self._sign * (best.value or 0.0):.4g}, trial {_number(best)}"
        most, done = self._tuning.trials, len(self._finished)
        event = {"stage": "tune", "trial": asked.number, "trials": most, "share": self._share(done)}
        event |= {"state": outcome.state, "validation_loss": outcome.validation_loss, "metric": outcome.metric}
        log.info("tune: trial %d%s, %s", asked.number, f"/{most}" if most else "", said, extra={"event": event})

    def _share(self, done: int) -> float:
        """Return what share of the budget is spent, from 0 to 1."""
        by_count = done / self._tuning.trials if self._tuning.trials else 0.0
        left = self._ends - time.monotonic()
        by_time = 1 - left / (60 * self._tuning.minutes) if self._tuning.minutes else 0.0
        return round(min(1.0, max(by_count, by_time)), 3)

    def _sampler(self, number: int) -> "optuna.samplers.BaseSampler":
        from optuna import samplers

        seed = int(np.random.SeedSequence([self._tuning.seed, number]).generate_state(1)[0])
        kinds: dict[str, Any] = {"tpe": samplers.TPESampler, "random": samplers.RandomSampler}
        return kinds[self._tuning.sampler](seed=seed)

    def _pruner(self) -> "optuna.pruners.BasePruner":
        from optuna import pruners

        if self._tuning.pruner is None:
            return pruners.NopPruner()
        if self._tuning.pruner == "median":
            return pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=_WARM_UP_EPOCHS)
        epochs = self._space.get("training.epochs")
        most = max(epochs.probes) if epochs else self._request.training.epochs
        return pruners.HyperbandPruner(min_resource=min(_WARM_UP_EPOCHS, most), max_resource=most)

    def record(self) -> record.Study:
        """Return the record of all trials; raises TrainingError when none came to its end."""
        trials = tuple(sorted((_record(trial) for trial in self._finished), key=lambda trial: trial.number))
        ended = [trial for trial in trials if trial.state == "complete"]
        if not ended:
            reason = next((trial.reason for trial in trials if trial.reason), "all were ended early")
            raise TrainingError(f"no trial came to its end: {reason}")
        best = min(ended, key=lambda trial: (self._cost(trial), trial.number))
        known = {key: value_of(self._request.network, self._request.training, key) for key in self._space}
        return record.Study(
            trials=trials,
            metric=self._criterion if self._tuning.metric else None,
            best=best.number,
            own=known,
            importances=self._importances(),
        )

    def _importances(self) -> dict[str, float]:
        """Return the share of each key, those of its parts added up (`optuna.importance`, by PED-ANOVA)."""
        import optuna
        from optuna.importance import get_param_importances

        trials = [trial for trial in self._completed if trial.params]
        if len({trial.value for trial in trials}) < _FEWEST_FOR_IMPORTANCE:
            return {}
        study = optuna.create_study()
        study.add_trials(trials)
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # units of a layer that one trial alone has say little: their share is small
            found = get_param_importances(study)
        shares = dict.fromkeys(self._space, 0.0)
        for name, share in found.items():
            shares[next(key for key in self._space if name == key or name.startswith(f"{key}."))] += share
        return dict(sorted(shares.items(), key=lambda item: -item[1]))


_FEWEST_FOR_IMPORTANCE = 8


def _number(trial: "optuna.trial.FrozenTrial") -> int:
    """Return the number under which a trial was asked for."""
    return int(trial.user_attrs.get(_NUMBER, trial.number + 1))  # older journals do not have it


def _record(trial: "optuna.trial.FrozenTrial") -> record.Trial:
    said = trial.user_attrs
    return record.Trial(number=_number(trial), settings=said[_SETTINGS], **said[_OUTCOME])


def _journal(folder: Path, study: "optuna.Study") -> "optuna.Study":
    """Return the study in a folder's journal, and add its trials to a study in memory.

    The journal is written anew: a line that was cut off is left out. One that cannot be read is set aside.
    """
    path, fresh = folder / _JOURNAL, folder / f"{_JOURNAL}.part"
    for remains in (fresh, *folder.glob("*.lock*")):  # of a killed process: nobody else is here
        remains.unlink(missing_ok=True)
    trials = _read(path) if path.exists() else []
    _opened(fresh).add_trials(trials)
    fresh.replace(path)
    study.add_trials(trials)
    return _opened(path)


def _read(path: Path) -> list["optuna.trial.FrozenTrial"]:
    try:
        return _opened(path).get_trials(deepcopy=False)
    except (OSError, ValueError, KeyError, AssertionError) as error:
        aside = path.with_suffix(".aside")
        path.replace(aside)
        log.warning("tune: the journal %s cannot be read (%s); it is set aside as %s", path, error, aside.name)
        return []


def _opened(path: Path) -> "optuna.Study":
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    backend = JournalFileBackend(str(path), lock_obj=JournalFileOpenLock(str(path)))
    storage = optuna.storages.JournalStorage(backend)
    return optuna.create_study(storage=storage, study_name=_NAME, load_if_exists=True)
