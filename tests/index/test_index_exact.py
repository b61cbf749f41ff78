"""Exact search, by every engine: the oracle is a stable sort of all distances."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from index_cases import (
    ENGINES,
    assert_same_search,
    check_range,
    check_search,
    codes_at,
    filled_index,
    made,
    oracle,
    random_codes,
)

from embcompress.index import HammingIndex

WIDTHS = [8, 31, 248, 249, 254, 255, 256, 257, 300, 512, 2040, 2048, 4096]
BATCHES = [0, 1, 2, 4, 5, 8, 9, 33]

borders = st.sampled_from([1, 63, 64, 65, 127, 128, 129, 191, 192, 193, 256, 257])
engines = st.sampled_from(ENGINES)


@settings(max_examples=300)
@given(
    engine=engines,
    n=borders | st.integers(1, 700),
    n_bits=st.sampled_from(WIDTHS[:-3]) | st.integers(1, 700),
    n_free=st.integers(1, 12) | st.just(10_000),
    k=st.integers(1, 40) | st.sampled_from([63, 64, 65, 66, 130, 700]),
    n_queries=st.sampled_from(BATCHES),
    seed=st.integers(0, 2**16),
)
@example(engine="native", n=700, n_bits=255, n_free=3, k=65, n_queries=33, seed=0)
@example(engine="native", n=129, n_bits=1, n_free=1, k=64, n_queries=9, seed=0)
def test_search_is_the_oracle_with_ties(engine, n, n_bits, n_free, k, n_queries, seed):
    codes = random_codes(n, n_bits, seed, n_free)
    queries = random_codes(n_queries, n_bits, seed + 1, n_free)
    check_search(filled_index(codes, n_bits, engine), codes, queries, k)


@settings(max_examples=150)
@given(
    engine=engines,
    n=borders | st.integers(1, 400),
    n_bits=st.sampled_from(WIDTHS[:-3]) | st.integers(1, 600),
    n_free=st.integers(1, 12) | st.just(10_000),
    n_queries=st.sampled_from(BATCHES),
    share=st.floats(0, 1),
    seed=st.integers(0, 2**16),
)
def test_range_search_is_the_oracle_with_ties(engine, n, n_bits, n_free, n_queries, share, seed):
    codes = random_codes(n, n_bits, seed, n_free)
    queries = random_codes(n_queries, n_bits, seed + 1, n_free)
    radius = round(share * min(n_bits, n_free))
    check_range(filled_index(codes, n_bits, engine), codes, queries, radius)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("n_bits", WIDTHS)
def test_every_distance_up_to_the_complement(n_bits, engine):
    """Sums of bytes are full at 255: what is nearer, there and farther must not be mixed up."""
    near = [0, 1, 247, 248, 249, 253, 254, 255, 256, 257, 511, 512, n_bits - 1, n_bits]
    distances = np.array(sorted({d for d in near if d <= n_bits}))
    query = random_codes(1, n_bits, seed=3)
    for order in (distances, distances[::-1]):  # the worst one first: everything is a new best
        codes = codes_at(query[0], n_bits, np.repeat(order, 11))
        index = filled_index(codes, n_bits, engine)
        for n_queries in (1, 9):
            queries = np.repeat(query, n_queries, axis=0)
            for k in (1, 12, len(codes), len(codes) + 5):
                check_search(index, codes, queries, k)
            for radius in {0, 254, 255, 256, n_bits - 1, n_bits, n_bits + 9}:
                check_range(index, codes, queries, radius)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("k", [1, 2, 63, 64, 65, 66, 127, 500, 2999, 3000, 3005, 6000])
def test_distances_that_fall_are_the_worst_case(k, engine):
    n, n_bits = 3000, 400
    query = random_codes(1, n_bits, seed=1)
    codes = codes_at(query[0], n_bits, np.linspace(n_bits, 0, n).astype(int))
    index = filled_index(codes, n_bits, engine)
    for n_queries in (1, 8):
        queries = np.repeat(query, n_queries, axis=0)
        queries[n_queries // 2 :] ^= 0x10  # the last ones, in another order
        check_search(index, codes, queries, k)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("n_bits", [7, 256])
def test_codes_that_are_all_alike(n_bits, engine):
    codes = np.repeat(random_codes(1, n_bits), 300, axis=0)
    index = filled_index(codes, n_bits, engine)
    for k in (1, 64, 65, 299, 300, 301):
        distances, indices = index.search(codes[:9], k)
        assert (indices[:, : min(k, 300)] == np.arange(min(k, 300))).all()
        assert (distances[:, :300] == 0).all()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("n_bits", [8, 60, 256, 300, 2040])
def test_one_and_many_queries_find_the_same(n_bits, engine):
    codes = random_codes(2000, n_bits, n_free=40)
    queries = random_codes(70, n_bits, seed=1, n_free=40)
    index = filled_index(codes, n_bits, engine)
    expected = oracle(queries, codes, 70)
    for size in (1, 4, 5, 8, 33, 70):
        parts = [index.search(queries[i : i + size], 70) for i in range(0, 70, size)]
        for got, right in zip(zip(*parts, strict=True), expected, strict=True):
            np.testing.assert_array_equal(np.concatenate(got), right)


@pytest.mark.parametrize("engine", ["native", "numpy"])
@pytest.mark.parametrize("n_bits", [32_760, 32_766])
def test_the_longest_codes(n_bits, engine):
    query = random_codes(1, n_bits)
    codes = codes_at(query[0], n_bits, [n_bits, n_bits - 1, 0, 17_000, n_bits])
    index = filled_index(codes, n_bits, engine)
    check_search(index, codes, query, 5)
    check_range(index, codes, query, n_bits)
    with pytest.raises(ValueError, match=f"n_bits=32767 is more than engine='{engine}' takes"):
        HammingIndex(32_767, engine=engine)
    assert HammingIndex(40_000, engine="faiss").n_bits == 40_000


# more results of range_search than there is room for at once: 2**18 for each job


def test_a_range_of_more_codes_than_there_is_room_for():
    codes = random_codes(90_000, 16, n_free=10)
    queries = random_codes(5, 16, seed=1, n_free=10)
    index = filled_index(codes, 16, "native", n_threads=1)
    result = check_range(index, codes, queries, 16)
    assert result.limits.tolist() == [90_000 * i for i in range(6)]
    check_range(index, codes, queries, 4)
    check_range(index, codes, queries[:1], 4)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_range_without_results(engine):
    codes = random_codes(200, 128)
    index = filled_index(codes, 128, engine)
    result = index.range_search(~codes[:3], 0)
    assert result.limits.tolist() == [0, 0, 0, 0]
    assert (result.limits.dtype, result.distances.dtype, result.indices.dtype) == (
        np.int64,
        np.int32,
        np.int64,
    )
    assert index.range_search(codes[:0], 3).limits.tolist() == [0]


# what goes in


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("n_bits", [5, 77, 300])
def test_several_adds_append(engine, n_bits):
    codes = random_codes(1000, n_bits)
    whole, parts = filled_index(codes, n_bits, engine), HammingIndex(n_bits, engine=engine)
    places = [0, 1, 1, 64, 100, 128, 400, 993, 1000]
    for start, stop in itertools.pairwise(places):
        parts.add(codes[start:stop])
        assert len(parts) == stop
        check_search(parts, codes[:stop], codes[:9], 70)  # lays what is there into blocks
    assert_same_search(whole, parts, codes[:20], k=1000)
    np.testing.assert_array_equal(parts.codes, codes)


@pytest.mark.parametrize("engine", ENGINES)
def test_codes_may_be_views_and_stay_as_they_are(engine):
    codes = random_codes(200, 120)
    wide = np.repeat(codes, 2, axis=1)
    wide.flags.writeable = False
    index = HammingIndex(120, engine=engine)
    index.add(wide[::2, ::2])
    distances, indices = index.search(wide[::2, ::2][:3], 1)
    assert distances.ravel().tolist() == [0, 0, 0]
    assert indices.ravel().tolist() == [0, 1, 2]


@pytest.mark.parametrize("engine", ENGINES)
def test_codes_are_copied(engine):
    codes = random_codes(200, 120)
    index = filled_index(codes, 120, engine)
    before = codes.copy()
    codes[:] = 0
    check_search(index, before, before[:9], 5)
    found = index.codes
    np.testing.assert_array_equal(found, before)
    found[:] = 0
    np.testing.assert_array_equal(index.codes, before)


@pytest.mark.parametrize(
    ("n_bits", "padded"),
    [
        *[(1, 32), (32, 32), (33, 64), (65, 128), (128, 128), (129, 160), (161, 256)],
        *[(256, 256), (257, 512), (300, 512), (512, 512), (513, 576), (600, 640), (1024, 1024)],
    ],
)
def test_padding(n_bits, padded):
    index, codes = made(n=50, n_bits=n_bits, engine="faiss")
    assert index.padded_bits == padded
    check_search(index, codes, codes, 50)
