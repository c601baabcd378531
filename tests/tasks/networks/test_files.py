"""R35: network files: the same bytes for the same network, and nothing foreign is loaded from them."""

import json
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from schemas.errors import ResourceError
from schemas.networks import Mlp
from tasks.encoders.table import Slot
from tasks.encoders.target import NumberTarget
from tasks.networks import files, mlp, seeds

SLOTS = [
    Slot(name="numbers", shape=(3,), columns=("a", "b", "c")),
    Slot(name="embedding_0", shape=(), columns=("e",), cardinality=5, size=2),
]
ROWS = {"numbers": np.ones((2, 3), np.float32), "embedding_0": np.array([0, 4], np.int32)}


def network() -> keras.Model:
    keras.utils.clear_session()
    spec = Mlp(hidden=(4, 4), dropout=0.5, normalization="batch", l2=0.1, initializer="he_normal")
    with seeds.drawn_from(1):  # other tests' threads draw from Python's own generator
        built = mlp.build(spec, SLOTS, NumberTarget(names=("y",), centers=(0.0,), scales=(1.0,)))
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
    built.compile(optimizer=keras.optimizers.Adam(schedule), loss=keras.losses.Huber(delta=2.0))
    return built


@pytest.fixture
def saved(tmp_path) -> Path:
    files.save(network(), tmp_path / "network.keras")
    return tmp_path / "network.keras"


def rewritten(path: Path, name: str, content: str) -> Path:
    """The same archive with another content of one of its files."""
    with zipfile.ZipFile(path) as source:
        members = {each: source.read(each) for each in source.namelist()} | {name: content.encode()}
    with zipfile.ZipFile(path, "w") as target:
        for each, bytes_ in members.items():
            target.writestr(each, bytes_)
    return path


def config(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        return archive.read("config.json").decode()


def test_same_network_gives_the_same_bytes(saved, tmp_path):
    files.save(network(), tmp_path / "again.keras")
    assert saved.read_bytes() == (tmp_path / "again.keras").read_bytes()
    assert sorted(tmp_path.iterdir()) == [tmp_path / "again.keras", saved]


def test_loaded_network_says_the_same_to_the_last_bit(saved):
    np.testing.assert_array_equal(files.load(saved)(ROWS).numpy(), network()(ROWS).numpy())


def test_lambda_layer_is_refused(tmp_path):
    inputs = keras.Input((3,))
    keras.Model(inputs, keras.layers.Lambda(lambda values: values * 2)(inputs)).save(tmp_path / "lambda.keras")
    with pytest.raises(ResourceError, match=r"lambda\.keras holds keras\.layers\.Lambda, which is not allowed"):
        files.load(tmp_path / "lambda.keras")


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("keras.utils", "get_file"),
        ("keras.config", "enable_unsafe_deserialization"),
        ("keras.layers", "TFSMLayer"),
    ],
)
def test_foreign_class_is_refused(saved, module, name):
    assert '{"module": "keras.layers", "class_name": "BatchNormalization"' in config(saved)
    changed = config(saved).replace(
        '{"module": "keras.layers", "class_name": "BatchNormalization"',
        f'{{"module": "{module}", "class_name": "{name}"',
    )
    with pytest.raises(ResourceError, match=f"holds {module}.{name}, which is not allowed"):
        files.load(rewritten(saved, "config.json", changed))


def test_class_of_a_package_that_is_not_keras_is_refused(saved):
    changed = json.loads(config(saved))
    changed["config"]["layers"][1] |= {"module": None, "registered_name": "mine>Layer", "class_name": "Layer"}
    with pytest.raises(ResourceError, match=r"unknown\.Layer, which is not allowed"):
        files.load(rewritten(saved, "config.json", json.dumps(changed)))


def test_what_keras_cannot_read_is_refused(saved):
    changed = config(saved).replace('"Dense"', '"Dnse"')
    with pytest.raises(ResourceError, match=r"network\.keras does not load: "):
        files.load(rewritten(saved, "config.json", changed))


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x05\x06" + bytes(18)])
def test_file_that_is_no_network_is_refused(tmp_path, content):
    path = tmp_path / "network.keras"
    path.write_bytes(content)
    with pytest.raises(ResourceError, match=r"is no \.keras file"):
        files.load(path)


def test_configuration_that_unpacks_to_gigabytes_is_refused(saved):
    with pytest.raises(ResourceError, match=r"its config\.json is above 64 MiB"):
        files.load(rewritten(saved, "config.json", " " * (65 << 20)))


def test_link_to_a_network_is_refused(saved, tmp_path):
    (tmp_path / "link.keras").symlink_to(saved)
    with pytest.raises(ResourceError, match="is no regular file"):
        files.load(tmp_path / "link.keras")
