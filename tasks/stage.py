"""What every stage shares: run keys, atomic publishing with digests, and the command `python -m tasks.STAGE`."""

import argparse
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TypeVar

from pydantic import ValidationError

from schemas.document import Document, digest
from schemas.errors import EvermodelError, ResourceError, StoppedError
from schemas.stages import Input, Request, Result
from tasks import secret_files
from tasks.scratch import remove, scratch
from tasks.workspaces import MANIFEST, RESULT, Place, file_digest, file_digests, place

log = logging.getLogger("evermodel")

D = TypeVar("D", bound=Document)
Q = TypeVar("Q", bound=Request)
R = TypeVar("R", bound=Result)

_SECONDS_UNTIL_HEARD = 0.2
_OUTSIDE_DIGEST = {RESULT, "request.json"}  # they carry paths and times


def run_key(stage: str, request: Request, *, version: int, **inputs: str) -> str:
    """Return the run key: the digest of all that the stage's output depends on, 32 hexadecimal digits.

    An input that is named by its path alone enters by the digest of what stands there.
    """
    identity = request.identity()
    for name, value in request:
        if isinstance(value, Input) and value.digest is None:
            identity[name]["digest"] = _standing_digest(place(value.path))
    return digest({"stage": stage, "version": version, "request": identity, **inputs})[:32]


def _standing_digest(source: Place) -> str:
    """Return the digest of a published directory or, where there is a manifest instead, of a bundle."""
    nothing = f"{source} holds nothing finished; run the stage that makes it first"
    if not source.fetch():
        raise ResourceError(nothing)
    try:
        if (source.directory / MANIFEST).is_file():
            return file_digest(source.directory / MANIFEST)
        return digest(json.loads((source.directory / RESULT).read_bytes())["files"])
    except (OSError, ValueError, KeyError) as error:
        raise ResourceError(nothing) from error


def published(kind: type[R], target: Place) -> R | None:
    """Return the result that stands in a place, with all its files in the directory; None when there is none."""
    return _standing(kind, target) if target.fetch() else None


def _standing(kind: type[R], target: Place) -> R | None:
    """Return the result in the directory itself, whether or not the place is a mirror's."""
    try:
        result = kind.model_validate_json((target.directory / RESULT).read_bytes())
    except (OSError, ValidationError):
        return None
    if not all((target.directory / name).is_file() for name in result.files):
        return None
    return result.model_copy(update={"path": str(target)})


def publish(kind: type[R], request: Q, *, stage: str, key: str, make: Callable[[Q, Path], Mapping[str, Any]]) -> R:
    """Return what stands under the run key, or let `make` write it and publish it by one rename.

    `make` gets the request and an empty scratch directory, writes its files there and returns the result's own
    fields. Whatever happens before the rename leaves nothing but scratch, which the next run sweeps away. Of two
    racing runs the first to rename wins, and the second returns the first one's result. A place in a store gets the
    files after the rename; when that was cut off, the next run goes on there.
    """
    target = place(request.workspace) / stage / key
    if (result := published(kind, target)) is not None:
        return result
    if not _unsent(kind, target):
        _make(kind, request, target, stage=stage, key=key, make=make)
    if not target.fetch():
        target.commit()
    if (result := _standing(kind, target)) is None:
        raise ResourceError(f"{target} was removed while it was made; run again")
    return result


def _unsent(kind: type[R], target: Place) -> bool:
    """Say whether a mirror holds what a run had finished and could not send, as it was published."""
    if (result := _standing(kind, target)) is None:
        return False
    try:
        verify(target.directory, result.files)
    except ResourceError:
        return False
    return True


def _make(
    kind: type[R],
    request: Q,
    target: Place,
    *,
    stage: str,
    key: str,
    make: Callable[[Q, Path], Mapping[str, Any]],
) -> None:
    started = time.perf_counter()
    with scratch(target.directory) as directory:
        figures = make(request, directory)
        (directory / "request.json").write_text(request.to_json())
        files = file_digests(directory, _file_names(directory))
        seconds = round(time.perf_counter() - started, 3)
        result = kind(stage=stage, run_key=key, path=str(target), files=files, seconds=seconds, **figures)
        (directory / RESULT).write_text(result.to_json())
        _rename(kind, directory, target)


def _rename(kind: type[R], directory: Path, target: Place) -> None:
    """Let the directory stand at its place, unless another run's result stands there."""
    _sync(directory)
    for _ in range(2):
        try:
            directory.rename(target.directory)
            return
        except OSError:  # something stands there: another run's result, or the remains of a broken one
            if _standing(kind, target) is not None:
                return
            remove(target.directory)
    raise ResourceError(f"cannot publish to {target}: is the workspace writable?")


def _file_names(directory: Path) -> list[str]:
    names = (file.relative_to(directory).as_posix() for file in directory.rglob("*") if file.is_file())
    return sorted(name for name in names if name not in _OUTSIDE_DIGEST)


def _sync(directory: Path) -> None:
    """Bring the files to the disk before the rename makes them count."""
    for file in directory.rglob("*"):
        if file.is_file():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())


def opened(kind: type[R], source: Input, *, files: Sequence[str] = ("*",)) -> tuple[Path, R]:
    """Return an input's directory and result after checking its files; raises ResourceError when one differs.

    What no pattern in `files` matches is not looked into, and not to be read.
    """
    origin = place(source.path)
    result = published(kind, origin)
    if result is None:
        raise ResourceError(f"{origin} holds no finished {kind.__name__}; run that stage first")
    if source.digest is not None and result.digest != source.digest:
        raise ResourceError(f"{origin} is not what was asked for: digest {result.digest}, wanted {source.digest}")
    meant = {name: sha for name, sha in result.files.items() if any(fnmatch(name, each) for each in files)}
    verify(origin.directory, meant)
    return origin.directory, result


def verify(directory: Path, files: Mapping[str, str]) -> None:
    """Compare files with their SHA-256 before anything parses them; raises ResourceError on the first difference."""
    for path in (directory / name for name in files):
        if path.is_symlink() or not path.is_file():
            raise ResourceError(f"{path} is missing or no regular file")
    for name, actual in file_digests(directory, files).items():
        if actual != files[name]:
            raise ResourceError(
                f"{directory / name} was changed: SHA-256 {actual}, published was {files[name]}; delete {directory}"
            )


def main(request_type: type[D], run: Callable[[D], Document]) -> NoReturn:
    """Be the command of a stage: read a request, run, print the result as JSON, exit with the documented code."""
    parser = argparse.ArgumentParser(description=(request_type.__doc__ or "").strip())
    parser.add_argument("request", type=Path, help=f"JSON file with the {request_type.__name__}; - is standard input")
    parser.add_argument("--json-log", action="store_true", help="log JSON lines to standard error")
    arguments = parser.parse_args()
    _log_to_stderr(as_json=arguments.json_log)
    path = Path("/dev/stdin") if str(arguments.request) == "-" else arguments.request
    try:
        for each in (signal.SIGTERM, signal.SIGALRM):
            signal.signal(each, _stop)
        secret_files.load()
        result = run(request_type.load(path))
    except (EvermodelError, StoppedError) as error:
        signal.setitimer(signal.ITIMER_REAL, 0)
        log.error("%s: %s", type(error).__name__, error)
        sys.exit(error.exit_code)
    print(result.to_json(), end="")
    sys.exit(0)


def _stop(_signal: int, _frame: FrameType | None) -> None:
    """Raise StoppedError, and once more a little later: Python drops what is raised in a weak reference's callback.

    After a long call into TensorFlow such a callback is often the first line of Python that a signal can interrupt.
    """
    signal.setitimer(signal.ITIMER_REAL, _SECONDS_UNTIL_HEARD)
    if not _ends_already():
        raise StoppedError("stopped by SIGTERM; nothing was published")


def _ends_already() -> bool:
    """Say whether the line that was interrupted belongs to the cleaning up after a StoppedError."""
    error = sys.exception()
    while error is not None and not isinstance(error, StoppedError):
        error = error.__context__
    return error is not None


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
