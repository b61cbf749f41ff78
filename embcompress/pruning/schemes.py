"""Schemes of single weights and of whole rows, columns and channels."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from embcompress.pruning.base import GroupScheme, check_sparsity

__all__ = ["Unstructured"]


@dataclass(frozen=True)
class Unstructured(GroupScheme):
    """Any weight may be zero.

    Parameters
    ----------
    sparsity : float
        Fraction removed, in [0, 1).
    """

    sparsity: float
    layout = "csr"

    def __post_init__(self) -> None:
        check_sparsity(self.sparsity)

    def _sums(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.reshape(-1)

    def group_norms(self, weight: torch.Tensor) -> torch.Tensor:
        """Absolute values, row by row, shape (n_weights,)."""
        return weight.reshape(-1).abs()

    def expand(self, values: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        """The values in the shape of the weight."""
        return values.reshape(shape)
