"""All tasks on one set of vectors, and a benchmark of methods that can be interrupted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from embcompress._version import __version__
from embcompress.compressed import SCORINGS, CompressedVectors
from embcompress.evaluation.bootstrap import N_RESAMPLES
from embcompress.evaluation.classification import word_matrix
from embcompress.evaluation.results import Result
from embcompress.evaluation.space import Space, space_of
from embcompress.evaluation.suite_cells import (
    Cell,
    CellStore,
    DamagedCellError,
    fingerprint,
)
from embcompress.evaluation.suite_jobs import Place, Work, run_serially, run_together
from embcompress.evaluation.suite_summary import summarize
from embcompress.evaluation.suite_tasks import TASKS, Subject, TaskSets, load_sets
from embcompress.progress import ProgressBar
from embcompress.vectors import KeyedVectors

__all__ = ["TASKS", "Benchmark", "evaluate", "run_benchmark"]

# What every other method is compared with; it is always run
REFERENCE = "float"
# These keep all their bits: one cell, whatever numbers of bits and seeds are asked for
_WITHOUT_BITS = ("float", "float-abtt")
# Analogies among the first words, as is usual; the rest is rare and costs time
RESTRICT = 30_000
HOW_TO_GET = (
    "set EMBCOMPRESS_DATA to a folder that has them, or fetch those with a public address "
    "(fetch=True)"
)


def evaluate(
    vectors: KeyedVectors | CompressedVectors,
    *,
    floats: KeyedVectors | None = None,
    tasks: Sequence[str] | None = None,
    scorings: Sequence[str] | None = None,
    missing: str = "skip",
    methods: Sequence[str] = ("add", "mul"),
    fetch: bool = False,
    progress: bool = False,
    n_resamples: int = N_RESAMPLES,
    sets: TaskSets | None = None,
) -> list[Result]:
    """Run all tasks whose data sets are at hand.

    Parameters
    ----------
    vectors : KeyedVectors or CompressedVectors
    floats : KeyedVectors, optional
        The vectors that the codes were made from: reference of retrieval, and what asks when
        scoring is asymmetric.
    tasks : sequence of str, optional
        Tasks or names of data sets; all tasks by default.
    scorings : sequence of {"hamming", "asymmetric"}, optional
        Both by default; for codes only.
    missing : {"skip", "mean"}, default "skip"
        Rule for missing words.
    methods : sequence of {"add", "mul"}
        3CosAdd and 3CosMul.
    fetch : bool, default False
        Fetch data sets that are not at hand.
    progress : bool, default False
        Show a progress bar.
    n_resamples : int, default 1000
        For the intervals.
    sets : TaskSets, optional
        From :func:`load_sets`, to evaluate several vectors; `tasks`, `missing`, `methods` and
        `fetch` are then not looked at.

    Returns
    -------
    list of Result
        Skipped ones say why in their `note`.

    Raises
    ------
    ValueError
        If a task or a scoring is unknown, or `floats` has other words.
    FileNotFoundError
        If nothing can be measured because no data set is at hand.
    """
    if sets is None:
        sets = load_sets(tasks, fetch=fetch, missing=missing, methods=methods)
    subject = _subject(vectors, floats, scorings)
    reference = None if floats is None or floats is vectors else space_of(floats)
    if not any(sets.sets.values()) and (reference is None or not sets.retrieval):
        raise FileNotFoundError(_nothing(sets))
    total = sets.n_steps(len(subject.scorings))
    results = []
    with ProgressBar("Evaluating", total, unit="sets", enabled=progress) as bar:
        for result in sets.run(subject, floats=reference, n_resamples=n_resamples):
            results.append(result)
            bar.advance(1)
    return results


def _subject(
    vectors: KeyedVectors | CompressedVectors,
    floats: KeyedVectors | None,
    scorings: Sequence[str] | None,
) -> Subject:
    if isinstance(vectors, KeyedVectors):
        if scorings is not None:
            raise ValueError("scorings are for compressed vectors; leave them out here")
        if floats is not None and floats.index_to_key != vectors.index_to_key:
            raise ValueError(
                f"floats has {len(floats)} words that are not the {len(vectors)} words of the "
                "vectors in their order"
            )
        return Subject(
            vectors.index_to_key,
            ("float",),
            lambda _: space_of(vectors),
            lambda: word_matrix(vectors),
            "float",
        )
    chosen = tuple(SCORINGS if scorings is None else scorings)
    for scoring in chosen:
        if scoring not in SCORINGS:
            raise ValueError(f"scoring={scoring!r}; allowed: {', '.join(SCORINGS)}")

    def space(scoring: str) -> Space:
        asking = floats if scoring == "asymmetric" else None
        return space_of(vectors, scoring=scoring, floats=asking)

    return Subject(vectors.index_to_key, chosen, space, lambda: word_matrix(vectors))


@dataclass(frozen=True, eq=False)
class Benchmark:
    """What a benchmark found.

    Attributes
    ----------
    rows : list of dict
        One for each method, number of bits, scoring and data set, seeds averaged; and one with
        ``dataset="mean"`` for each task. Scores, intervals, differences to float, bytes, seconds.
    spectra : dict of str to list of float
        Shares of variance along the principal directions, by method and bits.
    skipped : list of (str, str)
        What was left out, and why.
    about : dict
        Vectors, version and settings.
    folder : Path
    n_run, n_kept : int
        Cells that were run now, and that were finished before.
    """

    rows: list[dict[str, Any]]
    spectra: dict[str, list[float]]
    skipped: list[tuple[str, str]]
    about: dict[str, Any]
    folder: Path
    n_run: int
    n_kept: int


@dataclass
class _Progress:
    n_run: int = 0
    n_kept: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)


def run_benchmark(
    vectors: KeyedVectors,
    *,
    n_bits: Sequence[int],
    methods: Sequence[str],
    folder: str | os.PathLike[str],
    seeds: int = 3,
    tasks: Sequence[str] | None = None,
    missing: str = "skip",
    fetch: bool = False,
    restrict: int | None = RESTRICT,
    progress: bool = False,
    report: Callable[[str], None] | None = None,
    specs: Mapping[str, Any] | None = None,
    sets: TaskSets | None = None,
    n_jobs: int = 1,
) -> Benchmark:
    """Run methods at several numbers of bits and with several seeds.

    A cell is one method, number of bits and seed. Each finished cell is a file in
    ``folder/cells``, so an interrupted benchmark goes on where it was. A method without randomness
    is run with one seed.

    Parameters
    ----------
    vectors : KeyedVectors
    n_bits : sequence of int
    methods : sequence of str
        Names in ``embcompress.evaluation.methods``; "float" is always added.
    folder : path-like
        Made where it is not there.
    seeds : int, default 3
        Random states 0 to seeds - 1.
    tasks, missing, fetch
        As in :func:`evaluate`.
    restrict : int or None, default 30,000
        Analogies use the first words only.
    progress : bool, default False
    report : callable, optional
        Called with a line for each cell that is left out or damaged.
    specs : mapping of str to MethodSpec, optional
        Other methods than those of the package.
    sets : TaskSets, optional
        Loaded data sets.
    n_jobs : int, default 1
        Cells that are run at a time, in processes of their own where it is more than 1. Each uses
        one core and has its own copy of what a method makes of the vectors. The results do not
        depend on it.

    Returns
    -------
    Benchmark

    Raises
    ------
    ValueError
        If a method or task is unknown, a number is not positive, or no cell could be run.
    FileNotFoundError
        If nothing can be measured because no data set is at hand.
    ChildProcessError
        If one of several processes is ended from outside, as happens where memory is short.
    """
    if specs is None:
        from embcompress.evaluation.methods import METHODS

        specs = METHODS
    names = _check_methods(methods, specs)
    _check_counts(n_bits, seeds, n_jobs)
    if sets is None:
        sets = load_sets(tasks, fetch=fetch, missing=missing, restrict=restrict)
    if not sets:
        raise FileNotFoundError(_nothing(sets))
    base = {"vectors": fingerprint(vectors), "settings": sets.describe()}
    store = CellStore(Path(folder) / "cells", base)
    plan = [cell for name in names for cell in _cells_of(specs[name], n_bits, seeds, vectors)]
    state = _Progress()
    with ProgressBar("Benchmark", len(plan) * 100, unit="steps", enabled=progress) as bar:
        work = Work(vectors, sets, REFERENCE)
        run = _Run(work, specs, store, state, bar, report or (lambda line: None), n_jobs)
        cells = run(plan)
    _check_some(cells, state)
    skipped = [*state.skipped, *((name, reason) for _, name, reason in sets.absent)]
    spectra = {cell.label: cell.spectrum for cell in cells if cell.seed == 0}
    about = {
        "words": len(vectors),
        "dimensions": vectors.vector_size,
        "seeds": seeds,
        "version": __version__,
        **sets.describe(),
    }
    rows = summarize(cells, REFERENCE)
    return Benchmark(rows, spectra, skipped, about, Path(folder), state.n_run, state.n_kept)


@dataclass
class _Run:
    """Reads the finished cells and runs the others."""

    work: Work
    specs: Mapping[str, Any]
    store: CellStore
    state: _Progress
    bar: ProgressBar
    report: Callable[[str], None]
    n_jobs: int = 1

    def __call__(self, plan: Sequence[Place]) -> list[Cell]:
        """Cells in the order of the plan, which is not that in which they are finished."""
        found: dict[Place, Cell] = {}
        missing = []
        for place in plan:
            cell = self._read(*place)
            if cell is None:
                missing.append(place)
            else:
                found[place] = cell
        refused: dict[tuple[str, int], tuple[int, str]] = {}
        for position, outcome in self._outcomes(missing):
            method, n_bits, seed = place = missing[position]
            known = refused.get(place[:2])
            if isinstance(outcome, str):
                refused[place[:2]] = min((seed, outcome), known or (seed, outcome))
                if known is None:
                    self.report(f"{method}, {n_bits} bits: left out, {outcome}")
            elif known is None or seed < known[0]:  # seeds after one that fails are left out
                self.store.save(self.specs[method], outcome)
                self.state.n_run += 1
                found[place] = outcome
        self.state.skipped += [
            (f"{method}, {n_bits} bits", refused[method, n_bits][1])
            for method, n_bits in dict.fromkeys(place[:2] for place in plan)
            if (method, n_bits) in refused
        ]
        return [found[place] for place in plan if place in found]

    def _read(self, method: str, n_bits: int, seed: int) -> Cell | None:
        try:
            cell = self.store.load(self.specs[method], n_bits, seed)
        except DamagedCellError as error:
            self.report(f"{error}; it is run again")
            return None
        if cell is not None:
            self.state.n_kept += 1
            self.bar.advance(100)
        return cell

    def _outcomes(self, places: Sequence[Place]) -> Iterator[tuple[int, Cell | str]]:
        n_jobs = min(self.n_jobs, len(places))
        if n_jobs > 1:
            return run_together(self.work, self.specs, places, self.bar, n_jobs)
        return run_serially(self.work, self.specs, places, self.bar)


def _cells_of(
    spec: Any, n_bits: Sequence[int], seeds: int, vectors: KeyedVectors
) -> Iterator[tuple[str, int, int]]:
    if spec.name in _WITHOUT_BITS:
        n_bits = [32 * vectors.vector_size]
    for bits in dict.fromkeys(n_bits):
        for seed in range(seeds if spec.randomized else 1):
            yield spec.name, int(bits), seed


def _check_methods(methods: Sequence[str], specs: Mapping[str, Any]) -> list[str]:
    """Names, the reference first, each once."""
    for name in methods:
        if name not in specs:
            raise ValueError(f"there is no method {name!r}; methods: {', '.join(sorted(specs))}")
    if not methods:
        raise ValueError(f"no method is given; methods: {', '.join(sorted(specs))}")
    return list(dict.fromkeys([REFERENCE, *methods]))


def _check_counts(n_bits: Sequence[int], seeds: int, n_jobs: int) -> None:
    for bits in n_bits:
        if isinstance(bits, bool) or not isinstance(bits, (int, np.integer)) or bits < 1:
            raise ValueError(f"n_bits={bits!r} must be a whole number of at least 1")
    if not n_bits or seeds < 1:
        raise ValueError(f"seeds={seeds} and {len(n_bits)} numbers of bits; one each is needed")
    if n_jobs < 1:
        raise ValueError(f"n_jobs={n_jobs} must be at least 1")


def _check_some(cells: Sequence[Cell], state: _Progress) -> None:
    if all(cell.method == REFERENCE for cell in cells) and state.skipped:
        what, reason = state.skipped[0]
        raise ValueError(f"no method could be run; {what}: {reason}")


def _nothing(sets: TaskSets) -> str:
    tasks = ", ".join(dict.fromkeys(task for task, _, _ in sets.absent))
    if not tasks:
        return "retrieval needs the float vectors that the codes were made from (floats=)"
    return f"no data set of {tasks} is at hand; {HOW_TO_GET}"
