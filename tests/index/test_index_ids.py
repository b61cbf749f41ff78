"""Ids, removal and subsets, against a plain model: a mapping of ids to codes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from index_cases import ENGINES, codes_at, filled_index, random_codes

from embcompress.codes import hamming_distances, unpack_signs
from embcompress.index import HammingIndex

LARGE = 2**63 - 1
IDS = st.integers(0, 40) | st.integers(0, 2**40) | st.integers(LARGE - 10, LARGE)


class Model:
    """What an index is: codes and scales by id."""

    def __init__(self, n_bits):
        self.n_bits = n_bits
        self.codes, self.scales = {}, {}

    @property
    def ids(self):
        return np.array(sorted(self.codes), dtype=np.int64)

    def table(self, ids):
        rows = [self.codes[i] for i in ids.tolist()]
        return np.array(rows, np.uint8).reshape(len(ids), -(-self.n_bits // 8))

    def distances(self, queries, chosen):
        """Distances and ids of all chosen codes, in order."""
        ids = self.ids if chosen is None else np.sort(chosen)
        distances = hamming_distances(queries, self.table(ids))
        order = np.argsort(distances, axis=1, kind="stable")
        return np.take_along_axis(distances, order, 1), ids[order]

    def scores(self, queries, chosen):
        ids = self.ids if chosen is None else np.sort(chosen)
        scores = queries @ unpack_signs(self.table(ids), self.n_bits, np.float64).T
        if self.scales:
            scores *= [self.scales[i] for i in ids.tolist()]
        order = np.argsort(-scores, axis=1, kind="stable")
        return np.take_along_axis(scores, order, 1), ids[order]


def filled_up(expected, k, missing):
    cut = expected[:, :k]
    return np.pad(cut, ((0, 0), (0, k - cut.shape[1])), constant_values=missing)


class Comparison(RuleBasedStateMachine):
    """The three engines do what the model does, whatever comes in whatever order."""

    @initialize(
        n_bits=st.sampled_from([3, 8, 20, 256, 300]),
        n_free=st.integers(2, 9),
        scaled=st.booleans(),
    )
    def start(self, n_bits, n_free, scaled):
        self.model, self.n_free, self.scaled = Model(n_bits), n_free, scaled
        # FAISS knows no scales
        engines = ["native", "numpy"] if scaled else ENGINES
        self.indexes = {engine: HammingIndex(n_bits, engine=engine) for engine in engines}

    def some_codes(self, n, seed):
        return random_codes(n, self.model.n_bits, seed, self.n_free)

    def add(self, codes, ids, given):
        # powers of two: products of small whole numbers with them are exact
        scales = [2.0 ** (int(i) % 5 - 2) for i in ids] if self.scaled else None
        for index in self.indexes.values():
            index.add(codes, given, scales=scales)
        self.model.codes.update(zip(ids, codes, strict=True))
        if self.scaled:
            self.model.scales.update(zip(ids, scales, strict=True))

    @rule(n=st.sampled_from([0, 1, 2, 63, 64, 65, 130]), seed=st.integers(0, 99))
    def add_without_ids(self, n, seed):
        first = max(self.model.codes, default=-1) + 1
        if first + n <= LARGE + 1:
            self.add(self.some_codes(n, seed), range(first, first + n), None)

    @rule(ids=st.sets(IDS, max_size=20), seed=st.integers(0, 99), data=st.data())
    def add_with_ids(self, ids, seed, data):
        new = data.draw(st.permutations(sorted(ids - set(self.model.codes))))
        self.add(self.some_codes(len(new), seed), new, np.array(new, np.int64))

    @precondition(lambda self: self.model.codes)
    @rule(data=st.data(), seed=st.integers(0, 99))
    def add_what_is_there(self, data, seed):
        known = data.draw(st.sampled_from(sorted(self.model.codes)))
        scales = [1.0] if self.scaled else None
        for index in self.indexes.values():
            with pytest.raises(ValueError, match=f"ids holds {known}, which is in the index"):
                index.add(self.some_codes(1, seed), [known], scales=scales)

    @precondition(lambda self: self.model.codes)
    @rule(data=st.data(), share=st.sampled_from([0.02, 0.3, 1.0]))
    def remove(self, data, share):
        known = sorted(self.model.codes)
        seed = data.draw(st.integers(0, 99))
        n = max(1, round(share * len(known)))
        gone = np.random.default_rng(seed).permutation(known)[:n]
        for index in self.indexes.values():
            assert index.remove(gone) == n
        for i in gone.tolist():
            del self.model.codes[i]
            self.model.scales.pop(i, None)

    @rule(unknown=IDS)
    def remove_what_is_not_there(self, unknown):
        if unknown in self.model.codes:
            return
        for index in self.indexes.values():
            with pytest.raises(ValueError, match=f"ids holds {unknown}, which is not in the index"):
                index.remove([*list(self.model.codes)[:3], unknown])

    @precondition(lambda self: self.model.codes)
    @rule(
        k=st.sampled_from([1, 3, 64, 70]),
        n_queries=st.sampled_from([1, 9]),
        seed=st.integers(0, 99),
        how=st.sampled_from(["all", "truths", "ids"]),
        share=st.sampled_from([0.0, 0.1, 0.9]),
    )
    def search(self, k, n_queries, seed, how, share):
        queries = self.some_codes(n_queries, seed)
        ids, chosen, options = self.model.ids, None, {}
        if how != "all":
            rng = np.random.default_rng(seed)
            truths = rng.random(len(ids)) < share
            chosen = ids[truths]
            options = {"subset": truths if how == "truths" else rng.permutation(chosen)}
        distances, order = self.model.distances(queries, chosen)
        n_bits = self.model.n_bits
        for index in self.indexes.values():
            found, indices = index.search(queries, k, **options)
            np.testing.assert_array_equal(found, filled_up(distances, k, n_bits + 1))
            np.testing.assert_array_equal(indices, filled_up(order, k, -1))
            if index.engine == "faiss":
                continue
            result = index.range_search(queries, self.n_free // 2, **options)
            near = distances <= self.n_free // 2
            np.testing.assert_array_equal(result.distances, distances[near])
            np.testing.assert_array_equal(result.indices, order[near])
            self.search_asymmetric(index, k, n_queries, seed, chosen, options)

    def search_asymmetric(self, index, k, n_queries, seed, chosen, options):
        rng = np.random.default_rng(seed)
        queries = rng.integers(-2, 3, (n_queries, self.model.n_bits)).astype(float)
        scores, order = self.model.scores(queries, chosen)
        found, indices = index.search_asymmetric(queries, k, **options)
        np.testing.assert_array_equal(found, filled_up(scores, k, -np.inf))
        np.testing.assert_array_equal(indices, filled_up(order, k, -1))

    @invariant()
    def holds_the_same(self):
        for index in getattr(self, "indexes", {}).values():
            assert len(index) == len(self.model.codes)
            np.testing.assert_array_equal(index.ids, self.model.ids)
            np.testing.assert_array_equal(index.codes, self.model.table(self.model.ids))


Comparison.TestCase.settings = settings(max_examples=120, stateful_step_count=15)
TestComparison = Comparison.TestCase


@pytest.mark.parametrize("engine", ENGINES)
def test_ids_are_positions_by_default(engine):
    index = filled_index(random_codes(5, 16), 16, engine)
    assert index.ids.tolist() == [0, 1, 2, 3, 4]
    assert index.ids.dtype == np.int64
    index.remove([4, 1])
    assert index.ids.tolist() == [0, 2, 3]
    index.add(random_codes(2, 16))
    assert index.ids.tolist() == [0, 2, 3, 4, 5]
    index.add(random_codes(1, 16), [1])
    assert index.ids.tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("engine", ENGINES)
def test_numbers_of_ids_run_out(engine):
    index = filled_index(random_codes(2, 16), 16, engine, ids=[5, LARGE - 2])
    index.add(random_codes(2, 16))
    assert index.ids.tolist() == [5, LARGE - 2, LARGE - 1, LARGE]
    with pytest.raises(ValueError, match=r"no 1 numbers follow it below 2\*\*63; give ids"):
        index.add(random_codes(1, 16))
    assert index.search(random_codes(1, 16), 1)[1].tolist() == [[5]]


@pytest.mark.parametrize("engine", ENGINES)
def test_ids_cannot_be_changed_from_outside(engine):
    given = np.array([7, 3])
    index = filled_index(random_codes(2, 16), 16, engine, ids=given)
    given[:] = 0
    ids = index.ids
    with pytest.raises(ValueError, match="read-only"):
        ids[0] = 9
    index.add(random_codes(1, 16))
    assert ids.tolist() == [3, 7]
    assert index.ids.tolist() == [3, 7, 8]


@pytest.mark.parametrize("engine", ENGINES)
def test_ties_are_in_the_order_of_ids(engine):
    query = random_codes(1, 300)
    codes = codes_at(query[0], 300, [4] * 200)
    ids = np.random.default_rng(0).permutation(10_000)[:200]
    index = HammingIndex(300, engine=engine)
    for part in (slice(0, 70), slice(70, 71), slice(71, 200)):
        index.add(codes[part], ids[part])
    assert index.search(query, 20)[1][0].tolist() == np.sort(ids)[:20].tolist()
    assert index.search(query, 99)[1][0].tolist() == np.sort(ids)[:99].tolist()


@pytest.mark.parametrize("engine", ENGINES)
def test_all_may_be_removed_and_others_added(engine):
    codes = random_codes(100, 40)
    index = filled_index(codes, 40, engine)
    assert index.remove([]) == 0
    assert index.remove(range(100)) == 100
    assert len(index) == 0
    assert index.codes.shape == (0, 5)
    with pytest.raises(ValueError, match="the index is empty; add codes before searching"):
        index.search(codes[:1], 1)
    index.add(codes[50:])
    assert index.search(codes[[60]], 1)[1].tolist() == [[10]]


@pytest.mark.parametrize("engine", ENGINES)
def test_nothing_of_a_call_that_fails_stays(engine):
    codes = random_codes(50, 40)
    index = filled_index(codes, 40, engine)
    for ids in ([50, 51, 50], [50, 51, 7], [50, -1, 51], [50, 51], [1.0, 2.0, 3.0]):
        with pytest.raises(ValueError, match="ids"):
            index.add(codes[:3], ids)
    with pytest.raises(ValueError, match="ids holds 50, which is not in the index"):
        index.remove([3, 4, 50])
    with pytest.raises(ValueError, match="ids holds 3 more than once"):
        index.remove([3, 4, 3])
    assert index.ids.tolist() == list(range(50))
    np.testing.assert_array_equal(index.codes, codes)


@pytest.mark.parametrize("engine", ENGINES)
def test_subsets_by_truths_and_by_ids(engine):
    codes = random_codes(300, 60, n_free=5)
    index = filled_index(codes, 60, engine, ids=np.arange(300) * 3)
    index.remove([0, 9, 30])
    ids = index.ids
    chosen = ids[::7]
    by_ids = index.search(codes[:9], 20, subset=chosen)
    by_truths = index.search(codes[:9], 20, subset=np.isin(ids, chosen))
    again = index.search(codes[:9], 20, subset=[*chosen[::-1].tolist(), int(chosen[0])])
    for a, b, c in zip(by_ids, by_truths, again, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)
    assert np.isin(by_ids[1], chosen).all()
    for nothing in ([], np.zeros(297, bool), np.empty(0, np.int64)):
        distances, indices = index.search(codes[:9], 2, subset=nothing)
        assert (indices == -1).all()
        assert (distances == 61).all()


@pytest.mark.parametrize("engine", ["native", "numpy"])
def test_empty_subsets_of_the_other_searches(engine):
    index = filled_index(random_codes(300, 60), 60, engine)
    assert index.range_search(random_codes(2, 60), 60, subset=[]).limits.tolist() == [0, 0, 0]
    scores, indices = index.search_asymmetric(np.ones((6, 60)), 2, subset=[])
    assert (indices == -1).all()
    assert (scores == -np.inf).all()
    assert scores.dtype == np.float32


def test_lists_find_their_codes_by_id():
    codes = random_codes(2000, 64)
    ids = np.random.default_rng(0).permutation(5000)[:2000]
    index = HammingIndex(64, kind="ivf", n_lists=10, n_probe=10)
    index.add(codes[:1500], ids[:1500])
    index.add(codes[1500:], ids[1500:])
    assert index.search(codes[:50], 1)[1].ravel().tolist() == ids[:50].tolist()
    index.remove(ids[:25])
    assert not np.isin(index.search(codes[:50], 30)[1], ids[:25]).any()
    assert index.search(codes[25:50], 1)[1].ravel().tolist() == ids[25:50].tolist()
    result = index.range_search(codes[25:26], 20)
    near = hamming_distances(codes[25:26], codes[25:])[0]
    order = np.lexsort((ids[25:], near))[: (near <= 20).sum()]
    assert result.indices.tolist() == ids[25:][order].tolist()


def test_a_graph_finds_its_codes_by_id():
    codes = random_codes(800, 64)
    ids = np.random.default_rng(0).permutation(5000)[:800]
    index = HammingIndex(64, kind="hnsw")
    index.add(codes[:500], ids[:500])
    index.add(codes[500:], ids[500:])
    assert index.search(codes[:50], 1)[1].ravel().tolist() == ids[:50].tolist()
    chosen = np.sort(ids[:400])
    found = index.search(codes[:50], 5, subset=chosen)[1]
    assert np.isin(found[found >= 0], chosen).all()
