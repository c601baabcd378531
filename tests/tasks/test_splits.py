"""Which split a row goes to, and which rows of rare labels move."""

import numpy as np
import pyarrow as pa
import pytest

from schemas.columns import NumericColumn
from schemas.contract import Contract
from schemas.data import ColumnSplit, GroupSplit, HashSplit, Target, TimeSplit
from schemas.errors import DataError
from tasks.row_keys import mix
from tasks.splits import NOWHERE, RareLabels, Splitter, labels_of

TRAIN, VALIDATION, TEST = range(3)


def contract(problem: str = "multiclass", **target) -> Contract:
    """A contract of one number."""
    return Contract(problem=problem, columns={"x": NumericColumn()}, target=Target(**(target or {"column": "y"})))


def hashes(count: int):
    """Hashes of `count` rows."""
    return mix(np.arange(count, dtype=np.uint64))


def test_hash_split_is_pinned():
    codes = Splitter(HashSplit(), contract()).assign(pa.table({"x": range(12)}), hashes(12))
    assert codes.tolist() == [0, 0, 1, 0, 2, 0, 2, 0, 0, 1, 2, 2]


@pytest.mark.parametrize(("validation", "test"), [(0.2, 0.2), (0.05, 0.6), (0.001, 0.002)])
def test_hash_split_shares(validation, test):
    split = HashSplit(validation=validation, test=test)
    codes = Splitter(split, contract()).assign(pa.table({"x": range(200_000)}), hashes(200_000))
    shares = np.bincount(codes, minlength=3) / 200_000
    assert shares == pytest.approx([1 - validation - test, validation, test], abs=0.004)


def test_larger_test_split_keeps_the_rows_of_the_smaller_one():
    rows = pa.table({"x": range(1_000)})
    small, large = (Splitter(HashSplit(test=share), contract()).assign(rows, hashes(1_000)) for share in (0.1, 0.3))
    assert (large[small == TEST] == TEST).all()


def test_group_split_looks_at_the_group_alone():
    groups = pa.table({"_split": [f"g{at % 40}" for at in range(400)]})
    codes = Splitter(GroupSplit(column="g"), contract()).assign(groups, hashes(400))
    assert (codes.reshape(10, 40) == codes[:40]).all()
    assert set(codes) == {TRAIN, VALIDATION, TEST}


TIMES = pa.array([30, 10, None, 20, 50, 40], pa.timestamp("us", tz="UTC"))


@pytest.mark.parametrize("chunks", [[TIMES], [TIMES[:2], TIMES[2:], TIMES[:0]]])
def test_time_split_puts_the_latest_into_test(chunks):
    split = TimeSplit(column="t", validation=0.2, test=0.2)
    splitter = Splitter(split, contract(), times=iter(chunks))
    rows = pa.table({"_split": pa.array([10, 20, 30, 39, 40, 49, 50, 99], TIMES.type)})
    assert splitter.assign(rows, hashes(8)).tolist() == [0, 0, 0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("times", [[], [7], [7] * 100, [1, *[2] * 99]])
def test_time_split_wants_different_times(times):
    with pytest.raises(DataError, match=r"split.column 't' (holds no time at all|has too few different times)"):
        Splitter(TimeSplit(column="t"), contract(), times=[pa.array(times, TIMES.type)])


def test_column_split_knows_its_words_alone():
    split = ColumnSplit(column="s", train=("a", "b"), validation=("c",), test=("d",))
    rows = pa.table({"_split": ["a", "d", "c", "b", "A", " a", ""]})
    assert Splitter(split, contract()).assign(rows, hashes(7)).tolist() == [0, 2, 1, 0, NOWHERE, NOWHERE, NOWHERE]


@pytest.mark.parametrize(
    ("made", "rows", "labels", "at"),
    [
        (contract(), {"y": ["a", "b", "a"]}, ["a", "b", "a"], [0, 1, 2]),
        (contract("multilabel"), {"y": [["a", "b"], [], ["b"]]}, ["a", "b", "b"], [0, 0, 2]),
        (contract("multilabel", columns=["p", "q"]), {"p": [1.0, 0, 1], "q": [0.0, 0, 1]}, ["p", "p", "q"], [0, 2, 2]),
        (contract(columns=["p", "q"]), {"p": [1.0, 0], "q": [0.0, 1]}, ["p", "q"], [0, 1]),
    ],
)
def test_labels_of_every_form_of_target(made, rows, labels, at):
    found, positions = labels_of(pa.table(rows), made)
    assert (found.to_pylist(), positions.tolist()) == (labels, at)


def spread(labels, codes, *, made=None, split=None, batch=3, hashed=None):
    """Tell RareLabels of rows batch by batch."""
    rare = RareLabels(made or contract(), split or HashSplit())
    hashed = hashes(len(labels)) if hashed is None else np.asarray(hashed, np.uint64)
    for start in range(0, len(labels), batch):
        part = slice(start, start + batch)
        numbers = np.arange(len(labels))[part]
        rare.add(pa.array(labels[part]), numbers, hashed[part], np.asarray(codes, np.int8)[part])
    return rare


def test_nothing_moves_when_every_label_stands_everywhere():
    assert spread(["a", "b"] * 3, [0, 0, 1, 1, 2, 2]).moves() == {}


@pytest.mark.parametrize("batch", [1, 2, 100])
@pytest.mark.parametrize("codes", [[0, 0, 0], [1, 1, 1], [2, 2, 2], [0, 0, 1], [2, 1, 2]])
def test_three_rows_go_to_three_splits_by_the_fewest_moves(codes, batch):
    moves = spread(["a"] * 3, codes, batch=batch).moves()
    after = [moves.get(row, code) for row, code in enumerate(codes)]
    assert sorted(after) == [0, 1, 2]
    assert len(moves) == 3 - len(set(codes))


def test_moves_do_not_depend_on_the_order_of_rows():
    labels, codes, hashed = ["a"] * 6, [0] * 6, [7, 3, 9, 1, 8, 5]
    moved = {hashed[row]: code for row, code in spread(labels, codes, hashed=hashed).moves().items()}
    assert moved == {1: TEST, 3: VALIDATION}
    back = {hashed[::-1][row]: code for row, code in spread(labels, codes, hashed=hashed[::-1]).moves().items()}
    assert back == moved


def test_equal_rows_move_together_or_not_at_all():
    moves = spread(["a"] * 6, [0] * 6, hashed=[1, 1, 2, 2, 3, 3]).moves()
    assert moves == {0: TEST, 1: TEST, 2: VALIDATION, 3: VALIDATION}
    with pytest.raises(DataError, match=r"class 'a' \(6 \+ 0 \+ 0 rows\)"):
        spread(["a"] * 6, [0] * 6, hashed=[1, 1, 1, 2, 2, 2]).moves()


def test_rows_of_several_labels_move_until_all_labels_stand_everywhere():
    labels = ["a", "b", "a", "b", "a", "b", "a", "b"]
    hashed, codes = [1, 1, 2, 2, 3, 3, 4, 4], [0, 0, 0, 0, 0, 0, 1, 1]
    rows = np.array([0, 0, 1, 1, 2, 2, 3, 3])
    rare = RareLabels(contract("multilabel"), HashSplit())
    rare.add(pa.array(labels), rows, np.array(hashed, np.uint64), np.array(codes, np.int8))
    assert rare.moves() == {0: TEST}


def test_too_rare_labels_are_all_named_with_counts():
    rare = spread(
        ["a", "b", "b", *["c"] * 3], [0, 1, 2, 0, 1, 2], made=contract(column="y", classes=["a", "b", "c", "d"])
    )
    said = r"class 'a' \(1 \+ 0 \+ 0 rows\), 'b' \(0 \+ 1 \+ 1 rows\), 'd' \(0 \+ 0 \+ 0 rows\); collect more rows"
    with pytest.raises(DataError, match=said):
        rare.moves()
    assert rare.labels == ["a", "b", "c"]


def test_a_hundred_thousand_labels_are_refused_quickly():
    rare = spread([f"id {at}" for at in range(100_000)], [0] * 100_000, batch=50_000)
    with pytest.raises(DataError, match=r"'id 0' .* and 99990 more"):
        rare.moves()


def test_label_is_rare_as_long_as_chance_may_leave_it_out():
    few = spread(
        ["a"] * 400 + ["b"] * 400, [0] * 400 + [0, 1, 2, 0] * 100, batch=100, split=HashSplit(test=0.01)
    ).moves()
    assert set(few.values()) == {VALIDATION, TEST}


@pytest.mark.parametrize("split", [GroupSplit(column="g"), TimeSplit(column="t"), ColumnSplit(column="s")])
def test_label_without_training_rows_is_refused_with_counts(split):
    spread(["a", "a", "b"], [0, 1, 0], split=split).refuse_untrained()
    with pytest.raises(DataError, match=r"no row of the training split has class 'b' \(0 \+ 1 \+ 1 rows\)"):
        spread(["a", "b", "b"], [0, 1, 2], split=split).refuse_untrained()
