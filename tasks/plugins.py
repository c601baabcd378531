"""Code of the user's own, named `module:name` in a spec, loaded only from modules that the operator allows."""

import copy
import hashlib
import importlib
import importlib.util
import os
from pathlib import Path
from typing import Any

import pandera.pandas as pa

from schemas.errors import SpecError

ALLOWED = "EVERMODEL_ALLOW_MODULES"


def load(reference: str) -> Any:
    """Return the object that `module:name` names.

    Raises SpecError unless the module, or a package that holds it, stands in the environment variable
    EVERMODEL_ALLOW_MODULES (names with commas between them).
    """
    module_name, _, name = reference.partition(":")
    _refuse_stranger(reference, module_name)
    try:
        return getattr(importlib.import_module(module_name), name)
    except Exception as error:  # whatever the module does while it is imported
        raise SpecError(f"{reference} cannot be loaded: {type(error).__name__}: {error}") from error


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


def pandera_schema(reference: str) -> pa.DataFrameSchema:
    """Return a user's pandera model, or schema, as a schema that reports every bad row and drops none."""
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
    if not any(module_name == entry or module_name.startswith(f"{entry}.") for entry in allowed()):
        raise SpecError(f"{reference}: module {module_name} is not allowed; the operator sets {ALLOWED}={module_name}")
