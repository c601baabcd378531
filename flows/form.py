"""The form in which the Prefect UI asks for a run's parameters."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

from prefect.utilities.callables import parameter_schema

_TITLES = {
    "changes": "Changes for this run",
    "force": "Run every stage anew",
    "verify": "Read the data anew",
    "workspace": "Workspace",
    "spec": "Spec",
}
"""The parameters of `retrain` in the form's order: what a person changes first, what the deployment says last."""

_TABS = {"string": "text", "integer": "number", "number": "number", "boolean": "yes or no", "array": "list"}
_TABS |= {"object": "by name", "null": "none"}


def form(flow: Callable[..., Any], parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON Schema of a flow's parameters as the Prefect UI draws it well with a deployment's own."""
    schema = parameter_schema(flow).model_dump_for_openapi()
    for field in _nested(schema):
        _spell_out(field, schema["definitions"])
        _show_tabs(field)
    for name, field in schema["properties"].items():
        if name in _TITLES:
            field |= {"title": _TITLES[name], "position": list(_TITLES).index(name)}
        if name == "changes":
            field["default"] = {}  # with every null in it the form would send each of them
        _prefer(field, parameters.get(name), schema["definitions"])
    return schema


def _nested(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield every mapping in a schema, the outer ones first: they may be changed before the inner ones are seen."""
    if isinstance(schema, dict):
        yield schema
    for inner in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from _nested(inner)


def _spell_out(field: dict[str, Any], definitions: dict[str, Any]) -> None:
    """Put choices where they are referred to: the UI shows a reference to one as raw JSON."""
    named = _referred(field, definitions)
    if "$ref" in field and "anyOf" in named:
        del field["$ref"]
        field.update({**deepcopy(named), **field})
    if isinstance(field.get("anyOf"), list):
        for choice in field["anyOf"]:
            _spell_out(choice, definitions)
        field["anyOf"] = [inner for choice in field["anyOf"] for inner in choice.get("anyOf", [choice])]


def _show_tabs(field: dict[str, Any]) -> None:
    """Say anyOf where a tag tells models apart, which the UI shows as tabs, and give each tab a name."""
    if isinstance(field.get("oneOf"), list):
        field["anyOf"] = field.pop("oneOf")
        field.pop("discriminator", None)
    for choice in field["anyOf"] if isinstance(field.get("anyOf"), list) else ():
        if "$ref" not in choice:
            named = (
                "choice"
                if "enum" in choice or "const" in choice
                else choice.get("format") or _TABS.get(choice.get("type", ""), "value")
            )
            choice.setdefault("title", named)


def _prefer(field: dict[str, Any], value: Any, definitions: dict[str, Any]) -> None:
    """Put the model of a value first among its choices: of several with the value's keys the UI takes the first."""
    if not isinstance(value, dict):
        return
    choices = field.get("anyOf", [field])
    fitting = [each for each in choices if _fits(_referred(each, definitions), value)]
    if "anyOf" in field:
        field["anyOf"] = sorted(choices, key=lambda each: each not in fitting[:1])
    for model in (_referred(each, definitions) for each in fitting[:1]):
        if "properties" not in model and "anyOf" in field:  # by keys alone does the UI know what a value is
            model["properties"] = {name: deepcopy(model["additionalProperties"]) for name in value}
        for name, inner in model.get("properties", {}).items():
            _prefer(inner, value.get(name), definitions)


def _referred(field: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    return definitions[field["$ref"].rpartition("/")[2]] if "$ref" in field else field


def _fits(model: dict[str, Any], value: dict[str, Any]) -> bool:
    tags = {name: field["const"] for name, field in model.get("properties", {}).items() if "const" in field}
    has_its_own = all(name in value for name in model.get("required", ()))
    return (
        model.get("type") == "object"
        and has_its_own
        and all(value.get(name, tags[name]) == tags[name] for name in tags)
    )
