"""The tasks over the data sets that are at hand, for anything that has words and spaces."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from embcompress._optional import MissingExtraError
from embcompress.evaluation.analogy import evaluate_analogy
from embcompress.evaluation.bootstrap import N_RESAMPLES, skip
from embcompress.evaluation.categorization import evaluate_categorization
from embcompress.evaluation.classification import (
    WordCounts,
    count_words,
    evaluate_classification,
)
from embcompress.evaluation.data import LabelledTexts
from embcompress.evaluation.datasets import (
    DatasetEntry,
    cache_folder,
    list_datasets,
    load_dataset,
)
from embcompress.evaluation.datasets.fetch import data_folder
from embcompress.evaluation.results import Result
from embcompress.evaluation.retrieval import Neighbours, evaluate_retrieval, neighbours
from embcompress.evaluation.similarity import evaluate_similarity
from embcompress.evaluation.space import Space
from embcompress.vocabulary import Vocabulary

__all__ = ["DATASET_TASKS", "TASKS", "Subject", "TaskSets", "load_sets"]

DATASET_TASKS = ("similarity", "analogy", "categorization", "text")
TASKS = (*DATASET_TASKS, "retrieval")
# Its pairs are rated, so the answer of a question is one of many; asked for by its own name
_NOT_BY_TASK = ("semeval-2012",)
_N_NEIGHBOURS = 10
_SHORTLIST = 4
# Task and metric of a set that could not be measured
_KEYS = {
    "similarity": ("similarity", "Spearman"),
    "analogy": ("analogy", "3CosAdd accuracy"),
    "categorization": ("categorization", "purity"),
    "text": ("text classification", "accuracy"),
    "retrieval": ("retrieval", f"recall@{_N_NEIGHBOURS}"),
}


@dataclass(frozen=True, eq=False)
class Subject:
    """What is evaluated.

    Attributes
    ----------
    words : Vocabulary
    scorings : tuple of str
        How words can be compared; the first counts where only one is needed.
    space : callable
        Scoring -> Space.
    matrix : callable
        -> ndarray of shape (n_words, d): what each word contributes to the mean of a text.
    text_name : str
        What a table calls that matrix.
    """

    words: Vocabulary
    scorings: tuple[str, ...]
    space: Callable[[str], Space]
    matrix: Callable[[], npt.NDArray[np.float32]]
    text_name: str = "decoded"


@dataclass(eq=False)
class TaskSets:
    """Loaded data sets by task, and those that are left out.

    Attributes
    ----------
    sets : dict of str to list
        Task -> records.
    absent : list of (str, str, str)
        Task, data set and why it is left out.
    missing : {"skip", "mean"}
        Rule for missing words.
    methods : tuple of {"add", "mul"}
        How analogies are answered.
    restrict : int or None
        Analogies use the first words only.
    """

    sets: dict[str, list[Any]]
    absent: list[tuple[str, str, str]]
    missing: str = "skip"
    methods: tuple[str, ...] = ("add",)
    restrict: int | None = None
    retrieval: bool = False
    n_queries: int = 500
    _counts: dict[str, tuple[Vocabulary, WordCounts]] = field(default_factory=dict, repr=False)
    _reference: tuple[Space, Neighbours] | None = field(default=None, repr=False)

    def describe(self) -> dict[str, Any]:
        """What the results depend on, as plain values."""
        return {
            "sets": {
                task: [[data.name, len(data)] for data in self.sets[task]]
                for task in TASKS
                if self.sets.get(task)
            },
            "missing": self.missing,
            "methods": list(self.methods),
            "restrict": self.restrict,
            "queries": self.n_queries if self.retrieval else 0,
        }

    def count(self, data: LabelledTexts, words: Vocabulary) -> WordCounts:
        """Words of texts, counted once for each vocabulary.

        Parameters
        ----------
        data : LabelledTexts
        words : Vocabulary

        Returns
        -------
        WordCounts
        """
        known = self._counts.get(data.name)
        if known is None or known[0] is not words or known[1].data is not data:
            known = self._counts[data.name] = words, count_words(data, words)
        return known[1]

    def __bool__(self) -> bool:
        return self.retrieval or any(self.sets.values())

    def n_steps(self, n_scorings: int) -> int:
        """Number of results that a subject with so many scorings gets, about."""
        sizes = {task: len(found) for task, found in self.sets.items()}
        repeated = sizes.get("similarity", 0) + sizes.get("analogy", 0) * len(self.methods)
        once = sizes.get("categorization", 0) + sizes.get("text", 0)
        return once + n_scorings * (repeated + self.retrieval)

    def run(
        self, subject: Subject, *, floats: Space | None = None, n_resamples: int = N_RESAMPLES
    ) -> Iterator[Result]:
        """Run all tasks; one result at a time.

        Parameters
        ----------
        subject : Subject
        floats : Space, optional
            Of the float vectors, for retrieval.
        n_resamples : int, default 1000

        Yields
        ------
        Result
            Categorization is given for the first scoring only, since it looks at the stored side;
            text classification once.
        """
        shortlist: Neighbours | None = None
        for number, scoring in enumerate(subject.scorings):
            space = replace(subject.space(scoring), name=scoring)
            yield from self._in_space(space, number == 0, n_resamples)
            if self.retrieval and floats is not None:
                found = self._retrieve(space, floats, shortlist)
                shortlist = found[0] if found and space.compares_codes else shortlist
                yield from self._score_neighbours(found, space, n_resamples)
        if self.retrieval and floats is None:
            yield _left_out(
                "retrieval",
                "neighbours",
                subject.scorings[0],
                "neighbours: there are no float vectors to compare with",
            )
        yield from self._classify(subject, n_resamples)
        for task, name, reason in self.absent:
            yield _left_out(task, name, subject.scorings[0], reason)

    def _in_space(self, space: Space, is_first: bool, n_resamples: int) -> Iterator[Result]:
        for data in self.sets.get("similarity", ()):
            yield evaluate_similarity(space, data, missing=self.missing, n_resamples=n_resamples)
        for data in self.sets.get("analogy", ()):
            for method in self.methods:
                yield evaluate_analogy(
                    space, data, method=method, restrict=self.restrict, n_resamples=n_resamples
                )
        for data in self.sets.get("categorization", ()) if is_first else ():
            yield evaluate_categorization(
                space, data, missing=self.missing, n_resamples=n_resamples
            )

    def _retrieve(
        self, space: Space, floats: Space, shortlist: Neighbours | None
    ) -> list[Neighbours]:
        """Neighbours by one scoring; the first also as a shortlist for the others and floats.

        The first of the list are as many as a shortlist needs; none where there are too few words.
        """
        if len(space) <= _N_NEIGHBOURS:
            return []
        if self._reference is None or self._reference[0] is not floats:
            wanted = neighbours(floats, _N_NEIGHBOURS, n_queries=self.n_queries)
            self._reference = floats, wanted
        k, queries = _N_NEIGHBOURS, self._reference[1].queries
        again: dict[str, Any] = {"k": k, "queries": queries, "multiplier": _SHORTLIST}
        if shortlist is not None:
            found = neighbours(space, k, queries=queries)
            return [found, neighbours(space, shortlist=shortlist, **again)]
        if not space.compares_codes:
            return [neighbours(space, k, queries=queries)]
        found = neighbours(space, min(_SHORTLIST * k, len(space) - 1), queries=queries)
        return [found, neighbours(floats, shortlist=found, **again)]

    def _score_neighbours(
        self, found: Sequence[Neighbours], space: Space, n_resamples: int
    ) -> Iterator[Result]:
        if self._reference is None or not found:
            reason = f"neighbours: {len(space)} words have no {_N_NEIGHBOURS} neighbours each"
            yield _left_out("retrieval", "neighbours", space.name, reason)
            return
        for each in found:
            yield from evaluate_retrieval(
                each.first(_N_NEIGHBOURS), self._reference[1], n_resamples=n_resamples
            )

    def _classify(self, subject: Subject, n_resamples: int) -> Iterator[Result]:
        matrix = subject.matrix() if self.sets.get("text") else None
        for data in self.sets.get("text", ()):
            yield evaluate_classification(
                self.count(data, subject.words),
                matrix,  # type: ignore[arg-type]
                name=subject.text_name,
                n_resamples=n_resamples,
            )


def load_sets(
    tasks: Sequence[str] | None = None,
    *,
    fetch: bool = False,
    missing: str = "skip",
    methods: Sequence[str] = ("add",),
    restrict: int | None = None,
) -> TaskSets:
    """Read the data sets of some tasks.

    Parameters
    ----------
    tasks : sequence of str, optional
        Tasks, or names of data sets; all tasks by default.
    fetch : bool, default False
        Fetch what is not at hand and has a public address.
    missing, methods, restrict
        As in :class:`TaskSets`.

    Returns
    -------
    TaskSets

    Raises
    ------
    ValueError
        If a task is unknown; the message lists those that there are.
    FormatError
        If a file is damaged or has another checksum than recorded.
    """
    chosen, retrieval = _entries(TASKS if tasks is None else tasks)
    sets: dict[str, list[Any]] = {task: [] for task in DATASET_TASKS}
    absent = []
    for entry in chosen:
        if not (_is_at_hand(entry) or (fetch and entry.can_be_fetched)):
            absent.append((entry.task, entry.name, f"{entry.name}: not at hand"))
            continue
        try:
            sets[entry.task].append(load_dataset(entry.name))
        except ConnectionError as error:
            absent.append((entry.task, entry.name, str(error)))
    return TaskSets(sets, absent, missing, tuple(methods), restrict, retrieval)


def _entries(tasks: Sequence[str]) -> tuple[list[DatasetEntry], bool]:
    """Data sets that are asked for, each once, and whether retrieval is."""
    known = [entry for entry in list_datasets() if entry.task in DATASET_TASKS]
    names = {entry.name.casefold() for entry in known}
    wanted = {task.casefold() for task in tasks}
    for task in tasks:
        if task.casefold() not in names | set(TASKS):
            raise ValueError(
                f"there is no task {task!r}; tasks: {', '.join(TASKS)}; single data sets: "
                f"{', '.join(entry.name for entry in known)}"
            )
    if not wanted:
        raise ValueError(f"no task is given; tasks: {', '.join(TASKS)}")
    chosen = [
        entry
        for entry in known
        if entry.name.casefold() in wanted
        or (entry.task in wanted and entry.name not in _NOT_BY_TASK)
    ]
    return chosen, "retrieval" in wanted


def _is_at_hand(entry: DatasetEntry) -> bool:
    """Whether a data set can be read without a network."""
    roots = [data_folder()]
    with suppress(MissingExtraError):
        roots.append(cache_folder())
    return any(
        all((root / file.path).is_file() for file in form.files)
        for root in roots
        if root is not None
        for form in entry.forms
    )


def _left_out(task: str, name: str, space: str, reason: str) -> Result:
    kind, metric = _KEYS[task]
    return skip((kind, name, metric), space, n_items=0, n_covered=0, reason=reason)
