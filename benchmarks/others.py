"""Evermodel against AutoGluon's network: `python -m benchmarks.others PYTHON [--rows N] [--repeats R] [--write]`.

PYTHON is that of an environment with AutoGluon: `uv venv DIR && uv pip install --python DIR autogluon.tabular torch`.
Both get the same CSV and learn from the same rows, stop early by the same validation rows, and are scored on the same
test rows. AutoGluon trains its network alone (NN_TORCH); with stacking and trees it would take longer and be better.
"""

import argparse
import json
import shutil
import statistics
import tempfile
from pathlib import Path

import numpy as np

from benchmarks import page
from benchmarks.processes import Run, run
from benchmarks.startup import EVERMODEL, server
from tasks.examples import SPECS, tables

AUTOGLUON = """
import json, sys
import pandas as pd
from autogluon.tabular import TabularPredictor
from sklearn.metrics import roc_auc_score
frame = pd.read_csv(sys.argv[1]).drop(columns="flight")
parts = {part: rows.drop(columns="part") for part, rows in frame.groupby("part")}
test = parts["test"]
predictor = TabularPredictor(label="late", eval_metric="roc_auc", path=sys.argv[2], verbosity=0)
network = {"hyperparameters": {"NN_TORCH": {}}, "fit_weighted_ensemble": False, "num_gpus": 0}
predictor.fit(parts["train"], tuning_data=parts["validation"], **network)
said = predictor.predict_proba(test)["yes"]
print(json.dumps({"roc_auc": roc_auc_score(test["late"] == "yes", said)}))
"""
SPLIT = "split={by: column, column: part}"


def main() -> None:
    """Measure, and print a table in Markdown, or put it into docs/benchmarks.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("python", type=Path, help="the interpreter of an environment with AutoGluon")
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, server(Path(folder)) as address:
        said = measure(Path(folder), address, arguments)
    print(said)
    if arguments.write:
        page.write("others", said)


def measure(folder: Path, address: str, arguments: argparse.Namespace) -> str:
    """Run both by turns; return a table of what they took and reached."""
    flights = tables.flights(arguments.rows)
    part = np.random.default_rng(0).choice(["train", "validation", "test"], len(flights), p=(0.6, 0.2, 0.2))
    flights.assign(part=part).to_csv(folder / "flights.csv", index=False)
    shutil.copy(SPECS / "flights.yaml", folder)
    environment = {"PREFECT_API_URL": address, "PREFECT_HOME": str(folder / "client")}
    theirs, ours = [], []
    for turn in range(arguments.repeats):
        command = ("-c", AUTOGLUON, folder / "flights.csv", folder / f"autogluon-{turn}")
        theirs.append(run(*command, python=arguments.python))
        mine = ("run", folder / "flights.yaml", "--json", "--workspace", folder / f"ours-{turn}", "--set", SPLIT)
        ours.append(run(EVERMODEL, *mine, environment=environment))
    areas = {
        "AutoGluon": [json.loads(each.printed)["roc_auc"] for each in theirs],
        "Evermodel": [json.loads(each.printed)["metrics"]["test"]["roc_auc"] for each in ours],
    }
    title = f"{page.machine()}, {len(flights):,} flights, {page.turns(arguments.repeats)}:"
    rows = [
        (name, *_taken(runs), f"{statistics.median(areas[name]):.4f}")
        for name, runs in (("AutoGluon", theirs), ("Evermodel", ours))
    ]
    return f"{title}\n\n{page.table(('', 'seconds', 'processor seconds', 'peak memory, MB', 'test ROC AUC'), rows)}"


def _taken(runs: list[Run]) -> list[str]:
    whats = ("seconds", "cpu_seconds", "peak_mb")
    return [f"{statistics.median(getattr(each, what) for each in runs):,.0f}" for what in whats]


if __name__ == "__main__":
    main()
