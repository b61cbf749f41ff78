"""The augmenter: strengths, noise, post-maps, stacking, report, cost, files, messages."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pairs_of import linear_pairs
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from embcompress.augmentation import (
    EmbeddingAugmenter,
    LowRank,
    ResidualRidge,
    compute_cost,
    operator_report,
)
from embcompress.container import FormatError, save_container

NOISES = [None, "diagonal", "factors", "bank"]


def fitted(noise=None, m=150, d=8, dtype=np.float32, **options):
    Z, views = linear_pairs(m, d, noise=0.2, dtype=dtype)
    options = {"operator": "ridge", "random_state": 0, "noise": noise, **options}
    return Z, EmbeddingAugmenter(**options).fit(Z, {"shift": views, "mirror": Z[:, ::-1]})


@pytest.mark.parametrize("noise", NOISES)
def test_strength_0_is_exactly_the_identity(noise):
    Z, augmenter = fitted(noise, nonnegative=True, normalize=True)
    for name in ("shift", "mirror", None):
        np.testing.assert_array_equal(augmenter.transform(Z, name, strength=0), Z)
    factors = np.where(np.arange(len(Z)) % 2, 1.0, 0.0)
    moved = augmenter.transform(Z, strength=factors)
    np.testing.assert_array_equal(moved[::2], Z[::2])
    assert (moved[1::2] != Z[1::2]).any(axis=1).all()


@pytest.mark.parametrize("noise", NOISES)
def test_same_seed_same_views_and_float32_stays(noise):
    Z, augmenter = fitted(noise)
    before = Z.copy()
    first = augmenter.transform(Z, random_state=3)
    np.testing.assert_array_equal(first, augmenter.transform(Z, random_state=3))
    assert first.dtype == np.float32
    np.testing.assert_array_equal(Z, before)
    assert augmenter.transform(Z.astype(np.float16)).dtype == np.float32
    assert augmenter.transform(Z.astype(np.float64)).dtype == np.float64
    if noise:
        assert (first != augmenter.transform(Z, random_state=4)).any()


@given(st.floats(-2, 2), st.integers(0, 100))
def test_strength_scales_the_displacement(strength, seed):
    Z, augmenter = fitted(dtype=np.float64, m=20, d=3)
    full = augmenter.transform(Z, "shift", strength=1.0) - Z
    part = augmenter.transform(Z, "shift", strength=strength) - Z
    np.testing.assert_allclose(part, strength * full, atol=1e-12)


def test_strengths_from_a_range():
    Z, augmenter = fitted(dtype=np.float64, strength=(0.5, 2.0))
    full = augmenter.transform(Z, "shift", strength=1) - Z
    drawn = ((augmenter.transform(Z, "shift") - Z) / full)[:, 0]
    assert 0.5 <= drawn.min() < 0.7
    assert 1.7 < drawn.max() <= 2.0


@pytest.mark.parametrize("noise", ["diagonal", "factors", "bank"])
def test_noise_makes_the_variances_match(noise):
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(400, 6))
    views = 0.5 * Z + 1 + rng.normal(size=Z.shape) * np.linspace(0.2, 2, 6)
    options = {"noise": noise, "noise_match": "moments", "noise_rank": 2, "random_state": 0}
    with pytest.warns(UserWarning, match="unexplained"):
        augmenter = EmbeddingAugmenter(**options).fit(Z, {"blur": views})
    many = augmenter.transform(np.tile(Z, (50, 1)), "blur")
    np.testing.assert_allclose(many.mean(axis=0), views.mean(axis=0), atol=0.05)
    np.testing.assert_allclose(many.var(axis=0), views.var(axis=0), rtol=0.05)
    half = augmenter.set_params(noise_scale=0.0).transform(Z, "blur")
    assert (half.var(axis=0) < views.var(axis=0))[1:].all()


def test_factors_keep_what_dimensions_have_in_common():
    rng = np.random.default_rng(0)
    Z, common = rng.normal(size=(500, 5)), rng.normal(size=(500, 1))
    views = Z + common * np.array([1.0, -1, 1, 0, 0]) + 0.1 * rng.normal(size=Z.shape)
    options = {"noise": "factors", "noise_rank": 1, "random_state": 0}
    with pytest.warns(UserWarning, match="unexplained"):
        augmenter = EmbeddingAugmenter("offset", **options).fit(Z, {"a": views})
    moved = augmenter.transform(np.zeros((20_000, 5)), "a")
    np.testing.assert_allclose(np.cov(moved.T), np.cov((views - Z).T), atol=0.06)


@pytest.mark.filterwarnings("ignore:operators leave")
def test_bank_noise_is_left_out_residuals():
    Z, views = linear_pairs(40, 5, noise=0.5)
    augmenter = EmbeddingAugmenter("ridge", noise="bank", random_state=0).fit(Z, {"a": views})
    operator = augmenter.operators_["a"]
    extra = augmenter.transform(Z, "a") - operator.transform(Z)
    bank = augmenter.noises_["a"].bank
    distances = np.abs(extra[:, None] - bank[None]).max(axis=2)
    np.testing.assert_allclose(distances.min(axis=1), 0, atol=1e-12)
    in_sample = views - operator.transform(Z)
    assert np.square(bank).sum() > np.square(in_sample).sum()


def test_neighbours_of_the_bank():
    rng = np.random.default_rng(0)
    Z = np.concatenate([rng.normal(size=(30, 3)), 100 + rng.normal(size=(30, 3))])
    views = Z + rng.normal(size=Z.shape) * np.repeat([0.01, 3.0], 30)[:, None]
    options = {"noise": "bank", "noise_neighbors": 20, "random_state": 0}
    with pytest.warns(UserWarning, match="unexplained"):
        augmenter = EmbeddingAugmenter("offset", **options).fit(Z, {"a": views})
    spread = (augmenter.transform(Z, "a") - Z).std(axis=1)
    assert spread[:30].mean() < 0.2 * spread[30:].mean()


def test_post_maps():
    Z, augmenter = fitted(nonnegative=True, normalize=True)
    out = augmenter.transform(Z, "shift")
    assert (out >= 0).all()
    np.testing.assert_allclose(np.linalg.norm(out, axis=1), 1, rtol=1e-5)


def test_stacking_originals_first():
    Z, augmenter = fitted()
    y = np.array(["a", "b", "c"])[np.arange(len(Z)) % 3]
    X, labels = augmenter.fit_resample(Z, y)
    assert X.shape == (450, 8)
    assert X.dtype == np.float32
    np.testing.assert_array_equal(X[:150], Z)
    np.testing.assert_array_equal(X[150:300], augmenter.transform(Z, "shift"))
    np.testing.assert_array_equal(X[300:], augmenter.transform(Z, "mirror"))
    np.testing.assert_array_equal(labels, np.tile(y, 3))
    X, labels = augmenter.fit_resample(Z, y, n_views=5, include_original=False)
    assert X.shape == (750, 8)
    assert labels.dtype == y.dtype
    assert augmenter.set_params(n_views=1).fit_resample(Z, y)[0].shape == (300, 8)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        augmenter.fit_resample(Z, y[:-1])


def test_all_operators_are_drawn():
    Z, augmenter = fitted()
    mixed = augmenter.transform(Z)
    shift = (mixed == augmenter.transform(Z, "shift")).all(axis=1)
    mirror = (mixed == augmenter.transform(Z, "mirror")).all(axis=1)
    assert (np.abs(mixed - augmenter.transform(Z, "shift")).max(axis=1) < 1e-4).mean() > 0.3
    assert not (shift & mirror).any()


def test_label_maps():
    Z, augmenter = fitted(label_maps={"mirror": {6: 9, 9: 6}})
    y = np.where(np.arange(150) % 2, 6, 9)
    _, labels = augmenter.fit_resample(Z, y)
    np.testing.assert_array_equal(labels[150:300], y)
    np.testing.assert_array_equal(labels[300:], 15 - y)
    assert labels.dtype == y.dtype


def test_report_is_of_pairs_held_out():
    Z, views = linear_pairs(200, 6, noise=0.3)
    augmenter = EmbeddingAugmenter("ridge", random_state=0).fit(Z, {"a": views})
    entry = augmenter.report_["a"]
    assert (entry["n_pairs"], entry["operator"], entry["macs"]) == (40, "ResidualRidge", 36)
    moved = np.square(views - Z).sum() / np.square(Z - Z.mean(axis=0)).sum()
    assert entry["rel"] == pytest.approx(moved, rel=0.3)
    assert entry["cosine_identity"] < entry["cosine"] < 1
    # without a part held out each pair is predicted by all the others
    left_out = EmbeddingAugmenter("ridge", holdout=0).fit(Z, {"a": views}).report_["a"]
    assert left_out["n_pairs"] == 200
    assert left_out["rel"] == pytest.approx(moved)
    assert left_out["rho"] == pytest.approx(augmenter.operators_["a"].loo_)
    assert entry["rho"] == pytest.approx(left_out["rho"], rel=0.5)


def test_report_on_other_pairs():
    Z, views = linear_pairs(300, 6, noise=0.1)
    augmenter = EmbeddingAugmenter("ridge", random_state=0).fit(Z[:200], {"a": views[:200]})

    def predict(rows):
        return rows[:, 0] > 0.5

    entry = operator_report(augmenter, Z[200:], {"a": views[200:]}, predict=predict)["a"]
    error = np.square(augmenter.transform(Z[200:], "a") - views[200:]).sum()
    assert entry["rho"] == pytest.approx(error / np.square(views - Z)[200:].sum())
    assert entry["n_pairs"] == 100
    assert entry["agreement_identity"] < entry["agreement"] <= 1
    assert "agreement" not in operator_report(augmenter, Z, {"a": np.stack([views, views])})["a"]
    with pytest.raises(ValueError, match="no operator is called 'b'; fitted are a"):
        operator_report(augmenter, Z, {"b": views})


def test_warnings():
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(30, 100))
    with pytest.warns(UserWarning, match=r"unexplained|are few") as caught:
        EmbeddingAugmenter(random_state=0).fit(Z, {"a": rng.normal(size=Z.shape)})
    messages = " ".join(str(w.message) for w in caught)
    assert "unexplained (1 is no better than no augmentation): 'a' " in messages
    assert "30 pairs are few for 100 dimensions" in messages
    assert all(w.filename == __file__ for w in caught)
    with pytest.warns(UserWarning, match="has 2 pairs, ResidualRidge needs at least 3: Offset"):
        augmenter = EmbeddingAugmenter("ridge").fit(Z[:2, :4], {"a": Z[:2, :4] + 1})
    np.testing.assert_allclose(augmenter.transform(Z[:, :4], "a"), Z[:, :4] + 1)


@pytest.mark.filterwarnings("ignore:operators leave")
def test_operators_by_name_and_object():
    Z, views = linear_pairs(50, 4)
    spec = {"a": LowRank(2), "b": "diagonal", "c": "bank"}
    augmenter = EmbeddingAugmenter(spec, random_state=0).fit(Z, dict.fromkeys("abc", views))
    kinds = [type(operator).__name__ for operator in augmenter.operators_.values()]
    assert kinds == ["LowRank", "Diagonal", "DisplacementBank"]
    assert not hasattr(spec["a"], "rank_")
    one = EmbeddingAugmenter(ResidualRidge(penalty=0.1)).fit(Z, {"a": views})
    assert one.operators_["a"].penalty_ == 0.1


def test_strengths_of_the_raw_transform():
    rng = np.random.default_rng(0)
    Z, phi = rng.normal(size=(200, 5)), rng.uniform(0, 1, 200)
    views = Z + phi[:, None] * (Z[:, ::-1] + 0.5)
    for noise in NOISES:
        augmenter = EmbeddingAugmenter("ridge", noise=noise, nonnegative=True, random_state=0)
        augmenter.fit(Z, {"rotate": (views, phi), "mirror": Z[:, ::-1]})
        assert augmenter.report_["rotate"]["operator"] == "ParameterConditioned"
        np.testing.assert_array_equal(augmenter.transform(Z, "rotate", params=0.0), Z)
    out = augmenter.set_params(nonnegative=False).transform(Z, "rotate", params=phi)
    np.testing.assert_allclose(out, views, atol=0.05)
    with pytest.raises(ValueError, match="params are those of one operator; give its name"):
        augmenter.transform(Z, params=1.0)
    with pytest.raises(ValueError, match="ResidualRidge takes no params"):
        augmenter.transform(Z, "mirror", params=1.0)


def test_cost():
    _, augmenter = fitted(d=8)
    cost = augmenter.cost(1e6, n=100, epochs=10)
    macs = 64
    assert cost["raw_cached"] == 100 * 3 * 1e6
    assert cost["raw_fresh"] == 100 * 10 * 1e6
    assert cost["embedding"] == 100 * (1e6 + 2 * macs)
    assert cost["per_view"] == 1e6 / macs
    assert cost["total"] == pytest.approx(3, rel=1e-3)
    assert augmenter.cost(1e6, 100, n_views=9)["total"] == pytest.approx(10, rel=1e-2)
    # the methods' table: MobileNetV2, 10 views by a full matrix
    table = compute_cost(0.30e9, 1280**2, n=1, n_views=10)
    assert (round(table["per_view"]), round(table["total"], 2)) == (183, 10.43)
    with_fit = compute_cost(1e6, 0, n=100, n_views=1, n_fit=100, n_operators=1)
    assert with_fit["per_view"] == float("inf")
    assert with_fit["total_with_fit"] == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="backbone_macs=0 must be positive"):
        augmenter.cost(0, 1)
    with pytest.raises(ValueError, match="n=-1 is negative"):
        augmenter.cost(1, -1)


@pytest.mark.filterwarnings("ignore:operators leave")
@pytest.mark.parametrize("noise", NOISES)
def test_files(noise, tmp_path):
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(60, 5)).astype(np.float32)
    names = ("ridge", "lowrank", "diagonal", "offset", "bank")
    spec = {**dict(zip(names, names, strict=True)), "direction": ResidualRidge(per="direction")}
    views = {name: Z * 1.5 + 0.1 * rng.normal(size=Z.shape) for name in spec}
    augmenter = EmbeddingAugmenter(
        {**spec, "rotate": "conditioned"}, noise=noise, noise_neighbors=3, strength=(0.5, 1),
        label_maps={"ridge": {6: 9}}, random_state=0,
    )  # fmt: skip
    augmenter.fit(Z, {**views, "rotate": (Z + 1, np.linspace(0, 1, 60))})
    augmenter.save(tmp_path / "a.safetensors")
    loaded = EmbeddingAugmenter.load(tmp_path / "a.safetensors")
    for name in (*augmenter.names_, None):
        np.testing.assert_array_equal(augmenter.transform(Z, name), loaded.transform(Z, name))
    assert loaded.report_ == augmenter.report_
    np.testing.assert_array_equal(
        loaded.fit_resample(Z, np.full(60, 6))[1], augmenter.fit_resample(Z, np.full(60, 6))[1]
    )
    assert list(loaded.report_) == loaded.names_ == augmenter.names_
    ours, theirs = augmenter.get_params(), loaded.get_params()
    assert {k: repr(v) for k, v in ours.pop("operator").items()} == {
        k: repr(v) for k, v in theirs.pop("operator").items()
    }
    assert theirs == ours
    loaded.save(tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_damaged_files(tmp_path):
    path = tmp_path / "a.safetensors"
    save_container(path, {"x": np.zeros(3)}, kind="vectors")
    with pytest.raises(FormatError, match="holds 'vectors', expected 'augmenter'"):
        EmbeddingAugmenter.load(path)
    _, augmenter = fitted()
    augmenter.save(path)
    from embcompress.container import load_container

    file = load_container(path, kind="augmenter")
    tensors = {name: np.array(array) for name, array in file.tensors.items()}
    missing = {name: array for name, array in tensors.items() if "offset" not in name}
    short = {**tensors, "operator.0.mean_": np.zeros(3, np.float32)}
    for arrays in (missing, short):
        save_container(path, arrays, kind="augmenter", metadata=dict(file.metadata))
        with pytest.raises(FormatError, match="entries do not fit an augmenter"):
            EmbeddingAugmenter.load(path)
    other = {**file.metadata, "operators": file.metadata["operators"].replace("Ridge", "Magic")}
    save_container(path, tensors, kind="augmenter", metadata=other)
    with pytest.raises(FormatError, match="unknown operator 'ResidualMagic'"):
        EmbeddingAugmenter.load(path)


def test_as_an_estimator():
    augmenter = EmbeddingAugmenter("lowrank", noise="bank", strength=(0, 1))
    copy = clone(augmenter)
    assert copy.get_params() == augmenter.get_params()
    with pytest.raises(NotFittedError, match="not fitted yet"):
        copy.transform(np.zeros((1, 2)))


def test_errors():
    Z, views = linear_pairs(30, 4)
    augmenter = EmbeddingAugmenter(random_state=0).fit(Z, {"flip": views})
    with pytest.raises(ValueError, match="no operator is called 'flop'; fitted are flip"):
        augmenter.transform(Z, "flop")
    with pytest.raises(ValueError, match="X has 3 features, but EmbeddingAugmenter is expecting 4"):
        augmenter.transform(Z[:, :3])
    with pytest.raises(ValueError, match="contains NaN"):
        augmenter.transform(np.full((2, 4), np.nan))
    with pytest.raises(ValueError, match="views is empty"):
        EmbeddingAugmenter().fit(Z, {})
    with pytest.raises(ValueError, match=r"views 'flip' have shape \(29, 4\), Z has \(30, 4\)"):
        EmbeddingAugmenter().fit(Z, {"flip": views[:-1]})
    with pytest.raises(ValueError, match="Input 'flip' contains NaN"):
        EmbeddingAugmenter().fit(Z, {"flip": np.where(Z > 1, np.nan, Z)})
    with pytest.raises(ValueError, match="unknown operator 'best'; known are '"):
        EmbeddingAugmenter("best").fit(Z, {"flip": views})
    with pytest.raises(ValueError, match="operator has no entry for 'flip': flop"):
        EmbeddingAugmenter({"flop": "ridge"}).fit(Z, {"flip": views})
    with pytest.raises(TypeError, match="operator=3 is not an operator; give one of '"):
        EmbeddingAugmenter(3).fit(Z, {"flip": views})
    for strength in ((2, 1), (1, 2, 3), np.inf, np.zeros(7)):
        with pytest.raises(ValueError, match="strength"):
            augmenter.transform(Z, strength=strength)
    with pytest.raises(ValueError, match="strength"):
        EmbeddingAugmenter(strength=(2, 1)).fit(Z, {"flip": views})
    with pytest.raises(ValueError, match="'noise' parameter of EmbeddingAugmenter must be"):
        EmbeddingAugmenter(noise="loud").fit(Z, {"flip": views})
