"""Schemes of single weights and of whole rows, columns and channels."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from embcompress.pruning.base import (
    GroupScheme,
    as_matrix,
    check_count,
    check_sparsity,
    checked_score,
    keep_top,
)

__all__ = ["NM", "Channel", "Column", "Filter", "Row", "Unstructured"]


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

    def mask(self, score: torch.Tensor) -> torch.Tensor:
        """The largest scores, bool of the same shape."""
        shape = checked_score(score)
        return self._keep(score.reshape(-1), shape).reshape(shape)

    def _sums(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.reshape(-1)

    def group_norms(self, weight: torch.Tensor) -> torch.Tensor:
        """Absolute values, row by row, shape (n_weights,)."""
        return weight.reshape(-1).abs()

    def expand(self, values: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        """The values in the shape of the weight."""
        return values.reshape(shape)


@dataclass(frozen=True)
class NM(GroupScheme):
    """At most n of every m consecutive inputs stay.

    Inputs are the second axis: in convolutions, m channels at the same place of the kernel.
    If their number is no multiple of m, the r last of a row keep ``min(n, r)``. For penalties,
    each weight is its own group.

    Parameters
    ----------
    n : int
        How many stay, 1 to m.
    m : int
        Of how many.
    """

    n: int
    m: int
    layout = "csr"
    fixed_ratio: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_count(self.n, "n")
        check_count(self.m, "m")
        if self.n > self.m:
            raise ValueError(f"NM keeps n of m: n={self.n} is more than m={self.m}")

    @property
    def sparsity(self) -> float:
        """1 - n / m."""
        return 1 - self.n / self.m

    def with_sparsity(self, sparsity: float) -> NM:
        """The largest sparsity with the same m that is not above the asked one."""
        check_sparsity(sparsity)
        # Rounded first, for 10 * (1 - 0.9) is a little less than 1 and must not become 2.
        return replace(self, n=max(1, math.ceil(round(self.m * (1 - sparsity), 6))))

    def mask(self, score: torch.Tensor) -> torch.Tensor:
        """The n largest of each m, bool of the same shape."""
        checked_score(score)
        inputs = score.movedim(1, -1)
        whole = inputs.shape[-1] // self.m * self.m
        pieces = [torch.ones_like(inputs[..., whole:], dtype=torch.bool)]
        if whole < inputs.shape[-1]:
            rest = inputs[..., whole:]
            pieces = [keep_top(rest, min(self.n, rest.shape[-1]))]
        if whole:
            groups = inputs[..., :whole].unflatten(-1, (-1, self.m))
            pieces.insert(0, keep_top(groups, self.n).flatten(-2))
        return torch.cat(pieces, -1).movedim(-1, 1)

    def _sums(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.reshape(-1)

    def group_norms(self, weight: torch.Tensor) -> torch.Tensor:
        """Absolute values, row by row, shape (n_weights,)."""
        return weight.reshape(-1).abs()

    def expand(self, values: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        """The values in the shape of the weight."""
        return values.reshape(shape)


@dataclass(frozen=True)
class Filter(GroupScheme):
    """Whole rows of the matrix: hidden units of a dense layer, filters of a convolution.

    Not for recurrent layers: a hidden unit would have to leave all gates at once.

    Parameters
    ----------
    sparsity : float
        Fraction of the rows removed, in [0, 1).
    """

    sparsity: float
    layout = "compact"
    kinds: ClassVar[tuple[str, ...]] = ("linear", "conv")

    def __post_init__(self) -> None:
        check_sparsity(self.sparsity)

    def _sums(self, tensor: torch.Tensor) -> torch.Tensor:
        return as_matrix(tensor).sum(1)

    def expand(self, values: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        """One value per row, spread over the rows."""
        return values.reshape(-1, *[1] * (len(shape) - 1)).expand(shape)


Row = Filter


@dataclass(frozen=True)
class Column(GroupScheme):
    """Whole columns of the matrix: input features, or one place of a kernel in all filters.

    Not for recurrent matrices, whose inputs are the hidden units.

    Parameters
    ----------
    sparsity : float
        Fraction of the columns removed, in [0, 1).
    """

    sparsity: float
    layout = "compact"
    kinds: ClassVar[tuple[str, ...]] = ("linear", "conv", "gru_input", "lstm_input")

    def __post_init__(self) -> None:
        check_sparsity(self.sparsity)

    def _sums(self, tensor: torch.Tensor) -> torch.Tensor:
        return as_matrix(tensor).sum(0)

    def expand(self, values: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        """One value per column, spread over the columns."""
        return values.reshape(1, *shape[1:]).expand(shape)


@dataclass(frozen=True)
class Channel(GroupScheme):
    """Whole input channels of a convolution.

    Parameters
    ----------
    sparsity : float
        Fraction of the channels removed, in [0, 1).
    """

    sparsity: float
    layout = "compact"
    kinds: ClassVar[tuple[str, ...]] = ("conv",)

    def __post_init__(self) -> None:
        check_sparsity(self.sparsity)

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        check_kernels(self, shape)

    def _sums(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.sum((0, 2, 3))

    def expand(self, values: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        """One value per channel, spread over filters and kernels."""
        return values.reshape(1, -1, 1, 1).expand(shape)


def check_kernels(scheme: object, shape: tuple[int, ...], *, size: int | None = None) -> None:
    """Raise unless the weight has kernels, of ``size`` x ``size`` if that is given."""
    name = type(scheme).__name__
    if len(shape) != 4:
        raise ValueError(f"{name} needs weights (O, I, kh, kw) of a convolution, not {shape}")
    if size is not None and shape[2:] != (size, size):
        raise ValueError(
            f"{name} fits kernels of {size}x{size}, not {shape[2]}x{shape[3]}; "
            "use Connectivity, Block or Unstructured for that layer"
        )
