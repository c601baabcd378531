"""What is read from the registry: versions on many pages, which has to be beaten, and where its bundle is."""

import fcntl
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import tasks.registry
from flows import cli
from schemas.errors import ResourceError
from schemas.stages import TrainResult
from tasks import decisions
from tasks.registry import Registry
from tasks.tags import BUNDLE, CHAMPION, COMPARED_WITH, QUESTION, TRAIN_KEY
from tasks.workspaces import file_digest


@pytest.mark.parametrize(
    ("what", "champion", "beaten"),
    [
        ("refused", "2", "2"),
        ("refused", "1", "1"),
        ("waits", "2", "1"),
        ("promoted", "3", "1"),
        ("promoted", "2", "2"),
    ],
    ids=["moved meanwhile", "still champion", "a person is asked", "champion itself", "champion no more"],
)
def test_a_rerun_finds_its_answer_while_that_is_champion_or_waits(
    registry: Registry, what: decisions.What, champion: str, beaten: str
) -> None:
    for name, value in ((QUESTION, "asked"), (COMPARED_WITH, "1")):
        registry.client.set_model_version_tag("it", "3", name, value)
    said = decisions.Decision(what=what, who="evermodel", when="2026-01-01", why="for a reason")
    decisions.record(registry, registry.find("it", "3"), said)
    registry.client.set_registered_model_alias("it", "champion", champion)
    found = registry.incumbent("it", "asked")
    assert found is not None
    assert found.version == beaten
    other = registry.incumbent("it", "something else")
    assert other is not None
    assert other.version == champion


def test_models_and_versions_are_read_to_the_last_page(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks.registry, "_PAGE", 2)
    registry.client.set_registered_model_alias("it", CHAMPION, "1")
    for name in ("a", "b", "c", "d"):
        registry.client.create_registered_model(name)
    assert registry.names() == ["a", "b", "c", "d", "it"]
    assert [each.version for each in registry.versions("it")] == ["4", "3", "2", "1"]
    champion = registry.champion("it")
    assert champion is not None
    assert champion.version == "1"


def test_versions_are_listed_though_the_first_was_deleted(registry: Registry, tmp_path: Path) -> None:
    registry.client.delete_model_version("it", "1")
    done = CliRunner().invoke(cli.app, ["models", "it", "--json", "--workspace", str(tmp_path / "ws")])
    assert done.exit_code == 0, done.exception
    assert [each["version"] for each in json.loads(done.stdout)["it"]] == ["4", "3", "2"]


def test_a_promotion_by_hand_does_not_wait_for_an_upload(registry: Registry, tmp_path: Path) -> None:
    with registry.making("it"):
        with (tmp_path / "ws" / "mlflow" / "it.making.lock").open() as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert registry.promote("it", "1", reason="at once").aliases == (CHAMPION,)


def written(folder: Path, content: str) -> str:
    """Write the manifest of a bundle; return its digest."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bundle.json").write_text(content)
    return file_digest(folder / "bundle.json")


def test_a_bundle_that_was_made_again_with_other_bytes_is_not_taken_for_the_registered(
    registry: Registry, tmp_path: Path
) -> None:
    trained, store = tmp_path / "ws" / "train" / "key", tmp_path / "store"
    digest = written(store / "artifacts" / "bundle", "as registered")
    registry.client.create_model_version("it", store.as_uri(), tags={BUNDLE: digest, TRAIN_KEY: "key"})
    version, about = registry.find("it", "5"), {"stage": "train", "run_key": "key", "path": str(trained), "files": {}}
    figures = {"seconds": 1.0, "epochs": 1, "best_epoch": 1, "parameters": 1, "validation_loss": 1.0}
    written(trained / "bundle", "as registered")
    (trained / "result.json").write_text(TrainResult.model_validate(about | figures).to_json())
    assert registry.bundle(version).path == str(trained / "bundle")
    written(trained / "bundle", "made by another release of TensorFlow")
    found = registry.bundle(version)
    assert (found.path, found.digest) == (str(tmp_path / "ws" / "downloads" / digest), digest)
    assert Path(found.path, "bundle.json").read_text() == "as registered"


def test_a_version_that_was_registered_otherwise_has_no_bundle(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match=r"version 4 has no tag evermodel\.bundle"):
        registry.bundle(registry.find("it", "4"))
    assert not (tmp_path / "ws" / "downloads").exists()
