"""The small network as an operator."""

from __future__ import annotations

import numpy as np
import pytest

from embcompress.augmentation import EmbeddingAugmenter, ResidualMLP

pytest.importorskip("torch")


def bent_pairs(m=300, d=4):
    Z = np.random.default_rng(0).normal(size=(m, d)).astype(np.float32)
    return Z, Z + np.abs(Z[:, ::-1])  # no linear map does this


def test_it_learns_what_a_linear_operator_cannot():
    Z, views = bent_pairs()
    options = {"holdout": 0.3, "random_state": 0}
    linear = EmbeddingAugmenter(**options).fit(Z[:200], {"bend": views[:200]})
    assert linear.report_["bend"]["rho"] > 0.3
    operator = ResidualMLP(64, max_epochs=100, learning_rate=0.01, random_state=0)
    augmenter = EmbeddingAugmenter(operator, **options).fit(Z[:200], {"bend": views[:200]})
    assert augmenter.report_["bend"]["rho"] < 0.1
    assert augmenter.transform(Z, "bend").dtype == np.float32
    error = np.square(augmenter.transform(Z[200:], "bend") - views[200:]).sum()
    assert error < 0.1 * np.square(views - Z)[200:].sum()


def test_training_starts_at_the_offset_and_keeps_the_best():
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(60, 4))
    views = Z + 1 + rng.normal(size=Z.shape)  # nothing to learn beyond the offset
    operator = ResidualMLP(64, max_epochs=30, patience=3, random_state=0).fit(Z, views)
    predicted = operator.transform(Z)
    offset = (views - Z).mean(axis=0)
    assert np.abs(predicted - Z - offset).mean() < 0.2
    assert operator.n_iter_ < 30


def test_same_seed_same_network():
    Z, views = bent_pairs(60)
    first, second = (
        ResidualMLP(8, max_epochs=3, random_state=1).fit(Z, views).transform(Z) for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)


def test_noise_is_as_strong_as_on_pairs_that_were_not_seen():
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(60, 12)).astype(np.float32)
    views = Z + rng.normal(size=Z.shape).astype(np.float32)
    operator = ResidualMLP(256, max_epochs=30, learning_rate=0.01, patience=30, weight_decay=0)
    with pytest.warns(UserWarning, match="unexplained"):
        augmenter = EmbeddingAugmenter(operator, noise="diagonal", random_state=0, holdout=0.3).fit(
            Z, {"noise": views}
        )
    spread = np.sqrt(np.square(augmenter.noises_["noise"].deviations).mean())
    assert 0.8 < spread < 1.5


@pytest.mark.filterwarnings("ignore:operators leave")
def test_too_few_pairs_fall_back():
    Z, views = bent_pairs(15)
    with pytest.warns(UserWarning, match="ResidualMLP needs at least 20: ResidualRidge is"):
        augmenter = EmbeddingAugmenter("mlp", random_state=0).fit(Z, {"bend": views})
    assert augmenter.report_["bend"]["operator"] == "ResidualRidge"
