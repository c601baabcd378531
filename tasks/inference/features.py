"""What kind of feature a column is, or why it is none: the first rule that knows an answer gives it."""

from collections.abc import Callable
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import BooleanColumn, EmbeddingColumn, HashingColumn, OneHotColumn
from schemas.contract import KEY, ROW, SPLIT, WEIGHT
from tasks.inference.dates import Times, datetime_guess, find_times
from tasks.inference.guesses import MOST_ONE_HOT, RARE, Guess, nulls_of, percent, shown
from tasks.inference.numbers import number_guess
from tasks.inference.observed import Observed
from tasks.inference.tensors import list_guess, written_list_guess
from tasks.inference.texts import words_guess, written_labels_guess

_TRUTHS = (
    *(("true", "false"), ("t", "f"), ("yes", "no"), ("y", "n"), ("1", "0"), ("on", "off")),
    *(("ja", "nein"), ("oui", "non"), ("sí", "no"), ("si", "no"), ("sim", "não")),
)
_LONGEST_NAME = 1000
_BUCKET_ROWS = 500
_MOST_LISTED = 20_000
_FREQUENT = 3
_REPEATED = 0.5
"""The share of rows that must have one of the frequent values, for a network to learn anything from them."""


def guess_feature(seen: Observed, target: Observed | None) -> Guess:
    """Return a column's kind. With a `target` column of labels it is said if the two are one and the same."""
    guess = next((found for rule in _RULES if (found := rule(seen)) is not None), None) or _category(seen)
    if guess.column is None:
        return guess
    said = [guess.said]
    if missing := seen.missing if guess.column.nulls is None else seen.rows - int(seen.known_counts.sum()):
        said.append(f"{percent(missing, seen.rows)} missing")
    if target is not None and _one_to_one(seen, target):
        said.append(f"says the same as {target.name}: take it out unless it is known beforehand")
    return replace(guess, said="; ".join(said))


def _one_to_one(seen: Observed, target: Observed) -> bool:
    """Say whether each value stands with one label only, and each label with one value."""
    if any(pa.types.is_nested(kind) or pa.types.is_temporal(kind) for kind in (seen.type, target.type)):
        return False
    if not 1 < len(seen.distinct) <= MOST_ONE_HOT or len(target.distinct) != len(seen.distinct):
        return False
    pairs = pa.table({"value": seen.values, "label": target.values}).drop_null()
    return len(seen.distinct) == int(pairs.group_by(["value", "label"]).aggregate([]).num_rows)


def _reserved(seen: Observed) -> Guess | None:
    if seen.name in (ROW, SPLIT, WEIGHT) or seen.name.startswith(KEY):
        return Guess("Evermodel has a column of that name itself; rename it to use it")
    return Guess("its name is too long") if len(seen.name) > _LONGEST_NAME else None


def _unreadable(seen: Observed) -> Guess | None:
    kind = seen.type
    if seen.values.null_count == seen.rows:
        return Guess("no value at all")
    if pa.types.is_duration(kind) or pa.types.is_interval(kind) or pa.types.is_time(kind):
        return Guess(f"{kind} cannot be read; write it as a number, or a time of day as text")
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return Guess("bytes cannot be read; write them as text or numbers")
    return None


def _moments(seen: Observed) -> Guess | None:
    """Dates and times by their own type."""
    kind = seen.type
    if not (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
        return None
    times = pc.unique(seen.values.drop_null()).cast(pa.timestamp("us", tz=getattr(kind, "tz", None)))
    return datetime_guess(Times(None, times.cast(pa.timestamp("us", tz="UTC")).to_pandas()), None)


def _constant(seen: Observed) -> Guess | None:
    if not len(seen.distinct):
        return Guess("no value at all")
    if not len(seen.known) or (len(seen.distinct) == 1 and not seen.missing):
        return Guess(f"nothing but {shown(seen.texts)}")
    if len(seen.known) == 1:
        return Guess(f"{shown(seen.known_texts)} or nothing", OneHotColumn(nulls=nulls_of(seen)))
    return None


def _truth(seen: Observed) -> Guess | None:
    if len(seen.known) > MOST_ONE_HOT:
        return None
    texts = seen.known_texts.to_pylist()
    words = {text.strip().lower() for text in texts}
    pairs = [pair for pair in _TRUTHS if words >= set(pair)]
    if words != {word for pair in pairs for word in pair}:
        return None
    true, false = ({pair[side] for pair in pairs} for side in (0, 1))
    column = BooleanColumn(nulls=nulls_of(seen))
    if not (true <= set(column.true) and false <= set(column.false)):
        column = BooleanColumn(true=tuple(sorted(true)), false=tuple(sorted(false)), nulls=nulls_of(seen))
    return Guess(shown(texts), column)


def _dates(seen: Observed) -> Guess | None:
    times = find_times(seen.known, name=seen.name) if seen.is_text else None
    return datetime_guess(times, nulls_of(seen)) if times else None


def _decorated(seen: Observed) -> Guess | None:
    """Numbers with signs that are not read, such as 1,234 or € 5 or 12 %."""
    if not seen.is_text or len(seen.known) <= MOST_ONE_HOT:
        return None
    alike = pc.match_substring_regex(seen.known, r"^\W*\d[\d.,' ]*\W*$")
    if not (pc.all(alike).as_py() and pc.any(pc.match_substring_regex(seen.known, r"[,'%€$£¥]")).as_py()):
        return None
    return Guess(f"looks like numbers, but {shown(seen.known_texts)} cannot be read; write them as 1234.5")


def _unrepeated(seen: Observed) -> Guess | None:
    """Identifiers, and texts of which hardly one comes again."""
    different, rows = len(seen.known), int(seen.known_counts.sum())
    if different == rows >= RARE and (found := words_guess(seen)):
        return found
    if different == rows >= RARE:
        spaced = pc.any(pc.match_substring(pc.utf8_trim_whitespace(seen.known_texts), " ")).as_py()
        what = "names or free text" if spaced else "an identifier"
        return Guess(f"every value is different: {what}", key=not spaced and seen.may_be_key)
    if different > MOST_ONE_HOT and seen.known_counts[seen.known_counts >= _FREQUENT].sum() < _REPEATED * rows:
        said = f"{different:,} different values in {rows:,} rows: free text or an identifier"
        return words_guess(seen) or Guess(said)
    return None


def _category(seen: Observed) -> Guess:
    many = len(seen.distinct)
    said = [shown(seen.texts) if many <= 3 else f"{many:,} values"]
    if seen.null_words:
        said.append(f"{shown(seen.null_words)} counts as a value; if it means missing, put it under nulls")
    bucket = bool((seen.counts < RARE).any()) and seen.rows >= _BUCKET_ROWS
    if bucket:
        said.append("rare ones share a bucket")
    if many > _MOST_LISTED:
        return Guess(
            "; ".join([*said, "too many for a list: a learned vector by hash"]), HashingColumn(buckets=1 << 14)
        )
    kind = OneHotColumn if many <= MOST_ONE_HOT else EmbeddingColumn
    said.append("no order: a 0/1 column each" if many <= MOST_ONE_HOT else "many: a learned vector each")
    return Guess("; ".join(said), kind(min_count=RARE if bucket else 1))


_RULES: tuple[Callable[[Observed], Guess | None], ...] = (
    _reserved,
    _unreadable,
    list_guess,
    _moments,
    _constant,
    _truth,
    number_guess,
    _dates,
    written_list_guess,
    _decorated,
    written_labels_guess,
    _unrepeated,
)
