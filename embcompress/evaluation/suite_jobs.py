"""Cells of a benchmark one after another, or several at a time in processes of their own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Any

from embcompress._optional import MissingExtraError
from embcompress.evaluation.space import Space, space_of
from embcompress.evaluation.suite_cells import Cell, run_cell
from embcompress.evaluation.suite_tasks import TaskSets
from embcompress.progress import ProgressBar
from embcompress.vectors import KeyedVectors

__all__ = ["Work", "run_serially", "run_together", "usable_cores"]

# Method, number of bits and seed
Place = tuple[str, int, int]


def usable_cores() -> int:
    """Cores that this process may use, whatever the machine has.

    Returns
    -------
    int
    """
    import joblib  # type: ignore[import-untyped]

    return int(joblib.cpu_count())


class Work:
    """What all cells of a benchmark share.

    Parameters
    ----------
    vectors : KeyedVectors
    sets : TaskSets
    reference : str
        The method that the others are compared with.
    """

    def __init__(self, vectors: KeyedVectors, sets: TaskSets, reference: str) -> None:
        self.vectors = vectors
        self.sets = sets
        self.reference = reference
        self._floats: Space | None = None

    def run(self, spec: Any, n_bits: int, seed: int, bar: ProgressBar) -> Cell | str:
        """Run one cell, on one core.

        Linear algebra is kept to one thread, so that neither scores nor seconds depend on how many
        cells are run at a time.

        Parameters
        ----------
        spec : MethodSpec
        n_bits, seed : int
        bar : ProgressBar
            Moved on by 100 units.

        Returns
        -------
        Cell or str
            Why there is no cell, where the method has no form with so many bits or lacks a package.
        """
        import faiss  # noqa: F401 - loaded first, since only loaded libraries can be limited
        import sklearn.cluster  # noqa: F401
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        with threadpool_limits(1):
            if self._floats is None:
                self._floats = space_of(self.vectors)
            try:
                made = spec.make(self.vectors, n_bits, seed)
            except (ValueError, MissingExtraError) as error:
                bar.advance(100)
                return str(error)
            floats = None if spec.name == self.reference else self._floats
            return run_cell(spec, made, n_bits, seed, self.vectors, self.sets, floats, bar)


def run_serially(
    work: Work, specs: Mapping[str, Any], places: Sequence[Place], bar: ProgressBar
) -> Iterator[tuple[int, Cell | str]]:
    """Run cells one after another.

    Parameters
    ----------
    work : Work
    specs : mapping of str to MethodSpec
    places : sequence of (str, int, int)
        Method, number of bits and seed of each cell.
    bar : ProgressBar

    Yields
    ------
    (int, Cell or str)
        Position of the cell, and what :meth:`Work.run` found. Other seeds of a method that has no
        form with so many bits are not tried.
    """
    refused: set[tuple[str, int]] = set()
    for position, (method, n_bits, seed) in enumerate(places):
        if (method, n_bits) in refused:
            bar.advance(100)
            continue
        found = work.run(specs[method], n_bits, seed, bar)
        if isinstance(found, str):
            refused.add((method, n_bits))
        yield position, found


def run_together(
    work: Work,
    specs: Mapping[str, Any],
    places: Sequence[Place],
    bar: ProgressBar,
    n_jobs: int,
) -> Iterator[tuple[int, Cell | str]]:
    """Run several cells at a time, each in one of `n_jobs` processes.

    Vectors, data sets and counted words are written to a temporary file once, which the processes
    map into their memory. Cells are small and come back here, so that one process writes files.

    Parameters
    ----------
    work, specs, places, bar
        As in :func:`run_serially`.
    n_jobs : int

    Yields
    ------
    (int, Cell or str)
        As in :func:`run_serially`, in the order in which cells are finished.

    Raises
    ------
    ChildProcessError
        If a process is ended from outside, as happens where memory is short.
    """
    import joblib

    for data in work.sets.sets.get("text", ()):
        work.sets.count(data, work.vectors.index_to_key)
    with tempfile.TemporaryDirectory(prefix="embcompress-") as folder:
        path = Path(folder) / "work"
        joblib.dump(work, path)
        calls = [
            joblib.delayed(_run_there)(str(path), position, specs[method], n_bits, seed)
            for position, (method, n_bits, seed) in enumerate(places)
        ]
        parallel = joblib.Parallel(
            n_jobs,
            backend="loky",
            return_as="generator_unordered",
            batch_size=1,
            inner_max_num_threads=1,
        )
        try:
            with closing(parallel(calls)) as finished:
                for position, found in finished:
                    bar.advance(100)
                    yield position, found
        except BrokenProcessPool as error:
            raise ChildProcessError(
                "a process of the benchmark was ended from outside, likely for want of memory: "
                f"each of {n_jobs} jobs needs its own; ask for fewer. Finished cells are kept"
            ) from error


def _run_there(
    path: str, position: int, spec: Any, n_bits: int, seed: int
) -> tuple[int, Cell | str]:
    """Run a cell in a process that waits for cells."""
    bar = ProgressBar("", enabled=False)
    return position, _load_work(path).run(spec, n_bits, seed, bar)


@lru_cache(maxsize=1)
def _load_work(path: str) -> Work:
    import joblib

    found: Work = joblib.load(path, mmap_mode="r")
    return found
