"""Search in packed codes: exact with compiled loops of this package, approximate with FAISS.

The exact search (:mod:`embcompress.index.native`) takes any number of bits, ids, subsets, ranges
and real-valued queries; :mod:`embcompress.index.plain` is the same in NumPy. FAISS does the rest,
and files of indexes are files that it opens.
"""

from __future__ import annotations

from embcompress.index.hamming import HammingIndex
from embcompress.index.searching import RangeResult
from embcompress.index.tuning import Trial, Tuning

__all__ = ["HammingIndex", "RangeResult", "Trial", "Tuning"]
