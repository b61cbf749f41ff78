from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from embcompress.codes import (
    asymmetric_scores,
    check_codes,
    code_bytes,
    hamming_distances,
    pack_bits,
    unpack_bits,
    unpack_signs,
)

bit_matrices = hnp.arrays(
    np.uint8,
    st.tuples(st.integers(0, 20), st.integers(1, 70)),
    elements=st.integers(0, 1),
)


@given(bit_matrices)
def test_unpack_undoes_pack(bits):
    codes = pack_bits(bits)
    assert codes.dtype == np.uint8
    assert codes.shape == (len(bits), code_bytes(bits.shape[1]))
    np.testing.assert_array_equal(unpack_bits(codes, bits.shape[1]), bits)


@given(bit_matrices)
def test_pad_bits_are_zero(bits):
    codes = pack_bits(bits)
    assert not np.unpackbits(codes, axis=1)[:, bits.shape[1] :].any()


def test_first_bit_is_most_significant():
    assert pack_bits([[1, 0, 0, 0, 0, 0, 0, 0, 1]]).tolist() == [[128, 128]]


def test_packing_order_is_that_of_the_stores():
    # the vector whose two possible packings, 0x2B and 0xD4, tell bit orders apart
    values = np.array([[-0.73, -0.80, 0.12, -0.73, 0.79, -0.11, 0.23, 0.97]])
    assert pack_bits(values >= 0)[0, 0] == 0x2B


@given(st.data(), st.integers(1, 70))
def test_distances_are_a_metric_and_count_bits(data, n_bits):
    rows = st.tuples(st.integers(1, 6), st.just(n_bits))
    a = data.draw(hnp.arrays(np.uint8, rows, elements=st.integers(0, 1)))
    b = data.draw(hnp.arrays(np.uint8, rows, elements=st.integers(0, 1)))
    found = hamming_distances(pack_bits(a), pack_bits(b))
    loop = [[sum(int(x) != int(y) for x, y in zip(r, s, strict=True)) for s in b] for r in a]
    np.testing.assert_array_equal(found, loop)
    np.testing.assert_array_equal(found, hamming_distances(pack_bits(b), pack_bits(a)).T)
    assert not hamming_distances(pack_bits(a), pack_bits(a)).diagonal().any()


@pytest.mark.parametrize("n_bits", [1, 7, 8, 9, 64, 300])
def test_asymmetric_scores_are_dot_products_with_signs(n_bits):
    rng = np.random.default_rng(n_bits)
    codes = pack_bits(rng.integers(0, 2, size=(50, n_bits)))
    queries = rng.normal(size=(4, n_bits)).astype(np.float32)
    expected = queries @ unpack_signs(codes, n_bits).T
    np.testing.assert_allclose(asymmetric_scores(queries, codes, n_bits), expected, atol=1e-4)


def test_asymmetric_order_of_a_sign_query_is_the_hamming_order():
    rng = np.random.default_rng(0)
    codes = pack_bits(rng.integers(0, 2, size=(200, 90)))
    scores = asymmetric_scores(unpack_signs(codes[:3], 90), codes, 90)
    np.testing.assert_allclose(scores, 90 - 2 * hamming_distances(codes[:3], codes), atol=1e-3)


def test_messages():
    with pytest.raises(ValueError, match=r"bits has shape \(3,\); a matrix .* bits\[None, :\]"):
        pack_bits([1, 0, 1])
    with pytest.raises(ValueError, match=r"values other than 0 and 1.*pack_bits"):
        pack_bits([[0.5, 1.0]])
    with pytest.raises(ValueError, match="n_bits=0 must be at least 1"):
        code_bytes(0)
    with pytest.raises(TypeError, match="dtype int64; packed codes are uint8, 2 bytes for 9 bits"):
        check_codes(np.zeros((2, 2), dtype=np.int64), 9)
    with pytest.raises(ValueError, match=r"shape \(2,\).*code\[None, :\]"):
        check_codes(np.zeros(2, dtype=np.uint8), 9)
    with pytest.raises(ValueError, match="3 bytes per row; 9 bits need 2"):
        check_codes(np.zeros((2, 3), dtype=np.uint8), 9)
    with pytest.raises(ValueError, match=r"projected has shape \(1, 8\); \(n_queries, 9\)"):
        asymmetric_scores(np.zeros((1, 8)), np.zeros((2, 2), dtype=np.uint8), 9)
