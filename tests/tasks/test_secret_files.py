"""Settings from the files that secrets are mounted as."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from schemas.errors import ResourceError, SpecError
from tasks import secret_files

ROOT = Path(__file__).parents[2]


@pytest.fixture
def secret(tmp_path, monkeypatch):
    """Name a file with a secret for a variable."""

    def write(name: str, content: bytes) -> Path:
        monkeypatch.delenv(name, raising=False)
        path = tmp_path / name.lower()
        path.write_bytes(content)
        monkeypatch.setenv(f"{name}_FILE", str(path))
        return path

    return write


@pytest.mark.parametrize("name", secret_files.NAMES)
def test_a_setting_is_the_files_content_without_its_end_of_line(secret, name):
    secret(name, b"two words \n")
    secret_files.load()
    assert os.environ.pop(name) == "two words "
    assert f"{name}_FILE" not in os.environ
    secret_files.load()
    assert name not in os.environ


def test_a_setting_given_both_ways_is_refused_without_showing_it(secret, monkeypatch):
    secret("MLFLOW_TRACKING_PASSWORD", b"hidden")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hidden too")
    with pytest.raises(SpecError, match="MLFLOW_TRACKING_PASSWORD and MLFLOW_TRACKING_PASSWORD_FILE are both") as error:
        secret_files.load()
    assert "hidden" not in str(error.value)


@pytest.mark.parametrize("content", [None, b"\xff"])
def test_a_file_that_cannot_be_read_is_named(secret, content):
    path = secret("AWS_SECRET_ACCESS_KEY", content or b"")
    if content is None:
        path.unlink()
    with pytest.raises(ResourceError, match=r"AWS_SECRET_ACCESS_KEY_FILE: .*aws_secret_access_key cannot be read"):
        secret_files.load()


def test_a_command_runs_with_the_settings(secret):
    secret("PREFECT_API_AUTH_STRING", b"admin:secret\n")
    command = ["-m", "tasks.secret_files", "printenv", "PREFECT_API_AUTH_STRING"]
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "admin:secret\n"


def test_a_stage_that_misses_a_secret_ends_with_4(secret, ingest_request, frame):
    secret("AWS_SECRET_ACCESS_KEY", b"").unlink()
    command = [sys.executable, "-m", "tasks.ingest", "-"]
    request = ingest_request(frame).to_json()
    done = subprocess.run(command, cwd=ROOT, input=request, capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert done.stderr.startswith("ResourceError: AWS_SECRET_ACCESS_KEY_FILE: ")
