"""What a target's values must be for the network and the loss that the spec asks for."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from schemas import fits, misfits
from schemas.contract import Contract
from schemas.data import REGRESSION
from schemas.errors import DataError, SpecError
from schemas.named import Loss
from schemas.names import is_reference
from tasks.encoders.base import Array

if TYPE_CHECKING:
    from schemas.spec import Spec

_REACH = {"relu": (0, np.inf), "softplus": (0, np.inf), "sigmoid": (0, 1), "tanh": (-1, 1)}
"""What an output activation can say."""


def refuse_unreachable(target: Array, names: Sequence[str], activation: str | None, which: str) -> None:
    """Raise DataError when some `which` rows of a target, shape (n, outputs), lie where the activation cannot reach."""
    low, high = _REACH.get(activation or "", (-np.inf, np.inf))
    for name, values in zip(names, target.T, strict=False):
        if outside := int(((values < low) | (values > high)).sum()):
            raise DataError(
                f"target {name!r}: {outside:,} {which} rows lie outside {low:g} to {high:g}, which is all that "
                f"network.output_activation {activation} can say; take another one"
            )


def refuse_zeros(target: Array, names: Sequence[str], loss: Loss | None, which: str) -> None:
    """Raise DataError when some `which` rows of a target, shape (n, outputs), are 0 and the loss divides by them."""
    if loss is None or is_reference(loss.name) or not fits.divides_by_target(loss.name):
        return
    for name, values in zip(names, target.T, strict=False):
        if zeros := int((values == 0).sum()):
            raise DataError(
                f"target {name!r} is 0 in {zeros:,} {which} rows, and training.loss {loss.name} divides by it: take "
                "another loss, such as mean_absolute_error"
            )


def refuse_few_classes(contract: Contract, labels: Sequence[str]) -> None:
    """Raise DataError when a data set's labels are too few, too many for two classes, or not those of the spec."""
    name = ", ".join(contract.target.names[:5])
    if len(labels) < (1 if contract.problem == "multilabel" else 2):
        said = f"one class only, {labels[0]!r}" if labels else "no label at all"
        raise DataError(f"target {name!r} has {said}: there is nothing to learn")
    if contract.problem == "binary" and len(labels) > 2:
        raise DataError(
            f"target {name!r} has {len(labels)} classes ({', '.join(labels[:5])}...), but problem binary wants two; "
            "use multiclass or name two target.classes"
        )
    if contract.target.positive is not None and contract.target.positive not in labels:
        raise DataError(f"target.positive {contract.target.positive!r} is no label; there are {', '.join(labels)}")


def refuse_first_rows(spec: "Spec", rows: pa.Table, *, are_all: bool) -> None:
    """Raise DataError or SpecError for what the first typed rows of the data show that a run would be refused for.

    `are_all` says that there are no others, so that the classes are known.
    """
    target = spec.target
    if spec.problem in REGRESSION:
        values = np.column_stack([rows.column(name).to_numpy() for name in target.names])
        refuse_unreachable(values, target.names, spec.network.output_activation, "of the first")
        refuse_zeros(values, target.names, spec.training.loss, "of the first")
    elif are_all and target.column and spec.problem != "multilabel":
        labels = sorted(rows.column(target.column).unique().to_pylist())
        refuse_few_classes(Contract.of(spec), labels)
        refuse_for_classes(spec, tuple(labels))


def refuse_for_classes(spec: "Spec", classes: tuple[str, ...]) -> None:
    """Raise SpecError for what of a spec does not fit the classes or labels that the data has."""
    try:
        misfits.refuse_for_classes(spec, classes)
    except misfits.MisfitError as error:
        raise SpecError(str(error)) from error
