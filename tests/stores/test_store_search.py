"""What stores find is what HammingIndex finds, whatever they do inside."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embcompress import HammingIndex, Sign, open_store
from embcompress.codes import pack_bits
from embcompress.stores._bits import reorder_bits
from embcompress.stores._ties import nearest_with_ties
from embcompress.vectors import UnknownWordError


def expected(codes, n_bits, queries, k):
    index = HammingIndex(n_bits)
    index.add(codes)
    return index.search(queries, k)


@pytest.mark.parametrize("n_bits", [256, 100, 13])
def test_neighbours_are_those_of_hamming_index(url, make_codes, n_bits):
    codes, queries = make_codes(1500, n_bits), make_codes(12, n_bits, seed=1)
    keys = [f"word {i}" for i in range(len(codes))]
    with open_store(url) as store:
        assert store.write(codes, n_bits=n_bits, keys=keys) == len(codes)
    with open_store(url) as store:  # nothing is left from writing
        for k in (1, 60):
            distances, positions = expected(codes, n_bits, queries, k)
            found = store.search(queries, k)
            assert found.distances.dtype == np.int32
            assert found.ids.dtype == np.int64
            np.testing.assert_array_equal(found.distances, distances)
            np.testing.assert_array_equal(found.ids, positions)
            assert found.keys == [[keys[i] for i in row] for row in positions.tolist()]
        np.testing.assert_array_equal(store.codes([7, 3, 7]), codes[[7, 3, 7]])
        info = store.info()
    assert (info.n_codes, info.n_bits, info.has_keys) == (1500, n_bits, True)
    assert not info.has_encoder


def test_all_equal_codes_come_in_the_order_of_ids(url):
    codes = np.full((700, 2), 0b10110000, dtype=np.uint8)
    with open_store(url) as store:
        store.write(codes, n_bits=12, ids=np.arange(700)[::-1] * 3)
        found = store.search(codes[:1], 40)
    assert found.ids.tolist() == [[3 * i for i in range(40)]]
    assert not found.distances.any()
    assert found.keys is None


def test_more_neighbours_than_rows(url, make_codes):
    codes = make_codes(5, 20)
    with open_store(url) as store:
        store.write(codes, n_bits=20, keys=list("abcde"))
        found = store.search(codes[:2], 8)
    assert (found.ids[:, 5:] == -1).all()
    assert (found.distances[:, 5:] == 21).all()
    assert sorted(found.ids[0, :5].tolist()) == [0, 1, 2, 3, 4]
    assert found.keys[0][5:] == [None] * 3


def test_no_queries_and_no_ids(url, make_codes):
    with open_store(url) as store:
        store.write(make_codes(5, 20), n_bits=20, keys=np.array(list("abcde")))
        found = store.search(make_codes(0, 20), 3)
        assert found.ids.shape == found.distances.shape == (0, 3)
        assert found.keys == []
        assert store.codes([]).shape == (0, 3)


def test_writing_twice_is_writing_once(url, make_codes):
    codes, keys = make_codes(400, 50), [f"k{i}" for i in range(400)]
    with open_store(url) as store:
        for _ in range(2):
            store.write(codes, n_bits=50, keys=keys, batch_size=150)
        assert store.info().n_codes == 400
        found = store.search(codes[:9], 7)
    distances, positions = expected(codes, 50, codes[:9], 7)
    np.testing.assert_array_equal(found.distances, distances)
    np.testing.assert_array_equal(found.ids, positions)


def test_rows_with_the_same_ids_are_replaced(url, make_codes):
    first, second = make_codes(300, 50), make_codes(200, 50, seed=2)
    new_ids = np.arange(200) * 2 + 200  # 50 are there already
    with open_store(url) as store:
        store.write(first, n_bits=50, keys=[f"a{i}" for i in range(300)], metadata={"a": "1"})
        store.write(
            second, n_bits=50, ids=new_ids, keys=[f"b{i}" for i in new_ids], metadata={"b": "2"}
        )
        info = store.info()
        assert info.n_codes == 450
        assert info.metadata == {"a": "1", "b": "2"}
        table = dict(enumerate(first)) | dict(zip(new_ids.tolist(), second, strict=True))
        ids = np.array(sorted(table))
        distances, positions = expected(np.stack([table[i] for i in ids]), 50, second[:9], 20)
        found = store.search(second[:9], 20)
        np.testing.assert_array_equal(found.distances, distances)
        np.testing.assert_array_equal(found.ids, ids[positions])
        assert store.most_similar("b200", 3)
        with pytest.raises(UnknownWordError, match="'a200' is not in"):
            store.most_similar("a200")


def test_keys_may_be_added_later_and_be_missing(url, make_codes):
    codes = make_codes(30, 16)
    with open_store(url) as store:
        store.write(codes[:20], n_bits=16)
        assert store.search(codes[:1], 3).keys is None
        with pytest.raises(UnknownWordError, match="its rows have no keys"):
            store.most_similar("x")
        store.write(codes[20:], n_bits=16, ids=np.arange(20, 30), keys=list("abcdefghij"))
        found = store.search(codes[20:21], 30)
        for i, key in zip(found.ids[0].tolist(), found.keys[0], strict=True):
            assert key == (None if i < 20 else "abcdefghij"[i - 20])
        # a row without a key is shown by its id
        assert {name for name, _ in store.most_similar("c", 29)} >= {"19", "j"}
        with pytest.raises(UnknownWordError, match="'' is not in"):
            store.most_similar("")
        store.write(codes[:1], n_bits=16, ids=[25], keys=[""])
        assert "25" not in dict(store.most_similar("", 29))
        assert len(store.most_similar("", 29)) == 29


def test_replacing_drops_what_was_there(url, make_codes):
    with open_store(url) as store:
        store.write(make_codes(30, 16), n_bits=16, keys=["x"] * 30)
        store.write(make_codes(20, 40), n_bits=40, replace=True)
        info = store.info()
    assert (info.n_codes, info.n_bits, info.has_keys) == (20, 40, False)


def test_tables_side_by_side(url, make_codes):
    if url.startswith(("faiss", "usearch")):
        pytest.skip("a file has no tables")
    joint = "&" if "?" in url else "?"
    others = [url, f"{url}{joint}table=other_1"] if joint == "?" else [url, url + "_other"]
    for n_rows, address in enumerate(others, 20):
        with open_store(address) as store:
            store.write(make_codes(n_rows, 16), n_bits=16, keys=["x"] * n_rows)
    for n_rows, address in enumerate(others, 20):
        with open_store(address) as store:
            assert store.info().n_codes == n_rows
    if url.startswith(("sqlite", "duckdb")):  # where names do not depend on the case
        with open_store(f"{url}?table=CODES") as store:
            store.write(make_codes(5, 16), n_bits=16)
            assert store.info().n_codes == 20


def test_any_text_is_a_key(url, make_codes):
    keys = ["", "it's", 'say "x"', "näïve 字", "a\tb\nc", "x" * 5000, "%s {} ? $1 \\", "'; DROP"]
    codes = make_codes(8, 64)
    with open_store(url) as store:
        store.write(codes, n_bits=64, keys=keys)
        found = store.search(codes, 1)
        assert [row[0] for row in found.keys] == [keys[i] for i in found.ids[:, 0]]
        for key in keys:
            assert len(store.most_similar(key, 3)) == 3


def test_most_similar_is_that_of_compressed_vectors(url, sample):
    from embcompress import CompressedVectors

    small = CompressedVectors.compress(sample, Sign())
    with open_store(url) as store:
        store.write(
            small.codes, n_bits=small.n_bits, keys=small.index_to_key, encoder=small.encoder
        )
    with open_store(url) as store:
        for word in ("king", "music", "the"):
            assert store.most_similar(word, 5) == small.most_similar(word, topn=5)
        encoder = store.encoder
        np.testing.assert_array_equal(encoder.encode(sample.vectors[:50]), small.codes[:50])
        store.write(small.codes[:9], n_bits=100, keys=list("abcdefghi"), encoder=small.encoder)
        assert store.info().has_encoder


@given(st.lists(st.lists(st.booleans(), min_size=19, max_size=19), min_size=1, max_size=9))
def test_reordered_bits_are_those_that_numpy_packs(rows):
    bits = np.array(rows)
    codes = pack_bits(bits)
    little = reorder_bits(codes, "little")
    np.testing.assert_array_equal(little, np.packbits(bits, axis=1, bitorder="little"))
    np.testing.assert_array_equal(reorder_bits(little, "little"), codes)
    assert reorder_bits(codes, "big") is codes


def test_unknown_bit_order():
    with pytest.raises(ValueError, match="bit order 'middle'; allowed: 'big' or 'little'"):
        reorder_bits(np.zeros((1, 1), np.uint8), "middle")


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=300),
    st.integers(1, 40),
    st.sampled_from([None, 20, 60]),
    st.randoms(use_true_random=False),
)
def test_ties_are_found_whatever_the_order_among_them(values, k, most, random):
    """A store may return any of the rows at the last distance, in any order."""
    distances, sizes = np.array(values, dtype=np.int32), []
    shuffled = list(range(len(values)))
    random.shuffle(shuffled)
    by_distance = np.array(sorted(shuffled, key=lambda i: values[i]), dtype=np.int64)

    def fetch(size):
        sizes.append(size)
        ids = by_distance[:size][::-1]
        return distances[ids], ids

    found = nearest_with_ties(fetch, k, most=most)
    assert most is None or max(sizes) <= most
    if found is None:
        assert most is not None
        return
    order = np.lexsort((np.arange(len(values)), distances))[:k]
    np.testing.assert_array_equal(found[0], distances[order])
    np.testing.assert_array_equal(found[1], order)
