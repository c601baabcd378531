"""Rows that are streamed from raw files, when the disk is full, the device fails, or row groups differ."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from schemas.errors import ResourceError
from schemas.stages import EncodeRequest, TrainRequest
from tasks import encode, features, ingest, train
from tasks.encoders.table import TableEncoder
from tasks.training import checkpoints, devices, engine


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


def test_device_that_fails_is_told_and_training_goes_on_from_its_checkpoint(asked, monkeypatch, caplog):
    monkeypatch.setattr(checkpoints, "_SHARE", 0)
    caplog.set_level("INFO", "evermodel")
    take = engine.Engine.train

    def failing(self, epoch):
        if epoch == 3:
            raise tf.errors.InternalError(None, None, "CUDA_ERROR_ECC_UNCORRECTABLE\nand much more")
        return take(self, epoch)

    with monkeypatch.context() as broken:
        broken.setattr(engine.Engine, "train", failing)
        with pytest.raises(ResourceError, match=r"^CPU:0 failed in training \(CUDA_ERROR_ECC_UNCORRECTABLE\); look at"):
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
