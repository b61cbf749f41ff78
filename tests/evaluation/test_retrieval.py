from __future__ import annotations

import numpy as np
import pytest
from evaluation_files import rotated
from sklearn.metrics import ndcg_score

from embcompress import KeyedVectors
from embcompress.codes import hamming_distances
from embcompress.evaluation import compare, evaluate_retrieval, neighbours, space_of
from embcompress.evaluation.retrieval import gains, hits
from embcompress.quality import neighbour_recall


@pytest.fixture(scope="module")
def reference(spaces):
    return neighbours(spaces["float"], n_queries=200)


def test_float_neighbours_are_those_of_most_similar(sample, reference):
    for query, found in zip(reference.queries[:20], reference.indices[:20], strict=True):
        wanted = sample.most_similar(sample.index_to_key[query], topn=10)
        assert [sample.index_to_key[index] for index in found] == [word for word, _ in wanted]


def test_hamming_neighbours_come_by_distance_then_index(small, spaces):
    found = neighbours(spaces["hamming"], n_queries=50)
    for query, indices in zip(found.queries, found.indices, strict=True):
        distances = hamming_distances(small.codes[[query]], small.codes)[0]
        distances[query] = 999
        assert indices.tolist() == np.argsort(distances, kind="stable")[:10].tolist()


def test_the_reference_against_itself_is_perfect(reference):
    for result in evaluate_retrieval(reference, reference):
        assert (result.value, result.low, result.high) == pytest.approx((1, 1, 1))


def test_recall_and_ndcg(spaces, reference):
    found = neighbours(spaces["hamming"], queries=reference.queries)
    recall, ndcg = evaluate_retrieval(found, reference)
    assert (recall.metric, ndcg.metric) == ("recall@10", "NDCG@10")
    rows = list(zip(found.indices, reference.indices, strict=True))
    wanted = np.mean([len(set(a) & set(b)) / 10 for a, b in rows])
    assert recall.value == pytest.approx(wanted)
    n = len(spaces["float"])
    relevance, scores = np.zeros((2, len(rows), n))
    for row, (a, b) in enumerate(rows):
        scores[row, a] = np.arange(10, 0, -1)
        relevance[row, b] = np.arange(10, 0, -1)
    assert ndcg.value == pytest.approx(ndcg_score(relevance, scores, k=10))


def test_better_scores_find_more(spaces, reference):
    def recall(space, **options):
        return evaluate_retrieval(
            neighbours(space, queries=reference.queries, **options), reference
        )[0]

    hamming = recall(spaces["hamming"])
    asymmetric = recall(spaces["asymmetric"])
    rescored = recall(spaces["float"], shortlist=spaces["hamming"])
    longer = recall(spaces["float"], shortlist=spaces["hamming"], multiplier=20)
    assert hamming.value < asymmetric.value
    assert hamming.value < rescored.value < longer.value < 1
    assert rescored.space == "hamming x 4, then float"
    assert compare(asymmetric, hamming).low > 0


def test_a_shortlist_of_all_words_changes_nothing(spaces, reference):
    few = reference.queries[:20]
    for kind in ("float", "asymmetric", "hamming"):
        alone = neighbours(spaces[kind], queries=few)
        listed = neighbours(
            spaces[kind], queries=few, shortlist=spaces["hamming"], multiplier=10_000
        )
        np.testing.assert_array_equal(alone.indices, listed.indices)


def test_found_neighbours_are_a_shortlist(spaces, reference):
    asked = {"queries": reference.queries[:20]}
    found = neighbours(spaces["hamming"], 40, **asked)
    wanted = neighbours(spaces["float"], shortlist=spaces["hamming"], **asked)
    listed = neighbours(spaces["float"], shortlist=found, **asked)
    np.testing.assert_array_equal(listed.indices, wanted.indices)
    assert listed.space == wanted.space
    nearest = neighbours(spaces["hamming"], **asked)
    np.testing.assert_array_equal(found.first(10).indices, nearest.indices)


def test_rotation_changes_nothing(sample, reference):
    found = neighbours(space_of(rotated(sample)), queries=reference.queries)
    assert hits(found.indices, reference.indices).mean() > 0.999


def test_quality_is_the_same_recall(sample, small, spaces):
    for scoring in ("hamming", "asymmetric"):
        wanted = neighbours(spaces["float"], n_queries=100, random_state=3)
        found = neighbours(spaces[scoring], queries=wanted.queries)
        recall = evaluate_retrieval(found, wanted)[0].value
        options = {"scoring": scoring, "n_queries": 100, "random_state": 3}
        assert neighbour_recall(sample, small, **options) == pytest.approx(recall, abs=2e-3)


def test_gains_count_the_order():
    reference = np.array([[0, 1, 2]])
    in_order, reversed_order, wrong = (
        gains(np.array([row]), reference)[0] for row in ([0, 1, 2], [2, 1, 0], [3, 4, 5])
    )
    assert in_order == 1 > reversed_order > wrong == 0


def test_messages(spaces, reference):
    tiny = space_of(KeyedVectors(["a", "b"], np.eye(2)))
    with pytest.raises(ValueError, match="recall@10 needs at least 11 words, there are 2"):
        neighbours(tiny)
    with pytest.raises(ValueError, match="k=0 must be at least 1"):
        neighbours(tiny, 0)
    with pytest.raises(ValueError, match="multiplier=0 must be at least 1"):
        neighbours(tiny, 1, multiplier=0)
    with pytest.raises(ValueError, match="a shortlist of 2 words came for 5000 words"):
        neighbours(spaces["float"], shortlist=tiny)
    with pytest.raises(ValueError, match="10 neighbours of 200 words came; 40 of the same 200"):
        neighbours(spaces["float"], queries=reference.queries, shortlist=reference)
    with pytest.raises(ValueError, match="with k=1 cannot be compared with 200 queries"):
        evaluate_retrieval(neighbours(tiny, 1), reference)
