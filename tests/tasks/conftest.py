"""What the tests of ingest share."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.errors import DataError
from schemas.stages import IngestRequest, IngestResult
from tasks import ingest
from tasks.splits import SPLITS


@pytest.fixture
def ingested() -> Callable[[IngestRequest], tuple[IngestResult, pa.Table, list[str]]]:
    """Ingest; return the result, the accepted rows in their order with their split, and the reasons of the rejected."""

    def run(request: IngestRequest) -> tuple[IngestResult, pa.Table, list[str]]:
        result = ingest.run(request)
        tables = []
        for split in SPLITS:
            table = pq.read_table(Path(result.path, "rows", f"{split}.parquet"))
            assert table.num_rows == getattr(result.rows, split)
            tables.append(table.append_column("split", pa.repeat(split, table.num_rows)))
        rejected = pq.read_table(Path(result.path, "rejected.parquet"))
        rows = pa.concat_tables(tables).sort_by("_row")
        assert result.rows.read == result.rows.accepted + result.rows.rejected
        assert (rows.num_rows, rejected.num_rows) == (result.rows.accepted, result.rows.rejected)
        return result, rows, rejected.column("reasons").to_pylist()

    return run


@pytest.fixture
def refused() -> Callable[..., str]:
    """Ingest what must be refused for bad data; return the message. Nothing may be published, and no scratch left."""

    def run(request: IngestRequest) -> str:
        before = {*Path(request.workspace).glob("ingest/*")}
        with pytest.raises(DataError) as error:
            ingest.run(request)
        assert {*Path(request.workspace).glob("ingest/*")} == before
        return str(error.value)

    return run
