"""R23-R29, each from the spec to the encoded file: what the rows of a file look like to the network."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.preprocessing import QuantileTransformer, TargetEncoder

from flows.requests import ingest_request
from schemas.spec import Spec
from schemas.stages import EncodeRequest
from tasks import encode, ingest
from tasks.encoders.table import TableEncoder
from tasks.row_keys import mix

PLAIN = {"kind": "numeric", "scale": "none"}
FILLING = 12
"""Rows behind those of a case, so that all splits have some and there are as many as a spec wants."""


@dataclass
class Encoded:
    """What encode published: the rows of each split, and the encoder."""

    path: Path
    warnings: list[str]

    def split(self, name: str) -> pa.Table:
        return pq.read_table(self.path / "features" / f"{name}.parquet")

    def train(self, *names: str, rows: int | None = None) -> list[list[float]]:
        """The first training rows of some encoded columns, by default of all but the target."""
        table = self.split("train").slice(0, rows)
        names = names or tuple(name for name in table.column_names if not name.startswith("_"))
        return [list(row) for row in zip(*(table.column(name).to_pylist() for name in names), strict=True)]

    @property
    def encoder(self) -> TableEncoder:
        return TableEncoder.load(self.path / "encoder.json")


@pytest.fixture
def encoded(tmp_path) -> Callable[..., Encoded]:
    """Ingest and encode columns by a spec. Rows are for training but where a column `split` says otherwise."""

    def run(columns: dict[str, Any], rows: dict[str, Any], *, ending: str = "parquet", **keys: Any) -> Encoded:
        count = len(next(iter(rows.values())))
        frame = pd.DataFrame({"y": np.arange(count, dtype=float), "split": "train"} | rows)
        if "split" not in rows:
            frame = _filled(frame)
        path = tmp_path / f"rows.{ending}"
        frame.to_parquet(path) if ending == "parquet" else frame.to_csv(path, index=False)
        spec = Spec.model_validate(
            {"name": "case", "problem": "regression", "data": {"path": str(path)}, "target": {"column": "y"}}
            | {"columns": columns, "split": {"by": "column", "column": "split"}}
            | keys
        )
        ingested = ingest.run(ingest_request(spec, workspace=str(tmp_path)))
        result = encode.run(EncodeRequest(workspace=str(tmp_path), ingest=ingested.as_input))
        return Encoded(Path(result.path), result.warnings)

    return run


def _filled(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows as they are, and again as validation and test rows until there are enough."""
    more = frame.iloc[np.arange(FILLING) % len(frame)].assign(split=["validation", "test"] * (FILLING // 2))
    return pd.concat([frame, more], ignore_index=True)


def test_ordinal_codes(encoded):
    """R23: three columns, in the alphabetical order of their categories."""
    people = {
        "gender": ["male", "female", "female", "male"],
        "location": ["from US", "from Europe", "from Asia", "from Africa"],
        "browser": ["uses Safari", "uses Safari", "uses Firefox", "uses Chrome"],
    }
    case = encoded({name: {"kind": "ordinal"} for name in people}, people)
    assert case.train() == [[1, 3, 2], [0, 2, 2], [0, 1, 1], [1, 0, 0]]
    locations = next(each for each in case.encoder.columns if each.name == "location")
    assert locations.inverse(np.array([[3], [0], [-1]], np.float32)) == ["from US", "from Africa", None]


def test_label_codes_and_their_inverse(encoded):
    """R24: India, US, Japan, US, Japan as 0, 2, 1, 2, 1, and back."""
    countries = ["India", "US", "Japan", "US", "Japan"]
    case = encoded({"x": PLAIN}, {"x": range(5), "y": countries}, problem="multiclass")
    assert [row for (row,) in case.train("_target.0")] == [0, 2, 1, 2, 1]
    assert case.encoder.target.labels(np.array([2, 0, 1])).to_pylist() == ["US", "India", "Japan"]


def test_one_hot_columns(encoded):
    """R25: Country as 100, 001, 010, 001, 010 in alphabetical order, beside numbers that pass."""
    rows = {
        "Country": ["India", "US", "Japan", "US", "Japan"],
        "Age": [44, 34, 46, 35, 23],
        "Salary": [72_000, 65_000, 98_000, 45_000, 34_000],
    }
    case = encoded({"Country": {"kind": "one_hot"}, "Age": PLAIN, "Salary": PLAIN}, rows)
    names = ["Country=India", "Country=Japan", "Country=US", "Age", "Salary"]
    assert case.split("train").column_names[:5] == names
    assert case.train() == [
        [1, 0, 0, 44, 72_000],
        [0, 0, 1, 34, 65_000],
        [0, 1, 0, 46, 98_000],
        [0, 0, 1, 35, 45_000],
        [0, 1, 0, 23, 34_000],
    ]


def test_datetime_parts(encoded):
    """R26: year, month and day are the same numbers, and the raw column is gone."""
    days = ["2013-06-11", "2014-05-08", "2013-10-26", "2015-08-20", "2014-07-22"]
    parts = {"kind": "datetime", "parts": ["year", "month", "day"], "scale": "none"}
    case = encoded({"date": parts}, {"date": days}, ending="csv")
    assert case.split("train").column_names[:3] == ["date.year", "date.month", "date.day"]
    assert "date" not in case.split("train").column_names
    assert case.train() == [[int(part) for part in day.split("-")] for day in days]


def test_every_datetime_part_and_its_circle(encoded):
    """R26: the other parts, with ISO weeks, parts of the day, and seconds of the day; and as sine and cosine."""
    parts = ["quarter", "day_of_week", "day_of_year", "week_of_year", "time", "hour", "minute", "second", "day_part"]
    times = ["2021-01-03T23:59:58", "2020-12-31T06:00:00", "2018-12-31T12:30:00", "2024-02-29T00:00:01"]
    column = {"kind": "datetime", "parts": parts, "scale": "none"}
    case = encoded(
        {"at": column, "round": {"kind": "datetime", "parts": ["hour"], "cyclical": True}},
        {"at": times, "round": times},
        ending="csv",
    )
    assert case.train(*(f"at.{part}" for part in parts)) == [
        [1, 6, 3, 53, 86_398, 23, 59, 58, 3],  # a Sunday in the last ISO week of the year before; evening
        [4, 3, 366, 53, 21_600, 6, 0, 0, 1],  # morning
        [4, 0, 365, 1, 45_000, 12, 30, 0, 2],  # a Monday in the first ISO week of the year to come; afternoon
        [1, 3, 60, 9, 1, 0, 0, 1, 0],  # night
    ]
    assert case.train("round.hour.sin", "round.hour.cos")[1:] == [
        pytest.approx([1, 0], abs=1e-7),
        pytest.approx([0, -1], abs=1e-7),
        [0, 1],
    ]


NORMAL = NormalDist().inv_cdf


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        ("standard", np.array([-1.5, -0.5, -1.5, 3.5, -1]) / math.sqrt(4.25)),  # mean 2.5, variance 17 / 4
        ("robust", np.array([-0.5, 0.5, -0.5, 4.5, 0]) / 2),  # median 1.5, quartiles 1 and 3
        ("min_max", [0, 0.2, 0, 1, 0.1]),
        ("quantile", [NORMAL(1 / 6), NORMAL(2 / 3), NORMAL(1 / 6), NORMAL(1 - 1e-7), 0]),  # ranks 0, 1/3, 2/3, 1
        ("none", [1, 2, 1, 6, 1.5]),
    ],
)
def test_number_on_each_scale_with_a_missing_one(encoded, scale, expected):
    """R27: 1, 2, 1, 6 and a missing one, which becomes the median and is marked."""
    case = encoded({"x": {"kind": "numeric", "scale": scale}}, {"x": [1, 2, 1, 6, None]})
    assert case.train("x=missing") == [[0], [0], [0], [0], [1]]
    assert [row for (row,) in case.train("x")] == pytest.approx(list(expected), abs=1e-6)
    known = np.array(case.train("x"))[:4]
    assert case.encoder.columns[0].inverse(known) == pytest.approx([1, 2, 1, 6], abs=1e-5)


def test_logarithms_are_standardised(encoded):
    """R27: log, that is sign(x) log(1 + |x|)."""
    case = encoded({"x": {"kind": "numeric", "scale": "log"}}, {"x": [0, math.e - 1, 1 - math.e, 0]})
    assert [row for (row,) in case.train()] == pytest.approx([0, math.sqrt(2), -math.sqrt(2), 0], abs=1e-6)


def test_quantile_scale_is_scikit_learns(encoded):
    """R27: quantile."""
    skewed = np.random.default_rng(3).lognormal(0, 2, 3000)
    case = encoded({"x": {"kind": "numeric", "scale": "quantile"}}, {"x": skewed})
    reference = QuantileTransformer(output_distribution="normal", subsample=None).fit_transform(skewed[:, None])
    np.testing.assert_allclose(case.train(), reference, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "train", "validation"),
    [
        ("one_hot", [[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], [[1, 0, 0], [0, 1, 0], [0, 0, 0]]),
        ("ordinal", [[0, 0], [0, 0], [-1, 0], [-1, 1]], [[0, 0], [-1, 0], [-1, 1]]),
        ("embedding", [[2], [2], [1], [0]], [[2], [1], [0]]),
    ],
)
def test_rare_and_unknown_categories_share_a_bucket_and_are_counted(encoded, kind, train, validation):
    """R27: `b` is rare, `c` unknown; both are told from a missing one, and the shares of both are published."""
    rows = {
        "x": ["a", "a", "b", None, *["a", "c", None, "a"] * 2],
        "split": ["train"] * 4 + ["validation"] * 4 + ["test"] * 4,
    }
    case = encoded({"x": {"kind": kind, "min_count": 2}, "z": PLAIN}, rows | {"z": range(12)})
    names = [name for name in case.split("train").column_names if name.startswith("x")]
    assert case.train(*names) == train
    got = [list(row.values()) for row in case.split("validation").select(names).to_pylist()]
    assert got[:2] == [validation[0], validation[1]]
    assert json.loads((case.path / "unknown.json").read_text())["validation"] == {"x": 0.25}
    assert case.warnings[0] == (
        "column 'x': 25.0% of the validation rows have a category that is unknown or too rare in training"
    )


def test_hashing_needs_no_list_of_categories(encoded):
    """R28: a code from 1 on for any value, the same in every split; 0 where there is none."""
    rows = {
        "user": [*(f"user {number}" for number in range(100)), None, "user 7", "new", *["user 7", "new"] * 4],
        "split": ["train"] * 103 + ["validation"] * 4 + ["test"] * 4,
    }
    case = encoded({"user": {"kind": "hashing", "buckets": 16, "size": 3}}, rows)
    codes = [code for (code,) in case.train()]
    assert codes[100] == 0
    assert {*codes[:100]} == {*range(1, 17)}
    assert case.split("test").column("user").to_pylist() == [codes[101], codes[102]] * 2
    assert (case.encoder.slots[0].cardinality, case.encoder.slots[0].size) == (17, 3)


def test_target_means_of_other_rows(encoded):
    """R28, R29: without smoothing, a row's category is the mean target of the other folds' rows of it."""
    random = np.random.default_rng(0)
    shops, sales = random.choice(["a", "b", "c"], 300), random.normal(size=300)
    column = {"kind": "target_mean", "smooth": 0, "folds": 3}
    case = encoded({"shop": column}, {"shop": shops, "y": sales}, target={"column": "y", "scale": "none"})
    fold = np.array((mix(np.arange(300, dtype=np.uint64)) % np.uint64(3)).tolist())
    for row in range(0, 300, 29):
        others = fold != fold[row]
        expected = (sales[others & (shops == shops[row])].mean() - sales[others].mean()) / sales.std()
        assert case.train()[row][0] == pytest.approx(expected, rel=1e-5)


def test_target_means_of_rows_outside_training_are_scikit_learns(encoded):
    """R28: validation and test rows are encoded by all training rows, unknown categories by the overall mean."""
    random = np.random.default_rng(1)
    rows = {
        "shop": [*random.choice(["a", "b", "c"], 200), *["a", "b", "c", "new"] * 2],
        "y": random.choice(["low", "middle", "high"], 208),
        "split": ["train"] * 200 + ["validation"] * 4 + ["test"] * 4,
    }
    case = encoded({"shop": {"kind": "target_mean", "smooth": 5}}, rows, problem="multiclass")
    names = ["shop.mean.high", "shop.mean.low", "shop.mean.middle"]
    reference = TargetEncoder(smooth=5.0, target_type="multiclass").fit(
        np.array(rows["shop"])[:200, None], rows["y"][:200]
    )
    shares = np.array([(rows["y"][:200] == label).mean() for label in ("high", "low", "middle")])
    expected = (reference.transform(np.array(rows["shop"])[200:204, None]) - shares) / np.sqrt(shares * (1 - shares))
    got = np.column_stack([case.split("validation").column(name).to_numpy() for name in names])
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)


def test_target_mean_does_not_leak_the_rows_own_target(encoded):
    """R29: a category of a few rows each and a target of pure noise have nothing to do with each other."""
    random = np.random.default_rng(2)
    noise, users = random.normal(size=2000), [f"u{row // 2}" for row in range(2000)]
    case = encoded({"user": {"kind": "target_mean"}}, {"user": users, "y": noise})
    features = np.array(case.train())[:, 0]
    leaking = case.encoder.columns[0].transform(pa.array(users))[:, 0]
    assert np.corrcoef(leaking, noise)[0, 1] > 0.6
    assert abs(np.corrcoef(features, noise)[0, 1]) < 0.06


def test_list_column_is_one_column_per_category(encoded):
    """R25 for lists: several ones a row; from text and from lists alike."""
    texts = ["red|green", "green", "", "blue|red|blue", "red"]
    column = {"kind": "multi_hot", "nulls": ["none"]}
    expected = [[0, 1, 1], [0, 1, 0], [0, 0, 0], [1, 0, 1], [0, 0, 1]]
    case = encoded({"tags": column}, {"tags": texts}, ending="csv")
    assert case.split("train").column_names[:3] == ["tags=blue", "tags=green", "tags=red"]
    assert case.train() == expected
    assert case.encoder.columns[0].inverse(np.array(expected)) == [
        ["green", "red"],
        ["green"],
        [],
        ["blue", "red"],
        ["red"],
    ]
    lists = [[part for part in text.split("|") if part] for text in texts]
    assert encoded({"tags": column}, {"tags": lists}).train() == expected


def test_rare_unknown_and_missing_items_of_lists(encoded):
    """R27 for lists."""
    rows = {
        "tags": [["a", "b"], ["a"], ["rare", "a"], None, *[["a", "new"], None, ["new", "newer"], []] * 2],
        "split": ["train"] * 4 + ["validation"] * 4 + ["test"] * 4,
    }
    case = encoded({"tags": {"kind": "multi_hot", "min_count": 2}}, rows)
    assert case.split("train").column_names[:3] == ["tags=a", "tags=(other)", "tags=missing"]
    assert case.train() == [[1, 1, 0], [1, 0, 0], [1, 1, 0], [0, 0, 1]]
    got = [list(row.values())[:3] for row in case.split("test").to_pylist()]
    assert got == [[1, 1, 0], [0, 0, 1], [0, 1, 0], [0, 0, 0]]
    assert json.loads((case.path / "unknown.json").read_text())["test"] == {"tags": 0.5}


def test_text_is_counts_of_hashed_words_and_pairs(encoded):
    """R28 for text: capitals and punctuation do not matter, the order of words does, and each row has length 1."""
    texts = ["Not good!", "not, GOOD", "good not", "good", "", None, "...", "äh ÄH äh"]
    case = encoded({"said": {"kind": "text", "buckets": 1024}, "z": PLAIN}, {"said": texts, "z": range(8)})
    rows = np.array([said for (said,) in case.train("said")])
    assert rows.shape == (8, 1024)
    np.testing.assert_array_equal(rows[0], rows[1])
    assert (rows > 0).sum(axis=1).tolist() == [3, 3, 3, 1, 0, 0, 0, 2]
    assert rows[0] @ rows[2] == pytest.approx(2 / 3)  # both words, another pair
    assert rows[0] @ rows[3] == pytest.approx(1 / math.sqrt(3))
    assert sorted(rows[7][rows[7] > 0]) == pytest.approx([2 / math.sqrt(13), 3 / math.sqrt(13)])
    assert (rows**2).sum(axis=1) == pytest.approx([1, 1, 1, 1, 0, 0, 0, 1])


EVERY_KIND = {
    "numeric": {"kind": "numeric"},
    "robust": {"kind": "numeric", "scale": "robust"},
    "quantile": {"kind": "numeric", "scale": "quantile"},
    "min_max": {"kind": "numeric", "scale": "min_max"},
    "log": {"kind": "numeric", "scale": "log"},
    "ordinal": {"kind": "ordinal", "scale": "standard"},
    "one_hot": {"kind": "one_hot"},
    "embedding": {"kind": "embedding"},
    "hashing": {"kind": "hashing"},
    "target_mean": {"kind": "target_mean"},
    "multi_hot": {"kind": "multi_hot"},
    "text": {"kind": "text", "buckets": 8},
    "datetime": {"kind": "datetime"},
    "boolean": {"kind": "boolean"},
    "tensor": {"kind": "tensor", "shape": [2]},
}


def test_no_encoder_looks_at_validation_or_test_rows(encoded):
    """R29: other values and targets outside the training split leave the encoder as it was, for every kind."""
    random = np.random.default_rng(5)
    split = np.array(["train", "train", "validation", "test"] * 15)
    numbers, words = random.normal(size=60), random.choice(["a", "b", "c"], 60)
    numeric = ("numeric", "robust", "quantile", "min_max", "log", "tensor")
    rows = {name: numbers if name in numeric else words for name in EVERY_KIND} | {"y": numbers, "split": split}
    rows["tensor"] = [[number, -number] for number in numbers]
    rows["datetime"] = pd.Timestamp("2020-01-01") + pd.to_timedelta(range(60), unit="D")
    rows["boolean"] = numbers > 0
    held_out = split != "train"
    other = {name: np.where(held_out, 9.5, rows[name]) for name in (*numeric, "y") if name != "tensor"}
    other |= {name: np.where(held_out, "new", rows[name]) for name in EVERY_KIND if rows[name] is words}
    other["tensor"] = [[9.0, 9.0] if out else pair for pair, out in zip(rows["tensor"], held_out, strict=True)]
    other["datetime"] = rows["datetime"].where(~held_out, pd.Timestamp("1999-09-09"))
    other["boolean"] = np.where(held_out, True, rows["boolean"])
    first, second = encoded(EVERY_KIND, rows), encoded(EVERY_KIND, rows | other)
    assert first.path != second.path
    assert {column.name for column in first.encoder.columns} == EVERY_KIND.keys()
    assert first.encoder == second.encoder
    assert first.split("train").equals(second.split("train"))
    assert not first.split("test").equals(second.split("test"))
