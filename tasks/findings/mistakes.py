"""The worst predicted test rows, with their values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import pyarrow as pa

from schemas.columns import Column, TensorColumn
from schemas.contract import KEY, ROW, Contract
from schemas.data import REGRESSION
from tasks.encoders.base import Array
from tasks.findings.selection import rows_at
from tasks.metrics import Scored

_SMALLEST = 4  # pixels of a side: a tensor with less is no picture
_FLOOR = 1e-7  # of a probability, as in Keras's cross-entropies


@dataclass(frozen=True)
class Mistake:
    """One badly predicted row."""

    row: int
    """Its number in the source, from 0."""
    key: tuple[str, ...]
    """The values of the key's columns."""
    truth: str | tuple[float, ...]
    """The class, the labels, or the numbers."""
    predicted: str | tuple[float, ...]
    """The same of the prediction."""
    error: float
    """What the rows are ranked by."""
    values: tuple[Any, ...]
    """The values of the feature columns but for tensors: numbers, booleans, texts, lists; times are texts."""
    pictures: tuple[Array | None, ...] = ()
    """The tensors that can be looked at: of shape (height, width), or with 3 colours behind."""


@dataclass(frozen=True)
class Mistakes:
    """The worst predicted rows, the worst first."""

    key: tuple[str, ...]
    columns: tuple[str, ...]
    """The most important first."""
    rows: tuple[Mistake, ...]
    pictures: tuple[str, ...] = ()
    """Columns of tensors that can be looked at."""


def find(rows: Path, scored: Scored, contract: Contract, names: Sequence[str], *, most: int) -> Mistakes:
    """Return the worst predicted of a file's rows, which `scored` holds in the same order; with some columns."""
    errors = row_errors(scored)
    worst = np.argsort(-errors, kind="stable")[:most]
    columns = tuple(name for name in names if contract.columns[name].kind != "tensor" and name not in contract.key)
    table = rows_at(rows, np.sort(worst)).take(pa.array(np.argsort(np.argsort(worst))))
    pictures = {name: column for name in names if _is_picture(column := contract.columns[name])}
    said = scored.predicted if scored.problem in REGRESSION else scored.decided
    found = zip(
        worst,
        table.column(ROW).to_pylist(),
        _tuples(table, [f"{KEY}{name}" for name in contract.key]),
        _tuples(table, columns),
        _pictures(table, pictures),
        strict=True,
    )
    return Mistakes(
        key=contract.key,
        columns=columns,
        rows=tuple(
            Mistake(
                row=row,
                key=key,
                truth=_said(scored, scored.truth, position),
                predicted=_said(scored, said, position),
                error=float(errors[position]),
                values=values,
                pictures=shown,
            )
            for position, row, key, values, shown in found
        ),
        pictures=tuple(pictures),
    )


def _is_picture(column: Column) -> TypeGuard[TensorColumn]:
    if not isinstance(column, TensorColumn):
        return False
    height, width, *colours = (*column.shape, 1)[:3] if len(column.shape) > 1 else (0, 0)
    return len(column.shape) in (2, 3) and min(height, width) >= _SMALLEST and colours in ([1], [3])


def _pictures(table: pa.Table, columns: Mapping[str, TensorColumn]) -> list[tuple[Array | None, ...]]:
    """Return the tensors of some columns row by row; None for a missing one."""
    if not columns:
        return [()] * table.num_rows
    read = []
    for name, column in columns.items():
        shape = [size for at, size in enumerate(column.shape) if at < 2 or size > 1]
        tensors = table.column(name).to_pylist()
        read.append([None if each is None else np.asarray(each, np.float64).reshape(shape) for each in tensors])
    return list(zip(*read, strict=True))


def _tuples(table: pa.Table, names: Sequence[str]) -> list[tuple[Any, ...]]:
    """Return the values of some columns row by row; times as texts, because Python's end with the year 9999."""
    columns = [table.column(name) for name in names]
    read = [_whole_seconds(column) if pa.types.is_temporal(column.type) else column for column in columns]
    return list(zip(*(column.to_pylist() for column in read), strict=True)) or [()] * table.num_rows


def _whole_seconds(times: pa.ChunkedArray) -> pa.ChunkedArray:
    return times.cast(pa.timestamp("s"), safe=False).cast(pa.string())


def row_errors(scored: Scored) -> Array:
    """Return how badly each row is predicted, float64 of shape (n,).

    Regression: the absolute error; of several outputs, the root of the mean squared errors, each over the deviation of
    its output. Classes and labels: the cross-entropy, for labels its mean.
    """
    truth, predicted = scored.truth, scored.predicted
    if scored.problem in REGRESSION:
        errors = np.abs(truth - predicted)
        if errors.shape[1] == 1:
            return errors[:, 0]
        deviations = truth.std(axis=0)
        return np.sqrt(np.mean((errors / np.where(deviations > 0, deviations, 1)) ** 2, axis=1))
    if scored.problem == "multilabel":
        return -np.log(np.maximum(np.where(truth == 1, predicted, 1 - predicted), _FLOOR)).mean(axis=1)
    return -np.log(np.maximum(predicted[np.arange(len(truth)), truth], _FLOOR))


def _said(scored: Scored, values: Array, position: int) -> str | tuple[float, ...]:
    value = values[position]
    if scored.problem in REGRESSION:
        return tuple(map(float, value))
    if scored.problem == "multilabel":
        return _labels(scored.names, value)
    return scored.names[int(value)]


def _labels(names: Sequence[str], ones: Array) -> str:
    return ", ".join(names[int(at)] for at in np.flatnonzero(ones)) or "(none)"
