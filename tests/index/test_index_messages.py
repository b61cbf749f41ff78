"""What an index says about what it cannot take."""

from __future__ import annotations

import numpy as np
import pytest
from index_cases import made, random_codes

from embcompress.index import HammingIndex


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_bits": 0}, "n_bits=0 must be a whole number of at least 1"),
        ({"n_bits": 8.0}, "n_bits=8.0 must be"),
        ({"kind": "tree"}, "kind='tree' is not known; allowed: 'flat', 'ivf', 'hnsw'"),
        (
            {"engine": "gpu"},
            "engine='gpu' is not known; allowed: 'auto', 'native', 'numpy', 'faiss'",
        ),
        ({"n_lists": 0}, "n_lists=0 must be"),
        ({"n_probe": -1}, "n_probe=-1 must be"),
        ({"n_neighbors": True}, "n_neighbors=True must be"),
        ({"ef_construction": 0}, "ef_construction=0 must be"),
        ({"ef_search": 0}, "ef_search=0 must be"),
        ({"n_threads": 0}, "n_threads=0 must be"),
        ({"random_state": -1}, "random_state=-1 must be None or a whole number"),
        ({"random_state": 2**31}, "random_state=2147483648 must be"),
    ],
)
def test_parameters_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        HammingIndex(**{"n_bits": 64, **options})


@pytest.mark.parametrize("k", [0, -1, 2.0, "3", None, True])
def test_k_is_checked(k):
    index, codes = made()
    with pytest.raises(ValueError, match=r"k=.* must be a whole number of at least 1"):
        index.search(codes[:1], k)


def test_codes_are_checked():
    index, codes = made()
    with pytest.raises(ValueError, match=r"queries has shape \(13,\).*use code\[None, :\]"):
        index.search(codes[0], 3)
    with pytest.raises(ValueError, match="queries has 12 bytes per row; 100 bits need 13"):
        index.search(codes[:, :12], 3)
    with pytest.raises(TypeError, match="codes has dtype float64"):
        index.add(codes.astype(float))
    with pytest.raises(ValueError, match="codes has bits set behind bit 100; pad bits must be 0"):
        index.add(codes | 1)
    with pytest.raises(ValueError, match="queries has bits set behind bit 100"):
        index.search(codes | 8, 3)


def test_an_empty_index_says_so(tmp_path):
    index = HammingIndex(16)
    queries = np.zeros((1, 2), dtype=np.uint8)
    assert len(index) == 0
    with pytest.raises(ValueError, match="the index is empty; add codes before searching"):
        index.search(queries, 1)
    index.add(queries[:0])
    with pytest.raises(ValueError, match="the index is empty; add codes before saving"):
        index.save(tmp_path / "x")


def test_too_few_codes_for_the_lists():
    index = HammingIndex(16, kind="ivf", n_lists=20)
    with pytest.raises(ValueError, match=r"n_lists=20 lists need at least as many codes.*10 came"):
        index.add(random_codes(10, 16))


def test_effort_set_later_is_checked():
    index, codes = made("ivf")
    index.n_probe = 0
    with pytest.raises(ValueError, match="n_probe=0 must be"):
        index.search(codes[:1], 1)
