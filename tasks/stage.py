"""What every stage shares: run keys, atomic publishing with digests, and the command `python -m tasks.STAGE`."""

import argparse
import contextlib
import fcntl
import hashlib
import json
import logging
import os
import shutil
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TypeVar

from pydantic import ValidationError

from schemas.document import Document, digest
from schemas.errors import EvermodelError, ResourceError, StoppedError
from schemas.stages import Input, Request, Result

log = logging.getLogger("evermodel")

D = TypeVar("D", bound=Document)
Q = TypeVar("Q", bound=Request)
R = TypeVar("R", bound=Result)

RESULT, MANIFEST = "result.json", "bundle.json"
_SCRATCH = ".scratch-"
_OUTSIDE_DIGEST = {RESULT, "request.json"}  # they carry paths and times


def run_key(stage: str, request: Request, *, version: int, **inputs: str) -> str:
    """Return the run key: the digest of all that the stage's output depends on, 32 hexadecimal digits.

    An input that is named by its path alone enters by the digest of what stands there.
    """
    identity = request.identity()
    for name, value in request:
        if isinstance(value, Input) and value.digest is None:
            identity[name]["digest"] = _standing_digest(Path(value.path))
    return digest({"stage": stage, "version": version, "request": identity, **inputs})[:32]


def _standing_digest(directory: Path) -> str:
    """Return the digest of a published directory or, where there is a manifest instead, of a bundle."""
    try:
        if (directory / MANIFEST).is_file():
            return file_digest(directory / MANIFEST)
        return digest(json.loads((directory / RESULT).read_bytes())["files"])
    except (OSError, ValueError, KeyError) as error:
        raise ResourceError(f"{directory} holds nothing finished; run the stage that makes it first") from error


def published(kind: type[R], directory: Path) -> R | None:
    """Return the result that stands in a directory, with all its files there; None when there is none."""
    try:
        result = kind.model_validate_json((directory / RESULT).read_bytes())
    except (OSError, ValidationError):
        return None
    if not all((directory / name).is_file() for name in result.files):
        return None
    return result.model_copy(update={"path": str(directory)})


def publish(kind: type[R], request: Q, *, stage: str, key: str, make: Callable[[Q, Path], Mapping[str, Any]]) -> R:
    """Return what stands under the run key, or let `make` write it and publish it by one rename.

    `make` gets the request and an empty scratch directory, writes its files there and returns the result's own
    fields. Whatever happens before the rename leaves nothing but scratch, which the next run sweeps away. Of two
    racing runs the first to rename wins, and the second returns the first one's result.
    """
    target = Path(request.workspace).absolute() / stage / key
    if (result := published(kind, target)) is not None:
        return result
    started = time.perf_counter()
    with scratch(target) as directory:
        figures = make(request, directory)
        (directory / "request.json").write_text(request.to_json())
        files = {name: file_digest(directory / name) for name in _file_names(directory)}
        result = kind(
            stage=stage,
            run_key=key,
            path=str(target),
            files=files,
            seconds=round(time.perf_counter() - started, 3),
            **figures,
        )
        (directory / RESULT).write_text(result.to_json())
        return _renamed(kind, result, directory, target)


def _renamed(kind: type[R], result: R, directory: Path, target: Path) -> R:
    _sync(directory)
    for _ in range(2):
        try:
            directory.rename(target)
            return result
        except OSError:  # something stands there: another run's result, or the remains of a broken one
            if (standing := published(kind, target)) is not None:
                return standing
            discard(target)
    raise ResourceError(f"cannot publish to {target}: is the workspace writable?")


@contextlib.contextmanager
def scratch(target: Path) -> Iterator[Path]:
    """Make a directory beside the target; remove it in the end, and those that killed runs left behind."""
    try:
        directory, lock = _locked_scratch(target.parent)
    except OSError as error:
        raise ResourceError(f"cannot write to {target.parent}: {error.strerror}; choose another --workspace") from error
    try:
        yield directory
    except OSError as error:
        place = error.filename or directory
        raise ResourceError(f"{error.strerror or error} ({place}); nothing was published") from error
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        os.close(lock)


def _locked_scratch(parent: Path) -> tuple[Path, int]:
    """Return a new directory and a lock on it, which the system lets go when the process ends, however it does.

    A directory that nobody holds is what a killed run left. Process ids would not tell: containers count their own.
    """
    parent.mkdir(parents=True, exist_ok=True)
    door = os.open(parent, os.O_RDONLY)  # one at a time, or a new directory is swept before it is locked
    try:
        fcntl.flock(door, fcntl.LOCK_EX)
        for remains in parent.glob(f"{_SCRATCH}*"):
            _sweep(remains)
        directory = _scratch_name(parent)
        directory.mkdir()
        lock = os.open(directory, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        return directory, lock
    finally:
        os.close(door)


def _sweep(remains: Path) -> None:
    with contextlib.suppress(OSError):  # a run holds it, or another one has swept it
        lock = os.open(remains, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(remains, ignore_errors=True)
        finally:
            os.close(lock)


def is_held(directory: Path) -> bool:
    """Say whether a living process works in a scratch directory."""
    try:
        lock = os.open(directory, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _scratch_name(parent: Path) -> Path:
    return parent / f"{_SCRATCH}{uuid.uuid4().hex[:12]}"


def discard(directory: Path) -> None:
    """Remove a directory such that it is never seen half there: renamed first, deleted then."""
    doomed = _scratch_name(directory.parent)
    with contextlib.suppress(OSError):
        directory.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)


def _file_names(directory: Path) -> list[str]:
    names = (file.relative_to(directory).as_posix() for file in directory.rglob("*") if file.is_file())
    return sorted(name for name in names if name not in _OUTSIDE_DIGEST)


def _sync(directory: Path) -> None:
    """Bring the files to the disk before the rename makes them count."""
    for file in directory.rglob("*"):
        if file.is_file():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def opened(kind: type[R], source: Input) -> tuple[Path, R]:
    """Return an input's directory and result after checking every file; raises ResourceError when one differs."""
    directory = Path(source.path)
    result = published(kind, directory)
    if result is None:
        raise ResourceError(f"{directory} holds no finished {kind.__name__}; run that stage first")
    if source.digest is not None and result.digest != source.digest:
        raise ResourceError(f"{directory} is not what was asked for: digest {result.digest}, wanted {source.digest}")
    verify(directory, result.files)
    return directory, result


def verify(directory: Path, files: Mapping[str, str]) -> None:
    """Compare files with their SHA-256 before anything parses them; raises ResourceError on the first difference."""
    for name, expected in files.items():
        path = directory / name
        if path.is_symlink() or not path.is_file():
            raise ResourceError(f"{path} is missing or no regular file")
        if (actual := file_digest(path)) != expected:
            raise ResourceError(f"{path} was changed: SHA-256 {actual}, published was {expected}; delete {directory}")


def main(request_type: type[D], run: Callable[[D], Document]) -> NoReturn:
    """Be the command of a stage: read a request, run, print the result as JSON, exit with the documented code."""
    parser = argparse.ArgumentParser(description=(request_type.__doc__ or "").strip())
    parser.add_argument("request", type=Path, help=f"JSON file with the {request_type.__name__}; - is standard input")
    parser.add_argument("--json-log", action="store_true", help="log JSON lines to standard error")
    arguments = parser.parse_args()
    _log_to_stderr(as_json=arguments.json_log)
    path = Path("/dev/stdin") if str(arguments.request) == "-" else arguments.request
    try:
        signal.signal(signal.SIGTERM, _stop)
        result = run(request_type.load(path))
    except (EvermodelError, StoppedError) as error:
        log.error("%s: %s", type(error).__name__, error)
        sys.exit(error.exit_code)
    print(result.to_json(), end="")
    sys.exit(0)


def _stop(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise StoppedError("stopped by SIGTERM; nothing was published")


def _log_to_stderr(*, as_json: bool) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines() if as_json else logging.Formatter("%(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """Return a record as one JSON object: time (seconds since 1970), level, message and the event's own figures."""
        event = getattr(record, "event", {})
        entry = {"time": round(record.created, 3), "level": record.levelname.lower(), "message": record.getMessage()}
        return json.dumps({**entry, **event})
