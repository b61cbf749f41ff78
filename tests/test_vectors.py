from __future__ import annotations

import numpy as np
import pytest

from embcompress import IIQ, CompressedVectors, KeyedVectors, Sign
from embcompress.vectors import UnknownWordError, top_k


@pytest.fixture(scope="module")
def small(sample):
    return CompressedVectors.compress(sample, IIQ(random_state=0))


@pytest.fixture(scope="module")
def gensim_vectors(sample):
    models = pytest.importorskip("gensim.models", reason="gensim is not installed")
    other = models.KeyedVectors(sample.vector_size)
    other.add_vectors(list(sample.index_to_key), sample.vectors)
    return other


QUESTIONS = [
    {"positive": "king"},
    {"positive": ["king"]},
    {"positive": ["woman", "king"], "negative": ["man"]},
    {"positive": [("paris", 0.5), ("germany", 2.0)], "negative": "france", "topn": 3},
]


@pytest.mark.parametrize("question", QUESTIONS, ids=str)
def test_most_similar_is_that_of_gensim(question, sample, gensim_vectors):
    ours, theirs = sample.most_similar(**question), gensim_vectors.most_similar(**question)
    assert [word for word, _ in ours] == [word for word, _ in theirs]
    np.testing.assert_allclose([s for _, s in ours], [s for _, s in theirs], atol=1e-5)


def test_other_questions_are_those_of_gensim(sample, gensim_vectors):
    assert sample.similarity("king", "queen") == pytest.approx(
        gensim_vectors.similarity("king", "queen"), abs=1e-6
    )
    assert sample.rank("king", "queen") == gensim_vectors.rank("king", "queen")
    np.testing.assert_allclose(
        sample.get_vector("king", norm=True),
        gensim_vectors.get_vector("king", norm=True),
        atol=1e-6,
    )
    vector = sample["king"]
    ours, theirs = sample.similar_by_vector(vector), gensim_vectors.similar_by_vector(vector)
    assert [word for word, _ in ours] == [word for word, _ in theirs]
    np.testing.assert_array_equal(sample[["king", "queen"]], gensim_vectors[["king", "queen"]])
    assert sample.key_to_index == gensim_vectors.key_to_index


@pytest.mark.parametrize("kind", ["float", "codes"])
@pytest.mark.parametrize("question", QUESTIONS, ids=str)
def test_asked_words_are_left_out_and_answers_descend(kind, question, sample, small):
    vectors = {"float": sample, "codes": small}[kind]
    answers = vectors.most_similar(**question)
    assert len(answers) == question.get("topn", 10)
    words = [word for word, _ in answers]
    assert (
        not set(words)
        & {"king", "woman", "man", "paris", "germany", "france"}
        & set(str(question).replace("'", " ").split())
    )
    scores = [score for _, score in answers]
    assert scores == sorted(scores, reverse=True)
    assert all(-1 - 1e-6 <= score <= 1 + 1e-6 for score in scores)


def test_hamming_neighbours_are_exact(small):
    from embcompress.codes import hamming_distances

    query = small.get_index("music")
    distances = hamming_distances(small.codes[query][None], small.codes)[0]
    order = np.lexsort((np.arange(len(small)), distances))
    expected = [small.index_to_key[i] for i in order if i != query][:20]
    assert [word for word, _ in small.most_similar("music", topn=20)] == expected


def test_similarity_of_codes_is_the_cosine_of_signs(small):
    from embcompress.codes import unpack_signs

    a, b = unpack_signs(small.codes[[3, 77]], small.n_bits)
    expected = float(a @ b) / small.n_bits
    first, second = small.index_to_key[3], small.index_to_key[77]
    assert small.similarity(first, second) == pytest.approx(expected)
    assert small.similarity(first, first) == 1


def test_asymmetric_scoring_of_a_users_vector_is_the_cosine_with_signs(small, sample):
    from embcompress.codes import unpack_signs

    vector = sample["germany"]
    projected = small.encoder.project(vector[None])[0]
    signs = unpack_signs(small.codes, small.n_bits)
    cosines = signs @ projected / (np.linalg.norm(projected) * np.sqrt(small.n_bits))
    word, score = small.similar_by_vector(vector, topn=1, scoring="asymmetric")[0]
    assert score == pytest.approx(cosines.max(), abs=1e-5)
    assert word == small.index_to_key[int(cosines.argmax())] == "germany"


def test_a_users_vector_meets_its_own_code(small, sample):
    word, score = small.similar_by_vector(sample["music"], topn=1)[0]
    assert (word, score) == ("music", 1.0)


def test_neighbours_survive_compression(sample, small):
    wanted = {word for word, _ in sample.most_similar("germany", topn=10)}
    found = {word for word, _ in small.most_similar("germany", topn=10)}
    assert len(wanted & found) >= 4


def test_rank_and_topn_beyond_the_vocabulary(small):
    assert small.rank("king", small.most_similar("king", topn=1)[0][0]) == 1
    tiny = CompressedVectors.compress(
        KeyedVectors(["a", "b", "c"], np.eye(3, dtype=np.float32)), Sign("mean")
    )
    assert len(tiny.most_similar("a", topn=10)) == 2
    assert len(tiny.most_similar("a", topn=10, scoring="asymmetric")) == 2


@pytest.mark.parametrize("kind", ["float", "codes"])
def test_mapping_behaviour(kind, sample, small):
    vectors = {"float": sample, "codes": small}[kind]
    assert len(vectors) == 5000
    assert "king" in vectors
    assert "kingg" not in vectors
    assert 5 not in vectors
    assert vectors.get_vector("king").shape == (100,)
    assert vectors.get_vector("king").dtype == np.float32
    assert np.linalg.norm(vectors.get_vector("king", norm=True)) == pytest.approx(1, abs=1e-5)
    assert vectors.key_to_index["king"] == vectors.get_index("king")
    assert vectors.vector_size == 100
    assert repr(vectors).startswith(type(vectors).__name__)


def test_decoded_vectors_point_the_right_way(sample, small):
    decoded = small.decode()
    cosines = [
        float(sample.get_vector(w, norm=True) @ decoded.get_vector(w, norm=True))
        for w in sample.index_to_key[:500]
    ]
    assert np.mean(cosines) > 0.8


@pytest.mark.parametrize("kind", ["float", "codes"])
def test_messages(kind, sample, small):
    vectors = {"float": sample, "codes": small}[kind]
    with pytest.raises(UnknownWordError, match="'kingg' is not among the 5,000 words; close words"):
        vectors.most_similar("kingg")
    with pytest.raises(KeyError, match="close words: king"):
        vectors.get_vector("KING")
    with pytest.raises(ValueError, match="at least one word or vector"):
        vectors.most_similar()
    with pytest.raises(ValueError, match="topn=0 must be a whole number of at least 1"):
        vectors.most_similar("king", topn=0)
    with pytest.raises(
        ValueError, match=r"shape \(100,\) with real numbers is needed; got .* \(3,"
    ):
        vectors.similar_by_vector([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="NaN or infinity"):
        vectors.similar_by_vector(np.full(100, np.nan))
    with pytest.raises(ValueError, match="scoring='cosine'"):
        vectors.most_similar("king", scoring="cosine")
    with pytest.raises(TypeError, match="5 is not a word"):
        vectors.get_index(5)


def test_parts_must_fit():
    with pytest.raises(ValueError, match="2 words came with 3 vectors"):
        KeyedVectors(["a", "b"], np.zeros((3, 2)))
    with pytest.raises(ValueError, match=r"vectors has shape \(3,\)"):
        KeyedVectors(["a", "b", "c"], np.zeros(3))
    with pytest.raises(ValueError, match=r"counts has shape \(1,\), \(2,\) is needed"):
        KeyedVectors(["a", "b"], np.zeros((2, 2)), counts=[1])


def test_top_k_orders_by_score_then_index():
    scores = np.array([0.5, 0.9, 0.5, 0.1, 0.9, 0.5], dtype=np.float32)
    for k in range(1, 7):
        indices, values = top_k(scores, k)
        expected = sorted(range(6), key=lambda i: (-scores[i], i))[:k]
        assert indices.tolist() == expected
        np.testing.assert_array_equal(values, scores[expected])
