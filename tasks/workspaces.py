"""Places of a workspace: local directories, or URLs in a store that local directories mirror.

Stages work on local files. What stands in the store is brought to its mirror before it is used; what was made in the
mirror is sent to the store, the file that makes it count (result.json, in a bundle bundle.json) last. The store alone
says what stands: the mirror may be lost at any time.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Self

import fsspec

from schemas.errors import ResourceError, SpecError
from tasks import stores
from tasks.parallel import in_order
from tasks.scratch import remove, scratch

CACHE = "EVERMODEL_CACHE"
RESULT, MANIFEST = "result.json", "bundle.json"
_MARKS = (RESULT, MANIFEST)  # of which each names the files beside it with their SHA-256
_UNSIGNED = ("request.json",)  # it carries paths, and no digest


@dataclass(frozen=True)
class Place:
    """A local directory."""

    address: str
    """The directory, or the URL that it mirrors: what results and messages name."""
    directory: Path
    """Where its files are worked on."""

    def __str__(self) -> str:
        """Return the address."""
        return self.address

    def __truediv__(self, name: str) -> Self:
        """Return a place in this one."""
        return replace(self, address=f"{self.address}/{name}", directory=self.directory / name)

    @property
    def is_local(self) -> bool:
        """Whether the directory is the place itself and no mirror."""
        return True

    def fetch(self) -> bool:
        """Bring what stands here into the directory; return False when it is known that nothing does."""
        return True

    def commit(self) -> None:
        """Make what the directory holds stand here."""

    def discard(self) -> None:
        """Remove what stands here."""
        remove(self.directory)


@dataclass(frozen=True)
class _Stored(Place):
    """A URL in a store."""

    store: fsspec.AbstractFileSystem
    key: str

    def __truediv__(self, name: str) -> Self:
        return replace(super().__truediv__(name), key=f"{self.key}/{name}")

    @property
    def is_local(self) -> bool:
        return False

    def fetch(self) -> bool:
        """Bring what stands in the store and is not in the directory yet, checked by its SHA-256.

        False when there is no whole publication. Raises ResourceError for a file that was changed.
        """
        with _answering(self.address):
            names = self._names()
            mark = next((name for name in _MARKS if name in names), None)
            content = self.store.cat_file(f"{self.key}/{mark}") if mark else b""
        files = _files(content)
        if mark is None or files is None or not names.issuperset(files):
            return False
        if not self._holds(mark, content, files):
            self._bring(files, [name for name in _UNSIGNED if name in names])
            (self.directory / mark).write_bytes(content)
        return True

    def _names(self) -> set[str]:
        self.store.invalidate_cache()
        return {name.removeprefix(self.key).lstrip("/") for name in self.store.find(self.key)}

    def _holds(self, mark: str, content: bytes, files: Mapping[str, str]) -> bool:
        path = self.directory / mark
        whole = path.is_file() and all((self.directory / name).is_file() for name in files)
        return whole and path.read_bytes() == content

    def _bring(self, files: Mapping[str, str], unsigned: list[str]) -> None:
        with scratch(self.directory) as folder:
            for name in [*files, *unsigned]:
                target = self.directory / name
                if name in files and target.is_file() and file_digest(target) == files[name]:
                    continue
                arrived = folder / "file"
                with _answering(self.address):
                    self.store.get_file(f"{self.key}/{name}", str(arrived))
                if name in files and (actual := file_digest(arrived)) != files[name]:
                    raise ResourceError(
                        f"{self.address}/{name} was changed: SHA-256 {actual}, published was {files[name]}; "
                        f"delete {self.address}"
                    )
                target.parent.mkdir(parents=True, exist_ok=True)
                arrived.replace(target)

    def commit(self) -> None:
        """Send all files to the store, the one that makes them count last."""
        names = sorted(path.relative_to(self.directory).as_posix() for path in self.directory.rglob("*"))
        with _answering(self.address):
            self._unmark()
            for name in sorted(names, key=_MARKS.__contains__):
                if (self.directory / name).is_file():
                    self.store.put_file(str(self.directory / name), f"{self.key}/{name}")

    def _unmark(self) -> None:
        """Make what stands in the store not count any more, before any other file of it changes."""
        for mark in _MARKS:
            with contextlib.suppress(FileNotFoundError):
                self.store.rm_file(f"{self.key}/{mark}")

    def discard(self) -> None:
        """Remove what stands in the store, and its mirror."""
        with _answering(self.address), contextlib.suppress(FileNotFoundError):
            self._unmark()
            self.store.rm(self.key, recursive=True)
        super().discard()


def place(address: str) -> Place:
    """Return the place that a path or a URL names; raises SpecError for a URL that nothing opens.

    The mirrors of URLs lie in `cache()`, each under the names that make up its URL.
    """
    scheme, sign, rest = address.partition("://")
    if not sign:
        directory = Path(address).absolute()
        return Place(address=str(directory), directory=directory)
    parts = rest.strip("/").split("/")
    if "@" in parts[0] or "?" in rest:  # it is not shown: it may hold a secret
        raise SpecError(
            "a workspace's URL carries neither credentials nor options; set AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL "
            "and the like instead"
        )
    if any(part in ("", ".", "..") for part in parts):
        raise SpecError(f"{address} is no workspace; write it as in s3://bucket/folder")
    try:
        store, key = stores.open_url(address.rstrip("/"))
    except (ImportError, ValueError) as error:
        raise SpecError(f"the workspace {address} cannot be opened: {error}") from error
    return _Stored(address=address.rstrip("/"), directory=cache() / scheme / Path(*parts), store=store, key=key)


def cache() -> Path:
    """Return the folder of all mirrors: EVERMODEL_CACHE, by default ~/.cache/evermodel."""
    return Path(os.environ.get(CACHE) or Path.home() / ".cache" / "evermodel").absolute()


def timings() -> Path:
    """Return the folder of what was measured on this machine, in the same cache."""
    return cache() / "timings"


def _files(mark: bytes) -> dict[str, str] | None:
    """Return the files that a result.json or bundle.json names; None when it is none or names what lies elsewhere."""
    try:
        files = {str(name): str(sha) for name, sha in json.loads(mark)["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    inside = all(not PurePosixPath(name).is_absolute() and ".." not in PurePosixPath(name).parts for name in files)
    return files if inside else None


@contextlib.contextmanager
def _answering(address: str) -> Iterator[None]:
    """Turn what goes wrong in the store into one message."""
    try:
        yield
    except OSError as error:
        raise ResourceError(
            f"the store at {address} cannot be used: {error}; look at AWS_ENDPOINT_URL and the credentials, or "
            "choose another --workspace"
        ) from error


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def file_digests(directory: Path, names: Iterable[str]) -> dict[str, str]:
    """Return the SHA-256 of files in a directory, by name."""
    names = list(names)
    return dict(zip(names, in_order(lambda name: file_digest(directory / name), names), strict=True))
