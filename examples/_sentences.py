"""Sentences as mean word vectors, and raw augmentations of their words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "TRANSFORMS",
    "WordVectors",
    "drop",
    "load_sentences",
    "swap",
    "synonyms",
    "transform_all",
]

Words = list[str]
Floats = npt.NDArray[np.float32]


class WordVectors:
    """Vectors of words with a table of their nearest neighbours.

    Parameters
    ----------
    vectors : KeyedVectors
        Of :mod:`embcompress`; words by falling frequency.
    words : sequence of str
        Those that neighbours are wanted for.
    n_neighbours : int, default 3
    among : int, default 20000
        Neighbours are looked for among the most frequent words.
    """

    def __init__(
        self, vectors: Any, words: Sequence[str], *, n_neighbours: int = 3, among: int = 20_000
    ) -> None:
        self.matrix: Floats = np.asarray(vectors.vectors, dtype=np.float32)
        self.index: dict[str, int] = {word: i for i, word in enumerate(vectors.index_to_key)}
        names = vectors.index_to_key
        known = [word for word in dict.fromkeys(words) if word in self.index]
        unit = self.matrix / np.linalg.norm(self.matrix, axis=1, keepdims=True).clip(1e-9)
        rows = np.array([self.index[word] for word in known], dtype=np.int64)
        cosines = unit[rows] @ unit[:among].T
        inside = rows < among
        cosines[np.flatnonzero(inside), rows[inside]] = -2  # no word is its own neighbour
        best = np.argpartition(-cosines, n_neighbours, axis=1)[:, :n_neighbours]
        self.neighbours: dict[str, Words] = {
            word: [names[i] for i in row] for word, row in zip(known, best, strict=True)
        }

    def embed(self, sentences: Sequence[Words]) -> Floats:
        """Mean vectors, shape (n, d); zeros for a sentence of unknown words."""
        out = np.zeros((len(sentences), self.matrix.shape[1]), dtype=np.float32)
        for row, sentence in zip(out, sentences, strict=True):
            found = [self.index[word] for word in sentence if word in self.index]
            if found:
                row[:] = self.matrix[found].mean(axis=0)
        return out


Transform = Callable[[Words, Sequence[Words], WordVectors, np.random.Generator], Words]


def drop(
    words: Words,
    others: Sequence[Words],
    vectors: WordVectors,
    generator: np.random.Generator,
    share: float = 0.3,
) -> Words:
    """Each word is left out with so large a probability; one at least stays."""
    kept = [word for word, u in zip(words, generator.random(len(words)), strict=True) if u >= share]
    return kept or [words[int(generator.integers(len(words)))]]


def swap(
    words: Words,
    others: Sequence[Words],
    vectors: WordVectors,
    generator: np.random.Generator,
    share: float = 0.3,
) -> Words:
    """Some words change places with words of another sentence.

    Two words of the same sentence that change places leave its mean as it is.
    """
    other = others[int(generator.integers(len(others)))]
    chosen = generator.random(len(words)) < share
    return [
        other[int(generator.integers(len(other)))] if is_chosen else word
        for word, is_chosen in zip(words, chosen, strict=True)
    ]


def synonyms(
    words: Words,
    others: Sequence[Words],
    vectors: WordVectors,
    generator: np.random.Generator,
    share: float = 0.5,
) -> Words:
    """Some words become one of their nearest neighbours among the vectors."""
    out = []
    for word, u in zip(words, generator.random(len(words)), strict=True):
        near = vectors.neighbours.get(word)
        out.append(near[int(generator.integers(len(near)))] if near and u < share else word)
    return out


TRANSFORMS: dict[str, Transform] = {"dropout": drop, "swap": swap, "synonyms": synonyms}


def transform_all(
    transform: Transform, sentences: Sequence[Words], vectors: WordVectors, seed: int
) -> list[Words]:
    """All sentences transformed; that of one depends on its place and the seed alone."""
    return [
        transform(words, sentences, vectors, np.random.default_rng([seed, number]))
        for number, words in enumerate(sentences)
    ]


def load_sentences(
    data: Path, name: str = "stsa.binary.train", n: int | None = None
) -> tuple[list[Words], npt.NDArray[np.int64]]:
    """Words and labels of a file of ``label text`` lines.

    Parameters
    ----------
    data : Path
        Folder with ``text/sentences``.
    name : str
        Name of the file.
    n : int, optional
        How many of them, drawn with a fixed seed. Default: all.

    Returns
    -------
    sentences : list of list of str
        Lower case, one word at least.
    labels : ndarray of int64
    """
    sentences, labels = [], []
    text = (data / "text" / "sentences" / name).read_text(encoding="latin-1")
    for line in text.splitlines():
        label, _, words = line.partition(" ")
        if label.isdigit() and words.split():
            sentences.append(words.lower().split())
            labels.append(int(label))
    order = np.random.default_rng(0).permutation(len(sentences))[:n]
    return [sentences[i] for i in order], np.array(labels)[order]
