"""Raw Arrow columns to typed ones, as the contract says: nothing is guessed, truncated or silently lost.

A value that cannot be what its column's kind says becomes null, and its row gets a reason.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import (
    BooleanColumn,
    Column,
    DatetimeColumn,
    EmbeddingColumn,
    NumericColumn,
    OneHotColumn,
    OrdinalColumn,
    TensorColumn,
)
from schemas.errors import DataError

TIMESTAMP = pa.timestamp("us", tz="UTC")
EXACT = 2**53
"""Above this a float64 no longer holds every integer."""

NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
"""What a number looks like in text."""

_INTEGER = r"^[+-]?\d+$"
_AWARE = r":\d{2}(\.\d+)?\s*(Z|z|[+-]\d{2}(:?\d{2})?)$"

Mask = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True)
class Coerced:
    """A typed column of n values, and a mask of shape (n,) with a reason for each kind of value that did not fit."""

    values: pa.Array
    problems: tuple[tuple[Mask, str], ...] = ()


def coerce(values: pa.Array, column: Column, *, name: str, nulls: Sequence[str]) -> Coerced:
    """Return a feature column typed by its kind: float64, string, timestamp (UTC, microseconds), bool or float32 lists.

    Raises DataError for what quarantining single rows would hide: integers that lose digits, times with and without a
    zone in one column.
    """
    return _COERCE[type(column)](values, column, name, column.nulls if column.nulls is not None else nulls)


def to_text(values: pa.Array, nulls: Sequence[str]) -> pa.Array:
    """Return values as text; the texts in `nulls` become null. Whole floats lose their fraction: 1.0 is 1."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        values = values.dictionary_decode()
    if pa.types.is_floating(kind):
        whole = pc.equal(pc.floor(values), values).fill_null(False)
        whole = pc.and_(whole, pc.less(pc.abs(values), EXACT)).fill_null(False)
        integers = pc.if_else(whole, values, None).cast(pa.int64()).cast(pa.string())
        values = pc.if_else(whole, integers, values.cast(pa.string()))
    elif not pa.types.is_string(kind):
        values = values.cast(pa.string())
    return pc.if_else(pc.is_in(values, value_set=pa.array(nulls, pa.string())), None, values)


def to_numbers(values: pa.Array, *, name: str, nulls: Sequence[str]) -> Coerced:
    """Return values as float64; text must look like a number. Infinity does not fit."""
    kind = values.type
    problems = []
    if pa.types.is_temporal(kind) or pa.types.is_nested(kind):
        raise DataError(f"column {name!r} holds {kind}, not numbers; change its kind in the spec")
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        text = pc.utf8_trim_whitespace(to_text(values, nulls))
        text = pc.if_else(pc.is_in(text, value_set=pa.array(nulls, pa.string())), None, text)
        _refuse_inexact(pc.if_else(pc.match_substring_regex(text, _INTEGER), text, None), name)
        fits = pc.match_substring_regex(text, NUMBER)
        if not pc.all(fits).as_py():
            problems.append((_mask(pc.invert(fits)), "is no number"))
        values = pc.if_else(fits, text, None)
    elif pa.types.is_integer(kind) and kind.bit_width == 64:
        _refuse_inexact(values.cast(pa.string()), name)
    numbers = values.cast(pa.float64(), safe=False)
    finite = pc.is_finite(numbers)
    nan = pc.is_nan(numbers)
    if not pc.all(pc.or_(finite, nan)).as_py():
        problems.append((_mask(pc.invert(pc.or_(finite, nan))), "is infinite"))
    return Coerced(pc.if_else(finite, numbers, None), tuple(problems))


def _refuse_inexact(integers: pa.Array, name: str) -> None:
    large = pc.greater_equal(pc.utf8_length(integers), 16)
    if not pc.any(large).as_py():
        return
    for text in integers.filter(large.fill_null(False)).to_pylist():
        if abs(int(text)) > EXACT:
            raise DataError(
                f"column {name!r} holds the integer {text}, which a float64 cannot hold exactly; "
                "if it is an identifier, make it a key or an embedding, or take it out"
            )


def _mask(flags: pa.Array) -> Mask:
    return flags.fill_null(False).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def _numeric(values: pa.Array, column: NumericColumn, name: str, nulls: Sequence[str]) -> Coerced:
    coerced = to_numbers(values, name=name, nulls=nulls)
    if not column.integer:
        return coerced
    if pa.types.is_floating(values.type) and pc.any(pc.greater(pc.abs(coerced.values), EXACT)).as_py():
        raise DataError(f"column {name!r} holds integers above 2^53 as floats: their last digits are lost already")
    whole = pc.equal(pc.floor(coerced.values), coerced.values)
    fraction = (_mask(pc.invert(whole)), "has a fraction")
    return Coerced(pc.if_else(whole, coerced.values, None), (*coerced.problems, fraction))


def _categorical(values: pa.Array, column: Column, name: str, nulls: Sequence[str]) -> Coerced:
    if pa.types.is_nested(values.type):
        raise DataError(f"column {name!r} holds lists, not categories")
    return Coerced(to_text(values, nulls))


def to_times(values: pa.Array, *, pattern: str | None, name: str, nulls: Sequence[str]) -> Coerced:
    """Return values as timestamps in UTC with microseconds; a time without a zone is taken as UTC."""
    if pa.types.is_temporal(values.type) and not pa.types.is_time(values.type):
        return Coerced(values.cast(pa.timestamp("us", tz=getattr(values.type, "tz", None))).cast(TIMESTAMP))
    text = pc.utf8_trim_whitespace(to_text(values, nulls))
    aware = pc.match_substring_regex(text, _AWARE)
    if pc.any(aware).as_py() and not pc.all(aware).as_py():
        raise DataError(f"column {name!r} mixes times with and without a zone; write all of them one way")
    series = text.to_pandas()
    times = pd.to_datetime(series, format=pattern or "ISO8601", errors="coerce", utc=True).dt.as_unit("us")
    unread = times.isna().to_numpy() & series.notna().to_numpy()
    reason = f"is no time of the form {pattern}" if pattern else "is no ISO 8601 date or time"
    return Coerced(pa.array(times, TIMESTAMP), ((unread, reason),))


def _datetime(values: pa.Array, column: DatetimeColumn, name: str, nulls: Sequence[str]) -> Coerced:
    return to_times(values, pattern=column.format, name=name, nulls=nulls)


def to_booleans(values: pa.Array, *, true: Sequence[str], false: Sequence[str], nulls: Sequence[str]) -> Coerced:
    """Return values as bool by the words that mean true and false, in any case."""
    if pa.types.is_boolean(values.type):
        return Coerced(values)
    words = pc.utf8_lower(pc.utf8_trim_whitespace(to_text(values, nulls)))
    yes = pc.is_in(words, value_set=pa.array([word.lower() for word in true]))
    no = pc.is_in(words, value_set=pa.array([word.lower() for word in false]))
    unknown = pc.and_(pc.is_valid(words), pc.invert(pc.or_(yes, no)))
    return Coerced(
        pc.if_else(yes, True, pc.if_else(no, False, pa.scalar(None, pa.bool_()))),
        ((_mask(unknown), "is neither of the words for true and false"),),
    )


def _boolean(values: pa.Array, column: BooleanColumn, name: str, nulls: Sequence[str]) -> Coerced:
    return to_booleans(values, true=column.true, false=column.false, nulls=nulls)


def _tensor(values: pa.Array, column: TensorColumn, name: str, nulls: Sequence[str]) -> Coerced:
    lists, missing = _number_lists(values, name, nulls)
    lengths = np.diff(lists.offsets.to_numpy())
    flat = lists.values.to_numpy(zero_copy_only=False)
    wrong = (lengths != column.size) & ~missing
    good = ~wrong & ~missing
    starts = lists.offsets.to_numpy()[:-1][good]
    picked = flat[starts[:, None] + np.arange(column.size)] if good.any() else np.empty((0, column.size))
    finite = np.isfinite(picked).all(axis=1)
    unreadable = np.zeros(len(good), bool)
    unreadable[np.flatnonzero(good)[~finite]] = True
    matrix = np.zeros((len(good), column.size), np.float32)
    matrix[good & ~unreadable] = picked[finite]
    tensor = pa.FixedSizeListArray.from_arrays(
        pa.array(matrix.reshape(-1)), column.size, mask=pa.array(~good | unreadable)
    )
    shape = f"does not hold the {column.size} numbers of shape {list(column.shape)}"
    return Coerced(tensor, ((wrong, shape), (unreadable, "holds something that is no finite number")))


def _number_lists(values: pa.Array, name: str, nulls: Sequence[str]) -> tuple[pa.ListArray, Mask]:
    """Return one flat list of float64 a row (NaN for what is no number), and where the row has no value."""
    if not pa.types.is_nested(values.type):
        text = pc.utf8_trim_whitespace(to_text(values, nulls))
        missing = _mask(pc.is_null(text))
        plain = pc.utf8_trim_whitespace(pc.replace_substring_regex(text, r"[\[\](),;\s]+", " "))
        values = pc.split_pattern(plain.fill_null(""), " ")
    else:
        missing = _mask(pc.is_null(values))
    lists = _as_list(values)
    inner = lists.values
    while pa.types.is_nested(inner.type):
        nested = _as_list(inner)
        offsets = pc.take(nested.offsets, lists.offsets.cast(pa.int64()))
        lists, inner = pa.ListArray.from_arrays(offsets, nested.values), nested.values
    numbers = to_numbers(inner, name=name, nulls=nulls).values.fill_null(np.nan)
    return pa.ListArray.from_arrays(lists.offsets, numbers), missing


def _as_list(values: pa.Array) -> pa.ListArray:
    """Return a list array that starts at its first value and holds nothing behind null rows."""
    kind = values.type.value_type
    lists = pc.if_else(pc.is_valid(values), values.cast(pa.list_(kind)), pa.scalar([], pa.list_(kind)))
    return lists if lists.offset == 0 else pa.concat_arrays([lists])


def to_label_lists(values: pa.Array, *, separator: str, nulls: Sequence[str]) -> Coerced:
    """Return lists of labels, from list columns or from text with a separator; an empty text is an empty list."""
    if pa.types.is_nested(values.type):
        return Coerced(values.cast(pa.list_(pa.string())))
    text = pc.utf8_trim_whitespace(to_text(values, [null for null in nulls if null]))
    parts = pc.split_pattern(text, separator)
    labels = pc.utf8_trim_whitespace(parts.values)
    lists = pa.ListArray.from_arrays(parts.offsets, labels, mask=pc.is_null(parts))
    return Coerced(_without_empty(lists))


def _without_empty(lists: pa.ListArray) -> pa.ListArray:
    keep = pc.not_equal(lists.values, "")
    counts = np.concatenate([[0], np.cumsum(keep.to_numpy(zero_copy_only=False))])
    offsets = pa.array(counts[lists.offsets.to_numpy()].astype(np.int32))
    return pa.ListArray.from_arrays(offsets, lists.values.filter(keep), mask=pc.is_null(lists))


_COERCE: dict[type, Callable[..., Coerced]] = {
    NumericColumn: _numeric,
    OrdinalColumn: _categorical,
    OneHotColumn: _categorical,
    EmbeddingColumn: _categorical,
    DatetimeColumn: _datetime,
    BooleanColumn: _boolean,
    TensorColumn: _tensor,
}


