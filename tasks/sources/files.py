"""The files of a source, and their fingerprint: one digest that changes when any byte does."""

import contextlib
import fnmatch
import hashlib
import json
import lzma
import stat
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from fsspec import AbstractFileSystem

from schemas.data import Source
from schemas.document import digest
from schemas.errors import DataError, ResourceError, SpecError
from tasks.quotes import cause, told
from tasks.sources.text import TextCheck
from tasks.stores import open_url

Format = Literal["csv", "parquet", "json", "arrow"]

_ENDINGS: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".arrow": "arrow",
    ".feather": "arrow",
}
_COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst")
_CHUNK_BYTES = 1 << 22


class NoFilesError(DataError):
    """Where a source's files are to be, there are none."""


@dataclass(frozen=True)
class File:
    """One file of a source."""

    system: AbstractFileSystem
    path: str
    format: Format

    @contextlib.contextmanager
    def open(self) -> Iterator[Any]:
        """Open the file's bytes, decompressed where the name's ending says that they are compressed.

        What turns out to be wrong with them while they are read is a DataError, what is wrong around them a
        ResourceError.
        """
        try:
            with self.system.open(self.path, "rb", compression="infer") as handle:
                yield handle
        except (EOFError, UnicodeError, ValueError, pa.ArrowException, zlib.error, lzma.LZMAError) as error:
            raise DataError(f"{self.path} cannot be read as {self.format}: {told(error)}") from cause(error)
        except OSError as error:
            from_store = "AWS Error" in str(error)
            if error.errno is None and not from_store:  # but from a library that reads the content
                raise DataError(f"{self.path} cannot be read as {self.format}: {told(error)}") from cause(error)
            raise ResourceError(f"{self.path} cannot be read: {error.strerror or error}") from error

    @property
    def size_bytes(self) -> int:
        """How large the file is as it lies there; 0 where its system does not say."""
        return int(self.system.info(self.path).get("size") or 0)

    @property
    def stamp(self) -> list[str]:
        """What tells cheaply that the file is the same: size and times, or what the store has instead."""
        info = self.system.info(self.path)
        keys = ("size", "mtime", "ino", "created", "ETag", "etag", "LastModified", "updated")
        return [f"{key} {info[key]}" for key in keys if info.get(key) is not None]


def list_files(source: Source) -> list[File]:
    """Return the files that a source names, sorted by path.

    Raises NoFilesError when there are none, and DataError for what is no file or of no known format.
    """
    try:
        system, path = open_url(source.location)
        found = _find(system, path)
    except (ImportError, ValueError) as error:
        raise SpecError(f"data.path {source.path} cannot be opened: {error}") from error
    except OSError as error:
        raise ResourceError(f"data.path {source.path} cannot be looked at: {error}") from error
    if not found:
        raise NoFilesError(f"no file at {source.path}; data.path takes a file, a folder, a glob or an fsspec URL")
    return [_file(system, name, source) for name in sorted(found)]


def _find(system: AbstractFileSystem, path: str) -> list[str]:
    if system.isdir(path):
        return [name for name in system.find(path) if not _hidden(name.removeprefix(path))]
    if any(sign in path for sign in "*?[") and not system.exists(path):
        asked_for = [part for part in path.split("/") if _hidden(part)]  # as _*.csv asks for _a.csv
        found = [name for name in system.glob(path) if not _hidden(name, but=asked_for)]
        return [name for name in found if not system.isdir(name)]
    return [path] if system.exists(path) else []


def _hidden(path: str, *, but: Sequence[str] = ()) -> bool:
    """Say whether a part of a path begins with a dot or an underscore, and no pattern of `but` takes it."""
    parts = [part for part in path.strip("/").split("/") if part.startswith((".", "_"))]
    return any(not any(fnmatch.fnmatchcase(part, pattern) for pattern in but) for part in parts)


def _file(system: AbstractFileSystem, path: str, source: Source) -> File:
    if system.protocol == "file" or "file" in system.protocol:
        mode = Path(path).lstat().st_mode
        if stat.S_ISLNK(mode):
            raise DataError(f"{path} is a symbolic link; name the file that it points to ({Path(path).resolve()})")
        if not stat.S_ISREG(mode):
            raise DataError(f"{path} is no regular file")
    if source.format:
        return File(system, path, source.format)
    ending = Path(path.lower())
    while ending.suffix in _COMPRESSIONS:
        ending = ending.with_suffix("")
    if ending.suffix not in _ENDINGS:
        raise DataError(
            f"cannot tell the format of {path} by its ending; set data.format to csv, parquet, json or arrow"
        )
    return File(system, path, _ENDINGS[ending.suffix])


def fingerprint(
    files: Sequence[File], *, encoding: str = "utf-8", memory: Path | None = None, verify: bool = False
) -> str:
    """Return one SHA-256 for the contents of all files, in order.

    Text is checked on the way for bytes that no text has. With `memory`, a JSON file, contents that were read before
    are not read again while size and times of the file are the same, unless it is to `verify` them. Raises DataError
    with file, line and byte offset.
    """
    known, read, digests = _remembered(memory), {}, []
    for file in files:
        name = _identity(file, encoding)
        found = None if verify else known.get(name or "")
        if found is None:
            found = _file_fingerprint(file, encoding)
            if name is not None and name == _identity(file, encoding):  # it was not written meanwhile
                read[name] = found
        digests.append(found)
    if memory is not None and read:
        _remember(memory, known | read)
    return digest(digests)


def _identity(file: File, encoding: str) -> str | None:
    """Return what names a file's content; None when there is no more to go by than its size."""
    stamp = file.stamp
    return json.dumps([file.path, file.format, encoding, *stamp]) if len(stamp) > 1 else None


def _remembered(memory: Path | None) -> dict[str, str]:
    try:
        return dict(json.loads(memory.read_text())) if memory else {}
    except (OSError, ValueError):
        return {}


def _remember(memory: Path, digests: dict[str, str]) -> None:
    newest = dict(list(digests.items())[-10_000:])
    scratch = memory.with_suffix(f".{digest(newest)[:8]}")
    with contextlib.suppress(OSError):  # it only saves time; that nothing can be written there is said by who must
        memory.parent.mkdir(parents=True, exist_ok=True)
        scratch.write_text(json.dumps(newest))
        scratch.replace(memory)


def _file_fingerprint(file: File, encoding: str) -> str:
    sha = hashlib.sha256()
    check = TextCheck(file.path, encoding) if file.format in ("csv", "json") else None
    empty = True
    with file.open() as handle:
        while chunk := handle.read(_CHUNK_BYTES):
            empty = False
            sha.update(chunk)
            if check:
                check.add(chunk)
        if check:
            check.add(b"", final=True)
    if empty:
        raise DataError(f"{file.path} is empty")
    return sha.hexdigest()
