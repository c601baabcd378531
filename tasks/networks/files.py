"""Network files: the same network gives the same bytes, and nothing unknown is loaded."""

import contextlib
import importlib
import inspect
import json
import logging
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import keras

from schemas.errors import ResourceError, SpecError, UnloadableError
from tasks import plugins

_MAXIMUM_BYTES = 8 << 30
_MAXIMUM_CONFIG_BYTES = 64 << 20
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first time that a zip archive can hold
# What runs any code that it is given.
_REFUSED = {"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "__lambda__"}
_MODULES = re.compile(
    r"builtins|keras(\.(activations|constraints|initializers|layers|losses|metrics|models|regularizers"
    r"|optimizers(\.schedules)?|src\.models\.\w+|src\.ops\.\w+))?"
)
"""Modules whose classes a network file may name, beside those that the operator allows."""
_OWN_LOSS = {("tasks.training.custom", "OwnLoss"), ("evermodel", "OwnLoss")}


def save(network: keras.Model, path: Path) -> None:
    """Save a compiled network with its optimiser's state as `.keras` or `.h5`, by the name's ending.

    The same network gives the same bytes: times and addresses that Keras puts in are left out.
    """
    if path.suffix == ".h5":
        _save_hdf5(network, path)
        return
    stamped = path.with_suffix(".stamped.keras")
    network.save(stamped)
    with zipfile.ZipFile(stamped) as source, zipfile.ZipFile(path, "w") as target:
        for name in sorted(source.namelist()):
            content = source.read(name)
            if name == "metadata.json":
                content = json.dumps({**json.loads(content), "date_saved": "1980-01-01@00:00:00"}).encode()
            elif name == "config.json":
                config = json.loads(content)
                config["compile_config"]["loss"]["config"] |= _loss_arguments(network.loss)
                content = json.dumps(_renumbered(config, {})).encode()
            target.writestr(zipfile.ZipInfo(name, _EPOCH), content)
    stamped.unlink()


def _save_hdf5(network: keras.Model, path: Path) -> None:
    """Save as HDF5, and give back what Keras takes from the live network then: its optimiser."""
    optimizer, loss = network.optimizer, network.loss
    with _without_warnings():  # that HDF5 is an old format, which is why it was asked for
        network.save(path)
    network.compile(optimizer=optimizer, loss=loss)
    saved = keras.saving.serialize_keras_object(loss)
    saved["config"] |= _loss_arguments(loss)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["training_config"])
        file.attrs["training_config"] = json.dumps(config | {"loss": saved})


def _loss_arguments(loss: keras.losses.Loss) -> dict[str, Any]:
    """Return the arguments of a loss, some of which Keras does not save: without them Huber comes back with delta 1."""
    taken = inspect.signature(type(loss)).parameters
    return {name: value for name, value in getattr(loss, "_fn_kwargs", {}).items() if name in taken}


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Keep Keras's warnings to its log off the terminal."""
    log = logging.getLogger("absl")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


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


def load(path: Path, *, compiled: bool = False, code: Mapping[str, str] | None = None) -> keras.Model:
    """Return a saved network; compiled with its loss and its optimiser's state if that is asked for.

    A loss of the user's own is found by the name and the arguments that the file holds, if the operator allows its
    module. `code` are the SHA-256 of the sources that the network was made with, by module:name. Raises ResourceError
    when the file is none or too large, and UnloadableError when it holds a foreign class, or needs another Keras or
    code that has changed since.
    """
    if path.is_symlink() or not path.is_file() or path.stat().st_size > _MAXIMUM_BYTES:
        raise ResourceError(f"{path} is no regular file of at most {_MAXIMUM_BYTES >> 30} GiB")
    configurations = _hdf5_configurations(path) if path.suffix == ".h5" else _zipped_configuration(path)
    importlib.import_module("tasks.training.custom")  # registers the loss that loads the user's own
    for module in sorted(_own_modules(configurations, path)):
        _register(module, code or {}, path)
    hdf5 = path.suffix == ".h5"
    try:
        network = keras.saving.load_model(path, compile=compiled and not hdf5, safe_mode=True)
        if compiled and hdf5:
            _compile(network, path)
    except (AttributeError, ImportError, KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise UnloadableError(f"{path} does not load: {error}") from error
    return network


def _own_modules(configurations: Any, path: Path) -> set[str]:
    """Return the modules of the user's own that a network file names; raises ResourceError for a foreign class."""
    own = set()
    for module, name in _classes(configurations):
        if plugins.is_allowed(module):
            own.add(module)
        elif (module, name) not in _OWN_LOSS and (not _MODULES.fullmatch(module) or name in _REFUSED):
            raise UnloadableError(f"{path} holds {module}.{name}, which is not allowed in a network file")
    return own


def _register(module: str, code: Mapping[str, str], path: Path) -> None:
    """Import a module of the user's own, which registers its layers, unless its source has changed."""
    try:
        for reference, digest in code.items():
            if reference.partition(":")[0] == module and plugins.source_digest(reference) != digest:
                raise UnloadableError(
                    f"{path} was made with another source of {module} (SHA-256 {digest}): train again"
                )
        importlib.import_module(module)
    except (ImportError, SpecError) as error:
        raise UnloadableError(f"{path} needs {module}, which does not load: {error}") from error


def _compile(network: keras.Model, path: Path) -> None:
    """Compile a network as its HDF5 file says, with the optimiser's state, which Keras itself does not read."""
    with h5py.File(path, "r") as file:
        training = json.loads(file.attrs["training_config"])
        group = file["optimizer_weights"]
        values = [group[name][()] for name in group.attrs["weight_names"]]
    optimizer = keras.optimizers.deserialize(training["optimizer_config"])
    optimizer.build(network.trainable_variables)
    for variable, value in zip(optimizer.variables, values, strict=True):
        variable.assign(value)
    network.compile(optimizer=optimizer, loss=keras.saving.deserialize_keras_object(training["loss"]))


def _zipped_configuration(path: Path) -> Any:
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo("config.json").file_size > _MAXIMUM_CONFIG_BYTES:
                raise ResourceError(f"{path}: its config.json is above {_MAXIMUM_CONFIG_BYTES >> 20} MiB")
            return json.loads(archive.read("config.json"))
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise ResourceError(f"{path} is no .keras file: {error}") from error


def _hdf5_configurations(path: Path) -> list[Any]:
    """Return the configurations in an HDF5 file after a look at what else it would open."""
    try:
        with h5py.File(path, "r") as file:
            _refuse_outside(file, path)
            texts = [file.attrs[name] for name in ("model_config", "training_config") if name in file.attrs]
            if not texts or "model_config" not in file.attrs:
                raise ResourceError(f"{path} holds no network")
            return [_legacy(json.loads(text)) for text in texts]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ResourceError(f"{path} is no .h5 file: {error}") from error


def _refuse_outside(group: h5py.Group, path: Path) -> None:
    """Refuse links, and data sets stored, in other files; raises ResourceError."""
    for name in group:
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            raise ResourceError(f"{path} holds the link {group.name}/{name}, which is not allowed in a network file")
        inner = group[name]
        if isinstance(inner, h5py.Group):
            _refuse_outside(inner, path)
        elif not isinstance(inner, h5py.Dataset) or inner.external or inner.is_virtual:
            raise ResourceError(f"{path}: the data of {inner.name} are not in the file itself, which is not allowed")


def _legacy(config: Any) -> Any:
    """Return an HDF5 configuration in which a class without a module is one of Keras, or a registered one."""
    if isinstance(config, list):
        return [_legacy(value) for value in config]
    if not isinstance(config, dict):
        return config
    plain = {key: _legacy(value) for key, value in config.items()}
    name = plain.get("class_name")
    if isinstance(name, str) and "module" not in plain:
        package, _, registered = name.rpartition(">")
        plain |= {"module": package or "builtins", "class_name": registered}
    return plain


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
