"""The closed form of infinitely many augmentations, and its streaming statistics."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embcompress.augmentation import ClassCovariance, isda_logits


def cross_entropy(logits, y):
    peak = logits.max(axis=-1, keepdims=True)
    logs = logits - peak - np.log(np.exp(logits - peak).sum(axis=-1, keepdims=True))
    return -np.take_along_axis(logs, np.broadcast_to(y, logs.shape[:-1])[..., None], -1)[..., 0]


@given(st.integers(0, 10_000), st.floats(0.05, 2))
def test_it_bounds_the_expected_loss_from_above(seed, strength):
    rng = np.random.default_rng(seed)
    W, X, y = rng.normal(size=(3, 4)), rng.normal(size=(5, 4)), rng.integers(0, 3, 5)
    root = rng.normal(size=(3, 4, 4)) / 2
    S = root @ root.transpose(0, 2, 1)
    noise = np.einsum("nij,snj->sni", root[y], rng.normal(size=(4000, 5, 4)))
    samples = cross_entropy((X + np.sqrt(strength) * noise) @ W.T, y)
    bound = cross_entropy(isda_logits(X @ W.T, W, S, y, strength), y)
    slack = 4 * samples.std(axis=0) / np.sqrt(len(samples))
    assert (bound >= samples.mean(axis=0) - slack).all()


def test_formula_diagonals_and_strength_0():
    rng = np.random.default_rng(0)
    W, y = rng.normal(size=(3, 4)), np.array([2, 0])
    logits, diagonal = rng.normal(size=(2, 3)), rng.random((3, 4))
    full = np.stack([np.diag(row) for row in diagonal])
    out = isda_logits(logits, W, diagonal, y, 0.5)
    np.testing.assert_allclose(out, isda_logits(logits, W, full, y, 0.5))
    apart = W[1] - W[2]
    assert out[0, 1] == pytest.approx(logits[0, 1] + 0.25 * apart @ full[2] @ apart)
    assert out[0, 2] == logits[0, 2]
    np.testing.assert_array_equal(isda_logits(logits, W, diagonal, y, 0), logits)


def test_gradients_flow_through_tensors():
    torch = pytest.importorskip("torch")
    W = torch.randn(3, 4, requires_grad=True)
    X, y = torch.randn(5, 4), torch.tensor([0, 1, 2, 0, 1])
    out = isda_logits(X @ W.T, W, torch.rand(3, 4), y, 0.5)
    torch.nn.functional.cross_entropy(out, y).backward()
    assert torch.isfinite(W.grad).all()


@pytest.mark.parametrize("full", [False, True])
def test_streaming_covariance_is_the_biased_one(full):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(200, 3)) + 5, rng.integers(0, 2, 200)
    running = ClassCovariance(3, 3, full=full)
    for part in np.array_split(np.arange(200), 7):
        running.update(X[part], y[part])
    for label in (0, 1):
        exact = np.cov(X[y == label].T, bias=True)
        np.testing.assert_allclose(
            running.covariances[label], exact if full else np.diag(exact), atol=1e-12
        )
        np.testing.assert_allclose(running.means[label], X[y == label].mean(axis=0))
    assert not running.covariances[2].any()


def test_errors():
    W, logits, y = np.ones((3, 4)), np.ones((2, 3)), np.array([0, 1])
    with pytest.raises(ValueError, match=r"covariances have shape \(3, 5\); \(3, 4\) or"):
        isda_logits(logits, W, np.ones((3, 5)), y, 0.5)
    with pytest.raises(ValueError, match=r"logits have shape \(2, 4\); \(2, 3\) is needed"):
        isda_logits(np.ones((2, 4)), W, np.ones((3, 4)), y, 0.5)
    with pytest.raises(ValueError, match="strength=-1 is negative"):
        isda_logits(logits, W, np.ones((3, 4)), y, -1)
