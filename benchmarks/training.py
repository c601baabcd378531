"""`make bench`: the training engine against `model.fit`, others, and the machine's own peak, in interleaved rounds."""

import argparse
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import page

HEADER = ("| what | rows/s | against | rows/s | ratio |", "|---|---|---|---|---|")
HIDDEN = (256, 128, 64)
COLUMNS = 50
_CODES = 1_000_000
_WIDE_ROWS = 550_000  # above what a few pools take, so that they are streamed

Rounds = dict[str, list[float]]
"""Seconds that 1,000 rows took, by variant and round."""


def main() -> None:
    """Measure with the threads asked for; without, with one and with all, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, help="threads to measure with; by default one, then all")
    parser.add_argument("--device", choices=["cpu", "gpu"], default="cpu")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="put the tables into docs/benchmarks.md")
    arguments = parser.parse_args()
    if arguments.threads:
        print("\n".join(table(arguments)), flush=True)
        return
    threads = (1, os.cpu_count() or 1) if arguments.device == "cpu" else (os.cpu_count() or 1,)
    tables = [_in_a_process(arguments, count) for count in dict.fromkeys(threads)]
    said = f"{_machine(arguments.device)}:\n\n" + "\n\n".join(tables)
    print(said)
    if arguments.write:
        page.write("training", said)


def _in_a_process(arguments: argparse.Namespace, threads: int) -> str:
    numbers = [f"--{name}={getattr(arguments, name)}" for name in ("rows", "rounds", "device")]
    command = [sys.executable, "-m", "benchmarks.training", f"--threads={threads}", *numbers]
    limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"), str(threads))
    environment = os.environ | limits | {"TF_NUM_INTEROP_THREADS": str(threads), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return done.stdout.strip()


def _machine(device: str) -> str:
    if device == "cpu":
        return page.machine()
    query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    return subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()[0]


def table(arguments: argparse.Namespace) -> Iterator[str]:
    """Measure, and yield the lines of a table in Markdown."""
    from tasks import bundle

    bundle.load_tensorflow()
    from tasks.training import devices

    names = devices.find(arguments.device)
    yield f"{names[0]}, {arguments.threads} thread{'s' * (arguments.threads > 1)}, {arguments.rows:,} rows × {COLUMNS}"
    yield ""
    yield from HEADER
    with devices.scope(names), tempfile.TemporaryDirectory() as folder:
        variants = _variants(arguments.rows, Path(folder))
        rounds: Rounds = {name: [] for name in variants}
        for _ in range(arguments.rounds):
            for name, variant in variants.items():
                rounds[name].append(variant())
    yield from _lines(rounds)


def _lines(rounds: Rounds) -> Iterator[str]:
    """Yield a line for each comparison: the ratio is the median of the rounds' own."""
    pairs = [
        ("engine, batch 256", "fit, batch 256"),
        ("engine, batch 256", "fit, batch 32"),
        ("engine, batch 256", "peak of matrix products"),
        ("engine, batch 2048", "peak of matrix products"),
        ("engine, batch 2048", "fit, batch 2048"),
        ("engine, batch 256", "scikit-learn's MLP, batch 256"),
        ("engine, batch 256", "PyTorch, fused Adam, batch 256"),
        ("engine, dropout, batch norm, weights", "engine, batch 256"),
        ("engine with validation on a quarter as many rows", "engine, batch 256"),
        ("engine with a checkpoint after each epoch", "engine, batch 256"),
        ("engine, 200 columns, streamed", "engine, 200 columns"),
        ("engine, an embedding of 1,000,000 rows", "the same, not lazy"),
        ("8 members at once, batch 256", "engine, batch 256"),
        ("8 members at once, batch 256", "fit, batch 256"),
        ("8 members at once, 64-32, batch 64", "engine, 64-32, batch 64"),
        ("8 members, from building to epoch 10, batch 256", "8 trainings one by one, batch 256"),
        ("8 members, from building to epoch 10, 64-32, batch 64", "8 trainings one by one, 64-32, batch 64"),
    ]
    for what, against in pairs:
        if what in rounds and against in rounds:
            ratio = statistics.median(b / a for a, b in zip(rounds[what], rounds[against], strict=True))
            speeds = [1000 / statistics.median(rounds[name]) for name in (what, against)]
            yield f"| {what} | {speeds[0]:,.0f} | {against} | {speeds[1]:,.0f} | {ratio:.2f} |"


def _variants(rows: int, folder: Path) -> dict[str, Callable[[], float]]:
    """Return what is measured: each call runs an epoch, and returns the seconds that 1,000 rows took."""
    random = np.random.default_rng(0)
    x = random.normal(size=(rows, COLUMNS)).astype(np.float32)
    y = (x[:, :5].sum(axis=1, keepdims=True) + np.sin(3 * x[:, 5:6])).astype(np.float32)
    weight = random.random(rows).astype(np.float32)
    wide = random.standard_normal((_WIDE_ROWS, 200), np.float32)
    wide_y, wide_ones = wide[:, :1].copy(), np.ones(_WIDE_ROWS, np.float32)
    wide.tofile(folder / "wide")
    mapped = np.memmap(folder / "wide", np.float32, "r", shape=wide.shape)
    ones = np.ones(rows, np.float32)
    quarter = rows // 4
    rich: Mapping[str, Any] = {"dropout": 0.2, "normalization": "batch"}
    torch = _torch(x, y)
    variants = {
        "engine, batch 256": _engine(x, y, ones, batch_size=256),
        "fit, batch 256": _fit(x, y, batch_size=256),
        "fit, batch 32": _fit(x[: rows // 10], y[: rows // 10], batch_size=32),
        "peak of matrix products": _peak(),
        "engine, batch 2048": _engine(x, y, ones, batch_size=2048),
        "fit, batch 2048": _fit(x, y, batch_size=2048),
        "scikit-learn's MLP, batch 256": _scikit_learn(x[:quarter], y[:quarter, 0]),
        "engine, dropout, batch norm, weights": _engine(x, y, weight, batch_size=256, **rich),
        "engine with validation on a quarter as many rows": _engine(x, y, ones, batch_size=256, validated=quarter),
        "engine with a checkpoint after each epoch": _engine(x, y, ones, batch_size=256, folder=folder),
        "engine, 200 columns": _engine(wide, wide_y, wide_ones, batch_size=256),
        "engine, 200 columns, streamed": _engine(mapped, wide_y, wide_ones, batch_size=256, budget_bytes=wide.nbytes),
    }
    known = random.integers(0, _CODES, rows // 20, np.int32)
    few: Mapping[str, Any] = {"batch_size": 256, "codes": known}
    variants |= {
        "engine, an embedding of 1,000,000 rows": _engine(x[: len(known)], y[: len(known)], ones[: len(known)], **few),
        "the same, not lazy": _engine(x[: len(known)], y[: len(known)], ones[: len(known)], lazy=False, **few),
    }
    x, y, ones = x[:quarter], y[:quarter], ones[:quarter]
    small: Mapping[str, Any] = {"batch_size": 64, "hidden": (64, 32)}
    variants |= {
        "8 members at once, batch 256": _members(x, y, ones, batch_size=256),
        "engine, 64-32, batch 64": _engine(x, y, ones, **small),
        "8 members at once, 64-32, batch 64": _members(x, y, ones, **small),
    }
    few_rows, large = (x[:10_000], y[:10_000], ones[:10_000]), {"batch_size": 256}
    variants |= {
        "8 members, from building to epoch 10, batch 256": _wholly(1, _members, *few_rows, **large),
        "8 trainings one by one, batch 256": _wholly(8, _engine, *few_rows, **large),
        "8 members, from building to epoch 10, 64-32, batch 64": _wholly(1, _members, *few_rows, **small),
        "8 trainings one by one, 64-32, batch 64": _wholly(8, _engine, *few_rows, **small),
    }
    return variants | ({"PyTorch, fused Adam, batch 256": torch} if torch else {})


def _timed(rows: int, epoch: Callable[[], object]) -> Callable[[], float]:
    """Return a measurement of an epoch, after one that does not count."""
    epoch()

    def measure() -> float:
        started = time.perf_counter()
        epoch()
        return (time.perf_counter() - started) / rows * 1000

    return measure


def _engine(
    x: Any,
    y: Any,
    weight: Any,
    *,
    batch_size: int,
    codes: Any = None,
    lazy: bool = True,
    validated: int = 0,
    folder: Path | None = None,
    epochs: int = 200,
    budget_bytes: int = 1 << 40,
    **network: Any,
) -> Callable[[], float]:
    import keras

    from tasks.training.checkpoints import Checkpoints, Progress
    from tasks.training.engine import Engine
    from tasks.training.feed import Examples

    inputs = {"numbers": x} if codes is None else {"numbers": x, "codes": codes}
    engine = Engine(
        _network(x.shape[1], codes=_CODES if codes is not None else 0, **network),
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
    numbers = iter(range(1, 1 << 30))

    def epoch() -> None:
        loss = engine.train(next(numbers))
        if validated:
            engine.loss(seen)
        if folder:  # a new one, for the next checkpoint of the same would wait until it costs less than 2 %
            Checkpoints(folder).save(engine.identity, Progress([[loss]], [[loss]], now=engine.state))

    return _timed(len(x), epoch)


def _members(
    x: Any, y: Any, weight: Any, *, batch_size: int, epochs: int = 1000, **network: Any
) -> Callable[[], float]:
    """Return a measurement of 8 members: 1,000 rows are 125 that each of them sees."""
    import keras

    from tasks.training.feed import Examples
    from tasks.training.members import Members

    members = Members(
        [_network(x.shape[1], **network) for _ in range(8)],
        keras.losses.MeanSquaredError(),
        keras.optimizers.Adam(),
        Examples({"numbers": x}, y, weight),
        batch_size=batch_size,
        seed=0,
        xla="auto",
        epochs=epochs,
    )
    numbers = iter(range(1, 1 << 30))
    return _timed(8 * len(x), lambda: members.train(next(numbers)))


def _wholly(times: int, variant: Callable[..., Callable[[], float]], *rows: Any, **keys: Any) -> Callable[[], float]:
    """Return a measurement of 10 epochs of 8 networks, with what it takes to build, trace and compile them."""

    def measure() -> float:
        started = time.perf_counter()
        for _ in range(times):
            epoch = variant(*rows, epochs=10, **keys)
            for _ in range(9):
                epoch()
        return (time.perf_counter() - started) / (8 * 10 * len(rows[0])) * 1000

    return measure


def _network(columns: int, *, codes: int = 0, **network: Any) -> Any:
    """Return a network of so many numbers and, if there are codes, of an embedding of 16 numbers."""
    from schemas.networks import Mlp
    from tasks.encoders.table import NUMBERS, Slot
    from tasks.encoders.target import NumberTarget
    from tasks.networks import mlp

    slots = [Slot(name=NUMBERS, shape=(columns,), columns=tuple(map(str, range(columns))))]
    slots += [Slot(name="codes", shape=(), columns=("codes",), cardinality=codes, size=16)] if codes else []
    target = NumberTarget(names=("y",), centers=(0.0,), scales=(1.0,))
    return mlp.build(Mlp(**{"hidden": HIDDEN} | network), slots, target)


def _fit(x: Any, y: Any, *, batch_size: int) -> Callable[[], float]:
    network = _network(x.shape[1])
    network.compile(optimizer="adam", loss="mean_squared_error")
    return _timed(len(x), lambda: network.fit({"numbers": x}, y, batch_size=batch_size, epochs=1, verbose=0))


def _peak() -> Callable[[], float]:
    """Return a measurement of matrix products alone: 1,000 rows are as many operations as training takes for them."""
    import tensorflow as tf

    size, products = 2048, 4
    sizes = (COLUMNS, *HIDDEN, 1)
    weights = sum(a * b for a, b in itertools.pairwise(sizes))
    row_flop = 6 * weights - 2 * COLUMNS * HIDDEN[0]  # forward and twice backward, but no gradient of the inputs
    matrix = tf.random.normal((size, size))
    multiply = tf.function(lambda: [tf.matmul(matrix, matrix + float(index)) for index in range(products)])
    return _timed(products * 2 * size**3 // row_flop, lambda: [value.numpy() for value in multiply()])


def _scikit_learn(x: Any, y: Any) -> Callable[[], float]:
    from sklearn.neural_network import MLPRegressor

    network = MLPRegressor(hidden_layer_sizes=HIDDEN, batch_size=256)
    return _timed(len(x), lambda: network.partial_fit(x, y))


def _torch(x: Any, y: Any) -> Callable[[], float] | None:
    """Return PyTorch's measurement if it is installed: data in memory, no DataLoader."""
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    sizes = (COLUMNS, *HIDDEN)
    hidden = [layer for a, b in itertools.pairwise(sizes) for layer in (torch.nn.Linear(a, b), torch.nn.ReLU())]
    network = torch.nn.Sequential(*hidden, torch.nn.Linear(HIDDEN[-1], 1))
    optimizer = torch.optim.Adam(network.parameters(), fused=True)
    rows, truth = torch.from_numpy(x), torch.from_numpy(y)

    def epoch() -> None:
        for batch in torch.randperm(len(rows)).split(256):
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(network(rows[batch]), truth[batch]).backward()
            optimizer.step()

    return _timed(len(x), epoch)


if __name__ == "__main__":
    main()
