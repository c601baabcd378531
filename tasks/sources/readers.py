"""Rows of a file in batches, whatever its format."""

from collections.abc import Callable

from schemas.data import Source
from tasks.sources.batch import Batch, Reader
from tasks.sources.columnar import ArrowReader, ParquetReader
from tasks.sources.csv_files import CsvReader
from tasks.sources.files import File
from tasks.sources.json_lines import JsonReader

__all__ = ["Batch", "Reader", "open_file"]


def open_file(file: File, source: Source) -> Reader:
    """Return the reader for a file."""
    return _READERS[file.format](file, source)


_READERS: dict[str, Callable[[File, Source], Reader]] = {
    "csv": CsvReader,
    "json": JsonReader,
    "parquet": ParquetReader,
    "arrow": ArrowReader,
}
