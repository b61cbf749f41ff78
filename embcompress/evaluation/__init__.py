"""How good vectors are, and what compression costs: tasks with intervals on every figure.

The parts are loaded on first use.
"""

from __future__ import annotations

import importlib
from typing import Any

# name -> module that holds it
_LAZY = {
    "AnalogyQuestions": "data",
    "Categories": "data",
    "LabelledTexts": "data",
    "Relation": "data",
    "RelationRatings": "data",
    "SimilarityPairs": "data",
}

__all__ = [
    "AnalogyQuestions",
    "Categories",
    "LabelledTexts",
    "Relation",
    "RelationRatings",
    "SimilarityPairs",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        value = getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
