"""gensim's own files, through gensim: the only module that imports it."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embcompress._optional import require
from embcompress.container import atomic_write
from embcompress.formats.arrays import check_matrix
from embcompress.formats.base import Batch, RowReader, drop_non_finite, fail
from embcompress.vectors import KeyedVectors
from embcompress.vocabulary import Vocabulary

__all__ = ["GensimReader", "save_gensim"]

_FEATURE = "reading and writing gensim's own format"
_STEP = 1 << 14
# What unpickling a damaged or foreign file raises
_ERRORS = (pickle.UnpicklingError, EOFError, AttributeError, KeyError, IndexError, ValueError)


class GensimReader(RowReader):
    """Reads what gensim's ``KeyedVectors.save`` wrote; whole models have their vectors taken."""

    def __init__(self, path: Path, name: str, *, skip_bad: bool) -> None:
        models = require("gensim.models", extra="gensim", feature=_FEATURE)
        self._size = path.stat().st_size
        try:
            loaded: Any = models.KeyedVectors.load(str(path), mmap="r")
        except (*_ERRORS, TypeError, ImportError) as error:
            fail(name, f"not a file that gensim can read ({error})", cause=error)
        loaded = getattr(loaded, "wv", loaded)
        if not hasattr(loaded, "index_to_key") or not hasattr(loaded, "vectors"):
            fail(name, f"holds a {type(loaded).__name__}, KeyedVectors is needed")
        self._matrix: npt.NDArray = loaded.vectors[: len(loaded.index_to_key)]
        check_matrix(name, self._matrix.shape, self._matrix.dtype)
        self._words = Vocabulary.from_words(loaded.index_to_key)
        self._counts = _counts_of(loaded)
        super().__init__(name, "gensim", self._matrix.shape[1], len(self._matrix),
                         skip_bad=skip_bad)  # fmt: skip
        self._n_done = 0

    @property
    def position(self) -> int:
        """Bytes of the file on disk that are done."""
        return self._size * self._n_done // max(len(self._matrix), 1)

    def close(self) -> None:
        """Close the files."""
        self._matrix = self._matrix[:0]

    def read(self, out: npt.NDArray[np.float32]) -> Batch | None:
        """Fill the first rows of `out`; None at the end."""
        while self._n_done < len(self._matrix):
            lo = self._n_done
            hi = min(lo + min(_STEP, len(out)), len(self._matrix))
            out[: hi - lo] = self._matrix[lo:hi]
            offsets = self._words.offsets[lo : hi + 1].astype(np.int64)
            counts = None if self._counts is None else self._counts[lo:hi]
            batch = Batch(
                np.array(self._words.blob[offsets[0] : offsets[-1]]),
                np.diff(offsets),
                np.arange(lo + 1, hi + 1),
                counts,
            )
            self._n_done = hi
            batch = drop_non_finite(self, out, batch)
            if len(batch.lengths):
                return batch
        return None


def _counts_of(loaded: Any) -> npt.NDArray[np.int64] | None:
    counts = getattr(loaded, "expandos", {}).get("count")
    if counts is None or len(counts) != len(loaded.index_to_key):
        return None
    return np.asarray(counts).astype(np.int64)


def save_gensim(vectors: KeyedVectors, path: Path) -> None:
    """Write a file that ``gensim.models.KeyedVectors.load`` opens.

    gensim would put a large matrix into a second file beside the first; two files cannot be
    replaced at one moment, so all goes into one here.
    """
    models = require("gensim.models", extra="gensim", feature=_FEATURE)
    copy = models.KeyedVectors(vectors.vector_size, count=0)
    copy.index_to_key = list(vectors.index_to_key)
    copy.key_to_index = {word: i for i, word in enumerate(copy.index_to_key)}
    copy.vectors = vectors.vectors
    copy.expandos = {}
    if vectors.counts is not None:
        for word, count in zip(copy.index_to_key, vectors.counts.tolist(), strict=True):
            copy.set_vecattr(word, "count", count)
    with atomic_write(path) as file:
        copy.save(file)
