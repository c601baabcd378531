"""`make bench`: the training engine against `model.fit`, others, and the machine's own peak, in interleaved rounds."""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import page
from benchmarks.measurements import (
    COLUMNS,
    Measurement,
    engine,
    fit,
    members,
    peak,
    pytorch,
    scikit_learn,
    side_by_side,
    table,
    wholly,
)

HEADER = ("| what | rows/s | against | rows/s | ratio |", "|---|---|---|---|---|")
_WIDE_ROWS = 1_000_000

Rounds = dict[str, list[float]]
"""Seconds that 1,000 rows took, by variant and round."""


def main() -> None:
    """Measure with the threads asked for; without, with one and with all, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, help="threads to measure with; by default one, then all")
    parser.add_argument("--device", choices=["cpu", "gpu"], default="cpu")
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="put the tables into docs/benchmarks.md")
    arguments = parser.parse_args()
    if arguments.threads:
        print("\n".join(_table(arguments)), flush=True)
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


def _table(arguments: argparse.Namespace) -> Iterator[str]:
    """Measure, and yield the lines of a table in Markdown."""
    from tasks import bundle

    bundle.load_tensorflow()
    from tasks.training import devices

    names = devices.find(arguments.device)
    yield f"{names[0]}, {arguments.threads} thread{'s' * (arguments.threads > 1)}, {arguments.rows:,} rows × {COLUMNS}"
    yield ""
    yield from HEADER
    with devices.scope(names), tempfile.TemporaryDirectory() as folder:
        variants = _variants(arguments.rows, arguments.threads, Path(folder))
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
        (f"{os.cpu_count()} engines, a thread each", "peak of matrix products"),
        ("engine, batch 2048", "peak of matrix products"),
        ("engine, batch 2048", "fit, batch 2048"),
        ("engine, batch 256", "scikit-learn's MLP, batch 256"),
        ("engine, batch 256", "PyTorch, fused Adam, batch 256"),
        ("engine, dropout, batch norm, embedding, weights", "engine, batch 256"),
        ("engine with validation on a quarter as many rows", "engine, batch 256"),
        ("engine with a checkpoint after each epoch", "engine, batch 256"),
        ("engine, 200 columns", "peak of matrix products, 200 columns"),
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


def _variants(rows: int, threads: int, folder: Path) -> dict[str, Measurement]:
    """Return what is measured, by the names that lines have for it."""
    x, y, ones = table(rows)
    weight = np.random.default_rng(1).random(rows, np.float32)
    wide = np.random.default_rng(2).standard_normal((_WIDE_ROWS, 200), np.float32)
    wide_y, wide_ones = wide[:, :1].copy(), np.ones(_WIDE_ROWS, np.float32)
    wide.tofile(folder / "wide")
    mapped = np.memmap(folder / "wide", np.float32, "r", shape=wide.shape)
    quarter, tenth = rows // 4, slice(rows // 10)
    places = np.arange(rows, dtype=np.int32) % 1_000
    rich: Mapping[str, Any] = {"dropout": 0.2, "normalization": "batch", "codes": places}
    variants = {
        "engine, batch 256": engine(x, y, ones, batch_size=256),
        "fit, batch 256": fit(x, y, batch_size=256),
        "fit, batch 32": fit(x[tenth], y[tenth], batch_size=32),
        "peak of matrix products": peak(),
        "peak of matrix products, 200 columns": peak(200),
        "engine, batch 2048": engine(x, y, ones, batch_size=2048),
        "fit, batch 2048": fit(x, y, batch_size=2048),
        "scikit-learn's MLP, batch 256": scikit_learn(x[:quarter], y[:quarter]),
        "engine, dropout, batch norm, embedding, weights": engine(x, y, weight, batch_size=256, **rich),
        "engine with validation on a quarter as many rows": engine(x, y, ones, batch_size=256, validated=quarter),
        "engine with a checkpoint after each epoch": engine(x, y, ones, batch_size=256, folder=folder),
        "engine, 200 columns": engine(wide, wide_y, wide_ones, batch_size=256),
        "engine, 200 columns, streamed": engine(mapped, wide_y, wide_ones, batch_size=256, budget_bytes=wide.nbytes),
    }
    if threads > 1:
        variants[f"{threads} engines, a thread each"] = side_by_side(threads, quarter, batch_size=256)
    few_rows = rows // 40
    known = np.linspace(0, 999_999, few_rows, dtype=np.int32)
    few = x[:few_rows], y[:few_rows], ones[:few_rows]
    codes: Mapping[str, Any] = {"batch_size": 256, "codes": known}
    variants |= {
        "engine, an embedding of 1,000,000 rows": engine(*few, **codes),
        "the same, not lazy": engine(*few, lazy=False, **codes),
    }
    some = x[:quarter], y[:quarter], ones[:quarter]
    small: Mapping[str, Any] = {"batch_size": 64, "hidden": (64, 32)}
    variants |= {
        "8 members at once, batch 256": members(*some, batch_size=256),
        "engine, 64-32, batch 64": engine(*some, **small),
        "8 members at once, 64-32, batch 64": members(*some, **small),
        "8 members, from building to epoch 10, batch 256": wholly(1, members, *few, batch_size=256),
        "8 trainings one by one, batch 256": wholly(8, engine, *few, batch_size=256),
        "8 members, from building to epoch 10, 64-32, batch 64": wholly(1, members, *few, **small),
        "8 trainings one by one, 64-32, batch 64": wholly(8, engine, *few, **small),
    }
    torch = pytorch(rows)
    return variants | ({"PyTorch, fused Adam, batch 256": torch} if torch else {})


if __name__ == "__main__":
    main()
