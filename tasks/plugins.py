"""Code of the user's own, named `module:name` in a spec, loaded only from modules that the operator allows."""

import copy
import functools
import hashlib
import importlib
import importlib.util
import inspect
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schemas.errors import SpecError

if TYPE_CHECKING:
    from pandera.pandas import DataFrameSchema

ALLOWED = "EVERMODEL_ALLOW_MODULES"

_IMPORTED: dict[str, str] = {}
"""The SHA-256 of the source that each module was imported from."""


def load(reference: str) -> Any:
    """Return the object that `module:name` names.

    It is as its source is now, whatever this process imported before. Raises SpecError unless the module, or a package
    that holds it, stands in the environment variable EVERMODEL_ALLOW_MODULES (names with commas between them).
    """
    module_name, _, name = reference.partition(":")
    digest = source_digest(reference)
    try:
        module = importlib.import_module(module_name)
        if _IMPORTED.setdefault(module_name, digest) != digest:  # a notebook or a server goes on while code changes
            module = importlib.reload(module)
            _IMPORTED[module_name] = digest
        return getattr(module, name)
    except Exception as error:  # whatever the module does while it is imported
        raise SpecError(f"{reference} cannot be loaded: {type(error).__name__}: {error}") from error


def made(reference: str, arguments: Mapping[str, Any]) -> Any:
    """Return a function of y_true and y_pred, or a Keras loss or metric, that `module:name` is or makes.

    What takes y_true and y_pred itself gets the arguments with them; anything else is called with the arguments, and
    what it returns is meant. Raises SpecError as `load` does, and for arguments that are refused.
    """
    found = load(reference)
    if not callable(found):
        raise SpecError(f"{reference} is a {type(found).__name__}; a function is wanted")
    try:
        parameters = inspect.signature(found).parameters
        if not inspect.isclass(found) and [*parameters][:2] == ["y_true", "y_pred"]:
            inspect.signature(found).bind(None, None, **arguments)
            return functools.partial(found, **arguments) if arguments else found
        result = found(**arguments)
    except Exception as error:  # whatever the function does
        raise SpecError(f"{reference} refuses {dict(arguments)}: {type(error).__name__}: {error}") from error
    if not callable(result):
        raise SpecError(
            f"{reference} returns a {type(result).__name__}; a function of y_true and y_pred is wanted, "
            "or let its own first arguments be y_true and y_pred"
        )
    return result


def source_digests(references: Iterable[str]) -> dict[str, str]:
    """Return the SHA-256 of the source of each `module:name`; raises SpecError as `load` does."""
    return {reference: source_digest(reference) for reference in references}


def allow(modules: Iterable[str]) -> None:
    """Allow modules beside those in EVERMODEL_ALLOW_MODULES, in this process and those that it starts."""
    os.environ[ALLOWED] = ",".join([*allowed(), *modules])


def is_allowed(module_name: str) -> bool:
    """Say whether the operator allows a module, or a package that holds it."""
    return any(module_name == entry or module_name.startswith(f"{entry}.") for entry in allowed())


def source_digest(reference: str) -> str:
    """Return the SHA-256 of the module's source file; raises SpecError as `load` does."""
    module_name = reference.partition(":")[0]
    _refuse_stranger(reference, module_name)
    try:
        spec = importlib.util.find_spec(module_name)
    except Exception as error:  # whatever a package does while it is imported
        raise SpecError(f"{reference} cannot be loaded: {type(error).__name__}: {error}") from error
    if spec is None or not spec.origin or not Path(spec.origin).is_file():
        raise SpecError(f"{reference} cannot be loaded: there is no module {module_name} on the Python path")
    return hashlib.sha256(Path(spec.origin).read_bytes()).hexdigest()


def pandera_schema(reference: str) -> "DataFrameSchema":
    """Return a user's pandera model, or schema, as a schema that reports every bad row and drops none."""
    import pandera.pandas as pa

    model = load(reference)
    if isinstance(model, type) and issubclass(model, pa.DataFrameModel):
        model = model.to_schema()
    if not isinstance(model, pa.DataFrameSchema):
        raise SpecError(
            f"{reference} is a {type(model).__name__}; a pandera DataFrameModel or DataFrameSchema is wanted"
        )
    schema = copy.deepcopy(model)
    schema.drop_invalid_rows = False
    return schema


def allowed() -> list[str]:
    """Return the modules and packages that the operator allows."""
    return [entry.strip() for entry in os.environ.get(ALLOWED, "").split(",") if entry.strip()]


def _refuse_stranger(reference: str, module_name: str) -> None:
    if not is_allowed(module_name):
        raise SpecError(
            f"{reference}: module {module_name} is not allowed; the operator sets {ALLOWED}={module_name} or gives "
            f"--allow-module {module_name}"
        )
