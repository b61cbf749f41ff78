"""Scores with bootstrap intervals, and paired differences between them.

A statistic is computed from outcomes, one row per item, and from weights, which say how often
each item was drawn: ``statistic(outcomes (n, c), weights (b, n)) -> values (b,)``. Resampling is
then arithmetic on a matrix of counts, and the same counts for two results make a paired test.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import numpy.typing as npt

from embcompress.evaluation.results import (
    Difference,
    Mean,
    Outcomes,
    Result,
    Statistic,
    Weights,
)

__all__ = [
    "compare",
    "mean_difference",
    "mean_outcome",
    "mean_result",
    "measure",
    "skip",
]

N_RESAMPLES = 1000
_PERCENTILES = (2.5, 97.5)
# Entries of one block of weights: 8 MB
_BLOCK = 2**20


def mean_outcome(outcomes: Outcomes, weights: Weights) -> npt.NDArray[np.float64]:
    """Weighted mean of the first column of outcomes.

    Parameters
    ----------
    outcomes : ndarray of shape (n, 1)
    weights : ndarray of shape (b, n)

    Returns
    -------
    ndarray of shape (b,)
    """
    return (weights @ outcomes[:, 0]) / weights.sum(axis=1)


@dataclass(frozen=True, eq=False)
class _Term:
    """One summand of what is resampled."""

    outcomes: Outcomes
    statistic: Statistic
    factor: float


def measure(
    key: tuple[str, str, str],
    space: str,
    outcomes: npt.ArrayLike,
    items: npt.ArrayLike,
    *,
    n_items: int,
    n_covered: int | None = None,
    statistic: Statistic = mean_outcome,
    note: str = "",
    details: dict[str, float] | None = None,
    n_resamples: int = N_RESAMPLES,
    random_state: int = 0,
) -> Result:
    """Compute a statistic of outcomes with its interval.

    Parameters
    ----------
    key : (str, str, str)
        Task, data set and metric.
    space : str
        Name of the space.
    outcomes : array-like of shape (n_used,) or (n_used, c)
        At least one row, finite.
    items : array-like of integers, shape (n_used,)
    n_items : int
    n_covered : int, optional
        By default the number of outcomes.
    statistic : callable, default the mean
    note, details
        As in :class:`Result`.
    n_resamples : int, default 1000
    random_state : int

    Returns
    -------
    Result
        The interval is widened to hold the value in the rare case that the percentiles miss it.

    Raises
    ------
    ValueError
        If the shapes do not agree, an outcome is not finite, or there is none.
    """
    table = np.asarray(outcomes, dtype=np.float64)
    table = table[:, None] if table.ndim == 1 else table
    ids = np.asarray(items, dtype=np.int64)
    if table.ndim != 2 or ids.shape != (len(table),) or not len(table):
        raise ValueError(f"outcomes of shape {table.shape} came with items of shape {ids.shape}")
    if not np.isfinite(table).all():
        raise ValueError(f"{key[1]}: outcomes hold NaN or infinity")
    terms = [_Term(table, statistic, 1.0)]
    value, low, high = _interval([terms], n_resamples, random_state)
    return Result(
        *key,
        space,
        value,
        low,
        high,
        n_items,
        len(table) if n_covered is None else n_covered,
        outcomes=table,
        items=ids,
        statistic=statistic,
        note=note,
        details=details or {},
    )


def skip(
    key: tuple[str, str, str],
    space: str,
    *,
    n_items: int,
    n_covered: int,
    reason: str | None = None,
) -> Result:
    """A result without a score.

    Parameters
    ----------
    key : (str, str, str)
        Task, data set and metric.
    space : str
    n_items, n_covered : int
    reason : str, optional
        By default that too few items are covered.

    Returns
    -------
    Result
    """
    reason = reason or f"{key[1]}: only {n_covered} of {n_items} items have all their words"
    return Result(
        *key,
        space,
        None,
        None,
        None,
        n_items,
        n_covered,
        outcomes=np.empty((0, 1)),
        items=np.empty(0, dtype=np.int64),
        statistic=mean_outcome,
        note=reason,
    )


def mean_result(
    results: Sequence[Result], *, n_resamples: int = N_RESAMPLES, random_state: int = 0
) -> Mean:
    """Mean over data sets (macro average), items resampled within each set.

    Several results of one set (other seeds of a method) are averaged first, on the items that
    all of them cover, and resampled together.

    Parameters
    ----------
    results : sequence of Result
        Skipped ones do not count.
    n_resamples : int, default 1000
    random_state : int

    Returns
    -------
    Mean
    """
    groups = _by_key(results)
    if not groups:
        return Mean(None, None, None, 0, ())
    terms = [_terms(group, [])[0] for group in groups.values()]
    value, low, high = _interval(terms, n_resamples, random_state)
    return Mean(value, low, high, len(groups), tuple(key[1] for key in groups))


def mean_difference(
    results: Sequence[Result],
    references: Sequence[Result],
    *,
    n_resamples: int = N_RESAMPLES,
    random_state: int = 0,
) -> Difference:
    """Mean over data sets of the paired difference to a reference.

    Parameters
    ----------
    results, references : sequence of Result
        Several results of one set are averaged. Sets that one side lacks or skipped do not count.
    n_resamples : int, default 1000
    random_state : int

    Returns
    -------
    Difference
    """
    ours, theirs = _by_key(results), _by_key(references)
    terms, levels, n_items = [], [], 0
    for key in ours:
        if key not in theirs:
            continue
        pair, common = _terms(ours[key], theirs[key])
        if not len(common):
            continue
        n_items += len(common)
        terms.append(pair)
        ones = np.ones((1, len(common)))
        levels.append(sum(-_value(term, ones) for term in pair if term.factor < 0))
    if not terms:
        return Difference(None, None, None, None, 0, 0)
    value, low, high = _interval(terms, n_resamples, random_state)
    return Difference(value, low, high, float(np.mean(levels)), n_items, len(terms))


def compare(
    result: Result,
    reference: Result,
    *,
    n_resamples: int = N_RESAMPLES,
    random_state: int = 0,
) -> Difference:
    """Paired bootstrap of the difference of two results of one data set.

    Parameters
    ----------
    result, reference : Result
    n_resamples : int, default 1000
    random_state : int

    Returns
    -------
    Difference
        Of the items that both cover. Without a value if there is none.

    Raises
    ------
    ValueError
        If the two are not of the same task, data set and metric.
    """
    if result.key != reference.key:
        raise ValueError(
            f"{' '.join(result.key)} cannot be compared with {' '.join(reference.key)}; "
            "task, data set and metric must agree"
        )
    return mean_difference(
        [result], [reference], n_resamples=n_resamples, random_state=random_state
    )


def _by_key(results: Sequence[Result]) -> dict[tuple[str, str, str], list[Result]]:
    groups: dict[tuple[str, str, str], list[Result]] = {}
    for result in results:
        if not result.skipped:
            groups.setdefault(result.key, []).append(result)
    return groups


def _terms(
    ours: Sequence[Result], theirs: Sequence[Result]
) -> tuple[list[_Term], npt.NDArray[np.int64]]:
    """Summands of (mean of ours - mean of theirs) on the items that all cover."""
    together = [*ours, *theirs]
    common = reduce(np.intersect1d, (result.items for result in together))
    factors = [1 / len(ours)] * len(ours) + [-1 / len(theirs) for _ in theirs]
    terms = []
    for result, factor in zip(together, factors, strict=True):
        order = np.argsort(result.items, kind="stable")
        chosen = order[np.searchsorted(result.items, common, sorter=order)]
        terms.append(_Term(result.outcomes[chosen], result.statistic, factor))
    return terms, common


def _value(term: _Term, weights: Weights) -> float:
    return term.factor * float(term.statistic(term.outcomes, weights)[0])


def _interval(
    groups: Sequence[Sequence[_Term]], n_resamples: int, random_state: int
) -> tuple[float, float, float]:
    """Mean over groups of the sum of their terms, and its percentile interval."""
    value, resampled = 0.0, np.zeros(n_resamples)
    for position, terms in enumerate(groups):
        n = len(terms[0].outcomes)
        value += sum(_value(term, np.ones((1, n))) for term in terms) / len(groups)
        random = np.random.default_rng([random_state, position])
        resampled += _resampled(terms, n, n_resamples, random) / len(groups)
    low, high = np.percentile(resampled, _PERCENTILES)
    return value, min(float(low), value), max(float(high), value)


def _resampled(
    terms: Sequence[_Term], n: int, n_resamples: int, random: np.random.Generator
) -> npt.NDArray[np.float64]:
    parts = []
    for weights in _draws(n, n_resamples, random):
        part = np.zeros(len(weights))
        for term in terms:
            part += term.factor * term.statistic(term.outcomes, weights)
        parts.append(part)
    return np.concatenate(parts)


def _draws(n: int, n_resamples: int, random: np.random.Generator) -> Iterator[Weights]:
    """How often each of n items is drawn in each resample, in blocks."""
    step = max(1, _BLOCK // n)
    for start in range(0, n_resamples, step):
        size = min(step, n_resamples - start)
        drawn = random.integers(0, n, size=(size, n))
        drawn += n * np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * n)
        yield counts.reshape(size, n).astype(np.float64)
