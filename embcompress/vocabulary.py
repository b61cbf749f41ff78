"""A list of words as two flat arrays, so that a file of millions opens without building them."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np
import numpy.typing as npt

from embcompress.container import Container, FormatError

__all__ = ["Vocabulary", "read_short_vocabulary", "read_vocabulary", "short_vocabulary"]

# Look-ups by scanning cost about 2 ms per million words; a dict costs about 0.4 s per million
# once. After this many scans the dict is the better deal.
_SCANS_BEFORE_DICT = 64


class Vocabulary(Sequence[str]):
    """Words in order, stored as one UTF-8 blob and the positions where each word ends.

    Behaves as a sequence of `str`. A word is decoded when it is asked for; a look-up scans the
    arrays, and builds a dict only after many look-ups.

    Parameters
    ----------
    blob : ndarray of uint8, shape (n_blob_bytes,)
        All words, one after the other, UTF-8.
    offsets : ndarray of integers, shape (n + 1,)
        Word ``i`` is ``blob[offsets[i]:offsets[i + 1]]``.

    Examples
    --------
    >>> words = Vocabulary.from_words(["the", "naïve", "cat"])
    >>> words[1], words.index("cat"), "dog" in words, len(words)
    ('naïve', 2, False, 3)
    """

    def __init__(self, blob: npt.NDArray[np.uint8], offsets: npt.NDArray[np.integer]) -> None:
        self.blob = blob
        self.offsets = offsets
        self._dict: dict[str, int] | None = None
        self._n_scans = 0

    @classmethod
    def from_words(cls, words: Iterable[str]) -> Vocabulary:
        """Build from strings.

        Parameters
        ----------
        words : iterable of str

        Returns
        -------
        Vocabulary

        Raises
        ------
        TypeError
            If an item is not a string.
        """
        encoded = []
        for position, word in enumerate(words):
            if not isinstance(word, str):
                raise TypeError(f"word {position} is {word!r}; words are strings")
            encoded.append(word.encode("utf-8", "surrogateescape"))
        lengths = np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded))
        return cls.from_lengths(np.frombuffer(b"".join(encoded), dtype=np.uint8), lengths)

    @classmethod
    def from_lengths(
        cls, blob: npt.NDArray[np.uint8], lengths: npt.NDArray[np.integer]
    ) -> Vocabulary:
        """Build from a blob and the length in bytes of each word."""
        ends = np.cumsum(lengths, dtype=np.int64)
        total = int(ends[-1]) if len(ends) else 0
        # 4-byte positions halve the index of a file; 8 only where the text is that long
        dtype = np.uint32 if total < 2**32 else np.int64
        offsets: npt.NDArray[np.integer] = np.concatenate([[0], ends]).astype(dtype)
        return cls(blob, offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, item: int | np.integer) -> str: ...
    @overload
    def __getitem__(self, item: slice) -> list[str]: ...
    def __getitem__(self, item: int | np.integer | slice) -> str | list[str]:
        if isinstance(item, slice):
            return [self[i] for i in range(*item.indices(len(self)))]
        index = int(item)
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError(f"word {int(item)} of a vocabulary of {len(self)} words")
        start, end = int(self.offsets[index]), int(self.offsets[index + 1])
        return self.blob[start:end].tobytes().decode("utf-8", "surrogateescape")

    def __iter__(self) -> Iterator[str]:
        data = self.blob.tobytes()
        for start, end in itertools.pairwise(self.offsets.tolist()):
            yield data[start:end].decode("utf-8", "surrogateescape")

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Vocabulary):
            return np.array_equal(self.offsets, other.offsets) and np.array_equal(
                self.blob, other.blob
            )
        if isinstance(other, Sequence) and not isinstance(other, str):
            return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __contains__(self, word: object) -> bool:
        return isinstance(word, str) and self.find(word) is not None

    def __repr__(self) -> str:
        shown = ", ".join(repr(word) for word in self[:3])
        return f"Vocabulary([{shown}{', ...' if len(self) > 3 else ''}], {len(self)} words)"

    def index(self, word: str, start: int = 0, stop: int | None = None) -> int:
        """Position of a word.

        Parameters
        ----------
        word : str
        start, stop : int, optional
            Range of positions to accept, as for lists.

        Returns
        -------
        int

        Raises
        ------
        ValueError
            If the word is not there.
        """
        found = self.find(word)
        bounds = range(*slice(start, stop).indices(len(self)))
        if found is None or found not in bounds:
            raise ValueError(f"{word!r} is not in the vocabulary")
        return found

    def find(self, word: str) -> int | None:
        """Position of a word, or None."""
        if self._dict is None and self._n_scans >= _SCANS_BEFORE_DICT:
            self.key_to_index()
        if self._dict is not None:
            return self._dict.get(word)
        self._n_scans += 1
        return self._scan(word.encode("utf-8", "surrogateescape"))

    def key_to_index(self) -> dict[str, int]:
        """Word -> position, built once; the first of equal words counts."""
        if self._dict is None:
            table: dict[str, int] = {}
            for position, word in enumerate(self):
                table.setdefault(word, position)
            self._dict = table
        return self._dict

    def close_words(self, word: str, n: int = 3) -> list[str]:
        """Words spelt like `word`, nearest first, for messages about unknown words."""
        # the first words of a file are the frequent ones: what people mean when they mistype
        pool = self[:100_000]
        lowered = word.lower()
        candidates = [w for w in pool if abs(len(w) - len(word)) <= 2 and w[:1] == lowered[:1]]
        exact = [w for w in pool if w.lower() == lowered and w != word]
        near = difflib.get_close_matches(word, candidates, n=n, cutoff=0.6)
        return list(dict.fromkeys(exact + near))[:n]

    def _scan(self, target: bytes) -> int | None:
        starts = self.offsets[:-1]
        candidates = np.flatnonzero(self.offsets[1:] - starts == len(target))
        for place, byte in enumerate(target):
            if not len(candidates):
                return None
            candidates = candidates[self.blob[starts[candidates] + place] == byte]
        return int(candidates[0]) if len(candidates) else None


def read_vocabulary(container: Container, n: int) -> Vocabulary:
    """Words of an opened file.

    Parameters
    ----------
    container : Container
    n : int
        Number of words that there must be.

    Returns
    -------
    Vocabulary

    Raises
    ------
    FormatError
        If their number is another, or their positions are out of order.
    """
    blob = container.tensor("vocab", (np.uint8,), 1)
    offsets = container.tensor("vocab_offsets", (np.uint32, np.int64), 1)
    path = container.path
    if len(offsets) != n + 1:
        raise FormatError(f"{path}: {len(offsets)} word positions, expected {n + 1} for {n} codes")
    if int(offsets[0]) != 0 or int(offsets[-1]) != len(blob) or (offsets[1:] < offsets[:-1]).any():
        raise FormatError(
            f"{path}: word positions are out of order or do not span the {len(blob)} bytes of words"
        )
    return Vocabulary(blob, offsets)


def short_vocabulary(words: Vocabulary) -> dict[str, npt.NDArray]:
    """Arrays of a file that has words with their lengths: a quarter of what positions take.

    Parameters
    ----------
    words : Vocabulary

    Returns
    -------
    dict of str to ndarray
        ``vocab`` uint8, and ``vocab_lengths`` uint8, or wider where a word has more than 255 bytes.
    """
    lengths = np.diff(words.offsets.astype(np.int64))
    dtype = np.min_scalar_type(int(lengths.max(initial=0)))
    return {"vocab": words.blob, "vocab_lengths": lengths.astype(dtype)}


def read_short_vocabulary(container: Container, n: int) -> Vocabulary:
    """Words of an opened file that has their lengths.

    Parameters
    ----------
    container : Container
    n : int
        Number of words that there must be.

    Returns
    -------
    Vocabulary

    Raises
    ------
    FormatError
        If their number is another, or they do not fill the bytes of words.
    """
    blob = container.tensor("vocab", (np.uint8,), 1)
    lengths = container.tensor("vocab_lengths", (np.uint8, np.uint16, np.uint32), 1)
    path = container.path
    if len(lengths) != n:
        raise FormatError(f"{path}: {len(lengths)} lengths of words, expected {n} for {n} codes")
    if int(lengths.sum(dtype=np.uint64)) != len(blob):
        raise FormatError(f"{path}: lengths of words do not add up to their {len(blob)} bytes")
    return Vocabulary.from_lengths(blob, lengths)
