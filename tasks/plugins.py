"""Code of the user's own, named `module:name` in a spec, loaded only from modules that the operator allows."""

import importlib
import os
from typing import Any

from schemas.errors import SpecError

ALLOWED = "EVERMODEL_ALLOW_MODULES"


def load(reference: str) -> Any:
    """Return the object that `module:name` names.

    Raises SpecError unless the module, or a package that holds it, stands in the environment variable
    EVERMODEL_ALLOW_MODULES (names with commas between them).
    """
    module_name, _, name = reference.partition(":")
    allowed = [entry.strip() for entry in os.environ.get(ALLOWED, "").split(",") if entry.strip()]
    if not any(module_name == entry or module_name.startswith(f"{entry}.") for entry in allowed):
        raise SpecError(f"{reference}: module {module_name} is not allowed; the operator sets {ALLOWED}={module_name}")
    try:
        return getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError) as error:
        raise SpecError(f"{reference} cannot be loaded: {error}") from error
