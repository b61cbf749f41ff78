"""Schemes of convolution kernels and short vectors: patterns inside them, and whole ones."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from math import comb
from typing import ClassVar

import torch

from embcompress.pruning.base import (
    GroupScheme,
    Scheme,
    check_count,
    check_sparsity,
    checked_score,
    keep_top,
    kept_count,
    safe_sqrt,
)
from embcompress.pruning.patterns import (
    FIXED_PATTERNS,
    MAX_LENGTH,
    best_pattern,
    check_library,
    distill_patterns,
    pattern_bits,
)
from embcompress.pruning.schemes import check_kernels

__all__ = ["SPM", "Connectivity", "KernelPattern"]


@dataclass(frozen=True)
class KernelPattern(Scheme):
    """Each 3x3 kernel keeps the weights of one pattern of a library, the best one.

    Pattern pruning of PCONV, PatDNN and of Ma et al. (ECCV 2020). The projection is
    ``argmax_p |K * p|`` for each kernel.

    Parameters
    ----------
    library : tuple of int, default FIXED_PATTERNS
        Patterns that keep the same number of weights; see `embcompress.pruning.patterns` and
        `extract_library`.
    n_patterns : int, optional
        If fewer than the library has, each layer uses only so many, chosen from its weights by
        `distill_patterns`. With NATURAL_PATTERNS that is a library for each layer.

    Notes
    -----
    For penalties, there is one group per kernel: the weights outside its best pattern. There is
    no ``prox`` and no ``with_sparsity``; for higher rates add `Connectivity`.
    """

    library: tuple[int, ...] = FIXED_PATTERNS
    n_patterns: int | None = None
    layout = "fkw"
    kinds: ClassVar[tuple[str, ...]] = ("conv",)
    fixed_ratio: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "library", tuple(self.library))
        check_library(self.library, 9)
        if self.n_patterns is not None:
            check_count(self.n_patterns, "n_patterns")

    @property
    def n_kept(self) -> int:
        """Weights that each kernel keeps."""
        return int(self.library[0]).bit_count()

    @property
    def sparsity(self) -> float:
        """Fraction of the nine weights that are removed."""
        return 1 - self.n_kept / 9

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        check_kernels(self, shape, size=3)

    def chosen(self, weight: torch.Tensor) -> tuple[int, ...]:
        """The patterns that this weight may use: the library, or ``n_patterns`` of it."""
        if self.n_patterns is None or self.n_patterns >= len(self.library):
            return self.library
        vectors = weight.reshape(-1, 9)
        return distill_patterns(vectors, self.n_kept, self.n_patterns, candidates=self.library)

    def mask(self, score: torch.Tensor) -> torch.Tensor:
        """The best pattern of each kernel, bool of the same shape."""
        shape = checked_score(score)
        self._check_shape(shape)
        bits = pattern_bits(self.chosen(score)).to(score.device)
        return bits[best_pattern(score.double().square().reshape(-1, 9), bits)].reshape(shape)

    def group_norms(self, weight: torch.Tensor) -> torch.Tensor:
        """Norm of each kernel outside its best pattern, (O * I,), differentiable."""
        outside = weight.masked_fill(self.mask(weight.detach().abs()), 0)
        return safe_sqrt(outside.square().sum((2, 3)).reshape(-1))

    def group_sizes(self, shape: tuple[int, ...]) -> torch.Tensor:
        """Number of weights outside the pattern of each kernel, float32."""
        return torch.full((shape[0] * shape[1],), float(9 - self.n_kept))

    def expand(self, values: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        """One value per kernel, spread over the kernels."""
        return values.reshape(*shape[:2], 1, 1).expand(shape)


@dataclass(frozen=True)
class SPM(Scheme):
    """Each kernel or vector keeps exactly n weights, with few patterns (PCNN, DAC 2020).

    SPM is the paper's Sparsity Pattern Mask: one small pattern number per kernel is all the
    index there is. Where layers have no kernels, each row is cut into vectors of ``length``
    consecutive inputs.

    Parameters
    ----------
    n : int
        Weights that stay of each kernel or vector.
    n_patterns : int, optional
        How many patterns a layer may use. Default: all C(length, n); then `project` is exact.
        If fewer, they are chosen from the weights by `distill_patterns`, a heuristic, unless
        ``library`` gives them.
    length : int, default 9
        Weights of a kernel or vector, at most 16.
    library : tuple of int, optional
        Patterns to use. `distilled` fixes those that suit a weight.

    Notes
    -----
    For penalties, there is one group per kernel or vector: the weights that are not among its n
    largest, whatever the limit of patterns. There is no ``prox``.
    """

    n: int
    n_patterns: int | None = None
    length: int = 9
    library: tuple[int, ...] | None = None
    layout = "spm"
    fixed_ratio: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_count(self.n, "n")
        check_count(self.length, "length")
        if not self.n <= self.length <= MAX_LENGTH:
            raise ValueError(
                f"SPM keeps n={self.n} of length={self.length}: need n <= length <= {MAX_LENGTH}"
            )
        if self.n_patterns is not None:
            check_count(self.n_patterns, "n_patterns")
        if self.library is None:
            return
        object.__setattr__(self, "library", tuple(self.library))
        check_library(self.library, self.length)
        if int(self.library[0]).bit_count() != self.n:
            raise ValueError(
                f"the patterns keep {self.library[0].bit_count()} weights, not {self.n}"
            )

    @property
    def sparsity(self) -> float:
        """1 - n / length."""
        return 1 - self.n / self.length

    def with_sparsity(self, sparsity: float) -> SPM:
        """The largest sparsity with the same length that is not above the asked one.

        A library is dropped if n changes.
        """
        check_sparsity(sparsity)
        n = max(1, math.ceil(round(self.length * (1 - sparsity), 6)))
        return self if n == self.n else replace(self, n=n, library=None)

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        if len(shape) == 4:
            if shape[2] * shape[3] != self.length:
                raise ValueError(
                    f"SPM: kernels of {shape[2]}x{shape[3]} have {shape[2] * shape[3]} weights, "
                    f"not length={self.length}"
                )
        elif shape[1] % self.length:
            lengths = [k for k in range(2, MAX_LENGTH + 1) if shape[1] % k == 0]
            fits = f"length of {', '.join(map(str, lengths))}" if lengths else "NM, which pads"
            raise ValueError(
                f"SPM: {shape[1]} inputs are no multiple of length={self.length}; use {fits}"
            )

    def chosen(self, weight: torch.Tensor) -> tuple[int, ...] | None:
        """The patterns that this weight may use; None if any with n weights."""
        if self.library is not None:
            return self.library
        if self.n_patterns is None or self.n_patterns >= comb(self.length, self.n):
            return None
        return distill_patterns(weight.reshape(-1, self.length), self.n, self.n_patterns)

    def distilled(self, weight: torch.Tensor) -> SPM:
        """The same scheme with the patterns that suit this weight fixed as its library."""
        return replace(self, library=self.chosen(weight))

    def mask(self, score: torch.Tensor) -> torch.Tensor:
        """The n largest, or the best pattern, of each kernel or vector, bool of the same shape."""
        shape = checked_score(score)
        self._check_shape(shape)
        vectors = score.reshape(-1, self.length)
        library = self.chosen(score)
        if library is None:
            return keep_top(vectors, self.n).reshape(shape)
        bits = pattern_bits(library, self.length).to(score.device)
        return bits[best_pattern(vectors.double().square(), bits)].reshape(shape)

    def group_norms(self, weight: torch.Tensor) -> torch.Tensor:
        """Norm of each kernel or vector without its n largest, differentiable."""
        vectors = weight.reshape(-1, self.length)
        outside = vectors.masked_fill(keep_top(vectors.detach().abs(), self.n), 0)
        return safe_sqrt(outside.square().sum(1))

    def group_sizes(self, shape: tuple[int, ...]) -> torch.Tensor:
        """Number of weights of each kernel or vector beside the n largest, float32."""
        n_vectors = torch.Size(shape).numel() // self.length
        return torch.full((n_vectors,), float(self.length - self.n))

    def expand(self, values: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        """One value per kernel or vector, spread over it."""
        return values.repeat_interleave(self.length).reshape(shape)


@dataclass(frozen=True)
class Connectivity(GroupScheme):
    """Whole kernels: connections from an input channel to a filter (PCONV, PatDNN).

    Parameters
    ----------
    sparsity : float
        Fraction of the kernels removed, in [0, 1).
    balanced : bool, default True
        The same number in each filter, so that filters take the same time. Otherwise the
        smallest of the layer leave.
    """

    sparsity: float
    balanced: bool = True
    layout = "fkw"
    kinds: ClassVar[tuple[str, ...]] = ("conv",)

    def __post_init__(self) -> None:
        check_sparsity(self.sparsity)

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        check_kernels(self, shape)

    def _sums(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.sum((2, 3)).reshape(-1)

    def _keep(self, norms: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        if not self.balanced:
            return super()._keep(norms, shape)
        kept = keep_top(norms.reshape(shape[:2]), kept_count(shape[1], self.sparsity))
        return kept.reshape(-1)

    def expand(self, values: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        """One value per kernel, spread over the kernels."""
        return values.reshape(*shape[:2], 1, 1).expand(shape)
