"""Scratch: directories that become something by a rename, vanish with their process, or wait for the next one."""

import contextlib
import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from schemas.errors import ResourceError, TrainingError

_SCRATCH = ".scratch-"


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


@contextlib.contextmanager
def kept(directory: Path) -> Iterator[Path | None]:
    """Keep a directory until the body ends, by success or by a TrainingError: whatever else ends it leaves it behind.

    Gives None while another run holds it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    lock = os.open(directory, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        try:
            yield directory
        except TrainingError:
            shutil.rmtree(directory, ignore_errors=True)  # it would fail again
            raise
        except BaseException:
            with contextlib.suppress(OSError):  # there is something in it
                directory.rmdir()
            raise
        shutil.rmtree(directory, ignore_errors=True)
    finally:
        os.close(lock)


def _scratch_name(parent: Path) -> Path:
    return parent / f"{_SCRATCH}{uuid.uuid4().hex[:12]}"


def remove(directory: Path) -> None:
    """Remove a directory, such that it is never seen half there: renamed first, deleted then."""
    doomed = _scratch_name(directory.parent)
    with contextlib.suppress(OSError):
        directory.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)
