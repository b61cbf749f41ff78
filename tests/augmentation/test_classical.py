"""Operations without pairs: moments as derived, identities, fallbacks, soft labels."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embcompress.augmentation import (
    Calibrated,
    ChannelAffine,
    Compose,
    Delta,
    EmbeddingAugmenter,
    Extrapolate,
    GaussianNoise,
    Interpolate,
    Mixup,
    OneOf,
    Slerp,
    Smote,
    slerp,
    to_weighted,
)

IDENTITIES = [
    GaussianNoise(0), GaussianNoise(0, kind="class"), GaussianNoise(0, kind="isotropic"),
    ChannelAffine(0, 0), Mixup(0), Mixup(0, within_class=True), Interpolate(0), Extrapolate(0),
    Extrapolate(0, neighbors=0), Delta(0), Smote(0), Slerp(0), Calibrated(0),
    Mixup(p=0), GaussianNoise(1, p=0), Smote(p=0), Calibrated(p=0, power=1),
]  # fmt: skip
EVERY = [
    GaussianNoise(0.3), GaussianNoise(0.3, kind="class"), GaussianNoise(0.3, kind="isotropic"),
    ChannelAffine(), ChannelAffine(shared=True), Mixup(), Mixup(within_class=True),
    Mixup(keep_larger=True, one_per_batch=True), Interpolate(), Extrapolate(),
    Extrapolate(neighbors=0), Delta(), Smote(), Smote(neighbors=None), Slerp(),
    Slerp(neighbors=2), Calibrated(power=1),
    Compose([GaussianNoise(0.1), Smote()]), OneOf([Mixup(), Delta(), GaussianNoise()]),
]  # fmt: skip


def rows(n=60, d=6, n_classes=3, dtype=np.float32):
    rng = np.random.default_rng(0)
    y = np.array(["a", "b", "c"])[np.arange(n) % n_classes]
    X = rng.normal(size=(n, d)) + 3 * np.eye(d)[np.arange(n) % n_classes]
    return X.astype(dtype), y


def within_variance(X, y):
    return np.mean([X[y == label].var(axis=0) for label in np.unique(y)], axis=0)


@pytest.mark.parametrize("operation", IDENTITIES, ids=repr)
def test_strength_0_is_exactly_the_identity(operation):
    X, y = rows()
    views, labels = operation.augment(X, y, random_state=0)
    np.testing.assert_array_equal(views, X)
    if labels.ndim == 2:
        np.testing.assert_array_equal(np.array(["a", "b", "c"])[labels.argmax(axis=1)], y)
        np.testing.assert_array_equal(labels.max(axis=1), 1)
    else:
        np.testing.assert_array_equal(labels, y)


@pytest.mark.parametrize("operation", EVERY, ids=repr)
def test_seeds_types_and_arguments(operation):
    X, y = rows()
    before = X.copy()
    views, labels = operation.augment(X, y, random_state=1)
    again, same = operation.augment(X, y, random_state=1)
    np.testing.assert_array_equal(views, again)
    np.testing.assert_array_equal(labels, same)
    assert (views != operation.augment(X, y, random_state=2)[0]).any() or "neighbors=0" in repr(
        operation
    )
    np.testing.assert_array_equal(X, before)
    assert views.shape == X.shape
    assert views.dtype == np.float32
    assert operation.augment(X.astype(np.float64), y)[0].dtype == np.float64


def many(n=6000):
    rng = np.random.default_rng(3)
    y = np.arange(n) % 2
    X = rng.normal(size=(n, 4)) * [1, 2, 0.5, 3] + 5 * y[:, None]
    return X, y


@pytest.mark.parametrize(
    ("operation", "factor"),
    [
        (GaussianNoise(0.7, kind="class"), 1 + 0.7**2),
        (Smote(neighbors=None), 2 / 3),
        (Delta(0.6), 1 + 2 * 0.6**2),
        (Extrapolate(0.4, neighbors=0), 1.4**2),
        (Mixup(1, within_class=True), 2 / 3),
        (Mixup(2, within_class=True), 3 / 5),
        (Mixup(0.3, within_class=True, keep_larger=True), None),
        (Interpolate(0.5, neighbors=None), 0.5),
        (Extrapolate(0.5, neighbors=None), 1.5**2 + 0.5**2),
    ],
    ids=repr,
)
def test_variance_within_classes(operation, factor):
    X, y = many()
    views, _ = operation.augment(X, y, random_state=0)
    if factor is None:  # keeping the larger share changes nothing of the variance
        factor = 1.3 / 1.6
    np.testing.assert_allclose(within_variance(views, y) / within_variance(X, y), factor, rtol=0.1)
    for label in (0, 1):  # means stay
        np.testing.assert_allclose(views[y == label].mean(axis=0), X[y == label].mean(axis=0),
                                   atol=0.3)  # fmt: skip


def test_noise_over_all_rows():
    X, _ = many()
    views, labels = GaussianNoise(0.5).augment(X, random_state=0)
    assert labels is None
    np.testing.assert_allclose((views - X).std(axis=0), 0.5 * X.std(axis=0), rtol=0.05)
    views, _ = GaussianNoise(0.5, kind="isotropic").augment(X, random_state=0)
    expected = 0.5 * np.sqrt(X.var(axis=0).mean())
    np.testing.assert_allclose((views - X).std(axis=0), expected, rtol=0.05)


def test_class_noise_has_the_covariance_of_the_class():
    rng = np.random.default_rng(0)
    y = np.arange(400) % 2
    X = np.where(y[:, None], rng.normal(size=(400, 2)) @ [[1, 0.9], [0, 0.3]],
                 rng.normal(size=(400, 2)) @ [[0.2, 0], [0, 2]])  # fmt: skip
    operation = GaussianNoise(1, kind="class").fit(X, y)
    for label in (0, 1):
        zeros = np.zeros((40_000, 2))
        noise, _ = operation.augment(zeros, np.full(len(zeros), label), random_state=0)
        exact = np.cov(X[y == label].T, bias=True)
        np.testing.assert_allclose(np.cov(noise.T), exact, atol=0.04 * exact.max())


def test_channel_affine_shared_by_the_batch():
    X, _ = rows()
    views, _ = ChannelAffine(0.2, 0, shared=True).augment(X, random_state=0)
    gains = views / X
    np.testing.assert_allclose(gains, np.broadcast_to(gains[:1], gains.shape), rtol=1e-4)
    assert (np.abs(gains - 1) <= 0.2001).all()


@given(st.floats(0.1, 4), st.integers(0, 1000))
def test_mixup_mixes_labels_as_rows(alpha, seed):
    y = np.arange(12) % 3
    X = np.eye(3)[y]  # a row is its own soft label
    views, soft = Mixup(alpha).augment(X, y, random_state=seed)
    np.testing.assert_allclose(views, soft, atol=1e-6)
    np.testing.assert_allclose(soft.sum(axis=1), 1, atol=1e-6)


def test_soft_labels_are_as_good_as_weighted_rows():
    X, y = rows(12)
    views, soft = Mixup(classes=["a", "b", "c", "d"]).augment(X, y, random_state=0)
    assert soft.shape == (12, 4)
    logits = views @ np.random.default_rng(0).normal(size=(6, 4))
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    expected = -(soft * logs).sum()
    classes = np.array(["a", "b", "c", "d"])
    hard, labels, weights = to_weighted(np.arange(12), soft, classes)
    loss = -(weights * logs[hard, np.searchsorted(classes, labels)]).sum()
    assert loss == pytest.approx(expected)


def test_mixing_again_mixes_soft_labels():
    X, y = rows(30)
    _, soft = Compose([Mixup(), Mixup()]).augment(X, y, random_state=0)
    np.testing.assert_allclose(soft.sum(axis=1), 1, atol=1e-5)
    assert (np.count_nonzero(soft, axis=1) == 3).any()


@pytest.mark.parametrize("operation", [Smote(), Interpolate(), Extrapolate(), Delta(), Slerp(),
                                       Mixup(within_class=True)], ids=repr)  # fmt: skip
def test_a_class_with_one_sample_stays(operation):
    X, y = rows(7)  # a a a, b b, c c
    y[:] = ["a", "a", "a", "b", "b", "b", "c"]
    with pytest.warns(UserWarning, match="class c has one sample: it stays as it is"):
        views, labels = operation.augment(X, y, random_state=0)
    np.testing.assert_allclose(views[6], X[6], rtol=1e-6)
    assert (views[:6] != X[:6]).any()
    np.testing.assert_array_equal(labels, y)


def test_class_noise_of_one_sample_is_that_within_all_classes():
    X, y = rows(61)
    y[60] = "z"
    with pytest.warns(UserWarning, match="class z has one sample: noise has the covariance within"):
        operation = GaussianNoise(1, kind="class").fit(X, y)
    zeros = np.zeros((20_000, 6), np.float32)
    noise, _ = operation.augment(zeros, np.full(len(zeros), "z"), random_state=0)
    centred = X - np.array([X[y == label].mean(axis=0) for label in y])
    np.testing.assert_allclose(noise.var(axis=0), np.square(centred).mean(axis=0), rtol=0.06)


def test_partners_are_near_and_of_the_same_class():
    X, y = rows(90)
    views, _ = Interpolate(1.0, neighbors=1).augment(X, y, random_state=0)  # the nearest itself
    for i in range(90):
        others = np.flatnonzero((y == y[i]) & (np.arange(90) != i))
        nearest = others[np.linalg.norm(X[others] - X[i], axis=1).argmin()]
        np.testing.assert_allclose(views[i], X[nearest], atol=1e-5)


def test_partners_from_the_rows_of_fit():
    X, y = rows()
    operation = Interpolate(1.0, neighbors=None).fit(X[:30], y[:30])
    views, _ = operation.augment(X[30:], y[30:], random_state=0)
    distances = np.abs(views[:, None] - X[None, :30]).max(axis=2)
    np.testing.assert_allclose(distances.min(axis=1), 0, atol=1e-5)
    np.testing.assert_array_equal(y[distances.argmin(axis=1)], y[30:])
    soft = Mixup(2).fit(X[:30], y[:30]).augment(X[30:], y[30:], random_state=0)[1]
    assert soft.shape == (30, 3)


def test_slerp():
    rng = np.random.default_rng(0)
    A, B = (M / np.linalg.norm(M, axis=1, keepdims=True) for M in rng.normal(size=(2, 50, 5)))
    np.testing.assert_array_equal(slerp(A, B, 0), A)
    np.testing.assert_allclose(slerp(A, B, 1), B, atol=1e-12)
    middle = slerp(A, B, 0.5)
    np.testing.assert_allclose(np.linalg.norm(middle, axis=1), 1)
    np.testing.assert_allclose((middle * A).sum(axis=1), (middle * B).sum(axis=1))
    np.testing.assert_allclose(slerp(A, A, 0.3), A)
    y = np.arange(50) % 2
    views, _ = Slerp(1.0, random_state=0).augment(A, y)
    np.testing.assert_allclose(np.linalg.norm(views, axis=1), 1)


def test_calibrated_moments():
    rng = np.random.default_rng(0)
    base = np.concatenate([rng.normal(size=(300, 2)) * [1, 3], rng.normal(size=(300, 2)) + 50])
    labels = np.repeat([0, 1], 300)
    operation = Calibrated(neighbors=1, extra=0.5, power=1).fit(base, labels)
    point = np.tile([[2.0, 1.0]], (30_000, 1))
    views, _ = operation.augment(point, random_state=0, y=np.zeros(30_000))
    mean = (base[:300].mean(axis=0) + point[0]) / 2
    np.testing.assert_allclose(views.mean(axis=0), mean, atol=0.08)
    exact = np.cov(base[:300].T, bias=True) + 0.5  # in every entry, as the source has it
    np.testing.assert_allclose(np.cov(views.T), exact, atol=0.2)


def test_calibrated_takes_a_root_of_nonnegative_features_only():
    X, y = rows()
    with pytest.raises(ValueError, match=r"X has negative features .*power=0.5 is not defined"):
        Calibrated().augment(X, y)
    views, _ = Calibrated().augment(np.abs(X), y, random_state=0)
    assert (views >= 0).all()
    assert np.isfinite(views).all()


def test_stacking():
    X, y = rows()
    stacked, labels = GaussianNoise(0.1, random_state=0).fit_resample(X, y, n_views=2)
    assert stacked.shape == (180, 6)
    np.testing.assert_array_equal(stacked[:60], X)
    np.testing.assert_array_equal(labels, np.tile(y, 3))
    assert not np.array_equal(stacked[60:120], stacked[120:])
    stacked, soft = Mixup(random_state=0).fit_resample(X, y)
    assert soft.shape == (120, 3)
    np.testing.assert_array_equal(soft[:60].argmax(axis=1), np.arange(60) % 3)


def test_one_of():
    X, y = rows(600)
    far, near = GaussianNoise(1000), GaussianNoise(0.001)
    policy = OneOf([far, near], weights=[1, 3], p=0.8)
    views, labels = policy.augment(X, y, random_state=0)
    moved = np.abs(views - X).max(axis=1)
    assert (moved == 0).mean() == pytest.approx(0.2, abs=0.05)
    assert (moved > 1).mean() == pytest.approx(0.2, abs=0.05)
    np.testing.assert_array_equal(labels, y)
    soft = OneOf([GaussianNoise(0.1), Mixup()]).augment(X, y, random_state=0)[1]
    assert soft.shape == (600, 3)
    assert 0.3 < (soft.max(axis=1) == 1).mean() < 0.9
    augmenter = EmbeddingAugmenter("offset").fit(X, {"plus": X + 1})
    views, _ = Compose([augmenter, OneOf([GaussianNoise(0.1)], p=0)]).fit(X, y).augment(X, y)
    np.testing.assert_allclose(views, X + 1, rtol=1e-5)


def test_errors():
    X, y = rows()
    with pytest.raises(ValueError, match="Smote needs y, the classes of the rows"):
        Smote().augment(X)
    with pytest.raises(ValueError, match="Input X contains NaN"):
        GaussianNoise().augment(np.full((2, 2), np.nan))
    with pytest.raises(ValueError, match=r"y holds .*'z'.*not one of the classes"):
        Smote().fit(X, y).augment(X[:1], ["z"])
    with pytest.raises(ValueError, match="'scale' parameter of GaussianNoise must be"):
        GaussianNoise(-1).augment(X)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        Smote().augment(X, y[:-1])
    with pytest.raises(ValueError, match="OneOf has no operations"):
        OneOf([]).augment(X, y)
    with pytest.raises(ValueError, match="2 numbers of at least 0 are needed"):
        OneOf([Mixup(), Delta()], weights=[1]).augment(X, y)
    with pytest.raises(ValueError, match="fitted without y, so labels cannot be mixed"):
        Mixup().fit(X).augment(X[:5].copy(), y[:5])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        GaussianNoise().augment(X[:1], y[:1])
