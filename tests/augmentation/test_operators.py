"""Operators fitted on pairs: closed forms against plain ones, limits, leave-one-out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pairs_of import linear_pairs
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge

from embcompress.augmentation import (
    Diagonal,
    DisplacementBank,
    LowRank,
    Offset,
    ParameterConditioned,
    ResidualRidge,
)
from embcompress.augmentation.pairs import Pairs, Sources
from embcompress.augmentation.spectrum import PENALTIES, Spectrum

RANDOM = np.random.default_rng(0)


def plain_ridge(Z, views, penalty):
    """W of the definition, by the normal equations."""
    C = Z - Z.mean(axis=0)
    R = (views - Z) - (views - Z).mean(axis=0)
    scale = penalty * np.trace(C.T @ C) / C.shape[1]
    return np.linalg.solve(C.T @ C + scale * np.eye(C.shape[1]), C.T @ R)


def weight(operator):
    return operator.inner_ if operator.outer_ is None else operator.inner_ @ operator.outer_


def left_out_by_hand(fit_predict, Z, views):
    """Residual of each pair by the fit to all others."""
    rows = np.arange(len(Z))
    return np.array([views[i] - fit_predict(Z[rows != i], views[rows != i], Z[i]) for i in rows])


@pytest.mark.parametrize(("m", "d"), [(40, 7), (7, 40), (12, 12), (30, 40)])
@pytest.mark.parametrize("penalty", [1e-3, 0.1, 10.0])
def test_dual_is_primal_is_the_definition(m, d, penalty):
    Z, views = linear_pairs(m, d)
    operator = ResidualRidge(penalty=penalty).fit(Z, views)
    W = plain_ridge(Z, views, penalty)
    np.testing.assert_allclose(weight(operator), W, atol=1e-6)
    expected = Z + (views - Z).mean(axis=0) + (Z - Z.mean(axis=0)) @ W
    np.testing.assert_allclose(operator.transform(Z), expected, atol=1e-6)
    assert operator.macs <= max(d * d, 2 * d * m)


@given(st.integers(0, 10_000), st.integers(4, 20), st.integers(2, 20))
def test_it_is_scikit_learns_ridge_on_the_displacement(seed, m, d):
    Z, views = linear_pairs(m, d, seed=seed)
    C = Z - Z.mean(axis=0)
    ridge = Ridge(alpha=0.5 * np.trace(C.T @ C) / d).fit(Z, views - Z)
    operator = ResidualRidge(penalty=0.5).fit(Z, views)
    np.testing.assert_allclose(operator.transform(Z), Z + ridge.predict(Z), atol=1e-6)


def test_a_large_penalty_leaves_identity_and_offset_not_zero():
    Z, views = linear_pairs()
    offset = (views - Z).mean(axis=0)
    for penalty in (1e12, float("inf")):
        operator = ResidualRidge(penalty=penalty).fit(Z, views)
        np.testing.assert_allclose(operator.transform(Z), Z + offset, atol=1e-8)
    np.testing.assert_allclose(Offset().fit(Z, views).transform(Z), Z + offset)


def test_a_small_penalty_is_least_squares():
    Z, views = linear_pairs(noise=0)
    np.testing.assert_allclose(ResidualRidge(penalty=1e-9).fit(Z, views).transform(Z), views,
                               atol=1e-6)  # fmt: skip


@pytest.mark.parametrize(("m", "d"), [(25, 4), (8, 20)])
@pytest.mark.parametrize("penalty", [0.01, 1.0, float("inf")])
def test_leave_one_out_is_what_it_says(m, d, penalty):
    Z, views = linear_pairs(m, d, noise=0.3)
    C = Z - Z.mean(axis=0)
    absolute = penalty * np.trace(C.T @ C) / d

    def refit(Z, views, z):
        if np.isinf(absolute):
            return z + (views - Z).mean(axis=0)
        return z + Ridge(alpha=absolute).fit(Z, views - Z).predict(z[None])[0]

    by_hand = left_out_by_hand(refit, Z, views)
    operator = ResidualRidge(penalty=penalty).fit(Z, views)
    residuals = operator.residuals(Pairs(Sources(Z), views), RANDOM)[0]
    np.testing.assert_allclose(residuals, by_hand, atol=1e-6)
    share = np.square(by_hand).sum() / np.square(views - Z).sum()
    assert operator.loo_ == pytest.approx(share)


def test_leave_one_out_of_the_simple_forms():
    Z, views = linear_pairs(20, 3, noise=0.5)
    pairs = Pairs(Sources(Z), views)

    def offset(Z, views, z):
        return z + (views - Z).mean(axis=0)

    def diagonal(Z, views, z):
        return Diagonal().fit(Z, views).transform(z[None])[0]

    for operator, by_hand in [(Offset(), offset), (Diagonal(), diagonal)]:
        residuals = operator.fit(Z, views).residuals(pairs, RANDOM)[0]
        np.testing.assert_allclose(residuals, left_out_by_hand(by_hand, Z, views), atol=1e-8)


@pytest.mark.parametrize("noise", [0.05, 1.0, 30.0])
def test_the_penalty_with_the_least_left_out_error_is_chosen(noise):
    Z, views = linear_pairs(60, 12, noise=noise)
    errors = [ResidualRidge(penalty=p).fit(Z, views).loo_ for p in PENALTIES]
    chosen = ResidualRidge().fit(Z, views)
    assert chosen.loo_ == pytest.approx(min(errors))
    assert chosen.penalty_ == PENALTIES[int(np.argmin(errors))]
    cheap = ResidualRidge(penalty="gcv").fit(Z, views)
    assert cheap.loo_ < 1.1 * min(errors)


def test_generalized_estimate_is_exact_where_all_leverages_are_alike():
    # an orthogonal design of +-1: every row has the same leverage
    H = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=float)
    R = np.random.default_rng(0).normal(size=(4, 2))
    R -= R.mean(axis=0)
    spectrum = Spectrum.of(H)
    projected = spectrum.project(R)
    np.testing.assert_allclose(
        spectrum.path(R, projected, PENALTIES), spectrum.generalized(R, projected, PENALTIES)
    )


@pytest.mark.parametrize("per", ["dimension", "direction"])
def test_penalties_of_their_own_are_no_worse(per):
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(80, 6))
    # three dimensions follow a map, three are noise
    views = Z + np.concatenate([Z[:, :3] @ rng.normal(size=(3, 3)), 3 * rng.normal(size=(80, 3))],
                               axis=1)  # fmt: skip
    own = ResidualRidge(per=per).fit(Z, views)
    assert own.loo_ <= ResidualRidge().fit(Z, views).loo_ + 1e-9
    assert len(np.unique(own.penalty_)) > 1
    if per == "dimension":
        for column in range(6):
            one = ResidualRidge(penalty=own.penalty_[column]).fit(Z, views)
            np.testing.assert_allclose(weight(own)[:, column], weight(one)[:, column], atol=1e-9)


def test_principal_components_only():
    Z, views = linear_pairs(50, 8)
    operator = ResidualRidge(penalty=0.01, n_components=3).fit(Z, views)
    _, _, V = np.linalg.svd(Z - Z.mean(axis=0), full_matrices=False)
    assert np.linalg.matrix_rank(weight(operator)) == 3
    np.testing.assert_allclose(V[3:] @ weight(operator), 0, atol=1e-9)


@pytest.mark.parametrize("rank", [1, 3, 7])
def test_reduced_rank_is_the_best_of_its_rank(rank):
    Z, views = linear_pairs(40, 7)
    full = ResidualRidge(penalty=0.1).fit(Z, views)
    C = Z - Z.mean(axis=0)
    predictions = C @ weight(full)
    U, s, Vt = np.linalg.svd(predictions, full_matrices=False)
    best = (U[:, :rank] * s[:rank]) @ Vt[:rank]  # Eckart and Young
    operator = LowRank(rank, penalty=0.1).fit(Z, views)
    np.testing.assert_allclose(C @ weight(operator), best, atol=1e-6)
    assert operator.macs == 2 * 7 * rank
    assert operator.rank_ == rank


def test_rank_is_chosen_by_leaving_out():
    rng = np.random.default_rng(1)
    Z = rng.normal(size=(100, 12))
    low = rng.normal(size=(12, 2)) @ rng.normal(size=(2, 12))
    views = Z + Z @ low + rng.normal(size=Z.shape)
    chosen = LowRank().fit(Z, views)
    errors = [LowRank(r, penalty=chosen.penalty_).fit(Z, views).loo_ for r in range(1, 13)]
    assert chosen.rank_ == 1 + int(np.argmin(errors))
    assert chosen.rank_ <= 4
    assert chosen.loo_ < ResidualRidge().fit(Z, views).loo_


def test_nothing_to_explain():
    Z, _ = linear_pairs(30, 5)
    for operator in (ResidualRidge(), LowRank(), Diagonal(), Offset(), DisplacementBank()):
        operator.fit(Z, Z)
        np.testing.assert_array_equal(operator.transform(Z, random_state=0), Z)


def test_noise_is_not_explained():
    Z, _ = linear_pairs(200, 5)
    views = Z + np.random.default_rng(5).normal(size=Z.shape)
    for operator in (ResidualRidge(), LowRank()):
        operator.fit(Z, views)
        assert 0.97 < operator.loo_ < 1.02
        # next to nothing but the offset
        moved = operator.displacement(Z) - (views - Z).mean(axis=0)
        assert np.square(moved).mean() < 0.05


def test_a_dimension_that_does_not_vary():
    Z, views = linear_pairs(30, 5)
    Z[:, 2] = 4.0
    for operator in (ResidualRidge(), Diagonal()):
        assert np.isfinite(operator.fit(Z, views).transform(Z)).all()
    constant = np.ones((10, 4))
    np.testing.assert_allclose(ResidualRidge().fit(constant, constant + 1).transform(constant), 2)


def test_diagonal_is_least_squares_per_dimension():
    Z, views = linear_pairs(50, 4)
    operator = Diagonal().fit(Z, views)
    for j in range(4):
        slope, intercept = np.polyfit(Z[:, j], views[:, j], 1)
        np.testing.assert_allclose(operator.transform(Z)[:, j], slope * Z[:, j] + intercept)


def test_several_views_are_fitted_as_their_mean():
    Z, first = linear_pairs(40, 6, noise=0.4)
    second = first + np.random.default_rng(5).normal(size=first.shape)
    stack = np.stack([first, second])
    one = ResidualRidge(penalty=0.1).fit(Z, stack)
    np.testing.assert_allclose(
        weight(one), weight(ResidualRidge(penalty=0.1).fit(Z, stack.mean(axis=0)))
    )
    # each view keeps its own distance from the prediction
    residuals = one.residuals(Pairs(Sources(Z), stack), RANDOM)
    np.testing.assert_allclose(residuals[1] - residuals[0], second - first, atol=1e-10)


def test_bank():
    Z, views = linear_pairs(30, 4)
    bank = DisplacementBank().fit(Z, views)
    moved = bank.displacement(np.zeros((500, 4)), random_state=0)
    distances = np.abs(moved[:, None] - (views - Z)[None]).max(axis=2)
    np.testing.assert_allclose(distances.min(axis=1), 0, atol=1e-12)
    assert len(np.unique(distances.argmin(axis=1))) == 30
    np.testing.assert_array_equal(moved, bank.displacement(np.zeros((500, 4)), random_state=0))
    # the nearest pair of each stored input is itself
    near = DisplacementBank(neighbors=1).fit(Z, views)
    np.testing.assert_allclose(near.transform(Z, random_state=0), views)


def conditioned_pairs(m=200, d=5, seed=0):
    rng = np.random.default_rng(seed)
    Z, phi = rng.normal(size=(m, d)), rng.uniform(-1, 1, m)
    W = rng.normal(size=(d, d)) / 3
    return Z, Z + phi[:, None] * (Z @ W + 0.5) + phi[:, None] ** 2 * 0.3, phi


@pytest.mark.parametrize("features", ["polynomial", "fourier"])
def test_conditioned_on_strength(features):
    Z, views, phi = conditioned_pairs()
    operator = ParameterConditioned(features=features, penalty=1e-6).fit(Z, views, phi)
    assert operator.loo_ < 0.01
    error = np.abs(operator.transform(Z, params=phi) - views).max()
    assert error < (1e-3 if features == "polynomial" else 0.2)
    np.testing.assert_array_equal(operator.transform(Z, params=0.0), Z)  # exactly the identity
    drawn = operator.transform(Z, random_state=1)
    np.testing.assert_array_equal(drawn, operator.transform(Z, random_state=1))


def test_conditioned_is_ridge_on_products():
    Z, views, phi = conditioned_pairs(40, 3)
    operator = ParameterConditioned(degree=1, penalty=0.5).fit(Z, views, phi)
    c = phi / np.sqrt((phi**2).mean())
    X = c[:, None] * (Z - Z.mean(axis=0))
    # the offset, c times a vector, is not penalized: project it out
    M = np.eye(40) - np.outer(c, c) / (c @ c)
    scale = 0.5 * np.square(M @ X).sum() / 3
    W = np.linalg.solve(X.T @ M @ X + scale * np.eye(3), X.T @ M @ (views - Z))
    offset = c @ ((views - Z) - X @ W) / (c @ c)
    np.testing.assert_allclose(
        operator.transform(Z, params=phi), Z + X @ W + np.outer(c, offset), atol=1e-6
    )
    residuals = operator.residuals(Pairs(Sources(Z), views, phi), RANDOM)[0]
    i, rows = 7, np.arange(40) != 7
    M = np.eye(39) - np.outer(c[rows], c[rows]) / (c[rows] @ c[rows])
    left, R = X[rows], (views - Z)[rows]
    W = np.linalg.solve(left.T @ M @ left + scale * np.eye(3), left.T @ M @ R)
    offset = c[rows] @ (R - left @ W) / (c[rows] @ c[rows])
    np.testing.assert_allclose(residuals[i], views[i] - Z[i] - X[i] @ W - c[i] * offset, atol=1e-6)


FORMS = [ResidualRidge(), ResidualRidge(per="direction"), LowRank(4), Diagonal(), Offset(),
         DisplacementBank()]  # fmt: skip


@pytest.mark.parametrize("operator", FORMS, ids=repr)
def test_float32_stays(operator):
    Z, views = linear_pairs(40, 6, dtype=np.float32)
    assert operator.fit(Z, views).transform(Z, random_state=0).dtype == np.float32
    assert operator.transform(Z.astype(np.float64), random_state=0).dtype == np.float64
    before = Z.copy()
    operator.transform(Z, random_state=0)
    np.testing.assert_array_equal(Z, before)


def test_errors():
    Z, views = linear_pairs(20, 4)
    with pytest.raises(ValueError, match=r"shape \(19, 4\), Z has \(20, 4\); row i must be a view"):
        ResidualRidge().fit(Z, views[:19])
    with pytest.raises(ValueError, match=r"shape \(20, 3\), Z has \(20, 4\)"):
        ResidualRidge().fit(Z, views[:, :3])
    bad = views.copy()
    bad[3, 1] = np.nan
    with pytest.raises(ValueError, match="contains NaN"):
        ResidualRidge().fit(Z, bad)
    with pytest.raises(ValueError, match="Input Z contains NaN"):
        ResidualRidge().fit(bad, views)
    with pytest.raises(ValueError, match="ResidualRidge needs at least 3 pairs, got 2; use 'off"):
        ResidualRidge().fit(Z[:2], views[:2])
    with pytest.raises(ValueError, match="'penalty' parameter of ResidualRidge must be"):
        ResidualRidge(penalty=-1.0).fit(Z, views)
    with pytest.raises(NotFittedError):
        ResidualRidge().transform(Z)
    with pytest.raises(ValueError, match="Z has 3 features, but Offset is expecting 4"):
        Offset().fit(Z, views).transform(Z[:, :3])
    with pytest.raises(ValueError, match="Offset takes no params"):
        Offset().fit(Z, views).transform(Z, params=1.0)
    with pytest.raises(ValueError, match="needs the params of 'Z_aug'"):
        ParameterConditioned().fit(Z, views)
    with pytest.raises(ValueError, match=r"params of 'Z_aug' have shape \(3,\)"):
        ParameterConditioned().fit(Z, views, [1, 2, 3])
    conditioned = ParameterConditioned().fit(Z, views, np.linspace(0, 1, 20))
    with pytest.raises(ValueError, match=r"params have shape \(3,\); finite numbers of shape"):
        conditioned.transform(Z, params=[1.0, 2.0, 3.0])
