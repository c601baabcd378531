"""Parquet files as Evermodel writes and reads them: page checksums, fixed row groups, the same bytes every time."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from schemas.contract import KEY
from schemas.errors import ResourceError
from tasks.coercion import NUMBER
from tasks.parallel import Behind

ROW_GROUP_ROWS = 131_072
_ROW_GROUP_VALUES = 1 << 25
_FORMULA = r"^[=+\-@\t\r]"


class TableWriter:
    """Writes batches of any size to one Parquet file in row groups of equal size. Used in a `with` statement.

    A thread of its own packs and writes them.
    """

    def __init__(self, path: Path, schema: pa.Schema, *, compression: str = "snappy") -> None:
        """Create the file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = pq.ParquetWriter(
            path,
            schema,
            compression=compression,
            write_page_checksum=True,
            write_statistics=False,  # nobody looks for rows by their values
            use_dictionary=[field.name for field in schema if _repeats(field)],
        )
        self._behind = Behind()
        self._schema = schema
        self._group_rows = _group_rows(schema)
        self._waiting: list[pa.Table] = []
        self.rows = 0

    def write(self, rows: pa.Table) -> None:
        """Add rows; they reach the file when they fill a row group."""
        if not rows.num_rows:
            return
        self._waiting.append(rows.cast(self._schema))
        self.rows += rows.num_rows
        if sum(table.num_rows for table in self._waiting) >= self._group_rows:
            self._flush(whole_groups_only=True)

    def _flush(self, *, whole_groups_only: bool) -> None:
        table = pa.concat_tables(self._waiting)
        rows = table.num_rows // self._group_rows * self._group_rows if whole_groups_only else table.num_rows
        self._behind.do(self._writer.write_table, table.slice(0, rows), row_group_size=self._group_rows)
        self._waiting = [table.slice(rows)] if rows < table.num_rows else []

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what waits, and the footer."""
        try:
            if kind is None and self._waiting:
                self._flush(whole_groups_only=False)
            if kind is None:
                self._behind.wait()
        finally:
            self._behind.end()
            self._writer.close()


def _repeats(field: pa.Field) -> bool:
    """Say whether a column holds texts that come again; those of a key do not."""
    return pa.types.is_string(field.type) and not field.name.startswith(KEY)


class CsvWriter(pa_csv.CSVWriter):  # type: ignore[misc]
    """Writes CSV in which no text is a formula to a spreadsheet."""

    def write(self, rows: pa.Table) -> None:
        """Write rows; a text that begins as a formula does gets an apostrophe before it."""
        super().write(pa.table([_harmless(column) for column in rows.columns], names=rows.column_names))


def _harmless(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if not pa.types.is_string(column.type):
        return column
    formula = pc.and_(pc.match_substring_regex(column, _FORMULA), pc.invert(pc.match_substring_regex(column, NUMBER)))
    return pc.if_else(formula, pc.binary_join_element_wise("'", column, ""), column)


def _group_rows(schema: pa.Schema) -> int:
    """Return how many rows make a row group: fewer where a row holds long tensors."""
    values = sum(field.type.list_size if pa.types.is_fixed_size_list(field.type) else 1 for field in schema)
    return max(1, min(ROW_GROUP_ROWS, _ROW_GROUP_VALUES // max(1, values)))


def outline(path: Path) -> tuple[int, list[str]]:
    """Return how many rows a file has, and its columns' names; raises ResourceError when it is damaged."""
    try:
        with pq.ParquetFile(path) as file:
            return file.metadata.num_rows, file.schema_arrow.names
    except (pa.ArrowInvalid, OSError) as error:
        raise ResourceError(f"{path} is damaged: {error}; delete its directory and run again") from error


def single_array(column: pa.ChunkedArray) -> pa.Array:
    """Return a column as one array, without a copy where it is one already."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def read_batches(
    path: Path, *, columns: list[str] | None = None, rows: int = ROW_GROUP_ROWS, categories: Sequence[str] = ()
) -> Iterator[pa.Table]:
    """Yield a file's rows in order, at most `rows` at a time; raises ResourceError when a page is damaged.

    Text columns that are named as categories come as dictionaries.
    """
    try:
        with pq.ParquetFile(
            path, page_checksum_verification=True, pre_buffer=False, read_dictionary=[*categories]
        ) as file:
            for batch in file.iter_batches(min(rows, _group_rows(file.schema_arrow)), columns=columns):
                yield pa.Table.from_batches([batch])
    except (pa.ArrowInvalid, OSError) as error:
        raise ResourceError(f"{path} is damaged: {error}; delete its directory and run again") from error


def read_table(path: Path, *, columns: list[str] | None = None) -> pa.Table:
    """Return a whole file; raises ResourceError when a page is damaged."""
    try:
        return pq.read_table(path, columns=columns, page_checksum_verification=True)
    except (pa.ArrowInvalid, OSError) as error:
        raise ResourceError(f"{path} is damaged: {error}; delete its directory and run again") from error
