"""Small spaces that every task can be tried on."""

from __future__ import annotations

import numpy as np
import pytest

from embcompress import ITQ, CompressedVectors
from embcompress.evaluation import SimilarityPairs, Space, space_of


@pytest.fixture(scope="session")
def small(sample) -> CompressedVectors:
    """The sample in 64 bits."""
    return CompressedVectors.compress(sample, ITQ(64, random_state=0))


@pytest.fixture(scope="session")
def spaces(sample, small) -> dict[str, Space]:
    """The sample in each of the spaces that there are."""
    return {
        "float": space_of(sample),
        "hamming": space_of(small),
        "asymmetric": space_of(small, scoring="asymmetric", floats=sample),
        "decoded": space_of(small, scoring="asymmetric", name="decoded"),
    }


@pytest.fixture(scope="session")
def made_pairs(sample) -> SimilarityPairs:
    """300 pairs of the sample with noisy cosines as ratings, and 5 with unknown words."""
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, 2000, size=(300, 2))
    words = sample.index_to_key
    pairs = [(words[int(a)], words[int(b)]) for a, b in drawn]
    noise = 0.1 * rng.normal(size=300)
    scores = np.array([sample.similarity(*pair) for pair in pairs]) + noise
    unknown = [("zzzzzz", words[i]) for i in range(5)]
    return SimilarityPairs("made", [*pairs, *unknown], np.concatenate([scores, np.zeros(5)]))
