"""What the tasks are given: pairs, questions, categories and texts, as plain records.

The readers of data sets produce these; the tasks need nothing else, so a user's own data is
evaluated by filling one in.
"""

from __future__ import annotations

from collections.abc import Sequence, Sized
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = [
    "AnalogyQuestions",
    "Categories",
    "LabelledTexts",
    "Relation",
    "RelationRatings",
    "SimilarityPairs",
]


@dataclass(frozen=True, eq=False)
class SimilarityPairs:
    """Pairs of words with the similarity that people gave them.

    Attributes
    ----------
    name : str
        Name of the data set, such as ``"SimLex-999"``.
    pairs : list of (str, str)
    scores : ndarray of float64, shape (n_pairs,)
        Larger is more similar, in any unit: only the order counts.
    """

    name: str
    pairs: list[tuple[str, str]]
    scores: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        _check_tuples(self.name, "pairs", self.pairs, 2)
        object.__setattr__(self, "scores", _finite(self.name, "scores", self.scores))
        _check_lengths(self.name, pairs=self.pairs, scores=self.scores)

    def __len__(self) -> int:
        return len(self.pairs)


@dataclass(frozen=True, eq=False)
class AnalogyQuestions:
    """Questions "a is to b as c is to ?" with their answers.

    Attributes
    ----------
    name : str
    questions : list of (str, str, str, str)
        a, b, c and the answer.
    sections : list of str
        One per question, such as ``"capital-world"``.
    """

    name: str
    questions: list[tuple[str, str, str, str]]
    sections: list[str]

    def __post_init__(self) -> None:
        _check_tuples(self.name, "questions", self.questions, 4)
        _check_lengths(self.name, questions=self.questions, sections=self.sections)

    def __len__(self) -> int:
        return len(self.questions)


@dataclass(frozen=True, eq=False)
class Relation:
    """One relation of SemEval-2012 task 2: pairs rated by how well they show it.

    Attributes
    ----------
    name : str
    prototypes : list of (str, str)
        Pairs that define the relation.
    pairs : list of (str, str)
        Pairs to be ranked.
    ratings : ndarray of float64, shape (n_pairs,)
        Larger is more typical of the relation.
    """

    name: str
    prototypes: list[tuple[str, str]]
    pairs: list[tuple[str, str]]
    ratings: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        _check_tuples(self.name, "prototypes", self.prototypes, 2)
        _check_tuples(self.name, "pairs", self.pairs, 2)
        object.__setattr__(self, "ratings", _finite(self.name, "ratings", self.ratings))
        _check_lengths(self.name, pairs=self.pairs, ratings=self.ratings)


@dataclass(frozen=True, eq=False)
class RelationRatings:
    """The relations of SemEval-2012 task 2 (Jurgens et al., 2012).

    Attributes
    ----------
    name : str
    relations : list of Relation
    """

    name: str
    relations: list[Relation]

    def __post_init__(self) -> None:
        for position, relation in enumerate(self.relations):
            if not isinstance(relation, Relation):
                raise TypeError(f"{self.name}: relations[{position}] is {relation!r}, no Relation")

    def __len__(self) -> int:
        return len(self.relations)


@dataclass(frozen=True, eq=False)
class Categories:
    """Words with the category that each belongs to.

    Attributes
    ----------
    name : str
    words : list of str
    labels : list of str
        One per word.
    """

    name: str
    words: list[str]
    labels: list[str]

    def __post_init__(self) -> None:
        _check_lengths(self.name, words=self.words, labels=self.labels)

    def __len__(self) -> int:
        return len(self.words)


@dataclass(frozen=True, eq=False)
class LabelledTexts:
    """Texts with a class each.

    Attributes
    ----------
    name : str
    texts : list of str
    labels : ndarray of int64, shape (n_texts,)
        Positions in `label_names`.
    label_names : list of str
    is_test : ndarray of bool, shape (n_texts,), or None
        True for the texts of the official test part; None where there is no official split, which
        means cross-validation.
    """

    name: str
    texts: list[str]
    labels: npt.NDArray[np.int64]
    label_names: list[str]
    is_test: npt.NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        labels = np.asarray(self.labels)
        if labels.dtype.kind not in "iu" or labels.ndim != 1:
            raise TypeError(
                f"{self.name}: labels has dtype {labels.dtype} and shape {labels.shape}; whole "
                "numbers of shape (n_texts,) are needed, positions in label_names"
            )
        _check_lengths(self.name, texts=self.texts, labels=labels)
        n_classes = len(self.label_names)
        if len(labels) and (labels.min() < 0 or labels.max() >= n_classes):
            raise ValueError(
                f"{self.name}: labels go from {labels.min()} to {labels.max()}; with {n_classes} "
                f"label_names they must be 0 to {n_classes - 1}"
            )
        object.__setattr__(self, "labels", labels.astype(np.int64))
        if self.is_test is not None:
            self._check_split()

    def _check_split(self) -> None:
        is_test = np.asarray(self.is_test)
        if is_test.dtype != np.bool_ or is_test.shape != (len(self.texts),):
            raise ValueError(
                f"{self.name}: is_test has dtype {is_test.dtype} and shape {is_test.shape}; "
                f"booleans of shape ({len(self.texts)},) are needed, or None for no split"
            )
        if is_test.all() or not is_test.any():
            raise ValueError(
                f"{self.name}: is_test puts all {len(is_test)} texts on one side; "
                "give None to cross-validate"
            )
        object.__setattr__(self, "is_test", is_test)

    def __len__(self) -> int:
        return len(self.texts)


def _check_lengths(name: str, **columns: Sized) -> None:
    (first, one), (second, other) = columns.items()
    if len(one) != len(other):
        raise ValueError(f"{name}: {len(one)} {first} came with {len(other)} {second}")


def _check_tuples(name: str, column: str, rows: Sequence[tuple[str, ...]], size: int) -> None:
    for position, row in enumerate(rows):
        if len(row) != size or not all(isinstance(word, str) for word in row):
            raise ValueError(f"{name}: {column}[{position}] is {row!r}; {size} words are needed")


def _finite(name: str, column: str, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"{name}: {column} has shape {array.shape}; one number each is needed")
    bad = np.flatnonzero(~np.isfinite(array))
    if len(bad):
        raise ValueError(f"{name}: {column}[{bad[0]}] is {array[bad[0]]}; numbers are finite")
    return array
