"""Files with one JSON object a line."""

import contextlib
import io
import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pa_json

from schemas.data import Source
from schemas.errors import DataError
from tasks.sources.batch import BLOCK_BYTES, EXACT, MAXIMUM_BYTES, Batch, Malformed
from tasks.sources.files import File
from tasks.sources.text import utf8_stream


class JsonReader:
    """One JSON object a line; nested lists are allowed in tensor columns."""

    def __init__(self, file: File, source: Source) -> None:
        """Read the first block for its keys."""
        self._file, self._source = file, source
        self._text: set[str] = set()
        first = next(self._blocks(), None)
        parsed = self._parsed(*first) if first else None
        self.names = parsed.columns.column_names if parsed else []
        if parsed and not self.names and parsed.malformed:
            raise DataError(f"{file.path}: {parsed.malformed[0].reason}; json means one object a line")

    def batches(self, columns: list[str]) -> Iterator[Batch]:
        """Yield all rows in order; a line that is no JSON object is malformed, a missing key is a missing value."""
        for block, first in self._blocks():
            batch = self._parsed(block, first)
            table = batch.columns
            rows = {
                name: table.column(name) if name in table.column_names else pa.nulls(table.num_rows) for name in columns
            }
            yield Batch(pa.table(rows), batch.malformed)

    def _blocks(self) -> Iterator[tuple[bytes, int]]:
        """Yield blocks of whole lines, each with the number of its first line."""
        line = 1
        with self._file.open() as handle:
            stream, rest = utf8_stream(handle, self._source.encoding), b""
            while chunk := stream.read(BLOCK_BYTES):
                block, newline, rest = (rest + chunk).rpartition(b"\n")
                if newline:
                    yield block + newline, line
                    line += block.count(b"\n") + 1
                elif len(rest) > MAXIMUM_BYTES:
                    raise DataError(f"{self._file.path}: line {line} is longer than {MAXIMUM_BYTES >> 20} MiB")
            if rest.strip():
                yield rest, line

    def _parsed(self, block: bytes, first: int) -> Batch:
        with contextlib.suppress(pa.ArrowInvalid):
            table = self._table(block)
            times = [name for name in table.column_names if pa.types.is_timestamp(table.column(name).type)]
            if times:  # Arrow takes text for times and loses its zone
                self._text |= {*times}
                table = self._table(block).select(table.column_names)
            if all(map(_is_plain, table.columns)):
                return Batch(table)
        return self._parsed_by_line(block, first)

    def _table(self, block: bytes) -> pa.Table:
        return pa_json.read_json(
            io.BytesIO(block),
            read_options=pa_json.ReadOptions(use_threads=False, block_size=len(block) + 1),
            parse_options=pa_json.ParseOptions(
                explicit_schema=pa.schema([(name, pa.string()) for name in sorted(self._text)])
            ),
        )

    def _parsed_by_line(self, block: bytes, first: int) -> Batch:
        """Parse a block whose columns mix types, or that is broken: scalars come as text."""
        rows: list[dict[str, Any]] = []
        malformed = []
        lines = block.splitlines()
        for number, line in enumerate(lines, start=first):
            if not line.strip():
                continue
            try:
                row = json.loads(line, object_pairs_hook=_distinct)
                if not isinstance(row, dict):
                    raise TypeError("a JSON object is wanted")
                rows.append(row)
            except (ValueError, TypeError, RecursionError) as error:
                if isinstance(error, json.JSONDecodeError) and line is lines[-1] and not block.endswith(b"\n"):
                    raise DataError(
                        f"{self._file.path}: the last line, {number}, is cut off: {error}; write it anew"
                    ) from error
                malformed.append(
                    Malformed(number, f"line {number} is no JSON object: {error}", line.decode(errors="replace"))
                )
        names = dict.fromkeys(name for row in rows for name in row)
        return Batch(pa.table({name: _column([row.get(name) for row in rows]) for name in names}), malformed)


def _is_plain(column: pa.ChunkedArray) -> bool:
    """Say whether Arrow's reading of JSON values lost nothing: objects, times in lists, and digits of long integers."""
    kind = column.type
    while pa.types.is_list(kind):
        kind = kind.value_type
    if pa.types.is_floating(column.type):
        return not pc.any(pc.greater_equal(pc.abs(column), EXACT)).as_py()
    return not (pa.types.is_struct(kind) or pa.types.is_timestamp(kind))


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found


def _column(values: list[Any]) -> pa.Array:
    """Return JSON values as text, flat lists as lists of text."""
    if all(
        value is None or (isinstance(value, list) and not any(isinstance(each, list) for each in value))
        for value in values
    ):
        return pa.array([value and [*map(_text, value)] for value in values], pa.list_(pa.string()))
    return pa.array([_text(value) for value in values], pa.string())


def _text(value: Any) -> str | None:
    if isinstance(value, float) and value.is_integer() and abs(value) < EXACT:
        value = int(value)  # as it is in a column of nothing but numbers
    return value if value is None or isinstance(value, str) else json.dumps(value)
