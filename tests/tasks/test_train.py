"""R1-R8, R28, R30-R32, R35: train as a stage, on real data that ingest and encode prepared."""

import errno
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from sklearn.datasets import load_breast_cancer, load_iris

from schemas.contract import Contract
from schemas.data import Source
from schemas.errors import DataError, ResourceError, SpecError, TrainingError
from schemas.spec import Spec
from schemas.spec_file import read_spec
from schemas.stages import EncodeRequest, IngestRequest, TrainRequest, TrainResult
from tasks import bundle, encode, evaluation, features, ingest, metrics, train
from tasks.bundle import Bundle
from tasks.examples import write_example
from tasks.tables import read_table
from tasks.training import checkpoints, feed

EXAMPLES = {
    "diabetes": ("linear", 1, "mean_squared_error"),
    "linnerud": ("linear", 3, "mean_squared_error"),
    "breast-cancer": ("sigmoid", 1, "binary_crossentropy"),
    "digits": ("softmax", 10, "sparse_categorical_crossentropy"),
    "digit-traits": ("sigmoid", 3, "binary_crossentropy"),
}


def request(spec: Spec, workspace: Path) -> TrainRequest:
    """What train is asked for a spec, after ingest and encode."""
    source = Source(**{name: getattr(spec.data, name) for name in Source.model_fields})
    contract = Contract.of(spec)
    asked = IngestRequest(workspace=str(workspace), source=source, contract=contract, split=spec.split)
    ingested = ingest.run(asked)
    encoded = encode.run(EncodeRequest(workspace=str(workspace), ingest=ingested.as_input))
    return TrainRequest(
        workspace=str(workspace),
        ingest=ingested.as_input,
        encode=encoded.as_input,
        network=spec.network,
        training=spec.training,
    )


def spec_of(frame: pd.DataFrame, folder: Path, *, problem: str, target: Any, training: Any = None, **keys: Any) -> Spec:
    """A spec for a frame, written to a file, in which every column not named is a numeric feature."""
    folder.mkdir(exist_ok=True)
    frame.to_parquet(folder / "rows.parquet")
    target = {"column": target} if isinstance(target, str) else target
    data = {"path": str(folder / "rows.parquet")} | keys.pop("data", {})
    taken = {*target.get("columns", ()), target.get("column"), *data.get("key", ()), data.get("weight")}
    columns = {name: {"kind": "numeric"} for name in frame.columns if name not in taken}
    return Spec.model_validate(
        {"name": "it", "problem": problem, "data": data, "target": target, "columns": columns}
        | {"training": {"epochs": 2} | (training or {}), "network": {"hidden": [8]}}
        | keys
    )


def bundle_of(result: TrainResult) -> Bundle:
    return Bundle(result.as_input.model_copy(update={"path": f"{result.path}/bundle", "digest": None}))


def predicted(result: TrainResult, asked: TrainRequest, split: str = "test") -> np.ndarray:
    """What the bundle says of the rows of a split."""
    return bundle_of(result).predict(read_table(Path(asked.ingest.path, "rows", f"{split}.parquet")))


@pytest.fixture(scope="module")
def cancer(tmp_path_factory) -> tuple[TrainRequest, TrainResult]:
    """The breast-cancer example, trained for five epochs."""
    folder = tmp_path_factory.mktemp("cancer")
    spec = read_spec(write_example("breast-cancer", folder), overrides=("training.epochs=5", "network.dropout=0.3"))
    asked = request(spec, folder / "workspace")
    return asked, train.run(asked)


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_problem_trains_with_its_own_output_and_loss(tmp_path, name):
    spec = read_spec(write_example(name, tmp_path), overrides=("training.epochs=3",))
    asked = request(spec, tmp_path / "workspace")
    result = train.run(asked)
    history = json.loads(Path(result.path, "history.json").read_text())
    assert history["loss"][-1] < history["loss"][0]
    assert result.validation_loss == history["validation_loss"][result.best_epoch - 1]
    output = bundle_of(result).network.layers[-1]
    assert (output.activation.__name__, output.units, default_loss(result)) == EXAMPLES[name]
    assert result.parameters == bundle_of(result).network.count_params()
    said = predicted(result, asked)
    assert np.isfinite(said).all()
    if output.activation.__name__ == "softmax":
        np.testing.assert_allclose(said.sum(axis=1), 1, rtol=1e-5)


def default_loss(result: TrainResult) -> str:
    import keras

    loaded = keras.models.load_model(f"{result.path}/bundle/network.keras")
    return loaded.loss.name


def test_everything_published_is_named(cancer):
    assert set(cancer[1].files) == {
        "history.json",
        *(
            f"bundle/{name}"
            for name in ("bundle.json", "contract.json", "encoder.json", "network.keras", "reference.json")
        ),
    }


def test_same_request_gives_the_same_bytes_in_another_workspace_and_process(cancer, tmp_path):
    asked, result = cancer
    elsewhere = asked.model_copy(update={"workspace": str(tmp_path / "elsewhere")})
    (tmp_path / "request.json").write_text(elsewhere.to_json())
    command = [sys.executable, "-m", "tasks.train", str(tmp_path / "request.json")]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    again = TrainResult.model_validate_json(ended.stdout)
    assert (again.run_key, again.files) == (result.run_key, result.files)
    assert "train: epoch 5/5, loss " in ended.stderr


@pytest.fixture(scope="module")
def lasting(tmp_path_factory) -> tuple[TrainRequest, TrainResult]:
    """A training that takes long enough to be stopped, undisturbed."""
    folder = tmp_path_factory.mktemp("lasting")
    changes = ("training.epochs=60", "training.batch_size=4", "training.early_stopping=null", "network.dropout=0.3")
    asked = request(read_spec(write_example("breast-cancer", folder), overrides=changes), folder / "workspace")
    return asked, train.run(asked)


@pytest.mark.parametrize(("stop", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)])
def test_stopped_training_is_finished_by_the_next_run_with_the_same_bytes(lasting, tmp_path, caplog, stop, code):
    """BAD_INPUTS 42, 43."""
    asked, expected = lasting
    asked = asked.model_copy(update={"workspace": str(tmp_path)})
    (tmp_path / "request.json").write_text(asked.to_json())
    command = [sys.executable, "-m", "tasks.train", str(tmp_path / "request.json")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not list(tmp_path.glob("checkpoints/*/*.npz")):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(stop)
        assert process.wait() == code
    assert not list(tmp_path.glob("train/[!.]*"))
    caplog.set_level("INFO", "evermodel")
    assert train.run(asked).files == expected.files
    assert "train: goes on after epoch " in caplog.text
    assert not list(tmp_path.glob("checkpoints/*"))


def test_checkpoint_stays_until_what_was_trained_is_published(cancer, tmp_path, caplog, monkeypatch):
    asked, expected = cancer
    asked = asked.model_copy(update={"workspace": str(tmp_path)})
    monkeypatch.setattr(checkpoints, "_SHARE", 0)

    def full(*_given, **_keys):
        raise OSError(errno.ENOSPC, "No space left on device", "network.keras")

    with monkeypatch.context() as disk:
        disk.setattr(bundle, "write", full)
        with pytest.raises(ResourceError, match="No space left"):
            train.run(asked)
    assert list(tmp_path.glob("checkpoints/*/batch-*.npz"))
    caplog.set_level("INFO", "evermodel")
    assert train.run(asked).files == expected.files
    assert "train: goes on after epoch 5" in caplog.text
    assert not list(tmp_path.glob("checkpoints/*"))


def test_rows_above_the_memory_allowed_are_streamed_to_the_same_network(tmp_path, monkeypatch):
    monkeypatch.setattr(feed, "_POOL_BYTES", 200_000)
    numbers = np.random.default_rng(0).normal(size=(20_000, 20))
    frame = pd.DataFrame(numbers, columns=[f"x{index}" for index in range(20)]).assign(
        y=numbers[:, 0] - numbers[:, 1], w=np.abs(numbers[:, 2])
    )
    mapped, networks, keys = [], [], set()
    real = features._mapped
    monkeypatch.setattr(features, "_mapped", lambda path, *given: mapped.append(path.stem) or real(path, *given))
    for memory in (1, None):
        training = {"epochs": 1, "memory_mb": memory, "batch_size": 256}
        spec = spec_of(frame, tmp_path, problem="regression", target="y", training=training, data={"weight": "w"})
        asked = request(spec, tmp_path / str(memory))
        result = train.run(asked)
        keys.add(result.run_key)
        networks.append(result.files["bundle/network.keras"])
        assert all(name.startswith("bundle/") or name == "history.json" for name in result.files)
    assert networks[0] == networks[1]
    assert len(keys) == 1
    assert mapped == ["train", "validation"]  # for the first alone


PLAIN_KERAS = """
import json, sys
import keras, numpy
network = keras.models.load_model(sys.argv[1])
rows = numpy.load(sys.argv[2])
started = int(network.optimizer.iterations)
moments = float(sum(abs(v.numpy()).sum() for v in network.optimizer.variables[2:]))
said = network(rows).numpy().ravel().tolist()
network.fit(rows, numpy.ones(len(rows)), epochs=1, batch_size=len(rows), verbose=0)
print(json.dumps({
    "said": said, "started": started, "moments": moments, "went on": int(network.optimizer.iterations),
    "foreign": [name for name in sys.modules if name.split(".")[0] in ("tasks", "schemas", "flows")],
}))
"""


def test_network_loads_in_plain_keras_and_trains_on(cancer, tmp_path):
    asked, result = cancer
    bundle = bundle_of(result)
    rows = bundle.encoder.transform(read_table(Path(asked.ingest.path, "rows", "test.parquet")))["numbers"]
    np.save(tmp_path / "rows.npy", rows)
    command = [sys.executable, "-c", PLAIN_KERAS, f"{result.path}/bundle/network.keras", str(tmp_path / "rows.npy")]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    plain = json.loads(ended.stdout)
    assert plain["said"] == bundle.network({"numbers": rows}).numpy().ravel().tolist()
    batches = -(-asked_rows(asked) // asked.training.batch_size)
    assert (plain["started"], plain["went on"]) == (result.best_epoch * batches, result.best_epoch * batches + 1)
    assert plain["moments"] > 0
    assert plain["foreign"] == []


@pytest.mark.parametrize("save_format", ["keras", "h5"])
def test_members_make_one_keras_network_that_is_no_worse_than_they_are(tmp_path, save_format):
    changes = ("training.members=3", "training.epochs=40", "network.dropout=0.1", f"training.save_format={save_format}")
    asked = request(read_spec(write_example("diabetes", tmp_path), overrides=changes), tmp_path / "workspace")
    result = train.run(asked)
    history = json.loads(Path(result.path, "history.json").read_text())
    bests = [member["validation_loss"][member["best_epoch"] - 1] for member in history["members"]]
    assert len(set(bests)) == 3
    assert result.validation_loss <= np.mean(bests)
    bundle = bundle_of(result)
    rows = bundle.encoder.transform(read_table(Path(asked.ingest.path, "rows", "test.parquet")))["numbers"]
    plain = keras.models.load_model(f"{result.path}/bundle/network.{save_format}", compile=False)
    members = [layer for layer in plain.layers if layer.name.startswith("member_")]
    said = np.mean([member({"numbers": rows}) for member in members], axis=0)
    np.testing.assert_allclose(bundle.network({"numbers": rows}), said, rtol=1e-5)
    again = train.run(asked.model_copy(update={"workspace": str(tmp_path / "elsewhere")}))
    assert again.files == result.files


def asked_rows(asked: TrainRequest) -> int:
    return read_table(Path(asked.ingest.path, "rows", "train.parquet"), columns=["_row"]).num_rows


def test_integer_labels_and_their_one_hot_columns_give_the_same_predictions(tmp_path):
    iris = load_iris(as_frame=True).frame.reset_index(names="plant")
    one_hot = pd.get_dummies(iris.target, dtype=int).rename(columns=str)
    columns = iris.drop(columns="target").join(one_hot)
    said = []
    for frame, target, loss in (
        (iris, "target", None),
        (columns, {"columns": ["0", "1", "2"]}, None),
        (columns, {"columns": ["0", "1", "2"]}, "categorical_crossentropy"),
    ):
        training, data = {"loss": loss}, {"key": ["plant"]}
        spec = spec_of(frame, tmp_path, problem="multiclass", target=target, training=training, data=data)
        asked = request(spec, tmp_path)
        said.append(predicted(train.run(asked), asked))
    np.testing.assert_array_equal(said[0], said[1])
    np.testing.assert_allclose(said[0], said[2], rtol=1e-4)


def skewed(problem: str) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Breast tumours of which a few are malignant, told by three measures; and the target that says so."""
    cancer = load_breast_cancer(as_frame=True).frame[["mean radius", "mean texture", "mean smoothness", "target"]]
    rare = pd.concat([cancer[cancer.target == 1], cancer[cancer.target == 0].iloc[::8]], ignore_index=True)
    malignant, rough = rare.pop("target") == 0, rare["mean texture"] > 17
    if problem == "binary":
        return rare.assign(y=np.where(malignant, "bad", "good")), {"column": "y"}
    if problem == "multiclass":
        return rare.assign(y=np.select([malignant, rough], ["bad", "rough"], "good")), {"column": "y"}
    return rare.assign(bad=malignant.astype(int), rough=rough.astype(int)), {"columns": ["bad", "rough"]}


@pytest.mark.parametrize(
    ("problem", "wanted"),
    [
        ("binary", "balanced"),
        ("binary", {"bad": 10}),
        ("multiclass", {"name": "effective_number", "beta": 0.999}),
        ("multilabel", "balanced"),
    ],
)
def test_class_weights_raise_the_recall_of_a_rare_class(tmp_path, problem, wanted):
    """R30, R32: from the spec to the network, for each problem that has classes."""
    frame, target = skewed(problem)
    recall = []
    for weight in (None, wanted):
        training = {"class_weight": weight, "epochs": 15, "optimizer": {"name": "adam", "learning_rate": 0.01}}
        asked = request(spec_of(frame, tmp_path, problem=problem, target=target, training=training), tmp_path)
        result = train.run(asked)
        rows = read_table(Path(asked.ingest.path, "rows", "train.parquet"))
        classes = bundle_of(result).encoder.target.classes
        said = predicted(result, asked, "train")
        found = said[:, 0] >= 0.5 if problem == "multilabel" else np.array(classes)[said.argmax(axis=1)] == "bad"
        truth = rows.column("bad" if problem == "multilabel" else "y").to_numpy()
        recall.append(found[truth == (1 if problem == "multilabel" else "bad")].mean())
    assert recall[1] > recall[0] + 0.2


@pytest.mark.parametrize(
    ("data", "training", "weights"),
    [
        ({}, {}, ([1], [1, 1])),
        ({"weight": "w"}, {}, ("w", [1, 1])),
        ({"weight": "w"}, {"early_stopping": {"weighted": False}}, ([1], [1, 1])),
        ({"weight": "w"}, {"output_weight": {"b": 3}}, ("w", [1, 3])),
    ],
    ids=["none", "rows", "rows, but not in validation", "rows and outputs"],
)
def test_validation_loss_is_that_of_the_weights(tmp_path, data, training, weights):
    """R31, R32: by hand, from the predictions of the network that was kept."""
    random = np.random.default_rng(0)
    x = random.normal(size=(300, 2))
    frame = pd.DataFrame({"p": x[:, 0], "q": x[:, 1], "a": x.sum(axis=1), "b": x[:, 0] ** 2, "w": 1.0 + (x[:, 1] > 0)})
    frame = frame if data else frame.drop(columns="w")
    target = {"columns": ["a", "b"], "scale": "none"}
    spec = spec_of(frame, tmp_path, problem="multioutput_regression", target=target, training=training, data=data)
    asked = request(spec, tmp_path)
    result = train.run(asked)
    rows = read_table(Path(asked.ingest.path, "rows", "validation.parquet")).to_pandas()
    errors = (predicted(result, asked, "validation") - rows[["a", "b"]].to_numpy()) ** 2
    by_row, by_output = weights
    weight = np.asarray(rows["_weight"] if by_row == "w" else np.ones(len(rows)))[:, None] * np.array(by_output)
    assert result.validation_loss == pytest.approx((errors * weight).sum() / weight.sum(), rel=1e-4)


def test_evaluation_figures_are_weighted(cancer, tmp_path):
    """R32: accuracy is the share of the weights of rows that are told right."""
    frame, target = skewed("binary")
    weighted = frame.assign(w=np.where(frame.y == "bad", 5.0, 1.0))
    asked = request(spec_of(weighted, tmp_path, problem="binary", target=target, data={"weight": "w"}), tmp_path)
    result = train.run(asked)
    scored = evaluation.score(bundle_of(result), Path(asked.ingest.path), "test")
    rows = read_table(Path(asked.ingest.path, "rows", "test.parquet")).to_pandas()
    right = np.array(["bad", "good"])[predicted(result, asked).argmax(axis=1)] == rows.y
    assert metrics.compute(scored)["accuracy"] == pytest.approx((right * rows._weight).sum() / rows._weight.sum())
    assert right.mean() != pytest.approx((right * rows._weight).sum() / rows._weight.sum())


def test_network_takes_every_kind_of_column(tmp_path):
    """R28: vectors of hashed values, words of texts, means of the target and lists, from the spec to the prediction."""
    random = np.random.default_rng(0)
    user, words = random.integers(0, 50, 400), random.choice(["good", "bad", "not good", "so so"], 400)
    frame = pd.DataFrame(
        {"user": [f"u{each}" for each in user], "shop": [f"s{each % 9}" for each in user], "said": words}
        | {"tags": [f"t{each % 4}|t{each % 3}" for each in user], "age": random.lognormal(size=400)}
    ).assign(y=np.where(np.isin(words, ["good", "so so"]), "yes", "no"))
    columns = {
        "user": {"kind": "hashing", "buckets": 32},
        "shop": {"kind": "target_mean"},
        "said": {"kind": "text", "buckets": 64},
        "tags": {"kind": "multi_hot"},
        "age": {"kind": "numeric", "scale": "quantile"},
    }
    training = {"epochs": 30, "optimizer": {"name": "adam", "learning_rate": 0.03}}
    spec = spec_of(frame, tmp_path, problem="binary", target="y", training=training, columns=columns)
    asked = request(spec, tmp_path)
    said = predicted(train.run(asked), asked).argmax(axis=1)
    truth = read_table(Path(asked.ingest.path, "rows", "test.parquet")).column("y").to_numpy()
    assert (np.array(["no", "yes"])[said] == truth).mean() > 0.95


def test_regression_predicts_in_the_targets_own_units(tmp_path):
    spec = read_spec(write_example("diabetes", tmp_path), overrides=("training.epochs=30",))
    asked = request(spec, tmp_path)
    said = predicted(train.run(asked), asked)[:, 0]
    truth = read_table(Path(asked.ingest.path, "rows", "test.parquet")).column("progression").to_numpy()
    assert said.mean() == pytest.approx(truth.mean(), rel=0.2)
    assert np.sqrt(((said - truth) ** 2).mean()) < 0.9 * truth.std()


@pytest.mark.parametrize(
    ("activation", "scale", "message"),
    [
        ("sigmoid", 1, r"target 'y': \d+ train rows lie outside 0 to 1, .*output_activation sigmoid"),
        ("tanh", -1, r"target 'y': \d+ train rows lie outside -1 to 1"),
        ("relu", -1, r"target 'y': \d+ train rows lie outside 0 to inf"),
        ("softplus", 1, None),
        ("sigmoid", 1 / 400, None),
    ],
)
def test_target_that_the_output_cannot_reach_is_refused(tmp_path, activation, scale, message):
    frame = pd.DataFrame({"x": np.arange(60.0), "y": scale * np.arange(1.0, 61)})
    network = {"hidden": [2], "output_activation": activation}
    target = {"column": "y", "scale": "none"}
    asked = request(spec_of(frame, tmp_path, problem="regression", target=target, network=network), tmp_path)
    if message is None:
        assert train.run(asked).epochs == 2
    else:
        with pytest.raises(DataError, match=message):
            train.run(asked)


@pytest.mark.parametrize(
    ("training", "error", "message"),
    [
        ({"optimizer": {"name": "sgd", "learning_rate": 1e30}}, TrainingError, r"epoch \d, step \d+: the loss is no"),
        ({"class_weight": {"malignat": 2}}, SpecError, "no label 'malignat'; there are benign, malignant"),
        ({"class_weight": {"benign": 0, "malignant": 0}}, SpecError, "leave no train row a finite weight above 0"),
        ({"loss": "categorical_hinge"}, SpecError, "CategoricalHinge does not fit problem binary: .* there fit Binary"),
    ],
    ids=["no number", "no label", "no weight", "no fit"],
)
def test_training_that_fails_publishes_nothing(cancer, tmp_path, training, error, message):
    training = cancer[0].training.model_validate({"epochs": 2} | training)
    asked = cancer[0].model_copy(update={"workspace": str(tmp_path), "training": training})
    with pytest.raises(error, match=message):
        train.run(asked)
    assert list((tmp_path / "train").iterdir()) == []


def test_weight_column_moves_the_fit(tmp_path):
    x = np.tile([-1.0, 1.0], 60)
    frame = pd.DataFrame({"plant": range(120), "x": x, "y": np.where(np.arange(120) % 4 < 2, x, -x)})
    slopes = []
    for weights in ([1, 0], [0, 1]):  # rows of y = x, or those of y = -x
        weighted = frame.assign(w=np.where(np.arange(120) % 4 < 2, *weights))
        training = {"epochs": 20, "optimizer": {"name": "adam", "learning_rate": 0.1}}
        data = {"weight": "w", "key": ["plant"]}
        spec = spec_of(
            weighted, tmp_path, problem="regression", target="y", training=training, data=data, network={"hidden": []}
        )
        slopes.append(float(bundle_of(train.run(request(spec, tmp_path))).network.layers[-1].kernel[0, 0]))
    assert slopes[0] > 0.5
    assert slopes[1] < -0.5


def test_validation_rows_without_weight_are_refused(tmp_path):
    splits = ["train", "train", "validation", "test", "test"] * 12
    frame = pd.DataFrame({"x": np.arange(60.0), "y": ["a", "b", "b", "a", "b"] * 12, "s": splits})
    keys = {"columns": {"x": {"kind": "numeric"}}, "split": {"by": "column", "column": "s"}}
    spec = spec_of(frame, tmp_path, problem="binary", target="y", training={"class_weight": {"b": 0}}, **keys)
    with pytest.raises(SpecError, match="leave no validation row a finite weight above 0"):
        train.run(request(spec, tmp_path))


def test_encode_of_another_ingest_is_refused(cancer, tmp_path):
    iris = spec_of(load_iris(as_frame=True).frame, tmp_path, problem="multiclass", target="target")
    mixed = request(iris, tmp_path).model_copy(update={"ingest": cancer[0].ingest})
    with pytest.raises(SpecError, match="ingest and encode do not belong together"):
        train.run(mixed)


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="a GPU is there")
def test_gpu_that_is_absent_is_told_before_any_data_is_read(tmp_path):
    nowhere = {"path": str(tmp_path / "nowhere"), "digest": "0"}
    asked = TrainRequest(workspace=str(tmp_path), ingest=nowhere, encode=nowhere, training={"device": {"gpus": 2}})
    with pytest.raises(ResourceError, match=r"training\.device asks for 2 GPUs, and TensorFlow sees none"):
        train.run(asked)


def greedy(values):
    """An activation that wants a pebibyte for 21 rows and more, and for 15; not for the blocks of predictions."""

    def take(rows):
        np.empty(2**47 if 20 < rows < 1024 or rows == 15 else 1)
        return np.float32(0)

    return values + tf.stop_gradient(tf.ensure_shape(tf.numpy_function(take, [tf.shape(values)[0]], tf.float32), []))


def test_batch_is_halved_once_when_memory_ends(tmp_path, caplog, monkeypatch):
    frame = pd.DataFrame(
        {"x": np.arange(60.0), "y": np.arange(60.0), "s": ["train"] * 40 + ["validation", "test"] * 10}
    )
    keys = {"columns": {"x": {"kind": "numeric"}}, "split": {"by": "column", "column": "s"}}
    keys |= {"network": {"hidden": [4], "activation": "mish"}}
    monkeypatch.setitem(keras.src.activations.ALL_OBJECTS_DICT, "mish", greedy)
    monkeypatch.setitem(keras.saving.get_custom_objects(), "greedy", greedy)
    spec = spec_of(frame, tmp_path, problem="regression", target="y", training={"batch_size": 40}, **keys)
    result = train.run(request(spec, tmp_path))
    spec = spec.model_copy(update={"training": spec.training.model_copy(update={"batch_size": 30})})
    told = r"CPU:0: no memory for training\.batch_size 30, nor for 15; lower it, network\.hidden or training\.memory_mb"
    with pytest.raises(ResourceError, match=told):
        train.run(request(spec, tmp_path))
    assert result.warnings == ["CPU:0: no memory for training.batch_size 40; trained with 20"]
    history = json.loads(Path(result.path, "history.json").read_text())
    assert (history["batch_size"], history["warnings"]) == (20, result.warnings)
    assert f"train: {result.warnings[0]}" in caplog.messages
