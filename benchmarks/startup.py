"""What it takes to begin: `python -m benchmarks.startup [--repeats R] [--write]`.

Imports of the stages beside the libraries that they cannot do without, a training of the breast-cancer example, and a
rerun that finds everything done, with a Prefect server and with none. Every repeat measures all of them by turns; the
figures are medians.
"""

import argparse
import contextlib
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks import page
from benchmarks.processes import Run, run

EVERMODEL = Path(sys.executable).with_name("evermodel")
TABULAR = "pyarrow.compute, pyarrow.parquet, pandas, pandera.pandas"
TRAINING = "python -m tasks.train, 341 rows"
STAGES = ("ingest", "encode", "train", "evaluate", "register", "predict")
_SERVER_START_S = 120


def main() -> None:
    """Measure, and print a table in Markdown, or put it into docs/benchmarks.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, server(Path(folder)) as address:
        runs = measure(Path(folder), address, arguments.repeats)
    said = f"{page.machine()}, medians of {arguments.repeats}:\n\n{_table(runs)}"
    print(said)
    if arguments.write:
        page.write("startup", said)


def measure(folder: Path, address: str, repeats: int) -> dict[str, list[Run]]:
    """Return what each command took, by its description."""
    run(EVERMODEL, "example", "breast-cancer", folder)
    rerun = (EVERMODEL, "run", folder / "breast-cancer.yaml", "--workspace", folder / "workspace")
    with_server = {"PREFECT_HOME": str(folder / "client"), "PREFECT_API_URL": address}
    without = {"PREFECT_HOME": str(folder / "alone"), "PREFECT_API_URL": ""}
    run(*rerun, environment=with_server)
    trained = next((folder / "workspace" / "train").iterdir())
    request = shutil.copy(trained / "request.json", folder)
    commands: dict[str, tuple[tuple[str | Path, ...], Mapping[str, str] | None]] = {
        "evermodel --help": ((EVERMODEL, "--help"), None),
        f"import {TABULAR}": (("-c", f"import {TABULAR}"), None),
        **{f"import tasks.{stage}": (("-c", f"import tasks.{stage}"), None) for stage in STAGES},
        "import tensorflow": (("-c", "import tensorflow"), None),
        TRAINING: (("-m", "tasks.train", request), None),
        "import prefect.flow": (("-c", "from prefect import flow"), None),
        "evermodel run, nothing new, Prefect server": (rerun, with_server),
        "evermodel run, nothing new, no server": (rerun, without),
    }
    runs: dict[str, list[Run]] = {name: [] for name in commands}
    for _ in range(repeats):
        for name, (command, environment) in commands.items():
            if name == TRAINING:
                shutil.rmtree(trained)
            runs[name].append(run(*command, environment=environment))
    return runs


def _table(runs: Mapping[str, list[Run]]) -> str:
    rows = []
    for name, taken in runs.items():
        figures = [statistics.median(getattr(each, what) for each in taken) for what in ("seconds", "cpu_seconds")]
        rows.append((f"`{name}`", *(f"{figure:.1f}" for figure in figures)))
    return page.table(("command", "seconds", "processor seconds"), rows)


@contextlib.contextmanager
def server(folder: Path) -> Iterator[str]:
    """Start a Prefect server in a folder, yield the address of its API, and end it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}/api"
    environment = os.environ | {"PREFECT_HOME": str(folder / "server"), "DO_NOT_TRACK": "1"}
    command = [sys.executable, "-m", "prefect", "server", "start", "--port", str(port)]
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        _wait(f"{address}/health", process)
        yield address
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(_SERVER_START_S)


def _wait(address: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _SERVER_START_S
    while process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(OSError), urllib.request.urlopen(address):
            return
        time.sleep(0.5)
    raise SystemExit("the Prefect server did not start")


if __name__ == "__main__":
    main()
