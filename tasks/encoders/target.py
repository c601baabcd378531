"""Targets: to what the loss compares with, and back from what the network says to numbers and labels."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ConfigDict, Discriminator, ValidationError

from schemas.contract import ROW, Contract
from schemas.data import REGRESSION
from schemas.document import Record
from schemas.errors import DataError
from tasks.encoders.base import TOO_LARGE, Array, Floats, refuse_overflow
from tasks.moments import Moments
from tasks.tables import single_array


class NumberTarget(Record):
    """One or more numbers, standardised for the network."""

    model_config = ConfigDict(allow_inf_nan=False)

    kind: Literal["numbers"] = "numbers"
    names: tuple[str, ...]
    """The target's columns."""
    centers: tuple[float, ...]
    """What is subtracted from each."""
    scales: tuple[float, ...]
    """What each is divided by."""

    @property
    def units(self) -> int:
        """Units of the network's output layer."""
        return len(self.names)

    @property
    def outputs(self) -> tuple[str, ...]:
        """What each unit says."""
        return self.names

    def encode(self, rows: pa.Table) -> Floats:
        """Return float32 of shape (n, units): what the network learns. Raises DataError for what does not fit it."""
        with np.errstate(over="ignore"):
            encoded = ((self.truth(rows) - np.array(self.centers)) / np.array(self.scales)).astype(np.float32)
        for name, values in zip(self.names, encoded.T, strict=True):
            why = f"{TOO_LARGE}; learn its logarithm, or take such rows out"
            refuse_overflow(values, rows, what=f"target {name!r}", why=why)
        return encoded

    def truth(self, rows: pa.Table) -> Array:
        """Return the target in its own units: float64 of shape (n, units)."""
        return np.column_stack([rows.column(name).to_numpy() for name in self.names])

    def decode(self, outputs: Floats) -> Array:
        """Return the network's outputs, shape (n, units), in the target's own units: float64 of the same shape."""
        return outputs.astype(np.float64) * np.array(self.scales) + np.array(self.centers)

    def columns(self, decoded: Array) -> dict[str, pa.Array]:
        """Return decoded outputs as named columns: `prediction`, or `prediction_NAME` for several targets."""
        names = ["prediction"] if self.units == 1 else [f"prediction_{name}" for name in self.names]
        return {name: pa.array(decoded[:, index]) for index, name in enumerate(names)}


class LabelTarget(Record):
    """One label a row, out of two or more."""

    kind: Literal["label"] = "label"
    names: tuple[str, ...]
    """The target's column, or the one-hot columns, which are the classes then."""
    classes: tuple[str, ...]
    """The labels in the order of their codes; of two, the second is the positive one."""
    binary: bool
    """Whether one sigmoid says the probability of the second class; otherwise a softmax says all."""

    @property
    def units(self) -> int:
        """Units of the network's output layer."""
        return 1 if self.binary else len(self.classes)

    @property
    def outputs(self) -> tuple[str, ...]:
        """What each unit says."""
        return self.classes[-1:] if self.binary else self.classes

    def encode(self, rows: pa.Table) -> Array:
        """Return what the network learns: int32 codes of shape (n,); float32 of shape (n, 1) for two classes."""
        codes = self.truth(rows)
        return codes.astype(np.float32)[:, None] if self.binary else codes

    def truth(self, rows: pa.Table) -> Array:
        """Return codes, int32 of shape (n,); raises DataError for a label that training has not seen.

        One-hot columns must hold a single 1 a row, or a DataError names the first row that does not.
        """
        if len(self.names) > 1:
            return _one_hot_codes(rows, self.names)
        labels = single_array(rows.column(self.names[0]))
        codes = pc.index_in(labels, value_set=pa.array(self.classes))
        if codes.null_count:
            strange = pc.value_counts(labels.filter(pc.is_null(codes))).to_pylist()
            said = ", ".join(f"{entry['values']!r} ({entry['counts']} rows)" for entry in strange[:5])
            raise DataError(
                f"target {self.names[0]!r} has a class that is not in the training split: {said}; "
                "split by hash, or list target.classes to reject it"
            )
        return codes.to_numpy().astype(np.int32)

    def decode(self, outputs: Floats) -> Array:
        """Return probabilities, float64 of shape (n, classes)."""
        outputs = outputs.astype(np.float64)
        return np.column_stack([1 - outputs[:, 0], outputs[:, 0]]) if self.binary else outputs

    def labels(self, codes: Array) -> pa.Array:
        """Return the labels of codes: integers where all labels are integers, else text."""
        if all(is_integer(name) for name in self.classes):
            return pa.array(np.array([int(name) for name in self.classes])[codes])
        return pa.array(self.classes, pa.string()).take(pa.array(codes))

    def columns(self, decoded: Array) -> dict[str, pa.Array]:
        """Return `prediction` (the label) and `probability` of the positive one, or `probability_LABEL` of each."""
        prediction = {"prediction": self.labels(decoded.argmax(axis=1))}
        if self.binary:
            return prediction | {"probability": pa.array(decoded[:, 1])}
        return prediction | {f"probability_{name}": pa.array(decoded[:, at]) for at, name in enumerate(self.classes)}


class LabelsTarget(Record):
    """Any number of labels a row: several 0/1 columns, or one column with lists."""

    kind: Literal["labels"] = "labels"
    names: tuple[str, ...]
    """The target's columns."""
    classes: tuple[str, ...]
    """The labels in the order of the outputs."""

    @property
    def units(self) -> int:
        """Units of the network's output layer."""
        return len(self.classes)

    @property
    def outputs(self) -> tuple[str, ...]:
        """What each unit says."""
        return self.classes

    def encode(self, rows: pa.Table) -> Floats:
        """Return float32 zeros and ones of shape (n, labels)."""
        return self.truth(rows).astype(np.float32)

    def truth(self, rows: pa.Table) -> Array:
        """Return zeros and ones, int8 of shape (n, labels); raises DataError for a label training has not seen."""
        if len(self.names) > 1:
            return _indicators(rows, self.names).astype(np.int8)
        lists = pa.concat_arrays([rows.column(self.names[0]).combine_chunks()])
        codes = pc.index_in(lists.flatten(), value_set=pa.array(self.classes))
        if codes.null_count:
            strange = lists.flatten().filter(pc.is_null(codes)).unique().to_pylist()
            raise DataError(f"target {self.names[0]!r} has labels that are not in the training split: {strange[:5]}")
        encoded = np.zeros((len(lists), self.units), np.int8)
        encoded[pc.list_parent_indices(lists).to_numpy(), codes.to_numpy()] = 1
        return encoded

    def decode(self, outputs: Floats) -> Array:
        """Return probabilities, float64 of shape (n, labels)."""
        return outputs.astype(np.float64)

    def columns(self, decoded: Array) -> dict[str, pa.Array]:
        """Return `prediction_LABEL` (0 or 1) and `probability_LABEL` for each label."""
        chosen = (decoded >= 0.5).astype(np.int8)
        said = {f"prediction_{name}": pa.array(chosen[:, at]) for at, name in enumerate(self.classes)}
        return said | {f"probability_{name}": pa.array(decoded[:, at]) for at, name in enumerate(self.classes)}


FittedTarget = Annotated[NumberTarget | LabelTarget | LabelsTarget, Discriminator("kind")]


def predicted(target: FittedTarget) -> tuple[str, ...]:
    """Return the names of what is predicted: columns of numbers, classes or labels."""
    return target.names if target.kind == "numbers" else target.classes


class TargetFitter:
    """Collects the training split's target: mean and deviation of numbers, or counts of labels."""

    def __init__(self, contract: Contract) -> None:
        """Start with no rows."""
        self._contract = contract
        self._moments = [Moments() for _ in contract.target.names]
        self._counts: Counter[str] = Counter()

    def observe(self, rows: pa.Table) -> None:
        """Take a batch of training rows."""
        for name, moments in zip(self._contract.target.names, self._moments, strict=True):
            values = single_array(rows.column(name))
            if self._contract.problem in REGRESSION:
                moments.add(values.to_numpy())
            elif self._contract.target.columns:
                self._counts[name] += int(values.to_numpy().sum())
            else:
                counts = pc.value_counts(values.flatten() if self._contract.labels_in_lists else values)
                self._counts.update(dict(zip(counts.field(0).to_pylist(), counts.field(1).to_pylist(), strict=True)))

    def fitted(self) -> NumberTarget | LabelTarget | LabelsTarget:
        """Return the encoder of the problem's target; raises DataError when there is nothing to tell apart."""
        contract, names = self._contract, self._contract.target.names
        if contract.problem in REGRESSION:
            return self._numbers()
        classes = self._classes()
        if contract.problem == "multilabel":
            return LabelsTarget(names=names, classes=classes)
        return LabelTarget(names=names, classes=classes, binary=contract.problem == "binary")

    def _numbers(self) -> NumberTarget:
        target = self._contract.target
        scaled = target.scale == "standard"
        try:
            return NumberTarget(
                names=target.names,
                centers=tuple(each.mean if scaled else 0.0 for each in self._moments),
                scales=tuple(each.scale if scaled else 1.0 for each in self._moments),
            )
        except ValidationError as error:  # mean or deviation are not finite
            names = ", ".join(target.names)
            raise DataError(f"target {names} holds numbers too large for its mean and deviation") from error

    def _classes(self) -> tuple[str, ...]:
        target, counts = self._contract.target, self._counts
        classes = target.columns or target.classes or _sorted(counts)
        said = ", ".join(f"{name!r} ({counts[name]} rows)" for name in classes[:10])
        if absent := [name for name in classes if not counts[name]]:
            raise DataError(f"class {absent[0]!r} of the target is not in the training split, which has {said}")
        if not classes or (len(classes) < 2 and not self._contract.labels_in_lists):
            raise DataError(f"the target has fewer than two classes in the training split: {said or 'none'}")
        if target.positive is not None:
            classes = (*(name for name in classes if name != target.positive), target.positive)
        return classes


def _indicators(rows: pa.Table, names: Sequence[str]) -> Array:
    return np.column_stack([rows.column(name).to_numpy() for name in names])


def _one_hot_codes(rows: pa.Table, names: Sequence[str]) -> Array:
    indicators = _indicators(rows, names)
    wrong = indicators.sum(axis=1) != 1
    if wrong.any():
        row, ones = rows.column(ROW)[int(wrong.argmax())], indicators[wrong.argmax()].sum()
        raise DataError(
            f"target columns {', '.join(names)}: row {row} has {ones:g} ones (rows like it here: {wrong.sum():,}), but "
            "problem multiclass wants one; where a row may have several labels, use multilabel"
        )
    return indicators.argmax(axis=1).astype(np.int32)


def _sorted(names: Counter[str]) -> tuple[str, ...]:
    """Sort integers by their value, other labels by their text."""
    key: Any = int if all(is_integer(name) for name in names) else None
    return tuple(sorted(names, key=key))


def is_integer(label: str) -> bool:
    """Say whether a label is an int64 as it is usually written: 7 or -12, not 07."""
    return re.fullmatch(r"0|-?[1-9][0-9]{0,17}", label) is not None
