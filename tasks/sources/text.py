"""Text files as bytes in UTF-8, whatever their encoding, and what no text file holds."""

import codecs
from typing import Any

import numpy as np
import pyarrow as pa

from schemas.errors import DataError, SpecError

_NEWLINE = ord("\n")


def is_utf8(encoding: str) -> bool:
    """Say whether an encoding is UTF-8, under any of its names; raises SpecError for one that nobody knows."""
    return _codec(encoding).name in ("utf-8", "utf-8-sig")


def _codec(encoding: str) -> codecs.CodecInfo:
    try:
        return codecs.lookup(encoding)
    except LookupError as error:
        raise SpecError(
            f"data.encoding {encoding!r} is unknown; use one of Python's, such as utf-8 or latin-1"
        ) from error


def utf8_stream(handle: Any, encoding: str) -> Any:
    """Return a stream of the same text in UTF-8."""
    return handle if is_utf8(encoding) else pa.transcoding_input_stream(pa.PythonFile(handle, "r"), encoding, "utf8")


class TextCheck:
    """Looks at a text file's bytes, chunk by chunk, for what its encoding cannot read and for NUL."""

    def __init__(self, path: str, encoding: str) -> None:
        """Start at the file's first byte."""
        self._path, self._encoding = path, encoding
        self._decoder = _codec("utf-8" if is_utf8(encoding) else encoding).incrementaldecoder()
        self._lines, self._offset = 1, 0

    def add(self, chunk: bytes, *, final: bool = False) -> None:
        """Take the next bytes, and with `final` see that the last character is whole; raises DataError."""
        pending = len(self._decoder.getstate()[0])
        try:
            text = self._decoder.decode(chunk, final)
        except UnicodeDecodeError as error:
            byte, at = error.object[error.start], self._offset - pending + error.start
            raise DataError(
                f"{self._path}: byte {byte:#04x} at offset {at} is not {self._encoding.upper()}; "
                "set data.encoding, such as latin-1"
            ) from error
        if "\0" in text:
            line = self._lines + chunk.count(b"\n", 0, chunk.index(b"\0"))
            raise DataError(f"{self._path}: NUL byte in line {line}: it is no text file; write it anew")
        self._lines += int(np.count_nonzero(np.frombuffer(chunk, np.uint8) == _NEWLINE))
        self._offset += len(chunk)
