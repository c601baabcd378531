"""The first rows of a source, as raw columns, and the form of its text: encoding and delimiter."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

import pyarrow as pa

from schemas.data import Source
from schemas.errors import DataError
from tasks.coercion import to_text
from tasks.inference.observed import Observed
from tasks.sources.files import File, list_files
from tasks.sources.readers import Batch, open_file

ROWS = 100_000
BYTES = 1 << 28
"""A sample ends with the batch that reaches so many bytes, or at so many rows."""

_HEAD_BYTES = 1 << 20
_HEAD_LINES = 50


@dataclass(frozen=True)
class Sample:
    """Rows from the start of a source, in its order."""

    source: Source
    columns: dict[str, pa.Array] = field(repr=False)
    """Raw values by column."""
    rows: int
    whole: bool
    """Whether these are all rows."""

    @property
    def names(self) -> list[str]:
        """The columns, in the source's order."""
        return list(self.columns)

    @property
    def rows_said(self) -> str:
        """How many rows there are, for people."""
        return f"{self.rows:,} rows" if self.whole else f"the first {self.rows:,} rows"

    def observed(self, name: str) -> Observed:
        """Return what a column's values are like."""
        return Observed(name, self.columns[name])

    def all_texts(self, name: str, *, most: int) -> set[str]:
        """Return a column's different values, those beyond the sample too; stop looking when there are above `most`."""
        texts = set(self.observed(name).texts.to_pylist())
        for batch in () if self.whole else _batches(list_files(self.source), self.source, [name]):
            if len(texts) > most:
                break
            texts |= set(Observed(name, _plain(batch.columns.column(name))).texts.to_pylist())
        return texts


def read_sample(path: str) -> Sample:
    """Return the first rows of a file, folder, glob or URL; raises DataError when they are too few to split."""
    files = list_files(Source(path=path))
    source = Source(path=path, **_text_form(files[0]))
    names = open_file(files[0], source).names
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{files[0].path}: column {repeated[0]!r} stands {names.count(repeated[0])} times; rename one")
    tables, rows, whole = _first(_batches(files, source, names))
    if rows < 3:
        raise DataError(f"{path} holds {rows} rows: too few to train, validate and test with")
    columns = {name: _joined([_plain(table.column(name)) for table in tables]) for name in names}
    return Sample(source, columns, rows, whole)


def _first(batches: Iterator[Batch]) -> tuple[list[pa.Table], int, bool]:
    """Return the first rows, how many there are, and whether there are no more."""
    tables: list[pa.Table] = []
    rows = size = 0
    for batch in batches:
        if rows == ROWS or size >= BYTES:
            return tables, rows, False
        tables.append(batch.columns.slice(0, ROWS - rows))
        rows, size = rows + tables[-1].num_rows, size + tables[-1].nbytes
        if tables[-1].num_rows < batch.columns.num_rows:
            return tables, rows, False
    return tables, rows, True


def _batches(files: list[File], source: Source, names: list[str]) -> Iterator[Batch]:
    for file in files:
        reader = open_file(file, source)
        if missing := [name for name in names if name not in reader.names]:
            raise DataError(f"{file.path} has no column {missing[0]!r}, which {files[0].path} has")
        yield from reader.batches(names)


def _plain(column: pa.ChunkedArray) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    values = column.combine_chunks()
    if pa.types.is_float16(values.type):  # which pyarrow cannot count
        values = values.cast(pa.float32())
    return pa.nulls(len(values)) if values.null_count == len(values) else values


def _joined(chunks: list[pa.Array]) -> pa.Array:
    """Return one array; columns whose type differs from batch to batch become text."""
    tables = [pa.table({"values": chunk}) for chunk in chunks]
    try:
        return _plain(pa.concat_tables(tables, promote_options="permissive").column(0))
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        if any(pa.types.is_nested(chunk.type) for chunk in chunks):
            raise DataError("a column holds lists in some rows and single values in others") from None
        return pa.concat_arrays([to_text(chunk, ()) for chunk in chunks])


def _text_form(file: File) -> dict[str, str]:
    """Return the encoding and, for CSV, the delimiter where they are not the usual ones."""
    if file.format not in ("csv", "json"):
        return {}
    with file.open() as handle:
        head = handle.read(_HEAD_BYTES)
    if not head:
        raise DataError(f"{file.path} is empty")
    form = {"encoding": encoding} if (encoding := _encoding(head)) != "utf-8" else {}
    if file.format == "csv" and (delimiter := _delimiter(head.decode(encoding, errors="replace"))) != ",":
        form["delimiter"] = delimiter
    return form


def _encoding(head: bytes) -> str:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    for encoding in ("utf-8", "cp1252"):
        try:
            head[: head.rfind(b"\n") + 1 or None].decode(encoding)
        except UnicodeDecodeError:
            continue
        return encoding
    return "latin-1"


def _delimiter(head: str) -> str:
    """Return the delimiter that gives most fields, the same number in nearly every line."""

    @cache
    def fields(delimiter: str) -> int:
        rows = list(csv.reader(io.StringIO(head[: head.rfind("\n") + 1 or None]), delimiter=delimiter))[:_HEAD_LINES]
        alike = sum(len(row) == len(rows[0]) for row in rows)
        return len(rows[0]) if alike >= 0.9 * len(rows) else 1

    return max(",;\t|", key=fields)
