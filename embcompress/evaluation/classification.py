"""Text classification: the mean vector of a text's words into a linear classifier.

Counting words is the slow part, so it is done once per vocabulary (:func:`count_words`); any
number of vector sets over these words then costs one sparse product and one fit each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from embcompress.compressed import CompressedVectors
from embcompress.evaluation.bootstrap import N_RESAMPLES, measure, skip
from embcompress.evaluation.data import LabelledTexts
from embcompress.evaluation.results import Result
from embcompress.texts import WordLookup, find_words, tokenize
from embcompress.vectors import KeyedVectors
from embcompress.vocabulary import Vocabulary

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = [
    "WordCounts",
    "count_words",
    "evaluate_classification",
    "text_vectors",
    "tokenize",
    "word_matrix",
]

_GRID = (0.01, 0.1, 1.0)
_INNER_FOLDS = 5


@dataclass(frozen=True, eq=False)
class WordCounts:
    """How often each word of a vocabulary is in each text.

    Attributes
    ----------
    data : LabelledTexts
    matrix : scipy.sparse.csr_array of float32, shape (n_texts, n_words)
    n_tokens : int
        Tokens of all texts.
    """

    data: LabelledTexts
    matrix: csr_array
    n_tokens: int

    @property
    def token_coverage(self) -> float:
        """Share of tokens that are in the vocabulary."""
        return float(self.matrix.sum(dtype=np.float64)) / max(self.n_tokens, 1)

    @property
    def has_words(self) -> npt.NDArray[np.bool_]:
        """Which texts have a word of the vocabulary, shape (n_texts,)."""
        return np.diff(self.matrix.indptr) > 0


def count_words(
    data: LabelledTexts,
    words: Vocabulary,
    *,
    tokens: Callable[[str], Sequence[str]] = tokenize,
) -> WordCounts:
    """Count the words of a vocabulary in texts.

    Parameters
    ----------
    data : LabelledTexts
    words : Vocabulary
        A token that is not there is looked for without outer apostrophes, else ignored.
    tokens : callable, default :func:`tokenize`
        Text -> tokens.

    Returns
    -------
    WordCounts
    """
    from scipy.sparse import csr_array

    found = find_words(data.texts, WordLookup(words), tokens)
    ones = np.ones(len(found.indices), dtype=np.float32)
    matrix = csr_array(
        (ones, found.indices.astype(np.int32), found.ends), shape=(len(data), len(words))
    )
    matrix.sum_duplicates()
    return WordCounts(data, matrix, found.n_tokens)


def word_matrix(
    vectors: KeyedVectors | CompressedVectors, *, signs: bool = False
) -> npt.NDArray[np.float32]:
    """What each word contributes to the mean of a text.

    Parameters
    ----------
    vectors : KeyedVectors or CompressedVectors
    signs : bool, default False
        Take the whole numbers that codes stand for (-1 and 1 for one bit per direction), not the
        decoded vectors: no decoder is needed then.

    Returns
    -------
    ndarray of float32, shape (n_words, vector_size or n_directions)

    Raises
    ------
    ValueError
        If `signs` is asked of float vectors.
    """
    if isinstance(vectors, KeyedVectors):
        if signs:
            raise ValueError("signs=True is for compressed vectors; float vectors have no code")
        return vectors.vectors
    if signs:
        return vectors.encoder.values(vectors.codes)
    return vectors.decode().vectors


def text_vectors(counts: WordCounts, matrix: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Mean word vector of each text; zeros for a text without a known word.

    Parameters
    ----------
    counts : WordCounts
    matrix : array-like of shape (n_words, d)
        One vector per word of the counted vocabulary.

    Returns
    -------
    ndarray of float32, shape (n_texts, d)

    Raises
    ------
    ValueError
        If `matrix` has another number of rows.
    """
    rows = np.asarray(matrix, dtype=np.float32)
    if rows.ndim != 2 or len(rows) != counts.matrix.shape[1]:
        raise ValueError(
            f"vectors of shape {rows.shape} came for counts of {counts.matrix.shape[1]} words"
        )
    lengths = np.asarray(counts.matrix.sum(axis=1), dtype=np.float32)
    means: npt.NDArray[np.float32] = counts.matrix @ rows
    means /= np.maximum(lengths, 1)[:, None]
    return means


def evaluate_classification(
    counts: WordCounts,
    matrix: npt.ArrayLike,
    *,
    name: str,
    C: float | None = 1.0,
    n_folds: int = 10,
    n_resamples: int = N_RESAMPLES,
    random_state: int = 0,
) -> Result:
    """Accuracy of logistic regression on standardized mean vectors.

    On the official test part where there is one, else by stratified cross-validation.

    Parameters
    ----------
    counts : WordCounts
    matrix : array-like of shape (n_words, d)
        From :func:`word_matrix`, or any vectors of the counted words.
    name : str
        What a table calls these vectors.
    C : float or None, default 1.0
        Inverse strength of the L2 penalty; None chooses among 0.01, 0.1 and 1 by cross-validation
        on each training part.
    n_folds : int, default 10
        Used without an official split.
    n_resamples : int, default 1000
    random_state : int
        Seed of the folds and of the interval.

    Returns
    -------
    Result
        Outcomes are 1 where a text is put in its class. Texts without a known word count, with a
        vector of zeros; `details` has their number and the share of tokens that are covered.
        Skipped if no text has a known word, or if there are too few texts of a class.
    """
    data, known = counts.data, counts.has_words
    tested = np.arange(len(data)) if data.is_test is None else np.flatnonzero(data.is_test)
    n_covered = int(known[tested].sum())
    key = ("text classification", data.name, "accuracy")
    reason = _unusable(counts, n_folds)
    if reason or not n_covered:
        return skip(key, name, n_items=len(tested), n_covered=n_covered, reason=reason or None)
    X = text_vectors(counts, matrix)
    right = np.zeros(len(data))
    for train, test in _splits(data, n_folds, random_state):
        labels = data.labels[train]
        model = _model(C, random_state, binary=len(np.unique(labels)) == 2).fit(X[train], labels)
        right[test] = model.predict(X[test]) == data.labels[test]
    return measure(
        key,
        name,
        right[tested],
        tested,
        n_items=len(tested),
        n_covered=n_covered,
        details={
            "texts without a known word": float((~known[tested]).sum()),
            "token coverage": counts.token_coverage,
        },
        n_resamples=n_resamples,
        random_state=random_state,
    )


def _unusable(counts: WordCounts, n_folds: int) -> str:
    """Why nothing can be trained, or an empty string."""
    data = counts.data
    if data.is_test is None:
        labels, needed = data.labels, n_folds
    else:
        labels, needed = data.labels[~data.is_test], 1
    sizes = np.bincount(labels)
    sizes = sizes[sizes > 0]
    if len(sizes) < 2:
        return f"{data.name}: texts of {len(sizes)} class to train on, at least 2 are needed"
    if sizes.min() < needed:
        return f"{data.name}: a class has {sizes.min()} texts, {needed} folds need {needed}"
    return ""


def _splits(
    data: LabelledTexts, n_folds: int, random_state: int
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    if data.is_test is not None:
        yield np.flatnonzero(~data.is_test), np.flatnonzero(data.is_test)
        return
    from sklearn.model_selection import StratifiedKFold

    folds = StratifiedKFold(n_folds, shuffle=True, random_state=random_state)
    yield from folds.split(np.zeros(len(data)), data.labels)


def _model(C: float | None, random_state: int, *, binary: bool) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    # Newton's steps need no conditioning: they are few and exact also for decoded vectors, where
    # L-BFGS takes hundreds. With many classes their Hessian is large
    solver = "newton-cholesky" if binary else "lbfgs"
    linear = LogisticRegression(C=1.0 if C is None else C, solver=solver, max_iter=1000)
    model = make_pipeline(StandardScaler(), linear)
    if C is not None:
        return model
    folds = StratifiedKFold(_INNER_FOLDS, shuffle=True, random_state=random_state)
    return GridSearchCV(model, {"logisticregression__C": _GRID}, cv=folds)
