"""How good vectors are, and what compression costs: tasks with intervals on every figure.

The parts are loaded on first use.

Examples
--------
>>> import numpy as np
>>> from embcompress import CompressedVectors, KeyedVectors, Sign
>>> from embcompress.evaluation import SimilarityPairs, compare, evaluate_similarity, space_of
>>> words = [f"w{i}" for i in range(40)]
>>> kv = KeyedVectors(words, np.random.default_rng(0).normal(size=(40, 64)))
>>> pairs = list(zip(words[:20], words[20:], strict=True))
>>> gold = SimilarityPairs("made up", pairs, [kv.similarity(*pair) for pair in pairs])
>>> result = evaluate_similarity(space_of(kv), gold)
>>> result.value, result.n_covered
(1.0, 20)
>>> bits = evaluate_similarity(space_of(CompressedVectors.compress(kv, Sign())), gold)
>>> compare(bits, result).value < 0
True
"""

from __future__ import annotations

import importlib
from typing import Any

# name -> module that holds it
_LAZY = {
    "AnalogyQuestions": "data",
    "Categories": "data",
    "Difference": "results",
    "LabelledTexts": "data",
    "Mean": "results",
    "Neighbours": "retrieval",
    "Relation": "data",
    "RelationRatings": "data",
    "Result": "results",
    "SimilarityPairs": "data",
    "Space": "space",
    "WordCounts": "classification",
    "compare": "bootstrap",
    "count_words": "classification",
    "evaluate": "suite",
    "evaluate_analogy": "analogy",
    "evaluate_categorization": "categorization",
    "evaluate_classification": "classification",
    "evaluate_relations": "analogy",
    "evaluate_retrieval": "retrieval",
    "evaluate_similarity": "similarity",
    "list_datasets": "datasets",
    "load_dataset": "datasets",
    "load_embedding": "datasets",
    "mean_difference": "bootstrap",
    "mean_result": "bootstrap",
    "measure": "bootstrap",
    "neighbours": "retrieval",
    "run_benchmark": "suite",
    "skip": "bootstrap",
    "space_of": "space",
    "text_vectors": "classification",
    "tokenize": "classification",
    "word_matrix": "classification",
}

__all__ = [
    "AnalogyQuestions",
    "Categories",
    "Difference",
    "LabelledTexts",
    "Mean",
    "Neighbours",
    "Relation",
    "RelationRatings",
    "Result",
    "SimilarityPairs",
    "Space",
    "WordCounts",
    "compare",
    "count_words",
    "evaluate",
    "evaluate_analogy",
    "evaluate_categorization",
    "evaluate_classification",
    "evaluate_relations",
    "evaluate_retrieval",
    "evaluate_similarity",
    "list_datasets",
    "load_dataset",
    "load_embedding",
    "mean_difference",
    "mean_result",
    "measure",
    "neighbours",
    "run_benchmark",
    "skip",
    "space_of",
    "text_vectors",
    "tokenize",
    "word_matrix",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        value = getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
