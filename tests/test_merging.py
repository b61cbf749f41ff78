"""Neighbours of parts, merged, are those of one index."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embcompress import HammingIndex
from embcompress.index.merging import merge_neighbors

N_BITS = 16
# few different codes: many equal distances
CODES = np.random.default_rng(0).integers(0, 4, size=(60, 2)).astype(np.uint8)
QUERIES = CODES[:7]


def found_in(codes: np.ndarray, first: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    index = HammingIndex(n_bits=N_BITS)
    index.add(codes)
    distances, indices = index.search(QUERIES, k)
    return distances, np.where(indices < 0, -1, indices + first)


@given(
    places=st.lists(st.integers(1, len(CODES) - 1), max_size=5, unique=True),
    k=st.integers(1, 70),
    order=st.randoms(),
)
def test_parts_give_what_one_index_gives(places, k, order):
    edges = [0, *sorted(places), len(CODES)]
    parts = [found_in(CODES[lo:hi], lo, k) for lo, hi in pairwise(edges)]
    order.shuffle(parts)
    distances, indices = merge_neighbors(parts, k)
    expected = found_in(CODES, 0, k)
    np.testing.assert_array_equal(distances, expected[0])
    np.testing.assert_array_equal(indices, expected[1])
    assert (distances.dtype, indices.dtype) == (np.int32, np.int64)


def test_short_parts_are_filled_up():
    part = np.array([[1, 2]], dtype=np.int32), np.array([[5, 3]])
    distances, indices = merge_neighbors([part], 4)
    assert indices.tolist() == [[5, 3, -1, -1]]
    assert distances.tolist() == [[1, 2, 2, 2]]


@pytest.mark.parametrize(
    ("parts", "k", "message"),
    [
        ([], 1, "there are no parts to merge"),
        ([(np.zeros((1, 1), np.int32), np.zeros((1, 1), np.int64))], 0, "k=0 must be at least 1"),
        (
            [(np.zeros((n, 1), np.int32), np.zeros((n, 1), np.int64)) for n in (2, 3)], 1,
            "parts have 2 and 3 queries; all need the same",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_merged(parts, k, message):
    with pytest.raises(ValueError, match=message):
        merge_neighbors(parts, k)
