"""Patterns of kernels and vectors: their libraries, and the best of them for each."""

from __future__ import annotations

import itertools
from math import comb

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from hypothesis.extra.numpy import arrays  # noqa: E402

from embcompress.pruning import (  # noqa: E402
    FIXED_PATTERNS,
    NATURAL_PATTERNS,
    NM,
    SPM,
    KernelPattern,
    distill_patterns,
    extract_library,
    natural_patterns,
)
from embcompress.pruning.patterns import (  # noqa: E402
    decode_masks,
    encode_masks,
    pattern_bits,
    pattern_codes,
    pattern_rank,
)

torch.set_num_threads(1)

KERNELS = (2, 3, 3, 3)
kernels = arrays(np.float32, KERNELS, elements=st.floats(-9, 9, width=32)) | arrays(
    np.float32, KERNELS, elements=st.integers(-2, 2)
)


def positions(pattern):
    return {i for i in range(16) if pattern >> i & 1}


def subsets(n, length):
    return [sum(1 << i for i in keep) for keep in itertools.combinations(range(length), n)]


def held(squares, pattern):
    return sum(squares[i] for i in positions(pattern))


def best_total(vectors, library):
    """Energy that vectors keep with a library, by loops."""
    squares = np.asarray(vectors, np.float64) ** 2
    return sum(max(held(row, p) for p in library) for row in squares)


def test_the_eight_fixed_patterns():
    """Words, and places among all sets of five zeros, as in the published lists."""
    assert [f"{p:#05x}" for p in FIXED_PATTERNS] == (
        ["0x1b0", "0x0d8", "0x036", "0x01b", "0x03a", "0x0b8", "0x0b2", "0x09a"]
    )
    assert [pattern_rank(p) for p in FIXED_PATTERNS] == [3, 12, 65, 120, 55, 14, 44, 53]
    assert positions(FIXED_PATTERNS[4]) == {1, 3, 4, 5}


def test_rank_counts_all_sets_of_zeros():
    zeros = itertools.combinations(range(6), 4)
    patterns = [63 - sum(1 << i for i in z) for z in zeros]
    assert [pattern_rank(p, 6) for p in patterns] == list(range(1, comb(6, 4) + 1))


def test_natural_patterns_are_all_with_the_centre():
    assert len(set(NATURAL_PATTERNS)) == comb(8, 3) == 56
    assert all(4 in positions(p) and len(positions(p)) == 4 for p in NATURAL_PATTERNS)


@given(kernels)
def test_natural_pattern_of_a_kernel(weight):
    found = natural_patterns(torch.from_numpy(weight))
    assert found.shape == KERNELS[:2]
    for code, kernel in zip(found.reshape(-1).tolist(), weight.reshape(-1, 9), strict=True):
        others = sorted((i for i in range(9) if i != 4), key=lambda i: (-abs(kernel[i]), i))
        assert positions(code) == {4, *others[:3]}


@pytest.mark.parametrize("size", [1, 4, 6, 8, 12])
def test_extracted_library_is_the_most_frequent(size):
    layers = [torch.randn(8, 8, 3, 3, generator=torch.Generator().manual_seed(k)) for k in (0, 1)]
    layers[0][0] = 0  # kernels cut away before are not counted
    counts = dict.fromkeys(NATURAL_PATTERNS, 0)
    for layer in layers:
        for code, kernel in zip(
            natural_patterns(layer).reshape(-1).tolist(), layer.reshape(-1, 9), strict=True
        ):
            counts[code] += bool(kernel.any())
    expected = sorted(counts, key=lambda p: (-counts[p], p))[:size]
    assert extract_library(layers, size) == tuple(expected)


def test_extracted_library_is_that_of_the_plant():
    bits = pattern_bits(FIXED_PATTERNS).float().reshape(8, 1, 3, 3)
    assert set(extract_library(bits)) == set(FIXED_PATTERNS)
    assert len(extract_library(bits, 12)) == 8  # no more occur
    with pytest.raises(ValueError, match="no kernel has a weight that is not zero"):
        extract_library(torch.zeros(2, 2, 3, 3))
    with pytest.raises(ValueError, match="those of 3x3 kernels, not"):
        extract_library(torch.zeros(2, 2, 5, 5))


@given(kernels)
def test_kernel_pattern_is_the_nearest(weight):
    scheme = KernelPattern()
    mask = scheme.mask(torch.from_numpy(weight).abs()).reshape(-1, 9).numpy()
    for kernel, kept in zip(weight.reshape(-1, 9).astype(np.float64), mask, strict=True):
        energy = [held(kernel**2, p) for p in FIXED_PATTERNS]
        code = sum(1 << int(i) for i in np.flatnonzero(kept))
        assert code in FIXED_PATTERNS
        chosen = energy[FIXED_PATTERNS.index(code)]
        assert chosen == pytest.approx(max(energy), rel=1e-12, abs=1e-12)
        if np.array_equal(kernel, np.round(kernel)):  # exact sums: the first of equals
            assert code == FIXED_PATTERNS[int(np.argmax(energy))]
    projected = scheme.project(torch.from_numpy(weight))
    assert torch.equal(scheme.project(projected), projected)


@given(kernels)
def test_spm_keeps_the_n_largest_of_each_kernel(weight):
    weight = torch.from_numpy(weight)
    mask = SPM(4).mask(weight.abs()).reshape(-1, 9)
    for kernel, kept in zip(weight.reshape(-1, 9).tolist(), mask.tolist(), strict=True):
        order = sorted(range(9), key=lambda i: (-abs(kernel[i]), i))
        assert {i for i in range(9) if kept[i]} == set(order[:4])
    assert torch.equal(mask, SPM(4, n_patterns=126).mask(weight.abs()).reshape(-1, 9))


@given(
    arrays(np.float32, (2, 12), elements=st.floats(-9, 9, width=32)),
    st.lists(st.sampled_from(subsets(2, 4)), min_size=1, unique=True),
)
def test_spm_with_a_library_is_the_nearest(weight, library):
    weight = torch.from_numpy(weight)
    scheme = SPM(2, length=4, library=tuple(library))
    projected = scheme.project(weight)
    kept = float(projected.double().square().sum())
    assert kept == pytest.approx(best_total(weight.reshape(-1, 4), library), rel=1e-9, abs=1e-12)
    assert torch.equal(scheme.mask(weight.abs()).reshape(-1, 4).sum(1), torch.full((6,), 2))
    assert torch.equal(scheme.project(projected), projected)


@pytest.mark.parametrize("n_patterns", [1, 2, 3])
def test_distilled_patterns_are_nearly_the_best(n_patterns):
    """Greedy choice keeps 1 - 1/e of what the best library keeps, and mostly all of it."""
    shares = []
    for seed in range(30):
        vectors = torch.randn(12, 5, generator=torch.Generator().manual_seed(seed))
        library = distill_patterns(vectors, 2, n_patterns)
        assert len(library) == n_patterns
        assert all(len(positions(p)) == 2 for p in library)
        best = max(
            best_total(vectors, choice)
            for choice in itertools.combinations(subsets(2, 5), n_patterns)
        )
        shares.append(best_total(vectors, library) / best)
    assert min(shares) > 1 - 1 / np.e
    assert np.mean(shares) > 0.98
    if n_patterns == 1:
        assert min(shares) == pytest.approx(1)


def test_distilled_patterns_lose_nothing_where_few_are_needed():
    """Where greedy choice would take {0, 2} first, which no vector has."""
    vectors = torch.tensor([[10.0, 1, 0.1, 0], [0.1, 0, 10, 1]])
    assert distill_patterns(vectors, 2, 2) == (0b0011, 0b1100)
    planted = torch.randn(40, 9) * pattern_bits(FIXED_PATTERNS).repeat(5, 1)
    assert distill_patterns(planted, 4, 8) == tuple(sorted(FIXED_PATTERNS))
    weight = planted.reshape(8, 5, 3, 3)
    assert torch.equal(SPM(4, 8).project(weight), weight)
    assert torch.equal(KernelPattern(NATURAL_PATTERNS, 8).project(weight[:1]), weight[:1])


@pytest.mark.parametrize(
    ("scheme", "shape"),
    [
        (SPM(4, 16), (16, 16, 3, 3)),
        (SPM(2, 3, length=4), (8, 32)),
        (SPM(5, 8, length=13), (6, 39)),
        (SPM(8, 16, length=16), (32, 64)),
        (KernelPattern(NATURAL_PATTERNS, 6), (16, 16, 3, 3)),
    ],
)
def test_patterns_of_a_layer_are_bounded(scheme, shape):
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    mask = scheme.mask(weight.abs())
    length = getattr(scheme, "length", 9)
    vectors = mask.reshape(-1, length)
    assert len(pattern_codes(vectors).unique()) <= scheme.n_patterns
    n_kept = round(length * (1 - scheme.sparsity))
    assert torch.equal(vectors.sum(1), torch.full((len(vectors),), n_kept))
    projected = scheme.project(weight)
    assert torch.equal(scheme.project(projected), projected)
    # more patterns never keep less
    energies = []
    for n in (1, 2, 4, 8, 16, 32):
        library = distill_patterns(weight.reshape(-1, length), n_kept, n)
        energies.append(best_total(weight.reshape(-1, length), library))
    assert energies == sorted(energies)


def test_distilled_fixes_the_library():
    weight = torch.randn(8, 8, 3, 3, generator=torch.Generator().manual_seed(0))
    scheme = SPM(4, 16)
    fixed = scheme.distilled(weight)
    assert len(fixed.library) == 16
    assert torch.equal(fixed.mask(weight.abs()), scheme.mask(weight.abs()))
    other = torch.randn(8, 8, 3, 3)
    used = pattern_codes(fixed.mask(other.abs()).reshape(-1, 9)).unique()
    assert set(used.tolist()) <= set(fixed.library)
    assert fixed.with_sparsity(1 - 4 / 9) is fixed
    assert fixed.with_sparsity(1 - 2 / 9) == SPM(2, 16)


def test_penalty_is_on_what_lies_outside():
    weight = torch.randn(2, 3, 3, 3, generator=torch.Generator().manual_seed(0)).double()
    for scheme in (KernelPattern(), SPM(4), SPM(4, 4)):
        exact = SPM(4) if isinstance(scheme, SPM) else scheme
        outside = (weight - exact.project(weight)).reshape(-1, 9).norm(dim=1)
        assert torch.allclose(scheme.group_norms(weight), outside)
        assert not scheme.group_norms(exact.project(weight)).any()
        assert scheme.group_sizes(weight.shape).tolist() == [5.0] * 6
        spread = scheme.expand(torch.arange(6), tuple(weight.shape))
        assert torch.equal(spread, torch.arange(6).reshape(2, 3, 1, 1).expand(2, 3, 3, 3))


@given(st.lists(st.integers(0, 7), min_size=1, max_size=20))
def test_masks_to_indices_and_back(index):
    index = np.array(index, np.uint16)
    masks = decode_masks(index, FIXED_PATTERNS)
    coded = encode_masks(masks, FIXED_PATTERNS)
    assert coded.dtype == np.uint16
    assert np.array_equal(coded, index)
    assert pattern_codes(masks).tolist() == [FIXED_PATTERNS[i] for i in index]


def test_spm_without_limit_is_n_of_m_on_matrices():
    weight = torch.randn(3, 12, generator=torch.Generator().manual_seed(0))
    assert torch.equal(SPM(2, length=4).mask(weight.abs()), NM(2, 4).mask(weight.abs()))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: KernelPattern((0x1FF, 0x1B0)), ValueError, r"keep \[4, 9\] weights"),
        (lambda: KernelPattern((0x3B0,)), ValueError, "0x3b0 has bits beyond its 9 weights"),
        (lambda: KernelPattern(()), ValueError, "holds no pattern"),
        (lambda: KernelPattern((27, 27)), ValueError, "holds a pattern twice"),
        (lambda: KernelPattern((0,)), ValueError, "pattern=0 must be at least 1"),
        (lambda: KernelPattern(n_patterns=0), ValueError, "n_patterns=0 must be at least 1"),
        (lambda: SPM(10), ValueError, "n=10 of length=9"),
        (lambda: SPM(4, length=25), ValueError, "length=25: need n <= length <= 16"),
        (lambda: SPM(2, length=4, library=(0b111,)), ValueError, "keep 3 weights, not 2"),
        (lambda: SPM("4"), TypeError, "n must be an integer, not str"),
        (lambda: pattern_bits([1], length=17), ValueError, "at most 16 weights"),
        (lambda: distill_patterns(torch.ones(2, 4), 5, 2), ValueError, "n=5 of length=4"),
        (lambda: encode_masks(torch.ones(2, 9).bool(), [27]), ValueError, "2 of 2 masks.*0x1ff"),
    ],
)
def test_wrong_patterns(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_wrong_shapes_say_what_fits():
    with pytest.raises(ValueError, match="KernelPattern fits kernels of 3x3, not 1x1; use Conn"):
        KernelPattern().check((4, 4, 1, 1), "conv")
    with pytest.raises(ValueError, match="kernels of 5x5 have 25 weights, not length=9"):
        SPM(4).check((4, 4, 5, 5), "conv")
    with pytest.raises(ValueError, match=r"39 inputs are no multiple of length=9; use.* 3, 13$"):
        SPM(4).check((8, 39), "gru_input")
    with pytest.raises(ValueError, match="no multiple of length=9; use NM"):
        SPM(4).check((8, 37), "gru_input")
    SPM(4).check((8, 4, 3, 3), "conv")
    SPM(4, length=13).check((8, 39), "gru_input")
