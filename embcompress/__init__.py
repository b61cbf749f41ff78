"""Embeddings, and the classifier heads on them, small and fast enough for any device."""

from __future__ import annotations

import importlib
from typing import Any

from embcompress._version import __version__

# name -> module that holds it; loaded on first use, so that `import embcompress` and the command
# line start at once
_LAZY = {
    "Bundle": "embcompress.bundle",
    "IIQ": "embcompress.quantizers",
    "ITQ": "embcompress.quantizers",
    "LSH": "embcompress.quantizers",
    "CompressedVectors": "embcompress.compressed",
    "FormatError": "embcompress.container",
    "HammingIndex": "embcompress.index",
    "KeyedVectors": "embcompress.vectors",
    "NLB": "embcompress.quantizers",
    "PCASign": "embcompress.quantizers",
    "Sign": "embcompress.quantizers",
    "TextVectors": "embcompress.texts",
    "load_vectors": "embcompress.formats",
    "open_store": "embcompress.stores",
    "save_vectors": "embcompress.formats",
}

# modules that are loaded on first use
_MODULES = {
    "augmentation",
    "evaluation",
    "explore",
    "heads",
    "pruning",
    "runtime",
    "scale",
    "stores",
}

__all__ = [
    "IIQ",
    "ITQ",
    "LSH",
    "NLB",
    "Bundle",
    "CompressedVectors",
    "FormatError",
    "HammingIndex",
    "KeyedVectors",
    "PCASign",
    "Sign",
    "TextVectors",
    "__version__",
    "augmentation",
    "evaluation",
    "explore",
    "heads",
    "load_vectors",
    "open_store",
    "pruning",
    "runtime",
    "save_vectors",
    "scale",
    "stores",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"embcompress.{name}")
    if name in _LAZY:
        value = getattr(importlib.import_module(_LAZY[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'embcompress' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
