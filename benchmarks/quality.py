"""Does speed cost quality? `python -m benchmarks.quality [--seeds N] [--epochs E] [--write]`.

For each seed the engine and Keras's own `fit` start from the same weights and take as many steps of the same size; what
is compared is the loss on rows that neither learned from. Both draw the order of rows anew in each epoch.
"""

import argparse
from collections.abc import Iterator

import numpy as np
from scipy import stats

from benchmarks import page
from benchmarks.measurements import network, table

_ROWS, _HELD_OUT = 60_000, 20_000


def main() -> None:
    """Measure, and print a table in Markdown, or put it into docs/benchmarks.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=15)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    arguments = parser.parse_args()
    said = measure(arguments.seeds, arguments.epochs)
    print(said)
    if arguments.write:
        page.write("quality", said)


def measure(seeds: int, epochs: int) -> str:
    """Return a table of the losses of each seed, and in words how far the engine's are above those of `fit`."""
    from tasks import bundle

    bundle.load_tensorflow()
    pairs = np.array(list(_losses(seeds, epochs)))
    above = pairs[:, 0] / pairs[:, 1] - 1
    low, high = stats.t.interval(0.95, seeds - 1, above.mean(), stats.sem(above))
    rows = [(str(seed), f"{ours:.5f}", f"{fits:.5f}") for seed, (ours, fits) in enumerate(pairs)]
    title = f"{_ROWS:,} rows × 50, 256-128-64, batch 256, {epochs} epochs, loss on {_HELD_OUT:,} rows held out:"
    verdict = (
        f"The engine's loss is {above.mean():+.1%} beside that of `fit` (95 % interval {low:+.1%} to {high:+.1%})."
    )
    return "\n\n".join([title, page.table(("seed", "engine", "fit"), rows), verdict])


def _losses(seeds: int, epochs: int) -> Iterator[tuple[float, float]]:
    import keras

    from tasks.training.engine import Engine
    from tasks.training.feed import Examples

    x, y, ones = table(_ROWS + _HELD_OUT)
    y += np.random.default_rng(1).normal(scale=0.5, size=y.shape).astype(np.float32)
    learned, held_out = (
        Examples({"numbers": x[part]}, y[part], ones[part]) for part in (slice(_ROWS), slice(_ROWS, None))
    )
    for seed in range(seeds):
        keras.utils.set_random_seed(seed)
        ours, fitted = network(x.shape[1]), network(x.shape[1])
        fitted.set_weights(ours.get_weights())
        loss, adam = keras.losses.MeanSquaredError(), keras.optimizers.Adam
        engine = Engine(ours, loss, adam(), learned, batch_size=256, seed=seed, xla="auto", epochs=1000)
        for epoch in range(1, epochs + 1):
            engine.train(epoch)
        fitted.compile(adam(), "mean_squared_error")
        for epoch in range(epochs):  # one call of fit for all epochs would repeat one order of the rows in each
            keras.utils.set_random_seed(1000 * seed + epoch)
            fitted.fit({"numbers": x[:_ROWS]}, y[:_ROWS], batch_size=256, epochs=1, verbose=0)
        error = fitted.evaluate({"numbers": x[_ROWS:]}, y[_ROWS:], batch_size=8192, verbose=0)
        yield float(engine.loss(held_out)), float(error)


if __name__ == "__main__":
    main()
