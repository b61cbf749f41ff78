"""Every operation on vectors does what its twin in NumPy does."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from embcompress import simd

FLOATS = np.random.default_rng(0).normal(size=2048).astype(np.float32) * 10
FLOATS[:6] = [0.0, -0.0, 127.0, -127.0, 1e-30, 3e4]
INTS = np.random.default_rng(1).integers(-(2**31), 2**31, 2048).astype(np.int32)
CODES = np.random.default_rng(2).integers(-127, 128, 4096).astype(np.int8)
COLUMNS = np.random.default_rng(3).permutation(64).astype(np.int32)

UNARY = ["absolute", "exp"]
BINARY = ["add", "subtract", "multiply", "divide", "maximum", "select_positive"]


def run(function, *args) -> np.ndarray:
    out = np.zeros(512, np.float32)
    njit(function)(*args, out)
    return out


def close(found: np.ndarray, expected, rtol: float = 1e-6) -> None:
    expected = np.concatenate([np.atleast_1d(part) for part in expected])
    np.testing.assert_allclose(found[: len(expected)], expected, rtol=rtol, atol=1e-5)


@pytest.mark.parametrize("name", UNARY)
def test_of_one_vector(name):
    operation = getattr(simd, name)

    def code(x, out):
        simd.store(operation(simd.load(x, 3)), out, 0)

    close(run(code, FLOATS), [operation.twin(FLOATS[3:19])], 3e-7)


@pytest.mark.parametrize("name", BINARY)
def test_of_two_vectors(name):
    operation = getattr(simd, name)

    def code(x, out):
        simd.store(operation(simd.load(x, 3), simd.load(x, 40)), out, 0)

    close(run(code, FLOATS), [operation.twin(FLOATS[3:19], FLOATS[40:56])])


def test_fused_multiplication_and_addition():
    def code(x, out):
        simd.store(simd.fma(simd.load(x, 0), simd.splat(2.5), simd.load(x, 32)), out, 0)

    close(run(code, FLOATS), [FLOATS[:16] * np.float32(2.5) + FLOATS[32:48]])


def test_exponential_keeps_nan_and_cuts_what_float32_cannot_hold():
    x = np.array([np.nan, -1e9, 1e9, 0, -np.inf, np.inf, *[1] * 10], np.float32)

    def code(x, out):
        simd.store(simd.exp(simd.load(x, 0)), out, 0)

    found = run(code, x)
    assert np.isnan(found[0])
    assert np.isfinite(found[1:16]).all()
    np.testing.assert_allclose(found[[3, 6]], [1, np.e], rtol=2e-7)


def test_exponential_is_exact_to_float32_over_its_range():
    x = np.linspace(-87, 88, 512).astype(np.float32)

    def code(x, out):
        for k in range(0, 512, 16):
            simd.store(simd.exp(simd.load(x, k)), out, k)

    np.testing.assert_allclose(run(code, x), np.exp(x.astype(np.float64)), rtol=2e-7)


@pytest.mark.parametrize("n", [1, 2, 4, 8, 16])
def test_tiles(n):
    def code(x, columns, out):
        tile = simd.fma_tile(simd.zeros(n), simd.load(x, 5), x, 100, 3)
        tile = simd.fma_columns(tile, x, 7, x, 200, columns, 2)
        tile = simd.fma_shifted(tile, np.float32(1.5), x, 33)
        simd.store_tile(tile, out, 0, 20)

    x = FLOATS
    tile = simd.fma_tile.twin(simd.zeros.twin(n), x[5:21], x, 100, 3)
    tile = simd.fma_columns.twin(tile, x, 7, x, 200, COLUMNS, 2)
    tile = simd.fma_shifted.twin(tile, np.float32(1.5), x, 33)
    expected = np.zeros(512, np.float32)
    simd.store_tile.twin(tile, expected, 0, 20)
    np.testing.assert_allclose(run(code, x, COLUMNS), expected, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("n", [1, 2, 4, 8])
def test_products_of_bytes_are_exact(n):
    def code(values, x, columns, out):
        tile = simd.dot_tile(simd.zeros_int(n), values, 64, x, 9, 2)
        tile = simd.dot_columns(tile, values, 128, x, 30, columns, 1)
        total = simd.sum_tile(tile)
        simd.store(simd.to_float(simd.item(total, 0)), out, 0)

    # bytes without sign, up to 255
    tile = simd.dot_tile.twin(simd.zeros_int.twin(n), CODES, 64, INTS, 9, 2)
    tile = simd.dot_columns.twin(tile, CODES, 128, INTS, 30, COLUMNS, 1)
    found = run(code, CODES, INTS, COLUMNS)
    np.testing.assert_array_equal(found[:16], simd.sum_tile.twin(tile)[0].astype(np.float32))


@pytest.mark.parametrize("n", [1, 3, 4])
def test_largest_of_a_tile(n):
    last = n - 1

    def code(x, out):
        tile = simd.largest_tile(simd.zeros(n), x, 5)
        out[0] = simd.largest(simd.item(tile, last))

    assert run(code, FLOATS)[0] == np.abs(FLOATS[5 + 16 * (n - 1) : 5 + 16 * n]).max()


@pytest.mark.parametrize("n", [2, 4, 8, 16])
@pytest.mark.parametrize("last", [0, 1, 100])
def test_squares_are_turned(n, last):
    last = min(last, n - 1)

    def code(x, out):
        simd.transposed(x, 11, 37, last, n, out, 5)

    expected = np.zeros(512, np.float32)
    simd.transposed.twin(FLOATS, 11, 37, last, n, expected, 5)
    np.testing.assert_array_equal(run(code, FLOATS), expected)


@pytest.mark.parametrize("n", [1, 4])
def test_bytes_of_rounded_numbers(n):
    def code(x, out):
        bytes_ = np.zeros(64, np.uint8)
        simd.quantized(x, 3, n, np.float32(1.7), bytes_, 0)
        for k in range(64):
            out[k] = bytes_[k]

    x = np.array([0, 0.29, -0.3, 74.7, 74.8, -74.8, 1e9, -1e9, 0.3, 1, 2, 3, -1, -2, -3, 50], "f4")
    x = np.concatenate([np.zeros(3, "f4"), x, -x, x / 2, 3 * x])
    expected = np.zeros(64, np.uint8)
    simd.quantized.twin(x, 3, n, np.float32(1.7), expected, 0)
    np.testing.assert_array_equal(run(code, x)[:64], expected)
    assert expected[: 16 * n].min() == 1
    assert expected.max() == 255


def test_sums_of_int_become_floats_with_scales():
    def code(x, ints, out):
        tile = simd.repeat(simd.load_int(ints, 0), 2)
        step, bias = simd.load(x, 0), simd.load(x, 16)
        simd.store_scaled(tile, step, bias, x, 40, out, 0, 20)
        simd.store(simd.to_float(simd.add_int(simd.item(tile, 0), simd.item(tile, 1))), out, 100)

    small = (INTS % 1000).astype(np.int32)
    expected = np.zeros(512, np.float32)
    twin = (small[:16], small[:16])
    simd.store_scaled.twin(twin, FLOATS[:16], FLOATS[16:32], FLOATS, 40, expected, 0, 20)
    expected[100:116] = 2 * small[:16]
    np.testing.assert_allclose(run(code, FLOATS, small), expected, rtol=1e-5, atol=1e-2)


def test_numbers_are_cut_to_a_range():
    def code(x, out):
        simd.store(simd.bound(simd.load(x, 0), np.float32(-1), np.float32(2)), out, 0)

    np.testing.assert_array_equal(run(code, FLOATS)[:16], np.clip(FLOATS[:16], -1, 2))


def test_every_operation_has_a_twin():
    constants = {"COLUMN", "LANES", "LOOKUP", "TILE", "VNNI"}
    names = set(simd.__all__) - constants - {"host_features"}
    assert all(callable(getattr(simd, name).twin) for name in names)
