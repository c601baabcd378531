"""A lock among the processes of a machine, which the system lets go when its holder ends, however it ends."""

import fcntl
import os
from pathlib import Path

from schemas.errors import ResourceError


class FileLock:
    """A lock on a file; held by one process at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: int | None = None

    def acquire(self) -> bool:
        """Take the lock if it is free; say whether it was. Raises ResourceError where no file can be made."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise ResourceError(
                f"cannot write to {self.path.parent}: {error.strerror}; choose another --workspace"
            ) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return False
        self._handle = handle
        return True

    def release(self) -> None:
        """Let the lock go, if it is held."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
