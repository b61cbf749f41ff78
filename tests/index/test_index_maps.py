"""Codes that stay where they are: memory maps of any place in a file."""

from __future__ import annotations

import numpy as np
import pytest
from index_cases import check_range, check_search, filled_index, made, random_codes

from embcompress.index import HammingIndex
from embcompress.index.storage import is_mapped

ENGINES = ["auto", "native", "numpy"]


def mapped(path, codes, offset=0, mode="r"):
    path.write_bytes(b"\7" * offset + codes.tobytes())
    return np.memmap(path, dtype=np.uint8, mode=mode, offset=offset, shape=codes.shape)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("offset", [0, 1, 33, 4097])
@pytest.mark.parametrize("n_bits", [20, 64, 300])
def test_a_map_is_searched_where_it_is(tmp_path, n_bits, offset, engine):
    codes = random_codes(1000, n_bits, n_free=10)
    rows = mapped(tmp_path / "x", codes, offset)
    index = HammingIndex.over(rows, n_bits, engine=engine)
    assert len(index) == 1000
    assert "1,000 codes, memory-mapped" in repr(index)
    for n_queries in (1, 9):
        check_search(index, codes, codes[:n_queries], 70)
        check_range(index, codes, codes[:n_queries], 3)
    weights = np.random.default_rng(0).integers(-3, 4, (5, n_bits))
    expected = filled_index(codes, n_bits, "numpy").search_asymmetric(weights, 20)
    for a, b in zip(index.search_asymmetric(weights, 20), expected, strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.shares_memory(index._codes._state.codes.chunks[0], rows)
    np.testing.assert_array_equal(index.codes, codes)
    assert not np.shares_memory(index.codes, rows)
    index.save(tmp_path / "saved")
    np.testing.assert_array_equal(HammingIndex.load(tmp_path / "saved").codes, codes)


@pytest.mark.parametrize("change", ["add", "remove"])
def test_codes_of_others_are_not_changed(tmp_path, change):
    codes = random_codes(10, 20)
    index = HammingIndex.over(mapped(tmp_path / "x", codes), 20)
    with pytest.raises(ValueError, match="this index is memory-mapped and cannot be changed"):
        getattr(index, change)(codes if change == "add" else [1])


@pytest.mark.parametrize("engine", ENGINES)
def test_an_array_is_searched_where_it_is(engine):
    codes = random_codes(300, 60)
    index = HammingIndex.over(codes, 60, engine=engine, n_threads=2)
    check_search(index, codes, codes[:9], 20)
    codes[:] = random_codes(300, 60, seed=1)  # nothing was copied
    check_search(index, codes, codes[:9], 20)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_read_only_map_is_adopted(tmp_path, engine):
    codes = random_codes(300, 60)
    rows = mapped(tmp_path / "x", codes, 3)
    index = HammingIndex(60, engine=engine)
    index.add(rows[:200])
    assert np.shares_memory(index._codes._state.codes.chunks[0], rows)
    index.add(rows[200:])
    check_search(index, codes, codes[:9], 20)
    index.add(codes[:5])
    assert len(index) == 305
    assert index.remove([300, 301, 302, 303, 304]) == 5
    check_search(index, codes, codes[:9], 20)


@pytest.mark.parametrize("mode", ["r+", "c"])
def test_a_map_that_can_be_written_is_copied(tmp_path, mode):
    codes = random_codes(300, 60)
    rows = mapped(tmp_path / "x", codes, 3, mode)
    index = filled_index(rows, 60, "numpy")
    rows[:] = 0
    check_search(index, codes, codes[:9], 20)


def test_what_counts_as_a_map(tmp_path):
    codes = random_codes(30, 60)
    rows = mapped(tmp_path / "x", codes, 3)
    assert is_mapped(rows)
    assert is_mapped(np.asarray(rows[3:9]))
    assert is_mapped(np.load(_saved(tmp_path / "y.npy", codes), mmap_mode="r"))
    assert not is_mapped(rows[:, :4])  # not contiguous
    assert not is_mapped(rows[::2])
    assert not is_mapped(codes)
    codes.flags.writeable = False
    assert not is_mapped(codes)  # someone may hold the array that it is a view of
    assert not is_mapped(np.load(_saved(tmp_path / "y.npy", codes), mmap_mode="r+"))


def _saved(path, codes):
    np.save(path, codes)
    return path


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("engine", ["auto", "native", "numpy", "faiss"])
def test_a_file_is_mapped_or_read(tmp_path, engine, mmap):
    _, codes = made(engine="numpy")
    made(engine="numpy")[0].save(tmp_path / "x")
    index = HammingIndex.load(tmp_path / "x", mmap=mmap, engine=engine)
    fixed = mmap and engine != "faiss"
    assert ("memory-mapped" in repr(index)) == fixed
    check_search(index, codes, codes[:9], 70)
    np.testing.assert_array_equal(index.codes, codes)
    if fixed:
        with pytest.raises(ValueError, match="memory-mapped and cannot be changed"):
            index.remove([0])
        return
    index.add(codes[:3])
    assert index.remove([0, 500, 501, 502]) == 4
    assert len(index) == 499
    check = index.search(codes[:1], 1)
    assert check[1][0, 0] != 0


def test_what_over_refuses():
    codes = random_codes(30, 60)
    with pytest.raises(ValueError, match=r"C-contiguous array of uint8 of shape \(n, 8\); add cop"):
        HammingIndex.over(codes[:, ::2], 60)
    with pytest.raises(ValueError, match=r"C-contiguous array of uint8 of shape \(n, 8\)"):
        HammingIndex.over(codes.tolist(), 60)
    with pytest.raises(ValueError, match="codes has 8 bytes per row; 50 bits need 7"):
        HammingIndex.over(codes, 50)
    with pytest.raises(TypeError, match="codes has dtype int16"):
        HammingIndex.over(codes.astype(np.int16), 60)
    with pytest.raises(ValueError, match="engine='faiss' is not known; allowed: 'auto', 'native'"):
        HammingIndex.over(codes, 60, engine="faiss")
    with pytest.raises(ValueError, match="the index is empty"):
        HammingIndex.over(codes[:0], 60).search(codes, 1)


def test_a_read_only_view_of_a_map_that_can_be_written_is_copied(tmp_path):
    codes = random_codes(300, 60)
    rows = mapped(tmp_path / "x", codes, mode="r+")
    view = rows[:]
    view.flags.writeable = False
    assert not is_mapped(view)
    index = HammingIndex(60)
    index.add(view)
    rows[:] = 0
    np.testing.assert_array_equal(index.codes, codes)
