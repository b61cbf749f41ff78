"""Heads on sequences and feature maps: padding counts for nothing, shapes are checked."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from embcompress.heads import ConvHead, GRUHead, pad  # noqa: E402
from embcompress.heads.inputs import Moments  # noqa: E402

VARIANTS = [
    {"pooling": "mean"},
    {"pooling": "last"},
    {"pooling": "mean", "bidirectional": True},
    {"pooling": "last", "bidirectional": True, "n_layers": 1},
]


@pytest.fixture(scope="module")
def sequences():
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    # the class is in the order of the frames: which of three features rises
    parts = []
    for label in y:
        part = rng.normal(size=(rng.integers(4, 12), 3))
        part[:, label] += np.linspace(-3, 3, len(part))
        parts.append(part.astype(np.float32))
    return parts, y


def small(**options):
    return GRUHead(12, max_epochs=10, learning_rate=0.02, batch_size=16, random_state=0, **options)


@pytest.fixture(scope="module")
def maps():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 2, 8, 8)).astype(np.float32)
    y = np.arange(120) % 2
    X[y == 0, :, ::2] += 1
    X[y == 1, :, :, ::2] += 1
    return X, y


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_sequences_are_told_apart_and_padding_counts_for_nothing(options, sequences):
    X, y = sequences
    head = small(**options).fit(X, y)
    assert head.score(X, y) > 0.9
    together = head.predict_proba(X)
    alone = np.concatenate([head.predict_proba([part]) for part in X[:9]])
    np.testing.assert_allclose(together[:9], alone, atol=1e-5)
    longer = np.full((90, 30, 3), np.nan, np.float32)
    longer[:, : pad(X).shape[1]] = pad(X)
    np.testing.assert_allclose(head.predict_proba(longer), together, atol=1e-5)
    np.testing.assert_array_equal(head.fit(longer, y).predict(X), head.predict(longer))


def test_scale_is_that_of_all_frames(sequences):
    X, y = sequences
    head = small().set_params(max_epochs=1).fit(X, y)
    frames = np.concatenate(X)
    np.testing.assert_allclose(head.mean_, frames.mean(axis=0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(head.scale_, frames.std(axis=0), rtol=1e-4)
    assert head.input_shape_ == (3,)
    assert head.n_features_in_ == 3


def test_moments_of_parts_are_those_of_the_whole():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 4, 3, 2)) * [1e-3, 1e3] + 1e4
    X[3:7, :, 1] = np.nan
    moments = Moments(3)
    for part in np.array_split(X, 7):
        moments.update(part)
    mean, scale = moments.result()
    flat = X.reshape(-1, 2)
    np.testing.assert_allclose(mean, np.nanmean(flat, axis=0), rtol=1e-12)
    np.testing.assert_allclose(scale, np.nanstd(flat, axis=0), rtol=1e-6)


def test_batches_hold_sequences_of_like_lengths(sequences):
    X, y = sequences
    head = small().set_params(max_epochs=1).fit(X, y)
    batches = list(head.batches(X, y))
    lengths = [(~torch.isnan(inputs[:, :, 0])).sum(dim=1) for inputs, _ in batches]
    assert sum(len(part) for part in lengths) == 90
    for (inputs, _), part in zip(batches, lengths, strict=True):
        assert inputs.shape[1] == part.max()
    # mean over batches of the spread of lengths within, against that of all
    within = np.mean([float(part.double().std()) for part in lengths])
    assert within < 0.5 * float(torch.cat(lengths).double().std())


def test_partial_fit_and_early_stopping_on_sequences(sequences):
    X, y = sequences
    head = small(early_stopping=True, validation_fraction=0.25).fit(X, y)
    assert max(head.validation_scores_) > 0.8
    more = small().partial_fit(X, y, classes=[0, 1, 2]).partial_fit(X[:30], y[:30])
    assert more.n_iter_ == 2


def test_pad():
    array = np.arange(12.0).reshape(2, 3, 2)
    np.testing.assert_array_equal(pad(array, [3, 1])[1, 1:], np.nan)
    np.testing.assert_array_equal(pad([array[0], array[1, :1]]), pad(array, [3, 1]))
    assert pad([np.zeros((2, 1), np.float32)]).dtype == np.float32
    assert pad([[[1]], [[2], [3]]]).dtype == np.float64
    for bad, message in [
        ([array[0], array[1, :, :1]], r"sequence 1 has shape \(3, 1\)"),
        ([array[0], array[1, :0]], r"sequence 1 has shape \(0, 2\)"),
        ([np.full((2, 2), np.nan)], "sequence 0 contains NaN"),
        ([], "no sequences"),
    ]:
        with pytest.raises(ValueError, match=message):
            pad(bad)
    with pytest.raises(ValueError, match="lengths must be between 1 and the time axis, 3"):
        pad(array, [4, 1])
    with pytest.raises(ValueError, match=r"lengths \(3,\)"):
        pad(array, [1, 1, 1])


def test_bad_sequences(sequences):
    X, y = sequences
    head = small().set_params(max_epochs=1).fit(X, y)
    with pytest.raises(ValueError, match="5 features per frame, but GRUHead is expecting 3"):
        head.predict([np.zeros((4, 5))])
    with pytest.raises(ValueError, match=r"X has shape \(4, 3\)"):
        head.predict(np.zeros((4, 3)))
    holed = pad(X)
    holed[0, 1] = np.nan
    with pytest.raises(ValueError, match="NaN other than in whole frames after the end"):
        head.predict(holed)
    with pytest.raises(ValueError, match="sequence 0 has no frames"):
        head.predict(np.full((1, 4, 3), np.nan))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        head.fit(X, y[:5])


@pytest.mark.parametrize("channels", [(8,), (8, 8)], ids=str)
def test_maps_are_told_apart(channels, maps):
    X, y = maps
    head = ConvHead(channels, max_epochs=15, learning_rate=0.01, random_state=0).fit(X, y)
    assert head.score(X, y) > 0.9
    alone = np.concatenate([head.predict_proba(row[None]) for row in X[:10]])
    np.testing.assert_allclose(head.predict_proba(X)[:10], alone, atol=1e-5)
    np.testing.assert_allclose(head.mean_, X.mean(axis=(0, 2, 3)), rtol=1e-4)
    assert head.input_shape_ == (2, 8, 8)
    with pytest.raises(ValueError, match=r"shape \(2, 4, 8\).*expecting \(2, 8, 8\)"):
        head.predict(X[:, :, :4])
    with pytest.raises(ValueError, match=r"\(n, channels, height, width\) is needed"):
        head.fit(X[0], y[:2])


def test_bytes_as_maps(maps):
    X, y = maps
    pixels = np.clip(X * 32 + 128, 0, 255).astype(np.uint8)
    head = ConvHead((8,), max_epochs=15, learning_rate=0.01, random_state=0).fit(pixels, y)
    assert head.score(pixels, y) > 0.9


def test_bad_layers(maps):
    for head, message in [
        (ConvHead(kernel_size=2), r"kernel_size=2\) must be odd"),
        (ConvHead((8, 0)), r"channels=\(8, 0\)\) must hold whole numbers"),
        (ConvHead(()), "needs at least one convolution"),
    ]:
        with pytest.raises(ValueError, match=message):
            head.fit(*maps)
