"""The words of a file while it is read: valid UTF-8, each once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from embcompress.vocabulary import Vocabulary

__all__ = ["WordSet", "invalid_words"]

Bytes = npt.NDArray[np.uint8]
Longs = npt.NDArray[np.int64]


class WordSet:
    """Distinct words in the order in which they came.

    Costs the bytes of the words and 32 to 48 bytes each: positions, 64-bit hashes, hash table.
    """

    def __init__(self) -> None:
        self.n = 0
        self._blob = np.empty(1 << 16, dtype=np.uint8)
        self._offsets = np.zeros(1 << 12, dtype=np.int64)
        self._hashes = np.empty(1 << 12, dtype=np.uint64)
        self._table = np.full(1 << 13, -1, dtype=np.int64)

    def add(self, blob: Bytes, offsets: Longs, limit: int) -> tuple[npt.NDArray[np.bool_], int]:
        """Add words until there are `limit`.

        Parameters
        ----------
        blob : ndarray of uint8
        offsets : ndarray of int64, shape (m + 1,)
        limit : int

        Returns
        -------
        keep : ndarray of bool, shape (n_looked_at,)
            True where the word is new.
        n_looked_at : int
            Less than m if the limit was reached.
        """
        from embcompress.formats.kernel_words import insert_words

        m = len(offsets) - 1
        self._make_room(m, int(offsets[-1] - offsets[0]))
        keep = np.zeros(m, dtype=np.uint8)
        state = np.array([self.n, 0], dtype=np.int64)
        insert_words(
            self._blob, self._offsets, self._hashes, self._table, blob, offsets, limit, keep, state
        )
        self.n = int(state[0])
        return keep[: state[1]].astype(bool), int(state[1])

    def vocabulary(self, first: int = 0) -> Vocabulary:
        """Words from number `first` on, copied."""
        offsets = self._offsets[first : self.n + 1]
        blob = self._blob[offsets[0] : offsets[-1]].copy()
        return Vocabulary.from_lengths(blob, np.diff(offsets))

    def _make_room(self, n_words: int, n_bytes: int) -> None:
        from embcompress.formats.kernel_words import rehash

        words, bytes_ = self.n + n_words + 1, int(self._offsets[self.n]) + n_bytes
        if bytes_ > len(self._blob):
            self._blob = _grown(self._blob, bytes_)
        if words > len(self._offsets):
            self._offsets = _grown(self._offsets, words)
            self._hashes = _grown(self._hashes, words)
        if 2 * words > len(self._table):
            self._table = np.full(1 << (2 * words).bit_length(), -1, dtype=np.int64)
            rehash(self._hashes, self.n, self._table)


def _grown(array: npt.NDArray, size: int) -> npt.NDArray:
    larger = np.zeros(max(size, len(array) * 3 // 2), dtype=array.dtype)
    larger[: len(array)] = array
    return larger


def invalid_words(blob: Bytes, offsets: Longs) -> list[int]:
    """Find the words that are not valid UTF-8, in order."""
    try:
        blob.tobytes().decode()
    except UnicodeDecodeError:
        pass
    else:
        # Valid as a whole: invalid in part only where a character is cut in two.
        starts = offsets[:-1][np.diff(offsets) > 0]
        if not ((blob[starts] & 0xC0) == 0x80).any():
            return []
    data = blob.tobytes()
    bad = []
    for i, (start, end) in enumerate(zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)):
        try:
            data[start:end].decode()
        except UnicodeDecodeError:
            bad.append(i)
    return bad
