"""Rows that are streamed from raw files, when the disk is full, the device fails, or row groups differ."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from schemas.errors import ResourceError
from schemas.stages import EncodeRequest, EvaluateRequest, Input, TrainRequest
from tasks import encode, features, ingest, train
from tasks.bundle import Bundle
from tasks.encoders.table import TableEncoder
from tasks.findings import refits
from tasks.training import checkpoints, devices, engine, feed


@pytest.fixture
def asked(ingest_request, frame, monkeypatch) -> TrainRequest:
    """Train on two hundred rows, a number and a colour as its vector, which memory is not to hold."""
    columns = {"x": {"kind": "numeric"}, "colour": {"kind": "embedding"}}
    request = ingest_request(frame, columns=columns)
    ingested = ingest.run(request)
    encoded = encode.run(EncodeRequest(workspace=request.workspace, ingest=ingested.as_input))
    monkeypatch.setattr(devices, "memory_bytes", lambda *_: 1000)
    inputs = {"ingest": ingested.as_input, "encode": encoded.as_input}
    return TrainRequest(workspace=request.workspace, **inputs, training={"epochs": 4, "batch_size": 20})


@pytest.mark.parametrize("name", ["train.0", "validation.1", "joined.0"])
def test_disk_that_is_full_ends_training_in_one_message_and_leaves_nothing(asked, monkeypatch, name):
    """BAD_INPUTS 44: whichever raw file has no room, at first or for the refit."""
    mapped = features._mapped

    def on_a_full_disk(path, encoder, disk):
        if not (disk / name).exists():
            (disk / name).symlink_to("/dev/full")
        return mapped(path, encoder, disk)

    workspace, before = Path(asked.workspace), {path.name for path in Path(asked.workspace).iterdir()}
    with monkeypatch.context() as full:
        full.setattr(features, "_mapped", on_a_full_disk)
        with pytest.raises(ResourceError, match=r"^No space left on device \(.*\); nothing was published$"):
            train.run(asked.model_copy(update={"refit": True}))
    assert list((workspace / "train").iterdir()) == []
    assert {path.name for path in workspace.iterdir()} == before | {"train", "checkpoints"}
    kept = [path.name for path in (workspace / "checkpoints").rglob("*")][1:]
    assert kept == ["batch-20.npz"] * (name == "joined.0"), "of the training that was done before the refit"


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (tf.errors.InternalError, "CUDA_ERROR_ECC_UNCORRECTABLE"),
        (tf.errors.UnknownError, "CUDNN_STATUS_EXECUTION_FAILED"),
    ],
)
def test_device_that_fails_is_told_and_training_goes_on_from_its_checkpoint(asked, monkeypatch, caplog, kind, said):
    monkeypatch.setattr(checkpoints, "_SHARE", 0)
    caplog.set_level("INFO", "evermodel")
    take = engine.Engine.train

    def failing(self, epoch):
        if epoch == 3:
            raise kind(None, None, f"{said}\nand much more")
        return take(self, epoch)

    with monkeypatch.context() as broken:
        broken.setattr(engine.Engine, "train", failing)
        with pytest.raises(ResourceError, match=rf"^CPU:0 failed in training \({said}\); look at"):
            train.run(asked)
    assert train.run(asked).epochs == 4
    assert "train: goes on after epoch 2" in caplog.text


def test_row_groups_of_any_size_are_streamed_as_they_are_read(asked, tmp_path):
    encoder = TableEncoder.load(Path(asked.encode.path, "encoder.json"))
    table = pq.read_table(Path(asked.encode.path, "features", "train.parquet"))
    with pq.ParquetWriter(tmp_path / "train.parquet", table.schema) as writer:
        for start, rows in ((0, 1), (1, 90), (91, 2), (93, len(table))):
            writer.write_table(table.slice(start, rows), row_group_size=rows)
    (tmp_path / "disk").mkdir()
    streamed, *rest = features.read(tmp_path / "train.parquet", encoder, disk=tmp_path / "disk")
    inputs, *others = features.read(tmp_path / "train.parquet", encoder)
    assert len(table) > 93
    assert {type(values) for values in streamed.values()} == {np.memmap}
    for name, values in inputs.items():
        np.testing.assert_array_equal(streamed[name], values)
    np.testing.assert_array_equal(rest[0], others[0])


def test_raw_files_have_no_name_and_parts_of_them_are_such_files_again(tmp_path):
    rows, random = np.arange(200_000), np.random.default_rng(0)
    numbers, codes = random.normal(size=(200_000, 2)).astype("f4"), random.integers(0, 3, 200_000)
    numbers.tofile(tmp_path / "numbers")
    mapped = features.mapped(tmp_path / "numbers", "f4", numbers.shape)
    target = features.one_hot(codes, 3, file=tmp_path / "target")
    given = feed.Examples({"numbers": mapped}, target, rows.astype("f4"))
    chosen = random.integers(0, 200_000, 150_000)
    for found, at in (
        (feed.taken(given, chosen, disk=tmp_path), chosen),
        (feed.joined(given, given, disk=tmp_path), np.tile(rows, 2)),
    ):
        kinds = [type(each) for each in (found.inputs["numbers"], found.target, found.weight)]
        assert kinds == [np.memmap, np.memmap, np.ndarray]
        np.testing.assert_array_equal(found.inputs["numbers"], numbers[at])
        np.testing.assert_array_equal(found.target, features.one_hot(codes[at], 3))
        np.testing.assert_array_equal(found.weight, at)
    assert not list(tmp_path.iterdir())


def test_one_hot_targets_are_streamed_where_they_make_rows_exceed_memory(ingest_request, frame, tmp_path, monkeypatch):
    frame = frame.assign(y=frame.pop("colour"))
    request = ingest_request(frame, problem="multiclass", columns={"x": {"kind": "numeric"}})
    ingested = ingest.run(request)
    encoded = encode.run(EncodeRequest(workspace=request.workspace, ingest=ingested.as_input))
    asked = TrainRequest.model_validate(
        {"workspace": "", "ingest": ingested.as_input, "encode": encoded.as_input}
        | {"training": {"loss": "categorical_crossentropy"}}
    )
    path = Path(encoded.path)
    known = path, TableEncoder.load(path / "encoder.json"), request.contract, asked
    here, _ = train.examples(*known, disk=tmp_path)
    monkeypatch.setattr(devices, "memory_bytes", lambda *_: 200 * 4 * 2)  # the inputs alone take half of that
    streamed, _ = train.examples(*known, disk=tmp_path)
    assert (type(here.target), type(streamed.target)) == (np.ndarray, np.memmap)
    np.testing.assert_array_equal(here.target, streamed.target)


def test_networks_are_trained_anew_on_rows_that_exceed_memory(asked, tmp_path, monkeypatch):
    """R33: as on rows in memory, for bias² and variance."""
    trained = train.run(asked)
    inputs = {"ingest": asked.ingest, "encode": asked.encode, "train": trained.as_input}
    request = EvaluateRequest(
        **{"workspace": asked.workspace, "name": "n", "network": asked.network, "training": asked.training},
        **{**inputs, "evaluation": {"refits": 2}},
    )
    bundle, mapped, real = Bundle(Input(path=f"{trained.path}/bundle")), [], features.mapped
    monkeypatch.setattr(features, "mapped", lambda file, *given: mapped.append(file.stem) or real(file, *given))
    weights = []
    for memory in (1000, 1 << 30):
        monkeypatch.setattr(devices, "memory_bytes", lambda *_, memory=memory: memory)
        refits_ = refits.resampled(request, bundle, disk=tmp_path)
        weights.append([values for refit in refits_ for values in refit.network.get_weights()])
    assert mapped == ["train", "train", "validation", "validation", *["taken"] * 4]
    for streamed, here in zip(*weights, strict=True):
        np.testing.assert_array_equal(streamed, here)
