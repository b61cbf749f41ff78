"""Classifier heads on embeddings, sequences and feature maps; needs PyTorch."""

from __future__ import annotations

from embcompress._optional import require

require("torch", extra="torch", feature="embcompress.heads")

from embcompress.heads.conv import ConvHead  # noqa: E402 - after the check
from embcompress.heads.dense import LinearHead, MLPHead  # noqa: E402
from embcompress.heads.gru import GRUHead  # noqa: E402
from embcompress.heads.inputs import pad  # noqa: E402
from embcompress.heads.saving import load  # noqa: E402

__all__ = [
    "ConvHead",
    "GRUHead",
    "LinearHead",
    "MLPHead",
    "load",
    "pad",
]
