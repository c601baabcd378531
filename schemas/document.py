"""The base of every configuration, request and result: frozen, and strict about unknown keys."""

import hashlib
import json
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from schemas.errors import SpecError


class Document(BaseModel):
    """A frozen pydantic model that refuses unknown keys and has one canonical JSON form."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the document from a JSON file; raises SpecError when it is missing or does not fit."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise SpecError(f"cannot read {path}: {error.strerror}") from error
        except ValidationError as error:
            raise SpecError(f"{path} is no {cls.__name__}: {_first(error)}") from error

    def to_json(self) -> str:
        """Return the document as indented JSON that ends with a newline: the form that is written to files."""
        return self.model_dump_json(indent=2) + "\n"


class Record(Document):
    """A document that programs alone write and read: its fields' docstrings enter no form and no page.

    pydantic looks for them in all loaded modules, class by class, which takes longer than to load the class.
    """

    model_config = ConfigDict(use_attribute_docstrings=False)


def or_text(schema: dict[str, Any]) -> None:
    """Say in a model's JSON Schema that a text alone will do (as pydantic's `json_schema_extra`)."""
    mapping = {key: schema.pop(key) for key in list(schema)}
    schema |= {"anyOf": [{"type": "string"}, mapping], "description": mapping.pop("description")}


def _first(error: ValidationError) -> str:
    problem = error.errors()[0]
    return f"{'.'.join(map(str, problem['loc'])) or 'document'}: {problem['msg']}"


def digest(value: Any) -> str:
    """Return the SHA-256 of a JSON-able value in canonical form (sorted keys, no spaces), in hexadecimal."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
