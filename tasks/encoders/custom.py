"""Encoders of the user's own: what a factory named in the spec makes learns from a column, and encodes it."""

import contextlib
import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np
import pyarrow as pa
from pydantic import JsonValue

from schemas.columns import CustomColumn
from schemas.errors import SpecError, UnloadableError
from tasks import plugins
from tasks.encoders.base import AnyValue, Array, Fitted, Floats, floats
from tasks.quotes import cause, told

_METHODS = {"observe": "values", "state": "", "names": "state", "transform": "values, state"}


class OwnEncoder(Protocol):
    """What a factory returns. Values have shape (n,): float64, NaN where missing; or texts, None where missing."""

    def observe(self, values: Array) -> None:
        """Take a batch of training values."""

    def state(self) -> Any:
        """Return what was learned of them, as JSON has it."""

    def names(self, state: Any) -> Sequence[str]:
        """Return one name for each number that comes out of a value."""

    def transform(self, values: Array, state: Any) -> Array:
        """Return finite numbers of shape (n, len(names)), those of a row by its value and the state alone."""


class CustomEncoder(Fitted):
    """A state, and the factory whose object encodes by it; its code is loaded when the first values are encoded."""

    kind: Literal["custom"] = "custom"
    encoder: str
    """The factory, as module:factory."""
    arguments: dict[str, JsonValue]
    """What the factory is called with."""
    source: str
    """SHA-256 of the source of its module: no other one encodes."""
    names: tuple[str, ...]
    """A name for each number that comes out."""
    state: JsonValue
    """What was learned."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """The column and a name, for each name."""
        return tuple(f"{self.name}.{name}" for name in self.names)

    @property
    def not_finite(self) -> str:
        """What is wrong where an encoded number is not finite, and what helps."""
        return f"{self.encoder} returns no number, or one too large for float32; let transform return finite ones"

    def transform(self, values: pa.Array) -> Floats:
        """Return float32 of shape (n, len(names)).

        Raises UnloadableError when the factory is not allowed or its source is not that of the training, and SpecError
        when its object fails or returns another shape.
        """
        own, wanted = self._own, (len(values), len(self.names))
        if not len(values):
            return np.zeros(wanted, np.float32)
        with _blamed(self.name, self.encoder), np.errstate(over="ignore"):
            encoded = np.asarray(own.transform(_plain(values), self.state)).astype(np.float32)
        if encoded.shape != wanted:
            raise SpecError(
                f"column {self.name!r}: {self.encoder} returns numbers of shape {encoded.shape}; {wanted} is wanted, a "
                f"row for each value and a number for each name ({', '.join(self.names)})"
            )
        return encoded

    @functools.cached_property
    def _own(self) -> OwnEncoder:
        try:
            if plugins.source_digest(self.encoder) != self.source:
                raise UnloadableError(
                    f"column {self.name!r} was encoded by another source of {self.encoder} (SHA-256 {self.source}): "
                    "train again"
                )
            return _made(self.name, self.encoder, self.arguments)
        except SpecError as error:
            raise UnloadableError(f"column {self.name!r} needs {self.encoder}, which does not load: {error}") from error


class CustomFitter(AnyValue):
    """Lets an object of the user's own observe the values."""

    def __init__(self, name: str, column: CustomColumn) -> None:
        """Start with no rows; raises SpecError when the factory is not allowed or refuses its arguments."""
        super().__init__(name, column)
        self._own = _made(name, column.encoder, column.arguments)

    def observe(self, values: pa.Array) -> None:
        """Take a batch."""
        super().observe(values)
        with _blamed(self._name, self._column.encoder):
            self._own.observe(_plain(values))

    def fitted(self, sample: Array) -> CustomEncoder | None:
        """Return the encoder; raises SpecError for a state that is not JSON, and for names that are none."""
        name, column = self._name, self._column
        if not self._known:
            return None
        with _blamed(name, column.encoder):
            state = self._own.state()
        state = _as_json(state, f"column {name!r}: the state of {column.encoder}")
        with _blamed(name, column.encoder):
            names = [*_made(name, column.encoder, column.arguments).names(state)]
        if not names or len({*names}) < len(names) or not all(isinstance(each, str) for each in names):
            raise SpecError(f"column {name!r}: {column.encoder} names its numbers {names}; distinct texts are wanted")
        return CustomEncoder(
            name=name,
            encoder=column.encoder,
            arguments=column.arguments,
            source=plugins.source_digest(column.encoder),
            names=tuple(names),
            state=state,
        )


def _made(name: str, reference: str, arguments: Mapping[str, Any]) -> OwnEncoder:
    """Return what a factory makes of its arguments; raises SpecError when that is not what is wanted."""
    factory = plugins.load(reference)
    try:
        made: OwnEncoder = factory(**arguments)
    except Exception as error:  # whatever the factory does
        raise SpecError(
            f"column {name!r}: {reference} refuses {dict(arguments)}: {type(error).__name__}: {error}"
        ) from error
    if lacking := [each for each in _METHODS if not callable(getattr(made, each, None))]:
        wanted = ", ".join(f"{each}({taken})" for each, taken in _METHODS.items())
        raise SpecError(
            f"column {name!r}: {reference} returns a {type(made).__name__} without {', '.join(lacking)}; an object "
            f"with {wanted} is wanted"
        )
    return made


def _plain(values: pa.Array) -> Array:
    """Return values as the user's code takes them, shape (n,)."""
    if isinstance(values, pa.DictionaryArray):
        values = values.dictionary_decode()
    return values.to_numpy(zero_copy_only=False) if pa.types.is_string(values.type) else floats(values)


def _as_json(state: Any, what: str) -> Any:
    """Return a state as it will be read from a file."""
    try:
        return json.loads(json.dumps(state, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise SpecError(
            f"{what} is not JSON ({error}): return finite numbers, texts, lists and dictionaries of them, arrays by "
            ".tolist()"
        ) from error


@contextlib.contextmanager
def _blamed(name: str, reference: str) -> Iterator[None]:
    """Say whose error it is when code of the user's own fails."""
    try:
        yield
    except SpecError:
        raise
    except Exception as error:  # whatever the code does
        kind, said = type(error).__name__, told(error)
        what = f"{kind}: {said}" if said != kind else kind
        raise SpecError(f"column {name!r}: {reference} fails: {what}") from cause(error)
