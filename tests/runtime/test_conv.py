"""Kernels of convolutions against plain NumPy."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import convolutions
import numpy as np
import pytest
from convolutions import Workspace, close, convolve, place, pooled, reference, windows
from hypothesis import given, settings
from hypothesis import strategies as st

from embcompress.runtime.kernels import conv, planes
from embcompress.runtime.kernels.conv_packing import (
    pack_lists,
    pack_panels,
    split_vectors,
    ungrouped,
)
from embcompress.runtime.maps import conv_offsets, conv_shape, map_of, phase_map, pitch_of

KINDS = ["panels", "lists"]
PATTERNS = [(4, 5, 7, 8), (0, 1, 3, 4), (1, 3, 4, 5), (1, 3, 4, 7)]


def example(channels, side, filters, kernel, seed=0):
    rng = np.random.default_rng(seed)
    shape = (side, side) if isinstance(side, int) else side
    x = rng.standard_normal((channels, *shape)).astype(np.float32)
    sides = (kernel, kernel) if isinstance(kernel, int) else kernel
    weight = rng.standard_normal((filters, channels, *sides)).astype(np.float32)
    return x, weight, rng.standard_normal(filters).astype(np.float32), rng


def mask_of(kind, shape, rng):
    filters, channels = shape[:2]
    if kind == "dense":
        return np.ones(shape, bool)
    if kind == "nothing":
        return np.zeros(shape, bool)
    if kind == "single weights":
        return rng.random(shape) < 0.2
    if kind == "filters":
        return (rng.random(filters) < 0.5)[:, None, None, None] & np.ones(shape, bool)
    if kind == "kernels":
        return (rng.random((filters, channels)) < 0.3)[..., None, None] & np.ones(shape, bool)
    if kind == "shared by 16":
        block = rng.random((-(-filters // 16), *shape[1:])) < 0.3
        return np.repeat(block, 16, 0)[:filters]
    table = np.zeros((len(PATTERNS), 9), bool)
    for row, pattern in zip(table, PATTERNS, strict=True):
        row[list(pattern)] = True
    chosen = table[rng.integers(len(PATTERNS), size=shape[:2])].reshape(shape)
    return chosen & (rng.random(shape[:2]) < 0.4)[..., None, None]


@pytest.mark.parametrize("kind", KINDS)
def test_shapes_strides_and_paddings(kind):
    sizes = [1, 2, 7, (3, 10), 14, (17, 5), 33]
    for side, kernel, stride, padding in product(sizes, (1, 3, 5), (1, 2), (0, 1, 2)):
        height, width = (side, side) if isinstance(side, int) else side
        if min(height, width) + 2 * padding < kernel:
            continue
        x, weight, bias, rng = example(3, side, 5, kernel)
        weight *= rng.random(weight.shape) < 0.5
        result = convolve(x, weight, bias, kind, stride=stride, padding=padding, pad=1)
        true = reference(x, weight, bias, stride, padding)
        assert close(result, true), (side, kernel, stride, padding)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "mask",
    ["dense", "nothing", "single weights", "filters", "kernels", "shared by 16", "patterns"],
)
@pytest.mark.parametrize("filters", [1, 16, 37])
def test_masks_with_added_map_and_relu(kind, mask, filters):
    x, weight, bias, rng = example(19, 14, filters, 3)
    weight *= mask_of(mask, weight.shape, rng)
    added = rng.standard_normal((filters, 14, 14)).astype(np.float32)
    result = convolve(x, weight, bias, kind, padding=1, added=added, relu=True, pad=2)
    assert close(result, reference(x, weight, bias, 1, 1, added, relu=True))


@pytest.mark.parametrize("kind", KINDS)
def test_a_large_map(kind):
    x, weight, bias, rng = example(4, 56, 18, 3)
    weight *= mask_of("patterns", weight.shape, rng)
    result = convolve(x, weight, bias, kind, padding=1)
    assert close(result, reference(x, weight, bias, 1, 1))


@pytest.mark.parametrize("kind", KINDS)
def test_kernels_that_are_not_square(kind):
    x, weight, bias, _ = example(2, (9, 12), 3, (1, 5))
    result = convolve(x, weight, bias, kind, padding=(0, 2))
    assert close(result, reference(x, weight, bias, 1, (0, 2)))


@pytest.mark.parametrize("kind", KINDS)
def test_larger_strides(kind):
    x, weight, bias, _ = example(2, 11, 3, 4)
    result = convolve(x, weight, bias, kind, stride=4, padding=1)
    assert close(result, reference(x, weight, bias, 4, 1))


def test_a_layer_in_two_parts():
    x, weight, bias, _ = example(3, 8, 20, 3)
    some = np.array([1, 4, 19])
    others = np.setdiff1d(np.arange(20), some)
    result = convolve(x, weight, bias, "lists", padding=1, rows=some)
    result += convolve(x, weight, bias, "panels", padding=1, rows=others)
    assert close(result, reference(x, weight, bias, 1, 1))


@pytest.mark.parametrize("kind", KINDS)
def test_nan_passes_through_relu_and_stays_out_of_gaps(kind):
    x, weight, bias, _ = example(1, 5, 2, 3)
    x[0, 2, 4] = np.nan
    result = convolve(x, weight, bias, kind, padding=1, relu=True, pad=1)  # checks the gaps
    expected = np.zeros((5, 5), bool)
    expected[1:4, 3:] = True
    assert np.array_equal(np.isnan(result[0]), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_the_added_map_may_be_the_output(kind):
    x, weight, bias, rng = example(3, 9, 18, 3)
    output = map_of(18, 9, 9, pad=1)
    source = map_of(3, 9, 9, pad=1, pitch=output.pitch)
    space = Workspace()
    x_at, out_at = space.add(source), space.add(output)
    work = space.array()
    place(work, source, x_at, x)
    added = rng.standard_normal((18, 9, 9)).astype(np.float32)
    place(work, output, out_at, added)
    offsets = conv_offsets(source, 3, padding=1)
    packed = (pack_panels if kind == "panels" else pack_lists)(weight, bias, offsets)
    at = out_at + output.origin
    convolutions.run(work, packed, output, x_at + source.origin, at, at, False)
    assert close(output.view(work, out_at), reference(x, weight, bias, 1, 1, added))


def test_equal_lists_share_a_panel_and_their_offsets():
    weight = np.zeros((48, 2, 1, 1), np.float32)
    weight[::3, 0], weight[1::3, 1], weight[2::3, 1] = 1, 2, 3
    offsets = np.array([7, 9], np.int32).reshape(2, 1, 1)
    packed = pack_panels(weight, None, offsets)
    assert packed.lengths.tolist() == [1, 1, 1]  # not the union: 2
    assert len(packed.offsets) == 2
    assert sorted(packed.rows.ravel()) == list(range(48))


def test_filters_that_are_left_share_the_union():
    weight = np.eye(5, dtype=np.float32).reshape(5, 5, 1, 1)
    packed = pack_panels(weight, np.arange(5), np.arange(5, dtype=np.int32).reshape(5, 1, 1))
    assert packed.lengths.tolist() == [5]
    assert (packed.rows >= 0).sum() == 5
    assert packed.bias[0, packed.rows[0].tolist().index(3)] == 3


def test_lists_are_sorted_by_length_with_pairs_first():
    weight = np.zeros((2, 1, 1, 5), np.float32)
    weight[0, 0, 0, 4] = 1
    weight[1, 0, 0] = [1, 2, 3, 0, 4]
    packed = pack_lists(weight, [8, 9], np.arange(5, dtype=np.int32).reshape(1, 1, 5))
    assert packed.rows.tolist() == [1, 0]
    assert packed.bias.tolist() == [9, 8]
    assert packed.starts.tolist() == [0, 4, 5]
    assert packed.singles.tolist() == [2, 4]
    assert packed.offsets.tolist() == [0, 1, 2, 4, 4]
    assert packed.values.tolist() == [1, 2, 3, 4, 1]


def test_groups():
    x, weight, bias, _ = example(2, 6, 6, 3)
    x = np.concatenate([x, x + 1, x - 1])
    whole = ungrouped(weight, 3)
    result = convolve(x, whole, bias, "lists", padding=1)
    true = [
        reference(x[2 * g : 2 * g + 2], weight[2 * g : 2 * g + 2], bias[2 * g : 2 * g + 2], 1, 1)
        for g in range(3)
    ]
    assert close(result, np.concatenate(true))


@given(st.integers(1, 500))
def test_tiles_cover_the_vectors(vectors):
    tiles = split_vectors(vectors)
    assert tiles.sum() == vectors
    assert set(tiles.tolist()) <= set(conv.TILES)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 4), st.integers(1, 20), st.integers(1, 40), st.integers(0, 3), st.integers(0, 9)
)
def test_padding_is_nobodys_data(channels, height, width, pad, more):
    m = map_of(channels, height, width, pad=pad, pitch=width + pad + more)
    owner = np.zeros(m.size, int)
    m.view(owner)[:] = 1 + np.arange(channels)[:, None, None]
    assert (owner > 0).sum() == channels * height * width
    c, y, x = np.ogrid[:channels, -pad : height + pad, -pad : width + pad]
    address = m.origin + c * m.plane + y * m.pitch + x
    assert address.min() >= 0
    # vectors that start at the last padded number end in the buffer
    assert address.max() + 32 <= m.size
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width) & (c >= 0)
    assert not owner[address[~inside]].any()
    assert m.origin % 16 == m.plane % 16 == m.size % 16 == 0
    for plane in range(channels):  # whole vectors of a plane touch no other
        start = m.origin + plane * m.plane
        assert set(owner[start : start + 16 * m.vectors]) <= {0, plane + 1}
        last = start + (height - 1) * m.pitch
        assert set(owner[last : last + -(-width // 16) * 16]) <= {0, plane + 1}


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 3), st.integers(1, 12), st.integers(1, 36), st.integers(1, 4),
    st.integers(1, 3), st.integers(0, 3),
)  # fmt: skip
def test_any_geometry(channels, height, width, kernel, stride, padding):
    if min(height, width) + 2 * padding < kernel:
        return
    x, weight, bias, rng = example(channels, (height, width), 3, kernel)
    weight *= rng.random(weight.shape) < 0.6
    for kind in KINDS:
        result = convolve(x, weight, bias, kind, stride=stride, padding=padding)
        assert close(result, reference(x, weight, bias, stride, padding))


@pytest.mark.parametrize(
    ("size", "stride", "padding"), [(2, 2, 0), (3, 2, 1), (3, 1, 1), (4, 4, 0)]
)
@pytest.mark.parametrize("side", [4, 7, 14, 33])
def test_pooling(size, stride, padding, side):
    x, *_ = example(3, side, 1, 1)
    views = windows(x, (size, size), stride, padding, -np.inf)
    assert np.array_equal(pooled(x, size, stride, padding, planes.MAX, pad=1), views.max((3, 4)))
    mean = windows(x, (size, size), stride, padding).mean((3, 4))
    assert close(pooled(x, size, stride, padding, planes.MEAN), mean)


@pytest.mark.parametrize("side", [1, 7, 14, 33])
def test_place_collect_and_mean(side):
    x, *_, rng = example(5, side, 1, 1)
    scale, shift = rng.random((2, 5), np.float32)
    m = map_of(*x.shape, pad=2)
    work = np.zeros(m.size + 32, np.float32)
    place(work, m, 16, x, scale, shift)
    expected = x * scale[:, None, None] + shift[:, None, None]
    assert close(m.view(work, 16), expected)
    out = np.zeros(1 + x.size, np.float32)
    planes.collect_map(work, 16 + m.origin, out, 1, *x.shape, m.pitch, m.plane)
    assert np.array_equal(out[1:].reshape(x.shape), m.view(work, 16))
    means = np.zeros(5, np.float32)
    planes.global_mean(work, 16 + m.origin, m.plane, m.vectors, 5, side * side, means, 0)
    assert close(means, expected.mean((1, 2)))
    planes.clear(work, 16, m.size)
    assert not work.any()


@pytest.mark.parametrize(
    "setting",
    [
        {
            "NUMBA_CPU_NAME": "haswell",
            "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma,+ssse3,+sse4.2",
        },
        {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": ""},
        {"NUMBA_DISABLE_JIT": "1"},
    ],
    ids=["AVX2", "no AVX", "Python"],
)
def test_other_processors(setting, tmp_path):
    if "NUMBA_CPU_NAME" in setting and os.uname().machine != "x86_64":
        pytest.skip("for processors of another kind")
    # the folder of the package comes from the module, so that this copy of it is tested
    root = Path(sys.modules["embcompress"].__file__).parents[1]
    subprocess.run(
        [sys.executable, convolutions.__file__],
        check=True,
        env=os.environ | setting | {"NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(root)},
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: map_of(0, 2, 2), "channels=0: must be at least 1"),
        (lambda: map_of(1, 2, 2, pad=1, pitch=2), "pitch=2 is less than width"),
        (lambda: conv_shape(2, 2, 5, padding=1), "kernel of 5 x 5 does not fit a map of 2 x 2"),
        (lambda: conv_shape(2, 2, 1, stride=0), "stride=0: must be at least 1"),
        (lambda: conv_offsets(map_of(1, 4, 4), 3, padding=1), "more than the 0 of the map"),
        (lambda: conv_offsets(map_of(3, 4, 4), 3, stride=2), "3 planes are not a multiple"),
        (lambda: phase_map(map_of(1, 4, 4), 3, stride=2, padding=16), "at most 15 columns"),
        (lambda: map_of(1, 4, 4).view(np.zeros(9, np.float32)), "does not fit a workspace of 9"),
        (lambda: ungrouped(np.zeros((4, 1, 1, 1)), 3), "4 filters cannot be cut into 3 groups"),
        (lambda: split_vectors(0), "vectors=0"),
        (
            lambda: pack_lists(np.zeros((4, 1, 3, 3)), None, np.zeros((2, 3, 3), np.int32)),
            r"shape \(4, 1, 3, 3\), the offsets \(2, 3, 3\)",
        ),
        (
            lambda: pack_panels(np.zeros((4, 1, 1, 1)), [1], np.zeros((1, 1, 1), np.int32)),
            r"bias has shape \(1,\); must be \(4,\)",
        ),
        (
            lambda: pack_lists(
                np.ones((1, 1, 1, 1)), None, np.zeros((1, 1, 1), np.int32), rows=[1]
            ),
            "rows must be from 0 to 0",
        ),
    ],
)
def test_messages(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_pitches():
    assert [pitch_of(*p) for p in ((14, 1), (15, 1), (7, 1), (28, 1), (56, 1), (30, 2))] == [
        16, 16, 8, 29, 57, 32,
    ]  # fmt: skip
