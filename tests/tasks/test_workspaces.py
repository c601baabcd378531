"""A workspace in an object store: whole or not there, brought where it is needed, never believed unseen."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from schemas.errors import ResourceError, SpecError
from schemas.stages import EncodeRequest, IngestRequest, IngestResult, Input, Request, Result
from tasks import encode, ingest, stage
from tasks.bundle import Bundle
from tasks.stores import open_url
from tasks.workspaces import place

ROOT = Path(__file__).parents[2]


def publish(workspace: str, content: str = "a", *, key: str = "key") -> Result:
    """Publish two files."""

    def make(request, out):
        (out / "deep").mkdir()
        (out / "deep" / "file").write_text(content)
        (out / "other").write_text("other")
        return {}

    return stage.publish(Result, Request(workspace=workspace), stage="made", key=key, make=make)


def names(url: str) -> list[str]:
    """All objects under a URL, by their names behind it."""
    store, key = open_url(url)
    store.invalidate_cache()
    return sorted(name.removeprefix(f"{key}/") for name in store.find(key))


@pytest.fixture(params=["s3", "memory", "file"])
def workspace(request, bucket, tmp_path) -> str:
    """The URL of a workspace in a store: S3, and two of fsspec's own."""
    return {
        "s3": f"{bucket}/some folder/ws",
        "memory": f"memory://{tmp_path.name}/ws",
        "file": f"file://{tmp_path}/store/ws",
    }[request.param]


@pytest.fixture
def forget(tmp_path):
    """Lose the mirror: be another machine."""
    return lambda: shutil.rmtree(tmp_path / "mirror")


def test_publication_stands_in_the_store_and_is_found_from_elsewhere(workspace, forget):
    result = publish(workspace)
    assert result.path == f"{workspace}/made/key"
    assert names(result.path) == ["deep/file", "other", "request.json", "result.json"]
    forget()
    directory, found = stage.opened(Result, result.as_input)
    assert found == result
    assert (directory / "deep" / "file").read_text() == "a"
    forget()
    assert publish(workspace, "not made again") == result


def test_publication_deleted_from_the_store_is_made_again_or_sent_again(workspace, forget):
    result = publish(workspace)
    for lose in (forget, lambda: None):
        store, key = open_url(result.path)
        store.rm(key, recursive=True)
        assert stage.published(Result, place(result.path)) is None
        lose()
        assert publish(workspace).files == result.files
        assert "result.json" in names(result.path)


def test_what_the_mirror_alone_holds_is_no_input(workspace):
    result = publish(workspace)
    store, key = open_url(result.path)
    store.rm(key, recursive=True)
    gone = Input(path=result.path)
    with pytest.raises(ResourceError, match="holds nothing finished"):
        encode.run_key(EncodeRequest(workspace=workspace, ingest=gone))
    with pytest.raises(ResourceError, match="holds no finished Result"):
        stage.opened(Result, gone)
    with pytest.raises(ResourceError, match="holds no bundle"):
        Bundle(gone)


def test_discarded_publication_is_gone_from_store_and_mirror(workspace):
    result = publish(workspace)
    place(result.path).discard()
    assert names(result.path) == []
    assert publish(workspace, "anew").files != result.files


def test_publication_that_lost_an_object_does_not_count(workspace, forget):
    result = publish(workspace)
    store, key = open_url(result.path)
    store.rm_file(f"{key}/other")
    forget()
    assert stage.published(Result, place(result.path)) is None
    assert publish(workspace).files == result.files
    assert "other" in names(result.path)


def test_changed_object_is_found_before_it_is_used(workspace, forget):
    result = publish(workspace)
    store, key = open_url(result.path)
    store.pipe_file(f"{key}/deep/file", b"b")
    forget()
    with pytest.raises(ResourceError, match=r"ws/made/key/deep/file was changed: SHA-256 .*; delete .*/ws/made/key"):
        stage.opened(Result, result.as_input)
    place(result.path).discard()
    assert publish(workspace).files == result.files


def test_another_machines_publication_replaces_what_the_mirror_holds(workspace, forget, tmp_path):
    publish(workspace, "mine")
    shutil.move(tmp_path / "mirror", tmp_path / "mine")
    place(f"{workspace}/made/key").discard()
    other = publish(workspace, "other's")
    forget()
    shutil.move(tmp_path / "mine", tmp_path / "mirror")
    directory, found = stage.opened(Result, Input(path=other.path))
    assert found == other
    assert (directory / "deep" / "file").read_text() == "other's"


@pytest.mark.parametrize("outside", ["/etc/passwd", "../../escaped"])
def test_result_that_names_files_elsewhere_does_not_count(bucket, tmp_path, outside):
    result = publish(bucket)
    store, key = open_url(result.path)
    store.pipe_file(f"{key}/result.json", json.dumps({**result.model_dump(), "files": {outside: "0"}}).encode())
    shutil.rmtree(tmp_path / "mirror")
    assert not place(result.path).fetch()


SLOW_STORE = """
import sys, time
from pathlib import Path
from schemas.stages import Request, Result
from tasks import stage, stores
send, go = stores.S3.put_file, Path(sys.argv[3])
def put_file(self, local, remote, **options):
    if local.endswith(sys.argv[2]):
        Path(f"{go}.{sys.argv[4]}").touch()
        while not go.exists():
            time.sleep(0.001)
    return send(self, local, remote, **options)
stores.S3.put_file = put_file
def make(request, out):
    (out / "file").write_text("same")
    (out / "other").write_text("same")
    return {}
print(stage.publish(Result, Request(workspace=sys.argv[1]), stage="made", key="key", make=make).to_json())
"""


def slowly(workspace: str, before: str, go: Path, me: str, **environment: str) -> subprocess.Popen[str]:
    """Publish in a process of its own that waits, before it sends a file, until `go` is there; it says so."""
    line = ["env", *(f"{name}={value}" for name, value in environment.items()), sys.executable, "-c", SLOW_STORE]
    command = [*line, workspace, before, str(go), me]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    while not path.exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)


@pytest.mark.parametrize("before", ["other", "result.json"])
@pytest.mark.parametrize("mirror", ["kept", "lost"])
def test_killed_upload_counts_for_nothing_and_the_next_run_finishes_it(bucket, tmp_path, forget, before, mirror):
    sender = slowly(bucket, before, tmp_path / "go", "me")
    wait_for(tmp_path / "go.me", sender)
    sender.send_signal(signal.SIGKILL)
    sender.communicate()
    assert "file" in names(f"{bucket}/made/key")
    assert stage.published(Result, place(f"{bucket}/made/key")) is None
    if mirror == "lost":
        forget()
    (tmp_path / "go").touch()
    after = slowly(bucket, before, tmp_path / "go", "after")
    said = Result.model_validate_json(after.communicate()[0])
    undisturbed = slowly(f"{bucket}/undisturbed", before, tmp_path / "go", "undisturbed")
    assert said.files == Result.model_validate_json(undisturbed.communicate()[0]).files
    assert names(said.path) == ["file", "other", "request.json", "result.json"]
    forget()
    stage.opened(Result, said.as_input)


def test_racing_machines_end_with_one_result(bucket, tmp_path):
    racers = [
        slowly(bucket, "other", tmp_path / "go", me, EVERMODEL_CACHE=str(tmp_path / "mirrors" / me)) for me in "ab"
    ]
    for me, racer in zip("ab", racers, strict=True):
        wait_for(tmp_path / f"go.{me}", racer)
    (tmp_path / "go").touch()
    said = [Result.model_validate_json(racer.communicate()[0]) for racer in racers]
    assert said[0].files == said[1].files
    _, found = stage.opened(Result, Input(path=said[0].path, digest=said[0].digest))
    assert found.files == said[0].files
    assert names(said[0].path) == ["file", "other", "request.json", "result.json"]


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("s3://KEY:hidden@bucket/ws", "carries neither credentials nor options"),
        ("s3://bucket/ws?secret_key=hidden", "carries neither credentials nor options"),
        ("s3://", "is no workspace"),
        ("s3://bucket/../other", "is no workspace"),
        ("nothing://bucket/ws", "cannot be opened"),
    ],
)
def test_url_that_is_no_workspace_is_refused_without_showing_secrets(address, message):
    with pytest.raises(SpecError, match=message) as error:
        place(address)
    assert "hidden" not in str(error.value)


def test_store_that_does_not_answer_is_an_error_of_the_environment(bucket, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(ResourceError, match=r"the store at s3://.*/made/key cannot be used: .*choose another") as error:
        publish(bucket)
    assert "secret-of-the-tests" not in str(error.value)


def test_missing_bucket_is_an_error_of_the_environment(bucket):
    with pytest.raises(ResourceError, match=r"the store at s3://nobucket/made/key cannot be used: .*NO_SUCH_BUCKET"):
        publish("s3://nobucket")


def test_ingest_and_encode_exchange_rows_through_the_store(bucket, tmp_path, forget, ingest_request, frame):
    """R38: the source, too, may lie in the store; the same bytes and run keys come out as from local directories."""
    store, key = open_url(f"{bucket}/data")
    for name, part in {"a.csv": frame[:120], "b.csv": frame[120:]}.items():
        store.pipe_file(f"{key}/{name}", part.to_csv(index=False).encode())
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / name).write_text(part.to_csv(index=False))
    keys, files = [], []
    for workspace, source in ((f"{bucket}/ws", f"{bucket}/data/*.csv"), (str(tmp_path / "ws"), tmp_path / "data")):
        request: IngestRequest = ingest_request(source).model_copy(update={"workspace": workspace})
        ingested = ingest.run(request)
        encoded = encode.run(EncodeRequest(workspace=workspace, ingest=Input(path=ingested.path)))
        keys.append((ingested.run_key, encoded.run_key))
        files.append((ingested.files, encoded.files))
        if "://" in workspace:
            forget()
    assert keys[0] == keys[1]
    assert files[0] == files[1]
    assert [name for name in names(f"{bucket}/ws") if name.endswith("result.json")] == [
        f"encode/{keys[0][1]}/result.json",
        f"ingest/{keys[0][0]}/result.json",
    ]
    published = stage.published(IngestResult, place(f"{bucket}/ws/ingest/{keys[0][0]}"))
    said = (
        published.to_json()
        + Path(tmp_path, "mirror", "s3", bucket[5:], "ws/ingest", keys[0][0], "request.json").read_text()
    )
    assert "secret-of-the-tests" not in said
    assert "key-of-the-tests" not in said


def test_source_that_changes_in_the_store_is_read_anew(bucket, ingest_request, frame):
    store, key = open_url(f"{bucket}/rows.csv")
    runs = set()
    for content in (frame, frame[::-1]):  # of the same size, and within the second that a store's times are told in
        store.pipe_file(key, content.to_csv(index=False).encode())
        request = ingest_request(f"{bucket}/rows.csv").model_copy(update={"workspace": f"{bucket}/ws"})
        runs.add(ingest.run_key(request))
    assert len(runs) == 2


def test_source_in_a_store_that_refuses_is_an_error_of_the_environment(bucket, ingest_request, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(ResourceError, match=r"data.path s3://.* cannot be looked at: .*NETWORK_CONNECTION"):
        ingest.run(ingest_request(f"{bucket}/rows.csv"))
