"""Parquet and Arrow files, in batches that stay small whatever a file unpacks to."""

import itertools
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc as pa_ipc
import pyarrow.parquet as pq

from schemas.data import Source
from schemas.errors import DataError
from tasks.sources.batch import MAXIMUM_BYTES, Batch, most_values
from tasks.sources.files import File
from tasks.tables import single_array

_BATCH_ROWS = 65_536
_BATCH_VALUES = 1 << 22
_BATCH_BYTES = 1 << 26
_BUFFER_BYTES = 1 << 20
_BOMB_BYTES, _BOMB_RATIO = 1 << 28, 100
_UNPACKED_BYTES = 1 << 31


class ParquetReader:
    """Parquet, row group by row group."""

    def __init__(self, file: File, source: Source) -> None:
        """Read the footer."""
        self._file = file
        with file.open() as handle:
            self._metadata = pq.ParquetFile(handle).metadata
            self.names = self._metadata.schema.to_arrow_schema().names

    def batches(self, columns: list[str]) -> Iterator[Batch]:
        """Yield all rows in order; page checksums, where there are any, are verified."""
        rows = self._rows_at_once({*columns})
        leaves = map(self._metadata.schema.column, range(self._metadata.num_columns))
        texts = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY" and not leaf.max_repetition_level]
        with self._file.open() as handle:
            file = pq.ParquetFile(
                handle,
                page_checksum_verification=True,
                pre_buffer=False,
                buffer_size=_BUFFER_BYTES,
                read_dictionary=texts,
            )
            for batch in file.iter_batches(rows, columns=columns):
                for table in _unpacked(pa.Table.from_batches([batch]).select(columns), self._file.path):
                    yield Batch(table)

    def _rows_at_once(self, columns: set[str]) -> int:
        """Return how many rows make a batch; refuse a file that claims to hold more than any should."""
        values: Counter[str] = Counter()
        for group in map(self._metadata.row_group, range(self._metadata.num_row_groups)):
            for chunk in map(group.column, range(group.num_columns)):
                path = chunk.path_in_schema
                if path in columns or path.partition(".")[0] in columns:
                    values[path] += chunk.num_values
                    self._refuse_bomb(path, chunk.total_compressed_size, chunk.total_uncompressed_size)
        if (claimed := values.total()) > (most := most_values(self._file.size_bytes)):
            raise DataError(
                f"{self._file.path} claims {claimed:,} values, and a file of its size may have {most:,}; split the file"
            )
        return _rows_at_once(max(values.values(), default=0) / max(1, self._metadata.num_rows))

    def _refuse_bomb(self, column: str, packed: int, unpacked: int) -> None:
        if unpacked > _BOMB_BYTES and unpacked > _BOMB_RATIO * packed:
            raise DataError(
                f"{self._file.path}: column {column!r} would unpack from {packed:,} to {unpacked:,} bytes at once; "
                "write it anew with smaller row groups"
            )


class ArrowReader:
    """Arrow IPC (Feather) files and streams."""

    def __init__(self, file: File, source: Source) -> None:
        """Read the schema."""
        self._file = file
        with file.open() as handle:
            self.names = self._opened(handle).schema.names

    def batches(self, columns: list[str]) -> Iterator[Batch]:
        """Yield all rows in order."""
        with self._file.open() as handle:
            for batch in self._opened(handle):
                batch.validate(full=True)
                rows = _rows_at_once(batch.nbytes / 8 / max(1, batch.num_rows))
                for start in range(0, batch.num_rows, rows):
                    table = pa.Table.from_batches([batch.slice(start, rows)]).select(columns)
                    for part in _unpacked(table, self._file.path):
                        yield Batch(part)

    def _opened(self, handle: Any) -> Any:
        is_file = handle.read(6) == b"ARROW1"
        handle.seek(0)
        if not is_file:
            return pa_ipc.open_stream(handle)
        file = pa_ipc.open_file(handle)
        return pa.RecordBatchReader.from_batches(file.schema, map(file.get_batch, range(file.num_record_batches)))


def _rows_at_once(values_a_row: float) -> int:
    """Return how many rows of so many values each make a batch."""
    return max(1, min(_BATCH_ROWS, int(_BATCH_VALUES / max(1.0, values_a_row))))


def _unpacked(table: pa.Table, path: str) -> Iterator[pa.Table]:
    """Yield the rows with text in place of dictionaries, in parts of bounded size: a small file can hold a lot."""
    sizes = sum((_text_sizes(column) for column in table.columns), np.zeros(table.num_rows, np.int64))
    if (most := int(sizes.max(initial=0))) > MAXIMUM_BYTES or sizes.sum() > _UNPACKED_BYTES:
        raise DataError(
            f"{path}: {table.num_rows:,} rows unpack to {int(sizes.sum()):,} bytes of text, one row to {most:,}; "
            "take such columns out of the spec, or shorten them"
        )
    cuts = np.flatnonzero(np.diff(np.cumsum(sizes) // _BATCH_BYTES)) + 1
    for start, stop in itertools.pairwise([0, *cuts.tolist(), table.num_rows]):
        part = table.slice(start, stop - start)
        yield pa.table([column.cast(_plain_type(column.type)) for column in part.columns], names=part.column_names)


def _text_sizes(column: pa.ChunkedArray) -> Any:
    """Return the bytes of text that each value of a dictionary column stands for, shape (n,); otherwise 0."""
    if not pa.types.is_dictionary(column.type) or pa.types.is_primitive(column.type.value_type):
        return np.int64(0)
    values = single_array(column)
    lengths = np.append(pc.binary_length(values.dictionary).fill_null(0).to_numpy(), 0)
    return lengths[values.indices.fill_null(len(lengths) - 1).to_numpy()]


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_list(kind):
        return pa.list_(_plain_type(kind.value_type))
    return kind.value_type if pa.types.is_dictionary(kind) else kind
