"""Training by Keras's own `fit`, for networks of the user's own that the engine's graph cannot train as they mean."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from schemas.errors import EvermodelError, SpecError, TrainingError
from schemas.training import Gpus, Training
from tasks.networks import seeds
from tasks.training import devices, lazy, noise
from tasks.training.engine import Engine, no_number
from tasks.training.feed import Examples

_STEPS = ("train_step", "compute_loss")


def reason(network: keras.Model) -> str | None:
    """Say why a network is to be trained by `fit`; None for one that may be trained otherwise."""
    for model in (network, *(layer for layer in noise.sublayers(network) if isinstance(layer, keras.Model))):
        own = [name for name in _STEPS if getattr(type(model), name) is not getattr(keras.Model, name)]
        if own:
            aside = "" if model is network else ", but Keras calls that of the whole network"
            return f"{type(model).__name__} has its own {' and '.join(own)}{aside}"
        if model.run_eagerly:
            return f"{'the network' if model is network else model.name} runs eagerly"
    return None


def refuse_misfit(why: str, training: Training) -> None:
    """Refuse what `fit` cannot do as the engine does it; raises SpecError."""
    gpus = training.device.gpus if isinstance(training.device, Gpus) else 1
    asked = {
        "members": training.members > 1 and "1",
        "device": gpus > 1 and "gpu",
        "precision": training.precision not in ("auto", "float32") and "float32",
        "lazy_embeddings": training.lazy_embeddings is True and "auto",
    }
    if wanted := [f"training.{key} to {value}" for key, value in asked.items() if value]:
        raise SpecError(f"network.builder: Keras's fit has to train this network ({why}): set {', '.join(wanted)}")


class KerasFit(Engine):
    """Trains as `Engine` does, epoch by epoch, but every step is the network's own `train_step`, called by `fit`.

    Each epoch is traced anew, after all seeds were set from (seed, epoch): so it can be repeated whatever its noise is
    made of. What a network keeps beside its variables and the optimiser's is lost when training is stopped.
    """

    def __init__(
        self,
        network: keras.Model,
        loss: keras.losses.Loss,
        optimizer: keras.optimizers.Optimizer,
        examples: Examples,
        *,
        eagerly: bool,
        **keys: Any,
    ) -> None:
        """Take what `Engine` takes; `eagerly` lets Python take each step. Raises SpecError for what `fit` cannot do."""
        super().__init__(network, loss, optimizer, examples, **keys)
        if examples.weight.ndim > 1:
            raise SpecError(
                "training.class_weight and output_weight weigh each output by itself, and Keras's fit, which has to "
                "train this network, takes one weight a row: take them out"
            )
        if own := [name for name, value in vars(network).items() if isinstance(value, keras.optimizers.Optimizer)]:
            raise SpecError(f"network.builder: the optimizer of its own, {own[0]}, would not be kept: take it out")
        self._eagerly = eagerly
        network.compile(optimizer, loss, run_eagerly=eagerly, jit_compile=bool(self.xla and not eagerly))

    @property
    def identity(self) -> dict[str, Any]:
        """What the outcome depends on beside the spec and the data, as JSON-able values."""
        return {**super().identity, "trained_by": "fit"}

    def _lazy_tables(self, wanted: bool | Literal["auto"]) -> lazy.Tables:
        return []

    def _gains_by_xla(self, epochs: int) -> bool:
        return False

    def train(self, epoch: int) -> float:
        """Train one epoch, numbered from 1; return its mean loss as the network says it.

        Raises TrainingError at the first step whose loss is no number, and for what fails in the network's own code.
        """
        losses, number = _Losses(epoch), int(np.random.SeedSequence([self._seed, epoch]).generate_state(1)[0])
        keras.utils.set_random_seed(number)
        self._draw_noise(epoch)
        with seeds.drawn_from(number):
            self.network.make_train_function(force=True)
            self._fit(epoch, losses)
        return losses.mean(self._sizes, self.network.get_metrics_result())

    def _fit(self, epoch: int, losses: "_Losses") -> None:
        try:
            self.network.fit(
                self._batches(epoch),
                steps_per_epoch=len(self._sizes),
                initial_epoch=epoch - 1,
                epochs=epoch,
                callbacks=[losses, *([_Weights()] if self._averages else [])],
                shuffle=False,
                verbose=0,
            )
        except (EvermodelError, tf.errors.ResourceExhaustedError):
            raise
        except Exception as error:  # whatever the user's code does
            if devices.lost(error):
                raise
            said = str(error).strip().partition("\n")[0]
            raise TrainingError(f"epoch {epoch}: the network fails: {type(error).__name__}: {said}") from error

    @property
    def _sizes(self) -> list[int]:
        """How many rows each batch of an epoch has."""
        whole, rest = divmod(self._rows, self.batch_size)
        return [self.batch_size] * whole + [rest] * bool(rest)

    def _batches(self, epoch: int) -> Iterator[Any]:
        for pool in self._feed.pools(epoch):
            for start in range(0, pool.rows, self.batch_size):
                rows = pool.order[start : min(start + self.batch_size, pool.rows)]
                yield tf.nest.map_structure(lambda values, rows=rows: tf.gather(values, rows), pool.data)

    def _outputs(self, inputs: Any, *, training: bool) -> tf.Tensor:
        return self.network(inputs, training=training)

    def _judged(self, inputs: Mapping[str, Any], target: Any, weight: Any) -> Any:
        if not self._eagerly:
            return super()._judged(inputs, target, weight)
        given = tf.nest.map_structure(tf.convert_to_tensor, (dict(inputs), target, weight))
        return Engine._judged.python_function(self, *given)


class _Losses(keras.callbacks.Callback):  # type: ignore[misc]  # Keras carries no types
    """The losses that the steps of an epoch say."""

    def __init__(self, epoch: int) -> None:
        super().__init__()
        self._epoch, self._losses = epoch, list[float]()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Note the loss of a step; raises TrainingError for one that is no number, and where there is none."""
        if "loss" not in (logs or {}):
            raise TrainingError(f"train_step returns {sorted(logs or {})}; it has to return the loss by the name loss")
        self._losses.append(float(np.mean((logs or {})["loss"])))
        if not np.isfinite(self._losses[-1]):
            raise no_number(f"epoch {self._epoch}, step {batch + 1}", self._losses[-1])

    def mean(self, sizes: Any, metrics: Mapping[str, Any]) -> float:
        """Return the epoch's mean: what was said last if it is that of Keras's metric, else that of the batches."""
        last = self._losses[-1]
        return last if float(metrics.get("loss", np.nan)) == last else float(np.average(self._losses, weights=sizes))


class _Weights(keras.callbacks.Callback):  # type: ignore[misc]  # Keras carries no types
    """Lets the next epoch go on from the weights, where `fit` leaves their averages behind."""

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Note the weights."""
        self._weights = [variable.numpy() for variable in self.model.trainable_variables]

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Put them back."""
        for variable, value in zip(self.model.trainable_variables, self._weights, strict=True):
            variable.assign(value)
