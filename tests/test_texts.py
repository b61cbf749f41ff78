"""Mean vectors of texts: from codes, from floats, and that nothing is decoded for them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embcompress import IIQ, CompressedVectors, KeyedVectors, Sign
from embcompress.encoder import Encoder
from embcompress.evaluation.classification import count_words, text_vectors, word_matrix
from embcompress.evaluation.data import LabelledTexts
from embcompress.text_means import CodeMeans, FoundWords, number_levels
from embcompress.texts import TextVectors, WordLookup, find_words, tokenize
from embcompress.vocabulary import Vocabulary

TEXTS = [
    "The king and the queen, the KING's city!",
    "",
    "zzzqqq ???",
    "in 'the' world of of of",
    "king " * 700 + "queen",
]


@pytest.fixture(scope="module")
def compressed(sample):
    """Codes of one bit, of two bits, and of a number of bits that fills no bytes."""
    quantizers = {
        "one bit": IIQ(n_bits=100, random_state=0),
        "two bits": IIQ(n_bits=100, bits_per_direction=2, random_state=0),
        "two bits, all directions": IIQ(n_bits=151, bits_per_direction=2, random_state=0),
        "longer than the vectors": IIQ(n_bits=128, random_state=0),
        "signs": Sign(),
    }
    return {name: CompressedVectors.compress(sample, q) for name, q in quantizers.items()}


def reference(vectors, texts, *, signs=False):
    data = LabelledTexts("texts", texts, np.zeros(len(texts), np.int64), ["class"])
    counts = count_words(data, vectors.index_to_key)
    return text_vectors(counts, word_matrix(vectors, signs=signs))


@pytest.mark.parametrize("features", ["decoded", "codes"])
@pytest.mark.parametrize(
    "name",
    ["one bit", "two bits", "two bits, all directions", "longer than the vectors", "signs"],
)
def test_codes_as_if_they_were_decoded(compressed, name, features):
    small = compressed[name]
    texts = TextVectors(small, features)
    means = texts.transform(TEXTS)
    expected = reference(small, TEXTS, signs=features == "codes")
    assert means.dtype == np.float32
    assert means.shape == (len(TEXTS), texts.size) == expected.shape
    np.testing.assert_allclose(means, expected, rtol=1e-4, atol=2e-5 * np.abs(expected).max())
    assert not means[1:3].any()


def test_floats(sample):
    means = TextVectors(sample).transform(TEXTS)
    np.testing.assert_allclose(means, reference(sample, TEXTS), rtol=1e-4, atol=1e-5)
    by_columns = KeyedVectors(sample.index_to_key, np.asfortranarray(sample.vectors))
    np.testing.assert_array_equal(TextVectors(by_columns).transform(TEXTS), means)


def test_many_texts_go_in_steps(compressed):
    small = compressed["two bits"]
    words = list(small.index_to_key)
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(words, rng.integers(0, 9))) for _ in range(600)]
    means = TextVectors(small).transform(iter(texts))
    assert len(means) == 600
    expected = reference(small, texts)
    np.testing.assert_allclose(means, expected, rtol=1e-4, atol=2e-5 * np.abs(expected).max())


def test_a_loaded_file_is_not_decoded(compressed, tmp_path, monkeypatch):
    compressed["one bit"].save(tmp_path / "v.safetensors")
    small = CompressedVectors.load(tmp_path / "v.safetensors")  # arrays are read-only
    expected = TextVectors(compressed["one bit"]).transform(TEXTS)
    monkeypatch.setattr(Encoder, "decode_scores", None)
    np.testing.assert_array_equal(TextVectors(small).transform(TEXTS), expected)


@given(
    n_first=st.integers(1, 40),
    second=st.floats(0, 1),
    seed=st.integers(0, 2**16),
    n_texts=st.integers(0, 4),
)
def test_mean_of_codes_is_mean_of_decoded(n_first, second, seed, n_texts):
    rng = np.random.default_rng(seed)
    n_bits = n_first + round(second * n_first)
    n_levels = 2 if n_bits == n_first else 4
    encoder = Encoder(
        n_bits,
        mean=rng.normal(size=5),
        projection=rng.normal(size=(5, n_first)),
        thresholds=np.zeros(n_first),
        levels=np.sort(rng.normal(size=(n_levels, n_first)), axis=0),
        decoder=rng.normal(size=(n_first, 5)) if seed % 2 else None,
        normalize=True,
        scale=1 + seed % 3,
    )
    bits = rng.integers(0, 2, (30, n_bits))
    codes = np.packbits(bits, axis=1)
    ends = np.append(0, np.cumsum(rng.integers(0, 20, n_texts)))
    found = FoundWords(rng.integers(0, 30, ends[-1]), ends, int(ends[-1]))
    numbers = CodeMeans.numbers(codes, n_bits, n_first)(found)
    decoded = CodeMeans.decoded(codes, encoder)(found)
    for means, rows in ((numbers, encoder.values(codes)), (decoded, encoder.decode(codes))):
        for i in range(n_texts):
            words = found.indices[ends[i] : ends[i + 1]]
            expected = rows[words].mean(axis=0) if len(words) else 0
            np.testing.assert_allclose(means[i], np.broadcast_to(expected, means[i].shape),
                                       rtol=1e-4, atol=1e-4)  # fmt: skip


def test_levels_are_the_numbers_of_codes():
    np.testing.assert_array_equal(number_levels(3, 3), [[-1] * 3, [1] * 3])
    np.testing.assert_array_equal(
        number_levels(5, 3), [[-3, -3, -2], [-1, -1, -2], [1, 1, 2], [3, 3, 2]]
    )


def test_tokens_without_outer_apostrophes():
    lookup = WordLookup(Vocabulary.from_words(["it's", "film", "'tis"]))
    found = find_words(["It's a 'film' 'tis", "nothing", "film's"], lookup)
    assert found.indices.tolist() == [0, 1, 2]
    assert found.ends.tolist() == [0, 3, 3, 3]
    assert found.n_tokens == 6


def test_a_lookup_is_never_larger_than_the_vocabulary():
    lookup = WordLookup(Vocabulary.from_words(["film"]))
    find_words([f"{'x' * n} {chr(39) * n}film film" for n in range(50)], lookup)
    assert dict(lookup) == {"film": 0}


def test_known_words(sample):
    texts = TextVectors(sample)
    vectors, counts = texts.with_counts(TEXTS)
    assert counts.tolist()[:3] == [7, 0, 0]
    np.testing.assert_array_equal(vectors, texts.transform(TEXTS))
    assert texts.with_counts([])[1].shape == (0,)
    assert texts.transform([]).shape == (0, 100)


def test_one_definition_of_a_token():
    from embcompress.evaluation import classification

    assert classification.tokenize is tokenize


def test_wrong_input(sample, compressed):
    with pytest.raises(TypeError, match="texts is a single string; give a list"):
        TextVectors(sample).transform("the king")
    with pytest.raises(TypeError, match="text 1 is nan, a float, no string"):
        TextVectors(sample).transform(["a", float("nan")])
    with pytest.raises(ValueError, match="features='bits' is unknown; allowed: 'decoded' or 'cod"):
        TextVectors(sample, "bits")
    with pytest.raises(ValueError, match='features="codes" is for compressed vectors'):
        TextVectors(sample, "codes")


def test_a_head_is_trained_on_texts(compressed):
    pytest.importorskip("torch")
    from embcompress.heads import LinearHead

    texts = ["king queen", "river lake", "the prince of wales", "the sea"] * 8
    labels = ["royal", "wet"] * 16
    vectors = TextVectors(compressed["one bit"]).transform(texts)
    head = LinearHead(max_epochs=50, learning_rate=0.05, random_state=0).fit(vectors, labels)
    assert head.predict(vectors[:2]).tolist() == ["royal", "wet"]
