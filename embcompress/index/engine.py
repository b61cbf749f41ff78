"""What FAISS does for an index: widths, threads, and building of the three kinds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np
import numpy.typing as npt

from embcompress.codes import Codes

if TYPE_CHECKING:
    from embcompress.index.hamming import HammingIndex

__all__ = [
    "APPENDERS",
    "BUILDERS",
    "QUERY_BLOCK",
    "RECALL",
    "Distances",
    "Indices",
    "fast_width",
    "max_threads",
    "on_threads",
    "ordered",
    "padded",
]

Distances = npt.NDArray[np.int32]
Indices = npt.NDArray[np.int64]

_faiss: Any = faiss  # the type stubs of FAISS lack some of its names

# Widths that have a distance kernel of their own in FAISS; others cost up to four times as much
# per distance. Beyond the last one the general kernel works in steps of 64 bits.
_FAST_BITS = (32, 64, 128, 160, 256, 512)
_CHUNK_ROWS = 65_536
# Queries per unit of parallel work in FAISS: more threads than units only wait for each other.
QUERY_BLOCK = {"flat": 32, "ivf": 1, "hnsw": 1}
# k-means gains nothing visible from more codes per list, and FAISS turns them into floats
_TRAINING_CODES_PER_LIST = 64


def fast_width(n_bits: int) -> int:
    """Smallest width, in bits, that FAISS is fast at and that holds `n_bits`."""
    return next((width for width in _FAST_BITS if width >= n_bits), -(-n_bits // 64) * 64)


def padded(codes: Codes, width: int) -> Codes:
    """Codes with zero bytes behind them, `width` bytes per row, contiguous."""
    if codes.shape[1] == width:
        return np.ascontiguousarray(codes)
    wide = np.zeros((len(codes), width), dtype=np.uint8)
    wide[:, : codes.shape[1]] = codes
    return wide


def max_threads() -> int:
    """Threads that FAISS is set to."""
    return int(_faiss.omp_get_max_threads())


def on_threads(n_threads: int, call: Callable[..., Any], *arguments: Any) -> Any:
    """Call with FAISS set to a number of threads, and set it back."""
    before = _faiss.omp_get_max_threads()
    if n_threads == before:
        return call(*arguments)
    _faiss.omp_set_num_threads(n_threads)
    try:
        return call(*arguments)
    finally:
        _faiss.omp_set_num_threads(before)


def ordered(
    distances: Distances, indices: Indices, distance_of_none: int
) -> tuple[Distances, Indices]:
    """Sort every row by (distance, index), entries that are no result last."""
    distances = np.where(indices < 0, np.int32(distance_of_none), distances)
    order = np.lexsort((indices, distances), axis=-1)
    return np.take_along_axis(distances, order, 1), np.take_along_axis(indices, order, 1)


def _build_flat(index: HammingIndex, codes: Codes) -> Any:
    return _faiss.IndexBinaryFlat(index.padded_bits)


def _build_ivf(index: HammingIndex, codes: Codes) -> Any:
    """Make the lists and train their centres on a sample of the first codes."""
    n_lists = index.n_lists
    if n_lists is None:
        n_lists = max(1, min(round(len(codes) ** 0.5), len(codes) // 39))
    elif n_lists > len(codes):
        raise ValueError(
            f"n_lists={n_lists} lists need at least as many codes in the first call of add, "
            f"{len(codes)} came; add more at once or leave n_lists out"
        )
    n_sample = min(len(codes), _TRAINING_CODES_PER_LIST * n_lists)
    generator = np.random.default_rng(index.random_state or 0)
    sample = np.sort(generator.choice(len(codes), n_sample, replace=False))
    centres = _faiss.IndexBinaryFlat(index.padded_bits)
    ivf = _faiss.IndexBinaryIVF(centres, index.padded_bits, n_lists)
    centres.this.disown()  # from here on it belongs to the index
    ivf.own_fields = True
    ivf.cp.min_points_per_centroid = 1  # no warning on the terminal; the default rule sees to it
    if index.random_state is not None:
        ivf.cp.seed = index.random_state
    ivf.train(padded(codes[sample], index.padded_bits // 8))
    index.n_lists = n_lists
    return ivf


def _build_hnsw(index: HammingIndex, codes: Codes) -> Any:
    graph = _faiss.IndexBinaryHNSW(index.padded_bits, index.n_neighbors)
    graph.hnsw.efConstruction = index.ef_construction
    if index.random_state is not None:
        graph.hnsw.rng = _faiss.RandomGenerator(index.random_state)
    return graph


def _append_flat(index: Any, codes: Codes) -> None:
    """Write the codes straight into the memory of FAISS: no padded copy beside it."""
    start, width = index.ntotal, index.code_size
    index.xb.resize((start + len(codes)) * width)
    memory = _faiss.rev_swig_ptr(index.xb.data(), (start + len(codes)) * width)
    rows = memory.reshape(-1, width)[start:]
    rows[:, : codes.shape[1]] = codes
    rows[:, codes.shape[1] :] = 0
    index.ntotal = start + len(codes)


def _append_chunks(index: Any, codes: Codes) -> None:
    for start in range(0, len(codes), _CHUNK_ROWS):
        index.add(padded(codes[start : start + _CHUNK_ROWS], index.code_size))


def _recall_ivf(index: HammingIndex) -> None:
    """Take over what a loaded index was made with."""
    index.n_lists, index.n_probe = int(index._index.nlist), int(index._index.nprobe)


def _recall_hnsw(index: HammingIndex) -> None:
    graph = index._index.hnsw
    index.n_neighbors = int(graph.nb_neighbors(1))
    index.ef_construction, index.ef_search = int(graph.efConstruction), int(graph.efSearch)


BUILDERS: dict[str, Callable[[HammingIndex, Codes], Any]] = {
    "flat": _build_flat,
    "ivf": _build_ivf,
    "hnsw": _build_hnsw,
}
APPENDERS: dict[str, Callable[[Any, Codes], None]] = {
    "flat": _append_flat,
    "ivf": _append_chunks,
    "hnsw": _append_chunks,
}
RECALL: dict[str, Callable[[HammingIndex], None]] = {
    "flat": lambda index: None,
    "ivf": _recall_ivf,
    "hnsw": _recall_hnsw,
}
