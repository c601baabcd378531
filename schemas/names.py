"""The names, arguments and directions of what Keras and scikit-learn know, so that a spec is judged without them.

`names.json` is written from the installed libraries by `make docs` (`tasks.training.names`).
"""

import difflib
import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter

from schemas.document import Document

Library = Literal["figure", "metric", "score"]
LIBRARIES: tuple[Library, ...] = ("figure", "metric", "score")
"""Where a metric comes from: it is computed of every run, it is Keras's, or it is scikit-learn's or Evermodel's own."""

Kind = Literal[
    "loss",
    "figure",
    "metric",
    "score",
    "optimizer",
    "schedule",
    "activation",
    "initializer",
    "regularizer",
    "constraint",
]

FILE = Path(__file__).with_name("names.json")

REFERENCE = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"
"""What names something of the user's own: module:name."""


class Entry(Document):
    """Something with a name."""

    name: str
    """The class, or the function where there is no class."""
    snake: str
    """The same in snake case."""
    aliases: tuple[str, ...] = ()
    """Short names."""
    arguments: dict[str, Any] = {}
    """Its arguments, each with its default."""
    required: tuple[str, ...] = ()
    """Arguments without a default."""
    lower_is_better: bool | None = None
    """Of a metric: whether a lower value is the better one, where that is known."""
    problems: tuple[str, ...] | None = None
    """Of a figure or score: the problems whose predictions it takes."""

    @property
    def names(self) -> tuple[str, ...]:
        """All names that it answers to."""
        return tuple(dict.fromkeys((self.name, self.snake, *self.aliases)))


@functools.cache
def entries(kind: Kind) -> tuple[Entry, ...]:
    """Return all entries of a kind, sorted by name."""
    return TypeAdapter(dict[str, tuple[Entry, ...]]).validate_json(FILE.read_bytes())[kind]


def is_reference(name: str) -> bool:
    """Say whether a name is that of something of the user's own, module:name."""
    return re.match(REFERENCE, name) is not None


def known(name: str, kind: Kind) -> Entry | None:
    """Return the entry of a name, in any case and with or without underscores; None when there is none."""
    return _by_name(kind).get(_plain(name))


def find(name: str, kind: Kind) -> Entry:
    """Return the entry of a name, in any case and with or without underscores.

    Raises ValueError with the nearest name.
    """
    if (found := known(name, kind)) is not None:
        return found
    raise ValueError(f"Keras has no {kind} {name!r}; {nearest(name, kind)}")


def nearest(name: str, *kinds: Kind) -> str:
    """Return the name that may be meant, or all that there are, as the end of a message."""
    by_plain = {plain: entry.name for kind in reversed(kinds) for plain, entry in _by_name(kind).items()}
    if near := difflib.get_close_matches(_plain(name), by_plain, n=1):
        return f"did you mean {by_plain[near[0]]}?"
    return f"there are {', '.join(dict.fromkeys(entry.name for kind in kinds for entry in entries(kind)))}"


def refuse_arguments(entry: Entry, arguments: Mapping[str, Any]) -> None:
    """Raise ValueError for an argument that is not taken, is missing, or is no number where the default is one."""
    for name, value in arguments.items():
        if name not in (*entry.arguments, *entry.required):
            near = difflib.get_close_matches(name, [*entry.arguments, *entry.required], n=1)
            taken = ", ".join((*entry.required, *entry.arguments)) or "no argument"
            raise ValueError(
                f"{entry.name} refuses {name}: " + (f"did you mean {near[0]}?" if near else f"it takes {taken}")
            )
        if not _is_like(value, entry.arguments.get(name)):
            wanted = "true or false" if isinstance(entry.arguments[name], bool) else "a number"
            raise ValueError(f"{entry.name} wants {wanted} for {name}, got {value!r}")
    if missing := [name for name in entry.required if name not in arguments]:
        raise ValueError(f"{entry.name} wants {missing[0]}; write {{name: {entry.snake}, {missing[0]}: ...}}")


def _is_like(value: Any, default: Any) -> bool:
    if isinstance(default, bool):
        return isinstance(value, bool)
    if isinstance(default, int | float):  # a list: one number a class
        return isinstance(value, int | float | list | tuple | dict) and not isinstance(value, bool)
    return True


@functools.cache
def _by_name(kind: Kind) -> dict[str, Entry]:
    return {_plain(name): entry for entry in reversed(entries(kind)) for name in reversed(entry.names)}


def _plain(name: str) -> str:
    return name.replace("_", "").lower()
