"""Checkpoints: what a killed training goes on from, to the same end as if nothing had happened."""

import contextlib
import json
import logging
import math
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tasks import scratch
from tasks.encoders.base import Array

log = logging.getLogger("evermodel.train")

_SHARE = 50
"""A checkpoint is followed by this many times its own duration without one: it costs less than 2 %."""

_UNREADABLE = (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile)

_SAID = ("member_losses", "member_validation_losses", "member_metrics", "best_costs", "best_epochs")
"""What of the progress is no array."""


@dataclass
class Progress:
    """How far training has come: the losses of each epoch, the variables now and those after the best epoch."""

    member_losses: list[list[float]] = field(default_factory=list)
    """Of each epoch, one for each network that is trained; so are the validation losses."""
    member_validation_losses: list[list[float]] = field(default_factory=list)
    member_metrics: list[dict[str, list[float]]] = field(default_factory=list)
    """Of each epoch, by name, one figure for each network; NaN where it has no value."""
    best_costs: Sequence[float] = (math.inf,)
    """Of each network what is lower for a better epoch, in its best one; and so the best epochs."""
    best_epochs: Sequence[int] = (0,)
    now: Sequence[Array] = ()
    best: Sequence[Array] = ()

    @property
    def epoch(self) -> int:
        """How many epochs are done."""
        return len(self.member_losses)

    @property
    def losses(self) -> list[float]:
        """The training loss of each epoch; the mean of several networks."""
        return [float(np.mean(each)) for each in self.member_losses]

    @property
    def validation_losses(self) -> list[float]:
        """The validation loss of each epoch; the mean of several networks."""
        return [float(np.mean(each)) for each in self.member_validation_losses]

    @property
    def metrics(self) -> list[dict[str, float]]:
        """The metrics of each epoch, by name; means of several networks."""
        return [{name: float(np.mean(values)) for name, values in each.items()} for each in self.member_metrics]


class Checkpoints:
    """The checkpoints of one training, each in the place of the one before."""

    def __init__(self, directory: Path | None, *, name: str = "batch") -> None:
        """Keep checkpoints in a directory, or none; their files' names begin with `name`."""
        self._directory, self._name, self._due = directory, name, 0.0

    def of(self, name: str) -> "Checkpoints":
        """Return the checkpoints of another training in the same directory."""
        return Checkpoints(self._directory, name=name)

    def xla(self, batch_size: int) -> bool | None:
        """Return whether the steps of the training that is to go on were compiled; None if there is none."""
        path = self._path({"batch_size": batch_size})
        if path is None or not path.exists():
            return None
        try:
            with path.open("rb") as handle, np.load(handle, allow_pickle=False) as arrays:
                return bool(json.loads(arrays["arr_0"].tobytes())["identity"]["xla"])
        except _UNREADABLE:
            return None

    def load(self, identity: Mapping[str, Any], like: Sequence[Array]) -> Progress:
        """Return the progress that was saved, or that of a beginning.

        A checkpoint that cannot be read, is of another identity, or has variables of other shapes than `like`, is set
        aside.
        """
        path = self._path(identity)
        if path is None or not path.exists():
            return Progress()
        try:
            with path.open("rb") as handle, np.load(handle, allow_pickle=False) as arrays:
                values = [arrays[f"arr_{index}"] for index in range(len(arrays.files))]
            said, now, best = json.loads(values[0].tobytes()), values[1 : len(like) + 1], values[-len(like) :]
            same, known = said["identity"] == identity, {name: said[name] for name in _SAID}
        except _UNREADABLE as error:
            return _set_aside(path, f"cannot be read ({error})")
        if not same or not _alike(now, like) or not _alike(best, like):
            return _set_aside(path, "is of another training")
        log.info("train: goes on after epoch %d, where an earlier run was stopped", len(said["member_losses"]))
        return Progress(**known, now=now, best=best)

    @property
    def due(self) -> bool:
        """Whether a checkpoint is to be saved: there is a place for it, and the last one is old enough."""
        return self._directory is not None and time.monotonic() >= self._due

    def save(self, identity: Mapping[str, Any], progress: Progress) -> None:
        """Save the progress, if there is a place for it."""
        path, started = self._path(identity), time.monotonic()
        if path is None:
            return
        said = {"identity": identity, **{name: getattr(progress, name) for name in _SAID}}
        best = progress.best if min(progress.best_epochs) < progress.epoch else ()  # else it is what is now
        part = path.with_suffix(".part")
        try:
            with part.open("wb") as handle:
                np.savez(handle, np.frombuffer(json.dumps(said).encode(), np.uint8), *progress.now, *best)
            part.replace(path)
        except OSError as error:
            log.warning("train: no checkpoint of epoch %d: %s", progress.epoch, error)
        self._due = time.monotonic() + _SHARE * (time.monotonic() - started)

    def _path(self, identity: Mapping[str, Any]) -> Path | None:
        return self._directory and self._directory / f"{self._name}-{identity['batch_size']}.npz"


def _alike(values: Sequence[Array], others: Sequence[Array]) -> bool:
    return [(value.shape, value.dtype) for value in values] == [(other.shape, other.dtype) for other in others]


def _set_aside(path: Path, why: str) -> Progress:
    aside = path.with_suffix(".aside")
    path.replace(aside)
    log.warning("train: the checkpoint %s %s; it is set aside as %s, and training begins anew", path, why, aside.name)
    return Progress()


@contextlib.contextmanager
def kept(directory: Path) -> Iterator[Checkpoints]:
    """Keep checkpoints in a directory until the body ends, by success or by training's own failure.

    What is stopped leaves them behind. Of two runs that train the same, one keeps none.
    """
    with scratch.kept(directory) as folder:
        if folder is None:
            log.info("train: another run trains the same; this one keeps no checkpoints")
        yield Checkpoints(folder)
