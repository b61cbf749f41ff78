"""From networks of PyTorch to layers as plain arrays, which the compiler takes; needs PyTorch."""

from __future__ import annotations

from embcompress._optional import require

require("torch", extra="torch", feature="embcompress.lowering")

from embcompress.lowering.network import lower  # noqa: E402 - after the check

__all__ = ["lower"]
