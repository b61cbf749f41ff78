"""Storage layouts: exact, small, and clear about what they cannot hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layout_cases import (
    SHAPES,
    STRUCTURES,
    blocks_of_both,
    kernels,
    make,
    make_mask,
    make_weight,
    to_bits,
)

from embcompress.container import load_container, save_container
from embcompress.runtime.layouts import LAYOUTS, fits, smallest


@pytest.mark.parametrize("name", LAYOUTS)
@given(
    shape=st.sampled_from(SHAPES),
    structure=st.sampled_from([*STRUCTURES, "kernels"]),
    dtype=st.sampled_from(["float32", "int8"]),
    seed=st.integers(0, 2**16),
)
def test_round_trips_are_exact(name, shape, structure, dtype, seed):
    weight, mask = make_weight(shape, dtype, seed), make_mask(structure, shape, seed)
    layout = make(name, weight, mask)
    if layout is None:
        assert name in ("fkw", "spm")
        return
    expected = np.where(mask, weight, weight.dtype.type(0))
    assert layout.to_dense().dtype == weight.dtype
    np.testing.assert_array_equal(to_bits(layout.to_dense()), to_bits(expected), strict=True)
    stored = layout.mask()
    assert stored.shape == shape
    assert (stored >= mask).all()
    if not layout.fills:
        np.testing.assert_array_equal(stored, mask)
    again = LAYOUTS[name].from_arrays(layout.arrays(), shape)
    assert again == layout
    np.testing.assert_array_equal(to_bits(again.to_dense()), to_bits(expected))
    assert layout.nbytes + layout.index_nbytes == sum(a.nbytes for a in layout.arrays().values())
    assert LAYOUTS[name].from_dense(layout.to_dense(), stored) == layout


@pytest.mark.parametrize("name", ["fkw", "spm"])
@pytest.mark.parametrize("shape", [(6, 5, 3, 3), (4, 2, 5, 5), (3, 2, 8, 8)])
def test_kernels_with_patterns_fit(name, shape):
    weight = make_weight(shape, "float32", 0)
    layout = LAYOUTS[name].from_dense(weight, kernels(shape, np.random.default_rng(1)))
    assert layout.patterns.itemsize == {9: 2, 25: 4, 64: 8}[shape[2] * shape[3]]


@given(
    shape=st.sampled_from([s for s in SHAPES if len(s) == 4]), seed=st.integers(0, 2**16)
)  # fmt: skip
def test_fkw_holds_any_mask_of_kernels(shape, seed):
    weight, mask = make_weight(shape, "float32", seed), make_mask("unstructured", shape, seed)
    np.testing.assert_array_equal(LAYOUTS["fkw"].from_dense(weight, mask).mask(), mask)


@given(
    shape=st.sampled_from(SHAPES),
    structure=st.sampled_from([*STRUCTURES, "kernels"]),
    seed=st.integers(0, 2**16),
)
def test_the_smallest_is_the_smallest(shape, structure, seed):
    weight, mask = make_weight(shape, "float32", seed), make_mask(structure, shape, seed)
    made = [layout for name in LAYOUTS if (layout := make(name, weight, mask)) is not None]
    sizes = [layout.nbytes + layout.index_nbytes for layout in made]
    assert smallest(weight, mask) == made[sizes.index(min(sizes))]


@pytest.mark.parametrize("name", LAYOUTS)
def test_without_a_mask_zeros_go(name):
    weight = np.zeros((4, 2, 3, 3), np.float32)
    weight[1:, 1, 1] = 2
    layout = LAYOUTS[name].from_dense(weight)
    np.testing.assert_array_equal(layout.to_dense(), weight)
    if not layout.fills:
        np.testing.assert_array_equal(layout.mask(), weight != 0)


@pytest.mark.parametrize("name", LAYOUTS)
def test_structures_that_fit_are_not_filled(name):
    shape = (32, 8) if name in ("compact", "strips", "bspc") else (4, 4, 3, 3)
    mask = np.zeros(shape, bool)
    mask[:16, [1, 3]] = True
    if name == "dense":
        mask[:] = True
    layout = LAYOUTS[name].from_dense(np.zeros(shape, np.float32), mask)
    np.testing.assert_array_equal(layout.mask(), mask)


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_own_what_they_hold(name):
    weight = np.ones((4, 4, 3, 3), np.float32)
    layout = LAYOUTS[name].from_dense(weight)
    weight[:] = 3
    assert (layout.to_dense() == 1).all()
    for array in layout.arrays().values():
        assert not array.flags.writeable
    with pytest.raises(AttributeError):
        layout.shape = (1, 1)


@pytest.mark.parametrize("name", LAYOUTS)
def test_files_round_trip(name, tmp_path):
    weight = make_weight((9, 6, 3, 3), "int8", 0)
    layout = LAYOUTS[name].from_dense(weight, kernels(weight.shape, np.random.default_rng(0)))
    save_container(tmp_path / "a.safetensors", layout.arrays(), kind="layer")
    tensors = load_container(tmp_path / "a.safetensors", kind="layer").tensors
    assert LAYOUTS[name].from_arrays(tensors, weight.shape) == layout


def test_equality_is_of_bits():
    one = np.array([[0.0, 1.0]], np.float32)
    for name in ("dense", "csr"):
        make_it = LAYOUTS[name].from_dense
        kept = np.ones((1, 2), bool)
        assert make_it(one, kept) == make_it(one.copy(), kept)
        assert make_it(one, kept) != make_it(np.array([[-0.0, 1.0]], np.float32), kept)
        assert make_it(np.full((1, 2), np.nan, np.float32)) == make_it(
            np.full((1, 2), np.nan, np.float32)
        )
        assert make_it(one) != "one"
    assert LAYOUTS["dense"].from_dense(one) != LAYOUTS["csr"].from_dense(one)
    assert LAYOUTS["dense"].from_dense(one) != LAYOUTS["dense"].from_dense(one.T)


def test_big_endian_and_strided_weights_are_taken():
    weight = np.arange(12, dtype=">f4").reshape(3, 4).T
    for name in set(LAYOUTS) - {"fkw", "spm"}:
        np.testing.assert_array_equal(LAYOUTS[name].from_dense(weight).to_dense(), weight)


def sizes(weight: np.ndarray, mask: np.ndarray, *names: str) -> list[int]:
    return [LAYOUTS[name].from_dense(weight, mask).index_nbytes for name in names]


def test_rows_of_column_blocks_need_an_index_of_a_kilobyte():
    # RTMobile at 10x: 103 of 1024 rows in each of 4 column blocks
    rng = np.random.default_rng(0)
    mask = np.zeros((1024, 1024), bool)
    for block in range(4):
        mask[rng.permutation(1024)[:103], 256 * block : 256 * block + 256] = True
    weight = mask.astype(np.float32)
    bspc, csr = sizes(weight, mask, "bspc", "csr")
    assert bspc < 1024
    assert csr == 2 * mask.sum() + 4 * 1025 > 210_000
    assert sizes(weight.T, mask.T, "bspc")[0] < 1024
    # the column phase on top: 16 columns of each block
    columns = np.concatenate([256 * b + rng.permutation(256)[:16] for b in range(4)])
    mask &= np.isin(np.arange(1024), columns)
    bspc, csr = sizes(weight, mask, "bspc", "csr")
    assert bspc < 1200 < 16_000 < csr


def test_blocks_of_rows_and_columns_are_found():
    mask = blocks_of_both((256, 256), np.random.default_rng(0))
    layout = LAYOUTS["bspc"].from_dense(mask.astype(np.float32))
    assert len(layout.stride) <= 16
    assert layout.index_nbytes < 2000


def test_spm_needs_half_a_byte_per_kernel():
    rng = np.random.default_rng(0)
    table = np.array([c for c in range(512) if c.bit_count() == 4][:16])
    bits = (table[:, None] >> np.arange(9) & 1).astype(bool)
    mask = bits[rng.integers(0, 16, (64, 64))].reshape(64, 64, 3, 3)
    weight = mask.astype(np.int8)
    layout = LAYOUTS["spm"].from_dense(weight)
    assert layout.codes.nbytes == 64 * 64 / 2
    assert layout.index_nbytes == 64 * 64 / 2 + 16 * 2 + 1
    fkw, csr = sizes(weight, mask, "fkw", "csr")
    assert layout.index_nbytes < fkw < csr / 4


def test_spm_chooses_the_length_of_vectors():
    mask = np.zeros((8, 48), bool)
    mask.reshape(8, 4, 12)[..., [0, 7, 8]] = True
    layout = LAYOUTS["spm"].from_dense(mask.astype(np.float32))
    assert layout.length[0] == 12
    assert layout.index_nbytes == 3


def test_rows_that_are_gone_are_in_no_strip():
    mask = np.zeros((256, 8), bool)
    mask[::16] = True
    layout = LAYOUTS["strips"].from_dense(mask.astype(np.float32))
    assert layout.weights.shape == (8, 16)
    np.testing.assert_array_equal(layout.mask(), mask)


@pytest.mark.parametrize(
    ("weight", "mask", "error", "message"),
    [
        (np.ones((2, 2)), None, TypeError, "weights must be float32 or int8, not float64"),
        (np.ones(2, np.float32), None, ValueError, r"not \(2,\)"),
        (np.ones((0, 2), np.int8), None, ValueError, r"no axis of length 0, not \(0, 2\)"),
        (np.ones((2, 2), np.int8), np.ones((2, 2)), TypeError, "must be bool, True = kept"),
        (np.ones((2, 2), np.int8), np.ones((2, 3), bool), ValueError, r"\(2, 3\), the weight"),
    ],
)
def test_what_is_no_weight(weight, mask, error, message):
    for name in LAYOUTS:
        with pytest.raises(error, match=message):
            LAYOUTS[name].from_dense(weight, mask)
        with pytest.raises(error, match=message):
            fits(name, weight, mask)
    with pytest.raises(error, match=message):
        smallest(weight, mask)


@pytest.mark.parametrize(
    ("name", "mask", "message"),
    [
        ("fkw", np.ones((4, 4), bool), r"fkw holds kernels, \(O, I, kh, kw\)"),
        ("fkw", np.ones((1, 1, 9, 9), bool), "fkw: kernels of 9x9 have 81 places"),
        ("spm", np.ones((1, 1, 9, 9), bool), "spm: kernels of 9x9 have 81 places"),
        ("spm", np.ones((4, 17), bool), "vectors of 2 to 16; 17 inputs are no multiple"),
        ("spm", np.tri(6, 6, dtype=bool), "those of 2, 3, 6 consecutive inputs do not"),
        ("spm", np.tri(4, 4, dtype=bool).reshape(2, 2, 2, 2), "or none; they keep 1, 2, 3, 4"),
    ],
)
def test_what_does_not_fit(name, mask, message):
    assert not fits(name, mask.astype(np.int8), mask)
    with pytest.raises(ValueError, match=message):
        LAYOUTS[name].from_dense(mask.astype(np.int8), mask)
    assert smallest(mask.astype(np.int8), mask).name != name


def test_masks_that_hardly_repeat_do_not_fit_fkw():
    rng = np.random.default_rng(0)
    weight = (rng.random((70, 70, 5, 5)) < 0.5).astype(np.int8)
    with pytest.raises(ValueError, match=r"fkw: kernels have 4\d\d\d different masks"):
        LAYOUTS["fkw"].from_dense(weight)


def test_layouts_have_names():
    assert all(layout.name == name for name, layout in LAYOUTS.items())
    with pytest.raises(ValueError, match="layout 'coo' is none of dense, compact, strips"):
        fits("coo", np.ones((1, 1), np.float32))
