"""Values that break the contract: the row is set aside with its reasons, or the data set is refused; none is mended."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.errors import DataError
from schemas.stages import EncodeRequest
from tasks import encode

ROWS = 120
Y = ["no", "yes"] * (ROWS // 2)


def table(**columns) -> pd.DataFrame:
    """A hundred and twenty rows: n counts, y alternates; the values given stand first in their columns."""
    base = pd.DataFrame({"x": [f"{row}.5" for row in range(ROWS)], "n": range(ROWS), "y": Y})
    for name, values in columns.items():
        rest = base[name] if name in base else pd.Series(["1"] * ROWS)
        base[name] = [*values, *rest[len(values) :]]
    return base


def column(kind: str, **keys) -> dict:
    """The spec's columns: x of that kind, and the number n."""
    return {"columns": {"x": {"kind": kind, **keys}, "n": {"kind": "numeric"}}}


def written(path: Path, values) -> Path:
    """Write a Parquet file whose column x has values of a type of its own."""
    pq.write_table(pa.table({"x": values, "n": range(ROWS), "y": Y}), path)
    return path


NUMBER, LENIENT = column("numeric"), {"data": {"maximum_rejected": 0.1}}


@pytest.mark.parametrize(
    ("values", "keys", "reasons"),
    [
        pytest.param(["abc"], NUMBER, ["x is no number"], id="21-text-in-numbers"),
        pytest.param(
            ["1,000", "0x1F", "1_000", "--1", "1e", "nan"], NUMBER, ["x is no number"] * 6, id="21-no-numbers"
        ),
        pytest.param(
            ["oui"], column("boolean"), ["x is neither of the words for true and false"], id="22-strange-word"
        ),
        pytest.param(["1.9"], column("numeric", integer=True), ["x has a fraction"], id="23"),
        pytest.param(["1e999", "-1e999"], NUMBER, ["x is infinite"] * 2, id="25-overflow"),
        pytest.param(["-1"], column("numeric", minimum=0), ["x is below the minimum 0"], id="27-minimum"),
        pytest.param(["9999"], column("numeric", maximum=120), ["x is above the maximum 120"], id="27-maximum"),
        pytest.param([""], column("numeric", required=True), ["x is missing"], id="29-required"),
        pytest.param(["", " "], column("datetime", required=True), ["x is missing"] * 2, id="29-required-time"),
        pytest.param(
            ["[1, 2]"], column("tensor", shape=[1]), ["x does not hold the 1 numbers of shape [1]"], id="shape"
        ),
        pytest.param(["[a]"], column("tensor", shape=[1]), ["x holds something that is no finite number"], id="tensor"),
        pytest.param(["2024-13-01"], column("datetime"), ["x is no ISO 8601 date or time"], id="no-such-month"),
        pytest.param(
            ["mauve"], column("one_hot", categories=["1.5", "1"]), ["x is not among the categories"], id="category"
        ),
    ],
)
def test_value_that_does_not_fit_sets_its_row_aside(ingest_request, ingested, values, keys, reasons):
    rest = {"boolean": "no", "datetime": "2024-01-01", "numeric": "5", "one_hot": "1"}.get(
        keys["columns"]["x"]["kind"], "[1]"
    )
    rows = table(x=[*values, *[rest] * (ROWS - len(values))])
    result, accepted, said = ingested(ingest_request(rows, **LENIENT, **keys))
    assert said == reasons
    assert accepted.column("_row").to_pylist() == list(range(len(values), ROWS))
    assert re.search(rf"{len(values)} rows rejected: x .* \({len(values)}: rows.csv row 0", result.warnings[-1])


def test_21_row_is_set_aside_with_all_its_reasons_and_its_raw_values(tmp_path, ingest_request, ingested):
    rows = table(x=["a", "1", "b"], n=["200", "300"], y=["no", "no", ""])
    keys = {"columns": {"x": {"kind": "numeric"}, "n": {"kind": "numeric", "maximum": 120}}}
    result, _, said = ingested(ingest_request(rows, **LENIENT, **keys))
    assert said == [
        "x is no number; n is above the maximum 120",
        "n is above the maximum 120",
        "x is no number; y is missing",
    ]
    rejected = pq.read_table(f"{result.path}/rejected.parquet")
    assert rejected.column("record")[2].as_py() == '{"x": "b", "n": "2", "y": ""}'
    assert set(rejected.column("file").to_pylist()) == {"rows.csv"}


def test_rejected_share_is_borne_up_to_the_limit_and_no_further(ingest_request, ingested, refused):
    assert ingested(ingest_request(table(x=["a"])))[0].rows.rejected == 1
    message = refused(ingest_request(table(x=["a", "b"])))
    assert re.search(
        r"rows.csv: 2 of 120 rows break the contract, above data.maximum_rejected 0.01: "
        r"x is no number \(2: rows.csv row 0 'a', row 1\); mend the source, or raise the limit",
        message,
    )


@pytest.mark.parametrize("nulls", [None, ["", "NA"]])
def test_14_only_the_null_list_is_missing(ingest_request, ingested, nulls):
    rows = table(x=["NA", "None", "null", "nan", ""])
    data = {"nulls": nulls} if nulls else {}
    _, accepted, _ = ingested(ingest_request(rows, data=data, **column("one_hot")))
    assert accepted.column("x").to_pylist()[:5] == [None if nulls else "NA", "None", "null", "nan", None]


@pytest.mark.parametrize("kind", ["one_hot", "ordinal", "embedding"])
def test_15_leading_zeros_stay(ingest_request, ingested, kind):
    rows = table(x=["00123", "123", "1.0", "1e3"])
    _, accepted, _ = ingested(ingest_request(rows, **column(kind)))
    assert accepted.column("x").to_pylist()[:4] == ["00123", "123", "1.0", "1e3"]


def test_20_missing_column_is_refused_with_the_nearest_name(tmp_path, ingest_request, refused):
    message = refused(ingest_request(table().rename(columns={"x": "xx"})))
    assert re.search(r"rows.csv: column 'x' is missing; is it 'xx'\?", message)
    table().to_csv(tmp_path / "a.csv", index=False)
    table().drop(columns="y").to_csv(tmp_path / "b.csv", index=False)
    assert re.search(r"b.csv: column 'y' is missing; there are 'x'", refused(ingest_request(tmp_path / "[ab].csv")))


@pytest.mark.parametrize(
    ("kind", "values", "said"),
    [
        ("numeric", pa.array([[1.0]] * ROWS), "column 'x' holds list<.*>, not numbers; change its kind"),
        ("numeric", pa.array(np.arange(ROWS), pa.timestamp("s")), r"column 'x' holds timestamp\[ms\], not numbers"),
        ("one_hot", pa.array([{"a": 1}] * ROWS), "column 'x' holds struct<.*>, not categories"),
        (
            "datetime",
            pa.array(np.arange(ROWS), pa.duration("s")),
            r"column 'x' holds duration\[s\], which no kind of column takes",
        ),
        ("datetime", pa.array(np.arange(ROWS)), "120 of 240 rows break the contract.* x is no ISO 8601"),
        ("numeric", pa.array(["a"] * ROWS), r"120 of 240 rows .* x is no number \(120: b.parquet row 120 'a', row 121"),
        ("tensor", pa.array([{"a": 1}] * ROWS), "column 'x' holds struct<.*>, not lists of numbers"),
        ("one_hot", pa.array([b"\xff"] * ROWS), "column 'x' holds bytes that are not UTF-8 text"),
    ],
)
def test_20_type_that_drifts_from_file_to_file_is_refused(tmp_path, ingest_request, refused, kind, values, said):
    good = {"numeric": [1.0], "one_hot": ["a"], "datetime": ["2024-01-01"], "tensor": [[1.0]]}[kind] * ROWS
    written(tmp_path / "a.parquet", good)
    written(tmp_path / "b.parquet", values)
    keys = column(kind, shape=[1]) if kind == "tensor" else column(kind)
    message = refused(ingest_request(tmp_path / "*.parquet", **keys))
    assert re.search(rf"b.parquet.*: {said}" if "of 240" not in said else said, message), message


@pytest.mark.parametrize("name", ["key", "weight", "y", "group"])
def test_20_list_where_a_single_value_belongs_is_refused(ingest_request, refused, name):
    rows = table(key=range(ROWS), weight=["1"], group=range(ROWS)).assign(**{name: [[1]] * ROWS})
    data, split = {"key": ["key"], "weight": "weight"}, {"by": "group", "column": "group"}
    message = refused(ingest_request(rows, name="a.parquet", data=data, split=split))
    assert re.search(f"a.parquet: column '{name}' holds list<.*>, not (single values|numbers)", message)


def test_20_extra_column_is_reported_or_refused(ingest_request, ingested, refused):
    rows = table(z=["1"])
    assert ingested(ingest_request(rows, **NUMBER))[0].warnings == ["column 'z' is not in the spec and was left out"]
    message = refused(ingest_request(rows, data={"extra": "forbid"}, **NUMBER))
    assert message.endswith("unknown columns 'z'; name them or set data.extra to ignore")


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_22_words_mean_what_the_spec_says(ingest_request, ingested, ending):
    values = ["False", "TRUE", " yes ", "0", "n", None]
    rows = table(x=[*values, *["t"] * (ROWS - 6)])
    _, accepted, _ = ingested(ingest_request(rows, name=f"a.{ending}", **column("boolean")))
    assert accepted.column("x").to_pylist()[:6] == [False, True, True, False, False, None]
    keys = column("boolean", true=["False", "t"], false=["true", "yes", "0", "n"])
    _, accepted, _ = ingested(ingest_request(rows, name=f"a.{ending}", **keys))
    assert accepted.column("x").to_pylist()[:6] == [True, False, False, False, False, None]


BIG = 2**53 + 1


@pytest.mark.parametrize(
    ("name", "values", "keys"),
    [
        pytest.param("a.csv", [str(BIG)], NUMBER, id="text"),
        pytest.param("a.csv", [str(-BIG), "x"], NUMBER, id="negative-text-among-words"),
        pytest.param("a.csv", ["9" * 5_000], NUMBER, id="five-thousand-digits"),
        pytest.param("a.csv", ["9007199254740993.0"], column("numeric", integer=True), id="text-with-point"),
        pytest.param("a.parquet", pa.array([BIG] * ROWS), NUMBER, id="int64"),
        pytest.param("a.parquet", pa.array([-(2**63)] * ROWS), NUMBER, id="smallest-int64"),
        pytest.param("a.parquet", pa.array([2**64 - 1] * ROWS, pa.uint64()), NUMBER, id="uint64"),
        pytest.param("a.parquet", pa.array([2.0**60] * ROWS), column("numeric", integer=True), id="float"),
        pytest.param("a.jsonl", [2**70] * ROWS, NUMBER, id="json-past-int64"),
        pytest.param("a.jsonl", [BIG, 0.5] * (ROWS // 2), NUMBER, id="json-beside-fractions"),
    ],
)
def test_24_integer_that_a_float_cannot_hold_is_refused(tmp_path, ingest_request, refused, name, values, keys):
    if name == "a.parquet":
        rows = written(tmp_path / name, values)
    elif name == "a.jsonl":
        lines = zip(values, range(ROWS), Y, strict=True)
        rows = "".join(f'{{"x": {x}, "n": {n}, "y": "{y}"}}\n' for x, n, y in lines).encode()
    else:
        rows = table(x=values)
    message = refused(ingest_request(rows, name=name, **keys))
    assert re.search(rf"{name}: column 'x' holds (the )?integers? .*\(row 0.*; \d+ of rows 0 to 119\)", message), (
        message
    )


def test_24_same_integer_is_welcome_as_a_category_and_as_a_key(ingest_request, ingested):
    rows = table(x=[str(BIG)], id=[str(BIG + row) for row in range(ROWS)])
    _, accepted, _ = ingested(ingest_request(rows, data={"key": ["id"]}, **column("embedding")))
    assert accepted.column("x")[0].as_py() == str(BIG)
    assert len(set(accepted.column("_key.id").to_pylist())) == ROWS


@pytest.mark.parametrize("problem", ["regression", "binary"])
@pytest.mark.parametrize("target", [np.nan, np.inf, -np.inf])
def test_26_target_without_a_finite_value_sets_its_row_aside(ingest_request, ingested, problem, target):
    values = [target, *np.arange(ROWS - 1.0)] if problem == "regression" else [target, *[0.0, 1.0] * 59, 1.0]
    rows = pd.DataFrame({"x": range(ROWS), "y": values})
    keys = {"problem": problem} if problem == "regression" else {"target": {"column": "y", "classes": ["0", "1"]}}
    _, _, said = ingested(ingest_request(rows, name="a.parquet", **keys))
    other = "y is infinite" if problem == "regression" else "y is not among the classes"
    assert said == ["y is missing" if np.isnan(target) else other]


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_25_infinite_feature_sets_its_row_aside(ingest_request, ingested, value):
    rows = pd.DataFrame({"x": [value, np.nan, *np.arange(ROWS - 2.0)], "y": Y})
    _, accepted, said = ingested(ingest_request(rows, name="a.parquet"))
    assert said == ["x is infinite"]
    assert accepted.column("x")[0].as_py() is None  # NaN is a missing value


def test_28_number_too_large_for_float32_is_refused_at_encode(ingest_request, ingested):
    request = ingest_request(table(x=["1e300"]), **column("numeric", scale="none"))
    result, _, _ = ingested(request)
    with pytest.raises(DataError, match=r"column 'x', row 0 .*: too large for float32 after scaling; set maximum"):
        encode.run(EncodeRequest(workspace=request.workspace, ingest=result.as_input))
    assert not list(Path(request.workspace).glob("encode/*"))


@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
def test_29_column_without_a_value_is_left_out_or_refused(ingest_request, ingested, refused, ending):
    rows = table(x=[None] * ROWS)
    request = ingest_request(rows, name=f"a.{ending}", **NUMBER)
    result, _, _ = ingested(request)
    assert result.warnings == ["column 'x' has no value at all and will be left out"]
    encoded = encode.run(EncodeRequest(workspace=request.workspace, ingest=result.as_input))
    assert encoded.warnings == ["column 'x' has no value in the training split and was left out"]


@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
def test_29_required_column_without_a_value_is_refused(ingest_request, refused, ending):
    rows = table(x=[None] * ROWS)
    message = refused(ingest_request(rows, name=f"a.{ending}", **column("numeric", required=True)))
    assert "120 of 120 rows break the contract" in message
    assert f"x is missing (120: a.{ending} row 0, row 1, row 2)" in message


def test_30_constant_column_is_reported_and_encodes_to_zero(ingest_request, ingested):
    request = ingest_request(table().assign(x="7"), **NUMBER)
    result, _, _ = ingested(request)
    assert result.warnings == ["column 'x' is constant: it tells the network nothing"]
    encoded = encode.run(EncodeRequest(workspace=request.workspace, ingest=result.as_input))
    assert set(pq.read_table(f"{encoded.path}/features/train.parquet").column("x").to_pylist()) == {0.0}
