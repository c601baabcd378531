"""The files of a source, and their fingerprint: one digest that changes when any byte does."""

import codecs
import hashlib
import json
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import fsspec
from fsspec import AbstractFileSystem

from schemas.document import digest
from schemas.errors import DataError
from schemas.spec import Source

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


@dataclass(frozen=True)
class File:
    """One file of a source."""

    system: AbstractFileSystem
    path: str
    format: Format

    def open(self) -> Any:
        """Open the file's bytes, decompressed where the name's ending says that they are compressed."""
        return self.system.open(self.path, "rb", compression="infer")

    @property
    def stamp(self) -> list[Any]:
        """What tells cheaply that the file is the same: size and times, or what the store has instead."""
        info = self.system.info(self.path)
        keys = ("size", "mtime", "ino", "created", "ETag", "etag", "LastModified", "updated")
        return [str(info[key]) for key in keys if key in info]


def list_files(source: Source) -> list[File]:
    """Return the files that a source names, sorted by path; raises DataError when there are none or one is no file."""
    system, path = fsspec.core.url_to_fs(source.path)
    if system.isdir(path):
        found = [name for name in system.find(path) if not _hidden(name.removeprefix(path))]
    elif any(sign in path for sign in "*?[") and not system.exists(path):
        found = [name for name in system.glob(path) if not system.isdir(name)]
    else:
        found = [path] if system.exists(path) else []
    if not found:
        raise DataError(f"no file at {source.path}; data.path takes a file, a folder, a glob or an fsspec URL")
    return [_file(system, name, source) for name in sorted(found)]


def _hidden(path: str) -> bool:
    return any(part.startswith((".", "_")) for part in path.strip("/").split("/"))


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
        raise DataError(f"cannot tell the format of {path} by its ending; set data.format to csv, parquet, json or arrow")
    return File(system, path, _ENDINGS[ending.suffix])


def fingerprint(files: Sequence[File], *, encoding: str = "utf-8", memory: Path | None = None) -> str:
    """Return one SHA-256 for the contents of all files, in order.

    Text is checked on the way for bytes that no text has. With `memory`, a JSON file, contents that were read before
    are not read again while size and times of the file are the same. Raises DataError with file, line and byte offset.
    """
    known = _remembered(memory)
    digests = {file.path: known.get(_identity(file)) or _file_fingerprint(file, encoding) for file in files}
    if memory is not None:
        _remember(memory, known | {_identity(file): digests[file.path] for file in files})
    return digest(list(digests.values()))


def _identity(file: File) -> str:
    return json.dumps([file.path, file.format, *file.stamp])


def _remembered(memory: Path | None) -> dict[str, str]:
    try:
        return dict(json.loads(memory.read_text())) if memory else {}
    except (OSError, ValueError):
        return {}


def _remember(memory: Path, digests: dict[str, str]) -> None:
    newest = dict(list(digests.items())[-10_000:])
    scratch = memory.with_suffix(f".{digest(newest)[:8]}")
    memory.parent.mkdir(parents=True, exist_ok=True)
    scratch.write_text(json.dumps(newest))
    scratch.replace(memory)


def _file_fingerprint(file: File, encoding: str) -> str:
    sha, lines, offset = hashlib.sha256(), 1, 0
    text = file.format in ("csv", "json")
    decoder = codecs.getincrementaldecoder("utf-8")() if text and encoding.lower() in ("utf-8", "utf8") else None
    with file.open() as handle:
        while chunk := handle.read(_CHUNK_BYTES):
            sha.update(chunk)
            if text and b"\0" in chunk and not encoding.lower().startswith("utf-16"):
                line = lines + chunk.count(b"\n", 0, chunk.index(b"\0"))
                raise DataError(f"{file.path}: NUL byte in line {line}: it is no text file")
            if decoder:
                _check_text(decoder, chunk, file, offset)
            lines += chunk.count(b"\n") if text else 0
            offset += len(chunk)
    if not offset:
        raise DataError(f"{file.path} is empty")
    return sha.hexdigest()


def _check_text(decoder: codecs.IncrementalDecoder, chunk: bytes, file: File, offset: int) -> None:
    pending = len(decoder.getstate()[0])
    try:
        decoder.decode(chunk)
    except UnicodeDecodeError as error:
        at = offset - pending + error.start
        raise DataError(
            f"{file.path}: byte {error.object[error.start]:#04x} at offset {at} is not UTF-8; "
            "set data.encoding, such as latin-1"
        ) from error
