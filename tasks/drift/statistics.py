"""Tests of one column, then and now: how likely chance makes the difference, and how large it is.

Each kind of marginal has one function in `DISTRIBUTIONS`, which takes two of the kind, the older first. All tests are
scipy's, on the marginals as samples.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats
from scipy.spatial import distance

from schemas.reference import Buckets, Categories, Numbers
from tasks.encoders.base import Array

_FEWEST = 10
"""Categories that fewer rows have, then and now together, share one cell of the chi-squared test."""


@dataclass(frozen=True)
class Difference:
    """What a test says of one thing about a column."""

    p_value: float
    effects: Mapping[str, float]


def numbers(old: Numbers, new: Numbers) -> Difference | None:
    """Compare two samples by Kolmogorov and Smirnov's test, and by Wasserstein's distance in old deviations."""
    before, after = np.repeat(old.values, old.counts), np.repeat(new.values, new.counts)
    if not len(before) or not len(after):
        return None
    found = stats.ks_2samp(before, after, method="asymp")
    effects = {"kolmogorov_smirnov": float(found.statistic)}
    if (deviation := before.std()) > 1e-12 * abs(before.mean()):
        effects["wasserstein"] = float(stats.wasserstein_distance(before, after) / deviation)
    return Difference(float(found.pvalue), effects)


def categories(old: Categories, new: Categories) -> Difference | None:
    """Compare two mixes of categories by Pearson's chi-squared test, and by Jensen and Shannon's distance."""
    names = list(dict.fromkeys((*old.values, *new.values)))
    before, after = dict(zip(old.values, old.counts, strict=True)), dict(zip(new.values, new.counts, strict=True))
    return _mixes(*(np.array([counts.get(name, 0) for name in names], np.int64) for counts in (before, after)))


def buckets(old: Buckets, new: Buckets) -> Difference | None:
    """Compare two mixes of hashed categories as `categories` does."""
    return _mixes(np.array(old.counts, np.int64), np.array(new.counts, np.int64))


DISTRIBUTIONS: Mapping[type[Any], Callable[[Any, Any], Difference | None]] = {
    Numbers: numbers,
    Categories: categories,
    Buckets: buckets,
}
"""How values of each kind are compared; a kind that is not here (times) is not."""


def _mixes(before: Array, after: Array) -> Difference | None:
    """Compare counts of the same categories, each of shape (n,); None where there are no counts."""
    if not before.sum() or not after.sum():
        return None
    both = np.stack([before, after])
    rare = both.sum(axis=0) < _FEWEST
    pooled = np.column_stack([both[:, ~rare], both[:, rare].sum(axis=1)])
    pooled = pooled[:, pooled.any(axis=0)]
    p_value = stats.chi2_contingency(pooled).pvalue if pooled.shape[1] > 1 else 1.0
    return Difference(float(p_value), {"jensen_shannon": float(distance.jensenshannon(before, after, base=2))})


def missing(old: Any, new: Any) -> Difference | None:
    """Compare the rates of missing values of any two marginals by Fisher's exact test; None where there are none."""
    if not (old.missing or new.missing) or not old.rows or not new.rows:
        return None
    return _rates("missing_rate", (old.missing, old.rows), (new.missing, new.rows), alternative="two-sided")


def unknown(old: Any, new: Any) -> Difference | None:
    """Compare the rate of categories that the reference has not seen with the rate that was to be expected.

    That is the share of categories which it has seen once (Good, 1953). None but for categories that are all known.
    """
    if not isinstance(old, Categories) or not isinstance(new, Categories) or not old.counts or not new.counts:
        return None
    seen = set(old.values)
    strange = sum(count for value, count in zip(new.values, new.counts, strict=True) if value not in seen)
    if not strange:
        return None
    once = sum(count == 1 for count in old.counts)
    return _rates("unknown_rate", (once, sum(old.counts)), (strange, sum(new.counts)), alternative="less")


def _rates(name: str, old: tuple[int, int], new: tuple[int, int], *, alternative: str) -> Difference:
    """Compare two rates, each a count out of a total; "less" asks whether the old one is the lower."""
    table = [[old[0], old[1] - old[0]], [new[0], new[1] - new[0]]]
    change = new[0] / new[1] - old[0] / old[1]
    return Difference(float(stats.fisher_exact(table, alternative=alternative).pvalue), {name: change})
