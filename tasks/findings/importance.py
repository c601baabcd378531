"""Permutation importance: how much worse the predictions get when a raw column is shuffled (Breiman, 2001).

The column goes shuffled through the bundle, encoder and all, so that what counts is the column as it comes and not one
of the numbers made of it.
See also https://scikit-learn.org/stable/modules/permutation_importance.html and its warning:
of columns that say the same, each alone seems to matter little.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from tasks import metrics
from tasks.bundle import Bundle
from tasks.findings.resampling import taken
from tasks.findings.selection import rows_at
from tasks.metrics import Scored

_MOST_ROWS, _FEWEST_ROWS = 2_000, 200
_MOST_PREDICTIONS = 400_000


@dataclass(frozen=True)
class ColumnImportance:
    """How much one column matters."""

    name: str
    losses: tuple[float, ...]
    """How much worse the deciding metric got, shuffle by shuffle; above 0 the column helps."""

    @property
    def mean(self) -> float:
        """The mean over the shuffles."""
        return float(np.mean(self.losses))


@dataclass(frozen=True)
class Importance:
    """How much the columns matter, the most important first."""

    columns: tuple[ColumnImportance, ...]
    rows: int
    """Test rows that were looked at, chosen at random."""


def find(
    bundle: Bundle,
    rows: Path,
    scored: Scored,
    *,
    metric: str,
    score: Callable[[Scored], float],
    repeats: int,
    seed: int,
) -> Importance | None:
    """Return the importance of the bundle's columns for a file's rows, which `scored` holds in the same order.

    None comes back where the metric is not defined on the rows that are looked at.
    """
    names = [column.name for column in bundle.encoder.columns]
    most = min(_MOST_ROWS, max(_FEWEST_ROWS, _MOST_PREDICTIONS // (repeats * len(names))))
    random = np.random.default_rng(seed)
    total = len(scored.truth)
    positions = np.sort(random.choice(total, most, replace=False)) if total > most else np.arange(total)
    sample, part = rows_at(rows, positions), taken(scored, positions)
    whole, sign = score(part), 1 if metrics.lower_is_better(metric) else -1
    if not math.isfinite(whole):
        return None
    orders = [random.permutation(len(positions)) for _ in range(repeats)]
    found = []
    for name in names:
        shuffled = bundle.predict(pa.concat_tables([_shuffled(sample, name, order) for order in orders]))
        each = (Scored(part.problem, part.names, part.truth, said, part.weight) for said in np.split(shuffled, repeats))
        found.append(ColumnImportance(name, tuple(sign * (score(one) - whole) for one in each)))
    return Importance(tuple(sorted(found, key=lambda column: -column.mean)), len(positions))


def _shuffled(rows: pa.Table, name: str, order: np.ndarray[tuple[int], np.dtype[np.int64]]) -> pa.Table:
    at = rows.column_names.index(name)
    return rows.set_column(at, rows.schema.field(at), rows.column(name).take(pa.array(order)))
