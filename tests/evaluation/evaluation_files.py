"""Plain readers of the files that the tests on real data need."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from embcompress import KeyedVectors
from embcompress.evaluation import AnalogyQuestions, Categories, SimilarityPairs


def rotated(vectors: KeyedVectors, seed: int = 0) -> KeyedVectors:
    """The same vectors in other axes."""
    d = vectors.vector_size
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))
    return KeyedVectors(vectors.index_to_key, vectors.vectors @ rotation.astype(np.float32))


def read_pairs(path: Path) -> SimilarityPairs:
    rows = [line.split() for line in path.read_text("utf-8").splitlines()]
    return SimilarityPairs(
        path.stem, [(row[0], row[1]) for row in rows], np.array([float(row[2]) for row in rows])
    )


def read_questions(path: Path) -> AnalogyQuestions:
    questions, sections, section = [], [], ""
    for line in path.read_text("utf-8").splitlines():
        if line.startswith(":"):
            section = line[2:]
        elif line:
            questions.append(tuple(line.split()))
            sections.append(section)
    return AnalogyQuestions("Google", questions, sections)


def read_categories(path: Path) -> Categories:
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return Categories(path.stem, [row["word"] for row in rows], [row["category"] for row in rows])
