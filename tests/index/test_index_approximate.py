"""Lists and graphs of FAISS."""

from __future__ import annotations

import faiss
import numpy as np
import pytest
from index_cases import KINDS, made, oracle, random_codes

from embcompress.codes import hamming_distances, pack_bits
from embcompress.index import HammingIndex


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_approximate_results_are_true_distances_in_order(kind):
    index, codes = made(kind, n=3000)
    distances, indices = index.search(codes[:100], 20)
    assert distances.dtype == np.int32
    assert indices.dtype == np.int64
    every = np.take_along_axis(hamming_distances(codes[:100], codes), indices, 1)
    np.testing.assert_array_equal(distances, every)
    steps = np.diff(distances.astype(np.int64) * len(codes) + indices, axis=1)
    assert (steps > 0).all()
    assert all(len(set(row)) == 20 for row in indices.tolist())
    exact = oracle(codes[:100], codes, 20)[0]
    assert np.mean(distances[:, -1] == exact[:, -1]) > 0.8


def test_ivf_that_visits_every_list_is_exact_in_distances():
    index, codes = made("ivf", n=2000, n_lists=12, n_probe=12)
    np.testing.assert_array_equal(index.search(codes[:50], 30)[0], oracle(codes[:50], codes, 30)[0])


def test_ivf_finds_more_with_more_probes():
    codes = random_codes(4000, 64)
    index = HammingIndex(64, kind="ivf", n_lists=40, n_probe=1)
    index.add(codes)
    exact = oracle(codes[:100], codes, 10)[0].sum()
    few = index.search(codes[:100], 10)[0].sum()
    index.n_probe = 40
    assert index.search(codes[:100], 10)[0].sum() == exact < few


def test_hnsw_finds_more_with_a_wider_search():
    codes = random_codes(4000, 128)
    index = HammingIndex(128, kind="hnsw", n_neighbors=4, ef_construction=20, ef_search=1)
    index.add(codes)
    few = index.search(codes[:100], 5)[0].sum()
    index.ef_search = 200
    assert index.search(codes[:100], 5)[0].sum() < few


@pytest.mark.parametrize("kind", KINDS)
def test_more_neighbours_than_codes(kind):
    index, codes = made(kind, n=7)
    distances, indices = index.search(codes[:2], 10)
    assert (indices[:, 7:] == -1).all()
    assert (distances[:, 7:] == 101).all()
    assert (np.sort(indices[:, :7], axis=1) == np.arange(7)).all()


def test_unreached_neighbours_are_marked():
    codes = np.repeat(pack_bits(np.eye(3, 64, dtype=bool)), 10, axis=0)
    index = HammingIndex(64, kind="ivf", n_lists=3, n_probe=1)
    index.add(codes)
    distances, indices = index.search(codes[:1], 30)
    found = indices[0] >= 0
    assert 0 < found.sum() < 30
    assert not found[found.sum() :].any()
    assert (distances[0, ~found] == 65).all()


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_the_seed_is_honoured(kind):
    def bytes_of(seed):
        index, _ = made(kind, n=3000, n_threads=1, random_state=seed)
        return faiss.serialize_index_binary(index._codes.index).tobytes()

    assert bytes_of(3) == bytes_of(3)
    assert bytes_of(3) != bytes_of(4)


@pytest.mark.parametrize(("n", "n_lists"), [(10, 1), (100, 2), (1521, 39), (10_000, 100)])
def test_default_number_of_lists(n, n_lists):
    index = HammingIndex(64, kind="ivf")
    index.add(random_codes(n, 64))
    assert index.n_lists == n_lists
