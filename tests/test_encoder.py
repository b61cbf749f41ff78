from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from embcompress.quantizers._moments import moments, principal_directions
from embcompress.row_lengths import row_lengths, unit_rows


@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.float64]),
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=8),
        elements=st.floats(-(2.0**100), 2.0**100, width=32),
    )
)
def test_unit_rows_have_length_one_or_zero(X):
    unit = unit_rows(X)
    assert unit.dtype == X.dtype
    zero = ~X.any(axis=1)
    lengths = np.linalg.norm(unit.astype(np.float64), axis=1)
    np.testing.assert_allclose(lengths[~zero], 1, rtol=1e-5)
    assert not unit[zero].any()
    exact = np.linalg.norm(X.astype(np.float64), axis=1)
    np.testing.assert_allclose(row_lengths(X), exact, rtol=1e-4)


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1.0, 1e30, 1e150])
@pytest.mark.parametrize("normalize", [False, True])
def test_moments_are_those_of_numpy(scale, normalize):
    X = (np.random.default_rng(0).normal(size=(40_000, 3)) + 2) * np.array([1, 5, 0.2])
    prepared = X / np.linalg.norm(X, axis=1, keepdims=True) if normalize else X
    if not normalize:
        scale = np.clip(scale, 1e-100, 1e100)  # squares must stay in range without normalizing
        prepared = X * scale
    found = moments(X * scale, normalize=normalize)
    np.testing.assert_allclose(found.mean, prepared.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(found.covariance, np.cov(prepared.T, bias=True), rtol=1e-7)
    if normalize:
        assert found.mean_length == pytest.approx(np.linalg.norm(X, axis=1).mean() * scale)
    else:
        assert found.mean_length == 1


def test_moments_keep_digits_far_from_zero():
    X = np.random.default_rng(0).normal(size=(50_000, 2)).astype(np.float32) + 1000
    np.testing.assert_allclose(moments(X).covariance, np.cov(X.T.astype(np.float64)), atol=2e-3)


def test_principal_directions():
    rows = np.random.default_rng(0).normal(size=(500, 4)) * [1, 4, 2, 3]
    variances, directions = principal_directions(np.cov(rows.T))
    assert (np.diff(variances) <= 0).all()
    np.testing.assert_allclose(directions @ directions.T, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(
        directions @ np.cov(rows.T) @ directions.T, np.diag(variances), atol=1e-9
    )
    assert (directions[np.arange(4), np.abs(directions).argmax(axis=1)] > 0).all()
