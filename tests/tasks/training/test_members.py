"""Members: each learns as it would alone, keeps its own best epoch, and together they are one Keras network."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from schemas.errors import TrainingError
from schemas.named import Named
from schemas.networks import Mlp
from schemas.training import Training
from tasks.encoders.table import NUMBERS, Slot
from tasks.encoders.target import NumberTarget
from tasks.networks import mlp, seeds
from tasks.training import catalogue, checkpoints, feed
from tasks.training.engine import Engine
from tasks.training.loop import fit
from tasks.training.members import Members

ROOT = Path(__file__).parents[3]
RNG = np.random.default_rng(8)
X = RNG.normal(size=(43, 3)).astype(np.float32)
Y = (X[:, :1] * 2 + np.sin(X[:, 1:2])).astype(np.float32)
WEIGHT = RNG.random(43) + 0.5
ADAM = Named(name="adam", learning_rate=0.02)


def network(seed: int, slots=None, **keys) -> keras.Model:
    slots = slots or [Slot(name=NUMBERS, shape=(3,), columns=("a", "b", "c"))]
    with seeds.drawn_from(seed):
        return mlp.build(Mlp(**{"hidden": (6,)} | keys), slots, NumberTarget(names=("y",), centers=(0,), scales=(1,)))


def members(given, *, count: int = 3, optimizer: Named = ADAM, seed: int = 5, slots=None, how=None, **keys) -> Members:
    networks = [network(seed + member, slots, **keys) for member in range(count)]
    how = {"batch_size": 8, "seed": seed} | (how or {})
    return Members(networks, keras.losses.MeanSquaredError(), catalogue.optimizer(optimizer), given, **how)


def alone(given, member: int, *, optimizer: Named = ADAM, seed: int = 5, slots=None, how=None, **keys) -> Engine:
    how = {"batch_size": 8, "seed": seed} | (how or {})
    optimizer = catalogue.optimizer(optimizer)
    return Engine(network(seed + member, slots, **keys), keras.losses.MeanSquaredError(), optimizer, given, **how)


CASES = {
    "penalties, batch normalisation": {"l1": 0.01, "l2": 0.1, "normalization": "batch"},
    "norm of each": {"optimizer": Named(name="adam", clipnorm=0.1, learning_rate=0.02)},
    "norm of all": {"optimizer": Named(name="sgd", global_clipnorm=0.1, learning_rate=0.1)},
    "scaled loss": {"optimizer": Named(name="sgd", loss_scale_factor=1024, clipnorm=0.1, learning_rate=0.1)},
    "lion, compiled": {"optimizer": Named(name="lion", learning_rate=0.003), "how": {"xla": True}},
    "averages": {"optimizer": Named(name="adam", use_ema=True, ema_momentum=0.7, learning_rate=0.02)},
    "bfloat16": {"how": {"policy": "mixed_bfloat16"}},
}


@pytest.mark.parametrize("name", CASES)
def test_each_member_learns_as_it_would_alone(examples, name):
    given = examples(X, Y, WEIGHT)
    together, single = members(given, count=2, **CASES[name]), alone(given, 1, **CASES[name])
    loose = 3e-2 if name == "bfloat16" else 1e-4
    for epoch in (1, 2):
        losses = together.train(epoch)
        assert losses.shape == (2,)
        assert losses[1] == pytest.approx(single.train(epoch), rel=loose)
    assert together.loss(given)[1] == pytest.approx(single.loss(given), rel=loose)
    together.published()
    for mine, theirs in zip(together._networks[1].weights, single.published().weights, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=10 * loose, atol=1e-4)


COMPILED = """
import sys
from pathlib import Path
import keras
import numpy as np
from schemas.named import Named
from schemas.networks import Mlp
from tasks.encoders.table import NUMBERS, Slot
from tasks.encoders.target import NumberTarget
from tasks.networks import mlp
from tasks.training import catalogue
from tasks.training.feed import Examples
from tasks.training.members import Members

rows = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
given = Examples({NUMBERS: rows}, rows[:, :1], np.ones(40, np.float32))
slots = [Slot(name=NUMBERS, shape=(3,), columns=("a", "b", "c"))]
target = NumberTarget(names=("y",), centers=(0,), scales=(1,))
networks = [mlp.build(Mlp(hidden=(6,), dropout=0.2), slots, target) for _ in range(3)]
adam = catalogue.optimizer(Named(name="adam"))
together = Members(networks, keras.losses.MeanSquaredError(), adam, given, batch_size=8, seed=0, xla=True)
for epoch in range(1, 5):
    together.train(epoch)
    print(len(list(Path(sys.argv[1]).glob("*.before_optimizations.txt"))))
"""


def test_xla_compiles_members_once(tmp_path):
    environment = {**os.environ, "XLA_FLAGS": f"--xla_dump_to={tmp_path} --xla_dump_hlo_as_text"}
    command = [sys.executable, "-c", COMPILED, tmp_path]
    said = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    first, *later = map(int, said.split())
    assert first > 0
    assert set(later) == {first}


def test_each_member_counts_for_xla(examples, monkeypatch):
    monkeypatch.setenv("EVERMODEL_CACHE", "/dev/null")  # where nothing can be kept, sizes decide
    given, how = examples(X, Y), {"xla": "auto", "epochs": 1_000}
    assert members(given, how=how).xla
    assert not members(given, how=how | {"epochs": 600}).xla
    assert not alone(given, 0, how=how).xla


def test_noise_of_the_first_member_is_that_of_its_seed_alone_and_others_have_their_own(examples):
    given, still = examples(X, Y), Named(name="sgd", learning_rate=0.0)
    same = [network(5, dropout=0.5) for _ in range(3)]
    together = Members(same, keras.losses.MeanSquaredError(), catalogue.optimizer(still), given, batch_size=8, seed=5)
    losses = together.train(1)
    assert losses[0] == pytest.approx(alone(given, 0, optimizer=still, dropout=0.5).train(1), rel=1e-5)
    assert len(set(losses)) == 3


def test_embeddings_learn_as_they_would_alone(examples):
    codes = RNG.integers(0, 4, 43).astype(np.int32)
    slots = [
        Slot(name=NUMBERS, shape=(3,), columns=("a", "b", "c")),
        Slot(name="codes", shape=(), columns=("codes",), cardinality=4, size=2),
    ]
    given = examples(X, Y + codes[:, None], codes=codes)
    together, single = members(given, slots=slots), alone(given, 2, slots=slots)
    assert together.train(1)[2] == pytest.approx(single.train(1), rel=1e-4)
    assert together.loss(given)[2] == pytest.approx(single.loss(given), rel=1e-4)


def test_rows_streamed_from_disk_give_the_same_members(examples, tmp_path, monkeypatch):
    monkeypatch.setattr(feed, "_BLOCK_ROWS", 100)
    monkeypatch.setattr(feed, "_POOL_BYTES", 450 * 20)
    numbers = RNG.normal(size=(2033, 3)).astype(np.float32)
    numbers.tofile(tmp_path / "numbers")
    mapped = np.memmap(tmp_path / "numbers", np.float32, "r", shape=numbers.shape)
    resident = members(examples(numbers, numbers[:, :1]), dropout=0.2)
    streamed = members(examples(mapped, numbers[:, :1]), dropout=0.2, how={"budget_bytes": 3 * 416 * 20})
    assert (resident._feed.streams, streamed._feed.streams) == (False, True)
    np.testing.assert_array_equal(streamed.train(1), resident.train(1))


def test_each_member_keeps_its_best_epoch_and_they_answer_by_their_mean(examples, tmp_path):
    noise = 3 * np.random.default_rng(1).normal(size=Y.shape)
    given, validation = examples(X, Y + noise), examples(X[:20], Y[:20], WEIGHT[:20])
    together = members(given, hidden=(4,), optimizer=Named(name="adam", learning_rate=0.01))
    history = fit(together, validation, Training(members=3, epochs=60, early_stopping={"patience": 6}))
    assert len({each.best_epoch for each in history.members}) > 1
    for each in history.members:
        stopped = each.best_epoch + 6
        assert each.best_epoch == 1 + int(np.argmin(each.validation_loss[:stopped]))
    np.testing.assert_allclose(history.loss, np.mean([each.loss for each in history.members], axis=0))
    bests = [each.validation_loss[each.best_epoch - 1] for each in history.members]
    np.testing.assert_allclose(together.loss(validation), bests, rtol=1e-6)
    assert history.kept_loss == history.ensemble_loss <= np.mean(bests)
    whole = together.published()
    whole.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    parts = [part({NUMBERS: X}).numpy() for part in together._networks]
    np.testing.assert_allclose(loaded({NUMBERS: X}).numpy(), np.mean(parts, axis=0), rtol=1e-5)
    errors = (loaded({NUMBERS: X[:20]}).numpy() - Y[:20])[:, 0] ** 2
    assert np.average(errors, weights=WEIGHT[:20]) == pytest.approx(history.ensemble_loss, rel=1e-4)


class StopError(Exception):
    """Stands for what ends a process."""


def test_stopped_members_go_on_to_the_same_end(examples, tmp_path, monkeypatch):
    given, validation = examples(X, Y), examples(X[:20], Y[:20])
    training = Training(members=3, epochs=8, early_stopping={"patience": 3})
    monkeypatch.setattr(checkpoints, "_SHARE", 0)
    whole = members(given, dropout=0.3)
    wanted = fit(whole, validation, training)
    broken, train = members(given, dropout=0.3), Members.train

    def stopping(self, epoch):
        if epoch == 5:
            raise StopError
        return train(self, epoch)

    with monkeypatch.context() as patch:
        patch.setattr(Members, "train", stopping)
        with pytest.raises(StopError):
            fit(broken, validation, training, checkpoints=checkpoints.Checkpoints(tmp_path))
    again = members(given, dropout=0.3)
    assert fit(again, validation, training, checkpoints=checkpoints.Checkpoints(tmp_path)) == wanted
    for one, other in zip(again.state, whole.state, strict=True):
        np.testing.assert_array_equal(one, other)


def test_loss_that_is_no_number_is_told_with_member_and_step(examples):
    spoiled = [network(seed) for seed in (0, 1)]
    spoiled[1].layers[-1].bias.assign([np.inf])
    given = examples(X, Y)
    sgd, loss = catalogue.optimizer(Named(name="sgd")), keras.losses.MeanSquaredError()
    together = Members(spoiled, loss, sgd, given, batch_size=8, seed=0)
    with pytest.raises(TrainingError, match=r"epoch 1, step 1, member 2: the loss is no number"):
        fit(together, given, Training(members=2))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"optimizer": "lamb"}, "lamb would mix the members up.*take another optimizer"),
        ({"optimizer": "Adafactor"}, "Adafactor would mix"),
        ({"device": {"gpus": 2}}, "members are trained on one device, not on 2; set device to gpu"),
        ({"precision": "mixed_float16"}, "set precision to mixed_bfloat16"),
    ],
)
def test_what_would_mix_members_up_is_refused(keys, message):
    with pytest.raises(ValueError, match=message):
        Training(members=2, **keys)
    Training(members=1, **keys)
