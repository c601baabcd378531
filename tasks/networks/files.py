"""Network files: the same network gives the same bytes, and nothing unknown is loaded."""

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from schemas.errors import ResourceError

_MAXIMUM_BYTES = 8 << 30
_MAXIMUM_CONFIG_BYTES = 64 << 20
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first time that a zip archive can hold
# What runs any code that it is given.
_REFUSED = {"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "__lambda__"}
_MODULES = re.compile(
    r"builtins|keras(\.(activations|constraints|initializers|layers|losses|metrics|models|regularizers"
    r"|optimizers(\.schedules)?|src\.models\.\w+|src\.ops\.\w+))?"
)
"""Modules whose classes a network file may name."""


def save(network: keras.Model, path: Path) -> None:
    """Save a compiled network with its optimiser's state as `.keras`, without the times and addresses Keras puts in."""
    stamped = path.with_suffix(".stamped.keras")
    network.save(stamped)
    with zipfile.ZipFile(stamped) as source, zipfile.ZipFile(path, "w") as target:
        for name in sorted(source.namelist()):
            content = source.read(name)
            if name == "metadata.json":
                content = json.dumps({**json.loads(content), "date_saved": "1980-01-01@00:00:00"}).encode()
            elif name == "config.json":
                content = json.dumps(_renumbered(json.loads(content), {})).encode()
            target.writestr(zipfile.ZipInfo(name, _EPOCH), content)
    stamped.unlink()


def _renumbered(config: Any, numbers: dict[int, int]) -> Any:
    """Return a configuration whose shared objects, named by their addresses, are named 1, 2, 3 instead."""
    if isinstance(config, list):
        return [_renumbered(value, numbers) for value in config]
    if not isinstance(config, dict):
        return config
    return {
        key: numbers.setdefault(value, len(numbers) + 1) if key == "shared_object_id" else _renumbered(value, numbers)
        for key, value in config.items()
    }


def load(path: Path) -> keras.Model:
    """Return a saved network, uncompiled.

    Raises ResourceError when the file is none, is too large or holds a foreign class.
    """
    if path.is_symlink() or not path.is_file() or path.stat().st_size > _MAXIMUM_BYTES:
        raise ResourceError(f"{path} is no regular file of at most {_MAXIMUM_BYTES >> 30} GiB")
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo("config.json").file_size > _MAXIMUM_CONFIG_BYTES:
                raise ResourceError(f"{path}: its config.json is above {_MAXIMUM_CONFIG_BYTES >> 20} MiB")
            config = json.loads(archive.read("config.json"))
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise ResourceError(f"{path} is no .keras file: {error}") from error
    for module, name in _classes(config):
        if not _MODULES.fullmatch(module) or name in _REFUSED:
            raise ResourceError(f"{path} holds {module}.{name}, which is not allowed in a network file")
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (KeyError, OSError, TypeError, ValueError) as error:
        raise ResourceError(f"{path} does not load: {error}") from error


def _classes(config: Any) -> Iterator[tuple[str, str]]:
    """Yield the module and class of every object in a Keras configuration."""
    if isinstance(config, dict):
        if "class_name" in config:
            registered = config.get("registered_name")
            module = config.get("module") or ("builtins" if registered in (None, config["class_name"]) else "unknown")
            yield str(module), str(config["class_name"])
        for value in config.values():
            yield from _classes(value)
    elif isinstance(config, list):
        for value in config:
            yield from _classes(value)
