"""Scores, means of scores and differences of scores, each with its interval."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

__all__ = ["Difference", "Mean", "Result", "Statistic"]

Outcomes = npt.NDArray[np.float64]
Weights = npt.NDArray[np.float64]
Statistic = Callable[[Outcomes, Weights], npt.NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Result:
    """One score with its 95 % interval, and all that is needed to compare it.

    Attributes
    ----------
    task, dataset, metric : str
        What was measured; results are comparable where all three agree.
    space : str
        Name of the space that was measured.
    value, low, high : float or None
        The score and its percentile bootstrap interval; None where the set was skipped.
    n_items : int
        Items of the data set.
    n_covered : int
        Items whose words are all in the vocabulary.
    outcomes : ndarray of float64, shape (n_used, c)
        What each used item contributes.
    items : ndarray of int64, shape (n_used,)
        Which items these are, for pairing.
    statistic : callable
        ``(outcomes (n, c), weights (b, n)) -> values (b,)``; a weight says how often an item was
        drawn.
    note : str
        Why the set was skipped, or a remark.
    details : dict of str to float
        Scores of parts, such as the sections of an analogy set, and counts.
    """

    task: str
    dataset: str
    metric: str
    space: str
    value: float | None
    low: float | None
    high: float | None
    n_items: int
    n_covered: int
    outcomes: Outcomes = field(repr=False)
    items: npt.NDArray[np.int64] = field(repr=False)
    statistic: Statistic = field(repr=False)
    note: str = ""
    details: dict[str, float] = field(default_factory=dict, repr=False)

    @property
    def skipped(self) -> bool:
        """Whether there is no score; `note` then has the reason."""
        return self.value is None

    @property
    def key(self) -> tuple[str, str, str]:
        """Task, data set and metric."""
        return self.task, self.dataset, self.metric

    def __str__(self) -> str:
        head = f"{self.task} {self.dataset}, {self.metric}, {self.space}"
        covered = f"{self.n_covered} of {self.n_items} covered"
        if self.value is None:
            return f"{head}: skipped ({self.note})"
        return f"{head}: {self.value:.3f} [{self.low:.3f}, {self.high:.3f}], {covered}"

    def to_row(self) -> dict[str, str | int | float | bool | None]:
        """Plain values for a table, without the outcomes.

        Returns
        -------
        dict
            None, not NaN, where there is no score.
        """
        return {
            "task": self.task,
            "dataset": self.dataset,
            "metric": self.metric,
            "space": self.space,
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "n_items": self.n_items,
            "n_covered": self.n_covered,
            "skipped": self.skipped,
            "note": self.note,
        }


@dataclass(frozen=True)
class Mean:
    """Mean of scores over data sets.

    Attributes
    ----------
    value, low, high : float or None
        None where every set was skipped.
    n_sets : int
        Data sets that count.
    datasets : tuple of str
        Their names.
    """

    value: float | None
    low: float | None
    high: float | None
    n_sets: int
    datasets: tuple[str, ...]


@dataclass(frozen=True)
class Difference:
    """Difference of scores on the items that both sides cover.

    Attributes
    ----------
    value, low, high : float or None
        Score minus reference and its interval; None where nothing is in common.
    reference : float or None
        Score of the reference on the common items.
    n_items : int
        Common items, of all sets together.
    n_sets : int
        Data sets that count.
    """

    value: float | None
    low: float | None
    high: float | None
    reference: float | None
    n_items: int
    n_sets: int

    @property
    def retention(self) -> float | None:
        """Score divided by the reference; None where that is not above 0."""
        if self.value is None or self.reference is None or self.reference <= 0:
            return None
        return (self.reference + self.value) / self.reference
