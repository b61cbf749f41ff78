"""How much effort an approximate index needs for a wanted recall."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from embcompress.codes import Codes
    from embcompress.index.hamming import HammingIndex

__all__ = ["Trial", "Tuning", "tune"]

#: What can be tuned, by kind of index.
_EFFORTS = {"ivf": "n_probe", "hnsw": "ef_search"}


@dataclass(frozen=True)
class Trial:
    """One effort, and what it gave."""

    effort: int
    recall: float
    """Share of the `k` nearest codes that were found."""
    microseconds: float
    """Wall time per query, all queries at once."""


@dataclass(frozen=True)
class Tuning:
    """The effort that was chosen, and all that were tried, in order of effort."""

    name: str
    """``"n_probe"`` or ``"ef_search"``."""
    chosen: Trial
    trials: tuple[Trial, ...]

    def __str__(self) -> str:
        lines = [f"{self.name:>10}  recall  µs/query"]
        for trial in self.trials:
            mark = "  <- chosen" if trial is self.chosen else ""
            lines.append(
                f"{trial.effort:>10}  {trial.recall:6.4f}  {trial.microseconds:8.1f}{mark}"
            )
        return "\n".join(lines)


def tune(
    index: HammingIndex, queries: Codes, nearest: npt.NDArray[np.int32], recall: float
) -> Tuning:
    """Find the least effort with a recall, and set it; see :meth:`HammingIndex.tune`.

    Parameters
    ----------
    index : HammingIndex
    queries : ndarray of uint8
    nearest : ndarray of int32, shape (n_queries, k)
        Distances of the codes that are nearest.
    recall : float
    """
    name = _EFFORTS[index.kind]
    k = nearest.shape[1]
    least = k if name == "ef_search" else 1
    most = max(least, len(index) if name == "ef_search" else index.n_lists or 1)
    trials: dict[int, Trial] = {}

    def enough(effort: int) -> bool:
        if effort not in trials:
            setattr(index, name, effort)
            start = time.perf_counter()
            distances, _ = index.search(queries, k)
            seconds = time.perf_counter() - start
            # of codes at the last distance any is as good as another
            found = float((distances <= nearest[:, -1:]).mean())
            trials[effort] = Trial(effort, found, 1e6 * seconds / len(queries))
        return trials[effort].recall >= recall

    low, high = least - 1, least
    while not enough(high) and high < most:
        low, high = high, min(2 * high, most)
    if enough(high):
        while high - low > max(1, high // 16):
            middle = (low + high) // 2
            low, high = (low, middle) if enough(middle) else (middle, high)
    else:
        warnings.warn(
            f"recall {recall} was not reached: {trials[high].recall:.4f} at {name}={high}, which "
            f"is the most there is; build the {index.kind!r} index with more links or lists",
            stacklevel=3,
        )
    setattr(index, name, high)
    return Tuning(name, trials[high], tuple(trials[effort] for effort in sorted(trials)))
