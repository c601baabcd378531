"""The engine: epochs inside the graph, on rows that are on the device."""

import contextlib
import functools
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from schemas.errors import SpecError, TrainingError
from tasks.encoders.base import Array, Floats
from tasks.training import devices, lazy, noise
from tasks.training import xla as by_xla
from tasks.training.feed import Examples, Feed, Pool, let_go, placed

log = logging.getLogger("evermodel.train")

_EVALUATION_ROWS = 8192
_CALL_FLOP = 2 * 10**11
"""About how much one graph call computes: seconds, after which the process hears that it shall stop."""
_GPU_STEPS = 100
"""How many steps a GPU takes in seconds, however large they are."""
_XLA_STEPS = 10_000
"""Fewer hardly gain by XLA, which saves 0.05 to 0.4 ms a step and takes 0.4 s or more to compile, beside measuring."""
_TIMED_FLOP = 10**10
_TIMED_CALLS = 3


class Engine:
    """Trains a network epoch by epoch, and computes its loss on other examples.

    The order of rows and the noise of dropout come from (seed, epoch) alone, so that an epoch can be repeated.
    Where the optimiser averages the weights (`use_ema`), losses on other examples and what is published are those of
    the averages; training goes on from the weights themselves.
    """

    def __init__(
        self,
        network: keras.Model,
        loss: keras.losses.Loss,
        optimizer: keras.optimizers.Optimizer,
        examples: Examples,
        *,
        batch_size: int,
        seed: int,
        policy: str = "float32",
        xla: bool | Literal["auto"] = False,
        lazy_embeddings: bool | Literal["auto"] = "auto",
        epochs: int = 1,
        budget_bytes: int = 1 << 40,
    ) -> None:
        """Take a float32 network, built in the scope of the devices to train on; `policy` is the Keras dtype policy.

        Where they are auto, a measurement decides on XLA, for at most so many epochs, and sizes on lazy embeddings.
        Examples above the budget stay where they are, and go to the device piece by piece.
        """
        self._averages = optimizer.use_ema
        if policy == "mixed_float16":
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        self.network, self.optimizer, self.batch_size, self.policy = network, optimizer, batch_size, policy
        self.loss_function, self._seed, self._rows = loss, seed, len(examples)
        optimizer.build(self._trainable)
        self._strategy, self._replicas = tf.distribute.get_strategy(), tf.distribute.get_strategy().num_replicas_in_sync
        place = functools.partial(placed, self._strategy, network.variables[0].value.device)
        how: dict[str, Any] = {"batch_size": batch_size, "seed": seed, "epochs": epochs}
        self._feed = Feed(examples, budget_bytes=budget_bytes, place=place, **how)
        self._held: tuple[Examples, Sequence[Any]] | None = None
        self._tables = self._lazy_tables(lazy_embeddings)
        multiplied = network.count_params() - sum(table.count_params() for table in self._tables)
        self.step_flop = 6 * batch_size * max(1, multiplied)
        least = 1 if self.device.startswith("CPU") else _GPU_STEPS
        self._steps_a_call = max(least, _CALL_FLOP // (self.step_flop * self.members))
        self._fall_back, self.xla = xla == "auto", xla is True
        if xla == "auto":
            self.xla = self._gains_by_xla(epochs)

    @property
    def members(self) -> int:
        """How many networks are trained."""
        return 1

    @property
    def device(self) -> str:
        """Where the network is: CPU:0, GPU:0, or on how many devices."""
        name = self.network.variables[0].value.device.rpartition("device:")[2]
        return name if self._replicas == 1 else f"{self._replicas} devices"

    @property
    def identity(self) -> dict[str, Any]:
        """What the outcome depends on beside the spec and the data, as JSON-able values."""
        versions = {"keras": keras.__version__, "tensorflow": tf.__version__}
        how = {"batch_size": self.batch_size, "device": self.device, "precision": self.policy, "xla": self.xla}
        return {**how, **versions}

    @property
    def state(self) -> list[Array]:
        """Copies of all variables of the network and the optimiser."""
        return [variable.numpy().copy() for variable in self._variables]

    @state.setter
    def state(self, values: Sequence[Array]) -> None:
        for variable, value in zip(self._variables, values, strict=True):
            variable.assign(value)

    @property
    def _variables(self) -> list[keras.Variable]:
        return [*self.network.variables, *self.optimizer.variables]

    @property
    def _trainable(self) -> list[keras.Variable]:
        return list(self.network.trainable_variables)

    def _lazy_tables(self, wanted: bool | Literal["auto"]) -> lazy.Tables:
        if self._replicas > 1:
            return []
        return lazy.tables(self.network, self.optimizer, batch_size=self.batch_size, wanted=wanted)

    def _gains_by_xla(self, epochs: int) -> bool:
        """Say whether XLA pays. For most networks that is clear; for the rest a measurement says it."""
        steps = self._rows // self.batch_size * epochs * self.members
        foreign = len(noise.seed_generators(self.network)) > len(noise.hashable(self.network))
        if steps < _XLA_STEPS or self._replicas > 1 or foreign or self._tables:
            return False
        return by_xla.pays(self, steps // self.members)

    def time_steps(self, *, compiled: bool) -> tuple[float, float]:
        """Return the seconds that a step takes, and those that it takes to make the graph; learn nothing meanwhile.

        Raises what XLA raises for a network that it cannot compile.
        """
        pool, before = next(self._feed.pools(1)), self.state
        steps = min(pool.rows // self.batch_size, max(2, _TIMED_FLOP // (self.step_flop * self.members)))
        try:
            first, *others = (self._seconds(pool, count, compiled=compiled) for count in (1, *[steps] * _TIMED_CALLS))
        finally:
            self.state = before
        return min(others) / steps, first

    def _seconds(self, pool: Pool, steps: int, *, compiled: bool) -> float:
        started = time.perf_counter()
        graph = self._compiled if compiled else self._graph
        reached, _ = graph(pool.data, pool.order, *(tf.constant(number, tf.int32) for number in (pool.rows, 0, steps)))
        int(reached)
        return time.perf_counter() - started

    def trace(self) -> None:
        """Trace the graph of a step, and take none; raises whatever the network raises then."""
        for pool in self._feed.pools(1):
            self._graph(pool.data, pool.order, *(tf.constant(number, tf.int32) for number in (pool.rows, 0, 0)))
            return

    def train(self, epoch: int) -> Any:
        """Train one epoch, numbered from 1; return the mean weighted loss over its batches, penalties included.

        Raises TrainingError at the first step whose loss is no number.
        """
        self._draw_noise(epoch)
        total, before = self._no_loss, 0
        for pool in self._feed.pools(epoch):
            steps, step = -(-pool.rows // self.batch_size), 0
            while step < steps:
                step, part = self._run(pool, step, steps)
                if not np.isfinite(part).all():
                    raise no_number(f"epoch {epoch}, step {before + step}", part)
                total = total + part
            before += steps
        return total / self._rows

    def _draw_noise(self, epoch: int) -> None:
        for index, generator in enumerate(noise.seed_generators(self.network)):
            generator.state.assign(noise.state(self._seed, epoch, index))

    @property
    def _no_loss(self) -> Any:
        """The sum of no losses."""
        return 0.0

    def _run(self, pool: Pool, step: int, steps: int) -> tuple[int, Any]:
        """Train from a step on; return the step reached and the sum of the rows' losses.

        What XLA compiles has batches of one size: a smaller last one goes through the plain graph.
        """
        whole = pool.rows // self.batch_size
        last = min(step + self._steps_a_call, whole if self.xla and step < whole else steps)
        arguments = pool.data, pool.order, *(tf.constant(number, tf.int32) for number in (pool.rows, step, last))
        if self.xla and last <= whole:
            try:
                reached, total = self._compiled(*arguments)
                return int(reached), self._number(total)
            except by_xla.NOT_COMPILABLE as error:
                self._do_without_xla(error)
                return step, self._no_loss
        reached, total = self._graph(*arguments)
        return int(reached), self._number(total)

    def _number(self, total: Any) -> Any:
        return float(total)

    def _do_without_xla(self, error: tf.errors.OpError) -> None:
        reason = str(error.message).strip().splitlines()[0]
        if not self._fall_back:
            raise SpecError(
                f"training.xla: XLA cannot compile this network ({reason}); set it to auto or false"
            ) from error
        log.info("train: goes on without XLA, which cannot compile this network: %s", reason)
        self.xla = False

    @tf.function(autograph=False, reduce_retracing=True)  # type: ignore[untyped-decorator]
    def _graph(self, *arguments: Any) -> tuple[tf.Tensor, tf.Tensor]:
        return self._steps(*arguments, whole=False)

    @tf.function(autograph=False, jit_compile=True)  # type: ignore[untyped-decorator]
    def _compiled(self, *arguments: Any) -> tuple[tf.Tensor, tf.Tensor]:
        return self._steps(*arguments, whole=True)

    def _steps(
        self, data: Any, order: tf.Tensor, rows: tf.Tensor, first: tf.Tensor, last: tf.Tensor, *, whole: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Take the steps from `first` to before `last`, or until a loss is no number."""

        def step(index: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            start = index * self.batch_size
            size = self.batch_size if whole else tf.minimum(self.batch_size, rows - start)
            return index + 1, total + self._step(data, tf.slice(order, [start], [size]))

        return tf.while_loop(
            lambda index, total: (index < last) & tf.reduce_all(tf.math.is_finite(total)),
            step,
            (first, tf.constant(self._no_loss, tf.float32)),
        )

    def _step(self, data: Any, rows: tf.Tensor) -> tf.Tensor:
        count = tf.size(rows)
        if self._replicas == 1:
            return self._update(data, rows, count, None)
        losses = self._strategy.run(self._share, args=(data, rows, count))
        return self._strategy.reduce(tf.distribute.ReduceOp.SUM, losses, axis=None)

    def _share(self, data: Any, rows: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        """Take this device's share of a step; shares are filled up to the same size with rows that do not count."""
        mine = tf.distribute.get_replica_context().replica_id_in_sync_group
        places = tf.range(mine, count + self._replicas - 1 - (count - 1) % self._replicas, self._replicas)
        return self._update(data, tf.gather(rows, places % count), count, tf.cast(places < count, tf.float32))

    def _update(self, data: Any, rows: tf.Tensor, count: tf.Tensor, counted: tf.Tensor | None) -> tf.Tensor:
        """Update the weights by the mean loss of some rows; return the sum of their losses."""
        inputs, target, weight = tf.nest.map_structure(lambda values: tf.gather(values, rows), data)
        if counted is not None:
            weight *= tf.reshape(counted, [-1, *[1] * (weight.shape.rank - 1)])
        size = tf.cast(count, tf.float32)
        with tf.GradientTape() as tape:
            outputs = self._outputs(inputs, training=True)
            loss = tf.reduce_sum(weighted(self.loss_function, target, outputs, weight)) / size
            loss += tf.add_n(self.network.losses) / self._replicas if self.network.losses else 0.0
            scaled = self.optimizer.scale_loss(loss)
        variables = [variable.value for variable in self.network.trainable_variables]
        lazy.apply(self.optimizer, tape.gradient(scaled, variables), self._tables)
        return loss * size

    def _outputs(self, inputs: Any, *, training: bool) -> tf.Tensor:
        with (
            devices.computing_in(self.policy, self.network),
            noise.hashed(self.network),
            lazy.gathered(self._tables),
        ):
            return self.network(inputs, training=training)

    def hold(self, examples: Examples) -> None:
        """Move examples whose loss will be asked for again and again to the device, if there is room for them."""
        if self._feed.has_room(-(-len(examples) // _EVALUATION_ROWS) * min(len(examples), _EVALUATION_ROWS)):
            with tf.device(self.network.variables[0].value.device):
                self._held = examples, [tf.nest.map_structure(tf.constant, piece) for piece in _pieces(examples)]

    def loss(self, examples: Examples) -> Any:
        """Return the weighted mean loss of examples, without penalties and without dropout."""
        return self._mean(lambda *piece: self._judged(*piece)[0], examples)

    def judged(self, examples: Examples) -> tuple[Any, Floats]:
        """Return the same loss, and the outputs that it is of, shape (members, n, units)."""
        outputs = []

        def loss_sum(*piece: Any) -> tf.Tensor:
            total, said = self._judged(*piece)
            outputs.append(np.reshape(said, (self.members, -1, said.shape[-1])))
            return total

        loss = self._mean(loss_sum, examples)
        return loss, np.concatenate(outputs, axis=1)[:, : len(examples)]

    def ensemble_loss(self, examples: Examples) -> float:
        """Return the same loss of what is published."""
        return float(self.loss(examples))

    def _mean(self, loss_sum: Callable[..., tf.Tensor], examples: Examples) -> Any:
        pieces = self._held[1] if self._held and self._held[0] is examples else _pieces(examples)
        with self._averaged():
            sums = [loss_sum(*piece) for piece in pieces]
        weight = examples.weight if examples.weight.ndim == 1 else examples.weight.mean(axis=1)
        return self._number(np.sum(sums, axis=0, dtype=np.float64) / float(weight.sum(dtype=np.float64)))

    @contextlib.contextmanager
    def _averaged(self) -> Iterator[None]:
        """Let the weights be their averages for a while, if the optimiser keeps averages."""
        if not self._averages:
            yield
            return
        weights = [variable.numpy() for variable in self._trainable]
        self.optimizer.finalize_variable_values(self._trainable)
        try:
            yield
        finally:
            for variable, value in zip(self._trainable, weights, strict=True):
                variable.assign(value)

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def _judged(self, inputs: Mapping[str, Any], target: Any, weight: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the sum of the rows' losses, and the outputs."""
        outputs = self._outputs(inputs, training=False)
        return tf.reduce_sum(weighted(self.loss_function, target, outputs, weight)), outputs

    def refuse_no_numbers(self, when: str) -> None:
        """Raise TrainingError for a weight that is none, as a step leaves them whose loss still was a number."""
        for variable in self._trainable:
            values = variable.numpy()
            if not (finite := np.isfinite(values)).all():
                raise no_number(when, values[~finite][0], what="a weight")

    def best(self, better: Array, now: Sequence[Array], before: Sequence[Array]) -> Sequence[Array]:
        """Return the best state: what is now for a network that is better, what was best before for another."""
        return now if better.all() else before

    def published(self) -> keras.Model:
        """Return the network that is published: what was trained, with its weights or their averages."""
        self.optimizer.finalize_variable_values(self._trainable)
        return self.network


def _pieces(examples: Examples) -> Iterator[tuple[Any, Array, Array]]:
    """Yield examples in pieces of one size, so that one graph takes them."""
    rows = min(len(examples), _EVALUATION_ROWS)
    return (_piece(examples, start, rows) for start in range(0, len(examples), rows))


def _piece(examples: Examples, start: int, rows: int) -> tuple[Any, Array, Array]:
    """Return as many examples from a start on: past the end come some again, and weigh nothing."""

    def filled(values: Array) -> Array:
        piece = np.resize(values[start : start + rows], (rows, *values.shape[1:]))
        let_go(values)
        return piece

    inputs, target, weight = tf.nest.map_structure(filled, examples.arrays)
    weight[len(examples) - start :] = 0
    return inputs, target, weight


def weighted(loss: keras.losses.Loss, target: tf.Tensor, outputs: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """Return the weighted loss of each row, shape (n,); weights of shape (n, units) weigh each output's own loss."""
    if weight.shape.rank == 1:
        return loss.call(target, outputs) * weight
    each = loss.call(target[..., None], outputs[..., None])  # a loss averages over the last axis, here of size 1
    return tf.reduce_mean(each * weight, axis=-1)


def no_number(when: str, value: Any, *, what: str = "the loss") -> TrainingError:
    """Return the error for a loss or the like that is not finite; `value` is a number, or one for each member."""
    if np.ndim(value):
        member = int(np.argmin(np.isfinite(value)))
        when, value = f"{when}, member {member + 1}", value[member]
    return TrainingError(
        f"{when}: {what} is no number ({value}); lower training.optimizer.learning_rate, set its clipnorm, or look "
        "for outliers in the features"
    )
