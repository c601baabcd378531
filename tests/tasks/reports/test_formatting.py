import math

import pytest

from tasks.reports import formatting


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (math.nan, "–"),
        (0, "0"),
        (1234567, "1,234,567"),
        (1.0, "1.0000"),
        (0.98, "0.9800"),
        (-0.5, "−0.5000"),
        (0.001234, "0.00123"),
        (3.14159, "3.142"),
        (999.96, "1,000"),
        (54321.6, "54,322"),
        (2.5e12, "2.5e+12"),
    ],
)
def test_number(value, text):
    assert formatting.number(value) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0\u00a0%"), (1, "100\u00a0%"), (0.1234, "12.3\u00a0%"), (0.0001, "<0.1\u00a0%"), (None, "–")],
)
def test_percent(share, text):
    assert formatting.percent(share) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(1370908800, "2013-06-11"), (-1, "1969-12-31 23:59:59"), (253402300800, "10000-01-01")]
)
def test_moment(seconds, text):
    assert formatting.moment(seconds) == text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a\n b", "a b"),
        ("", "(blank)"),
        ("abcdefgh", "abcd…"),
        ("abcd efgh", "abcd…"),
        ("\x00", "(blank)"),
        ("r2\u00a0↑", "r2\u00a0↑"),
    ],
)
def test_shorten(name, text):
    assert formatting.shorten(name, 5 if len(name) > 6 else 20) == text
