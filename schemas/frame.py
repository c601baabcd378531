"""The contract as a pandera schema: what a batch of typed rows must satisfy. Imports pandas; only stages use it."""

import pandera.pandas as pa
from pandera.api.checks import Check

from schemas.columns import CategoricalColumn, Column, NumericColumn
from schemas.contract import Contract

_LISTS = ("tensor", "multi_hot")


def frame_schema(contract: Contract, *, with_target: bool) -> pa.DataFrameSchema:
    """Return the schema of a typed batch: features, and the target's columns where they are asked for.

    Types are right by coercion already, so the schema looks at values: missing ones, ranges, sets. Columns in which
    anything goes do not appear, nor do tensors and lists, which are checked while they are coerced.
    """
    features = {name: _column(column) for name, column in contract.columns.items() if column.kind not in _LISTS}
    columns = {name: column for name, column in features.items() if column.checks or not column.nullable}
    if with_target and not contract.labels_in_lists:
        columns |= {name: _target(contract) for name in contract.target.names}
    return pa.DataFrameSchema(columns, unique_column_names=True)


def _column(column: Column) -> pa.Column:
    return pa.Column(checks=list(_checks(column)), nullable=not column.required)


def _checks(column: Column) -> list[Check]:
    checks = []
    if isinstance(column, NumericColumn):
        if column.minimum is not None:
            checks.append(Check.ge(column.minimum, error=f"is below the minimum {column.minimum:g}"))
        if column.maximum is not None:
            checks.append(Check.le(column.maximum, error=f"is above the maximum {column.maximum:g}"))
    if isinstance(column, CategoricalColumn) and column.categories is not None:
        checks.append(Check.isin(column.categories, error="is not among the categories"))
    return checks


def _target(contract: Contract) -> pa.Column:
    checks = []
    if contract.target.classes is not None:
        checks.append(Check.isin(contract.target.classes, error="is not among the classes"))
    return pa.Column(checks=checks, nullable=False)
