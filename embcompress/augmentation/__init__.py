"""More training data in embedding space: one backbone pass per input, any number of views.

Operators that are fitted on pairs of embeddings, of inputs and of their augmented views, follow
the idea of arXiv:2002.04776; they are independently specified.
"""

from __future__ import annotations

from embcompress.augmentation.augmenter import EmbeddingAugmenter
from embcompress.augmentation.base import Operator
from embcompress.augmentation.cache import EmbeddingCache, storage_report
from embcompress.augmentation.calibration import Calibrated
from embcompress.augmentation.conditioned import ParameterConditioned
from embcompress.augmentation.costs import compute_cost
from embcompress.augmentation.fitting import operator_report
from embcompress.augmentation.gains import GainRidge
from embcompress.augmentation.isda import ClassCovariance, isda_logits
from embcompress.augmentation.labels import to_weighted
from embcompress.augmentation.linear import LowRank, ResidualRidge
from embcompress.augmentation.mixing import (
    Delta,
    Extrapolate,
    Interpolate,
    Mixup,
    Smote,
)
from embcompress.augmentation.mlp import ResidualMLP
from embcompress.augmentation.operations import ChannelAffine, GaussianNoise, Operation
from embcompress.augmentation.policies import Compose, OneOf
from embcompress.augmentation.sampler import EmbeddingSampler
from embcompress.augmentation.simple import Diagonal, DisplacementBank, Offset
from embcompress.augmentation.spherical import Slerp, slerp
from embcompress.augmentation.streams import AugmentedBatches
from embcompress.augmentation.views import embed_inputs

__all__ = [
    "AugmentedBatches",
    "Calibrated",
    "ChannelAffine",
    "ClassCovariance",
    "Compose",
    "Delta",
    "Diagonal",
    "DisplacementBank",
    "EmbeddingAugmenter",
    "EmbeddingCache",
    "EmbeddingSampler",
    "Extrapolate",
    "GainRidge",
    "GaussianNoise",
    "Interpolate",
    "LowRank",
    "Mixup",
    "Offset",
    "OneOf",
    "Operation",
    "Operator",
    "ParameterConditioned",
    "ResidualMLP",
    "ResidualRidge",
    "Slerp",
    "Smote",
    "compute_cost",
    "embed_inputs",
    "isda_logits",
    "operator_report",
    "slerp",
    "storage_report",
    "to_weighted",
]
