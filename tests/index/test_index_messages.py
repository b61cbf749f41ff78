"""What an index says about what it cannot take."""

from __future__ import annotations

import numpy as np
import pytest
from index_cases import ENGINES, filled_index, made, random_codes

from embcompress.codes import pack_bits
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


BITS = np.random.default_rng(0).random((6, 24)) < 0.5


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (BITS, TypeError, r"dtype bool, shape \(6, 24\).*uint8 of shape \(n, 3\).*bits\(codes\)$"),
        (BITS.astype(np.int64), TypeError, r"dtype int64.* embcompress.codes.pack_bits\(codes\)$"),
        (2 * BITS.astype(np.int8) - 1, TypeError, r"dtype int8.*pack_bits\(codes >= 0\)$"),
        (BITS - 0.5, TypeError, r"dtype float64, .* quantizer .*pack_bits\(codes >= 0\)$"),
        (BITS.astype(np.uint8), ValueError, r"24 bytes per row.*pack_bits\(codes\); .* 192 bits"),
        (pack_bits(BITS).astype(int), TypeError, r"dtype int64, shape \(6, 3\).*codes.astype\(num"),
        (pack_bits(BITS)[0], ValueError, r"codes has shape \(3,\).*use code\[None, :\]"),
        (pack_bits(BITS)[None], ValueError, r"codes has shape \(1, 6, 3\)"),
        (pack_bits(BITS)[:, :2], ValueError, "codes has 2 bytes per row; 24 bits need 3"),
        (b"codes", TypeError, "codes has dtype .S5"),
        ([], TypeError, "codes has dtype float64"),
    ],
)
def test_what_are_not_codes(given, error, message):
    index = HammingIndex(24)
    with pytest.raises(error, match=message):
        index.add(given)


@pytest.mark.parametrize("call", ["search", "range_search"])
def test_what_are_not_codes_as_queries(call):
    index = filled_index(pack_bits(BITS), 24)
    with pytest.raises(TypeError, match=r"queries >= 0\) .*; search_asymmetric takes real numbers"):
        getattr(index, call)(BITS - 0.5, 3)
    with pytest.raises(TypeError, match=r"queries has dtype bool.*pack_bits\(queries\)$"):
        getattr(index, call)(BITS, 3)


def test_the_call_that_a_message_names_makes_codes():
    for given, call in ((BITS - 0.5, lambda codes: pack_bits(codes >= 0)), (BITS, pack_bits)):
        index = filled_index(call(given), 24)
        assert index.codes.tolist() == pack_bits(BITS).tolist()


@pytest.mark.parametrize(
    ("queries", "message"),
    [
        (
            pack_bits(BITS),
            r"queries has shape \(6, 3\), dtype uint8.*look like codes, which search",
        ),
        (np.ones(24), r"queries has shape \(24,\), .*use query\[None, :\]"),
        (
            np.ones((2, 23)),
            r"shape \(2, 23\), .* real numbers of shape \(n_queries, 24\) are needed",
        ),
        (BITS, "queries has shape .* dtype bool; real numbers"),
        (BITS * 1j, "queries has shape .* dtype complex128; real numbers"),
        (np.full((1, 24), np.nan), "queries holds NaN, infinity or numbers beyond float32"),
        (np.full((1, 24), -np.inf), "queries holds NaN, infinity"),
        (np.full((1, 24), 1e39), "queries holds NaN, infinity or numbers beyond float32"),
    ],
)
def test_real_valued_queries_are_checked(queries, message):
    index = filled_index(pack_bits(BITS), 24)
    with pytest.raises(ValueError, match=message):
        index.search_asymmetric(queries, 3)


def test_the_precision_is_checked():
    index = filled_index(pack_bits(BITS), 24)
    with pytest.raises(
        ValueError, match="precision='int2' is not known; allowed: 'float32', 'int8', 'int4'"
    ):
        index.search_asymmetric(np.ones((1, 24)), 3, precision="int2")


@pytest.mark.parametrize("radius", [-1, 2.0, None, True, "3"])
@pytest.mark.parametrize("engine", ENGINES)
def test_the_radius_is_checked(engine, radius):
    index, codes = made(engine=engine)
    with pytest.raises(ValueError, match=r"radius=.* must be a whole number of at least 0"):
        index.range_search(codes[:1], radius)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("subset", "message"),
    [
        (np.ones(499, bool), r"subset has shape \(499,\); one truth per code .* shape \(500,\)"),
        (np.ones((500, 1), bool), r"subset has shape \(500, 1\); one truth"),
        ([[1, 2]], r"subset has shape \(1, 2\), dtype int64; whole numbers of shape \(n,\)"),
        ([1.0, 2.0], "subset has shape .* dtype float64; whole numbers"),
        (["a"], "subset has shape .* whole numbers"),
        ([3, 500], "subset holds id 500, which is not in the index"),
        ([3, -1], "subset holds -1; ids are from 0 to"),
        (7, r"subset has shape \(\), dtype int64; whole numbers"),
    ],
)
def test_subsets_are_checked(engine, subset, message):
    index, codes = made(engine=engine)
    with pytest.raises(ValueError, match=message):
        index.search(codes[:1], 3, subset=subset)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (range(3), "3 ids came with 4 codes"),
        ([1, 2, 3, 2], "ids holds 2 more than once"),
        ([1, 2, 3, -4], r"ids holds -4; ids are from 0 to 2\*\*63 - 1"),
        (np.array([1, 2, 3, 2**63], np.uint64), r"ids holds 9223372036854775808; ids are from 0"),
        (
            [1.0, 2.0, 3.0, 4.0],
            r"ids has shape \(4,\), dtype float64; whole numbers of shape \(n,\)",
        ),
        ([True, False, True, True], "dtype bool; whole numbers"),
        ([[1, 2, 3, 4]], r"ids has shape \(1, 4\)"),
    ],
)
def test_ids_are_checked(engine, ids, message):
    index = HammingIndex(24, engine=engine)
    with pytest.raises(ValueError, match=message):
        index.add(pack_bits(BITS)[:4], ids)
    assert len(index) == 0
    index.add(pack_bits(BITS)[:4])


@pytest.mark.parametrize("engine", ["native", "numpy"])
@pytest.mark.parametrize(
    ("scales", "message"),
    [
        (
            [1, 2, 3],
            r"scales has shape \(3,\), .*; real numbers of shape \(4,\) are needed, one for",
        ),
        (1.0, r"scales has shape \(\)"),
        (["1"] * 4, "scales has shape .* dtype <U1; real numbers"),
        ([1, 2, 3, 0], "scales holds 0.0; finite numbers above 0 are needed"),
        ([1, 2, -3, 1], "scales holds -3.0; finite numbers above 0"),
        ([1, np.nan, 3, 1], "scales holds nan; finite"),
        ([1, np.inf, 3, 1], "scales holds inf; finite"),
        ([1, 1e39, 3, 1], "scales holds inf; finite"),
        ([1, 1e-40, 3, 1], "scales holds .*; finite numbers above 0 are needed, at least 1.2e-38"),
    ],
)
def test_scales_are_checked(engine, scales, message):
    index = HammingIndex(24, engine=engine)
    with pytest.raises(ValueError, match=message):
        index.add(pack_bits(BITS)[:4], scales=scales)
    assert len(index) == 0


@pytest.mark.parametrize("engine", ["native", "numpy"])
def test_scales_come_always_or_never(engine):
    codes = pack_bits(BITS)
    index = filled_index(codes, 24, engine)
    with pytest.raises(ValueError, match="the index has no scales, these codes came with scales"):
        index.add(codes, scales=np.ones(6))
    index = filled_index(codes, 24, engine, scales=np.ones(6))
    with pytest.raises(ValueError, match="the index has scales, these codes came with no scales"):
        index.add(codes)
    assert len(index) == 6
    index.remove(range(6))
    index.add(codes)  # the first ones again
    assert len(index) == 6


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
@pytest.mark.parametrize("engine", ["native", "numpy"])
def test_kinds_that_an_engine_does_not_have(engine, kind):
    with pytest.raises(
        ValueError, match=f"engine='{engine}' searches kind='flat' only, kind='{kind}' came"
    ):
        HammingIndex(24, kind=kind, engine=engine)


def test_what_faiss_does_not_have():
    for kind in ("flat", "ivf", "hnsw"):
        index, codes = made(kind, engine="faiss")
        what = rf"FAISS \(engine='faiss', kind='{kind}'\)"
        with pytest.raises(ValueError, match=rf"{what} has no search_asymmetric; use kind='flat'"):
            index.search_asymmetric(np.ones((1, 100)), 3)
        with pytest.raises(ValueError, match=rf"search_asymmetric, which {what} does not have"):
            index.add(codes[:1], scales=[1.0])
        with pytest.raises(ValueError, match=rf"{what} has no range_search of a subset; use kind"):
            index.range_search(codes[:1], 3, subset=[1])
    with pytest.raises(ValueError, match=rf"{what} has no range_search; use kind='flat', engine"):
        index.range_search(codes[:1], 3)
    with pytest.raises(ValueError, match=r"a graph \(kind='hnsw'\) cannot forget codes"):
        index.remove([1])
    with pytest.raises(ValueError, match=rf"{what} does not give codes back"):
        _ = index.codes
    index, codes = made("ivf")
    with pytest.raises(ValueError, match=r"lists \(kind='ivf'\) cannot search a subset"):
        index.search(codes[:1], 3, subset=[1])


@pytest.mark.parametrize("engine", ENGINES)
def test_every_search_of_an_empty_index_says_so(engine):
    index = HammingIndex(24, engine=engine)
    queries = pack_bits(BITS)
    assert index.codes.shape == (0, 3)
    assert index.ids.tolist() == []
    for call in (
        lambda: index.search(queries, 1),
        lambda: index.range_search(queries, 1),
        lambda: index.search_asymmetric(np.ones((1, 24)), 1),
        lambda: index.search_rescored(queries, 1, None),
    ):
        with pytest.raises(ValueError, match="the index is empty; add codes before searching"):
            call()


def test_ids_and_scales_of_no_codes_are_checked_too():
    index = HammingIndex(8)
    with pytest.raises(ValueError, match="2 ids came with 0 codes"):
        index.add(np.empty((0, 1), np.uint8), ids=[1, 2])
    with pytest.raises(ValueError, match=r"scales has shape \(1,\)"):
        index.add(np.empty((0, 1), np.uint8), scales=[1.0])
