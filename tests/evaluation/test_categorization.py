from __future__ import annotations

import numpy as np
import pytest
import scipy.cluster.hierarchy
from evaluation_files import read_categories, rotated
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics import adjusted_rand_score

from embcompress import CompressedVectors, KeyedVectors, Sign
from embcompress.evaluation import Categories, evaluate_categorization, space_of
from embcompress.evaluation.categorization import _cluster, _cut, majority_hits


@pytest.fixture(scope="module")
def groups() -> tuple[KeyedVectors, Categories]:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(4, 32))
    labels = np.arange(80) % 4
    vectors = centres[labels] + 0.8 * rng.normal(size=(80, 32))
    words = [f"w{i}" for i in range(80)]
    return KeyedVectors(words, vectors), Categories("made", words, [f"c{i}" for i in labels])


def test_purity_by_hand():
    clusters = np.array([0, 0, 0, 1, 1, 2])
    labels = np.array([0, 0, 1, 1, 1, 0])
    assert majority_hits(clusters, labels).tolist() == [1, 1, 0, 1, 1, 1]


def test_purity_by_counting():
    rng = np.random.default_rng(0)
    clusters, labels = rng.integers(0, 5, size=(2, 200))
    wanted = sum(np.bincount(labels[clusters == c]).max() for c in range(5)) / 200
    assert majority_hits(clusters, labels).mean() == pytest.approx(wanted)


def test_clear_groups_are_found(groups):
    vectors, data = groups
    for space in (space_of(vectors), space_of(CompressedVectors.compress(vectors, Sign()))):
        result = evaluate_categorization(space, data)
        assert result.value > 0.9
        assert result.value == max(result.details.values()) == result.details[result.note]
        assert result.low <= result.value <= result.high
        assert len(result.details) == 3


def test_trees_are_those_of_scikit_learn(sample):
    X = space_of(sample).rows[:400]
    found = _cluster(X, 20, random_state=0)
    wanted = {
        "agglomerative, Ward": AgglomerativeClustering(20),
        "agglomerative, average cosine": AgglomerativeClustering(
            20, metric="cosine", linkage="average"
        ),
    }
    for name, method in wanted.items():
        assert adjusted_rand_score(method.fit_predict(X), found[name]) == pytest.approx(1)


@pytest.mark.parametrize("method", ["ward", "average"])
def test_trees_with_equal_distances_are_cut_to_the_number(method):
    codes = np.random.default_rng(0).choice([-1.0, 1.0], size=(60, 6))
    tree = scipy.cluster.hierarchy.linkage(codes, method)
    for number in (1, 2, 7, 60):
        found = _cut(tree, number)
        wanted = scipy.cluster.hierarchy.cut_tree(tree, [number])[:, 0]
        assert len(np.unique(found)) == number
        assert adjusted_rand_score(found, wanted) == 1


def test_the_same_seed_gives_the_same_value_in_any_axes(groups):
    vectors, data = groups
    first = evaluate_categorization(space_of(vectors), data)
    assert evaluate_categorization(space_of(vectors), data).value == first.value
    assert evaluate_categorization(space_of(rotated(vectors)), data).value == first.value


def test_missing_words(groups):
    vectors, data = groups
    more = Categories("more", [*data.words, "zzz"], [*data.labels, "c0"])
    skipped = evaluate_categorization(space_of(vectors), more)
    filled = evaluate_categorization(space_of(vectors), more, missing="mean")
    assert (skipped.n_covered, len(skipped.outcomes)) == (80, 80)
    assert (filled.n_covered, len(filled.outcomes)) == (80, 81)
    with pytest.raises(ValueError, match="missing='drop'"):
        evaluate_categorization(space_of(vectors), more, missing="drop")


def test_sets_that_cannot_be_clustered_are_skipped(groups):
    space = space_of(groups[0])
    for missing in ("skip", "mean"):
        unknown = Categories("unknown", ["x", "y", "z"], ["a", "b", "a"])
        result = evaluate_categorization(space, unknown, missing=missing)
        assert result.note == "unknown: only 0 of 3 items have all their words"
    assert evaluate_categorization(space, Categories("one", ["w1", "w2"], ["a", "a"])).skipped


@pytest.mark.real_data
def test_real_categories(sample, data_folder):
    data = read_categories(data_folder / "word_eval" / "categorization" / "bless.csv")
    result = evaluate_categorization(space_of(sample), data)
    assert 0 < result.n_covered < result.n_items == len(data)
    assert 0.3 < result.value < 1
