"""Search with real-valued queries: scores of NumPy in float64, and their order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from index_cases import filled_index, random_codes

from embcompress.codes import asymmetric_scores, pack_bits, unpack_signs
from embcompress.index.checks import checked_weights

ENGINES = ["native", "numpy"]
WIDTHS = [1, 7, 8, 9, 31, 64, 255, 256, 257, 300, 1000, 2040]


def true_scores(codes, queries, n_bits, scales=None):
    scores = np.asarray(queries, np.float64) @ unpack_signs(codes, n_bits, np.float64).T
    return scores if scales is None else scores * np.asarray(scales, np.float32)


def check_close(index, codes, queries, k, scales=None, chosen=None):
    """Scores of float64 to what float32 holds; indices wherever scores differ clearly."""
    chosen = np.arange(len(codes)) if chosen is None else chosen
    options = {} if len(chosen) == len(codes) else {"subset": chosen}
    scores, indices = index.search_asymmetric(queries, k, **options)
    assert (scores.dtype, indices.dtype) == (np.float32, np.int64)
    assert scores.shape == indices.shape == (len(queries), k)
    every = true_scores(codes, np.float32(queries), index.n_bits, scales)[:, chosen]
    order = np.argsort(-every, axis=1, kind="stable")[:, :k]
    expected = np.take_along_axis(every, order, 1)
    n = expected.shape[1]
    size = np.abs(np.asarray(queries, np.float64)).sum(axis=1, keepdims=True)
    size = size * (1 if scales is None else np.max(scales))
    error = 1e-5 * np.abs(expected) + 1e-12 * size
    assert (np.abs(scores[:, :n] - expected) <= error + np.finfo(np.float32).tiny).all()
    if n > 1:
        gap = np.diff(expected, axis=1) < -2e-5 * np.abs(expected).max(axis=1, keepdims=True)
        clear = np.pad(gap, ((0, 0), (1, 0)), constant_values=True)
        clear[:, :-1] &= gap
        clear[:, -1] = False  # the next one, which is not seen, may be as good
        assert (indices[:, :n] == chosen[order])[clear].all()
    # whatever the indices, they have the scores that are given with them
    places = np.searchsorted(chosen, indices[:, :n])
    given_scores = np.take_along_axis(every, places, 1)
    assert (np.abs(scores[:, :n] - given_scores) <= error + np.finfo(np.float32).tiny).all()
    assert (scores[:, n:] == -np.inf).all()
    assert (indices[:, n:] == -1).all()
    assert all(len(set(row)) == n for row in indices[:, :n].tolist())


def check_exact(index, codes, queries, k, scales=None):
    """All sums are exact: scores and indices are those of a stable sort."""
    scores, indices = index.search_asymmetric(queries, k)
    with np.errstate(over="ignore"):
        every = true_scores(codes, queries, index.n_bits, scales).astype(np.float32)
    order = np.argsort(-every, axis=1, kind="stable")[:, :k]
    n = order.shape[1]
    np.testing.assert_array_equal(scores[:, :n], np.take_along_axis(every, order, 1))
    np.testing.assert_array_equal(indices[:, :n], order)
    assert (scores[:, n:] == -np.inf).all()
    assert (indices[:, n:] == -1).all()


@settings(max_examples=150)
@given(
    engine=st.sampled_from(ENGINES),
    n=st.sampled_from([1, 63, 64, 65, 127, 128, 129]) | st.integers(1, 700),
    n_bits=st.sampled_from(WIDTHS) | st.integers(1, 400),
    k=st.integers(1, 40) | st.sampled_from([64, 65, 130, 705]),
    n_queries=st.sampled_from([0, 1, 2, 3, 4, 5, 9]),
    magnitude=st.sampled_from([1.0, 1e-30, 1e30, 1e-3]),
    scaled=st.booleans(),
    spread=st.sampled_from([0.0, 1.0, 3.0]),
    seed=st.integers(0, 2**16),
)
@example(
    engine="native", n=700, n_bits=300, k=65, n_queries=9, magnitude=1e30, scaled=True, spread=3.0,
    seed=1,
)  # fmt: skip
def test_scores_are_those_of_float64(
    engine, n, n_bits, k, n_queries, magnitude, scaled, spread, seed
):
    rng = np.random.default_rng(seed)
    codes = random_codes(n, n_bits, seed)
    # a few weights that count for much, many for little
    sizes = np.exp(spread * rng.normal(size=(n_queries, n_bits)))
    queries = magnitude * rng.normal(size=(n_queries, n_bits)) * sizes
    scales = rng.uniform(0.5, 2, n) if scaled else None
    check_close(filled_index(codes, n_bits, engine, scales=scales), codes, queries, k, scales)


@settings(max_examples=200)
@given(
    engine=st.sampled_from(ENGINES),
    n=st.sampled_from([1, 64, 65, 128, 129]) | st.integers(1, 700),
    n_bits=st.sampled_from(WIDTHS) | st.integers(1, 400),
    n_free=st.integers(1, 12) | st.just(10_000),
    k=st.integers(1, 40) | st.sampled_from([64, 65, 130, 705]),
    n_queries=st.sampled_from([0, 1, 2, 3, 4, 5, 9]),
    largest=st.sampled_from([0, 1, 2, 7, 127, 1000]),
    scaled=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_whole_numbers_are_exact_with_ties(
    engine, n, n_bits, n_free, k, n_queries, largest, scaled, seed
):
    rng = np.random.default_rng(seed)
    codes = random_codes(n, n_bits, seed, n_free)
    queries = rng.integers(-largest, largest + 1, (n_queries, n_bits))
    scales = 2.0 ** rng.integers(-3, 4, n) if scaled else None
    check_exact(filled_index(codes, n_bits, engine, scales=scales), codes, queries, k, scales)


@settings(max_examples=100)
@given(
    precision=st.sampled_from(["int8", "int4"]),
    n=st.integers(1, 500),
    n_bits=st.sampled_from(WIDTHS),
    n_free=st.integers(1, 12) | st.just(10_000),
    k=st.integers(1, 80),
    magnitude=st.sampled_from([1.0, 1e-30, 1e30, 0.1]),
    n_queries=st.sampled_from([1, 4, 9]),
    seed=st.integers(0, 2**16),
)
def test_rounded_queries_are_exact_with_ties(
    precision, n, n_bits, n_free, k, magnitude, n_queries, seed
):
    """Equal sums of whole numbers are equal scores: ties by id, and zero is zero."""
    codes = random_codes(n, n_bits, seed, n_free)
    queries = magnitude * np.random.default_rng(seed).normal(size=(n_queries, n_bits))
    levels = {"int8": 127, "int4": 7}[precision]
    step = np.float64(np.float32(np.abs(np.float32(queries)).max(axis=1, keepdims=True) / levels))
    whole = np.rint(np.float32(queries) / step)
    assert np.abs(whole).max() == levels
    np.testing.assert_array_equal(whole * step, checked_weights(queries, n_bits, precision))
    sums = true_scores(codes, whole, n_bits)
    order = np.argsort(-sums, axis=1, kind="stable")[:, :k]
    for engine in ENGINES:
        index = filled_index(codes, n_bits, engine)
        scores, indices = index.search_asymmetric(queries, k, precision=precision)
        np.testing.assert_array_equal(indices[:, : order.shape[1]], order)
        expected = (np.take_along_axis(sums, order, 1) * step).astype(np.float32)
        np.testing.assert_array_equal(scores[:, : order.shape[1]], expected)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("n_bits", [4096, 8192, 20_000])
def test_wide_codes(n_bits, engine):
    """Rounded sums of many columns must not exceed 16 bits, also where all are rounded up."""
    codes = random_codes(700, n_bits)
    codes[[600, 650]] = pack_bits(np.ones((1, n_bits), bool))
    index = filled_index(codes, n_bits, engine)
    queries = np.ones((5, n_bits))
    queries[1:] = np.random.default_rng(0).integers(-9, 10, (4, n_bits))
    check_exact(index, codes, queries, 10)
    check_exact(index, codes, queries[:1], 10)
    check_exact(index, codes, -queries, 70)


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("engine", ENGINES)
def test_a_query_of_zeros_finds_the_first_codes(engine, scaled):
    codes = random_codes(500, 77)
    scales = np.linspace(1, 2, 500) if scaled else None
    index = filled_index(codes, 77, engine, scales=scales)
    for n_queries in (1, 4, 6):
        queries = np.zeros((n_queries, 77))
        queries[1::2] = -0.0
        scores, indices = index.search_asymmetric(queries, 70)
        assert (indices == np.arange(70)).all()
        assert (scores == 0).all()
        assert not np.signbit(scores).any()
    for precision in ("int8", "int4"):
        indices = index.search_asymmetric(np.zeros((1, 77)), 3, precision=precision)[1]
        assert indices.tolist() == [[0, 1, 2]]


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("engine", ENGINES)
def test_scores_that_are_all_negative(engine, scaled):
    rng = np.random.default_rng(0)
    codes = pack_bits(rng.random((600, 300)) < 0.9)
    queries = rng.integers(-20, 1, (9, 300))
    scales = 2.0 ** rng.integers(-3, 4, 600) if scaled else None
    index = filled_index(codes, 300, engine, scales=scales)
    assert index.search_asymmetric(queries, 1)[0].max() < 0
    check_exact(index, codes, queries, 20, scales)
    check_exact(index, codes, queries[:1], 100, scales)


@pytest.mark.parametrize("base", [1.2e-38, 1e-30, 1e-5, 1e3, 1e6, 1e10, 1e30, 1e38])
def test_scales_of_any_size(base):
    """The bound is compared in float32; what that loses must not hide a better code.

    All codes have the same score before scales, small beside the sum of all weights, and scales
    rise slowly: each code is a little better than those before.
    """
    n_bits, n = 2040, 600
    for seed in (55, 82, 118, 169, 179, 221, 246):
        rng = np.random.default_rng(seed)
        step = np.round(rng.uniform(0.1, 10) * 2**14) / 2**14
        halves = np.zeros(n_bits // 4, bool)
        halves[rng.permutation(n_bits // 4)[: n_bits // 8]] = True
        bits = np.repeat(np.repeat(halves, 4)[None], n, axis=0)
        bits[:, 3] = True
        codes = pack_bits(bits)
        query = np.tile([64, 32, 16, 15.0], n_bits // 4)[None] * step
        scales = np.float32(base * (1 + np.sort(rng.random(n)) * 1e-3))
        check_exact(filled_index(codes, n_bits, "native", scales=scales), codes, query, 5, scales)


@pytest.mark.parametrize("engine", ENGINES)
def test_scores_beyond_float32_are_infinite(engine):
    codes = random_codes(400, 64)
    queries = 1e30 * np.random.default_rng(0).integers(-3, 4, (5, 64))
    scales = np.linspace(1e7, 1e9, 400)
    index = filled_index(codes, 64, engine, scales=scales)
    check_exact(index, codes, np.float32(queries), 9, scales)
    check_exact(index, codes, np.float32(queries), 390, scales)
    assert np.isinf(index.search_asymmetric(queries, 400)[0]).any()


@pytest.mark.parametrize("engine", ENGINES)
def test_subsets(engine):
    rng = np.random.default_rng(0)
    codes = random_codes(500, 100)
    queries = rng.normal(size=(6, 100))
    scales = rng.uniform(0.5, 2, 500)
    index = filled_index(codes, 100, engine, scales=scales)
    for chosen in (np.arange(0, 500, 9), np.array([64]), np.arange(130, 260)):
        check_close(index, codes, queries, 60, scales, chosen)


@pytest.mark.parametrize("engine", ENGINES)
def test_scales_go_with_their_codes(engine):
    rng = np.random.default_rng(0)
    codes, scales = random_codes(300, 100), 2.0 ** rng.integers(-3, 4, 300)
    ids = rng.permutation(300)
    index = filled_index(codes[:100], 100, engine, ids=ids[:100], scales=scales[:100])
    queries = rng.integers(-5, 6, (6, 100))
    index.search_asymmetric(queries, 1)
    index.add(codes[100:], ids[100:], scales=scales[100:])
    order = np.argsort(ids)
    check_exact(index, codes[order], queries, 30, scales[order])
    index.remove(ids[:150])
    left = order[~np.isin(order, np.arange(150))]
    expected = filled_index(codes[left], 100, engine, ids=ids[left], scales=scales[left])
    for a, b in zip(
        index.search_asymmetric(queries, 30), expected.search_asymmetric(queries, 30), strict=True
    ):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("precision", ["float32", "int8", "int4"])
@pytest.mark.parametrize("engine", ENGINES)
def test_the_order_is_that_of_asymmetric_scores(engine, precision):
    codes = random_codes(1000, 200)
    queries = np.random.default_rng(0).normal(size=(5, 200)).astype(np.float32)
    index = filled_index(codes, 200, engine)
    weights = checked_weights(queries, 200, precision).astype(np.float32)
    every = asymmetric_scores(weights, codes, 200)
    scores, indices = index.search_asymmetric(queries, 1000, precision=precision)
    assert (np.sort(indices, axis=1) == np.arange(1000)).all()
    found = np.take_along_axis(every, indices, 1)
    np.testing.assert_allclose(found, scores, rtol=1e-4, atol=1e-3)
    assert (np.diff(found, axis=1) <= 1e-3).all()


def test_signs_as_queries_give_the_order_of_distances():
    codes = random_codes(800, 128, n_free=20)
    index = filled_index(codes, 128, "native")
    signs = unpack_signs(codes[:9], 128)
    distances, indices = index.search(codes[:9], 50)
    scores, same = index.search_asymmetric(signs, 50)
    np.testing.assert_array_equal(indices, same)
    np.testing.assert_array_equal(scores, 128 - 2 * distances)
