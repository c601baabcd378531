"""Encoded rows as Parquet: named columns on disk, matrices in memory."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.encoders.base import Array
from tasks.encoders.table import NUMBERS, TARGET, Slot, TableEncoder
from tasks.tables import outline, read_batches, read_table

WEIGHT = "_weight"
_VALUES_AT_ONCE = 1 << 22
ALIGNED_BYTES = 64
"""What the address of an array is a multiple of, for TensorFlow to take it as it is."""


def schema(encoder: TableEncoder, *, weighted: bool, encoder_digest: str) -> pa.Schema:
    """Return the Arrow schema of encoded rows; its metadata carries the encoder's digest."""
    fields = [field for slot in encoder.slots for field in _fields(slot)]
    fields += [(name, _target_type(encoder)) for name in _target_names(encoder)]
    fields += [(WEIGHT, pa.float32())] if weighted else []
    return pa.schema(fields, metadata={"evermodel.encoder": encoder_digest})


def _fields(slot: Slot) -> list[tuple[str, pa.DataType]]:
    if slot.name == NUMBERS:
        return [(name, pa.float32()) for name in slot.columns]
    if slot.cardinality is not None:
        return [(slot.columns[0], pa.int32())]
    return [(slot.columns[0], pa.list_(pa.float32(), int(np.prod(slot.shape))))]


def _target_type(encoder: TableEncoder) -> pa.DataType:
    return pa.int32() if encoder.target.kind == "label" and not encoder.target.binary else pa.float32()


def _target_names(encoder: TableEncoder) -> list[str]:
    width = 1 if encoder.target.kind == "label" else encoder.target.units
    return [f"{TARGET}{index}" for index in range(width)]


def to_table(inputs: Mapping[str, Array], target: Array, weight: Array | None, *, layout: pa.Schema) -> pa.Table:
    """Return encoded rows as a table of the layout that `schema` gives."""
    columns = []
    for name, values in inputs.items():
        if name == NUMBERS:
            columns += [pa.array(values[:, index]) for index in range(values.shape[1])]
        elif values.ndim == 1:
            columns.append(pa.array(values))
        else:
            size = layout.field(len(columns)).type.list_size
            columns.append(pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), size))
    matrix = target.reshape(len(target), -1)
    columns += [pa.array(matrix[:, index]) for index in range(matrix.shape[1])]
    columns += [] if weight is None else [pa.array(weight)]
    return pa.table(columns, schema=layout)


def size_bytes(path: Path, encoder: TableEncoder, *, one_hot: bool = False) -> int:
    """Return how many bytes a split's inputs take in memory, and its target, if that is to be one-hot."""
    numbers = encoder.width + (encoder.target.units if one_hot else 0)
    return outline(path)[0] * 4 * numbers


def read(
    path: Path, encoder: TableEncoder, *, disk: Path | None = None
) -> tuple[dict[str, Array], Array, Array | None]:
    """Return a split's inputs by name, its target and its weights, as the network takes them.

    Inputs have shape (n, *slot.shape), float32 or int32 codes; with `disk`, a directory, they are mapped from files
    there. The target is int32 codes of shape (n,) for several classes, else float32 of shape (n, units); weights are
    float32 of shape (n,) or None.
    """
    inputs = _in_memory(path, encoder) if disk is None else _mapped(path, encoder, disk)
    weights = [WEIGHT] if WEIGHT in outline(path)[1] else []
    table = read_table(path, columns=[*_target_names(encoder), *weights])
    target = np.column_stack([table.column(name).to_numpy() for name in _target_names(encoder)])
    if pa.types.is_integer(_target_type(encoder)):
        target = target[:, 0]
    weight = table.column(WEIGHT).to_numpy() if WEIGHT in table.column_names else None
    return inputs, target, weight


def _in_memory(path: Path, encoder: TableEncoder) -> dict[str, Array]:
    """Return inputs as arrays, filled batch by batch: all columns of some rows at a time stay in the cache."""
    rows, at = outline(path)[0], 0
    inputs = {slot.name: aligned((rows, *slot.shape), _dtype(slot)) for slot in encoder.slots}
    for batch in read_batches(path):
        for slot in encoder.slots:
            _fill(inputs[slot.name][at : at + batch.num_rows], batch, slot)
        at += batch.num_rows
    return inputs


def _mapped(path: Path, encoder: TableEncoder, disk: Path) -> dict[str, Array]:
    """Return inputs as arrays that are mapped from files, one an input, row after row."""
    files = {slot: disk / f"{path.stem}.{index}" for index, slot in enumerate(encoder.slots)}
    with contextlib.ExitStack() as opened:
        handles = {slot: opened.enter_context(file.open("wb")) for slot, file in files.items()}
        for batch in read_batches(path):
            for slot, handle in handles.items():
                handle.write(np.ascontiguousarray(_matrix(batch, slot)).data)
    rows, _ = outline(path)
    return {slot.name: mapped(file, _dtype(slot), (rows, *slot.shape)) for slot, file in files.items()}


def one_hot(codes: Array, classes: int, *, file: Path | None = None) -> Array:
    """Return float32 zeros and ones of shape (n, classes); with `file`, mapped from it."""
    if file is None:
        encoded = np.zeros((len(codes), classes), np.float32)
        encoded[np.arange(len(codes)), codes] = 1
        return encoded
    at_once = max(1, _VALUES_AT_ONCE // classes)
    with file.open("wb") as out:
        for start in range(0, len(codes), at_once):
            out.write(one_hot(codes[start : start + at_once], classes).data)
    return mapped(file, "f4", (len(codes), classes))


def mapped(file: Path, dtype: Any, shape: tuple[int, ...]) -> Array:
    """Return a raw file as an array, and take its name away: the disk has its room again when the array goes."""
    values = np.memmap(file, dtype, "r", shape=shape)
    file.unlink()
    return values


def aligned(shape: tuple[int, ...], dtype: Any) -> Array:
    """Return an array, not filled, that TensorFlow takes without a copy on a CPU: it begins where that wants it to."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    room = np.empty(size + ALIGNED_BYTES, np.uint8)
    start = -room.ctypes.data % ALIGNED_BYTES
    return room[start : start + size].view(dtype).reshape(shape)


def _dtype(slot: Slot) -> str:
    return "f4" if slot.cardinality is None else "i4"


def _matrix(table: pa.Table, slot: Slot) -> Array:
    matrix = np.empty((table.num_rows, *slot.shape), _dtype(slot))
    _fill(matrix, table, slot)
    return matrix


def _fill(matrix: Array, table: pa.Table, slot: Slot) -> None:
    """Put a slot's columns into a matrix, of shape (n, *slot.shape)."""
    if slot.name == NUMBERS:
        for index, name in enumerate(slot.columns):
            matrix[:, index] = table.column(name).to_numpy()
    elif slot.cardinality is not None:
        matrix[:] = table.column(slot.columns[0]).to_numpy()
    else:
        matrix[:] = table.column(slot.columns[0]).combine_chunks().flatten().to_numpy().reshape(matrix.shape)
