"""More training data in embedding space: one backbone pass per input, any number of views."""

from __future__ import annotations

from embcompress.augmentation.augmenter import EmbeddingAugmenter
from embcompress.augmentation.base import Operator
from embcompress.augmentation.linear import LowRank, ResidualRidge
from embcompress.augmentation.simple import Diagonal, DisplacementBank, Offset

__all__ = [
    "Diagonal",
    "DisplacementBank",
    "EmbeddingAugmenter",
    "LowRank",
    "Offset",
    "Operator",
    "ResidualRidge",
]
