"""Pruned heads: the copy is pruned, the original is not, and zeros stay zero."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone

torch = pytest.importorskip("torch")
pruning = pytest.importorskip("embcompress.pruning")

from embcompress import heads  # noqa: E402
from embcompress.heads import ConvHead, GRUHead, LinearHead, MLPHead  # noqa: E402

OneShot = pruning.OneShot
Unstructured = pruning.Unstructured


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(240, 10)).astype(np.float32)
    return X, (X[:, 0] + X[:, 1] > 0).astype(int)


@pytest.fixture(scope="module")
def dense(data):
    options = {"max_epochs": 15, "learning_rate": 0.01, "weight_decay": 0.1}
    return MLPHead((32,), random_state=0, **options).fit(*data)


def zeros(head):
    return {name: int((~mask).sum()) for name, mask in head.masks_.items()}


def check_zeros(head):
    parameters = dict(head.module_.named_parameters())
    for name, mask in head.masks_.items():
        assert (parameters[name][~mask] == 0).all(), name


def test_a_copy_is_pruned_and_retrained(data, dense):
    X, y = data
    before = dense.predict_proba(X)
    pruned = dense.prune(Unstructured(0.5), X, y, rate=8, solver=OneShot(), finetune_epochs=10)
    np.testing.assert_array_equal(dense.predict_proba(X), before)
    assert dense.masks_ is None
    assert isinstance(pruned, MLPHead)
    assert pruned.masks_.rate == pytest.approx(8, rel=0.02)
    assert pruned.score(X, y) > 0.9
    check_zeros(pruned)


def test_admm_is_the_default(data, dense):
    X, y = data
    solver = pruning.ADMM(rho=(1e-2,), epochs_per_rho=2)
    pruned = dense.prune(Unstructured(0.75), X, y, solver=solver, finetune_epochs=2)
    assert pruned.masks_.rate == pytest.approx(4, rel=0.02)
    assert pruned.score(X, y) > 0.9


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_its_own_training_keeps_the_zeros(optimizer, data, dense):
    X, y = data
    pruned = dense.prune(Unstructured(0.9), solver=OneShot())
    expected = zeros(pruned)
    pruned.set_params(optimizer=optimizer, max_epochs=3)
    pruned.partial_fit(X, y).partial_fit(X, y)
    check_zeros(pruned)
    first = pruned.module_
    pruned.fit(X, y)
    check_zeros(pruned)
    assert pruned.module_ is first
    assert zeros(pruned) == expected
    assert clone(pruned).fit(X, y).masks_ is None
    with pytest.raises(ValueError, match="10 features as input"):
        pruned.fit(X[:, :4], y)
    with pytest.raises(ValueError, match="not one of the classes of the head"):
        pruned.fit(X, y + 1)


def test_masks_are_saved(data, dense, tmp_path):
    X, y = data
    pruned = dense.prune(Unstructured(0.9), solver=OneShot())
    pruned.save(tmp_path / "pruned.safetensors")
    loaded = heads.load(tmp_path / "pruned.safetensors")
    np.testing.assert_array_equal(loaded.predict_proba(X), pruned.predict_proba(X))
    assert set(loaded.masks_) == set(pruned.masks_)
    for name, mask in pruned.masks_.items():
        assert torch.equal(loaded.masks_[name], mask)
    loaded.partial_fit(X, y)
    check_zeros(loaded)


def test_every_head_can_be_pruned():
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    for head, X in [
        (LinearHead(max_epochs=1), rng.normal(size=(40, 8))),
        (LinearHead(max_epochs=1, packed_bits=16), rng.integers(0, 256, (40, 2), np.uint8)),
        (GRUHead(8, max_epochs=1), rng.normal(size=(40, 5, 4))),
        (GRUHead(8, max_epochs=1), [rng.normal(size=(2 + i % 4, 4)) for i in range(40)]),
        (ConvHead((4, 8), max_epochs=1), rng.normal(size=(40, 2, 6, 6))),
    ]:
        pruned = head.fit(X, y).prune(Unstructured(0.5), X, y, solver=OneShot(), finetune_epochs=1)
        assert pruned.masks_.rate == pytest.approx(2, rel=0.1)
        check_zeros(pruned)
        assert pruned.predict(X).shape == (40,)


@pytest.mark.parametrize("name", ["blk_rew", "blk-rew", "rtmobile"])
def test_recipes_by_name(name, data, dense):
    X, y = data
    pruned = dense.prune(name, X, y, rate=4, epochs=4, retrain_epochs=4)
    assert pruned.masks_.rate == pytest.approx(4, rel=0.25)
    assert pruned.score(X, y) > 0.85
    check_zeros(pruned)


def test_masks_of_somebody_else(data, dense):
    X, y = data
    masks = dense.prune(Unstructured(0.75), solver=OneShot()).masks_
    pruned = dense.prune(masks, X, y, finetune_epochs=2)
    check_zeros(pruned)
    assert zeros(pruned) == {name: int((~mask).sum()) for name, mask in masks.items()}


def test_bad_requests(data, dense):
    X, y = data
    with pytest.raises(ValueError, match=r"rate=0\.5 must be more than 1"):
        dense.prune(Unstructured(0.5), X, y, rate=0.5)
    with pytest.raises(ValueError, match="no recipe 'magic'; there are: blk-rew, "):
        dense.prune("magic", X, y)
    with pytest.raises(TypeError, match="neither the name of a recipe nor a scheme"):
        dense.prune(3, X, y)
    with pytest.raises(ValueError, match="X is given without y"):
        dense.prune(Unstructured(0.5), X)


def test_what_removed_units_leave_without_effect(data, dense):
    X, y = data
    options = {"solver": OneShot(), "layers": ["layers.0"], "finetune_epochs": 2}
    scheme = pruning.Filter(0.75)
    plain = dense.prune(scheme, X, y, **options)
    small = dense.prune(scheme, X, y, propagate=True, **options)
    np.testing.assert_allclose(small.predict_proba(X), plain.predict_proba(X), atol=1e-6)
    assert plain.masks_.n_kept == 8 * 10
    # of the last layer, which had no mask, what reads the units that are left
    assert small.masks_.per_layer()["layers.3.weight"]["n_kept"] == 8 * len(np.unique(y))
    check_zeros(small)
    again = small.partial_fit(X, y)
    check_zeros(again)
