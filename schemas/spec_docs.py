"""Writes docs/spec.md, the reference of the spec, from its JSON Schema: `python -m schemas.spec_docs [--check]`."""

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from schemas import names
from schemas.spec import Spec
from schemas.spec_schema import editor_schema
from schemas.yaml_text import parse

PAGE = Path(__file__).parent.parent / "docs" / "spec.md"

EXAMPLE = """\
name: churn
problem: binary
data:
  path: ${CUSTOMERS}/customers.parquet
  key: [customer]
  nulls: ["", "n/a"]
target:
  column: left
  positive: "yes"
columns:
  age: {kind: numeric, minimum: 0, maximum: 120}
  income: {kind: numeric, scale: log}
  plan: {kind: ordinal, categories: [basic, plus, premium]}
  country: {kind: one_hot, min_count: 20}
  shop: {kind: embedding}
  joined: {kind: datetime, parts: [year, month, day_of_week]}
  newsletter: {kind: boolean}
split:
  by: time
  column: joined
network:
  hidden: [128, 64]
  dropout: 0.1
training:
  epochs: 100
  optimizer: {name: adamw, learning_rate: 1e-3}
  class_weight: balanced
evaluation:
  metric: roc_auc
"""

INTRODUCTION = """\
# The spec

<!-- Written by `make docs` from the models in schemas/: change those, not this page. -->

One YAML file says all there is to say about a model. A key that is not on this page is an error, as is a key that
stands twice. `evermodel init DATA --target COLUMN` writes a first spec, `evermodel check SPEC` tries one on its data,
and `evermodel schema` prints the JSON Schema that editors complete and check it by.

```yaml
{example}```

The file is YAML 1.2: `1e-3` is a number; `yes`, `00123` and `2024-01-31` are text; `true`, `5` and `null` want quotes
where text is meant, as in `classes: ["0", "1"]`. `--set training.epochs=5` overrides one key for one run.
`${{NAME}}` is replaced by an environment variable in `data.path`, and nowhere else.
"""


_MOST_NAMES = 20
_TITLES: dict[names.Kind, str] = {
    "loss": "Losses",
    "figure": "Metrics of every run",
    "metric": "Metrics of Keras",
    "score": "Metrics of scikit-learn, and those that both lack",
    "optimizer": "Optimisers",
    "schedule": "Schedules of the learning rate",
    "activation": "Activations",
    "initializer": "Initialisers",
    "regularizer": "Regularizers",
    "constraint": "Constraints",
}


class _Section(NamedTuple):
    """One model, or several that a tag tells apart, and the keys under which it stands."""

    keys: list[str]
    schema: dict[str, Any]

    @property
    def title(self) -> str:
        return ", ".join(dict.fromkeys(self.keys))

    @property
    def link(self) -> str:
        return f"[{self.title}](#{_anchor(self.title)})"


def spec_page() -> str:
    """Return docs/spec.md; raises pydantic.ValidationError when its example is no valid spec."""
    example, _ = parse(EXAMPLE, lambda line: f"example:{line}")
    Spec.model_validate(example | {"data": example["data"] | {"path": "customers.parquet"}})
    return "\n".join([INTRODUCTION.format(example=EXAMPLE), *_Reference(editor_schema()).lines()]) + "\n"


class _Reference:
    """Renders the models of a schema, each under the keys that lead to it."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self._schema = schema
        self._models: dict[str, dict[str, Any]] = schema["$defs"]
        self._sections: dict[str, _Section] = {}
        self._kinds_said: Counter[str] = Counter()
        self._find(schema, "")

    def _find(self, model: dict[str, Any], path: str) -> None:
        """Collect the sections in the order in which a reader of the spec meets them."""
        for key, field in model.get("properties", {}).items():
            for identity, schema in _sections_in(field):
                keys = f"{path}{key}"
                if identity in self._sections:
                    self._sections[identity].keys.append(keys)
                    continue
                self._sections[identity] = _Section([keys], schema)
                for inner in self._variants(schema).values():
                    self._find(inner, f"{keys}.")

    def _variants(self, schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """Return the models that a schema stands for, by tag."""
        if "discriminator" in schema:
            mapping = schema["discriminator"]["mapping"]
            members = [_name(member["$ref"]) for member in schema["oneOf"]]
            return {tag: self._models[name] for name in members for tag in mapping if _name(mapping[tag]) == name}
        model = self._models[_name(schema["$ref"])]
        return {"": next((form for form in model.get("anyOf", []) if "properties" in form), model)}

    def lines(self) -> Iterator[str]:
        """Yield the page line by line: the spec's own keys, then section by section."""
        yield "## Keys of the spec\n"
        yield from self._table(self._schema)
        for section in self._sections.values():
            yield f"\n## {section.title}\n"
            if "discriminator" in section.schema:
                yield from self._kinds(section.schema)
            else:
                model = self._models[_name(section.schema["$ref"])]
                yield model["description"] + "\n"
                yield from self._table(self._variants(section.schema)[""])

        yield from _names()

    def _kinds(self, union: dict[str, Any]) -> Iterator[str]:
        key, default = union["discriminator"]["propertyName"], union.get("default", {})
        variants = self._variants(union)
        said = f", {_code(default[key])} when `{key}` is left out" if key in default else ""
        yield f"One of {len(variants)} forms{said}:\n"
        for tag in variants:
            heading = f"{key}: {tag}"
            yield f"- [`{heading}`](#{_anchor(heading, before=self._kinds_said[heading])})"
            self._kinds_said[heading] += 1
        for tag, model in variants.items():
            yield f"\n### `{key}: {tag}`\n"
            yield model["description"] + "\n"
            yield from self._table(model, tag_key=key)

    def _table(self, model: dict[str, Any], *, tag_key: str | None = None) -> Iterator[str]:
        yield "| field | type | default | description |"
        yield "|---|---|---|---|"
        for key, field in model["properties"].items():
            if key != tag_key:
                default = "required" if key in model.get("required", []) else self._default(field)
                description = field.get("description") or self._models[_name(field["$ref"])]["description"]
                cells = (f"`{key}`", self._type(field), default, " ".join(description.split()))
                yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    def _default(self, field: dict[str, Any]) -> str:
        value = field.get("default")
        if not isinstance(value, dict) or not value:
            return "" if value is None or value == {} else _code(value)
        tag = field.get("discriminator", {}).get("propertyName")
        if tag:
            return f"`{{{tag}: {value[tag]}}}`"
        return _code(value["name"]) if set(value) == {"name"} else "its defaults"

    def _type(self, schema: dict[str, Any]) -> str:
        for _, section in _sections_in(schema, deep=False):
            return self._link(section)
        match schema:
            case {"anyOf": forms}:
                return " or ".join(dict.fromkeys(self._type(form) for form in forms))
            case {"const": value}:
                return _code(value)
            case {"enum": values}:
                return ", ".join(map(_code, values)) if len(values) <= _MOST_NAMES else "a [name](#names)"
            case {"type": "array"}:
                return f"list of {'one or more: ' if schema.get('minItems') else ''}{self._type(schema['items'])}"
            case {"type": "object", "additionalProperties": True}:
                return "mapping"
            case {"type": "object"}:
                return f"mapping of name to {self._type(schema['additionalProperties'])}"
            case {"type": kind}:
                return _plain(kind, schema)
        raise NotImplementedError(f"the reference has no words for {schema}")

    def _link(self, schema: dict[str, Any]) -> str:
        identity = _identity(schema)
        is_short = any(form.get("type") == "string" for form in self._models.get(identity, {}).get("anyOf", []))
        return f"{'name or ' if is_short else ''}{self._sections[identity].link}"


def _names() -> Iterator[str]:
    """Yield the tables of the names that Keras and scikit-learn have, with their arguments."""
    yield "\n## Names\n"
    yield "A Keras name may stand as its class name, in snake case as here, or in any case. What stands beside the name"
    yield "in a mapping are its arguments; one without a default must be given."
    for kind, title in _TITLES.items():
        yield f"\n### {title}\n"
        entries = names.entries(kind)
        if not any(entry.arguments or entry.required or entry.problems for entry in entries):
            yield ", ".join(_code(entry.snake) for entry in entries)
            continue
        yield "| name | arguments | problems |" if entries[0].problems else "| name | arguments |"
        yield "|---|---|---|" if entries[0].problems else "|---|---|"
        for entry in entries:
            defaults = [f"{name}: {json.dumps(value)}" for name, value in entry.arguments.items()]
            arguments = ", ".join(map(_code, (*entry.required, *defaults)))
            cells = [_code(entry.snake), arguments, *([", ".join(entry.problems)] if entry.problems else [])]
            yield "| " + " | ".join(cells) + " |"


def _sections_in(schema: Any, *, deep: bool = True) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the models, and the unions of models, that a field's schema refers to, each with a name of its own."""
    if not isinstance(schema, dict):
        return
    if "$ref" in schema or "discriminator" in schema:
        yield _identity(schema), schema
    elif deep:
        for inner in [*schema.get("anyOf", []), schema.get("items"), schema.get("additionalProperties")]:
            yield from _sections_in(inner)


def _identity(schema: dict[str, Any]) -> str:
    return _name(schema["$ref"]) if "$ref" in schema else json.dumps(schema["discriminator"]["mapping"])


def _name(reference: str) -> str:
    return reference.rpartition("/")[2]


def _plain(kind: str, schema: dict[str, Any]) -> str:
    """Say a plain JSON type and its limits in words."""
    words = {"integer": "whole number", "number": "number", "string": "text", "boolean": "`true`, `false`"}
    limits = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    if schema.get("maxLength") == 1:
        return "one character"
    said = [f"{sign} {schema[limit]}" for limit, sign in limits.items() if limit in schema]
    return {"null": "`null`"}.get(kind) or " ".join([words[kind], " and ".join(said)]).strip()


def _code(value: Any) -> str:
    return f"`{value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}`"


def _anchor(title: str, *, before: int = 0) -> str:
    """Return the fragment by which GitHub links to a heading; `before` others on the page are the same."""
    fragment = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
    return f"{fragment}-{before}" if before else fragment


def main(arguments: list[str] | None = None) -> int:
    """Write the page, or with --check compare it; return the exit code."""
    parser = argparse.ArgumentParser(description="Write docs/spec.md from the spec's JSON Schema.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when the page is stale")
    page = spec_page()
    if not parser.parse_args(arguments).check:
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(page, encoding="utf-8")
        return 0
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == page:
        return 0
    print("docs/spec.md is stale: run `make docs`", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
