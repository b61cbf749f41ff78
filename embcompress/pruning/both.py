"""Two schemes at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from embcompress.pruning.base import Scheme

__all__ = ["Both"]


@dataclass(frozen=True)
class Both(Scheme):
    """Two schemes at once; write ``first & second``.

    Parameters
    ----------
    first : Scheme
        Applied to the weight.
    second : Scheme
        Applied to what the first leaves.
    """

    first: Scheme
    second: Scheme

    def mask(self, score: torch.Tensor) -> torch.Tensor:
        """What the second keeps of what the first keeps, bool of the same shape."""
        kept = self.first.mask(score)
        return kept & self.second.mask(score * kept)
