"""The scikit-learn contract, and the laws that every quantizer keeps."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

from embcompress import IIQ, ITQ, LSH, PCASign, Sign
from embcompress.codes import code_bytes, unpack_bits

DEFAULTS = [IIQ(), ITQ(), LSH(), PCASign(), Sign()]
VARIANTS = [
    IIQ(n_remove=1, normalize=False),
    IIQ(bits_per_direction=2),
    LSH(kind="gaussian", center=False),
    Sign(threshold="mean"),
    Sign(threshold="median"),
]
EVERY = [*DEFAULTS, *VARIANTS]
ids = repr


def seeded(quantizer):
    quantizer = clone(quantizer)
    if "random_state" in quantizer.get_params():
        quantizer.set_params(random_state=0)
    return quantizer


@parametrize_with_checks(EVERY)
def test_scikit_learn_contract(estimator, check):
    check(estimator)


@pytest.mark.parametrize("quantizer", EVERY, ids=ids)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_shapes_types_and_bits(quantizer, dtype, clusters):
    X = clusters.astype(dtype)
    quantizer = seeded(quantizer).fit(X)
    codes = quantizer.transform(X)
    assert codes.dtype == np.uint8
    assert codes.shape == (600, code_bytes(24))
    scores = quantizer.project(X)
    assert scores.dtype == dtype
    first_bits = unpack_bits(codes, 24)[:, : scores.shape[1]]
    np.testing.assert_array_equal(first_bits, scores >= 0)
    decoded = quantizer.inverse_transform(codes)
    assert decoded.dtype == np.float32
    assert decoded.shape == X.shape


@pytest.mark.parametrize("quantizer", EVERY, ids=ids)
def test_decoding_beats_the_mean(quantizer, clusters):
    quantizer = seeded(quantizer).fit(clusters)
    decoded = quantizer.inverse_transform(quantizer.transform(clusters))
    error = ((decoded - clusters) ** 2).sum()
    assert error < 0.9 * ((clusters - clusters.mean(axis=0)) ** 2).sum()


@pytest.mark.parametrize("quantizer", EVERY, ids=ids)
def test_rows_are_encoded_one_by_one_as_together(quantizer, clusters):
    quantizer = seeded(quantizer).fit(clusters)
    together = quantizer.transform(clusters)
    # one row goes through another BLAS routine, so a score of almost 0 may round differently
    alone = np.concatenate([quantizer.transform(row[None]) for row in clusters[:50]])
    differing = unpack_bits(alone, 24) != unpack_bits(together[:50], 24)
    scores = quantizer.project(clusters[:50])
    # how far each bit is from turning: a first bit at 0, a second one at the size of the row
    sizes = np.sqrt((scores**2).mean(axis=1, keepdims=True))
    margins = np.concatenate([np.abs(scores), np.abs(np.abs(scores) - sizes)], axis=1)[:, :24]
    assert (margins[differing] < 1e-5).all()


@pytest.mark.parametrize("quantizer", EVERY, ids=ids)
def test_same_seed_same_codes_and_input_untouched(quantizer, clusters):
    before = clusters.copy()
    first = seeded(quantizer).fit_transform(clusters)
    np.testing.assert_array_equal(first, seeded(quantizer).fit_transform(clusters))
    np.testing.assert_array_equal(before, clusters)


@pytest.mark.parametrize("quantizer", EVERY, ids=ids)
def test_scaling_the_data_changes_nothing(quantizer, clusters):
    # powers of two are exact in floating point, so the codes must agree to the bit
    quantizer = seeded(quantizer)
    first = quantizer.fit_transform(clusters.astype(np.float64))
    for factor in (2.0**-40, 2.0**40):
        np.testing.assert_array_equal(
            first, quantizer.fit_transform(clusters.astype(np.float64) * factor)
        )


@pytest.mark.parametrize("quantizer", EVERY, ids=ids)
def test_neighbours_are_kept(quantizer, clusters):
    # rows of one cluster lie nearer to one another than to others
    codes = seeded(quantizer).fit_transform(clusters)
    bits = unpack_bits(codes, 24).astype(int)
    distances = (bits[:, None] != bits[None]).sum(axis=2)
    same = (np.arange(600)[:, None] - np.arange(600)[None]) % 30 == 0
    assert distances[same].mean() < 0.75 * distances[~same].mean()


@pytest.mark.parametrize("quantizer", DEFAULTS, ids=ids)
def test_in_a_pipeline_with_grid_search(quantizer, clusters):
    quantizer = seeded(quantizer)
    y = (np.arange(600) % 30 < 15).astype(int)
    unpack = FunctionTransformer(lambda codes: np.unpackbits(codes, axis=1))
    pipeline = make_pipeline(quantizer, unpack, LogisticRegression())
    name = type(quantizer).__name__.lower()
    if "n_bits" in quantizer.get_params():
        grid = {f"{name}__n_bits": [8, 24]}
    else:
        grid = {f"{name}__threshold": ["zero", "mean"]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(clusters, y)
    assert search.best_score_ > 0.6


@pytest.mark.parametrize("quantizer", DEFAULTS, ids=ids)
def test_set_output(quantizer, clusters):
    quantizer = seeded(quantizer).set_output(transform="pandas")
    frame = quantizer.fit_transform(pd.DataFrame(clusters))
    name = type(quantizer).__name__.lower()
    assert list(frame.columns) == [f"{name}{i}" for i in range(3)]
    assert (frame.dtypes == np.uint8).all()


@pytest.mark.parametrize("quantizer", [IIQ(), LSH()], ids=ids)
@pytest.mark.parametrize("n_bits", [1, 10, 24, 25, 31, 48, 100])
def test_any_number_of_bits(quantizer, n_bits, clusters):
    quantizer = seeded(quantizer).set_params(n_bits=n_bits)
    codes = quantizer.fit_transform(clusters)
    assert codes.shape == (600, code_bytes(n_bits))
    assert quantizer.inverse_transform(codes).shape == clusters.shape
    if n_bits > 8:
        # no bit repeats another, or is constant
        bits = unpack_bits(codes, n_bits).T
        assert len(np.unique(bits, axis=0)) == n_bits


@pytest.mark.parametrize("quantizer", [ITQ(n_bits=25), PCASign(n_bits=25)], ids=ids)
def test_more_bits_than_features_is_refused(quantizer, clusters):
    name = type(quantizer).__name__
    with pytest.raises(
        ValueError,
        match=rf"{name}\(n_bits=25\) needs at least 25 features, X has 24; use IIQ\(n_bits=25\)"
        r".* or LSH\(n_bits=25\)",
    ):
        quantizer.fit(clusters)


def test_bad_input_messages(clusters):
    with pytest.raises(ValueError, match="'n_bits' parameter of IIQ must be an int in the range"):
        IIQ(n_bits=0).fit(clusters)
    with pytest.raises(ValueError, match="'threshold' parameter of Sign must be a str among"):
        Sign(threshold="half").fit(clusters)
    with pytest.raises(NotFittedError, match="not fitted yet"):
        IIQ().transform(clusters)
    with pytest.raises(ValueError, match="24 features as input"):
        Sign().fit(clusters).transform(clusters[:, :5])
    with pytest.raises(ValueError, match="contains NaN"):
        IIQ().fit(np.full((3, 3), np.nan))
    with pytest.raises(ValueError, match="2 bytes per row; 24 bits need 3"):
        Sign().fit(clusters).inverse_transform(np.zeros((1, 2), np.uint8))


@pytest.mark.parametrize("quantizer", DEFAULTS, ids=ids)
@pytest.mark.parametrize(
    "X",
    [np.zeros((5, 3)), np.ones((4, 3)), np.eye(3)[:1], np.array([[1.0], [2.0], [-1.0]])],
    ids=["zeros", "constant", "one row", "one feature"],
)
def test_degenerate_data(quantizer, X):
    codes = seeded(quantizer).fit(X).transform(X)
    assert codes.shape == (len(X), 1)
