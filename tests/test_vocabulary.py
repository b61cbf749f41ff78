from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embcompress.vocabulary import Vocabulary

words_lists = st.lists(st.text(max_size=6), max_size=30)


@given(words_lists)
def test_behaves_as_the_list_it_was_made_from(words):
    vocabulary = Vocabulary.from_words(words)
    assert len(vocabulary) == len(words)
    assert list(vocabulary) == words
    assert [vocabulary[i] for i in range(len(words))] == words
    assert [vocabulary[-i - 1] for i in range(len(words))] == words[::-1]
    assert vocabulary[1:5] == words[1:5]
    assert vocabulary == words
    assert vocabulary == Vocabulary.from_words(words)


@given(words_lists.filter(bool), st.data())
def test_look_up_by_scan_and_by_dict_agree_with_the_list(words, data):
    word = data.draw(st.sampled_from(words) | st.text(max_size=3))
    expected = words.index(word) if word in words else None
    assert Vocabulary.from_words(words).find(word) == expected  # scan
    by_dict = Vocabulary.from_words(words)
    by_dict.key_to_index()
    assert by_dict.find(word) == expected
    assert (word in by_dict) == (word in words)


def test_many_look_ups_build_the_dict():
    words = [f"w{i}" for i in range(100)]
    vocabulary = Vocabulary.from_words(words)
    assert [vocabulary.find(word) for word in words] == list(range(100))
    assert vocabulary._dict is not None


def test_words_that_are_not_valid_utf8_survive():
    raw = b"caf\xe9"
    vocabulary = Vocabulary.from_lengths(np.frombuffer(raw, np.uint8), np.array([4]))
    word = vocabulary[0]
    assert Vocabulary.from_words([word]).blob.tobytes() == raw
    assert vocabulary.find(word) == 0


def test_positions_are_small_until_they_must_not_be():
    assert Vocabulary.from_words(["a"]).offsets.dtype == np.uint32
    huge = Vocabulary.from_lengths(np.zeros(0, np.uint8), np.array([2**32]))
    assert huge.offsets.dtype == np.int64


def test_close_words():
    vocabulary = Vocabulary.from_words(["queen", "Berlin", "green", "quay"])
    assert vocabulary.close_words("queeen")[0] == "queen"
    assert vocabulary.close_words("berlin")[0] == "Berlin"


def test_messages_and_repr():
    vocabulary = Vocabulary.from_words(["a", "b", "c", "d"])
    assert repr(vocabulary) == "Vocabulary(['a', 'b', 'c', ...], 4 words)"
    with pytest.raises(IndexError, match="word 9 of a vocabulary of 4 words"):
        vocabulary[9]
    with pytest.raises(ValueError, match="'x' is not in the vocabulary"):
        vocabulary.index("x")
    with pytest.raises(TypeError, match="word 1 is 5; words are strings"):
        Vocabulary.from_words(["a", 5])
