"""R39: new data starts a run, and somebody is told of what went wrong: on a real server, with its own automations."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import DeploymentFilter
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows import events
from flows.automations import Wanted
from flows.deploy import deploy
from flows.watch import look
from schemas.errors import DataError, ResourceError, SpecError
from schemas.spec import Spec

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def client(prefect_ui: str) -> Iterator[SyncPrefectClient]:
    """A client of a whole server: the one of other tests has no automations."""
    with temporary_settings({PREFECT_API_URL: f"{prefect_ui}/api"}), get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def notify(told: tuple[str, list[str]], client: SyncPrefectClient) -> str:
    Webhook(url=told[0], allow_private_urls=True).save("told", overwrite=True)  # type: ignore[call-arg, arg-type]
    return "webhook/told"


def wait_for(condition: Callable[[], Any]) -> None:
    until = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < until, "it did not come about"
        time.sleep(0.5)


def runs(client: SyncPrefectClient, spec: Spec) -> int:
    """Return how many runs of the model's deployment were started."""
    return len(client.read_flow_runs(deployment_filter=DeploymentFilter(name={"any_": [spec.name]})))


def named(spec: Spec, name: str) -> Spec:
    return spec.model_copy(update={"name": name})


def test_data_that_changed_starts_one_run_and_data_that_did_not_none(
    client: SyncPrefectClient, spec: Spec, tmp_path: Path
) -> None:
    spec = named(spec, "arrivals")
    list(deploy(spec, workspace=str(tmp_path), pool="evermodel", automations=Wanted(on_events=("dataset.updated",))))
    workspace = str(tmp_path / "ws")
    assert look(spec, workspace=workspace, settle_s=0.1) == "dataset.updated: 1 files"
    wait_for(lambda: runs(client, spec) == 1)
    assert look(spec, workspace=workspace, settle_s=0.1) == "nothing new"

    data = Path(spec.data.path)
    data.write_text(data.read_text().replace("17.99", "17.98", 1))
    assert look(spec, workspace=workspace, settle_s=0.1) == "dataset.updated: 1 files"
    wait_for(lambda: runs(client, spec) == 2)
    assert look(spec, workspace=workspace, settle_s=0.1) == "nothing new"
    assert runs(client, spec) == 2


def test_a_file_that_still_grows_is_left_for_the_next_look(
    client: SyncPrefectClient, spec: Spec, tmp_path: Path
) -> None:
    with Path(spec.data.path).open("a") as data:
        growing = threading.Timer(0.5, lambda: (data.write("1"), data.flush()))
        growing.start()
        assert look(spec, workspace=str(tmp_path / "ws"), settle_s=2) == "files are still being written"
        growing.join()
    assert look(spec, workspace=str(tmp_path / "ws"), settle_s=0.1) == "dataset.updated: 1 files"


def test_no_file_is_no_news_and_the_first_in_a_folder_is(client: SyncPrefectClient, spec: Spec, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    spec = spec.model_copy(update={"data": spec.data.model_copy(update={"path": str(folder)})})
    assert look(spec, workspace=str(tmp_path / "ws"), settle_s=0.1) == "there is no file yet"
    (folder / "_half.csv").write_text("a")
    assert look(spec, workspace=str(tmp_path / "ws"), settle_s=0.1) == "there is no file yet"
    (folder / "_half.csv").rename(folder / "whole.csv")
    assert look(spec, workspace=str(tmp_path / "ws"), settle_s=0.1) == "dataset.updated: 1 files"
    (folder / "notes.md").write_text("no data")
    with pytest.raises(DataError, match="cannot tell the format of"):
        look(spec, workspace=str(tmp_path / "ws"), settle_s=0.1)


def test_what_was_seen_in_a_bucket_is_remembered_there(
    client: SyncPrefectClient, spec: Spec, bucket: str, tmp_path: Path
) -> None:
    assert look(spec, workspace=f"{bucket}/ws", settle_s=0.1) == "dataset.updated: 1 files"
    assert look(spec, workspace=f"{bucket}/ws", settle_s=0.1) == "nothing new"


def test_an_event_that_no_server_takes_is_tried_again(
    client: SyncPrefectClient, spec: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}),
        pytest.raises(ResourceError, match="no Prefect server takes the event"),
    ):
        look(spec, workspace=str(tmp_path / "ws"), settle_s=0.1)
    assert look(spec, workspace=str(tmp_path / "ws"), settle_s=0.1) == "dataset.updated: 1 files"


def test_other_events_start_a_run_by_their_resource(client: SyncPrefectClient, spec: Spec, tmp_path: Path) -> None:
    spec = named(spec, "others")
    wanted = Wanted(on_events=("delivery.done=warehouse.*", events.DRIFTED))
    list(deploy(spec, workspace=str(tmp_path), pool="evermodel", automations=wanted))
    assert events.emit("delivery.done", "harbour.1", {})
    assert events.emit(events.DRIFTED, events.model("another"), {})
    assert events.emit("delivery.done", "warehouse.7", {})
    wait_for(lambda: runs(client, spec) == 1)
    assert events.emit(events.DRIFTED, events.model("others"), {})
    wait_for(lambda: runs(client, spec) == 2)


def test_automations_are_renewed_and_not_added(
    client: SyncPrefectClient, spec: Spec, tmp_path: Path, notify: str
) -> None:
    spec = named(spec, "renewed")
    wanted = Wanted(on_events=("dataset.updated",), notify=notify)
    for _ in range(2):
        list(deploy(spec, workspace=str(tmp_path), pool="evermodel", automations=wanted, watch_every_s=60))
    found = [each.name for each in client.read_automations() if each.name.startswith("renewed: ")]
    expected = ["drifted", "failed", "not promoted", "run on dataset.updated", "stale"]
    assert sorted(found) == [f"renewed: {what}" for what in expected]
    assert client.read_deployment_by_name("watch/renewed").schedules[0].schedule.interval == timedelta(seconds=60)
    list(deploy(spec, workspace=str(tmp_path), pool="evermodel"))
    assert not [each for each in client.read_automations() if each.name.startswith("renewed: ")]


def test_a_refused_version_drift_and_a_stale_model_are_told_of(
    client: SyncPrefectClient, spec: Spec, tmp_path: Path, notify: str, told: tuple[str, list[str]]
) -> None:
    spec = named(spec, "notices")
    wanted = Wanted(notify=notify, stale_after=timedelta(seconds=10))
    list(deploy(spec, workspace=str(tmp_path), pool="evermodel", automations=wanted))
    assert events.emit(events.REFUSED, events.model("notices"), {"version": "7", "reason": "is worse by far"})
    wait_for(lambda: any("notices: Version 7 is worse by far" in each for each in told[1]))
    assert events.emit(events.DRIFTED, events.model("notices"), {"column": "age"})
    wait_for(lambda: any("no longer like those of training" in each and "age" in each for each in told[1]))
    wait_for(lambda: any("No run has ended well for 0:00:10" in each for each in told[1]))


def test_a_block_that_is_not_there_and_an_event_without_a_name_are_refused(
    client: SyncPrefectClient, spec: Spec, tmp_path: Path
) -> None:
    for wanted, error, message in (
        (Wanted(notify="slack-webhook/none"), ResourceError, "there is no block 'slack-webhook/none'"),
        (Wanted(on_events=("=resource",)), SpecError, "--on-event wants EVENT"),
    ):
        with pytest.raises(error, match=message):
            list(deploy(named(spec, "wrong"), workspace=str(tmp_path), pool="evermodel", automations=wanted))
