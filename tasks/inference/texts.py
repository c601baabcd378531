"""Columns of texts that are more than one value: lists of categories, and a few words."""

import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import MultiHotColumn, TextColumn
from tasks.coercion import to_label_lists
from tasks.inference.guesses import RARE, Guess, nulls_of, shown
from tasks.inference.observed import Observed

_SEPARATORS = ("|", ";", ",")
_MOST_LISTED = 200
_JOINED = 0.1
"""The share of different texts that must hold a separator for all to be lists."""

_LONGEST = 20
_TELLING = 5
"""So many words must stand in some texts and not in most, for a network to learn anything from them."""


def labels_guess(lists: pa.Array, *, nulls: tuple[str, ...] | None = None, separator: str = "|") -> Guess | None:
    """Return the feature for lists of text, if they are made of a few categories again and again."""
    counts = pc.value_counts(pc.list_flatten(lists).drop_null())
    rows, different = counts.field(1).to_numpy(), len(counts)
    if not 1 < different <= _MOST_LISTED or rows.sum() < 2 * different or rows.min() == len(lists):
        return None
    said = f"lists of {different} categories ({shown(counts.field(0))}): a 0/1 column each"
    return Guess(said, MultiHotColumn(separator=separator, nulls=nulls))


def written_labels_guess(seen: Observed) -> Guess | None:
    """Return the feature for texts such as `red|green`, or None."""
    for separator in _SEPARATORS if seen.is_text else ():
        joined = pc.sum(pc.match_substring(seen.known, separator)).as_py() or 0
        if joined >= max(2, _JOINED * len(seen.known)):
            lists = to_label_lists(seen.known, separator=separator, nulls=()).values
            if found := labels_guess(lists, nulls=nulls_of(seen), separator=separator):
                return found
    return None


def words_guess(seen: Observed) -> Guess | None:
    """Return the feature for texts of a few words, if some words come again and again without being in most."""
    lists = pc.split_pattern_regex(pc.utf8_lower(pc.utf8_trim_whitespace(seen.known_texts)), r"[\s\pP]+")
    length = len(lists.values) / len(lists)
    counts = pc.value_counts(pc.list_flatten(lists)).field(1).to_numpy()
    telling = int(((counts >= RARE) & (counts <= len(lists) / 2)).sum())
    if not 1.5 < length <= _LONGEST or telling < _TELLING:
        return None
    return Guess(
        f"texts of about {length:.0f} words: words and pairs of words, hashed", TextColumn(nulls=nulls_of(seen))
    )
