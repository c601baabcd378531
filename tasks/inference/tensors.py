"""Columns of number lists: by their own type, or written as text."""

from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import TensorColumn
from schemas.errors import DataError
from tasks.coercion import to_numbers
from tasks.inference.guesses import Guess, nulls_of
from tasks.inference.observed import Numbers, Observed
from tasks.inference.texts import labels_guess

_NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
_LISTED = rf"^[\s\[(]*{_NUMBER}([\s,;\[\]()]+{_NUMBER})+[\s\])]*$"
_SHORTEST = 4
"""Two or three numbers without brackets may be one that is written with a comma or spaces."""

_SMALLEST_SIDE = 7


def list_guess(seen: Observed) -> Guess | None:
    """Return what a list column is, or None for a flat column."""
    if not pa.types.is_nested(seen.type):
        return None
    shape: list[int] = []
    values = seen.values.drop_null()
    if pa.types.is_list(seen.type) and pa.types.is_string(seen.type.value_type) and (found := labels_guess(values)):
        return found
    while pa.types.is_nested(values.type):
        if pa.types.is_struct(values.type) or pa.types.is_map(values.type) or pa.types.is_union(values.type):
            return Guess(f"{seen.type} cannot be read; make its fields columns of their own")
        lengths = pc.unique(pc.list_value_length(values))
        if len(lengths) != 1 or lengths[0].as_py() in (0, None):
            return Guess("lists of different lengths, or empty ones, cannot be read")
        shape.append(lengths[0].as_py())
        values = pc.list_flatten(values)
    try:
        numbers = to_numbers(values.drop_null(), name=seen.name, nulls=()).values
    except DataError:
        numbers = pa.nulls(1)
    if numbers.null_count or not len(numbers):
        return Guess(f"lists of something else than numbers ({values.type}) cannot be read as a feature")
    return _tensor(shape, numbers.to_numpy(), None)


def written_list_guess(seen: Observed) -> Guess | None:
    """Return the tensor for texts with the same count of numbers in each, such as `[0, 12, 7]`, or None."""
    if not seen.is_text or not pc.all(pc.match_substring_regex(seen.known, _LISTED)).as_py():
        return None
    plain = pc.utf8_trim_whitespace(pc.replace_substring_regex(seen.known, r"[\[\](),;\s]+", " "))
    lists = pc.split_pattern(plain, " ")
    lengths = pc.unique(pc.list_value_length(lists)).to_pylist()
    bracketed = pc.all(pc.match_substring_regex(seen.known, r"^\s*[\[(]")).as_py()
    if len(lengths) != 1 or (lengths[0] < _SHORTEST and not bracketed):
        return None
    return _tensor(lengths, pc.list_flatten(lists).cast(pa.float64()).to_numpy(), nulls_of(seen))


def _tensor(shape: list[int], numbers: Numbers, nulls: tuple[str, ...] | None) -> Guess:
    low, high = numbers.min(), numbers.max()
    said = f"{' × '.join(map(str, shape))} numbers from {low:g} to {high:g}"
    side = round(shape[0] ** 0.5)
    if len(shape) == 1 and side >= _SMALLEST_SIDE and side**2 == shape[0]:
        shape, said = [side, side], f"{said}, taken as {side} × {side}"
    scale: Literal["min_max", "standard"] = "min_max" if low >= 0 and high <= 255 else "standard"
    return Guess(said, TensorColumn(shape=tuple(shape), scale=scale, nulls=nulls))
