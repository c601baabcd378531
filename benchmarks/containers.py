"""`python -m benchmarks.containers`: what a container for each stage costs over the flow's own process."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from schemas.runners import EVERY_RUN

RUNNERS = ("inline", "docker")


def main() -> None:
    """Run the breast-cancer example with each runner by turns, every stage anew; print the medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    seconds: dict[str, dict[str, list[float]]] = {runner: {stage: [] for stage in EVERY_RUN} for runner in RUNNERS}
    with tempfile.TemporaryDirectory() as folder:
        _evermodel("example", "breast-cancer", folder=Path(folder))
        for _ in range(rounds):
            for runner in RUNNERS:
                done = _evermodel(
                    "run", "breast-cancer.yaml", "--runner", runner, "--force", "--json", folder=Path(folder)
                )
                for stage, figures in json.loads(done)["stages"].items():
                    seconds[runner][stage].append(figures["seconds"])
    print(f"{os.cpu_count()} cores, {rounds} rounds, medians\n")
    print("| stage | inline, s | docker, s | more, s |", "|---|---|---|---|", sep="\n")
    for stage in EVERY_RUN:
        inline, docker = (statistics.median(seconds[runner][stage]) for runner in RUNNERS)
        print(f"| {stage} | {inline:.1f} | {docker:.1f} | {docker - inline:+.1f} |")


def _evermodel(*arguments: str, folder: Path) -> str:
    command = [sys.executable, "-m", "flows.cli", *arguments]
    return subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=True).stdout


if __name__ == "__main__":
    main()
