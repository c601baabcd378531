"""Rows of a file in batches. CSV comes as text alone: what a text means is decided by the contract, not guessed."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.ipc as pa_ipc
import pyarrow.json as pa_json
import pyarrow.parquet as pq

from schemas.errors import DataError
from schemas.spec import Source
from tasks.sources.files import File

BATCH_ROWS = 65_536
MAXIMUM_CELLS = 20_000_000_000
_BLOCK_BYTES = 1 << 23


@dataclass(frozen=True)
class Malformed:
    """A row that has no columns: it does not parse."""

    line: int
    reason: str
    text: str


@dataclass(frozen=True)
class Batch:
    """Some rows of a file, and what stood among them that is no row."""

    columns: pa.Table
    malformed: list[Malformed] = field(default_factory=list)


class Reader(Protocol):
    """One open file: its column names, then its rows."""

    names: list[str]

    def batches(self, columns: list[str]) -> Iterator[Batch]:
        """Yield all rows in order with those columns; raises DataError when the file is broken."""
        ...


def open_file(file: File, source: Source) -> Reader:
    """Return the reader for a file."""
    readers = {"csv": CsvReader, "json": JsonReader, "parquet": ParquetReader, "arrow": ArrowReader}
    reader: Reader = readers[file.format](file, source)
    return reader


class CsvReader:
    """CSV with a header line; every value is text."""

    def __init__(self, file: File, source: Source) -> None:
        """Read the header."""
        self._file, self._source = file, source
        with file.open() as handle:
            encoding = "utf-8-sig" if source.encoding.lower() in ("utf-8", "utf8") else source.encoding
            rows = csv.reader(io.TextIOWrapper(handle, encoding=encoding, newline=""), delimiter=source.delimiter)
            try:
                self.names = next(rows, [])
            except (csv.Error, UnicodeDecodeError, LookupError) as error:
                raise DataError(f"{file.path}: the header cannot be read: {error}") from error
            self._header_lines = rows.line_num

    def batches(self, columns: list[str]) -> Iterator[Batch]:
        """Yield all rows in order; a row with too few or too many fields is malformed."""
        malformed: list[pa_csv.InvalidRow] = []

        def remember(row: pa_csv.InvalidRow) -> str:
            malformed.append(row)
            return "skip"

        read = pa_csv.ReadOptions(
            column_names=self.names,
            skip_rows=self._header_lines,
            block_size=_BLOCK_BYTES,
            encoding=self._source.encoding,
            use_threads=False,  # with threads a malformed row does not know its number
        )
        parse = pa_csv.ParseOptions(
            delimiter=self._source.delimiter, newlines_in_values=True, invalid_row_handler=remember
        )
        convert = pa_csv.ConvertOptions(
            column_types=dict.fromkeys(self.names, pa.string()), include_columns=columns, strings_can_be_null=False
        )
        rows, taken = 0, 0
        with self._file.open() as handle:
            try:
                for batch in pa_csv.open_csv(handle, read, parse, convert):
                    rows += batch.num_rows
                    found, taken = malformed[taken:], len(malformed)
                    yield Batch(pa.Table.from_batches([batch]), [self._malformed(row) for row in found])
            except pa.ArrowInvalid as error:
                if "Empty CSV" not in str(error):
                    raise DataError(f"{self._file.path}: {self._explained(str(error))}") from error
        self._refuse_cut_off(malformed, rows)
        if rest := [self._malformed(row) for row in malformed[taken:]]:
            yield Batch(pa.table({name: pa.array([], pa.string()) for name in columns}), rest)

    def _malformed(self, row: pa_csv.InvalidRow) -> Malformed:
        text = row.text if isinstance(row.text, str) else row.text.decode(errors="replace")
        if text.count('"') % 2:
            raise DataError(f"{self._file.path}: line {row.number}: a quote is opened and never closed: {text[:80]!r}")
        return Malformed(row.number, f"line {row.number} has {row.actual_columns} fields, not {row.expected_columns}", text)

    def _refuse_cut_off(self, malformed: list[pa_csv.InvalidRow], rows: int) -> None:
        last = malformed[-1] if malformed else None
        if last and last.number == self._header_lines + rows + len(malformed) and last.actual_columns < len(self.names):
            raise DataError(
                f"{self._file.path}: the last line, {last.number}, has {last.actual_columns} fields, not "
                f"{last.expected_columns}: the file is cut off; write it anew"
            )

    def _explained(self, error: str) -> str:
        if "straddl" in error:
            return f"a quote is opened and not closed within {_BLOCK_BYTES >> 20} MiB ({error})"
        return error


class JsonReader:
    """One JSON object a line; nested lists are allowed in tensor columns."""

    def __init__(self, file: File, source: Source) -> None:
        """Read the first block for its keys."""
        self._file = file
        first = next(self._blocks(), None)
        self.names = self._parsed(*first).columns.column_names if first else []

    def batches(self, columns: list[str]) -> Iterator[Batch]:
        """Yield all rows in order; a line that is no JSON object is malformed, a missing key is a missing value."""
        for block, first in self._blocks():
            batch = self._parsed(block, first)
            missing = [name for name in columns if name not in batch.columns.column_names]
            table = batch.columns
            for name in missing:
                table = table.append_column(name, pa.nulls(table.num_rows, pa.string()))
            yield Batch(table.select(columns), batch.malformed)

    def _blocks(self) -> Iterator[tuple[bytes, int]]:
        """Yield blocks of whole lines, each with the number of its first line."""
        line = 1
        with self._file.open() as handle:
            rest = b""
            while chunk := handle.read(_BLOCK_BYTES):
                block, newline, rest = (rest + chunk).rpartition(b"\n")
                if newline:
                    yield block + newline, line
                    line += block.count(b"\n") + 1
            if rest.strip():
                yield rest, line

    def _parsed(self, block: bytes, first: int) -> Batch:
        try:
            table = pa_json.read_json(
                io.BytesIO(block), read_options=pa_json.ReadOptions(use_threads=False, block_size=len(block) + 1)
            )
            if not any(pa.types.is_struct(column.type) or pa.types.is_timestamp(column.type) for column in table.columns):
                return Batch(table)
        except pa.ArrowInvalid:
            pass
        return self._parsed_by_line(block, first)

    def _parsed_by_line(self, block: bytes, first: int) -> Batch:
        """Parse a block whose columns mix types, or that is broken: scalars come as text."""
        rows: list[dict[str, Any]] = []
        malformed = []
        for number, line in enumerate(block.splitlines(), start=first):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise ValueError("no object")
                rows.append(row)
            except ValueError as error:
                if not block.endswith(b"\n") and line == block.splitlines()[-1]:
                    raise DataError(f"{self._file.path}: the last line, {number}, is cut off: {error}; write it anew") from error
                malformed.append(Malformed(number, f"line {number} is no JSON object: {error}", line.decode(errors="replace")))
        names = dict.fromkeys(name for row in rows for name in row)
        columns = {name: pa.array([_text(row.get(name)) for row in rows], pa.string()) for name in names}
        return Batch(pa.table(columns), malformed)


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)


class ParquetReader:
    """Parquet, row group by row group."""

    def __init__(self, file: File, source: Source) -> None:
        """Read the footer."""
        self._file = file
        try:
            with file.open() as handle:
                self._metadata = pq.ParquetFile(handle).metadata
                schema = self._metadata.schema.to_arrow_schema()
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(f"{file.path} is no whole Parquet file: {error}") from error
        self.names = schema.names

    def batches(self, columns: list[str]) -> Iterator[Batch]:
        """Yield all rows in order; page checksums, where there are any, are verified."""
        cells = self._metadata.num_rows * max(1, len(columns))
        if cells > MAXIMUM_CELLS:
            raise DataError(
                f"{self._file.path} claims {self._metadata.num_rows:,} rows, {cells:,} values, above the limit of "
                f"{MAXIMUM_CELLS:,}; split the file"
            )
        try:
            with self._file.open() as handle:
                file = pq.ParquetFile(handle, page_checksum_verification=True, pre_buffer=False)
                for batch in file.iter_batches(BATCH_ROWS, columns=columns):
                    yield Batch(pa.Table.from_batches([batch]).select(columns))
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(f"{self._file.path} is broken: {error}") from error


class ArrowReader:
    """Arrow IPC (Feather) files and streams."""

    def __init__(self, file: File, source: Source) -> None:
        """Read the schema."""
        self._file = file
        with file.open() as handle:
            self.names = self._open(handle).schema.names

    def batches(self, columns: list[str]) -> Iterator[Batch]:
        """Yield all rows in order."""
        with self._file.open() as handle:
            for batch in self._open(handle):
                yield Batch(pa.Table.from_batches([batch]).select(columns))

    def _open(self, handle: Any) -> Any:
        try:
            if handle.read(6) == b"ARROW1":
                file = pa_ipc.open_file(handle)
                return pa.RecordBatchReader.from_batches(
                    file.schema, (file.get_batch(index) for index in range(file.num_record_batches))
                )
            handle.seek(0)
            return pa_ipc.open_stream(handle)
        except pa.ArrowInvalid as error:
            raise DataError(f"{self._file.path} is no Arrow file: {error}") from error
