"""How well the test rows are predicted slice by slice: by the values of a column."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import BooleanColumn, CategoricalColumn, DatetimeColumn, NumericColumn
from schemas.contract import KEY, SLICE, SPLIT, WEIGHT, Contract
from schemas.errors import SpecError
from tasks.encoders.base import Array
from tasks.findings.resampling import Interval, interval, resampled, taken
from tasks.metrics import Scored
from tasks.reports.formatting import moment, plain
from tasks.tables import read_table

_DEFAULT_COLUMNS = 3
_MOST_VALUES = 8
_FEWEST_ROWS = 10
_QUARTILES = (0.25, 0.5, 0.75)
_MICROSECONDS = 1_000_000
MISSING, OTHERS = "(missing)", "(other values)"


@dataclass(frozen=True)
class Slice:
    """Test rows with one value, or a range of values, in a column."""

    column: str
    value: str
    rows: int
    score: float
    """The deciding metric on these rows; NaN where it is not defined."""
    interval: Interval | None
    """Where the metric would be on other such rows; None for fewer than ten, which tell too little of others."""


def columns(asked: Sequence[str] | None, contract: Contract, ranked: Sequence[str]) -> tuple[str, ...]:
    """Return the columns to slice by: those asked for, else the first three feature columns, categories before others.

    `ranked` are the feature columns in the order of their importance.
    """
    if asked is not None:
        return tuple(asked)
    kinds = {name: contract.columns[name] for name in ranked}
    told_apart = [name for name, kind in kinds.items() if isinstance(kind, CategoricalColumn | BooleanColumn)]
    others = [name for name, kind in kinds.items() if isinstance(kind, NumericColumn | DatetimeColumn)]
    return tuple([*told_apart, *others][:_DEFAULT_COLUMNS])


def find(
    rows: Path,
    scored: Scored,
    contract: Contract,
    names: Sequence[str],
    *,
    score: Callable[[Scored], float],
    resamples: int,
    seed: int,
) -> tuple[Slice, ...]:
    """Return the slices of a file's rows, which `scored` holds in the same order.

    Categories are the eight most frequent ones and the others together; of more than eight numbers or times there are
    quarters. Raises SpecError for a column that holds no single values.
    """
    found = []
    for name, value, positions in parts(rows, contract, names, key="evaluation.slices"):
        part = taken(scored, positions)
        enough = resamples if len(positions) >= _FEWEST_ROWS else 0
        bounds = interval(resampled(score, part, resamples=enough, seed=seed))
        found.append(Slice(name, value, len(positions), score(part), bounds))
    return tuple(found)


def parts(rows: Path, contract: Contract, names: Sequence[str], *, key: str) -> Iterator[tuple[str, str, Array]]:
    """Yield column, value and the positions of the rows of each slice of a file; `key` is what named the columns.

    Raises SpecError for a column that holds no single values.
    """
    for name in names:
        values = read_table(rows, columns=[_stored(name, contract)]).column(0).combine_chunks()
        if pa.types.is_nested(values.type):
            raise SpecError(f"{key}: column {name!r} holds {values.type}, not single values; take it out")
        yield from ((name, value, positions) for value, positions in _apart(values))


def _stored(name: str, contract: Contract) -> str:
    """Return the name under which a source's column stands among the accepted rows."""
    if name in contract.columns or name in contract.target.names:
        return name
    return {
        **{key: f"{KEY}{key}" for key in contract.key},
        **{extra: f"{SLICE}{extra}" for extra in contract.slices},
        **({contract.weight: WEIGHT} if contract.weight else {}),
        **({contract.split: SPLIT} if contract.split else {}),
    }[name]


def _apart(values: pa.Array) -> Iterator[tuple[str, Array]]:
    """Yield each value, or range of values, and the positions of its rows."""
    missing = pc.is_null(values).to_numpy(zero_copy_only=False)
    numbers = _numbers(values)
    if numbers is not None and len(np.unique(numbers[~missing])) > _MOST_VALUES:
        yield from _quarters(numbers, ~missing, times=pa.types.is_timestamp(values.type))
    elif numbers is not None:
        yield from _few_numbers(numbers, ~missing, times=pa.types.is_timestamp(values.type))
    else:
        yield from _texts(values.cast(pa.string()))
    if missing.any():
        yield MISSING, np.flatnonzero(missing)


def _numbers(values: pa.Array) -> Array | None:
    """Return numbers, and times as seconds since 1970, with NaN where there is none; None for other things."""
    if pa.types.is_timestamp(values.type):
        return values.cast(pa.int64()).fill_null(0).to_numpy() / _MICROSECONDS
    if pa.types.is_string(values.type):
        try:
            values = values.cast(pa.float64())
        except pa.ArrowInvalid:
            return None
    return values.fill_null(np.nan).to_numpy() if pa.types.is_floating(values.type) else None


def _quarters(numbers: Array, present: Array, *, times: bool) -> Iterator[tuple[str, Array]]:
    said = moment if times else plain
    cuts = np.unique(np.quantile(numbers[present], _QUARTILES, method="inverted_cdf"))
    quarter = np.searchsorted(cuts, numbers, side="left")
    for code in range(len(cuts) + 1):
        positions = np.flatnonzero(present & (quarter == code))
        if len(positions):
            inside = numbers[positions]
            yield f"{said(float(inside.min()))} to {said(float(inside.max()))}", positions


def _few_numbers(numbers: Array, present: Array, *, times: bool) -> Iterator[tuple[str, Array]]:
    said = moment if times else plain
    for number in np.unique(numbers[present]):
        yield said(float(number)), np.flatnonzero(present & (numbers == number))


def _texts(texts: pa.Array) -> Iterator[tuple[str, Array]]:
    encoded = texts.dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy()
    counts = np.bincount(codes[codes >= 0], minlength=len(encoded.dictionary))
    kept = np.argsort(-counts, kind="stable")
    kept = kept[: _MOST_VALUES if len(kept) > _MOST_VALUES + 1 else len(kept)]
    for code in kept:
        yield str(encoded.dictionary[int(code)].as_py()), np.flatnonzero(codes == code)
    others = np.flatnonzero((codes >= 0) & ~np.isin(codes, kept))
    if len(others):
        yield OTHERS, others
