"""Too good to be true: a column that tells the target, which will not be known when predictions are made.

See Kaufman, Rosset and Perlich, Leakage in Data Mining (2011). Numbers are compared by their ranks, such that a column
that is a function of the target gives itself away whatever the function. Classes and labels are looked at together, as
one class that is easily told from the others is no leak; outputs of a regression each by itself.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import TextColumn
from schemas.data import REGRESSION
from schemas.promotion import Check
from tasks.bundle import Bundle
from tasks.encoders.base import Array
from tasks.metrics import Scored
from tasks.promotion.evidence import Evidence
from tasks.reports.formatting import percent
from tasks.tables import read_batches, single_array

_MOST_ROWS = 5_000
_LOOKED_AT = 200_000
_FEWEST_ROWS = 50  # below, a good column may tell all rows apart by chance
_LEAF = 0.005  # of the rows


def leakage(evidence: Evidence) -> Iterator[Check]:
    """Neither a single column nor the network explains more of the target than is believed."""
    policy, rows = evidence.policy.leakage, len(evidence.test.truth)
    if policy is None or rows < _FEWEST_ROWS:
        return
    if policy.column is not None:
        yield from _column(evidence, policy.column)
    if policy.model is not None:
        apart = evidence.test.problem in REGRESSION
        found = explained(_indicators(evidence.test), _predicted(evidence.test), apart=apart)
        yield Check(
            name="leakage model",
            passed=found <= policy.model,
            value=found,
            wanted=policy.model,
            sentence=f"the network explains {percent(found)} of the target on {rows:,} test rows"
            + ("" if found <= policy.model else ": look for a column that tells the answer (promotion.leakage)"),
        )


def _column(evidence: Evidence, most: float) -> Iterator[Check]:
    bundle, folder = evidence.bundle, evidence.ingested / "rows"
    seed = evidence.policy.seed
    train, test = (_sample(folder / f"{split}.parquet", seed=seed) for split in ("train", "test"))
    targets = _targets(bundle, train, test)
    kinds = {name: kind for name, kind in bundle.contract.columns.items() if not isinstance(kind, TextColumn)}
    names = [name for name in kinds if not pa.types.is_nested(train.schema.field(name).type)]
    apart = bundle.contract.problem in REGRESSION
    shares = {name: alone(train, test, name, *targets, apart=apart) for name in names}
    if not shares:  # tensors, texts and lists hold more than one thing to look at
        return
    name = max(shares, key=lambda each: shares[each])
    found = max(shares[name], 0.0)
    said = f"column {name!r} alone explains {percent(found)} of the target on {test.num_rows:,} test rows"
    remedy = ", as if it told the answer: take it out of columns if it is not known when predictions are made, else "
    yield Check(
        name="leakage column",
        passed=found <= most,
        value=found,
        wanted=most,
        sentence=said if found <= most else f"{said}{remedy}raise promotion.leakage.column",
    )


def alone(train: pa.Table, test: pa.Table, name: str, *targets: Array, apart: bool) -> float:
    """Return what share of a target a decision tree on one column explains on test rows; targets have shape (n, k).

    `apart` is as for `explained`.
    """
    from sklearn.tree import DecisionTreeRegressor

    seen, unseen = _codes(single_array(train.column(name)), single_array(test.column(name)))
    leaf = max(1, round(_LEAF * len(seen)))
    tree = DecisionTreeRegressor(min_samples_leaf=leaf, random_state=0).fit(seen, targets[0])
    return explained(targets[1], tree.predict(unseen).reshape(targets[1].shape), apart=apart)


def explained(truth: Array, said: Array, *, apart: bool) -> float:
    """Return the share of the variance that predictions explain, shapes (n, k).

    It is that of all k together, or with `apart` that of the one where it is largest.
    """
    spread = ((truth - truth.mean(axis=0)) ** 2).sum(axis=0)
    left = ((truth - said) ** 2).sum(axis=0)
    if not apart:
        spread, left = spread.sum(keepdims=True), left.sum(keepdims=True)
    shares = 1 - left[spread > 0] / spread[spread > 0]
    return float(shares.max(initial=0.0))


def _sample(path: Path, *, seed: int) -> pa.Table:
    """Return up to 5,000 rows, chosen at random from the first 200,000."""
    batches, rows = [], 0
    for batch in read_batches(path):
        batches.append(batch)
        rows += batch.num_rows
        if rows >= _LOOKED_AT:
            break
    table = pa.concat_tables(batches)
    if table.num_rows <= _MOST_ROWS:
        return table
    chosen = np.random.default_rng(seed).choice(table.num_rows, _MOST_ROWS, replace=False)
    return table.take(pa.array(np.sort(chosen)))


def _codes(train: pa.Array, test: pa.Array) -> tuple[Array, Array]:
    """Return a column's values as ranks among those of the training rows, shape (n, 1); missing ones come last."""
    if pa.types.is_string(train.type):
        known = pc.unique(train.drop_null())
        train, test = (pc.index_in(values, known) for values in (train, test))
    elif pa.types.is_timestamp(train.type):
        train, test = (values.cast(pa.int64()) for values in (train, test))
    seen, unseen = (
        values.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False) for values in (train, test)
    )
    known = np.unique(seen)
    return np.searchsorted(known, seen)[:, None], np.searchsorted(known, unseen)[:, None]


def _targets(bundle: Bundle, train: pa.Table, test: pa.Table) -> tuple[Array, Array]:
    """Return both targets as numbers of shape (n, k): ranks among the training rows, or zeros and ones."""
    seen, unseen = (bundle.encoder.target.truth(rows) for rows in (train, test))
    if bundle.contract.problem not in REGRESSION:
        return _one_hot(seen, len(bundle.outputs)), _one_hot(unseen, len(bundle.outputs))
    columns = [np.sort(column) for column in seen.T]
    ours, theirs = (
        np.column_stack(
            [np.searchsorted(ranks, column) / len(ranks) for ranks, column in zip(columns, rows.T, strict=True)]
        )
        for rows in (seen, unseen)
    )
    return ours, theirs


def _one_hot(truth: Array, classes: int) -> Array:
    return truth.astype(np.float64) if truth.ndim == 2 else np.eye(classes)[truth]


def _indicators(scored: Scored) -> Array:
    return _one_hot(scored.truth, len(scored.names))


def _predicted(scored: Scored) -> Array:
    return scored.predicted.reshape(len(scored.truth), -1)
