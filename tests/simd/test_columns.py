"""Operations on columns and lookups against their twins, and the twins against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from embcompress import simd

COLUMN = simd.COLUMN
TILES = [1, 2, 4, 8]
PLACES = [0, 1, 3, 8, 63]  # also between words and vectors


def random_bytes(n, seed=0):
    """Bytes of which half are extreme."""
    rng = np.random.default_rng(seed)
    extreme = rng.choice(np.array([0, 1, 127, 128, 254, 255], np.uint8), n)
    return np.where(rng.random(n) < 0.5, extreme, rng.integers(0, 256, n)).astype(np.uint8)


def four_times(values):
    return (values.astype(np.uint32) * np.uint32(0x01010101)).view(np.int32)


def lanes(words):
    """Truths of 64 lanes from masks."""
    return np.unpackbits(words.view(np.uint8), bitorder="little").reshape(-1, COLUMN)


BYTES, INTS = random_bytes(8192), four_times(random_bytes(256, 1))


@pytest.mark.parametrize("n", TILES)
@pytest.mark.parametrize("place", PLACES)
def test_differing_bits_are_counted_in_bytes(n, place):
    def code(codes, asked, out):
        tile = simd.zero_bytes(n)
        for c in range(31):
            tile = simd.add_differing(tile, codes, place + 64 * c, asked, 2 + n * c)
        simd.store_columns(tile, out, 5)

    out = np.zeros(5 + COLUMN * n + 3, np.uint8)
    njit(code)(BYTES, INTS, out)
    tile = simd.zero_bytes.twin(n)
    counted = np.zeros((n, COLUMN), int)
    for c in range(31):
        tile = simd.add_differing.twin(tile, BYTES, place + 64 * c, INTS, 2 + n * c)
        column = BYTES[place + 64 * c :][:COLUMN].tolist()
        asked = [int(INTS[2 + n * c + t]) & 255 for t in range(n)]
        counted += [[(byte ^ other).bit_count() for byte in column] for other in asked]
    np.testing.assert_array_equal(out[5:-3].reshape(n, COLUMN), tile)
    np.testing.assert_array_equal(tile, counted)
    assert not out[:5].any()
    assert not out[-3:].any()


def test_the_sum_of_31_columns_of_opposite_bytes_fits():
    def code(codes, asked, out):
        tile = simd.zero_bytes(1)
        for _ in range(31):
            tile = simd.add_differing(tile, codes, 0, asked, 0)
        simd.store_columns(tile, out, 0)

    out = np.zeros(COLUMN, np.uint8)
    njit(code)(np.zeros(COLUMN, np.uint8), np.array([-1], np.int32), out)
    assert (out == 248).all()


@pytest.mark.parametrize("n", TILES)
@pytest.mark.parametrize("place", [0, 3])
def test_bytes_stay_full(n, place):
    def code(starts, codes, asked, out, masks, joined):
        more = simd.add_differing(simd.zero_bytes(n), codes, 1, asked, 0)
        tile = simd.add_bytes(simd.filled_bytes(n, starts, place), more)
        simd.store_columns(tile, out, 0)
        simd.not_full_masks(tile, masks, 1)
        joined[0] = simd.any_not_full(tile)

    starts = four_times(np.array([255, 254, 250, 247, 0, 128, 127, 251, 252, 253, 249], np.uint8))
    out, masks, joined = (
        np.zeros(COLUMN * n, np.uint8),
        np.zeros(n + 2, np.int64),
        np.zeros(1, "i8"),
    )
    njit(code)(starts, BYTES, INTS, out, masks, joined)
    more = simd.add_differing.twin(simd.zero_bytes.twin(n), BYTES, 1, INTS, 0)
    tile = simd.add_bytes.twin(simd.filled_bytes.twin(n, starts, place), more)
    np.testing.assert_array_equal(out.reshape(n, COLUMN), tile)
    exact = (starts[place : place + n] & 255)[:, None] + np.array(more, int)
    np.testing.assert_array_equal(tile, np.minimum(exact, 255))
    np.testing.assert_array_equal(lanes(masks[1:-1]), np.array(tile) < 255)
    assert masks[[0, -1]].tolist() == [0, 0]
    expected = np.zeros(n + 2, np.int64)
    simd.not_full_masks.twin(tile, expected, 1)
    np.testing.assert_array_equal(masks, expected)
    assert joined[0] == simd.any_not_full.twin(tile) == np.bitwise_or.reduce(masks)


@pytest.mark.parametrize("n", TILES)
@pytest.mark.parametrize("place", [0, 1, 5])
def test_bytes_are_added_to_numbers_of_16_bits(n, place):
    def code(starts, codes, asked, out, masks, joined):
        more = simd.add_differing(simd.zero_bytes(n), codes, 7, asked, 0)
        more = simd.add_bytes(more, simd.filled_bytes(n, asked, 9))
        tile = simd.add_bytes(simd.filled_shorts(n, starts, place), more)
        simd.store_columns(tile, out, 2)
        simd.negative_masks(tile, masks, 1)
        joined[0] = simd.any_negative(tile)

    starts = np.array([-32767, -256, -255, -3, 0, -1, -4, -7, 32000, -250, -9, -2, -5], np.int16)
    out = np.zeros(COLUMN * n + 2, np.int16)
    masks, joined = np.zeros(n + 2, np.int64), np.zeros(1, np.int64)
    njit(code)(starts, BYTES, INTS, out, masks, joined)
    more = simd.add_differing.twin(simd.zero_bytes.twin(n), BYTES, 7, INTS, 0)
    more = simd.add_bytes.twin(more, simd.filled_bytes.twin(n, INTS, 9))
    tile = simd.add_bytes.twin(simd.filled_shorts.twin(n, starts, place), more)
    assert all(part.dtype == np.int16 for part in tile)
    np.testing.assert_array_equal(out[2:].reshape(n, COLUMN), tile)
    np.testing.assert_array_equal(tile, starts[place : place + n, None] + np.array(more, int))
    np.testing.assert_array_equal(lanes(masks[1:-1]), np.array(tile) < 0)
    expected = np.zeros(n + 2, np.int64)
    simd.negative_masks.twin(tile, expected, 1)
    np.testing.assert_array_equal(masks, expected)
    assert joined[0] == simd.any_negative.twin(tile) == np.bitwise_or.reduce(masks)


@njit
def first_and_rest(mask):
    return simd.lowest_lane(mask), simd.without_lowest(mask)


@given(lanes_set=st.sets(st.integers(0, 63), min_size=1))
def test_lanes_of_a_mask_one_by_one(lanes_set):
    chosen = np.zeros(COLUMN, bool)
    chosen[list(lanes_set)] = True
    mask = np.packbits(chosen, bitorder="little").view(np.int64)[0]
    for take in (first_and_rest, lambda m: (simd.lowest_lane.twin(m), simd.without_lowest.twin(m))):
        found, rest = [], mask
        while rest != 0:
            lane, rest = take(rest)
            found.append(int(lane))
        assert found == sorted(lanes_set)
    assert first_and_rest(np.int64(0))[1] == simd.without_lowest.twin(0) == 0


@pytest.mark.parametrize("stride", [8, 9, 15, 64, 101])
@pytest.mark.parametrize("place", PLACES)
def test_rows_are_laid_into_columns(stride, place):
    def code(rows, stride, out):
        simd.columns(rows, place, stride, out, 3)

    ours, twins = np.zeros(8 * COLUMN + 6, np.uint8), np.zeros(8 * COLUMN + 6, np.uint8)
    njit(code)(BYTES, stride, ours)
    simd.columns.twin(BYTES, place, stride, twins, 3)
    np.testing.assert_array_equal(ours, twins)
    for k in range(8):
        for lane in range(COLUMN):
            assert ours[3 + COLUMN * k + lane] == BYTES[place + stride * lane + k]
    assert not ours[[0, 1, 2, -1, -2, -3]].any()


# lookups


def tables_of(n_queries, n_columns, highest, seed=0):
    """Two tables of 16 for each column and query, four times each; two entries are at most 255."""
    rng = np.random.default_rng(seed)
    entries = rng.integers(0, highest + 1, (n_columns, n_queries, 2, 1, 16))
    entries[rng.random(entries.shape) < 0.3] = highest
    return np.ascontiguousarray(np.broadcast_to(entries, (n_columns, n_queries, 2, 4, 16))).astype(
        np.uint8
    )


@pytest.mark.parametrize("n", [1, 2, 4])
@pytest.mark.parametrize("n_blocks", [1, 2])
@pytest.mark.parametrize("place", [0, 5])
@pytest.mark.parametrize("n_columns", [1, 2, 257])
def test_sums_of_lookups(n, n_blocks, place, n_columns):
    n_sums = 2 * n * n_blocks
    stride = n_columns * COLUMN

    def code(codes, tables, out):
        pairs = simd.zero_bytes(n_sums)
        for c in range(n_columns):
            pairs = simd.add_lookups(
                pairs, n, codes, place + c * COLUMN, stride, tables, 2 * COLUMN * n * c
            )
        simd.store_columns(simd.lookup_sums(pairs), out, 0)

    codes = random_bytes(place + n_blocks * stride, seed=4)
    tables = tables_of(n, n_columns, 127)  # 257 columns of twice 127 nearly fill 16 bits
    out = np.zeros(COLUMN * n * n_blocks, np.int16)
    njit(code)(codes, tables.ravel(), out)
    pairs = simd.zero_bytes.twin(n_sums)
    for c in range(n_columns):
        pairs = simd.add_lookups.twin(
            pairs, n, codes, place + c * COLUMN, stride, tables.ravel(), 2 * COLUMN * n * c
        )
    np.testing.assert_array_equal(out, np.concatenate(simd.lookup_sums.twin(pairs)))
    columns = codes[place:].reshape(n_blocks, n_columns, COLUMN)
    for b in range(n_blocks):
        for t in range(n):
            low, high = (tables[:, t, half, 0].astype(int) for half in (0, 1))
            each = np.arange(n_columns)[:, None]
            sums = (low[each, columns[b] & 15] + high[each, columns[b] >> 4]).sum(axis=0)
            found = out.view(np.uint16).reshape(n_blocks, n, COLUMN)[b, t]
            np.testing.assert_array_equal(found, sums)


@pytest.mark.parametrize(("n", "n_vectors"), [(1, 1), (1, 2), (2, 4), (4, 8)])
def test_lanes_that_reach_a_limit(n, n_vectors):
    def code(starts, codes, asked, limits, out, joined):
        more = simd.add_differing(simd.zero_bytes(n_vectors), codes, 0, asked, 0)
        tile = simd.add_bytes(simd.filled_shorts(n_vectors, starts, 0), more)
        joined[0] = simd.reaching(tile, n, limits, 1, out)

    starts = np.array([0, -1, -3, 32767, 32765, -32768, 5, -9], np.int16)
    limits = np.array([9, 4, 0, 65535, 32768], np.uint16)
    limits[1 : 1 + n] = [4, 65533, 32769, 0][:n]
    out, joined = np.zeros(n_vectors, np.int64), np.zeros(1, np.int64)
    njit(code)(starts, BYTES, INTS, limits, out, joined)
    more = simd.add_differing.twin(simd.zero_bytes.twin(n_vectors), BYTES, 0, INTS, 0)
    tile = simd.add_bytes.twin(simd.filled_shorts.twin(n_vectors, starts, 0), more)
    expected = np.zeros(n_vectors, np.int64)
    assert joined[0] == simd.reaching.twin(tile, n, limits, 1, expected)
    np.testing.assert_array_equal(out, expected)
    for v, part in enumerate(tile):
        reached = [int(lane) & 0xFFFF >= int(limits[1 + v % n]) for lane in part]
        np.testing.assert_array_equal(lanes(out[v : v + 1])[0], reached)
    assert joined[0] == np.bitwise_or.reduce(out)


@pytest.mark.parametrize(("n", "n_vectors"), [(1, 1), (1, 2), (2, 4), (4, 8)])
def test_lanes_that_reach_a_limit_with_scales(n, n_vectors):
    def code(starts, codes, asked, lines, inverse, out, joined):
        more = simd.add_differing(simd.zero_bytes(n_vectors), codes, 0, asked, 0)
        tile = simd.add_bytes(simd.filled_shorts(n_vectors, starts, 0), more)
        joined[0] = simd.reaching_scaled(tile, n, lines, 3, inverse, 7, out)

    starts = np.array([0, -1, -3, 32767, 32765, -32768, 5, -9], np.int16)
    rng = np.random.default_rng(6)
    # powers of two: sums and products are exact, so the comparison is the same everywhere
    lines = np.array([0, 0, 0, *[2, -64, 8, 0.5, -16, -np.inf, 1, 0, 65536, 4, 0, np.inf]], "f4")
    inverse = rng.choice(np.array([0.5, 1, 2, 64, 2.0**100], "f4"), 7 + COLUMN * n_vectors)
    out, joined = np.zeros(n_vectors, np.int64), np.zeros(1, np.int64)
    njit(code)(starts, BYTES, INTS, lines, inverse, out, joined)
    more = simd.add_differing.twin(simd.zero_bytes.twin(n_vectors), BYTES, 0, INTS, 0)
    tile = simd.add_bytes.twin(simd.filled_shorts.twin(n_vectors, starts, 0), more)
    expected = np.zeros(n_vectors, np.int64)
    assert joined[0] == simd.reaching_scaled.twin(tile, n, lines, 3, inverse, 7, expected)
    np.testing.assert_array_equal(out, expected)
    for v, part in enumerate(tile):
        slope, start, limit = map(float, lines[3 + 3 * (v % n) :][:3])
        factors = inverse[7 + COLUMN * (v // n) :][:COLUMN]
        reached = [
            (int(lane) & 0xFFFF) * slope + start >= limit * float(factor)
            for lane, factor in zip(part, factors, strict=True)
        ]
        np.testing.assert_array_equal(lanes(out[v : v + 1])[0], reached)


def test_bits_of_numbers():
    @njit
    def there(value):
        return simd.bits_of(value)

    @njit
    def back(bits):
        return simd.float_of(bits)

    for value in np.array([0, -0.0, 1, -1, 1e-45, -3e38, np.inf, -np.inf, 0.1], np.float32):
        bits = there(value)
        assert bits == simd.bits_of.twin(value) == value.view(np.int32)
        for found in (back(np.int32(bits)), simd.float_of.twin(bits)):
            assert np.float32(found).view(np.int32) == bits
