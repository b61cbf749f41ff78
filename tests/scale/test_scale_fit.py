"""Fits and codes do not depend on how rows come: laws of chunks, one pass, and partial_fit."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from embcompress import IIQ, ITQ, LSH, NLB, PCASign, Sign, load_vectors, scale
from embcompress.quantizers._moments import MomentSums, moments
from embcompress.quantizers._rows import BLOCK_ROWS, sample_rows
from embcompress.quantizers._statistics import _hash

QUANTIZERS = [
    IIQ(n_bits=40, fit_samples=1500, random_state=0),
    IIQ(bits_per_direction=2, fit_samples=1500, random_state=0),
    ITQ(n_bits=16, fit_samples=1500, max_iter=10, random_state=0),
    LSH(n_bits=50, random_state=0),
    PCASign(n_bits=20),
    Sign(),
    Sign(threshold="mean"),
]
ids = repr


def make_rows(n: int, d: int = 24, dtype: type = np.float32) -> np.ndarray:
    """Rows with a falling spectrum and a mean."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(n, d)) / np.sqrt(np.arange(1, d + 1)) + 0.5
    return rows.astype(dtype)


ROWS = make_rows(2 * BLOCK_ROWS + 700)


def cut(rows: np.ndarray, places: list[int]) -> list[np.ndarray]:
    return np.split(rows, sorted(places))


@pytest.mark.parametrize("quantizer", QUANTIZERS, ids=ids)
@given(places=st.lists(st.integers(0, len(ROWS)), max_size=6))
@settings(max_examples=8)
def test_any_chunks_give_the_bits_of_the_matrix_in_memory(quantizer, places):
    expected = clone(quantizer).fit(ROWS)
    found = scale.fit(clone(quantizer), cut(ROWS, places))
    for name, value in vars(expected.encoder_).items():
        np.testing.assert_array_equal(getattr(found.encoder_, name), value, err_msg=name)
    codes = scale.transform(found, cut(ROWS, places[::-1]))
    np.testing.assert_array_equal(codes, expected.transform(ROWS))


@pytest.mark.parametrize("make", [IIQ, ITQ])
def test_a_rotation_on_all_rows_is_that_in_memory(make):
    rows = make_rows(3000, dtype=np.float64)
    quantizer = make(fit_samples=None, max_iter=8, random_state=1)
    expected = clone(quantizer).fit(rows)
    found = scale.fit(clone(quantizer), cut(rows, [100, 2500]))
    np.testing.assert_allclose(found.rotation_, expected.rotation_, atol=1e-8)
    np.testing.assert_allclose(found.loss_, expected.loss_, rtol=1e-10)
    np.testing.assert_array_equal(found.transform(rows), expected.transform(rows))


@given(
    n=st.integers(1, 300),
    places=st.lists(st.integers(0, 300), max_size=8),
    offset=st.sampled_from([0.0, 1e3]),
    normalize=st.booleans(),
)
def test_merged_moments_are_those_of_all_rows(n, places, offset, normalize):
    rows = make_rows(n, 5, np.float64) + offset
    merged = MomentSums(5, normalize=normalize)
    for part in cut(rows, places):
        sums = MomentSums(5, normalize=normalize)
        sums.add(part)
        merged.merge(sums)
    found, expected = merged.moments(), moments(rows, normalize=normalize)
    prepared = rows / np.linalg.norm(rows, axis=1, keepdims=True) if normalize else rows
    np.testing.assert_allclose(found.mean, prepared.mean(axis=0), rtol=1e-10)
    np.testing.assert_allclose(found.covariance, np.cov(prepared.T, bias=True), atol=1e-10)
    np.testing.assert_allclose(found.covariance, expected.covariance, atol=1e-10)
    assert (found.n, found.mean_length) == (n, pytest.approx(expected.mean_length))


def test_an_iterator_gives_the_moments_of_all_rows_and_a_fair_sample():
    found = scale.fit(PCASign(n_bits=8), iter(cut(ROWS, [5, 900])))
    expected = PCASign(n_bits=8).fit(ROWS)
    np.testing.assert_array_equal(found.components_, expected.components_)
    # while all rows fit in the sample it is that of a fit in memory
    few = ROWS[:1000]
    np.testing.assert_array_equal(
        scale.fit(IIQ(random_state=0), iter(cut(few, [77]))).transform(few),
        IIQ(random_state=0).fit(few).transform(few),
    )


def test_rotations_of_a_hashed_sample_are_as_good():
    quantizer = ITQ(fit_samples=1500, random_state=0)
    losses = [
        scale.fit(clone(quantizer), source).loss_ for source in (iter(cut(ROWS, [900])), ROWS)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


def test_the_hashed_sample_does_not_depend_on_chunks():
    fits = [
        scale.fit(IIQ(fit_samples=500, random_state=0), iter(cut(ROWS, places)))
        for places in ([], [1, 2, 1000], [2048])
    ]
    for fit in fits[1:]:
        np.testing.assert_array_equal(fit.rotation_, fits[0].rotation_)


def test_hashes_are_spread_evenly():
    keys = _hash(np.arange(100_000), seed=3)
    assert len(np.unique(keys)) == 100_000
    # each of the 64 bits is set in half of the keys
    shares = [(keys >> np.uint64(bit) & np.uint64(1)).mean() for bit in range(64)]
    np.testing.assert_allclose(shares, 0.5, atol=0.01)
    assert not np.array_equal(keys, _hash(np.arange(100_000), seed=4))


@pytest.mark.parametrize("quantizer", QUANTIZERS, ids=ids)
def test_partial_fit_on_few_rows_is_a_fit(quantizer):
    rows = ROWS[:1400]
    found = clone(quantizer)
    for part in cut(rows, [1, 700]):
        assert found.partial_fit(part) is found
    expected = clone(quantizer).fit(rows)
    np.testing.assert_allclose(found.encoder_.levels, expected.encoder_.levels, atol=1e-5)
    np.testing.assert_array_equal(found.transform(rows), expected.transform(rows))
    assert found.n_bits_ == expected.n_bits_
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(found)).transform(rows), expected.transform(rows)
    )


def test_partial_fit_learns_more_with_more_rows():
    quantizer = PCASign(n_bits=8).partial_fit(ROWS[:100])
    before = quantizer.components_
    quantizer.partial_fit(ROWS[100:])
    assert not np.array_equal(quantizer.components_, before)
    np.testing.assert_allclose(quantizer.components_, PCASign(8).fit(ROWS).components_, atol=1e-4)
    quantizer.fit(ROWS[:100])  # starts anew
    np.testing.assert_array_equal(quantizer.components_, before)
    with pytest.raises(AttributeError, match="no attribute 'loss_'"):
        quantizer.loss_  # noqa: B018


def test_partial_fit_refuses_what_does_not_come_in_parts():
    with pytest.raises(ValueError, match=r"IIQ\(fit_samples=None\) goes over all rows again"):
        IIQ(fit_samples=None).partial_fit(ROWS)
    with pytest.raises(ValueError, match="10 features"):
        Sign().partial_fit(ROWS).partial_fit(ROWS[:, :10])
    assert not hasattr(Sign(threshold="median"), "partial_fit")
    assert not hasattr(NLB(), "partial_fit")
    with pytest.raises(ValueError, match=r"PCASign\(n_bits=25\) needs at least 25 features"):
        PCASign(n_bits=25).partial_fit(ROWS)


def test_what_needs_a_whole_matrix_says_so():
    with pytest.raises(ValueError, match="needs all rows in memory at once; call fit"):
        scale.fit(Sign(threshold="median"), [ROWS])
    with pytest.raises(ValueError, match="the chunks came from an iterator, but this fit"):
        scale.fit(ITQ(fit_samples=None), iter([ROWS]))
    pytest.importorskip("torch")
    with pytest.raises(ValueError, match="NLB, which trains on single rows, needs all rows"):
        scale.fit(NLB(), [ROWS])


def test_fit_on_a_sample_of_rows():
    quantizer = IIQ(random_state=0)
    found = scale.fit(clone(quantizer), cut(ROWS, [900]), max_rows=1000)
    rows = sample_rows(len(ROWS), 1000, np.random.RandomState(0))
    np.testing.assert_array_equal(
        found.transform(ROWS), clone(quantizer).fit(ROWS[rows]).transform(ROWS)
    )
    with pytest.raises(ValueError, match="max_rows=0 must be a whole number of at least 1"):
        scale.fit(quantizer, [ROWS], max_rows=0)
    with pytest.raises(ValueError, match="max_rows=5 draws from rows that are counted first"):
        scale.fit(quantizer, iter([ROWS]), max_rows=5)


def test_large_draws_do_not_permute_all_rows(monkeypatch):
    monkeypatch.setattr("embcompress.quantizers._rows._MOST_PERMUTED", 1000)
    drawn = sample_rows(5000, 50, np.random.RandomState(0))
    assert len(np.unique(drawn)) == 50
    assert (np.diff(drawn) > 0).all()
    assert drawn.max() > 2500


def test_codes_are_written_to_npy(tmp_path):
    quantizer = LSH(n_bits=20, random_state=0).fit(ROWS)
    expected = quantizer.transform(ROWS)
    chunks = cut(ROWS, [5, 4000])
    written = scale.transform(quantizer, chunks, tmp_path / "codes.npy")
    assert isinstance(written, np.memmap)
    np.testing.assert_array_equal(written, expected)
    filled = np.zeros_like(expected)
    assert scale.transform(quantizer.encoder_, iter(chunks), filled) is filled
    np.testing.assert_array_equal(filled, expected)


def test_nothing_is_left_of_a_failed_write(tmp_path):
    quantizer = Sign().fit(ROWS)
    bad = ROWS.copy()
    bad[4000, 3] = np.nan
    with pytest.raises(ValueError, match="row 4000 holds NaN or infinity"):
        scale.transform(quantizer, bad, tmp_path / "codes.npy")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (np.zeros((10, 3), np.uint8), "out has 10 rows, and the source has more"),
        (np.zeros((9999, 3), np.uint8), f"out has 9999 rows, and the source {len(ROWS)}"),
        (np.zeros((10, 4), np.uint8), r"uint8 \(n, 3\) is needed"),
        (np.zeros((10, 3), np.int8), r"out is int8 of shape \(10, 3\); uint8"),
    ],
)
def test_arrays_to_fill_are_checked(out, message):
    with pytest.raises(ValueError, match=message):
        scale.transform(Sign().fit(ROWS), ROWS, out)


def test_transform_checks_the_width():
    with pytest.raises(ValueError, match="has 10 columns; this quantizer was fitted on 24"):
        scale.transform(Sign().fit(ROWS), ROWS[:, :10])


def test_words_and_vectors_are_rows_too(sample_path, sample):
    found = scale.fit(IIQ(random_state=0), sample_path)
    expected = IIQ(random_state=0).fit(sample.vectors)
    np.testing.assert_array_equal(
        scale.transform(found, sample_path), expected.transform(sample.vectors)
    )


@pytest.mark.real_data
def test_real_vectors_from_text(data_folder):
    path = data_folder / "embeddings" / "enwiki_glove100_40k.txt.gz"
    if not path.exists():
        pytest.skip(f"{path.name} is not there")
    vectors = load_vectors(path).vectors
    found = scale.fit(IIQ(random_state=0, max_iter=5), path)
    expected = IIQ(random_state=0, max_iter=5).fit(vectors)
    assert found.n_removed_ == expected.n_removed_
    np.testing.assert_array_equal(found.transform(vectors), expected.transform(vectors))
