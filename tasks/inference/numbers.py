"""Columns of numbers: amounts, codes, dates or identifiers?"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import BooleanColumn, EmbeddingColumn, NumericColumn, OneHotColumn
from schemas.errors import DataError
from tasks.coercion import to_numbers, to_text
from tasks.inference.dates import datetime_guess, find_times
from tasks.inference.guesses import MOST_ONE_HOT, RARE, Guess, nulls_of, shown
from tasks.inference.observed import Counts, Numbers, Observed, words

_CODES = words(
    """id code type class category cat kind group cluster zip zipcode postcode postal plz sex gender race region
    district state country store shop product item user customer carrier label status month weekday dow hour quarter"""
)
_AMOUNTS = words(
    """count num number n age size year years children rooms bedrooms bathrooms floors quantity qty amount hours days
    minutes score rating level price distance total sum length width height weight"""
)
_FEW_CODES = 10
_WHY = {"log": "; a long tail: its logarithm", "robust": "; a few far values: scaled by the middle half"}
_FITS = 0.995
_NEARLY_FITS = 0.9


@dataclass(frozen=True)
class _Read:
    """Different values, the numbers that they are, and how often each stands there."""

    values: pa.Array
    numbers: Numbers
    counts: Counts

    @cached_property
    def distinct(self) -> Numbers:
        return np.unique(self.numbers)

    @cached_property
    def rows(self) -> int:
        return int(self.counts.sum())


def number_guess(seen: Observed) -> Guess | None:
    """Return what a column of numbers is, or None for a column of something else.

    Up to three texts among many numbers are taken to mean that there is none.
    """
    try:
        numbers = to_numbers(seen.known, name=seen.name, nulls=()).values
    except DataError:  # more digits than a number can hold: an identifier
        return None
    fits = numbers.is_valid()
    counts = seen.known_counts[fits.to_numpy(zero_copy_only=False)]
    share = counts.sum() / seen.known_counts.sum()
    wrong = to_text(seen.known.filter(pc.invert(fits)), ()).to_pylist()
    as_nulls = seen.is_text and len(wrong) <= 3 and share >= _NEARLY_FITS
    if not (as_nulls or share >= _FITS) or (seen.is_text and _padded(seen.known)):
        return None
    read = _Read(seen.known.filter(fits), numbers.drop_null().to_numpy(), counts)
    found = _kind(seen, read, nulls_of(seen, *(wrong if as_nulls else ())))
    if not wrong or found.column is None:
        return found
    return Guess(f"{found.said}; {shown(wrong)}: {'taken as missing' if as_nulls else 'rows rejected'}", found.column)


def _padded(texts: pa.Array) -> bool:
    """Say whether there are numbers such as 007: codes, not amounts."""
    return bool(pc.any(pc.match_substring_regex(texts, r"^\s*[+-]?0\d")).as_py())


def _kind(seen: Observed, read: _Read, nulls: tuple[str, ...] | None) -> Guess:
    distinct = read.distinct
    span = f"{distinct[0]:g} to {distinct[-1]:g}"
    if distinct.tolist() == [0.0, 1.0]:
        return _zero_one(read, nulls)
    if not (distinct == np.floor(distinct)).all():
        return _measure(span, read, nulls)
    if _counts_rows(seen, read):
        return Guess(f"every value is different ({span}): an identifier", key=seen.may_be_key)
    if (found := _compact_dates(seen, read, nulls) or _codes(seen, read, nulls)) is not None:
        return found
    return _measure(f"{len(distinct):,} integers, {span}", read, nulls)


def _measure(said: str, read: _Read, nulls: tuple[str, ...] | None) -> Guess:
    scale = _scale(read)
    return Guess(f"{said}{_WHY.get(scale, '')}", NumericColumn(scale=scale, nulls=nulls))


def _zero_one(read: _Read, nulls: tuple[str, ...] | None) -> Guess:
    usual = BooleanColumn()
    texts = [text.strip() for text in to_text(read.values, ()).to_pylist()]
    true = tuple(text for text, number in zip(texts, read.numbers, strict=True) if number)
    false = tuple(text for text, number in zip(texts, read.numbers, strict=True) if not number)
    if (true, false) == (("1",), ("0",)):
        true, false = usual.true, usual.false
    return Guess("0 and 1", BooleanColumn(true=true, false=false, nulls=nulls))


def _counts_rows(seen: Observed, read: _Read) -> bool:
    """Say whether all are different, and the name says identifier, or says nothing and no number is left out."""
    if len(read.distinct) < read.rows or read.rows < RARE:
        return False
    unbroken = bool(read.distinct[-1] - read.distinct[0] + 1 == read.rows)
    return seen.named_as_identifier or (not seen.tokens and unbroken)


def _compact_dates(seen: Observed, read: _Read, nulls: tuple[str, ...] | None) -> Guess | None:
    """Dates such as 20130611."""
    if len(read.distinct) == 1 or read.distinct[0] < 19000101 or read.distinct[-1] > 21001231:
        return None
    times = find_times(to_text(read.values, ()), name=seen.name)
    return datetime_guess(times, nulls) if times and times.format in (None, "%Y%m%d") else None


def _codes(seen: Observed, read: _Read, nulls: tuple[str, ...] | None) -> Guess | None:
    """Whole numbers that name categories: few of them, unless the name says amount, or many, if the name says code."""
    low, high, many = read.distinct[0], read.distinct[-1], len(read.distinct)
    said = f"{many:,} integers, {low:g} to {high:g}, taken as codes; numeric if they measure"
    named = bool(seen.tokens & _CODES)
    amount = low < 0 or bool(seen.tokens & _AMOUNTS) or _scale(read) != "standard"
    few = many == 2 or (many <= _FEW_CODES and not amount)
    if (few or (named and many <= MOST_ONE_HOT)) and read.rows >= 10 * many:
        return Guess(said, OneHotColumn(nulls=nulls))
    if named and read.rows >= 3 * many:
        return Guess(said, EmbeddingColumn(nulls=nulls, min_count=RARE if many > 100 else 1))
    return None


def _scale(read: _Read) -> Literal["standard", "robust", "log"]:
    """A long tail on one side asks for a log, a few far values on both sides for a robust scale."""
    values = np.repeat(read.numbers, read.counts)
    skew, logged = _skew(values), _skew(np.sign(values) * np.log1p(np.abs(values)))
    if abs(skew) > 2 and values.min() >= 0 and values.max() > 10 and abs(logged) < abs(skew) / 2:
        return "log"
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return "robust" if high > low and np.abs(values - middle).max() > 20 * (high - low) else "standard"


def _skew(values: Numbers) -> float:
    centred = values - values.mean()
    squares = centred * centred
    deviation = float(np.sqrt(squares.mean()))
    return float((squares * centred).mean()) / deviation**3 if deviation else 0.0
