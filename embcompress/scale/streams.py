"""Rows of a source as what quantizers learn from: one pass for sums and sample, more on request."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from embcompress.progress import ProgressBar
from embcompress.quantizers._moments import MomentSums
from embcompress.quantizers._rows import ArrayRows, Needs, Rows, add_up
from embcompress.quantizers._statistics import RunningStatistics
from embcompress.scale.sources import Source, blocks

__all__ = ["Gathering", "OnceRows", "StreamRows"]

Floats = npt.NDArray[np.floating]
Function = Callable[[Any], Any]


class StreamRows(Rows):
    """Rows that are read again for every sum.

    Parameters
    ----------
    source : Source
        One that can be read again.
    functions : tuple of callable
        Applied to every block, one after the other.
    progress : bool
        Show progress bars.
    """

    def __init__(
        self, source: Source, functions: tuple[Function, ...] = (), *, progress: bool = False
    ) -> None:
        self._source = source
        self._functions = functions
        self._progress = progress
        self.dtype = source.dtype
        self.n_features = source.n_features
        if functions:  # what they make of a row tells the width
            self.n_features = self._apply(np.ones((2, source.n_features), source.dtype)).shape[1]

    @property
    def n(self) -> int:
        """Number of rows; counted in a pass of its own where the source does not know it."""
        if self._source.n_rows is None:
            n = sum(len(block) for block in self._read("Counting rows"))
            if not n:
                raise ValueError(f"{self._source.name}: there are no rows")
            self._source.n_rows = n
        return self._source.n_rows

    def map(self, function: Function) -> StreamRows:
        """Rows that a function makes of these, whenever they are read."""
        functions = (*self._functions, function)
        return StreamRows(self._source, functions, progress=self._progress)

    def total(self, function: Function) -> tuple[Any, ...]:
        """Sums over blocks, in one pass."""
        return add_up(function(block) for block in self._blocks("Summing up"))

    def take(self, positions: npt.NDArray[np.intp]) -> npt.NDArray:
        """Rows by number, in one pass that ends with the last of them."""
        order = np.argsort(positions, kind="stable")
        gathering = Gathering(positions[order])
        for block in self._blocks("Drawing rows"):
            gathering.add(block)
            if gathering.complete:
                break
        rows = gathering.rows()
        if not np.array_equal(order, np.arange(len(order))):
            rows = rows[np.argsort(order)]
        return rows

    def survey(self, needs: Needs, random: np.random.RandomState) -> tuple[MomentSums, Rows]:
        """Sums over all rows, and a sample of them: one pass if the number of rows is known."""
        positions = needs.positions(self.n, random)
        everything = positions is None and needs.limit is not None
        gathering = Gathering(np.arange(self.n) if everything else positions)
        sums = needs.sums(self.n_features)
        for block in self._blocks("Fitting"):
            sums.add(block)
            gathering.add(block)
        return sums, self if needs.limit is None else ArrayRows(gathering.rows())

    def _blocks(self, description: str) -> Iterator[Any]:
        for block in self._read(description):
            yield self._apply(block)

    def _read(self, description: str) -> Iterator[Floats]:
        with ProgressBar(
            description, self._source.n_rows, unit="rows", enabled=self._progress
        ) as bar:
            for block in blocks(self._source):
                yield block
                bar.advance(len(block))

    def _apply(self, block: Floats) -> Any:
        for function in self._functions:
            block = function(block)
        return block


class Gathering:
    """Rows with given ascending numbers, picked from blocks that pass by.

    Parameters
    ----------
    positions : ndarray of int, or None
        Numbers of the rows, ascending. None: no rows.
    """

    def __init__(self, positions: npt.NDArray[np.intp] | None) -> None:
        self._positions = np.empty(0, dtype=np.intp) if positions is None else positions
        self._rows: npt.NDArray | None = None
        self._n_found = self._n_seen = 0

    @property
    def complete(self) -> bool:
        """Whether all rows have passed by."""
        return self._n_found == len(self._positions)

    def add(self, block: npt.NDArray) -> None:
        """Pick from the next block."""
        end = self._n_seen + len(block)
        last = int(np.searchsorted(self._positions, end))
        if self._rows is None:  # filled in place: there is no second copy
            self._rows = np.empty((len(self._positions), block.shape[1]), dtype=block.dtype)
        picked = self._positions[self._n_found : last] - self._n_seen
        self._rows[self._n_found : last] = block[picked]
        self._n_found, self._n_seen = last, end

    def rows(self) -> npt.NDArray:
        """The picked rows; all have passed by."""
        assert self._rows is not None
        return self._rows


class OnceRows(Rows):
    """Rows of an iterator, which pass by once and are kept as running sums and a sample.

    Parameters
    ----------
    source : Source
    progress : bool
        Show a progress bar.
    """

    def __init__(self, source: Source, *, progress: bool = False) -> None:
        self._source = source
        self._progress = progress
        self.dtype = source.dtype
        self.n_features = source.n_features

    @property
    def n(self) -> int:
        """Not known."""
        raise ValueError(f"{self._source.name}: how many rows there are is not known")

    def map(self, function: Function) -> Rows:
        """Impossible."""
        raise self._refusal()

    def total(self, function: Function) -> tuple[Any, ...]:
        """Impossible."""
        raise self._refusal()

    def take(self, positions: npt.NDArray[np.intp]) -> npt.NDArray:
        """Impossible."""
        raise self._refusal()

    def survey(self, needs: Needs, random: np.random.RandomState) -> tuple[MomentSums, Rows]:
        """Sums over all rows, and a sample by hashed row numbers."""
        if needs.limit is None:
            raise self._refusal()
        # drawn from a copy: up to the size of the sample, a fit is that of an array in memory
        seed = int(copy.deepcopy(random).randint(1 << 31))
        running = RunningStatistics(needs, self.n_features, seed)
        with ProgressBar(
            "Fitting", self._source.n_rows, unit="rows", enabled=self._progress
        ) as bar:
            for block in blocks(self._source):
                running.add(block)
                bar.advance(len(block))
        return running.result()

    def _refusal(self) -> ValueError:
        return ValueError(
            f"{self._source.name} came from an iterator, but this fit goes over all rows again "
            "and again; give a list, an array, a file, or a function that returns a new "
            "iterator, or set fit_samples to a number"
        )
