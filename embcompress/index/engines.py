"""Which code searches flat codes: compiled, or NumPy until that pays."""

from __future__ import annotations

import sys
from types import ModuleType

from embcompress.index import plain
from embcompress.index.storage import Storage

__all__ = ["ENGINES", "engine_for"]

#: Engines by name, and the kinds of indexes that they serve.
ENGINES = {
    "auto": ("flat", "ivf", "hnsw"),
    "native": ("flat",),
    "numpy": ("flat",),
    "faiss": ("flat", "ivf", "hnsw"),
}

# Bytes of codes times queries that NumPy gets through while the compiled search would be loaded
# in a new process, about 0.4 s. What was searched so far in this process counts.
_PATIENCE = 1 << 30
_done = 0


def engine_for(name: str, codes: Storage, n_queries: int) -> ModuleType:
    """Choose the module that searches.

    Parameters
    ----------
    name : {"auto", "native", "numpy"}
        ``"auto"`` takes NumPy as long as loading the compiled search would take longer than all
        searches of this process so far.
    codes : Storage
    n_queries : int

    Returns
    -------
    module
        With the functions ``nearest``, ``within`` and ``best``.
    """
    global _done
    loaded = "embcompress.index.native" in sys.modules
    if name == "auto" and not loaded:
        _done += codes.n * codes.width * n_queries
    if name == "numpy" or (name == "auto" and not loaded and _done < _PATIENCE):
        return plain
    from embcompress.index import native

    return native
