"""Small inputs that the tests of the formats share."""

import numpy as np
import pytest
from vector_files import make_text

from embcompress import KeyedVectors


@pytest.fixture
def text() -> bytes:
    return make_text(300, 20)


@pytest.fixture
def vectors() -> KeyedVectors:
    rng = np.random.default_rng(1)
    words = ["the", "café", "北京", "a_b", "<unk>", "'s", "🙂"]
    return KeyedVectors(words, rng.standard_normal((7, 5)), counts=np.arange(70, 0, -10))
