"""Codes, indexes over them, and what their searches must find."""

from __future__ import annotations

import numpy as np

from embcompress.codes import hamming_distances, pack_bits
from embcompress.index import HammingIndex

KINDS = ["flat", "ivf", "hnsw"]
ENGINES = ["native", "numpy", "faiss"]


def random_codes(n, n_bits, seed=0, n_free=None):
    """Codes of which the first `n_free` bits vary: few of them make many ties."""
    bits = np.zeros((n, n_bits), dtype=bool)
    n_free = n_bits if n_free is None else min(n_free, n_bits)
    bits[:, :n_free] = np.random.default_rng(seed).random((n, n_free)) < 0.5
    return pack_bits(bits)


def clustered_codes(n, n_bits, n_clusters=20, noise=0.1, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.random((n_clusters, n_bits)) < 0.5
    return pack_bits(centres[rng.integers(n_clusters, size=n)] ^ (rng.random((n, n_bits)) < noise))


def oracle(queries, codes, k):
    """All distances, and a stable sort: the order that a search must have."""
    distances = hamming_distances(queries, codes)
    indices = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distances, indices, 1), indices


def made(kind="flat", n=500, n_bits=100, **options):
    codes = clustered_codes(n, n_bits)
    index = HammingIndex(n_bits, kind=kind, **options)
    index.add(codes)
    return index, codes


def assert_same_search(first, second, queries, k=10):
    for a, b in zip(first.search(queries, k), second.search(queries, k), strict=True):
        np.testing.assert_array_equal(a, b)


def filled_index(codes, n_bits, engine="auto", ids=None, scales=None, **options):
    index = HammingIndex(n_bits, engine=engine, **options)
    index.add(codes, ids, scales=scales)
    return index


def codes_at(query, n_bits, distances, seed=0):
    """Codes that differ from a code in given numbers of bits."""
    rng = np.random.default_rng(seed)
    bits = np.repeat(np.unpackbits(query, count=n_bits)[None], len(distances), axis=0)
    for row, distance in zip(bits, distances, strict=True):
        row[rng.permutation(n_bits)[:distance]] ^= 1
    return np.packbits(bits, axis=1)


def check_search(index, codes, queries, k, chosen=None):
    """Hold a search to the oracle; `chosen` are the positions that may be found."""
    chosen = np.arange(len(codes)) if chosen is None else chosen
    distances, indices = index.search(queries, k, **_subset(chosen, codes))
    expected, places = oracle(queries, codes[chosen], k)
    n_found = min(len(chosen), k)
    assert (distances.dtype, indices.dtype) == (np.int32, np.int64)
    assert distances.shape == indices.shape == (len(queries), k)
    np.testing.assert_array_equal(distances[:, :n_found], expected)
    np.testing.assert_array_equal(indices[:, :n_found], chosen[places])
    assert (distances[:, n_found:] == index.n_bits + 1).all()
    assert (indices[:, n_found:] == -1).all()


def check_range(index, codes, queries, radius, chosen=None):
    """Hold a search within a radius to the oracle."""
    chosen = np.arange(len(codes)) if chosen is None else chosen
    result = index.range_search(queries, radius, **_subset(chosen, codes))
    distances = hamming_distances(queries, codes[chosen])
    order = np.argsort(distances, axis=1, kind="stable")
    ordered = np.take_along_axis(distances, order, 1)
    near = ordered <= radius
    np.testing.assert_array_equal(result.limits, np.cumsum([0, *near.sum(axis=1)]))
    np.testing.assert_array_equal(result.distances, ordered[near])
    np.testing.assert_array_equal(result.indices, chosen[order][near])
    return result


def _subset(chosen, codes):
    return {} if len(chosen) == len(codes) else {"subset": chosen}
