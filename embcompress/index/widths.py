"""Kinds of indexes, and the widths of codes that FAISS is fast at."""

from __future__ import annotations

__all__ = ["KINDS", "fast_width"]

#: Kinds of indexes, and queries per unit of parallel work in FAISS: more threads than units only
#: wait for each other.
KINDS = {"flat": 32, "ivf": 1, "hnsw": 1}

# Widths that have a distance kernel of their own in FAISS; others cost up to four times as much
# per distance. Beyond the last one the general kernel works in steps of 64 bits.
_FAST_BITS = (32, 64, 128, 160, 256, 512)


def fast_width(n_bits: int) -> int:
    """Smallest width, in bits, that FAISS is fast at and that holds `n_bits`."""
    return next((width for width in _FAST_BITS if width >= n_bits), -(-n_bits // 64) * 64)
