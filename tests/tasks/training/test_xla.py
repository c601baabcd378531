"""XLA by measurement: when it is made, what is remembered, and what follows. Figures are given, not timed."""

import logging
from pathlib import Path

import numpy as np
import pytest

from schemas.named import Named
from schemas.stages import EncodeRequest, TrainRequest
from tasks import encode, ingest, train
from tasks.training import checkpoints, xla
from tasks.training import engine as engines
from tasks.training.xla import Timing

NUMBERS = np.random.default_rng(0).normal(size=(40, 3))
LONG = {"xla": "auto", "epochs": 10_000}  # 100,000 steps
GAINS = Timing(plain=2e-4, compiled=1e-4, compiling=3.0)
FAILS = Timing(plain=1, compiled=None, compiling=0)
LOSES = Timing(plain=1e-4, compiled=2e-4, compiling=3.0)


@pytest.fixture
def measured(monkeypatch, tmp_path, caplog) -> list[Timing]:
    """What measurements will say, in turn; each takes away the first. One too many is an error."""
    caplog.set_level(logging.INFO, "evermodel")
    (tmp_path / "cache" / "timings").mkdir(parents=True)
    monkeypatch.setenv("EVERMODEL_CACHE", str(tmp_path / "cache"))
    figures: list[Timing] = []
    monkeypatch.setattr(xla, "measure", lambda _: figures.pop(0))
    return figures


@pytest.fixture
def given(examples):
    return examples(NUMBERS, NUMBERS[:, :1])


def files(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "cache" / "timings").glob("*.json"))


@pytest.mark.parametrize(
    ("timing", "steps", "gains"),
    [
        (GAINS, 30_001, True),
        (GAINS, 29_999, False),
        (LOSES, 10**9, False),
        (FAILS, 10**9, False),
    ],
)
def test_what_is_saved_has_to_be_more_than_compiling_costs(timing, steps, gains):
    assert timing.gains(steps) == gains


@pytest.mark.parametrize(("timing", "chosen"), [(GAINS, True), (LOSES, False)])
def test_measured_once_and_followed_from_then_on(engine, given, measured, tmp_path, caplog, timing, chosen):
    measured.append(timing)
    assert [engine(given, **LONG, seed=seed).xla for seed in (0, 1)] == [chosen, chosen]
    (path,) = files(tmp_path)
    assert Timing.model_validate_json(path.read_bytes()) == timing
    said = f"train: {'by' if chosen else 'without'} XLA: {timing.plain * 1000:.3g} ms a step without"
    assert [message.startswith(said) for message in caplog.messages] == [True, True]
    assert ["(measured now: " in message for message in caplog.messages] == [True, False]


@pytest.mark.parametrize("other", [{"batch_size": 5}, {"hidden": (4,)}, {"optimizer": Named(name="adam")}])
def test_another_step_is_measured_by_itself(engine, given, measured, tmp_path, other):
    measured += [GAINS, LOSES]
    assert [engine(given, **LONG, **keys).xla for keys in ({}, other, {}, other)] == [True, False, True, False]
    assert len(files(tmp_path)) == 2


@pytest.mark.parametrize("content", [b"", b"{", b'{"plain": 1}'])
def test_measurement_that_cannot_be_read_is_made_again(engine, given, measured, tmp_path, content):
    measured += [LOSES, GAINS]
    engine(given, **LONG)
    (path,) = files(tmp_path)
    path.write_bytes(content)
    assert engine(given, **LONG).xla
    assert Timing.model_validate_json(path.read_bytes()) == GAINS


@pytest.mark.parametrize("place", ["a container without a mount", "no folder"])
def test_size_decides_where_nothing_can_be_kept(engine, given, measured, tmp_path, monkeypatch, caplog, place):
    monkeypatch.setattr(xla, "_CONTAINER", (tmp_path,) if place != "no folder" else ())
    monkeypatch.setenv("EVERMODEL_CACHE", "/dev/null" if place == "no folder" else str(tmp_path / "none"))
    assert engine(given, **LONG).xla
    assert not engine(given, xla="auto", epochs=20_000, hidden=(1000, 1000), batch_size=40).xla
    assert caplog.text.count("train: the size of a step decides on XLA, for no measurement can be kept: ") == 2


def test_short_trainings_and_what_xla_is_slow_at_are_not_measured(engine, given, examples, measured):
    assert not engine(given, xla="auto", epochs=999).xla
    coded = examples(NUMBERS, NUMBERS[:, :1], embedding_0=np.arange(40, dtype=np.int32))
    adam = {"optimizer": Named(name="adam"), "lazy_embeddings": True}
    assert not engine(coded, **LONG, **adam).xla


def test_measuring_leaves_nothing_behind_in_what_is_trained(engine, given):
    keys = {"optimizer": Named(name="adam"), "hidden": (6,), "dropout": 0.5, "normalization": "batch"}
    timed, untouched = engine(given, **keys), engine(given, **keys)
    timing = xla.measure(timed)
    assert min(timing.plain, timing.compiled, timing.compiling) > 0
    for one, other in zip(timed.state, untouched.state, strict=True):
        np.testing.assert_array_equal(one, other)
    assert timed.train(1) == untouched.train(1)


@pytest.fixture
def asked(ingest_request, frame, tmp_path) -> TrainRequest:
    """Train on two hundred rows, 7 or more steps an epoch."""
    request = ingest_request(frame)
    ingested = ingest.run(request)
    inputs = {"ingest": ingested.as_input}
    inputs["encode"] = encode.run(EncodeRequest(workspace=request.workspace, **inputs)).as_input
    training = {"epochs": 6, "batch_size": 20, "early_stopping": None}
    return TrainRequest(workspace=str(tmp_path / "first"), **inputs, training=training)


class StopError(Exception):
    """What ends a training from outside."""


def test_choice_is_that_of_the_machine_and_of_the_training_that_goes_on(asked, measured, monkeypatch, tmp_path, caplog):
    """The same bytes in two workspaces, and after a stop even when the machine's measurement has changed since."""
    monkeypatch.setattr(engines, "_XLA_STEPS", 1)
    monkeypatch.setattr(checkpoints, "_SHARE", 0)
    measured.append(Timing(plain=1.0, compiled=0.1, compiling=0.0))
    first = train.run(asked)
    second = train.run(asked.model_copy(update={"workspace": str(tmp_path / "second")}))
    assert first.files == second.files
    assert '"xla": true' in Path(first.path, "history.json").read_text()

    third = asked.model_copy(update={"workspace": str(tmp_path / "third")})
    save = checkpoints.Checkpoints.save

    def stop(self, identity, progress):
        save(self, identity, progress)
        if progress.epoch == 3:
            raise StopError

    with monkeypatch.context() as patch, pytest.raises(StopError):
        patch.setattr(checkpoints.Checkpoints, "save", stop)
        train.run(third)
    (path,) = files(tmp_path)
    path.write_text(LOSES.to_json())
    assert train.run(third).files == first.files
    assert "train: goes on after epoch 3" in caplog.text
    assert train.run(asked.model_copy(update={"workspace": str(tmp_path / "fourth")})).files != first.files
