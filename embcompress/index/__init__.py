"""Search in packed codes by Hamming distance, exact or approximate.

The engine is FAISS. What this package adds to its binary indexes: any number of bits (codes are
padded to a width that FAISS is fast at), a fixed order of results, checks, rescoring of a
shortlist, and files that know their number of bits, are written whole or not at all, are checked
when read, and that FAISS itself still opens.
"""

from __future__ import annotations

from embcompress.index.hamming import HammingIndex

__all__ = ["HammingIndex"]
