"""Reading a spec: what is wrong is named by file, line and key (BAD_INPUTS 57), and overrides and variables work."""

from pathlib import Path

import pytest

from schemas.errors import SpecError
from schemas.spec import Spec
from schemas.spec_file import read_spec, resolve_path

PENGUINS = """\
name: penguins
problem: multiclass
data:
  path: penguins.csv
target:
  column: species
columns:
  bill_length: {kind: numeric}
  island: {kind: one_hot}
split:
  by: column
  column: part
training:
  epochs: 50
  optimizer: adam
"""


@pytest.fixture
def spec_file(tmp_path):
    """Write a spec: the penguins', with one text replaced by another."""

    def write(old: str = "", new: str = "", *, text: str = PENGUINS) -> Path:
        assert old in text
        path = tmp_path / "penguins.yaml"
        path.write_text(text.replace(old, new, 1) if old else text)
        return path

    return write


def message(path: Path, *overrides: str) -> str:
    """What the reader says of a spec that is wrong, with the file's name in place of its path."""
    with pytest.raises(SpecError) as caught:
        read_spec(path, overrides=overrides)
    return str(caught.value).replace(str(path), path.name)


def test_valid_spec_is_read(spec_file):
    spec = read_spec(spec_file())
    assert (spec.name, spec.training.epochs, spec.columns["island"].kind) == ("penguins", 50, "one_hot")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("epochs: 50", "epoch: 50", "penguins.yaml:14: unknown key training.epoch; did you mean 'epochs'?"),
        ("training:", "trainng:", "penguins.yaml:13: unknown key trainng; did you mean 'training'?"),
        (
            "numeric}",
            "numeric, scal: log}",
            "penguins.yaml:8: unknown key columns.bill_length.scal; did you mean 'scale'?",
        ),
        ("part\n", "part\n  tset: [a]\n", "penguins.yaml:13: unknown key split.tset; did you mean 'test'?"),
        (
            "  epochs: 50",
            "  early_stopping:\n    patiense: 3",
            "15: unknown key training.early_stopping.patiense; did you",
        ),
        ("name: penguins", "name: penguins\nzzz: 1", "penguins.yaml:2: unknown key zzz; known are name, problem, data"),
    ],
)
def test_unknown_key_is_named_with_line_and_nearest_key(spec_file, old, new, said):
    assert said in message(spec_file(old, new))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "  epochs: 50\n",
            "  epochs: 50\n  seed: 1\n  epochs: 5\n",
            "16: key 'epochs' stands a second time (first in line 14)",
        ),
        ("training:", "name: other\ntraining:", "penguins.yaml:13: key 'name' stands a second time (first in line 1)"),
        (
            "kind: numeric",
            "kind: numeric, kind: one_hot",
            "penguins.yaml:8: key 'kind' stands a second time (first in line 8)",
        ),
    ],
)
def test_key_that_stands_twice_is_refused_with_both_lines(spec_file, old, new, said):
    assert said in message(spec_file(old, new))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("one_hot", "onehot", "penguins.yaml:9: columns.island has the unknown kind 'onehot'; did you mean 'one_hot'?"),
        ("kind: one_hot", "", "penguins.yaml:9: columns.island has no kind; known are numeric, ordinal, one_hot"),
        ("by: column", "by: colum", "penguins.yaml:11: split has the unknown by 'colum'; did you mean 'column'?"),
    ],
)
def test_wrong_tag_of_a_union_is_named_with_the_nearest_one(spec_file, old, new, said):
    assert said in message(spec_file(old, new))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("name: penguins\n", "", "penguins.yaml:1: name is missing"),
        ("  path: penguins.csv", "  encoding: utf-8", "penguins.yaml:3: data.path is missing"),
        ("  column: part\n", "", "penguins.yaml:10: split.column is missing"),
        ("optimizer: adam", "optimizer: {learning_rate: 0.1}", "penguins.yaml:15: training.optimizer.name is missing"),
    ],
)
def test_missing_key_is_named_with_the_line_of_the_key_around_it(spec_file, old, new, said):
    assert said == message(spec_file(old, new))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("epochs: 50", "epochs: 0", "14: training.epochs: Input should be greater than or equal to 1, got 0"),
        ("column: species", "column: 5", "6: target.column: must be text; write it in quotes, got 5"),
        ("kind: one_hot", "kind: one_hot, categories: [a, a]", "9: columns.island: categories must be distinct"),
        ("column: part", "column: part\n  train: [a, test]", "10: split: 'test' means two splits"),
        ("column: part", "column: part\n  train: [5]", "13: split.train.0: must be text; write it in quotes, got 5"),
        (
            "kind: numeric",
            "kind: numeric, minimum: 3, maximum: 1",
            "8: columns.bill_length: minimum 3 is above maximum 1",
        ),
        ("  path: penguins.csv", "", "3: data: must be a mapping of keys, got None"),
        ("epochs: 50", "class_weight: {Adelie: -1}", "14: training.class_weight.Adelie: Input should be greater than"),
        (
            "epochs: 50",
            "class_weight: balance",
            "14: training.class_weight: balanced, effective_number or a mapping of label to weight is wanted, got 'bal",
        ),
        ("epochs: 50", "class_weight: {Adelie: .inf}", "14: training.class_weight.Adelie: Input should be a finite"),
        ("optimizer: adam", "class_weight: {name: effective}", "15: training.class_weight.name: Input should be 'eff"),
        ("bill_length", "species", "8: 'species' is the target or the weight: take it out of columns, or it leaks"),
        ("penguins.csv", '""', "4: data.path: must not be empty"),
        ("problem: multiclass", "problem: {kind: multiclass}", "2: problem: Input should be 'regression', "),
    ],
)
def test_wrong_value_is_named_with_its_line(spec_file, old, new, said):
    assert f"penguins.yaml:{said}" in message(spec_file(old, new))


def test_every_mistake_is_told_at_once(spec_file):
    said = message(spec_file(text=PENGUINS.replace("epochs: 50", "epochs: 0").replace("one_hot", "onehot")))
    assert [line.split(" ")[0] for line in said.splitlines()] == ["penguins.yaml:9:", "penguins.yaml:14:"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must be a mapping of keys"),
        ("- a\n", "must be a mapping of keys"),
        ("name: x\n\tproblem: y\n", "penguins.yaml:2: no valid YAML"),
        ("name: [a\n", "penguins.yaml:2: no valid YAML"),
        ("name: a\n---\nname: b\n", "penguins.yaml:2: no valid YAML"),
        ("name: !!python/object:os.system {}\n", "penguins.yaml:1: no valid YAML"),
        ("? [a, b]\n: 1\n", "penguins.yaml:1: a key must be text"),
        ("a: &a [*a]\n", "an alias that holds itself"),
        ("[" * 3000, "nested too deeply"),
    ],
)
def test_text_that_is_no_spec_is_refused(spec_file, text, said):
    assert said in message(spec_file(text=text))


def test_aliases_that_stand_for_billions_of_values_are_refused(spec_file):
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert "more than 1,000,000 values" in message(spec_file(text="\n".join(levels)))


def test_aliases_and_merge_keys_share_settings_among_columns(spec_file):
    shared = "&rare {kind: one_hot, min_count: 5}\n  sex: {<<: *rare, required: true}"
    columns = read_spec(spec_file("{kind: one_hot}", shared)).columns
    assert columns["sex"] == columns["island"].model_copy(update={"required": True})


def test_file_that_is_missing_or_not_utf8_is_refused(tmp_path):
    with pytest.raises(SpecError, match=r"there is no spec .*evermodel init"):
        read_spec(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes("name: café".encode("latin-1"))
    with pytest.raises(SpecError, match=r"cannot read spec .*position 9"):
        read_spec(tmp_path / "latin.yaml")


@pytest.mark.parametrize("name", ["2020", "yes", "null", "1e3", "numeric", "a b/c", "Größe"])
def test_column_may_have_any_name(spec_file, name):
    assert name in read_spec(spec_file("bill_length", name)).columns


@pytest.mark.parametrize("name", ["numeric", "boolean"])
def test_error_in_a_column_named_as_a_kind_points_to_it(spec_file, name):
    said = message(spec_file("bill_length: {kind: numeric}", f"{name}: {{kind: boolean, required: 7}}"))
    assert said.startswith(f"penguins.yaml:8: columns.{name}.required: ")


def test_class_weights_take_labels_that_are_numbers(spec_file):
    weights = read_spec(spec_file("epochs: 50", "class_weight: {0: 1, 1: 2.5, yes: 3}")).training.class_weight
    assert weights == {"0": 1, "1": 2.5, "yes": 3}


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1e-3", 0.001),
        ("5", 5),
        ("-.5", -0.5),
        ("yes", "yes"),
        ("true", True),
        ("00123", "00123"),
        ("2024-13-45", "2024-13-45"),
    ],
)
def test_plain_values_are_those_of_yaml_1_2(spec_file, written, value):
    spec = read_spec(spec_file("adam", f"adam\n  loss: {{name: own:loss, argument: {written}}}"))
    assert spec.training.loss.arguments == {"argument": value}
    assert type(spec.training.loss.arguments["argument"]) is type(value)


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("training.epochs=5", ("training", "epochs"), 5),
        ("network.hidden=[8, 4]", ("network", "hidden"), (8, 4)),
        ("training.early_stopping.patience=3", ("training", "early_stopping", "patience"), 3),
        ("training.early_stopping=null", ("training", "early_stopping"), None),
        ("columns.bill_length.scale=robust", ("columns", "bill_length", "scale"), "robust"),
        ("split={validation: 0.1}", ("split", "validation"), 0.1),
        ("training.optimizer=sgd", ("training", "optimizer", "name"), "sgd"),
        ("training.optimizer.beta_1=0.8", ("training", "optimizer", "arguments"), {"beta_1": 0.8}),
        ("training.loss={name: huber, delta: 2}", ("training", "loss", "arguments"), {"delta": 2}),
        ("runner.default.memory=8g", ("runner", "default", "memory"), "8g"),
        ("name=a=b", None, None),
    ],
)
def test_override_replaces_one_value(spec_file, override, path, value):
    if path is None:  # only the first = parts key and value
        assert message(spec_file(), override).endswith("got 'a=b'")
        return
    found = read_spec(spec_file("training:", "runner: docker\ntraining:"), overrides=(override,))
    for key in path:
        found = found[key] if isinstance(found, dict) else getattr(found, key)
    assert found == value


def test_override_of_an_argument_keeps_the_name_and_the_other_arguments(spec_file):
    spec = read_spec(spec_file("adam", "{name: sgd, momentum: 0.9}"), overrides=("training.optimizer.nesterov=true",))
    assert spec.training.optimizer.name == "sgd"
    assert spec.training.optimizer.arguments == {"momentum": 0.9, "nesterov": True}


def test_override_of_an_argument_needs_no_name_where_there_is_one_by_default(spec_file):
    path = spec_file("  optimizer: adam\n", "")
    optimizer = read_spec(path, overrides=("training.optimizer.learning_rate=0.1",)).training.optimizer
    assert (optimizer.name, optimizer.arguments) == ("adam", {"learning_rate": 0.1})


def test_later_override_wins(spec_file):
    assert read_spec(spec_file(), overrides=("training.epochs=5", "training.epochs=6")).training.epochs == 6


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("training.epochs", "--set wants key=value such as training.epochs=5, got 'training.epochs'"),
        ("=5", "--set wants key=value"),
        ("training..epochs=5", "--set wants key=value"),
        ("training.epochs=[", "--set training.epochs=[: no valid YAML"),
        ("training.epochs=0", "--set training.epochs=0: training.epochs: Input should be greater than or equal to 1"),
        ("training.epoch=5", "--set training.epoch=5: unknown key training.epoch; did you mean 'epochs'?"),
        (
            "columns.island.kind=onehot",
            "--set columns.island.kind=onehot: columns.island has the unknown kind 'onehot'",
        ),
        ("training={epochs: 1, epochs: 2}", "key 'epochs' stands a second time"),
        ("training.epochs.most=5", "--set training.epochs.most=5: 'most' is below a value that has no keys"),
    ],
)
def test_wrong_override_is_named(spec_file, override, said):
    assert said in message(spec_file(), override)


def test_environment_variable_is_expanded_in_the_data_path_when_it_is_opened(spec_file, monkeypatch):
    """BAD_INPUTS 58: what stands in the variable is in no document."""
    monkeypatch.setenv("PENGUIN_BUCKET", "s3://birds:secret@nest")
    data = read_spec(spec_file("penguins.csv", "${PENGUIN_BUCKET}/*.parquet")).data
    assert data.location == "s3://birds:secret@nest/*.parquet"
    assert "secret" not in data.to_json()


def test_a_relative_path_in_a_variable_counts_from_the_folder_of_the_spec(spec_file, monkeypatch):
    monkeypatch.setenv("SEASON", "2026")
    path = spec_file("penguins.csv", "${SEASON}/penguins.csv")
    assert read_spec(path).data.location == str(path.parent / "2026" / "penguins.csv")


def test_environment_variable_is_expanded_nowhere_else(spec_file, monkeypatch):
    monkeypatch.setenv("PENGUIN_BUCKET", "s3://birds")
    assert read_spec(spec_file("species", "${PENGUIN_BUCKET}")).target.column == "${PENGUIN_BUCKET}"
    assert message(spec_file("name: penguins", "name: ${PENGUIN_BUCKET}")).endswith("got '${PENGUIN_BUCKET}'")


def test_environment_variable_that_is_not_set_is_named(spec_file, monkeypatch):
    monkeypatch.delenv("PENGUIN_BUCKET", raising=False)
    said = message(spec_file("penguins.csv", "${PENGUIN_BUCKET}/a.csv"))
    assert said.startswith("penguins.yaml:4: data.path: environment variable PENGUIN_BUCKET is not set")


def test_relative_data_path_counts_from_the_folder_of_the_spec(spec_file, tmp_path, monkeypatch):
    path = spec_file()
    monkeypatch.chdir(path.anchor)
    assert read_spec(path).data.path == str(tmp_path / "penguins.csv")
    monkeypatch.chdir(tmp_path)
    assert read_spec("penguins.yaml").data.path == str(tmp_path / "penguins.csv")


@pytest.mark.parametrize(
    ("location", "resolved"),
    [
        ("a.csv", "/specs/a.csv"),
        ("data/*.csv", "/specs/data/*.csv"),
        ("/data/a.csv", "/data/a.csv"),
        ("s3://bucket/a.csv", "s3://bucket/a.csv"),
        ("~/a.csv", "/home/bird/a.csv"),
    ],
)
def test_data_path_is_resolved(location, resolved, monkeypatch):
    monkeypatch.setenv("HOME", "/home/bird")
    assert resolve_path(location, folder=Path("/specs")) == resolved


def test_home_directory_that_does_not_exist_is_named():
    with pytest.raises(SpecError, match=r"~nobody-at-all/a\.csv"):
        resolve_path("~nobody-at-all/a.csv", folder=Path("/specs"))


def test_spec_that_was_read_is_a_spec_for_good(spec_file):
    spec = read_spec(spec_file())
    assert Spec.model_validate_json(spec.to_json()) == spec
