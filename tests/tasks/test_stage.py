"""Publishing: whole or not at all, once, and never unseen when it was changed. And the command of a stage."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from schemas.errors import ResourceError
from schemas.stages import IngestResult, Request, Result
from tasks import ingest, stage
from tasks.scratch import scratch

ROOT = Path(__file__).parents[2]


def publish(workspace: Path, content: str = "a", *, key: str = "key") -> Result:
    """Publish one file."""

    def make(request, out):
        (out / "deep").mkdir()
        (out / "deep" / "file").write_text(content)
        return {}

    return stage.publish(Result, Request(workspace=str(workspace)), stage="made", key=key, make=make)


def names(directory: Path) -> list[str]:
    """All that stands in a directory, hidden files too."""
    return sorted(path.name for path in directory.iterdir())


def test_published_directory_holds_files_with_their_digests(tmp_path):
    result = publish(tmp_path)
    assert names(Path(result.path)) == ["deep", "request.json", "result.json"]
    assert result.files == {"deep/file": stage.file_digest(Path(result.path, "deep", "file"))}
    assert stage.opened(Result, result.as_input) == (Path(result.path), result)


def test_second_publication_of_a_key_returns_the_first(tmp_path):
    assert publish(tmp_path, "first") == publish(tmp_path, "second")
    assert publish(tmp_path, "second", key="other").files != publish(tmp_path).files


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_failure_leaves_nothing(tmp_path, error):
    def make(request, out):
        (out / "half").write_text("half")
        raise error

    with pytest.raises(type(error)):
        stage.publish(Result, Request(workspace=str(tmp_path)), stage="made", key="key", make=make)
    assert names(tmp_path / "made") == []


def test_full_disk_is_an_error_of_the_environment(tmp_path):
    def make(request, out):
        Path("/dev/full").write_text("too much")

    with pytest.raises(ResourceError, match=r"No space left on device .*nothing was published"):
        stage.publish(Result, Request(workspace=str(tmp_path)), stage="made", key="key", make=make)


def test_workspace_that_is_no_directory_is_an_error_of_the_environment(tmp_path, ingest_request, frame):
    (tmp_path / "file").write_text("")
    request = ingest_request(frame).model_copy(update={"workspace": str(tmp_path / "file")})
    with pytest.raises(
        ResourceError, match=r"cannot write to .*file/ingest: Not a directory; choose another --workspace"
    ):
        ingest.run(request)


@pytest.mark.parametrize("harm", ["flip", "shorten", "link", "remove", "result", "other"])
def test_changed_publication_is_found_before_it_is_used(tmp_path, harm):
    result = publish(tmp_path)
    file = Path(result.path, "deep", "file")
    match harm:
        case "flip":
            file.write_bytes(bytes([file.read_bytes()[0] ^ 1]))
        case "shorten":
            file.write_bytes(b"")
        case "link":
            file.rename(file.with_name("same"))
            file.symlink_to("same")
        case "remove":
            file.unlink()
        case "result":
            Path(result.path, "result.json").write_text("{")
        case "other":
            result = publish(tmp_path, "b", key="other").model_copy(update={"path": result.path})
    with pytest.raises(
        ResourceError, match=r"was changed|no regular file|holds no finished Result|is not what was asked"
    ):
        stage.opened(Result, result.as_input)


def test_publication_that_lost_a_file_is_made_anew(tmp_path):
    result = publish(tmp_path)
    Path(result.path, "deep", "file").unlink()
    assert publish(tmp_path).files == result.files
    stage.opened(Result, result.as_input)
    assert names(tmp_path / "made") == ["key"]


def test_publication_without_result_does_not_exist(tmp_path):
    (tmp_path / "made" / "key").mkdir(parents=True)
    (tmp_path / "made" / "key" / "junk").write_text("of an unknown run")
    stage.opened(Result, publish(tmp_path).as_input)
    assert names(tmp_path / "made" / "key") == ["deep", "request.json", "result.json"]


def test_scratch_of_a_dead_run_is_swept_and_that_of_a_living_one_is_not(tmp_path):
    with scratch(tmp_path / "key") as living:
        dead = living.with_name(".scratch-dead")
        dead.mkdir()
        (dead / "file").write_text("half")
        with scratch(tmp_path / "key") as second:
            assert names(tmp_path) == sorted([living.name, second.name])
    assert names(tmp_path) == []


RACE = """
import sys, time
from pathlib import Path
from schemas.stages import Request, Result
from tasks import stage
workspace, me, go = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
def make(request, out):
    (out / "file").write_text("same")
    Path(f"{go}.{me}").touch()
    while not go.exists():
        time.sleep(0.001)
    return {}
result = stage.publish(Result, Request(workspace=str(workspace)), stage="made", key="key", make=make)
print(result.to_json())
"""


def command(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Start Python code in a process of its own."""
    line = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(path: Path) -> None:
    """Wait until a file is there."""
    for _ in range(6_000):
        if path.exists():
            return
        time.sleep(0.01)
    raise AssertionError(f"{path} never came")


def test_racing_runs_publish_once_and_agree(tmp_path):
    go = tmp_path / "go"
    racers = [command(RACE, tmp_path, me, go) for me in "abc"]
    for me in "abc":
        wait_for(tmp_path / f"go.{me}")
    go.touch()
    said = [racer.communicate()[0] for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0, 0]
    assert len({said[0], said[1], said[2]}) == 1
    assert names(tmp_path / "made") == ["key"]


def test_killed_run_leaves_scratch_that_the_next_one_sweeps(tmp_path):
    racer = command(RACE, tmp_path, "a", tmp_path / "go")
    wait_for(tmp_path / "go.a")
    racer.kill()
    racer.communicate()
    assert [name.startswith(".scratch-") for name in names(tmp_path / "made")] == [True]
    publish(tmp_path)
    assert names(tmp_path / "made") == ["key"]


def run_stage(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    """Run the command of ingest."""
    line = [sys.executable, "-m", "tasks.ingest", *arguments]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False, **options)


@pytest.mark.parametrize("by", ["file", "standard input"])
def test_command_prints_the_result_alone_and_ends_with_0(tmp_path, ingest_request, frame, by):
    request = ingest_request(frame)
    (tmp_path / "request.json").write_text(request.to_json())
    done = run_stage(str(tmp_path / "request.json")) if by == "file" else run_stage("-", input=request.to_json())
    assert done.returncode == 0, done.stderr
    assert IngestResult.model_validate_json(done.stdout).rows.accepted == 200
    assert done.stderr == "ingest: 200 rows\n"


def test_command_logs_json_lines_on_request(ingest_request, frame):
    bad = frame.assign(x="bad")
    done = run_stage("-", "--json-log", input=ingest_request(bad).to_json())
    progress, error = map(json.loads, done.stderr.splitlines())
    assert (progress["level"], progress["stage"], progress["rows"]) == ("info", "ingest", 200)
    assert error["level"] == "error"
    assert error["message"].startswith("DataError: ")


@pytest.mark.parametrize(
    ("request_json", "code", "said"),
    [
        ("{}", 2, "SpecError: /dev/stdin is no IngestRequest: source: Field required"),
        ("not json", 2, "SpecError: /dev/stdin is no IngestRequest: document: Invalid JSON"),
        (None, 3, "DataError: .*200 of 200 rows break the contract"),
        ("/proc/none", 4, "ResourceError: cannot write to /proc/none/ingest"),
    ],
)
def test_command_ends_with_the_documented_code(ingest_request, frame, request_json, code, said):
    rows = frame.assign(x="bad") if code == 3 else frame
    request = ingest_request(rows)
    if code == 4:
        request = request.model_copy(update={"workspace": request_json})
    done = run_stage("-", input=request_json if code == 2 else request.to_json())
    assert done.returncode == code
    assert re.search(said, done.stderr), done.stderr
    assert done.stdout == ""


def test_missing_request_file_ends_with_2(tmp_path):
    done = run_stage(str(tmp_path / "none.json"))
    assert (done.returncode, "none.json: No such file" in done.stderr) == (2, True)


def test_stopped_command_ends_with_143_and_leaves_nothing(tmp_path, ingest_request, frame):
    many = tmp_path / "many"
    many.mkdir()
    for index in range(3_000):
        frame.iloc[:20].to_csv(many / f"{index}.csv", index=False)
    request = ingest_request(many)
    line = [sys.executable, "-m", "tasks.ingest", "-"]
    with subprocess.Popen(line, cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        running.stdin.write(request.to_json())
        running.stdin.close()
        assert running.stderr.readline().startswith("ingest: ")
        running.send_signal(signal.SIGTERM)
        rest = running.stderr.read()
    assert running.returncode == 143
    assert rest.splitlines()[-1] == "StoppedError: stopped by SIGTERM; nothing was published"
    assert names(Path(request.workspace, "ingest")) == []
