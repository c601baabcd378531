"""Several networks of one architecture, trained at once: their variables lie on top of each other in one graph.

All see the same rows in the same order, so that a batch is read once for all; they differ by their first weights and
their dropout, which is what makes an ensemble's members disagree (Fort, Hu and Lakshminarayanan, 2019).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from schemas.errors import SpecError
from tasks.encoders.base import Array
from tasks.networks import ensemble
from tasks.training import devices, lazy, noise
from tasks.training.engine import Engine, weighted


class Members(Engine):
    """Trains networks as `Engine` trains one: member i, from 0, has the noise of the seed plus i.

    Losses come as one for each member, shape (members,).
    """

    def __init__(
        self,
        networks: Sequence[keras.Model],
        loss: keras.losses.Loss,
        optimizer: keras.optimizers.Optimizer,
        *arguments: Any,
        **keys: Any,
    ) -> None:
        """Take float32 networks of one architecture; the rest is as for `Engine`.

        An optimiser's norms, which it would take over all members together, are taken from it and heeded for each. Its
        loss_scale_factor is taken, too: it is undone before norms are, and numbers with the range of float32 need none.
        Raises SpecError for what works on whole variables, where members would hang together.
        """
        self._networks = networks
        self._stacked = [_stacked(network.trainable_variables for network in networks)]
        self._stacked += [_stacked(network.non_trainable_variables for network in networks)]
        self._clipped = _clipping(optimizer)
        optimizer.loss_scale_factor = None
        super().__init__(networks[0], loss, optimizer, *arguments, **keys)
        if any(variable.constraint for variable in self.network.trainable_variables):
            raise SpecError("training.members: weights with a constraint are trained alone; set members to 1")
        if self.policy == "mixed_float16":
            raise SpecError("training.members: there is one loss scale for all; set training.precision to float32")

    @property
    def members(self) -> int:
        """How many networks are trained."""
        return len(self._networks)

    @property
    def _trainable(self) -> list[keras.Variable]:
        return self._stacked[0]

    @property
    def _variables(self) -> list[keras.Variable]:
        return [*self._stacked[0], *self._stacked[1], *self.optimizer.variables]

    @property
    def _no_loss(self) -> Any:
        return np.zeros(self.members)

    def _lazy_tables(self, wanted: bool | Literal["auto"]) -> lazy.Tables:
        return []

    def _number(self, total: Any) -> Any:
        return np.array(total, np.float64)

    def _draw_noise(self, epoch: int) -> None:
        places = {id(variable): place for place, variable in enumerate(self.network.non_trainable_variables)}
        for index, generator in enumerate(noise.seed_generators(self.network)):
            states = [noise.state(self._seed + member, epoch, index) for member in range(self.members)]
            self._stacked[1][places[id(generator.state)]].assign(np.stack(states))

    def _update(self, data: Any, rows: tf.Tensor, count: tf.Tensor, _: tf.Tensor | None) -> tf.Tensor:
        inputs, target, weight = tf.nest.map_structure(lambda values: tf.gather(values, rows), data)
        size = tf.cast(count, tf.float32)

        # Each member's gradients are taken within: as a function of its own, backward would get shapes from forward,
        # which XLA wants as constants, and with them the weights: it would compile anew in each call.
        def step(variables: Any) -> tuple[tf.Tensor, list[tf.Tensor], Any]:
            with tf.GradientTape() as tape:
                tape.watch(variables[0])
                outputs, others, penalties = self._called(variables, inputs, training=True)
                loss = tf.reduce_sum(weighted(self.loss_function, target, outputs, weight)) / size
                loss += tf.add_n(penalties) if penalties else 0.0
            gradients = tape.gradient(loss, variables[0], unconnected_gradients=tf.UnconnectedGradients.ZERO)
            return loss, [tf.convert_to_tensor(gradient) for gradient in gradients], others

        losses, gradients, others = self._of_each(step)
        self.optimizer.apply(self._clipped(gradients))
        for variable, value in zip(self._stacked[1], others, strict=True):
            variable.assign(value)
        return losses * size

    def _of_each(self, function: Callable[[Any], Any]) -> Any:
        """Return what a function of a member's variables gives, for all members at once."""
        return tf.vectorized_map(function, [[variable.value for variable in part] for part in self._stacked])

    def _called(self, variables: Any, inputs: Any, *, training: bool) -> Any:
        """Return a member's outputs, its variables that are not trained, and its penalties."""
        with devices.computing_in(self.policy, self.network), noise.hashed(self.network):
            return self.network.stateless_call(*variables, inputs, training=training, return_losses=True)

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def _judged(self, inputs: Mapping[str, Any], target: Any, weight: Any) -> Any:
        def judged(variables: Any) -> tuple[tf.Tensor, tf.Tensor]:
            outputs, *_ = self._called(variables, inputs, training=False)
            return tf.reduce_sum(weighted(self.loss_function, target, outputs, weight)), outputs

        return self._of_each(judged)

    def ensemble_loss(self, examples: Any) -> float:
        """Return the weighted mean loss of the mean of the members' outputs."""
        return float(self._mean(self._ensemble_loss_sum, examples))

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def _ensemble_loss_sum(self, inputs: Mapping[str, Any], target: Any, weight: Any) -> tf.Tensor:
        outputs = self._of_each(lambda variables: self._called(variables, inputs, training=False)[0])
        return tf.reduce_sum(weighted(self.loss_function, target, tf.reduce_mean(outputs, axis=0), weight))

    def best(self, better: Array, now: Sequence[Array], before: Sequence[Array]) -> Sequence[Array]:
        """Return the best state of each member; of what the optimiser has for all together, what is now."""

        def of_each(values: Array, others: Array) -> Array:
            return np.where(better.reshape(-1, *[1] * (values.ndim - 1)), values, others) if values.ndim else values

        return [of_each(*pair) for pair in zip(now, before, strict=True)] if before else now

    def published(self) -> keras.Model:
        """Return one network whose output is the mean of the members' outputs."""
        self.optimizer.finalize_variable_values(self._trainable)
        for index, network in enumerate(self._networks):
            for part, variables in zip(
                self._stacked, (network.trainable_variables, network.non_trainable_variables), strict=True
            ):
                for variable, values in zip(variables, part, strict=True):
                    variable.assign(values[index])
        return ensemble.mean(self._networks)


def _stacked(members: Any) -> list[keras.Variable]:
    """Return one variable, shape (members, ...), for each of the members' own."""
    return [
        keras.Variable(
            np.stack([variable.numpy() for variable in same]),
            dtype=same[0].dtype,
            trainable=same[0].trainable,
            name=same[0].name,
        )
        for same in zip(*members, strict=True)
    ]


def _clipping(optimizer: keras.optimizers.Optimizer) -> Callable[[list[tf.Tensor]], list[tf.Tensor]]:
    """Return what clips gradients, shape (members, ...), by the norms of each member, and free the optimiser of it."""
    each, overall = optimizer.clipnorm, optimizer.global_clipnorm
    optimizer.clipnorm = optimizer.global_clipnorm = None
    if each:
        return lambda gradients: [
            tf.clip_by_norm(gradient, each, axes=range(1, gradient.shape.rank)) for gradient in gradients
        ]
    return (lambda gradients: _within(gradients, overall)) if overall else (lambda gradients: gradients)


def _within(gradients: Sequence[tf.Tensor], most: float) -> list[tf.Tensor]:
    """Return each member's gradients scaled so that the norm of all of them is `most` or less."""
    squares = [tf.reduce_sum(gradient**2, axis=range(1, gradient.shape.rank)) for gradient in gradients]
    factors = most / tf.maximum(tf.sqrt(tf.add_n(squares)), most)
    return [gradient * tf.reshape(factors, [-1, *[1] * (gradient.shape.rank - 1)]) for gradient in gradients]
