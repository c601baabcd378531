"""Raw Arrow columns to typed ones, as the contract says: nothing is guessed, truncated or silently lost.

A value that cannot be what its column's kind says becomes null, and its row gets a reason.
"""

import contextlib
import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import (
    BooleanColumn,
    Column,
    CustomColumn,
    DatetimeColumn,
    EmbeddingColumn,
    HashingColumn,
    MultiHotColumn,
    NumericColumn,
    OneHotColumn,
    OrdinalColumn,
    TargetMeanColumn,
    TensorColumn,
    TextColumn,
)
from schemas.errors import DataError, SpecError
from tasks.quotes import cause, told
from tasks.sources.batch import EXACT

TIMESTAMP = pa.timestamp("us", tz="UTC")

NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
"""What a number looks like in text."""

_INTEGER = r"^[+-]?\d+$"
_LONG = 1e15
_AWARE = r":\d{2}(\.\d+)?\s*(Z|z|[+-]\d{2}(:?\d{2})?)$"
_FIRST, _LAST = (each.replace(tzinfo=datetime.UTC) for each in (datetime.datetime.min, datetime.datetime.max))
_FINER = r"(:\d{2}\.\d{6})\d+"

Mask = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True)
class Coerced:
    """A typed column of n values, and a mask of shape (n,) with a reason for each kind of value that did not fit."""

    values: pa.Array
    problems: tuple[tuple[Mask, str], ...] = ()
    zoned: bool | None = None
    """Of times: whether they came with a zone; None when there are none."""


class ColumnError(DataError):
    """What is wrong with a column as a whole; `rows`, shape (n,), says where it shows."""

    def __init__(self, message: str, rows: Mask | None = None) -> None:
        super().__init__(message)
        self.rows = rows


def coerce(values: pa.Array, column: Column, *, name: str, nulls: Sequence[str]) -> Coerced:
    """Return a feature column typed by its kind: float64, string, timestamp (UTC, microseconds), bool or float32 lists.

    Raises ColumnError for what quarantining single rows would hide: integers that lose digits, times with and without
    a zone in one column, lists where there should be plain values.
    """
    return _COERCE[type(column)](values, column, name, column.nulls if column.nulls is not None else nulls)


def to_text(values: pa.Array, nulls: Sequence[str]) -> pa.Array:
    """Return values as text; the texts in `nulls`, and NaN, become null. Whole floats lose their fraction: 1.0 is 1."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        return to_text(values.dictionary_decode(), nulls)
    if pa.types.is_float16(kind):
        return to_text(values.cast(pa.float32()), nulls)
    if pa.types.is_floating(kind):
        values = pc.if_else(pc.is_nan(values), None, values)
        whole = pc.equal(pc.floor(values), values).fill_null(False)
        whole = pc.and_(whole, pc.less(pc.abs(values), float(EXACT))).fill_null(False)
        integers = pc.if_else(whole, values, None).cast(pa.int64()).cast(pa.string())
        values = pc.if_else(whole, integers, values.cast(pa.string()))
    elif not pa.types.is_string(kind):
        values = values.cast(pa.string())
    return _without(values, nulls)


def _words(values: pa.Array, nulls: Sequence[str]) -> pa.Array:
    """Return values as text without spaces around it."""
    return _without(pc.utf8_trim_whitespace(to_text(values, nulls)), nulls)


def _without(texts: pa.Array, nulls: Sequence[str]) -> pa.Array:
    missing = pc.is_in(texts, value_set=pa.array(nulls, pa.string()))
    return pc.if_else(missing, None, texts) if pc.any(missing).as_py() else texts


def to_numbers(values: pa.Array, *, name: str, nulls: Sequence[str]) -> Coerced:
    """Return values as float64; text must look like a number. Infinity does not fit."""
    kind = values.type
    if pa.types.is_temporal(kind) or pa.types.is_nested(kind):
        raise ColumnError(f"column {name!r} holds {kind}, not numbers; change its kind in the spec")
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        return _parsed(to_text(values, nulls), name, nulls)
    numbers = values.cast(pa.float64(), safe=False)
    if pa.types.is_integer(kind) and kind.bit_width == 64:
        _refuse_inexact(values, _mask(pc.greater_equal(pc.abs(numbers), EXACT)), name)
    return _finite(numbers)


def _parsed(texts: pa.Array, name: str, nulls: Sequence[str]) -> Coerced:
    with contextlib.suppress(pa.ArrowInvalid):  # nearly always all are plain numbers
        numbers = texts.cast(pa.float64())
        if pc.all(pc.less(pc.abs(numbers), _LONG)).as_py():  # which NaN and infinity are not
            return Coerced(numbers)
    texts = _words(texts, nulls)
    integers = pc.if_else(pc.match_substring_regex(texts, _INTEGER), texts, None)
    _refuse_inexact(texts, _mask(_is_large(pc.utf8_ltrim(integers, "+-0"))), name)
    fits = pc.match_substring_regex(texts, NUMBER)
    coerced = _finite(pc.if_else(fits, texts, None).cast(pa.float64()))
    return Coerced(coerced.values, ((_mask(pc.invert(fits)), "is no number"), *coerced.problems))


def _is_large(digits: pa.Array) -> pa.Array:
    """Say which integers, without sign and leading zeros, are 2^53 or above."""
    length, most = pc.utf8_length(digits), len(str(EXACT))
    return pc.or_(pc.greater(length, most), pc.and_(pc.equal(length, most), pc.greater_equal(digits, str(EXACT))))


def _refuse_inexact(values: pa.Array, large: Mask, name: str) -> None:
    if large.any():
        raise ColumnError(
            f"column {name!r} holds the integer {str(values[int(large.argmax())])[:40]}, which a float64 cannot hold "
            "exactly; if it is an identifier, make it a key or an embedding, or take it out",
            large,
        )


def _finite(numbers: pa.Array) -> Coerced:
    """Return numbers with null in place of NaN, which is a missing value, and of infinity, which does not fit."""
    finite = pc.is_finite(numbers)
    if pc.all(finite).as_py():
        return Coerced(numbers)
    infinite = _mask(pc.is_inf(numbers))
    return Coerced(pc.if_else(finite, numbers, None), ((infinite, "is infinite"),))


def _mask(flags: pa.Array) -> Mask:
    return flags.fill_null(False).to_numpy(zero_copy_only=False)


def _numeric(values: pa.Array, column: NumericColumn, name: str, nulls: Sequence[str]) -> Coerced:
    coerced = to_numbers(values, name=name, nulls=nulls)
    if not column.integer:
        return coerced
    large = _mask(pc.greater_equal(pc.abs(coerced.values), EXACT))
    if large.any():
        raise ColumnError(
            f"column {name!r} holds integers of 2^53 or more as floats: their last digits are lost", large
        )
    whole = pc.equal(pc.floor(coerced.values), coerced.values)
    fraction = (_mask(pc.invert(whole)), "has a fraction")
    return Coerced(pc.if_else(whole, coerced.values, None), (*coerced.problems, fraction))


def _categorical(values: pa.Array, _column: Column, name: str, nulls: Sequence[str]) -> Coerced:
    if pa.types.is_nested(values.type):
        raise ColumnError(f"column {name!r} holds {values.type}, not categories; change its kind in the spec")
    return Coerced(to_text(values, nulls))


def to_times(values: pa.Array, *, pattern: str | None, name: str, nulls: Sequence[str]) -> Coerced:
    """Return values as timestamps in UTC with microseconds; a time without a zone is taken as UTC."""
    kind = values.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return _stamps(values, name)
    if pa.types.is_temporal(kind) or pa.types.is_nested(kind):
        raise ColumnError(f"column {name!r} holds {kind}, not dates or times; change its kind in the spec")
    texts = _words(values, nulls)
    if pattern is None:
        for form in (pa.timestamp("us"), TIMESTAMP):  # nearly always all are of one of these
            with contextlib.suppress(pa.ArrowInvalid):
                return _stamps(texts.cast(form), name)
    return _read_times(texts, pattern, name)


def _stamps(values: pa.Array, name: str) -> Coerced:
    zone = getattr(values.type, "tz", None)
    zoned = None if values.null_count == len(values) else zone is not None
    fine = getattr(values.type, "unit", None) == "ns"  # what is finer than a microsecond goes
    try:
        times = values.cast(pa.timestamp("us", tz=zone), safe=not fine)
    except pa.ArrowInvalid as error:
        said = f"column {name!r} holds times outside the years that microseconds reach: {told(error)}"
        raise ColumnError(said) from cause(error)
    times = times.cast(TIMESTAMP)
    strange = _mask(pc.or_(pc.less(times, _FIRST), pc.greater(times, _LAST)))
    if not strange.any():
        return Coerced(times, zoned=zoned)
    return Coerced(pc.if_else(pa.array(strange), None, times), ((strange, "is outside the years 1 to 9999"),), zoned)


def _read_times(texts: pa.Array, pattern: str | None, name: str) -> Coerced:
    import pandas as pd

    shorter = pc.replace_substring_regex(
        texts, _FINER, r"\1"
    )  # or pandas takes nanoseconds, and years 1677 to 2262 only
    try:
        times = pd.to_datetime(shorter.to_pandas(), format=pattern or "ISO8601", errors="coerce", utc=True)
    except ValueError as error:
        raise SpecError(f"format {pattern!r} is none of Python's strptime: {error}") from error
    read = times.notna().to_numpy()
    zoned = _mask(pc.match_substring_regex(texts, _AWARE))
    if (read & zoned).any() and (read & ~zoned).any():
        raise ColumnError(
            f"column {name!r} mixes times with and without a zone; write all of them one way", read & ~zoned
        )
    reason = f"is no time of the form {pattern}" if pattern else "is no ISO 8601 date or time"
    unread = (_mask(pc.is_valid(texts)) & ~read, reason)
    utc = pa.array(times.dt.tz_localize(None).dt.as_unit("us").to_numpy(), from_pandas=True).cast(TIMESTAMP)
    return Coerced(utc, (unread,), zoned=bool(zoned[read].any()) if read.any() else None)


def _datetime(values: pa.Array, column: DatetimeColumn, name: str, nulls: Sequence[str]) -> Coerced:
    return to_times(values, pattern=column.format, name=name, nulls=nulls)


def to_booleans(values: pa.Array, *, true: Sequence[str], false: Sequence[str], nulls: Sequence[str]) -> Coerced:
    """Return values as bool by the words that mean true and false, in any case."""
    if pa.types.is_boolean(values.type):
        return Coerced(values)
    words = pc.utf8_lower(_words(values, nulls))
    yes = pc.is_in(words, value_set=pa.array([word.lower() for word in true]))
    no = pc.is_in(words, value_set=pa.array([word.lower() for word in false]))
    unknown = pc.and_(pc.is_valid(words), pc.invert(pc.or_(yes, no)))
    return Coerced(
        pc.if_else(yes, True, pc.if_else(no, False, pa.scalar(None, pa.bool_()))),
        ((_mask(unknown), "is neither of the words for true and false"),),
    )


def _boolean(values: pa.Array, column: BooleanColumn, _name: str, nulls: Sequence[str]) -> Coerced:
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


def _custom(values: pa.Array, column: CustomColumn, name: str, nulls: Sequence[str]) -> Coerced:
    if column.of == "numeric":
        return to_numbers(values, name=name, nulls=nulls)
    return _categorical(values, column, name, nulls)


def _number_lists(values: pa.Array, name: str, nulls: Sequence[str]) -> tuple[pa.ListArray, Mask]:
    """Return one flat list of float64 a row (NaN for what is no number), and where the row has no value."""
    if not pa.types.is_nested(values.type):
        text = _words(values, nulls)
        missing = _mask(pc.is_null(text))
        plain = pc.utf8_trim_whitespace(pc.replace_substring_regex(text, r"[\[\](),;\s]+", " "))
        values = pc.split_pattern(plain.fill_null(""), " ")
    else:
        missing = _mask(pc.is_null(values))
    lists = _as_list(values, name)
    inner = lists.values
    while pa.types.is_nested(inner.type):
        nested = _as_list(inner, name)
        offsets = pc.take(nested.offsets, lists.offsets.cast(pa.int64()))
        lists, inner = pa.ListArray.from_arrays(offsets, nested.values), nested.values
    numbers = to_numbers(inner, name=name, nulls=nulls).values.fill_null(np.nan)
    return pa.ListArray.from_arrays(lists.offsets, numbers), missing


def _as_list(values: pa.Array, name: str) -> pa.ListArray:
    """Return a list array that starts at its first value and holds nothing behind null rows."""
    if pa.types.is_struct(values.type) or pa.types.is_map(values.type) or pa.types.is_union(values.type):
        raise ColumnError(f"column {name!r} holds {values.type}, not lists of numbers; change its kind in the spec")
    kind = values.type.value_type
    lists = pc.if_else(pc.is_valid(values), values.cast(pa.list_(kind)), pa.scalar([], pa.list_(kind)))
    return lists if lists.offset == 0 else pa.concat_arrays([lists])


def to_label_lists(values: pa.Array, *, separator: str, nulls: Sequence[str], name: str = "target") -> Coerced:
    """Return lists of labels, from list columns or from text with a separator; the texts in `nulls` become null."""
    if pa.types.is_nested(values.type):
        lists = _as_list(values, name)
        if pa.types.is_nested(lists.values.type):
            raise ColumnError(f"column {name!r} holds {values.type}, not lists of labels; change its kind in the spec")
        lists = pa.ListArray.from_arrays(lists.offsets, to_text(lists.values, ()), mask=pc.is_null(values))
        gaps = np.zeros(len(lists), bool)
        gaps[pc.list_parent_indices(lists).filter(pc.is_null(lists.flatten())).to_numpy()] = True
        return Coerced(lists, ((gaps, "has a label without a value"),))
    text = pc.utf8_trim_whitespace(to_text(values, nulls))
    parts = pc.split_pattern(text, separator)
    labels = pc.utf8_trim_whitespace(parts.values)
    lists = pa.ListArray.from_arrays(parts.offsets, labels, mask=pc.is_null(parts))
    return Coerced(_without_empty(lists))


def _lists(values: pa.Array, column: MultiHotColumn, name: str, nulls: Sequence[str]) -> Coerced:
    coerced = to_label_lists(values, separator=column.separator, nulls=nulls, name=name)
    if column.categories is None:
        return coerced
    strange = (outside(coerced.values, column.categories), "has one that is not among the categories")
    return Coerced(coerced.values, (*coerced.problems, strange))


def outside(lists: pa.ListArray, known: Sequence[str]) -> Mask:
    """Say which lists, shape (n,), hold a label that is not known."""
    strange = np.zeros(len(lists), bool)
    unknown = pc.invert(pc.is_in(lists.flatten(), value_set=pa.array(known, pa.string())))
    strange[pc.list_parent_indices(lists).filter(unknown).to_numpy()] = True
    return strange


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
    HashingColumn: _categorical,
    TargetMeanColumn: _categorical,
    MultiHotColumn: _lists,
    TextColumn: _categorical,
    DatetimeColumn: _datetime,
    BooleanColumn: _boolean,
    TensorColumn: _tensor,
    CustomColumn: _custom,
}
