"""Inferred specs: what kind each column gets, what the target asks for, and that the spec runs as it is."""

import json
from datetime import time

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.contract import Contract
from schemas.data import Source
from schemas.errors import DataError, SpecError
from schemas.spec_file import read_spec
from schemas.stages import IngestRequest
from tasks import ingest
from tasks.inference import infer_spec, sample

ROWS = 200
NUMBERS = np.random.RandomState(0).randn(ROWS)


def cycle(*values, rows=ROWS):
    """The values in an order without a pattern, each about as often as any other."""
    repeated = [values[row % len(values)] for row in range(rows)]
    return [repeated[at] for at in np.random.RandomState(1).permutation(rows)]


def with_gap(values, gap, *, every=10):
    return [gap if row % every == 0 else value for row, value in enumerate(values)]


class Inferred:
    """A spec inferred from columns that were written to a file."""

    def __init__(self, folder, columns, *, target="target", ending="csv", **options):
        self.folder, self.path = folder, folder / f"table.{ending}"
        columns = {"other": NUMBERS[: len(next(iter(columns.values())))]} | columns
        if ending == "csv":
            pd.DataFrame(columns).to_csv(self.path, index=False)
        elif ending == "parquet":
            pq.write_table(pa.table({name: pa.array(values) for name, values in columns.items()}), self.path)
        else:
            rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
            self.path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        self.text = infer_spec(self.path, target, folder=folder, **options)
        (folder / "spec.yaml").write_text(self.text)
        self.spec = read_spec(folder / "spec.yaml")

    def said(self, name):
        """The line on a column."""
        (line,) = [line for line in self.text.splitlines() if line.strip().lstrip("# ").startswith(f"{name}: ")]
        return line

    def ingested(self):
        data = self.spec.data
        return ingest.run(
            IngestRequest(
                workspace=str(self.folder / "workspace"),
                source=Source(path=data.path, delimiter=data.delimiter, encoding=data.encoding),
                contract=Contract.of(self.spec),
                split=self.spec.split,
                minimum_rows=data.minimum_rows,
                maximum_rejected=data.maximum_rejected,
            )
        )


@pytest.fixture
def infer(tmp_path):
    def inferred(columns, **options):
        columns = columns if "target" in columns or "target" in options else columns | {"target": NUMBERS[::-1]}
        return Inferred(tmp_path, columns, **options)

    return inferred


NUMERIC = {
    "fractions": (NUMBERS, {"kind": "numeric"}),
    "many integers": (np.random.RandomState(0).randint(18, 80, ROWS), {"kind": "numeric"}),
    "negative integers": (cycle(-2, -1, 0, 1, 2), {"kind": "numeric"}),
    "rooms": (cycle(1, 2, 3, 4, 5), {"kind": "numeric"}),
    "long tail": (np.exp(3 * NUMBERS).round(2), {"kind": "numeric", "scale": "log"}),
    "far values": (with_gap(NUMBERS, 1e4, every=100), {"kind": "numeric", "scale": "robust"}),
    "gaps": (with_gap(NUMBERS, None), {"kind": "numeric"}),
    "gap words": (with_gap(NUMBERS.round(3).astype(str), "NA"), {"kind": "numeric", "nulls": ("", "NA")}),
    "question marks": (with_gap(cycle(*map(str, range(50))), " ? "), {"kind": "numeric", "nulls": ("", " ? ")}),
    "a few words": (
        with_gap(cycle(*map(str, range(50))), "n.d.", every=20),
        {"kind": "numeric", "nulls": ("", "n.d.")},
    ),
}
CATEGORIES = {
    "words": (cycle("red", "green", "blue"), {"kind": "one_hot"}),
    "two words": (cycle("male", "female"), {"kind": "one_hot"}),
    "few integers": (cycle(3, 5, 7, 8), {"kind": "one_hot"}),
    "two integers": (cycle(1, 2), {"kind": "one_hot"}),
    "store_id": (cycle(*range(100, 115)), {"kind": "one_hot"}),
    "customerID": (cycle(*range(100, 150)), {"kind": "embedding"}),
    "leading zeros": (cycle("007", "012", "100"), {"kind": "one_hot"}),
    "many words": (cycle(*(f"w{number}" for number in range(50))), {"kind": "embedding"}),
    "NA as a word": (cycle("NA", "EU", "AS"), {"kind": "one_hot"}),
    "one word or none": (with_gap(["x"] * ROWS, None), {"kind": "one_hot"}),
}
BOOLEANS = {
    "yes and no": (cycle("yes", "no"), {"kind": "boolean"}),
    "TRUE and False": (cycle("TRUE", "False"), {"kind": "boolean"}),
    "0 and 1": (cycle(0, 1), {"kind": "boolean"}),
    "on and off": (cycle("on", "off"), {"kind": "boolean", "true": ("on",), "false": ("off",)}),
    "fractions of 0 and 1": (with_gap(cycle(0.0, 1.0), None), {"kind": "boolean", "true": ("1.0",), "false": ("0.0",)}),
    "yes, no and n/a": (with_gap(cycle("Y", "N"), "n/a"), {"kind": "boolean", "nulls": ("", "n/a")}),
}


@pytest.mark.parametrize(("values", "wanted"), [pytest.param(*case, id=name) for name, case in NUMERIC.items()])
def test_numbers(infer, values, wanted, request):
    name = request.node.callspec.id
    assert infer({name: values}).spec.columns[name].model_dump(exclude_defaults=True) | {"kind": "numeric"} == wanted


@pytest.mark.parametrize(("values", "wanted"), [pytest.param(*case, id=name) for name, case in CATEGORIES.items()])
def test_categories_are_never_ordinal(infer, values, wanted, request):
    name = request.node.callspec.id
    assert infer({name: values}).spec.columns[name].kind == wanted["kind"]


@pytest.mark.parametrize(("values", "wanted"), [pytest.param(*case, id=name) for name, case in BOOLEANS.items()])
def test_booleans(infer, values, wanted, request):
    name = request.node.callspec.id
    assert infer({name: values}).spec.columns[name].model_dump(exclude_defaults=True) | {"kind": "boolean"} == wanted


DAYS = pd.date_range("2013-01-05", periods=ROWS, freq="3D")
MOMENTS = pd.date_range("2013-01-05 07:30", periods=ROWS, freq="31h")


@pytest.mark.parametrize(
    ("values", "pattern"),
    [
        (DAYS.strftime("%Y-%m-%d"), None),
        (DAYS.strftime("%Y%m%d"), None),
        (MOMENTS.strftime("%Y-%m-%dT%H:%M:%SZ"), None),
        (DAYS.strftime("%d.%m.%Y"), "%d.%m.%Y"),
        (DAYS.strftime("%m/%d/%Y"), "%m/%d/%Y"),
        (DAYS.strftime("%d/%m/%Y"), "%d/%m/%Y"),
        (DAYS.strftime("%d-%b-%y"), "%d-%b-%y"),
        (DAYS.strftime("%B %d, %Y"), "%B %d, %Y"),
        (MOMENTS.strftime("%d.%m.%Y %H:%M"), "%d.%m.%Y %H:%M"),
        (MOMENTS.strftime("%m/%d/%Y %I:%M %p"), "%m/%d/%Y %I:%M %p"),
        (MOMENTS.strftime("%H:%M"), "%H:%M"),
    ],
    ids=lambda value: None if isinstance(value, str | None) else value[0],
)
def test_dates_in_text(infer, values, pattern):
    column = infer({"when": values}).spec.columns["when"]

    assert (column.kind, column.format) == ("datetime", pattern)


def test_dates_take_the_parts_that_vary(infer):
    inferred = infer(
        {"day": DAYS.strftime("%d.%m.%Y"), "clock": MOMENTS.strftime("%H:%M"), "month": DAYS.strftime("%b-%Y")}
    )

    parts = {name: getattr(column, "parts", None) for name, column in inferred.spec.columns.items()}
    assert parts == {
        "other": None,
        "day": ("year", "month", "day", "day_of_week"),
        "clock": ("time",),
        "month": ("year", "month"),
    }


def test_dates_that_can_be_read_in_two_ways_are_left_out(infer):
    inferred = infer({"when": cycle("01/02/2013", "03/02/2013", "11/12/2013", "12/01/2014", "02/05/2014")})

    assert "when" not in inferred.spec.columns
    assert "%d/%m/%Y and %m/%d/%Y" in inferred.said("when")


def test_dates_with_zero_dates_among_them_have_gaps(infer):
    column = infer({"when": with_gap(DAYS.strftime("%Y-%m-%d"), "0000-00-00")}).spec.columns["when"]

    assert (column.kind, column.nulls) == ("datetime", ("", "0000-00-00"))


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_lists_of_numbers_are_a_tensor(infer, ending):
    images = [[float(number) for number in range(row, row + 64)] for row in range(ROWS)]

    column = infer({"image": images}, ending=ending).spec.columns["image"]

    assert (column.kind, column.shape, column.scale) == ("tensor", (8, 8), "standard")


def test_text_of_as_many_numbers_is_a_tensor(infer):
    column = infer({"spectrum": [f"[{row}, 0.5, 1e-3]" for row in range(ROWS)]}).spec.columns["spectrum"]

    assert (column.kind, column.shape) == ("tensor", (3,))


def test_nested_lists_beside_dates_are_a_tensor(infer):
    columns = {"when": MOMENTS.strftime("%Y-%m-%dT%H:%M:%SZ"), "image": [[[row, 1], [2, 3]] for row in range(ROWS)]}

    kinds = {name: column.kind for name, column in infer(columns, ending="jsonl").spec.columns.items()}
    assert kinds == {"other": "numeric", "when": "datetime", "image": "tensor"}


@pytest.mark.parametrize("kind", ["float16", "float32", "int8", "uint64"])
def test_numbers_of_any_width_are_numbers(infer, kind):
    columns = {"x": np.arange(ROWS // 2).repeat(2).astype(kind), "target": np.array(cycle(0, 1), kind)}
    spec = infer(columns, ending="parquet").spec

    assert (spec.columns["x"].kind, spec.problem, spec.target.positive) == ("numeric", "binary", "1")


def test_lists_of_a_few_words_are_many_columns_of_0_and_1(infer):
    lists = cycle(["red"], ["red", "green"], ["blue", "green"], [], ["blue", "red"])
    inferred = infer({"tags": lists, "written": ["; ".join(each) for each in lists]}, ending="parquet")

    assert inferred.spec.columns["tags"].kind == "multi_hot"
    assert (inferred.spec.columns["written"].kind, inferred.spec.columns["written"].separator) == ("multi_hot", ";")
    assert "a 0/1 column each" in inferred.said("tags")


def test_texts_with_words_that_come_again_are_hashed(infer):
    random = np.random.RandomState(2)
    words = ["engine", "brake", "noise", "leak", "door", "light", "left", "right", "front", "rear", "broken", "loose"]
    inferred = infer({"complaint": [f"{' '.join(random.choice(words, 4))}, no. {row}" for row in range(ROWS)]})

    assert inferred.spec.columns["complaint"].kind == "text"
    assert "texts of about 6 words" in inferred.said("complaint")


def test_more_categories_than_a_list_should_have_are_hashed(infer):
    rows = 61_000
    visitors = [f"v{row // 3}" for row in range(rows)]
    numbers = np.random.RandomState(0).randn(rows)
    inferred = infer({"visitor": visitors, "other": numbers, "target": -numbers}, ending="parquet")

    assert inferred.spec.columns["visitor"].kind == "hashing"


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (cycle("red", "green", "blue"), "no order: a 0/1 column each"),
        (cycle(*(f"w{number}" for number in range(50))), "many: a learned vector each"),
        (np.exp(3 * NUMBERS).round(2), "a long tail: its logarithm"),
        (with_gap(NUMBERS, 1e4, every=100), "a few far values: scaled by the middle half"),
    ],
)
def test_choice_of_an_encoding_is_explained(infer, values, why):
    assert why in infer({"x": values}).said("x")


def test_dates_by_their_type_are_dates(infer):
    assert infer({"when": DAYS}, ending="parquet").spec.columns["when"].kind == "datetime"


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("constant", ["x"] * ROWS, "nothing but 'x'"),
        ("constant number", [1.5] * ROWS, "nothing but '1.5'"),
        ("empty", [None] * ROWS, "no value at all"),
        ("question marks", ["?"] * ROWS, "nothing but '?'"),
        ("person", range(ROWS), "an identifier"),
        ("uuid", [f"u{row:05}" for row in range(ROWS)], "an identifier"),
        ("digits of 20", [str(10**19 + row) for row in range(ROWS)], "an identifier"),
        ("note", [f"note {row} on what was seen" for row in range(ROWS)], "free text"),
        ("now and then", [f"text {row // 2}" for row in range(ROWS)], "free text"),
        ("_row", cycle("a", "b"), "rename it"),
        ("price", cycle(*(f"{price:,}" for price in range(1000, 1050))), "looks like numbers"),
    ],
)
def test_useless_columns_are_left_out_and_said(infer, name, values, reason):
    inferred = infer({name: list(values)})

    assert set(inferred.spec.columns) == {"other"}
    assert reason in inferred.said(name)
    assert inferred.said(name).startswith("  # ")


@pytest.mark.parametrize(
    "values",
    [
        [[1.0] * (row % 3 + 1) for row in range(ROWS)],
        [["a", "b"]] * ROWS,
        [{"a": row} for row in range(ROWS)],
        [b"\xff" + bytes([row]) for row in range(ROWS)],
        [pd.Timedelta(hours=row) for row in range(ROWS)],
        [time(row % 24) for row in range(ROWS)],
    ],
    ids=["lists of different lengths", "lists of text", "struct", "bytes", "durations", "times of day"],
)
def test_types_that_cannot_be_read_are_left_out(infer, values):
    assert set(infer({"odd": values}, ending="parquet").spec.columns) == {"other"}


def test_identifier_becomes_the_key(infer):
    assert infer({"customer": [f"c{row}" for row in range(ROWS)]}).spec.data.key == ("customer",)


def test_position_in_the_file_is_no_key(infer):
    inferred = infer({"": range(ROWS)})

    assert inferred.spec.data.key == ()
    assert set(inferred.spec.columns) == {"other"}


def test_unbroken_integers_without_such_a_name_are_kept(infer):
    assert infer({"hour since start": range(ROWS)}).spec.columns["hour since start"].kind == "numeric"


LABELS = {
    "fractions": (NUMBERS, "regression", {}),
    "many integers": (range(ROWS), "regression", {}),
    "0 and 1": (cycle(0, 1, 0), "binary", {"positive": "1"}),
    "yes and no": (cycle("yes", "no", "yes"), "binary", {"positive": "yes"}),
    "True and False": (cycle(True, False), "binary", {"positive": "True"}),
    "-1 and 1": (cycle(-1, 1), "binary", {"positive": "1"}),
    "the rarer label": (cycle("benign", "malignant", "benign"), "binary", {"positive": "malignant"}),
    "+ and -": (cycle("+", "-", "-"), "binary", {"positive": "+"}),
    "few integers": (cycle(0, 1, 2), "multiclass", {}),
    "words": (cycle("a", "b", "c"), "multiclass", {}),
    "a class of two rows": ([*cycle("a", "b", "c", rows=198), "z", "z"], "multiclass", {"classes": ("a", "b", "c")}),
    "lists in text": (cycle("a|b", "b", "", "a|c"), "multilabel", {}),
    "lists with commas": (cycle("a, b", "b", "c, a", "b, c", "a, b, c"), "multilabel", {"separator": ","}),
}


@pytest.mark.parametrize(
    ("values", "problem", "options"), [pytest.param(*case, id=name) for name, case in LABELS.items()]
)
def test_target_decides_the_problem(infer, values, problem, options):
    spec = infer({"target": list(values)}).spec

    assert spec.problem == problem
    assert spec.target.model_dump(exclude_defaults=True, exclude={"column"}) == options


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_list_of_labels_is_multilabel(infer, ending):
    assert infer({"target": cycle(["a", "b"], ["b"], [])}, ending=ending).spec.problem == "multilabel"


@pytest.mark.parametrize(
    ("targets", "problem"),
    [
        ({"a": NUMBERS, "b": range(ROWS)}, "multioutput_regression"),
        ({"a": cycle(0, 1), "b": cycle(0, 1, 1)}, "multilabel"),
        ({"a": cycle("yes", "no"), "b": cycle("no", "yes", "yes")}, "multilabel"),
        ({"a": cycle(1, 0, 0), "b": cycle(0, 1, 0), "c": cycle(0, 0, 1)}, "multiclass"),
    ],
    ids=["numbers", "0 and 1", "yes and no", "one-hot"],
)
def test_several_targets_decide_the_problem(infer, targets, problem):
    spec = infer({name: list(values) for name, values in targets.items()}, target=[*targets]).spec

    assert spec.problem == problem
    assert spec.target.columns == tuple(targets)


def test_mark_for_an_unknown_label_is_no_class(infer):
    spec = infer({"target": with_gap(cycle("good", "bad"), "?")}).spec

    assert (spec.problem, spec.data.nulls) == ("binary", ("", "?"))


def test_column_that_says_the_same_as_the_target_is_pointed_out(infer):
    target = cycle("yes", "no")
    inferred = infer({"alive": [f"{label}!" for label in target], "target": target})

    assert "says the same as target" in inferred.said("alive")


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        ("Targt", SpecError, "no column 'Targt'; did you mean 'target'"),
        ("zzz", SpecError, "no column 'zzz'; there are 'other', 'word', 'only', 'names', 'target'"),
        (["target", "target"], SpecError, "'target' is named twice"),
        ("only", DataError, "'only' has nothing but '7'"),
        ("names", DataError, "'names' has 200 different values"),
        (["target", "word"], DataError, "'word' does not hold numbers"),
    ],
)
def test_target_that_cannot_be_predicted_is_refused(infer, target, error, message):
    columns = {"word": cycle("a", "b"), "only": [7] * ROWS, "names": [f"n {row}" for row in range(ROWS)]}

    with pytest.raises(error, match=message):
        infer(columns | {"target": NUMBERS}, target=target)


@pytest.mark.parametrize(
    "name",
    [
        "a b",
        "a: b",
        "#x",
        "- a",
        "[a]",
        "{a}",
        "no",
        "2020",
        "1e3",
        "null",
        "%",
        "'",
        '"',
        "ü",
        "🐧",
        "a\nb",
        "",
        " a",
        "~",
    ],
)
def test_odd_names_are_quoted(infer, name):
    assert infer({name: cycle("x", "y", "z")}).spec.columns[name].kind == "one_hot"


def test_odd_words_are_quoted(infer):
    gap = '"#: \\ n/a'
    assert infer({"x": with_gap(NUMBERS.round(3).astype(str), gap)}).spec.columns["x"].nulls == ("", gap)


@pytest.mark.parametrize("label", ["1e3", "none", "true", "~", "0x1"])
def test_labels_that_yaml_would_read_as_something_else_are_quoted(infer, label):
    assert infer({"target": cycle(label, "z", "z")}).spec.target.positive == label


def test_comment_says_what_was_seen(infer):
    line = infer({"colour": with_gap(cycle("red", "green", "blue"), None, every=50)}).said("colour")

    assert line == "  colour: {kind: one_hot} # 'red', 'green', 'blue'; no order: a 0/1 column each; 2.0 % missing"


def test_spec_runs_as_it_is(infer):
    inferred = infer(
        {
            "id": [f"p{row}" for row in range(ROWS)],
            "age": with_gap(np.random.RandomState(2).randint(18, 80, ROWS).astype(str), "NA"),
            "colour": with_gap(cycle("red", "green", "blue"), None),
            "seen": with_gap(DAYS.strftime("%d.%m.%Y"), "-"),
            "paid": with_gap(cycle("Yes", "No"), "?"),
            "odd: name\n🐧": cycle(1, 2, 3),
            "pixels": [" ".join(map(str, range(row, row + 16))) for row in range(ROWS)],
            "target": cycle("good", "bad", "ugly"),
        }
    )

    rows = inferred.ingested().rows
    assert (rows.accepted, rows.rejected) == (ROWS, 0)


def test_rows_that_will_be_rejected_are_borne(infer):
    inferred = infer({"target": with_gap(NUMBERS, None)})

    assert inferred.ingested().rows.rejected == 20
    assert "target is missing" in inferred.said("maximum_rejected")


def test_data_of_which_no_row_can_be_used_are_refused(infer):
    with pytest.raises(DataError, match="nothing but missing values"):
        infer({"target": [None] * ROWS})


def test_data_without_any_feature_are_refused(tmp_path):
    pd.DataFrame({"id": range(ROWS), "target": NUMBERS}).to_csv(tmp_path / "table.csv", index=False)

    with pytest.raises(DataError, match=r"no column to predict from \('id': every value is different"):
        infer_spec(tmp_path / "table.csv", "target")


@pytest.mark.parametrize(
    ("delimiter", "encoding"), [(";", "utf-8"), ("\t", "utf-8"), (",", "cp1252"), (",", "utf-8-sig")]
)
def test_delimiter_and_encoding_are_found(tmp_path, delimiter, encoding):
    table = pd.DataFrame({"größe": NUMBERS, "wort": cycle("süß", "sauer, bitter"), "target": cycle("a", "b")})
    table.to_csv(tmp_path / "table.csv", index=False, sep=delimiter, encoding=encoding)

    (tmp_path / "spec.yaml").write_text(infer_spec(tmp_path / "table.csv", "target", folder=tmp_path))

    spec = read_spec(tmp_path / "spec.yaml")
    assert list(spec.columns) == ["größe", "wort"]
    assert spec.data.delimiter == delimiter


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "is empty"), ("a,b\n", "holds 0 rows"), ("a,b\n1,2\n", "holds 1 rows"), ("a,a\n1,2\n", "stands 2 times")],
)
def test_files_without_rows_or_with_doubled_names_are_refused(tmp_path, text, message):
    (tmp_path / "table.csv").write_text(text)

    with pytest.raises(DataError, match=message):
        infer_spec(tmp_path / "table.csv", "a")


def test_data_path_is_seen_from_the_spec(tmp_path):
    pd.DataFrame({"x": NUMBERS, "target": NUMBERS}).to_csv(tmp_path / "My Data.csv", index=False)
    (tmp_path / "specs").mkdir()

    text = infer_spec(tmp_path / "My Data.csv", "target", folder=tmp_path / "specs")

    assert text.splitlines()[1] == "name: my-data"
    assert "  path: ../My Data.csv" in text.splitlines()


def test_only_the_first_rows_are_looked_at_but_for_the_labels(tmp_path, monkeypatch):
    monkeypatch.setattr(sample, "ROWS", 50)
    table = pa.table({"id": range(ROWS), "x": NUMBERS, "target": sorted(cycle("a", "b", "c"))})
    for part in range(4):
        pq.write_table(table.slice(50 * part, 50), tmp_path / f"{part}.parquet")

    text = infer_spec(tmp_path, "target", name="Parts of it")

    assert "from the first 50 rows" in text
    assert "\nname: parts-of-it\nproblem: multiclass\n" in text
    assert "  # key: [id] # different in the first 50 rows; if it is in all, take this in" in text
