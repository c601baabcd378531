"""One column of a sample: its different values and how often each stands there."""

import re
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.coercion import to_text


def words(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(text.split())


NULL_WORDS = words(
    """na n/a #n/a <na> n.a. nan -nan nil null none nat missing unknown unbekannt ? - -- --- . .. * \\n #null! #value!
    0000-00-00"""
)
"""What people write, in any case, where they have no value."""

_POSITIONS = words("unnamed index idx rownames row rownum line")
_IDENTIFIERS = _POSITIONS | words(
    """id ids key uuid guid nr no number identifier code person patient passenger customer client user member order
    record sample employee account transaction invoice ticket observation obs case subject"""
)

Numbers = np.ndarray[Any, np.dtype[np.float64]]
Counts = np.ndarray[Any, np.dtype[np.int64]]


class Observed:
    """What a column's values are like. Only flat columns have texts."""

    def __init__(self, name: str, values: pa.Array) -> None:
        self.name = name
        self.values = values
        self.type = values.type
        self.rows = len(values)

    @cached_property
    def _counted(self) -> tuple[pa.Array, Counts]:
        values = self.values.drop_null()
        if pa.types.is_floating(self.type):
            values = values.filter(pc.invert(pc.is_nan(values)))
        pairs = pc.value_counts(values.filter(pc.not_equal(values, "")) if self.is_text else values)
        counts = pairs.field(1).to_numpy()
        order = np.argsort(-counts, kind="stable")
        return pairs.field(0).take(pa.array(order)), counts[order]

    @property
    def distinct(self) -> pa.Array:
        """The different values, the most frequent first; an empty text is none."""
        return self._counted[0]

    @property
    def counts(self) -> Counts:
        """How often each of `distinct` stands there."""
        return self._counted[1]

    @cached_property
    def texts(self) -> pa.Array:
        """`distinct` as text."""
        return to_text(self.distinct, ())

    @property
    def is_text(self) -> bool:
        """Whether the column holds text, in which numbers and dates may be written."""
        kind = self.type
        return any((pa.types.is_string(kind), pa.types.is_large_string(kind), pa.types.is_string_view(kind)))

    @property
    def missing(self) -> int:
        """How many rows have no value."""
        if pa.types.is_nested(self.type) or pa.types.is_temporal(self.type):
            return int(self.values.null_count)
        return self.rows - int(self.counts.sum())

    @cached_property
    def _is_null_word(self) -> pa.Array:
        if not self.is_text:
            return pa.repeat(False, len(self.distinct))
        plain = pc.utf8_lower(pc.utf8_trim_whitespace(self.distinct))
        return pc.is_in(plain, value_set=pa.array(["", *sorted(NULL_WORDS)], plain.type))

    @cached_property
    def null_words(self) -> list[str]:
        """The texts that look as if they meant that there is no value."""
        return self.distinct.filter(self._is_null_word).to_pylist()

    @cached_property
    def known(self) -> pa.Array:
        """`distinct` without those words."""
        return self.distinct.filter(pc.invert(self._is_null_word))

    @cached_property
    def known_texts(self) -> pa.Array:
        """`known` as text."""
        return to_text(self.known, ())

    @cached_property
    def known_counts(self) -> Counts:
        """How often each of `known` stands there."""
        counts: Counts = self.counts[~self._is_null_word.to_numpy(zero_copy_only=False)]
        return counts

    @cached_property
    def tokens(self) -> frozenset[str]:
        """The words of the column's name, in small letters: `CustomerID` has customer and id."""
        return frozenset(word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", self.name))

    @property
    def named_as_identifier(self) -> bool:
        """Whether the column's name says that it names rows."""
        return bool(self.tokens & _IDENTIFIERS)

    @property
    def may_be_key(self) -> bool:
        """Whether there are no gaps, and the name does not say that it is a mere position in the file."""
        return not self.missing and not self.null_words and bool(self.tokens - _POSITIONS)
