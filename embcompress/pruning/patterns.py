"""Libraries of patterns: which weights of a kernel, or of a short vector, may stay.

A pattern is a whole number whose bit i is set if position i stays; positions of a kernel are
counted row by row. It fits into 16 bits, so a kernel or vector has at most 16 weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from math import comb

import numpy as np
import numpy.typing as npt
import torch

from embcompress.pruning.base import check_count, keep_top

__all__ = [
    "FIXED_PATTERNS",
    "NATURAL_PATTERNS",
    "best_pattern",
    "decode_masks",
    "distill_patterns",
    "encode_masks",
    "extract_library",
    "natural_patterns",
    "pattern_bits",
    "pattern_codes",
    "pattern_rank",
]

MAX_LENGTH = 16
# Above so many, only patterns that are the best of some vector are candidates.
_MAX_CANDIDATES = 256
_CENTRE = 4
_ROWS = 1 << 16


def _code(positions: Iterable[int]) -> int:
    return sum(1 << position for position in positions)


#: Four corners of 2 x 2, then the enhanced Laplacian of Gaussian without one arm each: the eight
#: patterns of PCONV (Ma et al., AAAI 2020) as found in the group's code. 4 of 9 weights stay.
FIXED_PATTERNS: tuple[int, ...] = tuple(
    _code(keep)
    for keep in (
        (4, 5, 7, 8),
        (3, 4, 6, 7),
        (1, 2, 4, 5),
        (0, 1, 3, 4),
        (1, 3, 4, 5),
        (3, 4, 5, 7),
        (1, 4, 5, 7),
        (1, 3, 4, 7),
    )
)

#: The centre of a 3 x 3 kernel and three of its eight neighbours: C(8, 3) = 56.
NATURAL_PATTERNS: tuple[int, ...] = tuple(
    _code((_CENTRE, *others)) for others in combinations([i for i in range(9) if i != _CENTRE], 3)
)


def pattern_bits(library: Sequence[int], length: int = 9) -> torch.Tensor:
    """Patterns as rows of a table.

    Parameters
    ----------
    library : sequence of int
        Patterns.
    length : int, default 9
        Weights per kernel or vector, at most 16.

    Returns
    -------
    torch.Tensor of shape (n_patterns, length)
        bool, True = stays.

    Examples
    --------
    >>> from embcompress.pruning.patterns import pattern_bits
    >>> pattern_bits([0b011, 0b110], length=3).int().tolist()
    [[1, 1, 0], [0, 1, 1]]
    """
    check_library(library, length)
    codes = torch.tensor(list(library), dtype=torch.int64)
    return (codes[:, None] >> torch.arange(length) & 1).bool()


def pattern_codes(bits: torch.Tensor) -> torch.Tensor:
    """Patterns as numbers: the inverse of `pattern_bits`.

    Parameters
    ----------
    bits : torch.Tensor of shape (..., length)
        bool, True = stays.

    Returns
    -------
    torch.Tensor of shape (...)
        int64.
    """
    powers = 1 << torch.arange(bits.shape[-1], device=bits.device)
    return (bits.long() * powers).sum(-1)


def pattern_rank(pattern: int, length: int = 9) -> int:
    """Place of the set of zeros of a pattern among all sets of that size, counted from 1.

    Sets are in lexicographic order; the numbers in the published lists of patterns are these.

    >>> [pattern_rank(p) for p in FIXED_PATTERNS]
    [3, 12, 65, 120, 55, 14, 44, 53]
    """
    check_library([pattern], length)
    zeros = [i for i in range(length) if not pattern >> i & 1]
    rank, start = 1, 0
    for taken, zero in enumerate(zeros, 1):
        rank += sum(comb(length - 1 - i, len(zeros) - taken) for i in range(start, zero))
        start = zero + 1
    return rank


def check_library(library: Sequence[int], length: int) -> None:
    """Raise unless all are patterns of that length that keep the same number of weights."""
    check_count(length, "length")
    if length > MAX_LENGTH:
        raise ValueError(f"length={length}: a pattern has 16 bits, for at most 16 weights")
    if not len(library):
        raise ValueError("the library holds no pattern")
    for pattern in library:
        check_count(pattern, "pattern")
        if pattern >> length:
            raise ValueError(f"pattern {pattern:#x} has bits beyond its {length} weights")
    if len(set(library)) < len(library):
        raise ValueError("the library holds a pattern twice")
    counts = {int(pattern).bit_count() for pattern in library}
    if len(counts) > 1:
        raise ValueError(f"patterns keep {sorted(counts)} weights; all must keep the same number")


def natural_patterns(kernels: torch.Tensor) -> torch.Tensor:
    """The centre and the three largest neighbours of each kernel (PatDNN, ASPLOS 2020).

    Parameters
    ----------
    kernels : torch.Tensor of shape (..., 3, 3)
        Weights.

    Returns
    -------
    torch.Tensor of shape (...)
        int64, one pattern of `NATURAL_PATTERNS` per kernel; equal neighbours by position.
    """
    if kernels.shape[-2:] != (3, 3):
        raise ValueError(f"natural patterns are those of 3x3 kernels, not {tuple(kernels.shape)}")
    size = kernels.detach().abs().flatten(-2)
    size[..., _CENTRE] = torch.inf
    return pattern_codes(keep_top(size, 4))


def extract_library(
    kernels: torch.Tensor | Iterable[torch.Tensor], size: int = 8
) -> tuple[int, ...]:
    """The natural patterns that occur most often in trained kernels.

    Parameters
    ----------
    kernels : torch.Tensor of shape (..., 3, 3), or an iterable of them
        Weights of one or more layers. Kernels of zeros are not counted.
    size : int, default 8
        How many patterns; the papers use 4, 6, 8 and 12.

    Returns
    -------
    tuple of int
        Most frequent first, the lower number first among equals; fewer than ``size`` if no more
        occur.

    Raises
    ------
    ValueError
        If no kernel has a weight, or the shapes do not fit.
    """
    check_count(size, "size")
    layers = [kernels] if isinstance(kernels, torch.Tensor) else list(kernels)
    found = [natural_patterns(k)[k.detach().abs().amax((-2, -1)) > 0].reshape(-1) for k in layers]
    if not sum(codes.numel() for codes in found):
        raise ValueError("no kernel has a weight that is not zero: there are no patterns to count")
    patterns, counts = torch.cat(found).cpu().unique(return_counts=True)
    order = counts.argsort(descending=True, stable=True)[:size]
    return tuple(patterns[order].tolist())


def best_pattern(squares: torch.Tensor, bits: torch.Tensor) -> torch.Tensor:
    """The pattern that keeps most of each vector: argmax over p of ``|v * p|``.

    Parameters
    ----------
    squares : torch.Tensor of shape (n_vectors, length)
        Squared weights or scores.
    bits : torch.Tensor of shape (n_patterns, length)
        bool.

    Returns
    -------
    torch.Tensor of shape (n_vectors,)
        int64, row of ``bits``; the first among equals.
    """
    table = bits.to(squares).T
    return torch.cat([(rows @ table).argmax(1) for rows in squares.split(_ROWS)])


def distill_patterns(
    vectors: torch.Tensor,
    n: int,
    n_patterns: int,
    *,
    candidates: Sequence[int] | None = None,
) -> tuple[int, ...]:
    """A few patterns with which the vectors keep as much as possible (PCNN, DAC 2020).

    Our specification, for the paper's text was not available: greedily maximize the sum over
    vectors of the largest ``|v * p|^2`` in the library, which is submodular; and take the
    patterns that are the best of most energy instead if these keep more. If the best patterns
    of all vectors are few enough, these are the answer, and nothing is lost by the limit.

    Parameters
    ----------
    vectors : torch.Tensor of shape (n_vectors, length)
        Weights or scores, one row per kernel or vector.
    n : int
        Weights that stay of each.
    n_patterns : int
        How many patterns at most.
    candidates : sequence of int, optional
        Choose from these. Default: all C(length, n), or, where these are more than 256, the 256
        that are the best of most vectors.

    Returns
    -------
    tuple of int
        Ascending.
    """
    check_count(n_patterns, "n_patterns")
    length = vectors.shape[-1]
    if not 1 <= n <= length <= MAX_LENGTH:
        raise ValueError(f"n={n} of length={length}: need 1 <= n <= length <= {MAX_LENGTH}")
    squares = vectors.detach().double().square()
    if candidates is None:
        best, counts = pattern_codes(keep_top(squares, n)).unique(return_counts=True)
        if len(best) <= n_patterns:
            return tuple(best.tolist())
        candidates = [_code(keep) for keep in combinations(range(length), n)]
        if len(candidates) > _MAX_CANDIDATES:
            order = counts.argsort(descending=True, stable=True)[:_MAX_CANDIDATES]
            candidates = list(best[order].tolist())
    bits = pattern_bits(candidates, length).to(squares.device)
    chosen = _choose(squares, bits, n_patterns)
    return tuple(sorted(int(candidates[i]) for i in chosen))


def _choose(squares: torch.Tensor, bits: torch.Tensor, n_patterns: int) -> list[int]:
    """Rows of ``bits``: those in use if few, else the better of two heuristics."""
    best = best_pattern(squares, bits)
    used = best.unique()
    if len(used) <= n_patterns:
        return used.tolist()
    # Single precision will do to compare sums over many vectors, in half the memory.
    energy = squares.float() @ bits.float().T
    value = energy.new_zeros(len(bits)).index_add(0, best, energy.gather(1, best[:, None])[:, 0])
    frequent = value.argsort(descending=True, stable=True)[:n_patterns].tolist()
    greedy: list[int] = []
    held = energy.new_zeros(len(energy), 1)
    for _ in range(n_patterns):
        gains = (energy - held).clamp_min_(0).sum(0)
        gains[greedy] = -1
        greedy.append(int(gains.argmax()))
        held = torch.maximum(held, energy[:, greedy[-1:]])
    kept = [float(energy[:, rows].amax(1).double().sum()) for rows in (greedy, frequent)]
    return greedy if kept[0] >= kept[1] else frequent


def encode_masks(masks: torch.Tensor, library: Sequence[int]) -> npt.NDArray[np.uint16]:
    """Which pattern of a library each mask is.

    Parameters
    ----------
    masks : torch.Tensor of shape (..., length)
        bool.
    library : sequence of int
        Patterns.

    Returns
    -------
    numpy.ndarray of shape (...)
        uint16, index into the library.

    Raises
    ------
    ValueError
        If a mask is none of the patterns.
    """
    check_library(library, masks.shape[-1])
    codes = pattern_codes(masks).cpu().numpy()
    order = np.argsort(library)
    table = np.asarray(library, np.int64)[order]
    place = np.minimum(np.searchsorted(table, codes), len(table) - 1)
    missing = table[place] != codes
    if missing.any():
        raise ValueError(
            f"{int(missing.sum())} of {codes.size} masks are no pattern of the library, "
            f"such as {int(codes[missing][0]):#x}"
        )
    return order[place].astype(np.uint16)


def decode_masks(
    index: npt.NDArray[np.integer], library: Sequence[int], length: int = 9
) -> torch.Tensor:
    """Masks from indices: the inverse of `encode_masks`, bool of shape (..., length)."""
    return pattern_bits(library, length)[torch.from_numpy(np.asarray(index, np.int64))]
