"""From raw Arrow columns to typed ones: what fits, what does not, and that no batch changes what a text means."""

import datetime
import decimal

import numpy as np
import pyarrow as pa
import pytest

from schemas.columns import BooleanColumn, DatetimeColumn, MultiHotColumn, NumericColumn, OneHotColumn, TensorColumn
from schemas.errors import SpecError
from tasks.coercion import ColumnError, coerce, to_label_lists, to_text

NULLS = ("", "NA")


def coerced(values, column, **keys):
    """Values as a list, and for each the reason why it does not fit."""
    array = values if isinstance(values, pa.Array) else pa.array(values)
    found = coerce(array, column(**keys), name="x", nulls=NULLS)
    reasons = [None] * len(array)
    for mask, reason in found.problems:
        for at in np.flatnonzero(mask):
            reasons[at] = reason
    return found.values.to_pylist(), reasons


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *[("1", 1.0), ("-1.5", -1.5), ("+1", 1.0), (".5", 0.5), ("5.", 5.0), ("1e3", 1000.0), ("1E-3", 0.001)],
        *[
            (" 7 ", 7.0),
            ("\t8\n", 8.0),
            ("007", 7.0),
            ("-0", 0.0),
            ("", None),
            ("NA", None),
            (" NA ", None),
            ("  ", None),
        ],
        *[("123456789012345", 123456789012345.0), ("9007199254740991", 9007199254740991.0), ("1e300", 1e300)],
        ("0" * 30 + "5", 5.0),
    ],
)
def test_text_that_looks_like_a_number_is_one(text, number):
    assert coerced([text], NumericColumn) == ([number], [None])
    assert coerced([text, "odd", " 1"], NumericColumn) == ([number, None, 1.0], [None, "is no number", None])


@pytest.mark.parametrize(
    "text", ["nan", "NaN", "inf", "-Infinity", "0x1F", "1_000", "1,5", "1e", "e1", "١", "1 2", "None", "."]
)
def test_text_that_does_not_look_like_a_number_is_none(text):
    assert coerced([text], NumericColumn) == ([None], ["is no number"])


@pytest.mark.parametrize(
    "values",
    [
        pa.array([1, None, 3], pa.int8()),
        pa.array([1, None, 3], pa.uint64()),
        pa.array(np.array([1, np.nan, 3], np.float16)),
        pa.array([1.0, np.nan, 3.0], pa.float32()),
        pa.array([decimal.Decimal("1.00"), None, decimal.Decimal("3.00")]),
        pa.array(["1", "NA", "3.0"]),
        pa.array(["1", "NA", "3.0"], pa.large_string()),
        pa.array(["1", "NA", "3.0"]).dictionary_encode(),
        pa.array([1.0, None, 3.0]).dictionary_encode(),
    ],
    ids=lambda values: str(values.type),
)
def test_number_of_any_type_is_the_same_number(values):
    assert coerced(values, NumericColumn) == ([1.0, None, 3.0], [None] * 3)


def test_integers_are_exact_up_to_two_to_the_53rd():
    most = 2**53 - 1
    assert coerced([most, -most], NumericColumn)[0] == [float(most), float(-most)]
    for values in ([2**53 + 1], [-(2**53) - 1], [str(2**53 + 1)], [f"-{2**53 + 1}", "a"]):
        with pytest.raises(ColumnError, match=r"column 'x' holds the integer -?9007199254740993, which") as error:
            coerced(values, NumericColumn)
        assert error.value.rows.tolist() == [True] + [False] * (len(values) - 1)


def test_fraction_is_never_cut_off():
    values = ["1", "1.0", "1.9", "1e1", "15e-1", None]
    reasons = [None, None, "has a fraction", None, "has a fraction", None]
    assert coerced(values, NumericColumn, integer=True) == ([1.0, 1.0, None, 10.0, None, None], reasons)


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (pa.array([1.0, 1.5, np.nan, None, -0.0]), ["1", "1.5", None, None, "0"]),
        (pa.array([1, 2**63 - 1]), ["1", "9223372036854775807"]),
        (pa.array([True, None]), ["true", None]),
        (pa.array(["NA", " NA", "None", ""]), [None, " NA", "None", None]),
        (pa.array([1.0, None]).dictionary_encode(), ["1", None]),
        (pa.array([datetime.date(2024, 1, 31)]), ["2024-01-31"]),
        (pa.nulls(2), [None, None]),
    ],
    ids=str,
)
def test_category_is_the_text_of_its_value(values, texts):
    assert to_text(values, NULLS).to_pylist() == texts
    assert coerced(values, OneHotColumn) == (texts, [None] * len(texts))


UTC = datetime.UTC
MORNING = datetime.datetime(2024, 1, 31, 10, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2024-01-31T10:00:00", MORNING),
        ("2024-01-31 10:00", MORNING),
        ("2024-01-31T10", MORNING),
        ("2024-01-31 10:00:00.000000000", MORNING),
        ("20240131T100000", MORNING),
        (" 2024-01-31T10:00 ", MORNING),
        ("2024-01-31", MORNING.replace(hour=0)),
        ("2024-02-30", None),
        ("31.01.2024", None),
        ("10:00", None),
        ("1706695200", None),
        ("2024-01-31T25:00", None),
        ("yesterday", None),
    ],
)
def test_time_reads_the_same_alone_and_beside_others(text, time):
    reason = None if time else "is no ISO 8601 date or time"
    assert coerced([text], DatetimeColumn) == ([time], [reason])
    beside = coerced([text, "odd", "1500-06-30", "", "2024-01-01T00:00:00.123456789"], DatetimeColumn)
    assert (beside[0][0], beside[1][0]) == (time, reason)
    assert beside[0][2] == datetime.datetime(1500, 6, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    ["2024-01-31T10:00:00Z", "2024-01-31 12:00+02:00", "2024-01-31T12:00:00+0200", "2024-01-31T06:30:00.000-03:30"],
)
def test_time_with_a_zone_is_brought_to_utc(text):
    assert coerced([text], DatetimeColumn)[0] == [MORNING]
    assert coerced([text, "2024-01-31 10:00:00.000000000Z"], DatetimeColumn)[0] == [MORNING, MORNING]


def test_odd_text_among_times_with_a_zone_is_no_time_without_one():
    times, reasons = coerced(["2024-01-31T10:00:00Z", "soon", ""], DatetimeColumn)
    assert (times, reasons) == ([MORNING, None, None], [None, "is no ISO 8601 date or time", None])


def test_times_of_parquet_keep_their_instant():
    instants = [
        pa.array([1706695200], pa.timestamp("s")),
        pa.array([1706695200000], pa.timestamp("ms", tz="America/New_York")),
        pa.array([1706695200000000123], pa.timestamp("ns", tz="UTC")),
    ]
    assert [coerced(values, DatetimeColumn)[0] for values in instants] == [[MORNING]] * 3


def test_format_of_the_spec_is_the_only_one_read():
    values = ["31.01.2024", "2024-01-31", ""]
    times, reasons = coerced(values, DatetimeColumn, format="%d.%m.%Y")
    assert times == [MORNING.replace(hour=0), None, None]
    assert reasons == [None, "is no time of the form %d.%m.%Y", None]
    with pytest.raises(SpecError, match="format '%Q' is none of Python's strptime"):
        coerced(values, DatetimeColumn, format="%Q")


def test_words_for_true_and_false_are_those_of_the_spec():
    values = ["True", " yes", "0", "N", "", "False", "maybe", "NA"]
    found, reasons = coerced(values, BooleanColumn)
    assert found == [True, True, False, False, None, False, None, None]
    assert [at for at, reason in enumerate(reasons) if reason] == [6]
    assert coerced([1, 0, None], BooleanColumn)[0] == coerced([1.0, 0.0, None], BooleanColumn)[0] == [True, False, None]
    assert coerced(["oui", "non", "yes"], BooleanColumn, true=["OUI"], false=["Non"])[0] == [True, False, None]


SHORT, STRANGE = "does not hold the 4 numbers of shape [2, 2]", "holds something that is no finite number"


@pytest.mark.parametrize(
    "values",
    [
        ["1 2 3 4", "[[1, 2], [3, 4]]", "1,2,3", "", "1;2;x;4", "(1, 2, 3, 4, 5)", "1 2 3 inf"],
        [[1, 2, 3, 4], [1.0, 2, 3, 4], [1, 2, 3], None, [1, 2, None, 4], [1, 2, 3, 4, 5], [1, 2, 3, np.inf]],
        [
            ["1", "2", "3", "4"],
            ["1", "2.0", "3", "4"],
            ["1"],
            None,
            ["1", "x", "3", "4"],
            ["1"] * 5,
            ["1", "2", "3", "inf"],
        ],
    ],
)
def test_tensor_holds_its_shape_or_nothing(values):
    good = [1.0, 2.0, 3.0, 4.0]
    found, reasons = coerced(values, TensorColumn, shape=[2, 2])
    assert found == [good, good, None, None, None, None, None]
    assert reasons == [None, None, SHORT, None, STRANGE, SHORT, STRANGE]


@pytest.mark.parametrize("start", range(3))
def test_nested_tensor_may_be_a_slice_of_a_longer_column(start):
    nested = pa.array([[[0, 1], [2, 3]], None, [[4, 5], [6, 7]], [[8, 9], [1, 2]]])
    expected = [[0, 1, 2, 3], None, [4, 5, 6, 7], [8, 9, 1, 2]]
    assert coerced(nested.slice(start), TensorColumn, shape=[2, 2])[0] == expected[start:]
    fixed = pa.array([[0, 1], None, [4, 5], [8, 9]], pa.list_(pa.int8(), 2))
    assert coerced(fixed.slice(start), TensorColumn, shape=[2])[0] == [[0, 1], None, [4, 5], [8, 9]][start:]


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        (["a|b", " a | b |", "", "|", None, "NA"], [["a", "b"], ["a", "b"], [], [], None, None]),
        ([["a", "b"], [], None], [["a", "b"], [], None]),
        ([[1.0, 2.0], [3.0], None], [["1", "2"], ["3"], None]),
    ],
)
def test_labels_come_from_text_and_from_lists(values, labels):
    assert to_label_lists(pa.array(values), separator="|", nulls=("NA",)).values.to_pylist() == labels


def test_list_column_takes_an_empty_text_as_the_spec_says():
    texts = ["a;b", "", "NA", None]
    assert coerced(texts, MultiHotColumn, separator=";")[0] == [["a", "b"], None, None, None]
    assert coerced(texts, MultiHotColumn, separator=";", nulls=("NA",))[0] == [["a", "b"], [], None, None]


def test_list_with_a_category_that_is_not_named_is_said():
    reasons = coerced([["a"], ["a", "z"], [], None], MultiHotColumn, categories=("a", "b"))[1]
    assert reasons == [None, "has one that is not among the categories", None, None]


def test_label_without_a_value_is_said():
    (mask, reason), *_ = to_label_lists(pa.array([["a"], ["a", None], None]), separator="|", nulls=()).problems
    assert (mask.tolist(), reason) == ([False, True, False], "has a label without a value")
