"""Bytes of pruned weights: float32 values, and the index that says where they are.

The layouts are those of the papers, little-endian; what they are is told at each function.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["LAYOUTS", "stored_bytes"]

Mask = npt.NDArray[np.bool_]


def csr(mask: Mask) -> int:
    """Single weights: the column of each in two bytes, the start of each row in four."""
    return 2 * int(mask.sum()) + 4 * (len(mask) + 1)


def compact(mask: Mask) -> int:
    """Whole rows and columns: two bytes for each that is left."""
    matrix = mask.reshape(len(mask), -1)
    return 2 * int(matrix.any(axis=1).sum() + matrix.any(axis=0).sum())


def spm(mask: Mask) -> int:
    """Patterns of kernels (PCNN): a table of two bytes each, and a code of some bits per kernel.

    The first layout of PCNN, where all kernels keep the same number of weights. Matrices, whose
    vectors have other lengths, are not counted.
    """
    found = _patterns(mask)
    n_patterns = len(np.unique(found))
    bits = max(1, math.ceil(math.log2(n_patterns)))
    return 2 * n_patterns + math.ceil(bits * len(found) / 8)


def fkw(mask: Mask) -> int:
    """Patterns and kernels (PatDNN).

    The start of each filter in four bytes; two bytes for its number, for the channel of every
    kernel that is left, and for the number of kernels of each pattern in each filter.
    """
    if mask.ndim != 4:
        return csr(mask)
    found = _patterns(mask)
    left = found[found > 0]
    n_filters, n_patterns = len(mask), len(np.unique(left))
    return 4 * (n_filters + 1) + 2 * n_filters + 2 * len(left) + 2 * n_filters * (n_patterns + 1)


LAYOUTS: dict[str, Callable[[Mask], int]] = {
    "compact": compact, "csr": csr, "fkw": fkw, "spm": spm
}  # fmt: skip


def stored_bytes(masks: Mapping[str, Any], layout: str) -> dict[str, int]:
    """Count the bytes of all masked weights.

    Parameters
    ----------
    masks : mapping of str to Tensor
    layout : str
        A key of `LAYOUTS`, or empty.

    Returns
    -------
    dict
        ``weight_bytes`` and ``index_bytes``; empty if there is no layout.
    """
    if not layout:
        return {}
    arrays = [mask.numpy() for mask in masks.values() if mask.ndim > 1]
    return {
        "weight_bytes": 4 * sum(int(array.sum()) for array in arrays),
        "index_bytes": sum(LAYOUTS[layout](array) for array in arrays),
    }


def _patterns(mask: Mask) -> npt.NDArray[np.int64]:
    """Pattern of each kernel, bit i = place i."""
    places = mask.reshape(mask.shape[0] * mask.shape[1], -1)
    return places @ (1 << np.arange(places.shape[1]))
