from __future__ import annotations

import numpy as np
import pytest

from embcompress import CompressedVectors, KeyedVectors, Sign
from embcompress.codes import hamming_distances
from embcompress.evaluation import Space, space_of


def test_float_scores_are_cosines(sample, spaces):
    scores = spaces["float"].scores(np.array([5]), slice(0, 50))[0]
    wanted = [sample.similarity(sample.index_to_key[5], sample.index_to_key[i]) for i in range(50)]
    np.testing.assert_allclose(scores, wanted, atol=1e-5)


@pytest.mark.parametrize("n_bits", [50, 64, 99])
def test_hamming_scores_are_exact(sample, n_bits):
    part = KeyedVectors(sample.index_to_key[:300], sample.vectors[:300, :n_bits])
    small = CompressedVectors.compress(part, Sign())
    scores = space_of(small).scores(np.arange(300))
    distances = hamming_distances(small.codes, small.codes)
    # the nearest float32 of every value, so that equal distances give equal scores
    assert np.array_equal(scores, ((n_bits - 2 * distances) / n_bits).astype(np.float32))


def test_asymmetric_scores_are_those_of_most_similar(sample, small, spaces):
    for space, vector in [
        (spaces["asymmetric"], sample.vectors[7]),
        (spaces["decoded"], sample.index_to_key[7]),
    ]:
        found = dict(small.most_similar(positive=[vector], topn=20, scoring="asymmetric"))
        scores = space.scores(np.array([7]))[0]
        for word, score in found.items():
            assert scores[space.find([word])[0]] == pytest.approx(score, abs=1e-5)


def test_both_sides_have_unit_length(spaces):
    for space in spaces.values():
        for side in (space.rows, space.queries):
            assert side.dtype == np.float32
            np.testing.assert_allclose(np.linalg.norm(side, axis=1), 1, atol=1e-5)
    assert spaces["float"].is_symmetric
    assert spaces["hamming"].is_symmetric
    assert not spaces["asymmetric"].is_symmetric


def test_the_exact_word_comes_before_its_lower_case():
    kv = KeyedVectors(["paris", "Paris", "rome"], np.eye(3))
    words = ["Paris", "paris", "Rome", "Oslo"]
    assert space_of(kv).find(words).tolist() == [1, 0, 2, -1]
    assert space_of(kv, lowercase=False).find(words).tolist() == [1, 0, -1, -1]
    assert space_of(kv).find(words, limit=1).tolist() == [0, 0, -1, -1]


def test_missing_words_get_the_mean_direction():
    kv = KeyedVectors(["a", "b"], [[1, 0], [0, 1]])
    vectors = space_of(kv).vectors(np.array([-1, 1]))
    np.testing.assert_allclose(vectors, [[0.5**0.5, 0.5**0.5], [0, 1]], atol=1e-6)


def test_messages(sample, small):
    with pytest.raises(ValueError, match="are for compressed vectors; leave them out"):
        space_of(sample, scoring="hamming")
    with pytest.raises(ValueError, match="scoring='cosine'; allowed: 'hamming' or 'asymmetric'"):
        space_of(small, scoring="cosine")
    other = KeyedVectors(sample.index_to_key[:5], sample.vectors[:5])
    with pytest.raises(ValueError, match="floats has 5 words that are not the 5000 words"):
        space_of(small, scoring="asymmetric", floats=other)
    rows = np.eye(3, dtype=np.float32)
    with pytest.raises(ValueError, match="2 words came with rows of shape"):
        Space(other.index_to_key[:2], rows, rows, "wrong")
