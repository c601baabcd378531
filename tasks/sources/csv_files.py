"""CSV files. They come as text alone: what a text means is decided by the contract, not guessed."""

import csv
import io
import uuid
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from schemas.data import Source
from schemas.errors import DataError
from tasks.quotes import cause, told
from tasks.sources.batch import BLOCK_BYTES, Batch, Malformed
from tasks.sources.files import File
from tasks.sources.text import utf8_stream


class CsvReader:
    """CSV with a header line; every value is text."""

    def __init__(self, file: File, source: Source) -> None:
        """Read the header."""
        self._file, self._source, self._mark = file, source, uuid.uuid4().hex
        with file.open() as handle:
            head = utf8_stream(handle, source.encoding).read(BLOCK_BYTES).decode("utf-8-sig", errors="replace")
        rows = csv.reader(io.StringIO(head, newline=""), delimiter=source.delimiter, strict=True)
        try:
            self.names = next(rows, [])
        except csv.Error as error:
            raise DataError(f"{file.path}: line 1: the header cannot be read: {error}") from error
        if not self.names:
            raise DataError(f"{file.path}: line 1 is blank; it must be the header with the names of the columns")
        self._header_lines = rows.line_num

    def batches(self, columns: list[str]) -> Iterator[Batch]:
        """Yield all rows in order; a row with too few or too many fields is malformed."""
        malformed: list[pa_csv.InvalidRow] = []
        rows, taken, ended = 0, 0, False
        with self._file.open() as handle:
            stream = _Followed(utf8_stream(handle, self._source.encoding), self._last_line)
            for batch in self._parsed(stream, columns, malformed):
                ended = batch.num_rows > 0 and batch.column(0)[-1].as_py() == self._mark
                table = pa.Table.from_batches([batch.slice(0, batch.num_rows - ended)])
                found, taken = malformed[taken:], len(malformed)
                yield Batch(table, [*map(_malformed, found)])
                rows += table.num_rows
        records = self._header_lines + rows + len(malformed)
        if not ended:
            raise DataError(f"{self._file.path}: line {records}: a quote is opened and never closed")
        if stream.lines > records:  # values of several lines, or blank lines
            self._refuse_stray_quotes()
        self._refuse_cut_off(malformed, records)
        if rest := [*map(_malformed, malformed[taken:])]:
            yield Batch(pa.table({name: pa.array([], pa.string()) for name in columns}), rest)

    @property
    def _last_line(self) -> bytes:
        return f"\n{self._source.delimiter.join([self._mark] * len(self.names))}\n".encode()

    def _parsed(
        self, stream: "_Followed", columns: list[str], malformed: list[pa_csv.InvalidRow]
    ) -> Iterator[pa.RecordBatch]:
        """Yield the rows that parse, and behind them one of nothing but the mark, unless an open quote swallows it."""

        def remember(row: pa_csv.InvalidRow) -> str:
            malformed.append(row)
            return "skip"

        read = pa_csv.ReadOptions(
            column_names=self.names,
            skip_rows=self._header_lines,
            block_size=BLOCK_BYTES,
            use_threads=False,  # with threads a malformed row does not know its number
        )
        parse = pa_csv.ParseOptions(
            delimiter=self._source.delimiter, newlines_in_values=True, invalid_row_handler=remember
        )
        convert = pa_csv.ConvertOptions(
            column_types=dict.fromkeys(self.names, pa.string()), include_columns=columns, strings_can_be_null=False
        )
        try:
            yield from pa_csv.open_csv(stream, read, parse, convert)
        except pa.ArrowInvalid as error:
            if "straddl" in str(error):
                said = f"a row is longer than {BLOCK_BYTES >> 20} MiB: is a quote opened and not closed?"
                raise DataError(f"{self._file.path}: {said} ({told(error)})") from cause(error)
            if "Empty CSV" not in str(error):
                raise

    def _refuse_stray_quotes(self) -> None:
        """Look more closely than Arrow does: a quote that its line leaves open may be closed by one further down."""
        csv.field_size_limit(BLOCK_BYTES)
        line = 0
        with self._file.open() as handle:
            text = io.TextIOWrapper(handle, encoding=self._source.encoding, newline="")
            rows = csv.reader(text, delimiter=self._source.delimiter, strict=True)
            try:
                for _ in rows:
                    line = rows.line_num
            except csv.Error as error:
                said = f"a quote is opened and not closed, or stands within a quoted value ({error})"
                raise DataError(
                    f"{self._file.path}: line {line + 1}: {said}; write quotes within a value twice"
                ) from error

    def _refuse_cut_off(self, malformed: list[pa_csv.InvalidRow], records: int) -> None:
        last = malformed[-1] if malformed else None
        if last and last.number == records and last.actual_columns < len(self.names):
            raise DataError(
                f"{self._file.path}: the last line, {last.number}, has {last.actual_columns} fields, not "
                f"{last.expected_columns}: the file is cut off; write it anew"
            )


def _malformed(row: pa_csv.InvalidRow) -> Malformed:
    text = row.text if isinstance(row.text, str) else row.text.decode(errors="replace")
    return Malformed(row.number, f"line {row.number} has {row.actual_columns} fields, not {row.expected_columns}", text)


class _Followed(io.RawIOBase):
    """A stream with more bytes behind its end."""

    def __init__(self, stream: Any, more: bytes) -> None:
        self._stream, self._more = stream, io.BytesIO(more)
        self._newlines, self._end = 0, b"\n"

    @property
    def lines(self) -> int:
        """How many lines the stream has of its own, as far as it was read."""
        return self._newlines + (self._end != b"\n")

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        found = bytearray()
        while len(found) < size and (part := self._stream.read(size - len(found))):
            found += part
        self._newlines += int(np.count_nonzero(np.frombuffer(found, np.uint8) == ord("\n")))
        self._end = bytes(found[-1:]) or self._end
        return bytes(found) + self._more.read(size - len(found))
