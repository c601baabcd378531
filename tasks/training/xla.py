"""Whether XLA pays for a network on a machine: measured once and remembered, so that a training repeats itself."""

import contextlib
import fcntl
import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf
from pydantic import ValidationError

from schemas.document import Record, digest
from tasks import workspaces
from tasks.training import devices, noise

if TYPE_CHECKING:
    from tasks.training.engine import Engine

log = logging.getLogger("evermodel.train")

NOT_COMPILABLE = (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError, tf.errors.NotFoundError)

_FLOP = 150 * 10**6
"""Up to how many operations a step gains by XLA where nothing can be measured."""
_CONTAINER = (Path("/.dockerenv"), Path("/run/.containerenv"))


class Timing(Record):
    """What was measured of a network's steps."""

    plain: float
    """Seconds a step takes without XLA."""
    compiled: float | None
    """Seconds it takes by XLA; None if XLA cannot compile it."""
    compiling: float
    """Seconds that XLA takes to compile it."""

    def gains(self, steps: int) -> bool:
        """Say whether so many steps end sooner by XLA."""
        return self.compiled is not None and steps * (self.plain - self.compiled) > self.compiling

    def __str__(self) -> str:
        """Return the figures for the log."""
        if self.compiled is None:
            return "it cannot compile this network"
        return (
            f"{self.plain * 1000:.3g} ms a step without, {self.compiled * 1000:.3g} ms with it, and "
            f"{self.compiling:.2g} s to compile"
        )


def pays(engine: "Engine", steps: int) -> bool:
    """Say whether to compile an engine's steps, of which there are so many.

    What was measured on this machine stays in its user's cache, or the same training would not always give the same
    bytes. Where nothing can be kept, the size of a step decides.
    """
    try:
        with _kept(folder := _folder()):
            path = folder / f"{_signature(engine)}.json"
            found = _read(path)
            timing, when = (found, "earlier") if found else (_measured(engine, path), "now")
    except OSError as error:
        log.info("train: the size of a step decides on XLA, for no measurement can be kept: %s", error)
        return engine.step_flop <= _FLOP
    gains = timing.gains(steps)
    log.info("train: %s XLA: %s (measured %s: %s)", "by" if gains else "without", timing, when, path)
    return gains


def measure(engine: "Engine") -> Timing:
    """Return how long an engine's steps take on its own batches; its state stays as it was."""
    plain, _ = engine.time_steps(compiled=False)
    try:
        compiled, compiling = engine.time_steps(compiled=True)
    except (*NOT_COMPILABLE, tf.errors.InternalError):  # on a GPU, where CUDA's own compiler is missing
        return Timing(plain=plain, compiled=None, compiling=0.0)
    return Timing(plain=plain, compiled=compiled, compiling=compiling)


def _measured(engine: "Engine", path: Path) -> Timing:
    timing = measure(engine)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".part", delete=False) as part:
        part.write(timing.to_json())
    Path(part.name).replace(path)
    return timing


def _read(path: Path) -> Timing | None:
    """Return what was measured; None if nothing was, or it cannot be read."""
    try:
        return Timing.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def _folder() -> Path:
    """Return the folder of measurements; raises OSError in a container in which it would be lost."""
    folder = workspaces.timings()
    contained = any(path.exists() for path in _CONTAINER) or "KUBERNETES_SERVICE_HOST" in os.environ
    if contained and not folder.is_dir():
        raise FileNotFoundError(f"this is a container, and nothing is mounted at {folder}")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def _kept(folder: Path) -> Iterator[None]:
    """Let no two processes measure at once, nor the same thing twice."""
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _signature(engine: "Engine") -> str:
    """Return the digest of what a step's duration depends on: not of seeds, of rates and of how many rows there are."""
    optimizer = keras.saving.serialize_keras_object(engine.optimizer)
    return digest(
        {
            "machine": devices.machine(engine.device),
            "engine": {key: value for key, value in engine.identity.items() if key != "xla"},
            "members": engine.members,
            "layers": [_outline(layer) for layer in noise.sublayers(engine.network)],
            "loss": type(engine.loss_function).__name__,
            "optimizer": [optimizer["class_name"], *sorted(key for key, value in optimizer["config"].items() if value)],
        }
    )[:32]


def _outline(layer: keras.Layer) -> list[Any]:
    activation = getattr(getattr(layer, "activation", None), "__name__", None)
    return [type(layer).__name__, activation, *(list(variable.shape) for variable in layer.variables)]
