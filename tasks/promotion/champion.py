"""The champion on the present rows: what it predicts of them, or why it cannot be compared."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from schemas.errors import DataError, UnloadableError
from schemas.stages import Input
from tasks.bundle import Bundle
from tasks.encoders.base import Array
from tasks.metrics import Scored
from tasks.tables import read_batches
from tasks.typed_rows import typed_schema


@dataclass(frozen=True)
class Champion:
    """The champion's predictions of the test rows, or why there are none."""

    version: str
    """Its number in the registry, as far as it is known."""
    scored: Scored | None = None
    """Its predictions, beside the same truth as the challenger's."""
    why_not: str = ""
    """Why it cannot be compared."""
    missing: tuple[str, ...] = ()
    """Columns that it knows and that the present rows do not have: it was scored as if each value were missing."""


def score(source: Input, challenger: Bundle, rows: Path, test: Scored, *, version: str) -> Champion:
    """Return what the champion in a directory predicts of a file's rows, of which `test` holds the truth.

    Classes and labels that it does not know get no chance from it; columns that are gone count as missing values.
    Raises ResourceError when its files are not those that were registered.
    """
    champion = Bundle(source)
    if why_not := _stranger(champion, challenger):
        return Champion(version, why_not=why_not)
    missing: dict[str, None] = {}
    try:
        said = [champion.predict(batch) for batch in _readable(champion, rows, missing)]
    except UnloadableError as error:
        return Champion(version, why_not=f"it does not load ({error})")
    except (DataError, KeyError, ValueError, pa.ArrowException) as error:  # Arrow's own are ValueErrors, but not all
        return Champion(version, why_not=f"it cannot read the present rows ({error})")
    predicted = _aligned(np.concatenate(said), champion.outputs, test.names)
    return Champion(version, dataclasses.replace(test, predicted=predicted), missing=tuple(missing))


def _stranger(champion: Bundle, challenger: Bundle) -> str:
    """Say what else the champion predicts than the challenger; nothing where the same question is answered."""
    ours, theirs = challenger.contract, champion.contract
    if theirs.problem != ours.problem:
        return f"it answers problem {theirs.problem}, not {ours.problem}"
    if theirs.target.names != ours.target.names:
        return f"it predicts {', '.join(theirs.target.names)}, not {', '.join(ours.target.names)}"
    if gone := [each for each in champion.outputs if each not in challenger.outputs]:
        return f"it predicts {', '.join(gone)} too, which the present training rows do not have"
    return ""


def _readable(champion: Bundle, rows: Path, missing: dict[str, None]) -> Iterator[pa.Table]:
    """Yield batches with all columns that the champion reads; those that are not there are noted, and empty."""
    wanted = typed_schema(champion.contract, with_target=False)
    for batch in read_batches(rows):
        readable = batch
        for name in champion.contract.columns:
            field = wanted.field(name)
            if name not in batch.column_names:
                missing[name] = None
                readable = readable.append_column(field, pa.nulls(batch.num_rows, field.type))
            elif batch.schema.field(name).type != field.type:
                raise DataError(f"column {name!r} holds {batch.schema.field(name).type} now, and was {field.type}")
        yield readable


def _aligned(predicted: Array, theirs: tuple[str, ...], ours: tuple[str, ...]) -> Array:
    """Return predictions, shape (n, len(theirs)), in the order of our outputs; 0 for those that they do not know."""
    if theirs == ours:
        return predicted
    aligned = np.zeros((len(predicted), len(ours)), predicted.dtype)
    aligned[:, [ours.index(each) for each in theirs]] = predicted
    return aligned
