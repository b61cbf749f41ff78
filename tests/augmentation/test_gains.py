"""GainRidge: gains first, then ridge of the rest."""

from __future__ import annotations

import numpy as np
import pytest

from embcompress.augmentation import Diagonal, EmbeddingAugmenter, GainRidge, ResidualRidge


def pairs(m: int = 30, d: int = 80, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    Z = rng.normal(size=(m, d))
    return Z, Z * rng.uniform(0.2, 1.5, d) + rng.normal(size=d) + 0.1 * rng.normal(size=(m, d))


def test_large_penalty_is_the_diagonal_operator():
    Z, views = pairs()
    found = GainRidge(1e12).fit(Z, views).transform(Z)
    np.testing.assert_allclose(found, Diagonal().fit(Z, views).transform(Z), atol=1e-6)


def test_small_penalty_gives_back_the_pairs():
    Z, views = pairs()
    np.testing.assert_allclose(GainRidge(1e-9).fit(Z, views).transform(Z), views, atol=1e-5)


def test_gains_carry_to_directions_that_no_pair_shows():
    Z, views = pairs(60)
    rho = {}
    for operator in (GainRidge(), ResidualRidge(penalty=0.3)):
        operator.fit(Z[:30], views[:30])
        left = np.square(operator.transform(Z[30:]) - views[30:]).sum()
        rho[type(operator).__name__] = left / np.square(Z[30:] - views[30:]).sum()
    assert rho["GainRidge"] < 0.5 * rho["ResidualRidge"]


def test_displacement_is_as_written_and_residuals_leave_a_pair_out():
    Z, views = pairs(200, 6)
    operator = GainRidge(0.3).fit(Z, views)
    W = operator.inner_ if operator.outer_ is None else operator.inner_ @ operator.outer_
    expected = operator.offset_ + (Z - operator.mean_) * operator.gain_ + (Z - operator.mean_) @ W
    np.testing.assert_allclose(operator.displacement(Z), expected)
    assert operator.macs == 36 + 6
    seen = np.square(operator.transform(Z) - views).sum() / np.square(Z - views).sum()
    assert seen < operator.loo_ < 1.2 * seen


def test_it_is_the_default_and_goes_through_a_file(tmp_path):
    Z, views = pairs(40, 8)
    augmenter = EmbeddingAugmenter(random_state=0).fit(Z, {"a": views})
    assert isinstance(augmenter.operators_["a"], GainRidge)
    augmenter.save(tmp_path / "a.safetensors")
    again = EmbeddingAugmenter.load(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(again.transform(Z, "a"), augmenter.transform(Z, "a"))


def test_penalty_is_checked():
    Z, views = pairs()
    with pytest.raises(ValueError, match="penalty"):
        GainRidge(-1.0).fit(Z, views)
