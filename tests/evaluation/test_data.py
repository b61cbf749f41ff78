from __future__ import annotations

import numpy as np
import pytest

import embcompress.evaluation
from embcompress.evaluation import (
    AnalogyQuestions,
    Categories,
    LabelledTexts,
    Relation,
    RelationRatings,
    SimilarityPairs,
)


def test_every_public_name_is_there_and_sorted():
    names = embcompress.evaluation.__all__
    assert sorted(names, key=lambda name: (not name[0].isupper(), name)) == names
    assert set(names) == set(embcompress.evaluation._LAZY)
    for name in names:
        assert getattr(embcompress.evaluation, name).__doc__
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        embcompress.evaluation.nothing  # noqa: B018


def test_lengths():
    assert len(SimilarityPairs("s", [("a", "b")], [1])) == 1
    assert len(AnalogyQuestions("s", [("a", "b", "c", "d")], ["x"])) == 1
    assert len(Categories("s", ["a", "b"], ["x", "x"])) == 2
    assert len(LabelledTexts("s", ["a"], np.array([0]), ["x"])) == 1
    assert len(RelationRatings("s", [Relation("r", [("a", "b")], [("c", "d")], [1.0])])) == 1


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: SimilarityPairs("s", [("a", "b")], [1, 2]), ValueError, "1 pairs came with 2 sc"),
        (lambda: SimilarityPairs("s", [("a",)], [1]), ValueError, r"pairs\[0\] is \('a',\); 2 wo"),
        (lambda: SimilarityPairs("s", [("a", "b")], [np.nan]), ValueError, r"scores\[0\] is nan"),
        (lambda: SimilarityPairs("s", [("a", "b")], [[1]]), ValueError, r"shape \(1, 1\)"),
        (lambda: AnalogyQuestions("s", [("a", "b", "c")], ["x"]), ValueError, "4 words are needed"),
        (lambda: AnalogyQuestions("s", [], ["x"]), ValueError, "0 questions came with 1 sections"),
        (lambda: Relation("r", [], [("a", 1)], [1]), ValueError, r"pairs\[0\] is \('a', 1\)"),
        (lambda: RelationRatings("s", ["r"]), TypeError, r"relations\[0\] is 'r', no Relation"),
        (lambda: Categories("s", ["a"], []), ValueError, "1 words came with 0 labels"),
        (lambda: LabelledTexts("s", ["a"], [0.5], ["x"]), TypeError, "labels has dtype float64"),
        (lambda: LabelledTexts("s", ["a"], [1], ["x"]), ValueError, "they must be 0 to 0"),
        (
            lambda: LabelledTexts("s", ["a", "b"], [0, 0], ["x"], np.array([True, True])),
            ValueError,
            "is_test puts all 2 texts on one side",
        ),
        (
            lambda: LabelledTexts("s", ["a", "b"], [0, 0], ["x"], np.array([1, 0])),
            ValueError,
            r"booleans of shape \(2,\) are needed",
        ),
    ],
)
def test_messages(make, error, match):
    with pytest.raises(error, match=match):
        make()
