"""What importing a package loads: import-linter sees what is imported, this sees what is imported at once."""

import subprocess
import sys

import pytest

_LOADED = """
import importlib, pkgutil, sys
for module in map(importlib.import_module, sys.argv[1:]):
    for inner in pkgutil.walk_packages(getattr(module, "__path__", []), module.__name__ + "."):
        if not inner.name.endswith("__main__"):
            importlib.import_module(inner.name)
print(*sys.modules)
"""


def top_packages_loaded_by(*modules: str) -> set[str]:
    """The top packages in memory after some modules and all in them were imported, in a process of its own."""
    command = [sys.executable, "-W", "ignore", "-c", _LOADED, *modules]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize(
    ("modules", "heavy"),
    [
        (("schemas",), {"keras", "mlflow", "prefect", "tensorflow"}),
        (("flows",), {"keras", "mlflow", "tensorflow"}),
        (("tasks.ingest", "tasks.encode"), {"keras", "mlflow", "prefect", "tensorflow"}),
        # What a run that finds nothing new loads: the stages, for their run keys.
        (
            ("tasks.encode", "tasks.train", "tasks.evaluate", "tasks.register"),
            {"keras", "matplotlib", "mlflow", "pandas", "sklearn", "tensorflow"},
        ),
    ],
)
def test_import_loads_nothing_heavy(modules, heavy):
    assert top_packages_loaded_by(*modules) & heavy == set()
