from __future__ import annotations

import numpy as np
import pytest
from evaluation_files import read_pairs, rotated
from scipy.stats import spearmanr

from embcompress import KeyedVectors, load_vectors
from embcompress.evaluation import SimilarityPairs, compare, evaluate_similarity, space_of
from embcompress.evaluation.similarity import pair_scores


def test_float_score_is_scipys(sample, spaces, made_pairs):
    result = evaluate_similarity(spaces["float"], made_pairs)
    covered = made_pairs.pairs[:300]
    cosines = [sample.similarity(*pair) for pair in covered]
    wanted = spearmanr(cosines, made_pairs.scores[:300]).statistic
    assert result.value == pytest.approx(wanted, abs=1e-6)
    assert (result.n_items, result.n_covered) == (305, 300)
    assert result.low < result.value < result.high
    assert result.key == ("similarity", "made", "Spearman")


def test_codes_lose_something_and_asymmetric_scores_less(spaces, made_pairs):
    results = {name: evaluate_similarity(space, made_pairs) for name, space in spaces.items()}
    assert results["float"].value > results["asymmetric"].value > results["hamming"].value
    assert compare(results["hamming"], results["float"]).high < 0


def test_hamming_pairs_tie_as_their_distances_do(small, spaces, made_pairs):
    scores = evaluate_similarity(spaces["hamming"], made_pairs).outcomes[:, 0]
    similarities = [small.similarity(*pair) for pair in made_pairs.pairs[:300]]
    np.testing.assert_allclose(scores, similarities, atol=1e-6)
    assert len(np.unique(scores)) == len(np.unique(similarities))


def test_asymmetric_pairs_do_not_depend_on_their_order(spaces):
    first, second = np.random.default_rng(0).integers(0, 5000, size=(2, 100))
    space = spaces["asymmetric"]
    scores = pair_scores(space, first, second)
    np.testing.assert_allclose(scores, pair_scores(space, second, first), atol=1e-6)
    both = (space.scores(first[:1])[0, second[0]] + space.scores(second[:1])[0, first[0]]) / 2
    assert scores[0] == pytest.approx(both, abs=1e-6)


def test_rotation_changes_nothing(sample, spaces, made_pairs):
    first = evaluate_similarity(spaces["float"], made_pairs)
    second = evaluate_similarity(space_of(rotated(sample)), made_pairs)
    assert second.value == pytest.approx(first.value, abs=1e-4)


def test_the_mean_rule_uses_every_pair(spaces, made_pairs):
    for space in spaces.values():
        result = evaluate_similarity(space, made_pairs, missing="mean")
        assert (len(result.outcomes), result.n_covered) == (305, 300)
        assert "mean vector" in result.note
        assert np.isfinite(result.outcomes).all()


def test_uncovered_sets_are_skipped(spaces):
    data = SimilarityPairs("Martian", [("zzyx", "xyzz")] * 50, np.arange(50.0))
    for missing in ("skip", "mean"):
        result = evaluate_similarity(spaces["float"], data, missing=missing)
        assert result.skipped
        assert result.note == "Martian: only 0 of 50 items have all their words"


def test_equal_scores_hold_no_information():
    kv = KeyedVectors(["a", "b"], [[1, 0], [1, 0]])
    data = SimilarityPairs("flat", [("a", "b")] * 20, np.arange(20.0))
    assert evaluate_similarity(space_of(kv), data).value == 0


def test_messages(spaces, made_pairs):
    with pytest.raises(ValueError, match="missing='zero'; allowed: 'skip' or 'mean'"):
        evaluate_similarity(spaces["float"], made_pairs, missing="zero")


def test_gensim_agrees(sample, made_pairs, tmp_path):
    models = pytest.importorskip("gensim.models")
    theirs = models.KeyedVectors(sample.vector_size)
    theirs.add_vectors(list(sample.index_to_key), sample.vectors)
    path = tmp_path / "pairs.tsv"
    rows = zip(made_pairs.pairs, made_pairs.scores, strict=True)
    path.write_text("".join(f"{a}\t{b}\t{score}\n" for (a, b), score in rows), encoding="utf-8")
    _, wanted, share_missing = theirs.evaluate_word_pairs(str(path), case_insensitive=False)
    result = evaluate_similarity(space_of(sample), made_pairs)
    assert result.value == pytest.approx(wanted.statistic, abs=1e-6)
    assert 100 * (1 - result.n_covered / result.n_items) == pytest.approx(share_missing)


@pytest.mark.real_data
def test_the_published_sets_on_glove(data_folder):
    vectors = load_vectors(data_folder / "embeddings" / "glove.6B.50d.head9163.txt")
    space = space_of(vectors)
    folder = data_folder / "word_eval" / "similarity"
    results = {
        path.stem: evaluate_similarity(space, read_pairs(path))
        for path in sorted(folder.glob("EN-*.txt"))
    }
    assert len(results) == 9
    for name, result in results.items():
        if not result.skipped:
            pairs = [
                (sample_word(vectors, a), sample_word(vectors, b), score)
                for (a, b), score in zip(
                    read_pairs(folder / f"{name}.txt").pairs,
                    read_pairs(folder / f"{name}.txt").scores,
                    strict=True,
                )
            ]
            known = [(a, b, score) for a, b, score in pairs if a in vectors and b in vectors]
            cosines = [vectors.similarity(a, b) for a, b, _ in known]
            wanted = spearmanr(cosines, [score for *_, score in known]).statistic
            assert len(known) == result.n_covered
            assert result.value == pytest.approx(wanted, abs=1e-4)


def sample_word(vectors, word):
    return word if word in vectors else word.lower()
