"""Weight pruning: scheme x solver x objective x data. Needs PyTorch."""

from embcompress._optional import require

require("torch", extra="torch", feature="embcompress.pruning")

from embcompress.pruning.base import KINDS, Scheme  # noqa: E402
from embcompress.pruning.schemes import Unstructured  # noqa: E402

__all__ = ["KINDS", "Scheme", "Unstructured"]
