"""`make gpu-check`: proves a GPU machine: trains the flights example in a container on the GPU and on the CPU."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

from flows.doctor import findings

EPOCHS = 20


def main() -> None:
    """Print the devices, the rows a second on each, and their ratio; exit with 4 where the GPU cannot be used."""
    needed = {"Docker engine", "engine's GPU support", "GPU driver"}
    seen = {each.what: each for each in findings(".evermodel") if each.what in needed}
    for each in seen.values():
        print(f"{each.what}: {each.seen}" + ("" if each.good else f"; {each.remedy}"))
    if len(seen) < len(needed) or not all(each.good for each in seen.values()):
        sys.exit(4)
    _evermodel("images", "build", *(part for name in ("train", "train-gpu") for part in ("--only", name)))
    with tempfile.TemporaryDirectory() as folder:
        _evermodel("example", "flights", folder)
        rows = len(pd.read_csv(Path(folder) / "flights.csv"))
        speeds = {device: _rows_a_second(device, rows, Path(folder)) for device in ("cpu", "gpu")}
    for device, speed in speeds.items():
        print(f"{device}: {speed:,.0f} rows/s")
    print(f"gpu / cpu: {speeds['gpu'] / speeds['cpu']:.2f}")


def _rows_a_second(device: str, rows: int, folder: Path) -> float:
    """Train in a container on a device; return how many rows went through the network in a second, start included."""
    settings = [f"training.device={device}", f"training.epochs={EPOCHS}", "training.early_stopping=null"]
    settings += ["runner.stages={train: {kind: docker}}"]
    options = [part for setting in settings for part in ("--set", setting)]
    workspace = str(folder / device)
    said = _evermodel("run", str(folder / "flights.yaml"), "--json", "--workspace", workspace, *options)
    stages: dict[str, Any] = json.loads(said)["stages"]
    return rows * EPOCHS / float(stages["train"]["seconds"])


def _evermodel(*arguments: str) -> str:
    command = [sys.executable, "-m", "flows.cli", *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


if __name__ == "__main__":
    main()
