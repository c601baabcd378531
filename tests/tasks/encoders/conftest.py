"""Typed tables as ingest writes them, in memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from schemas.contract import Contract
from tasks.encoders.base import Fitted
from tasks.encoders.table import TableEncoder, fit
from tasks.typed_rows import typed_schema


@dataclass
class Typed:
    """Tables of one contract."""

    contract: Contract

    def rows(self, *, first: int = 0, **columns: Sequence[Any]) -> pa.Table:
        """A table with the columns given; a target that is not given is 0, 1, 2 and so on. Rows count from `first`."""
        count = len(next(iter(columns.values())))
        numbers = pa.array(range(first, first + count))
        schema = typed_schema(self.contract, with_target=True)
        given = {field.name: _array(columns.get(field.name, range(count)), field.type) for field in schema}
        return pa.table([given["_row"] if "_row" in columns else numbers, *list(given.values())[1:]], schema=schema)

    def fit(self, *batches: pa.Table, **columns: Sequence[Any]) -> TableEncoder:
        """The encoder fitted on batches, or on one batch of the columns given."""
        tables = batches or [self.rows(**columns)]
        return fit(self.contract, lambda: tables)


@dataclass
class OneColumn(Typed):
    """Tables with one feature column, x."""

    def array(self, values: Sequence[Any]) -> pa.Array:
        """Values as ingest types them."""
        return self.rows(x=values).column("x").combine_chunks()

    def fitted(self, *batches: Sequence[Any]) -> Fitted:
        """The column's encoder, fitted on batches of values."""
        starts = np.cumsum([0, *map(len, batches)])
        tables = [self.rows(x=values, first=int(first)) for values, first in zip(batches, starts, strict=False)]
        return self.fit(*tables).columns[0]


def _array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    return values if isinstance(values, pa.Array) else pa.array(values, kind)


def _contract(columns: dict[str, Any], problem: str, target: dict[str, Any], **keys: Any) -> Contract:
    return Contract.model_validate({"columns": columns, "problem": problem, "target": target} | keys)


@pytest.fixture
def typed():
    """Make tables of a contract: columns by name, and keys of the contract such as problem and target."""

    def make(columns: dict[str, Any], *, problem: str = "regression", target: Any = "y", **keys: Any) -> Typed:
        target = {"column": target} if isinstance(target, str) else target
        return Typed(_contract(columns, problem, target, **keys))

    return make


@pytest.fixture
def column():
    """Make tables with one feature column x of a kind, with the kind's own keys."""

    def make(kind: str, **keys: Any) -> OneColumn:
        return OneColumn(_contract({"x": {"kind": kind, **keys}}, "regression", {"column": "y"}))

    return make
