from __future__ import annotations

import numpy as np
import pytest

from embcompress import KeyedVectors
from embcompress.evaluation import (
    LabelledTexts,
    compare,
    count_words,
    evaluate_classification,
    text_vectors,
    tokenize,
    word_matrix,
)


@pytest.fixture(scope="module")
def texts(sample) -> LabelledTexts:
    """Texts of 12 words, half of them near one of two words."""
    rng = np.random.default_rng(0)
    topics = [[word for word, _ in sample.most_similar(w, topn=60)] for w in ("music", "war")]
    common = sample.index_to_key[:300]
    labels = np.arange(200) % 2
    rows = [[*rng.choice(topics[y], 2), *rng.choice(common, 10)] for y in labels]
    return LabelledTexts("made", [" ".join(row) for row in rows], labels, ["music", "war"])


def test_tokens():
    assert tokenize("Don't, the CAFÉ's 2nd\n_x_ -- 'quoted'") == [
        *["don't", "the", "café's", "2nd", "x", "'quoted'"]
    ]
    assert tokenize("  --  ") == []


def test_counts_and_means():
    kv = KeyedVectors(["a", "b", "it's"], [[1.0, 0], [0, 1], [2, 2]])
    data = LabelledTexts("t", ["A a b", "'b' x", "...", "It's"], np.array([0, 1, 0, 1]), ["n", "y"])
    counts = count_words(data, kv.index_to_key)
    assert counts.matrix.toarray().tolist() == [[2, 1, 0], [0, 1, 0], [0, 0, 0], [0, 0, 1]]
    assert (counts.n_tokens, counts.token_coverage) == (6, pytest.approx(5 / 6))
    assert counts.has_words.tolist() == [True, True, False, True]
    means = text_vectors(counts, kv.vectors)
    np.testing.assert_allclose(means, [[2 / 3, 1 / 3], [0, 1], [0, 0], [2, 2]], atol=1e-6)


def test_own_tokens():
    kv = KeyedVectors(["New York", "a"], np.eye(2))
    data = LabelledTexts("t", ["New York|a"], np.array([0]), ["n"])
    counts = count_words(data, kv.index_to_key, tokens=lambda text: text.split("|"))
    assert counts.matrix.toarray().tolist() == [[1, 1]]


def test_topics_are_told_apart(sample, small, texts):
    counts = count_words(texts, sample.index_to_key)
    matrices = {
        "float": word_matrix(sample),
        "decoded": word_matrix(small),
        "signs": word_matrix(small, signs=True),
    }
    assert matrices["signs"].shape == (5000, 64)
    results = {
        name: evaluate_classification(counts, matrix, name=name)
        for name, matrix in matrices.items()
    }
    for result in results.values():
        assert result.value > 0.7
        assert result.n_covered == result.n_items == 200
    difference = compare(results["signs"], results["float"])
    assert difference.n_items == 200
    again = evaluate_classification(counts, matrices["float"], name="again")
    np.testing.assert_array_equal(again.outcomes, results["float"].outcomes)


def test_the_official_split_is_used(sample, texts):
    is_test = np.arange(200) >= 150
    data = LabelledTexts("split", texts.texts, texts.labels, texts.label_names, is_test)
    counts = count_words(data, sample.index_to_key)
    result = evaluate_classification(counts, sample.vectors, name="float")
    assert result.items.tolist() == list(range(150, 200))
    assert result.n_items == 50
    chosen = evaluate_classification(counts, sample.vectors, name="float", C=None)
    assert chosen.value >= result.value - 0.1


def test_texts_without_a_known_word_count(sample, texts):
    more = LabelledTexts(
        "more", [*texts.texts, "", "zzzz"], np.append(texts.labels, [0, 1]), texts.label_names
    )
    result = evaluate_classification(
        count_words(more, sample.index_to_key), sample.vectors, name="float"
    )
    assert (result.n_items, result.n_covered, len(result.outcomes)) == (202, 200, 202)
    assert result.details["texts without a known word"] == 2
    assert 0.99 < result.details["token coverage"] < 1


def test_what_cannot_be_trained_is_skipped(sample):
    words = sample.index_to_key

    def note(texts, labels, is_test=None):
        data = LabelledTexts("bad", texts, np.array(labels), ["n", "y"], is_test)
        result = evaluate_classification(count_words(data, words), sample.vectors, name="float")
        assert result.skipped
        return result.note

    assert "only 0 of 40" in note(["zzzz"] * 40, [0, 1] * 20)
    assert "a class has 2 texts, 10 folds need 10" in note(["the"] * 4, [0, 1] * 2)
    split = np.array([False, False, True])
    assert "texts of 1 class to train on" in note(["the"] * 3, [0, 0, 1], split)


def test_messages(sample, texts):
    counts = count_words(texts, sample.index_to_key)
    with pytest.raises(ValueError, match=r"vectors of shape \(3, 3\) came for counts of 5000"):
        text_vectors(counts, np.eye(3))
    with pytest.raises(ValueError, match="signs=True is for compressed vectors"):
        word_matrix(sample, signs=True)


@pytest.mark.real_data
def test_sentence_polarity(sample, data_folder):
    lines = (data_folder / "text" / "sentences" / "rt-polarity.all").read_text("latin-1")
    rows = [line.split(" ", 1) for line in lines.split("\n") if line][::4]
    data = LabelledTexts("MR", [row[1] for row in rows], np.array([int(r[0]) for r in rows]), "np")
    result = evaluate_classification(
        count_words(data, sample.index_to_key), sample.vectors, name="float"
    )
    assert 0.6 < result.value < 0.8
