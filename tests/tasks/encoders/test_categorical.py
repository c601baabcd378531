"""R23, R25, R27, R28: categories as positions, as 0/1 columns, as codes; rare, unknown and missing ones."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from tasks.encoders import categorical
from tasks.encoders.categorical import TextCounts

KINDS = pytest.mark.parametrize("kind", ["ordinal", "one_hot", "embedding"])


def test_ordinal_codes_follow_the_alphabet(typed):
    people = typed({name: {"kind": "ordinal"} for name in ("gender", "location", "browser")})
    rows = people.rows(
        gender=["male", "female", "female", "male"],
        location=["from US", "from Europe", "from Asia", "from Africa"],
        browser=["uses Safari", "uses Safari", "uses Firefox", "uses Chrome"],
    )
    encoded = people.fit(rows).transform(rows)["numbers"]
    assert encoded.tolist() == [[1, 3, 2], [0, 2, 2], [0, 1, 1], [1, 0, 0]]
    assert encoded.dtype == np.float32


def test_one_hot_columns_follow_the_alphabet_beside_numbers(typed):
    plain = {"kind": "numeric", "scale": "none"}
    people = typed({"Country": {"kind": "one_hot"}, "Age": plain, "Salary": plain})
    rows = people.rows(
        Country=["India", "US", "Japan", "US", "Japan"], Age=[44, 34, 46, 35, 23], Salary=[72, 65, 98, 45, 34]
    )
    encoder = people.fit(rows)
    assert encoder.slots[0].columns == ("Country=India", "Country=Japan", "Country=US", "Age", "Salary")
    assert encoder.transform(rows)["numbers"].tolist() == [
        [1, 0, 0, 44, 72],
        [0, 0, 1, 34, 65],
        [0, 1, 0, 46, 98],
        [0, 0, 1, 35, 45],
        [0, 1, 0, 23, 34],
    ]


def test_ordinal_takes_the_order_of_its_categories(column):
    sizes = column("ordinal", categories=("small", "medium", "large", "huge"))
    encoder = sizes.fitted(["large", "small"])
    assert encoder.transform(sizes.array(["small", "medium", "large", "huge"])).tolist() == [[0], [1], [2], [3]]


def test_ordinal_unknown_and_missing_are_minus_1(column):
    sizes = column("ordinal")
    encoder = sizes.fitted(["a", "b", None])
    assert encoder.outputs == ("x", "x=missing")
    assert encoder.transform(sizes.array(["z", None, "b"])).tolist() == [[-1, 0], [-1, 1], [1, 0]]


def test_ordinal_standard_scale_has_mean_0_and_deviation_1(column):
    sizes = column("ordinal", scale="standard")
    values = ["a", "b", "b", "d"] * 3
    encoded = sizes.fitted(values).transform(sizes.array(values))
    assert encoded.mean() == pytest.approx(0, abs=1e-6)
    assert encoded.std() == pytest.approx(1)


def test_one_hot_has_a_place_for_rare_unknown_and_missing(column):
    places = column("one_hot", min_count=2)
    encoder = places.fitted(["a", "a", "b", "b", "rare", None])
    assert encoder.outputs == ("x=a", "x=b", "x=(other)", "x=missing")
    encoded = encoder.transform(places.array(["a", "b", "rare", "new", None]))
    assert encoded.tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


def test_one_hot_without_rare_or_missing_ones_says_nothing_of_them(column):
    places = column("one_hot")
    encoder = places.fitted(["b", "a"])
    assert encoder.outputs == ("x=a", "x=b")
    assert encoder.transform(places.array(["new", None, "a"])).tolist() == [[0, 0], [0, 0], [1, 0]]


def test_embedding_codes_leave_0_for_missing_and_1_for_unknown(column):
    users = column("embedding", min_count=2)
    encoder = users.fitted(["b", "b", "a", "a", "rare"])
    codes = encoder.transform(users.array([None, "new", "rare", "a", "b"]))
    assert (codes.tolist(), codes.dtype, encoder.cardinality) == ([0, 1, 1, 2, 3], np.int32, 4)


@pytest.mark.parametrize(("categories", "size"), [(3, 4), (100, 21), (3000, 64)])
def test_embedding_size_grows_with_the_categories(column, categories, size):
    assert column("embedding").fitted([str(each) for each in range(categories)]).size == size


@KINDS
def test_most_frequent_categories_are_kept(column, kind):
    encoder = column(kind, max_categories=2).fitted(["c", "a", "c", "b", "b", "c", "a", "b", "a", "a"])
    assert encoder.categories == ("a", "b")  # b and c are as frequent: the first in the alphabet stays


@KINDS
def test_unknown_counts_what_is_rare_or_new_but_not_what_is_missing(column, kind):
    places = column(kind, max_categories=1)
    assert places.fitted(["a", "a", "b"]).unknown(places.array(["a", "b", "new", None])) == 2


@KINDS
def test_batches_fit_as_one_batch_does(column, kind):
    values = [None, *"abracadabra", "NA", "None", ""]
    places = column(kind, min_count=2)
    assert places.fitted(values[:4], [], values[4:5], values[5:]) == places.fitted(values)


@pytest.mark.parametrize("encoded", [False, True], ids=["texts", "dictionaries"])
def test_texts_are_counted_over_batches_in_the_order_in_which_they_came(monkeypatch, encoded):
    monkeypatch.setattr(categorical, "_COUNTED_AT_ONCE", 50)
    random, counts, expected = np.random.default_rng(0), TextCounts(), Counter()
    assert counts.together().num_rows == 0
    for _ in range(20):
        batch = [f"é{number}" for number in random.geometric(0.02, 40)]
        expected.update(batch)
        counts.add(pa.array(batch).dictionary_encode() if encoded else pa.array(batch))
    assert len(counts._parts) < 20
    assert [*zip(*counts.together().to_pydict().values(), strict=True)] == [*expected.items()]


@pytest.mark.parametrize("most", [1, 7, 100, 1000])
def test_the_most_frequent_of_many_are_those_of_a_sort_by_count_and_alphabet(column, most):
    values = [f"{number:x}" for number in np.random.default_rng(0).geometric(0.02, 900)] + ["Ω", "z", "😀", "Z"]
    counted = sorted(Counter(values).items(), key=lambda item: (-item[1], item[0]))
    assert column("embedding", max_categories=most).fitted(values).categories == tuple(
        sorted(name for name, _ in counted[:most])
    )


@KINDS
def test_texts_that_look_like_nothing_are_categories(column, kind):
    assert column(kind).fitted(["NA", "None", "nan", "a\nb", "😀"]).categories == ("NA", "None", "a\nb", "nan", "😀")


@KINDS
def test_slice_is_encoded_as_its_rows_are(column, kind):
    places = column(kind)
    values = places.array(["a", None, "b", "c", "new", "a"])
    encoder = places.fitted(["a", "b", "c", None])
    np.testing.assert_array_equal(encoder.transform(values.slice(2, 3)), encoder.transform(values)[2:5])


@KINDS
def test_inverse_returns_the_categories(column, kind):
    places = column(kind, min_count=2)
    encoder = places.fitted(["a", "a", "b", "b", "rare", None])
    assert encoder.inverse(encoder.transform(places.array(["b", "new", "a", None]))) == ["b", None, "a", None]
