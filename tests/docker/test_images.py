"""R37: the images: what is in them, what is not, and the stages' own tests inside them."""

import importlib.util
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from flows import images
from schemas import __version__

pytestmark = [pytest.mark.docker, pytest.mark.slow]

CHECKOUT = Path(__file__).parents[2]

_LOOK = """
import importlib.util, json, pathlib, shutil, os
names = ["keras", "tensorflow", "matplotlib", "mlflow", "prefect", "pip"]
root = pathlib.Path("/opt")
files = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
print(json.dumps({
    "uid": os.getuid(),
    "packages": [name for name in names if importlib.util.find_spec(name)],
    "tools": [name for name in ("gcc", "cc", "make", "git", "uv") if shutil.which(name)],
    "times": sorted({int(path.stat().st_mtime) for path in files}),
    "bytecode": (root / "evermodel/tasks/__pycache__").is_dir(),
    "sbom": len(json.loads((root / "evermodel/sbom.json").read_text())["installed"]),
}))
"""


@pytest.mark.parametrize(
    ("target", "packages"),
    [
        ("ingest", []),
        ("encode", []),
        ("train", ["keras", "tensorflow"]),
        ("predict", ["keras", "tensorflow"]),
        ("evaluate", ["keras", "tensorflow", "matplotlib"]),
        ("register", ["keras", "tensorflow", "matplotlib", "mlflow"]),
        ("flow", ["matplotlib", "mlflow", "prefect"]),
        ("pool", ["keras", "tensorflow", "matplotlib", "mlflow", "prefect"]),
    ],
)
def test_an_image_holds_what_its_stage_needs_and_nothing_else(engine: Any, target: str, packages: list[str]) -> None:
    image = engine.images.get(images.name(target))
    said = engine.containers.run(image.id, [_LOOK], entrypoint=["python", "-c"], remove=True, network_mode="none")
    seen = json.loads(said)
    assert seen.pop("sbom") > 20
    assert seen == {"uid": 65532, "packages": packages, "tools": [], "times": [1735689600], "bytecode": True}
    assert image.labels["org.opencontainers.image.version"] == __version__
    assert image.labels[images.SOURCES] == images.sources()


@pytest.mark.parametrize(
    ("target", "tests"),
    [
        ("ingest", ["tests/tasks/test_ingest.py", "tests/tasks/test_coercion.py", "tests/tasks/test_splits.py"]),
        ("encode", ["tests/tasks/encoders", "tests/tasks/test_encode.py"]),
        ("train", ["tests/tasks/training/test_weights.py", "tests/tasks/networks"]),
        ("evaluate", ["tests/tasks/test_metrics.py", "tests/tasks/reports/test_formatting.py"]),
    ],
)
def test_the_tests_of_a_stage_pass_inside_its_image(engine: Any, target: str, tests: list[str]) -> None:
    binds = {str(CHECKOUT / name): f"/checkout/{name}" for name in ("tests", "pyproject.toml")}
    for name in (
        "_pytest",
        "iniconfig",
        "packaging",
        "pluggy",
        "py",
        "pygments",
        "pytest",
        "pytest_timeout",
        "xdist",
        "execnet",
    ):
        spec = importlib.util.find_spec(name)
        assert spec is not None
        origin = Path(str(spec.origin))
        path = origin.parent if origin.name == "__init__.py" else origin
        binds[str(path)] = f"/pytest/{path.name}"
    mounts = [part for source, place in binds.items() for part in ("-v", f"{source}:{place}:ro")]
    command = ["docker", "run", "--rm", "--network", "none", "--entrypoint", "python", *mounts, "-w", "/checkout"]
    command += ["-e", "PYTHONPATH=/opt/evermodel:/pytest", images.name(target)]
    plugins = ["-p", "pytest_timeout", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "-m", "pytest", "-q", *plugins, *tests], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert " passed" in done.stdout


def test_the_list_of_what_is_installed_is_written_for_each_image(engine: Any, tmp_path: Path) -> None:
    image = images.name("encode")
    images.write_inventory(image, tmp_path / "encode.json")
    report = json.loads((tmp_path / "encode.json").read_text())
    assert {"pyarrow", "pandas", "scikit-learn"} <= {each["metadata"]["name"] for each in report["installed"]}
