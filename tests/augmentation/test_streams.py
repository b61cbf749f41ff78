"""Batches made on the way, the cache they come from, and the sampler of Pipelines."""

from __future__ import annotations

import numpy as np
import pytest
from pairs_of import linear_pairs
from sklearn.base import clone

from embcompress.augmentation import (
    AugmentedBatches,
    EmbeddingAugmenter,
    EmbeddingCache,
    EmbeddingSampler,
    Mixup,
    storage_report,
)
from embcompress.container import FormatError, save_container


@pytest.fixture(scope="module")
def augmenter():
    Z, views = linear_pairs(150, 8, noise=0.2, dtype=np.float32)
    return EmbeddingAugmenter(random_state=0).fit(Z, {"shift": views, "mirror": Z[:, ::-1]})


@pytest.fixture(scope="module")
def labelled():
    y = np.array(["no", "yes", "maybe"])[np.arange(150) % 3]
    X = np.random.default_rng(0).normal(size=(150, 8)) + 3 * np.eye(8)[np.arange(150) % 3]
    return X.astype(np.float32), y


def test_each_pass_has_each_row_and_fresh_views(augmenter, labelled):
    X, y = labelled
    batches = augmenter.batches(X, y, 64, n_views=2, p_keep=0.4, random_state=1)
    assert len(batches) == 3
    first, second = list(batches), list(batches)
    assert [len(part) for part, _ in first] == [128, 128, 44]
    rows = np.concatenate([part for part, _ in first])
    assert rows.dtype == np.float32
    kept = (rows[:, None] == X[None]).all(axis=2)
    assert kept.any(axis=1).mean() == pytest.approx(0.4, abs=0.1)
    labels = np.concatenate([part for _, part in first])
    assert dict(zip(*np.unique(labels, return_counts=True), strict=True)) == dict.fromkeys(
        ("maybe", "no", "yes"), 100
    )
    assert not np.array_equal(rows, np.concatenate([part for part, _ in second]))
    again = list(augmenter.batches(X, y, 64, n_views=2, p_keep=0.4, random_state=1))
    for (A, a), (B, b) in zip(first, again, strict=True):
        np.testing.assert_array_equal(A, B)
        np.testing.assert_array_equal(a, b)


def test_keeping_all_and_none(augmenter, labelled):
    X, y = labelled
    (rows, labels), *_ = augmenter.batches(X, y, 150, p_keep=1, shuffle=False)
    np.testing.assert_array_equal(rows, X)
    np.testing.assert_array_equal(labels, y)
    (rows, _), *_ = augmenter.batches(X, y, 150, p_keep=0, shuffle=False)
    assert (rows != X).any(axis=1).all()
    assert augmenter.batches(X, y).p_keep == pytest.approx(1 / 3)


def test_soft_labels_become_weighted_rows(labelled):
    X, y = labelled
    for X_batch, y_batch, weights in AugmentedBatches(Mixup(), X, y, p_keep=0.3, random_state=0):
        assert len(X_batch) == len(y_batch) == len(weights)
        assert (weights > 0).all()
        assert set(y_batch) <= {"no", "yes", "maybe"}
    total = sum(weights.sum() for *_, weights in AugmentedBatches(Mixup(), X, y))
    assert total == pytest.approx(150, rel=1e-5)


def test_label_maps_reach_the_stream():
    Z, _ = linear_pairs(40, 3)
    options = {"label_maps": {"mirror": {"up": "upside down"}}, "random_state": 0}
    augmenter = EmbeddingAugmenter("offset", **options).fit(Z, {"mirror": Z + 1})
    (_, labels), *_ = augmenter.batches(Z, np.full(40, "up"), 40, p_keep=0)
    assert set(labels) == {"upside down"}


def test_errors(augmenter, labelled):
    X, y = labelled
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        augmenter.batches(X, y[:-1])
    with pytest.raises(ValueError, match="X has 0 rows"):
        augmenter.batches(X[:0], y[:0])
    with pytest.raises(ValueError, match="batch_size=0 and n_views=1 must be at least 1"):
        augmenter.batches(X, y, 0)
    with pytest.raises(ValueError, match=r"p_keep=2\.0 must be between 0 and 1"):
        augmenter.batches(X, y, p_keep=2.0)


def test_a_head_learns_from_the_stream(augmenter, labelled):
    pytest.importorskip("torch")
    from embcompress.heads import MLPHead

    X, y = labelled
    cache = EmbeddingCache.encode(X, "int8")
    options = {"max_epochs": 30, "learning_rate": 0.01, "random_state": 0}
    head = MLPHead((16,), **options).fit_batches(
        augmenter.batches(cache, y, n_views=2), classes=np.unique(y)
    )
    assert head.score(X, y) > 0.8
    # as well on views of its rows
    views = augmenter.transform(X, random_state=9)
    plain = MLPHead((16,), **options).fit(X, y)
    assert head.score(views, y) > plain.score(views, y)
    mixed = MLPHead((16,), **options).fit_batches(
        AugmentedBatches(Mixup(), X, y, random_state=0), classes=np.unique(y)
    )
    assert mixed.score(X, y) > 0.9
    small = head.prune("reweighted-unified", X, y, rate=3, epochs=3, retrain_epochs=3)
    assert small.score(X, y) > 0.75


@pytest.mark.parametrize("storage", ["float32", "float16", "int8", "iiq"])
def test_cache(storage, labelled, tmp_path):
    X, _ = labelled
    cache = EmbeddingCache.encode(X, storage)
    bytes_a_row = {"float32": 32, "float16": 16, "int8": 8, "iiq": 2}[storage]
    assert cache.data.nbytes == 150 * bytes_a_row
    assert cache.shape == (150, 8)
    assert len(cache) == 150
    decoded = np.asarray(cache)
    assert decoded.dtype == np.float32
    tolerance = {"float32": 0, "float16": 0.002, "int8": 0.03, "iiq": 3}[storage]
    assert np.abs(decoded - X).max() <= tolerance
    rows = np.array([5, 3, 3, 149])
    np.testing.assert_allclose(cache[rows], decoded[rows], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(cache[7], decoded[7], rtol=1e-5, atol=1e-6)
    cache.save(tmp_path / "c.safetensors")
    loaded = EmbeddingCache.load(tmp_path / "c.safetensors")
    np.testing.assert_allclose(loaded[rows], cache[rows], rtol=1e-6)
    assert loaded.storage == storage
    assert loaded.nbytes == cache.nbytes
    loaded.save(tmp_path / "d.safetensors")
    assert (tmp_path / "c.safetensors").read_bytes() == (tmp_path / "d.safetensors").read_bytes()


def test_what_storage_costs(labelled):
    X, y = labelled
    report = storage_report(X, y)
    assert [entry["storage"] for entry in report] == ["float32", "float16", "int8", "iiq"]
    errors = [entry["error"] for entry in report]
    assert errors == sorted(errors)
    assert errors[0] == 0
    assert errors[2] < 1e-3 < errors[3] < 0.2
    assert [entry["bytes_per_row"] for entry in report] == [32, 16, 8, 2]
    assert all(entry["accuracy"] > 0.9 for entry in report)
    assert all(entry["cosine"] > 0.9 for entry in report)
    assert "accuracy" not in storage_report(X)[0]


def test_bad_caches(tmp_path):
    with pytest.raises(ValueError, match="storage='zip' is unknown; known are float32, float16"):
        EmbeddingCache.encode(np.ones((2, 2)), "zip")
    with pytest.raises(ValueError, match="too large for float16"):
        EmbeddingCache.encode(np.full((2, 2), 1e6), "float16")
    with pytest.raises(ValueError, match="Input Z contains NaN"):
        EmbeddingCache.encode(np.full((2, 2), np.nan))
    path = tmp_path / "c.safetensors"
    cases = [
        ({"data": np.zeros((2, 3), np.int8)}, "zip", "unknown storage 'zip'"),
        ({"data": np.zeros((2, 3), np.int8)}, "int8", "array 'scales' is missing"),
        ({"data": np.zeros((2, 3), np.float32)}, "int8", "is float32 with 2 axes, expected int8"),
        ({"data": np.zeros((2, 3), np.int8), "scales": np.ones(2, np.float32)}, "int8",
         "2 scales for 3 dimensions"),
    ]  # fmt: skip
    for arrays, storage, message in cases:
        save_container(path, arrays, kind="embeddings", metadata={"storage": storage})
        with pytest.raises(FormatError, match=message):
            EmbeddingCache.load(path)


def test_zeros_in_int8():
    cache = EmbeddingCache.encode(np.zeros((3, 4)), "int8")
    np.testing.assert_array_equal(np.asarray(cache), 0)


def test_sampler_is_what_pipelines_of_imbalanced_learn_ask_for(augmenter, labelled):
    X, y = labelled
    sampler = augmenter.sampler(n_views=2)
    # that Pipeline refuses steps with both, and clones them before they resample
    assert hasattr(sampler, "fit_resample")
    assert not hasattr(sampler, "transform")
    rows, labels = clone(sampler).fit(X, y).fit_resample(X, y)
    assert rows.shape == (450, 8)
    np.testing.assert_array_equal(rows[:150], X)
    np.testing.assert_array_equal(labels, np.tile(y, 3))
    assert isinstance(sampler, EmbeddingSampler)
    imblearn = pytest.importorskip("imblearn.pipeline")
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_score

    pipeline = imblearn.make_pipeline(sampler, Mixup(within_class=True), LogisticRegression())
    assert cross_val_score(pipeline, X, y, cv=3).mean() > 0.7
