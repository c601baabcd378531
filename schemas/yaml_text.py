"""Reading YAML 1.2 with the line of each key. Keys are text, and a key that stands twice is refused."""

import re
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import yaml

from schemas.errors import SpecError

Location = tuple[str | int, ...]
Place = Callable[[int], str]

_MOST_VALUES = 1_000_000  # with aliases written out: a few short lines can stand for billions of values


def parse(text: str, place: Place) -> tuple[Any, dict[Location, str]]:
    """Return a text's value, and where each key and list item in it stands.

    `place` makes a line number, from 1, into what a person reads, such as spec.yaml:12. Raises SpecError.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None, {}
        places: dict[Location, str] = {}
        for count, (location, line) in enumerate(_lines(node, (), place)):
            if count == _MOST_VALUES:
                raise SpecError(f"{place(1)}: more than {_MOST_VALUES:,} values; do aliases repeat each other?")
            places[location] = place(line)
        return loader.construct_document(node), places
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        said = getattr(error, "problem", None) or error
        raise SpecError(f"{place(mark.line + 1 if mark else 1)}: no valid YAML: {said}") from error
    except RecursionError as error:
        raise SpecError(f"{place(1)}: nested too deeply, or an alias that holds itself") from error


class _Loader(yaml.SafeLoader):
    """PyYAML reads YAML 1.1, where 1e-3 is text, yes is true and 010 is 8: this takes the plain values of YAML 1.2.

    Dates and numbers that begin with 0 stay text, and so does every key: a column may be called 2020.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        self.flatten_mapping(node)
        return {key.value: self.construct_object(value, deep=deep) for key, value in node.value}


_NUMBER = r"[-+]?(?:0|[1-9][0-9]*)"
_PLAIN = {
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (_NUMBER, "-+0123456789"),
    "float": (
        rf"(?:{_NUMBER}(?:\.[0-9]*)?|[-+]?\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+0123456789.",
    ),
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "merge": (r"<<", "<"),
}
_Loader.yaml_implicit_resolvers = {}
for _name, (_pattern, _first) in _PLAIN.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(rf"(?:{_pattern})\Z"), list(_first))


def _lines(node: yaml.Node, location: Location, place: Place) -> Iterator[tuple[Location, int]]:
    """Yield the line of every key and list item; refuse a key that stands twice or is no text."""
    yield location, node.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _lines(item, (*location, index), place)
    elif isinstance(node, yaml.MappingNode):
        first: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise SpecError(f"{place(line)}: a key must be text, not a list or a mapping")
            if key.value in first:
                raise SpecError(
                    f"{place(line)}: key {key.value!r} stands a second time (first in line {first[key.value]})"
                )
            first[key.value] = line
            yield from _lines(value, (*location, key.value), place)
            yield (*location, key.value), line
