"""Operations on vectors that the convolutions brought, against their twins."""

from __future__ import annotations

import numpy as np

from embcompress._compiled import compiled
from embcompress.simd import (
    filled,
    fma_pairs,
    fma_shifted,
    load,
    split_pairs,
    store_masked,
    store_tile,
    sum_lanes,
)


@compiled()
def _pairs(x, weights, start, out):
    store_tile(fma_pairs(filled(3, start), weights, 1, x, 5), out, 0, 16)


@compiled()
def _masked(x, low, mask, out):
    tile = fma_shifted(filled(2, np.float32(0)), np.float32(1), x, 0)
    store_masked(tile, low, mask, 3, out, 1)


@compiled()
def _split(x, out):
    split_pairs(x, 3, out, 1, 20)


@compiled()
def _sum(x):
    return sum_lanes(load(x, 2))


def numbers(n, seed=0):
    return np.random.default_rng(seed).standard_normal(n).astype(np.float32)


def test_pairs():
    x, weights, out = numbers(70), numbers(3, 1), np.zeros(48, np.float32)
    _pairs(x, weights, np.float32(2), out)
    tile = fma_pairs.twin(filled.twin(3, 2), weights, 1, x, 5)
    assert np.allclose(out, np.concatenate(tile), atol=1e-6)


def test_masked_store():
    x, mask = numbers(40), np.array([9, 9, 9] + [0, 1, 1, -1] * 8, np.float32)
    x[[1, 3]] = np.nan
    ours, twins = np.full(40, 7, np.float32), np.full(40, 7, np.float32)
    _masked(x, np.float32(-0.5), mask, ours)
    store_masked.twin((x[:16], x[16:32]), np.float32(-0.5), mask, 3, twins, 1)
    assert np.array_equal(ours, twins, equal_nan=True)
    assert np.isnan(ours).nonzero()[0].tolist() == [2]  # the other one is masked
    assert ours[0] == ours[33] == 7


def test_split_and_sum():
    x, ours, twins = numbers(40), np.zeros(40, np.float32), np.zeros(40, np.float32)
    _split(x, ours)
    split_pairs.twin(x, 3, twins, 1, 20)
    assert np.array_equal(ours, twins)
    assert ours[1:17].tolist() == x[3:35:2].tolist()
    assert np.isclose(_sum(x), x[2:18].sum(), atol=1e-5)
