"""What the benchmarks of training measure: each function builds what it trains and returns a measurement of it.

A measurement trains for an epoch and returns the seconds that 1,000 rows took. Libraries are imported only where a
measurement needs them, in the process that measures.
"""

import contextlib
import functools
import importlib.util
import itertools
import multiprocessing
import os
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import numpy as np

HIDDEN = (256, 128, 64)
COLUMNS = 50
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1"
)

Measurement = Callable[[], float]


def table(rows: int) -> tuple[Any, Any, Any]:
    """Return random rows, shape (rows, 50), targets that follow from them, shape (rows, 1), and weights of 1."""
    x = np.random.default_rng(0).standard_normal((rows, COLUMNS), np.float32)
    return x, (x[:, :5].sum(axis=1, keepdims=True) + np.sin(3 * x[:, 5:6])).astype(np.float32), np.ones(rows, "float32")


def timed(rows: int, epoch: Callable[[], object]) -> Measurement:
    """Return a measurement of an epoch, after one that does not count."""
    epoch()

    def measure() -> float:
        started = time.perf_counter()
        epoch()
        return (time.perf_counter() - started) / rows * 1000

    return measure


def network(columns: int, *, codes: int = 0, **keys: Any) -> Any:
    """Return a network of so many numbers and, if there are codes, of an embedding of 16 numbers."""
    from schemas.networks import Mlp
    from tasks.encoders.table import NUMBERS, Slot
    from tasks.encoders.target import NumberTarget
    from tasks.networks import mlp

    slots = [Slot(name=NUMBERS, shape=(columns,), columns=tuple(map(str, range(columns))))]
    slots += [Slot(name="codes", shape=(), columns=("codes",), cardinality=codes, size=16)] if codes else []
    target = NumberTarget(names=("y",), centers=(0.0,), scales=(1.0,))
    return mlp.build(Mlp(**{"hidden": HIDDEN} | keys), slots, target)


def engine(
    x: Any,
    y: Any,
    weight: Any,
    *,
    batch_size: int,
    codes: Any = None,
    lazy: bool | Literal["auto"] = "auto",
    validated: int = 0,
    folder: Path | None = None,
    epochs: int = 200,
    budget_bytes: int = 1 << 40,
    **keys: Any,
) -> Measurement:
    """Return a measurement of the engine; with rows to validate and a folder for checkpoints, of these as well."""
    import keras

    from tasks.training.checkpoints import Checkpoints, Progress
    from tasks.training.engine import Engine
    from tasks.training.feed import Examples

    inputs = {"numbers": x} if codes is None else {"numbers": x, "codes": codes}
    trained = Engine(
        network(x.shape[1], codes=0 if codes is None else int(codes.max()) + 1, **keys),
        keras.losses.MeanSquaredError(),
        keras.optimizers.Adam(),
        Examples(inputs, y, weight),
        batch_size=batch_size,
        seed=0,
        xla="auto",
        lazy_embeddings=lazy,
        epochs=epochs,
        budget_bytes=budget_bytes,
    )
    seen = Examples({"numbers": x[:validated]}, y[:validated], weight[:validated])
    numbers = itertools.count(1)

    def epoch() -> None:
        loss = trained.train(next(numbers))
        if validated:
            trained.loss(seen)
        if folder:  # a new one, for the next checkpoint of the same would wait until it costs less than 2 %
            Checkpoints(folder).save(trained.identity, Progress([[loss]], [[loss]], now=trained.state))

    return timed(len(x), epoch)


def side_by_side(count: int, rows: int, **keys: Any) -> Measurement:
    """Return a measurement of engines in processes of their own, a thread each; rows are those of all together."""
    before = dict(os.environ)
    os.environ.update(ONE_THREAD)
    ends = [_apart(functools.partial(_engine_apart, rows, **keys)) for _ in range(count)]
    os.environ.clear()
    os.environ.update(before)

    def epoch() -> None:
        for end in ends:
            end.send(None)
        for end in ends:
            end.recv()

    return timed(count * rows, epoch)


def _engine_apart(rows: int, **keys: Any) -> Measurement:
    from tasks import bundle

    bundle.load_tensorflow()
    return engine(*table(rows), **keys)


def _apart(make: Callable[[], Measurement]) -> Connection:
    """Return the end of a pipe to a new process, which takes the measurement whenever it is sent something."""
    end, other = multiprocessing.get_context("spawn").Pipe()
    multiprocessing.get_context("spawn").Process(target=_measure_when_told, args=(other, make), daemon=True).start()
    return end


def _measure_when_told(orders: Connection, make: Callable[[], Measurement]) -> None:
    measure = make()
    with contextlib.suppress(EOFError):  # the benchmark has ended
        while True:
            orders.recv()
            orders.send(measure())


def members(x: Any, y: Any, weight: Any, *, batch_size: int, epochs: int = 1000, **keys: Any) -> Measurement:
    """Return a measurement of 8 members: 1,000 rows are 125 that each of them sees."""
    import keras

    from tasks.training.feed import Examples
    from tasks.training.members import Members

    trained = Members(
        [network(x.shape[1], **keys) for _ in range(8)],
        keras.losses.MeanSquaredError(),
        keras.optimizers.Adam(),
        Examples({"numbers": x}, y, weight),
        batch_size=batch_size,
        seed=0,
        xla="auto",
        epochs=epochs,
    )
    numbers = itertools.count(1)
    return timed(8 * len(x), lambda: trained.train(next(numbers)))


def wholly(times: int, variant: Callable[..., Measurement], *rows: Any, **keys: Any) -> Measurement:
    """Return a measurement of 10 epochs of 8 networks, with what it takes to build, trace and compile them."""

    def measure() -> float:
        started = time.perf_counter()
        for _ in range(times):
            epoch = variant(*rows, epochs=10, **keys)
            for _ in range(9):
                epoch()
        return (time.perf_counter() - started) / (8 * 10 * len(rows[0])) * 1000

    return measure


def fit(x: Any, y: Any, *, batch_size: int) -> Measurement:
    """Return a measurement of Keras's own `fit` on arrays in memory."""
    trained = network(x.shape[1])
    trained.compile(optimizer="adam", loss="mean_squared_error")
    return timed(len(x), lambda: trained.fit({"numbers": x}, y, batch_size=batch_size, epochs=1, verbose=0))


def peak(columns: int = COLUMNS) -> Measurement:
    """Return a measurement of matrix products alone: 1,000 rows are as many operations as training takes for them."""
    import tensorflow as tf

    size, products = 2048, 4
    sizes = (columns, *HIDDEN, 1)
    weights = sum(a * b for a, b in itertools.pairwise(sizes))
    row_flop = 6 * weights - 2 * columns * HIDDEN[0]  # forward and twice backward, but no gradient of the inputs
    matrix = tf.random.normal((size, size))
    multiply = tf.function(lambda: [tf.matmul(matrix, matrix + float(index)) for index in range(products)])
    return timed(products * 2 * size**3 // row_flop, lambda: [value.numpy() for value in multiply()])


def scikit_learn(x: Any, y: Any) -> Measurement:
    """Return a measurement of scikit-learn's MLP."""
    from sklearn.neural_network import MLPRegressor

    trained = MLPRegressor(hidden_layer_sizes=HIDDEN, batch_size=256)
    return timed(len(x), lambda: trained.partial_fit(x, y[:, 0]))


def pytorch(rows: int) -> Measurement | None:
    """Return PyTorch's measurement if it is installed: data in memory, no DataLoader, in a process of its own.

    One process cannot hold its libraries and TensorFlow's.
    """
    if importlib.util.find_spec("torch") is None:
        return None
    end = _apart(functools.partial(_pytorch, rows))

    def measure() -> float:
        end.send(None)
        return float(end.recv())

    return measure


def _pytorch(rows: int) -> Measurement:
    import torch

    x, y, _ = table(rows)
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    sizes = (COLUMNS, *HIDDEN)
    hidden = [layer for a, b in itertools.pairwise(sizes) for layer in (torch.nn.Linear(a, b), torch.nn.ReLU())]
    trained = torch.nn.Sequential(*hidden, torch.nn.Linear(HIDDEN[-1], 1))
    optimizer = torch.optim.Adam(trained.parameters(), fused=True)
    inputs, truth = torch.from_numpy(x), torch.from_numpy(y)

    def epoch() -> None:
        for batch in torch.randperm(rows).split(256):
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(trained(inputs[batch]), truth[batch]).backward()
            optimizer.step()

    return timed(rows, epoch)
