"""Trains the network of a trial, on rows that are read once a process."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from pydantic import ValidationError

from schemas.contract import Contract
from schemas.errors import EvermodelError, LostDeviceError
from schemas.stages import EncodeResult, IngestResult, TrainRequest, TuneRequest
from schemas.tuning import Settings, settled
from tasks import bundle, stage, train
from tasks.encoders.table import TableEncoder
from tasks.tuning.record import Outcome

if TYPE_CHECKING:
    import keras

    from tasks.encoders.base import Floats
    from tasks.training.checkpoints import Progress
    from tasks.training.feed import Examples
    from tasks.training.loop import History

GoesOn = Callable[[int, float], bool]
"""Takes an epoch, from 1, and its validation loss; says whether the trial goes on."""

_MOST_SIGNS, _ROWS = 500, 8192
_CONTRACT, _VALIDATION = "contract.json", "rows/validation.parquet"
_ENCODED = ("encoder.json", "features/train.parquet", "features/validation.parquet")


class Trainer(Protocol):
    """What trains a trial."""

    def fit(self, settings: Settings, goes_on: GoesOn) -> Outcome:
        """Train with settings; whatever goes wrong is the trial's outcome, unless other trials would fail by it too."""

    def kill(self) -> None:
        """End what is under way in another process."""


class _EndedError(Exception):
    """Ends a trial early."""


class LocalTrainer:
    """Trains in this process."""

    def __init__(self, request: TuneRequest, *, disk: Path) -> None:
        """Read the training and validation rows, and no others; `disk` is where those are mapped that exceed memory.

        Raises as `tasks.train.run` does for what no setting can mend.
        """
        bundle.load_tensorflow()
        from tasks.training import devices, judge

        if request.tuning.parallel > 1:
            shared = devices.shared(request.training, devices.find(request.training.device), by=request.tuning.parallel)
            request = request.model_copy(update={"training": shared})
        metric = request.tuning.metric
        ingested, _ = stage.opened(IngestResult, request.ingest, files=(_CONTRACT, _VALIDATION))
        encoded, _ = stage.opened(EncodeResult, request.encode, files=_ENCODED)
        self._request = request
        self._contract = Contract.load(ingested / _CONTRACT)
        self._encoder = TableEncoder.load(encoded / "encoder.json")
        self._truth = self._contract, self._encoder, ingested / _VALIDATION
        self._judge = judge.Judge(*self._truth, deciding=metric, key="tuning.metric") if metric else None
        judge.of_epochs(request.training, *self._truth, shown=False)  # refuses the spec as it stands
        self._examples = train.examples(encoded, self._encoder, self._contract, self._asked({}), disk=disk)

    def fit(self, settings: Settings, goes_on: GoesOn) -> Outcome:
        """Train with settings; whatever goes wrong is the trial's outcome, unless the device fails.

        Raises LostDeviceError then.
        """
        from tasks.training import judge

        losses: list[float] = []

        def after_epoch(progress: "Progress", _epochs: int, _seconds: float) -> None:
            losses[:] = progress.validation_losses
            if not goes_on(progress.epoch, losses[-1]):
                raise _EndedError

        try:
            asked = self._asked(settings)
            known = self._encoder, self._contract, *self._examples
            decides = judge.of_epochs(asked.training, *self._truth, shown=False)
            network, history = train.fit(asked, *known, judge=decides, after_epoch=after_epoch)
            learned = {"network": network, "history": history, "losses": losses}
            return train.on_device(self._judged, "the device", **learned)
        except _EndedError:
            return _outcome("pruned", losses)
        except LostDeviceError:
            raise
        except EvermodelError as error:
            return _outcome("failed", losses, reason=str(error))
        except ValidationError as error:
            return _outcome("failed", losses, reason=error.errors()[0]["msg"])
        except Exception as error:  # whatever a library makes of the settings: the other trials go on
            return _outcome("failed", losses, reason=f"{type(error).__name__}: {error}")

    def _judged(self, network: "keras.Model", history: "History", losses: list[float]) -> Outcome:
        if self._judge is None:
            return _outcome("complete", losses, best_epoch=history.best_epoch)
        ((name, value),) = self._judge.figures(_outputs(network, self._examples[1])).items()
        if not math.isfinite(value):
            return _outcome("failed", losses, reason=f"tuning.metric: {name} has no value")
        return _outcome("complete", losses, metric=value, best_epoch=history.best_epoch)

    def kill(self) -> None:
        """Do nothing: what is under way here ends by what is raised here."""

    def _asked(self, settings: Settings) -> TrainRequest:
        network, training = settled(self._request.network, self._request.training, settings)
        return TrainRequest(
            ingest=self._request.ingest, encode=self._request.encode, network=network, training=training
        )


def _outputs(network: "keras.Model", examples: "Examples") -> "Floats":
    """Return what a network says of encoded rows, shape (n, units)."""
    pieces = []
    for start in range(0, len(examples), _ROWS):
        inputs = {name: values[start : start + _ROWS] for name, values in examples.inputs.items()}
        pieces.append(np.asarray(network(inputs, training=False)))
    return np.concatenate(pieces)


def _outcome(
    state: Any, losses: list[float], *, metric: float | None = None, best_epoch: int = 0, reason: str = ""
) -> Outcome:
    if not best_epoch and losses:
        best_epoch = losses.index(min(losses)) + 1
    reason = " ".join(reason.split())[:_MOST_SIGNS]
    return Outcome(
        state=state,
        validation_loss=losses[best_epoch - 1] if best_epoch else None,
        metric=metric,
        best_epoch=best_epoch,
        epochs=len(losses),
        reason=reason,
    )
