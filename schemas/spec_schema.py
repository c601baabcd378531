"""The JSON Schema of a spec, for editors that complete and check YAML and for the reference in docs/spec.md."""

from collections.abc import Iterator
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, NoDefault

from schemas.spec import Spec


def editor_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) that accepts what `read_spec` accepts, with every default in it."""
    schema = Spec.model_json_schema(schema_generator=_WithDefaults)
    for union in _unions(schema):
        _require_tags(union, schema["$defs"])
    return schema | {"$schema": GenerateJsonSchema.schema_dialect, "title": "Evermodel spec"}


class _WithDefaults(GenerateJsonSchema):
    """Pydantic's schema in the order of the source, with the defaults that factories make, without titles of fields."""

    def get_default_value(self, schema: Any) -> Any:
        value = super().get_default_value(schema)
        return schema["default_factory"]() if value is NoDefault and "default_factory" in schema else value

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def sort(self, value: Any, parent_key: str | None = None) -> Any:
        return value


def _unions(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield every schema that stands for one of several models told apart by a tag."""
    if isinstance(schema, dict):
        if "discriminator" in schema:
            yield schema
        for inner in schema.values():
            yield from _unions(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from _unions(inner)


def _require_tags(union: dict[str, Any], models: dict[str, Any]) -> None:
    """Require the tag in each model but the default one: for pydantic the tag decides before it looks at defaults."""
    key = union["discriminator"]["propertyName"]
    for tag, reference in union["discriminator"]["mapping"].items():
        if tag != union.get("default", {}).get(key):
            model = models[reference.rpartition("/")[2]]
            model["required"] = list(dict.fromkeys([key, *model.get("required", [])]))
