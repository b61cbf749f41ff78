from __future__ import annotations

import numpy as np
import pytest

from embcompress import LSH, CompressedVectors, KeyedVectors, Sign
from embcompress.quality import neighbour_recall, neighbour_recalls


def test_more_bits_keep_more_neighbours(sample):
    recalls = [
        neighbour_recall(
            sample, CompressedVectors.compress(sample, LSH(n, random_state=0)), n_queries=200
        )
        for n in (16, 64, 512)
    ]
    assert recalls[0] < recalls[1] < recalls[2] <= 1


def test_asymmetric_scoring_keeps_more(sample):
    small = CompressedVectors.compress(sample, LSH(64, random_state=0))
    found = {
        scoring: neighbour_recall(sample, small, scoring=scoring, n_queries=200)
        for scoring in ("hamming", "asymmetric")
    }
    assert found["asymmetric"] > found["hamming"]


def test_codes_that_lose_nothing_have_recall_one():
    # the corners of a cube: the 8 nearest of each are those that differ in one coordinate
    signs = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1) * 2.0 - 1
    kv = KeyedVectors([f"w{i}" for i in range(256)], signs)
    recall = neighbour_recall(kv, CompressedVectors.compress(kv, Sign()), k=8, n_queries=50)
    assert recall == pytest.approx(1)


def test_measured_together_is_measured_alone(sample):
    small = CompressedVectors.compress(sample, Sign())
    together = neighbour_recalls(sample, small, n_queries=100)
    assert together == {
        scoring: neighbour_recall(sample, small, scoring=scoring, n_queries=100)
        for scoring in ("hamming", "asymmetric")
    }


def test_messages(sample):
    small = CompressedVectors.compress(sample, Sign())
    with pytest.raises(ValueError, match="scoring='cosine'; allowed: 'hamming' or 'asymmetric'"):
        neighbour_recall(sample, small, scoring="cosine")
    tiny = KeyedVectors(["a", "b"], np.eye(2))
    with pytest.raises(ValueError, match="2 float vectors came with 5000 codes"):
        neighbour_recall(tiny, small)
    with pytest.raises(ValueError, match="recall@10 needs at least 11 words, there are 2"):
        neighbour_recall(tiny, CompressedVectors.compress(tiny, Sign("mean")))
