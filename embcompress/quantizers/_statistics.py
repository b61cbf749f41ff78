"""What is kept of rows that pass by once: sums, and a sample that does not depend on chunks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import validate_data

from embcompress.quantizers._arrays import Array, namespace, take_rows, to_numpy
from embcompress.quantizers._rows import ArrayRows, Needs, Rows

__all__ = ["PartialFitMixin", "RunningStatistics"]

Keys = npt.NDArray[np.uint64]

# Learned attributes that partial_fit leaves in place: they do not change with more rows.
_KEPT = {"n_features_in_", "feature_names_in_", "n_bits_"}


class RunningStatistics:
    """Sums over rows that come once, and a fair sample of them.

    Every row has a key, a hash of its number and the seed, and the rows with the smallest keys
    are the sample: it is the same however the rows are cut into chunks.

    Parameters
    ----------
    needs : Needs
        With a limit.
    n_features : int
    seed : int
    """

    def __init__(self, needs: Needs, n_features: int, seed: int) -> None:
        assert needs.limit is not None, "rows that come once are sampled"
        self._sums = needs.sums(n_features)
        self._limit = needs.limit
        self._seed = seed
        self._rows: npt.NDArray | None = None
        self._keys: Keys = np.empty(0, dtype=np.uint64)

    def add(self, X: Array) -> None:
        """Add rows, an array of shape (m, n_features)."""
        keys = _hash(np.arange(self._sums.n, self._sums.n + X.shape[0]), self._seed)
        self._sums.add(X)
        if len(self._keys) == self._limit:  # most rows of a long stream lose at once
            winners = np.flatnonzero(keys < self._keys.max())
            X, keys = take_rows(X, winners), keys[winners]
        rows = to_numpy(X)
        self._rows = rows.copy() if self._rows is None else np.concatenate([self._rows, rows])
        self._keys = np.concatenate([self._keys, keys])
        if len(self._keys) > self._limit:
            stay = np.sort(np.argpartition(self._keys, self._limit)[: self._limit])
            self._rows, self._keys = self._rows[stay], self._keys[stay]

    def result(self) -> tuple[Any, Rows]:
        """The sums and the sample of the rows so far."""
        return self._sums, ArrayRows(self._rows)


def _hash(numbers: npt.NDArray[np.int64], seed: int) -> Keys:
    """Well-mixed 64 bits for each number (the finalizer of splitmix64)."""
    keys = numbers.astype(np.uint64) + np.uint64(seed * 0x9E3779B97F4A7C15 % (1 << 64))
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        keys = (keys ^ (keys >> np.uint64(shift))) * np.uint64(factor)
    return keys ^ (keys >> np.uint64(31))


class PartialFitMixin:
    """Fitting on rows that come in parts.

    A call adds to running sums and to the sample, which costs little. What follows from them,
    the rotation above all, is learned when it is first asked for.
    """

    _needs: Callable[[int, int], Needs]
    _validate_params: Callable[[], None]
    _asked_bits: Callable[[int], int]
    _finish: Callable[[Any, Rows, int, np.random.RandomState], None]

    def _check_parts(self) -> bool:
        """Raise AttributeError if the parameters ask for all rows at once."""
        return True

    @available_if(lambda self: self._check_parts())
    def partial_fit(self, X: npt.ArrayLike, y: Any = None) -> Any:
        """Learn from more rows, in addition to those of earlier calls.

        The first call after `fit`, or on a new quantizer, starts anew. The sample that rotations
        and levels are fitted on is drawn from all rows of all calls. While they are fewer than
        its size the result is that of :meth:`fit` on all of them at once.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If `X` is not a finite matrix, has another number of features than earlier ones, or
            if the parameters ask for all rows at once.
        """
        running: RunningStatistics | None = vars(self).get("_running")
        xp = namespace(X)
        checked = validate_data(self, X, dtype=[xp.float64, xp.float32], reset=running is None)
        if running is None:
            self._validate_params()
            running = self._start(checked.shape[1])
        running.add(checked)
        for name in [*vars(self)]:
            if name.endswith("_") and name not in _KEPT:
                delattr(self, name)
        self._running = running
        return self

    def _start(self, n_features: int) -> RunningStatistics:
        n_bits = self._asked_bits(n_features)
        needs = self._needs(n_features, n_bits)
        if needs.limit is None:
            raise ValueError(
                f"{type(self).__name__}(fit_samples=None) goes over all rows again and again, "
                "and these come once; use a number, or embcompress.scale.fit on files or arrays"
            )
        self.n_bits_ = n_bits
        return RunningStatistics(needs, n_features, self._hash_seed())

    def _hash_seed(self) -> int:
        # a generator of its own: the fit draws the same numbers as one on all rows at once
        state = check_random_state(getattr(self, "random_state", None)).get_state()
        random = np.random.RandomState()
        random.set_state(state)
        return int(random.randint(1 << 31))

    def __getattr__(self, name: str) -> Any:
        # called for missing attributes only: learned ones, until rows of partial_fit are used
        running = vars(self).get("_running")
        if running is None or not name.endswith("_") or name.startswith("_") or name in _KEPT:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        if "encoder_" not in vars(self):
            random = check_random_state(getattr(self, "random_state", None))
            sums, sample = running.result()
            self._finish(sums, sample, self.n_bits_, random)
        return object.__getattribute__(self, name)

    def __sklearn_is_fitted__(self) -> bool:
        return "encoder_" in vars(self) or "_running" in vars(self)
