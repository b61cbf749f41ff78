import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import embcompress.rescoring as rescoring
from embcompress.codes import asymmetric_scores, pack_bits
from embcompress.index import HammingIndex
from embcompress.rescoring import AsymmetricScorer, FloatScorer, quantize_int8, rescore

N, D, N_QUERIES = 3000, 40, 30


@pytest.fixture(scope="module")
def data():
    """Clustered vectors, their sign codes after a rotation, and queries near some of them."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(60, D))
    X = (centres[rng.integers(60, size=N)] + 0.6 * rng.normal(size=(N, D))).astype(np.float32)
    X *= rng.uniform(0.5, 2, size=(N, 1)).astype(np.float32)
    Q = (X[:N_QUERIES] + 0.2 * rng.normal(size=(N_QUERIES, D))).astype(np.float32)
    R = np.linalg.qr(rng.normal(size=(D, D)))[0].astype(np.float32)
    return X, Q, pack_bits(X @ R >= 0), pack_bits(Q @ R >= 0), Q @ R


@pytest.fixture(scope="module")
def index(data):
    index = HammingIndex(D)
    index.add(data[2])
    return index


def cosines(Q, X):
    lengths = np.linalg.norm(Q, axis=1)[:, None] * np.linalg.norm(X, axis=1)
    return (Q @ X.T) / np.where(lengths > 0, lengths, 1)


def best(scores, k):
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


def shortlist(m=25, seed=0):
    return np.random.default_rng(seed).integers(-1, N, size=(N_QUERIES, m))


def expected(every, indices):
    return np.where(indices < 0, -np.inf, np.take_along_axis(every, np.maximum(indices, 0), 1))


@pytest.fixture(params=[None, 1, 90, 1000], ids=lambda size: f"chunk={size}")
def chunk(request, monkeypatch):
    if request.param:
        monkeypatch.setattr(rescoring, "_CHUNK_VALUES", request.param)


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("metric", ["cosine", "dot"])
def test_float_scores_are_those_of_all_pairs(data, metric, dtype):
    X, Q = data[0].astype(dtype), data[1]
    every = cosines(Q, X.astype(np.float32)) if metric == "cosine" else Q @ X.T.astype(np.float32)
    scores = FloatScorer(Q, X, metric=metric).scores(shortlist())
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected(every, shortlist()), rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize("metric", ["cosine", "dot"])
@pytest.mark.parametrize("axis", ["row", "row column", "column"])
def test_int8_scores_are_those_of_the_scaled_rows(data, axis, metric):
    Q = data[1]
    rng = np.random.default_rng(1)
    small = rng.integers(-127, 128, size=(N, D)).astype(np.int8)
    shape = {"row": (N,), "row column": (N, 1), "column": (1, D)}[axis]
    scale = rng.uniform(0.1, 2, size=shape).astype(np.float16)
    X = small * (scale[:, None] if axis == "row" else scale).astype(np.float32)
    every = cosines(Q, X) if metric == "cosine" else Q @ X.T
    scores = FloatScorer(Q, small, metric=metric, scale=scale).scores(shortlist())
    np.testing.assert_allclose(scores, expected(every, shortlist()), rtol=1e-3, atol=1e-3)


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize("scaled", [False, True])
def test_asymmetric_scores_are_those_of_all_pairs(data, scaled):
    codes, projected = data[2], data[4]
    scales = np.linspace(0.5, 2, N).astype(np.float16) if scaled else None
    every = asymmetric_scores(projected, codes, D) * (1 if scales is None else scales)
    scores = AsymmetricScorer(projected, codes, D, scales).scores(shortlist())
    np.testing.assert_allclose(scores, expected(every, shortlist()), rtol=1e-4, atol=1e-3)


def test_originals_stay_in_their_file(data, tmp_path, index):
    X, Q, _, queries, _ = data
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    scorer = FloatScorer(Q, mapped)
    assert isinstance(scorer.originals, np.memmap)
    got = index.search_rescored(queries, 5, scorer)
    right = index.search_rescored(queries, 5, FloatScorer(Q, X))
    for a, b in zip(got, right, strict=True):
        np.testing.assert_array_equal(a, b)


def test_rescoring_everything_is_a_brute_force_search(data, index):
    X, Q, _, queries, _ = data
    scores, indices = index.search_rescored(queries, 10, FloatScorer(Q, X), rescore_multiplier=N)
    every = cosines(Q, X)
    np.testing.assert_array_equal(indices, best(every, 10))
    np.testing.assert_allclose(scores, np.take_along_axis(every, indices, 1), rtol=1e-4)
    assert scores.dtype == np.float32
    assert indices.dtype == np.int64


def test_rescoring_improves_recall(data, index):
    X, Q, codes, queries, projected = data
    right = best(cosines(Q, X), 10)

    def recall(indices):
        return np.mean([len(set(a) & set(b)) / 10 for a, b in zip(indices, right, strict=True)])

    plain = recall(index.search(queries, 10)[1])
    small, scale = quantize_int8(X)
    asymmetric = recall(
        index.search_rescored(queries, 10, AsymmetricScorer(projected, codes, D))[1]
    )
    floats = recall(index.search_rescored(queries, 10, FloatScorer(Q, X))[1])
    more = recall(index.search_rescored(queries, 10, FloatScorer(Q, X), rescore_multiplier=20)[1])
    int8 = recall(index.search_rescored(queries, 10, FloatScorer(Q, small, scale=scale))[1])
    assert plain + 0.05 < asymmetric < floats < more
    assert int8 > floats - 0.05


@pytest.mark.parametrize("kind", ["flat", "ivf", "hnsw"])
def test_more_neighbours_than_codes(data, kind):
    X, Q, codes, queries, _ = data
    small = HammingIndex(D, kind=kind)
    small.add(codes[:6])
    scores, indices = small.search_rescored(queries, 9, FloatScorer(Q, X[:6]))
    assert scores.shape == indices.shape == (N_QUERIES, 9)
    np.testing.assert_array_equal(indices[:, :6], best(cosines(Q, X[:6]), 6))
    assert (indices[:, 6:] == -1).all()
    assert (scores[:, 6:] == -np.inf).all()


class Constant:
    def __init__(self, value):
        self.value = value

    def scores(self, indices):
        return np.full(indices.shape, self.value, dtype=np.float32)


@pytest.mark.parametrize("value", [1.0, 0.0, -np.inf])
def test_equal_scores_are_in_the_order_of_indices_and_nobody_is_last(value):
    scores, indices = rescore(np.array([[7, -1, 3, 9, -1]]), 4, Constant(value))
    assert indices.tolist() == [[3, 7, 9, -1]]
    assert scores.tolist() == [[value, value, value, -np.inf]]


def test_bad_scorers_are_found(data, index):
    class Flat:
        def scores(self, indices):
            return np.zeros(indices.size, dtype=np.float32)

    with pytest.raises(
        ValueError, match=r"returned shape \(12,\) for a shortlist of shape \(1, 12"
    ):
        index.search_rescored(data[3][:1], 3, Flat())
    with pytest.raises(ValueError, match="the scorer returned NaN"):
        index.search_rescored(data[3][:1], 3, Constant(np.nan))
    with pytest.raises(ValueError, match="rescore_multiplier=0 must be"):
        index.search_rescored(data[3][:1], 3, Constant(0), rescore_multiplier=0)
    with pytest.raises(ValueError, match="k=0 must be"):
        index.search_rescored(data[3][:1], 0, Constant(0))


def test_shortlists_are_checked(data):
    X, Q, codes, _, projected = data
    for scorer in (FloatScorer(Q, X), AsymmetricScorer(projected, codes, D)):
        with pytest.raises(ValueError, match=r"shape \(2, 5\).*made with 30 queries"):
            scorer.scores(np.zeros((2, 5), dtype=np.int64))
        with pytest.raises(ValueError, match="float64; the scorer was made"):
            scorer.scores(np.zeros((30, 5)))
        with pytest.raises(ValueError, match="holds index 3000, the scorer has 3000 rows"):
            scorer.scores(np.full((30, 1), N))
        assert scorer.scores(np.zeros((30, 0), dtype=np.int64)).shape == (30, 0)


def test_float_scorer_checks_what_it_is_made_with(data):
    X, Q = data[0], data[1]
    with pytest.raises(ValueError, match="metric='l2' is not known; allowed: 'cosine', 'dot'"):
        FloatScorer(Q, X, metric="l2")
    with pytest.raises(TypeError, match="originals has dtype float64; float32, float16 or int8"):
        FloatScorer(Q, X.astype(np.float64))
    with pytest.raises(ValueError, match=r"originals has shape \(40,\)"):
        FloatScorer(Q, X[0])
    with pytest.raises(ValueError, match=r"query_vectors has shape \(40,\).*\(n_queries, 40\)"):
        FloatScorer(Q[0], X)
    with pytest.raises(ValueError, match=r"query_vectors has shape \(30, 39\)"):
        FloatScorer(Q[:, 1:], X)
    with pytest.raises(
        ValueError, match=r"scale has shape \(40,\); \(3000,\) per row or \(1, 40\)"
    ):
        FloatScorer(Q, X, scale=np.ones(D))
    with pytest.raises(ValueError, match="int8 need scale= for metric='dot'"):
        FloatScorer(Q, X.astype(np.int8), metric="dot")


def test_asymmetric_scorer_checks_what_it_is_made_with(data):
    codes, projected = data[2], data[4]
    with pytest.raises(ValueError, match="codes has 5 bytes per row; 41 bits need 6"):
        AsymmetricScorer(projected, codes, 41)
    with pytest.raises(ValueError, match=r"projected_queries has shape \(30, 39\)"):
        AsymmetricScorer(projected[:, 1:], codes, D)
    with pytest.raises(ValueError, match=r"scales has shape \(1,\), \(3000,\) is needed"):
        AsymmetricScorer(projected, codes, D, [1.0])


@settings(deadline=None)
@given(
    n=st.integers(0, 20),
    d=st.integers(1, 20),
    size=st.sampled_from([0.0, 1e-44, 1e-30, 1e-3, 1.0, 1e30]),
    seed=st.integers(0, 1000),
)
def test_int8_is_off_by_half_a_step_at_most(n, d, size, seed):
    X = (np.random.default_rng(seed).normal(size=(n, d)) * size).astype(np.float32)
    quantized, scale = quantize_int8(X)
    assert quantized.dtype == np.int8
    assert scale.dtype == np.float32
    assert scale.shape == (n,)
    off = np.abs(quantized * scale[:, None].astype(np.float64) - X)
    assert (off <= 0.5001 * scale[:, None]).all()
    if size > 1e-40 and n:
        assert (np.abs(quantized).max(axis=1) == 127).all()


def test_int8_in_pieces_is_the_same(data, monkeypatch):
    whole = quantize_int8(data[0])
    monkeypatch.setattr(rescoring, "_CHUNK_VALUES", 100)
    for a, b in zip(whole, quantize_int8(data[0]), strict=True):
        np.testing.assert_array_equal(a, b)


def test_int8_refuses_what_it_cannot_keep():
    with pytest.raises(ValueError, match="X holds NaN or infinity, first in row 1"):
        quantize_int8([[1.0, 2.0], [np.nan, 0.0]])
    with pytest.raises(ValueError, match=r"X has shape \(2,\)"):
        quantize_int8([1.0, 2.0])
