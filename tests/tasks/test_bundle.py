"""The bundle: verified before it is parsed, and the same prediction for a row in whatever company it comes."""

import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pyarrow as pa
import pytest

from schemas.contract import Contract
from schemas.data import Source
from schemas.errors import ResourceError
from schemas.spec_file import read_spec
from schemas.stages import EncodeRequest, IngestRequest, Input, TrainRequest
from tasks import bundle_contents, encode, ingest, train
from tasks.bundle import Bundle
from tasks.encoders.table import TableEncoder
from tasks.examples import write_example
from tasks.stage import file_digest
from tasks.tables import read_table

FILES = ("bundle.json", "contract.json", "encoder.json", "network.keras", "reference.json")


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Path, pa.Table]:
    """The bundle of the breast-cancer example after one epoch, and all its typed rows."""
    folder = tmp_path_factory.mktemp("cancer")
    spec = read_spec(write_example("breast-cancer", folder), overrides=("training.epochs=1",))
    source, workspace = Source(path=spec.data.path), str(folder / "workspace")
    asked = IngestRequest(workspace=workspace, source=source, contract=Contract.of(spec), split=spec.split)
    ingested = ingest.run(asked)
    encoded = encode.run(EncodeRequest(workspace=workspace, ingest=ingested.as_input))
    inputs = {"ingest": ingested.as_input, "encode": encoded.as_input}
    result = train.run(TrainRequest(workspace=workspace, **inputs, training=spec.training))
    splits = [read_table(Path(ingested.path, "rows", f"{split}.parquet")) for split in ("train", "validation", "test")]
    return Path(result.path, "bundle"), pa.concat_tables(splits).combine_chunks()


@pytest.fixture
def copy(trained, tmp_path) -> Path:
    """A copy of the bundle to spoil."""
    return Path(shutil.copytree(trained[0], tmp_path / "bundle"))


def test_manifest_names_every_file_with_its_digest(trained):
    manifest = json.loads((trained[0] / "bundle.json").read_text())
    assert sorted(path.name for path in trained[0].iterdir()) == list(FILES)
    assert manifest["files"] == {name: file_digest(trained[0] / name) for name in FILES[1:]}
    assert manifest["keras"] == keras.__version__


def test_bundle_asked_for_by_digest_opens(trained):
    assert Bundle(Input(path=str(trained[0]), digest=bundle_contents.digest(trained[0]))).contract.problem == "binary"


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("place", [0, 0.5, 1])
def test_one_changed_bit_is_refused_before_the_file_is_parsed(trained, copy, monkeypatch, name, place):
    for kind in (Contract, TableEncoder):
        monkeypatch.setattr(kind, "load", lambda path: pytest.fail(f"{path} was parsed"))
    content = bytearray((copy / name).read_bytes())
    content[int(place * (len(content) - 1))] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(ResourceError, match=f"{name} was changed|is not the one asked for"):
        Bundle(Input(path=str(copy), digest=bundle_contents.digest(trained[0])))


@pytest.mark.parametrize("name", FILES)
def test_missing_file_is_refused(copy, name):
    (copy / name).unlink()
    with pytest.raises(ResourceError, match=f"{name} is missing|holds no bundle"):
        Bundle(Input(path=str(copy)))


def test_link_in_place_of_a_file_is_refused(trained, copy):
    (copy / "network.keras").unlink()
    (copy / "network.keras").symlink_to(trained[0] / "network.keras")
    with pytest.raises(ResourceError, match=r"network\.keras is missing or no regular file"):
        Bundle(Input(path=str(copy)))


@pytest.mark.parametrize(
    "change",
    [
        lambda files: files | {"../x": files["contract.json"]},
        lambda files: files | {"/etc/passwd": "0" * 64},
        lambda files: {name: files[name] for name in ("contract.json", "encoder.json")},
    ],
    ids=["outside", "absolute", "network left out"],
)
def test_manifest_of_other_files_is_refused(copy, change):
    manifest = json.loads((copy / "bundle.json").read_text())
    (copy / "bundle.json").write_text(json.dumps(manifest | {"files": change(manifest["files"])}))
    with pytest.raises(ResourceError, match=r"must name contract\.json, encoder\.json, network\.keras, not"):
        Bundle(Input(path=str(copy)))


def test_foreign_network_is_refused_although_its_digest_is_right(copy):
    inputs = keras.Input((30,), name="numbers")
    keras.Model(inputs, keras.layers.Lambda(lambda values: values[:, :1])(inputs)).save(copy / "network.keras")
    manifest = json.loads((copy / "bundle.json").read_text())
    manifest["files"]["network.keras"] = file_digest(copy / "network.keras")
    (copy / "bundle.json").write_text(json.dumps(manifest))
    opened = Bundle(Input(path=str(copy)))
    with pytest.raises(ResourceError, match=r"keras\.layers\.Lambda, which is not allowed"):
        _ = opened.network


def test_row_gets_the_same_bits_alone_among_many_and_in_any_order(trained):
    directory, rows = trained
    opened = Bundle(Input(path=str(directory)))
    order = np.random.default_rng(0).integers(0, rows.num_rows, 8193)
    expected = opened.predict(rows)[order]
    many = rows.take(pa.array(order))
    for count in (0, 1, 3, 1024, 1025, 8192, 8193):
        np.testing.assert_array_equal(opened.predict(many.slice(0, count)), expected[:count])
    assert expected.shape == (8193, 2)
    assert expected.dtype == np.float64


def test_prediction_is_what_the_network_says(trained):
    directory, rows = trained
    opened = Bundle(Input(path=str(directory)))
    plain = opened.network(opened.encoder.transform(rows)).numpy()
    np.testing.assert_allclose(opened.predict(rows)[:, 1:], plain, rtol=1e-5, atol=1e-7)
