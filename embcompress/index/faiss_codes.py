"""Codes in the binary indexes of FAISS: widths, threads, and the three kinds."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np
import numpy.typing as npt

from embcompress.codes import Codes
from embcompress.index.checks import count_of
from embcompress.index.files import write_index
from embcompress.index.ids import IdMap
from embcompress.index.threads import SharedLock
from embcompress.index.widths import KINDS

if TYPE_CHECKING:
    from embcompress.index.hamming import HammingIndex
    from embcompress.index.keys import Keys

__all__ = ["FaissCodes"]

_faiss: Any = faiss  # the type stubs of FAISS lack some of its names

_CHUNK_ROWS = 65_536
# k-means gains nothing visible from more codes per list, and FAISS turns them into floats
_TRAINING_CODES_PER_LIST = 64


def _padded(codes: Codes, width: int) -> Codes:
    """Codes with zero bytes behind them, `width` bytes per row, contiguous."""
    if codes.shape[1] == width:
        return np.ascontiguousarray(codes)
    wide = np.zeros((len(codes), width), dtype=np.uint8)
    wide[:, : codes.shape[1]] = codes
    return wide


def _max_threads() -> int:
    """Threads that FAISS is set to."""
    return int(_faiss.omp_get_max_threads())


def _on_threads(n_threads: int, call: Callable[..., Any], *arguments: Any) -> Any:
    """Call with FAISS set to a number of threads, and set it back."""
    before = _faiss.omp_get_max_threads()
    if n_threads == before:
        return call(*arguments)
    _faiss.omp_set_num_threads(n_threads)
    try:
        return call(*arguments)
    finally:
        _faiss.omp_set_num_threads(before)


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
    ivf.train(_padded(codes[sample], index.padded_bits // 8))
    index.n_lists = n_lists
    return ivf


def _build_hnsw(index: HammingIndex, codes: Codes) -> Any:
    graph = _faiss.IndexBinaryHNSW(index.padded_bits, index.n_neighbors)
    graph.hnsw.efConstruction = index.ef_construction
    if index.random_state is not None:
        graph.hnsw.rng = _faiss.RandomGenerator(index.random_state)
    return graph


def _append_flat(index: Any, codes: Codes, ids: Keys) -> None:
    """Write the codes straight into the memory of FAISS: no padded copy beside it."""
    start, width = index.ntotal, index.code_size
    index.xb.resize((start + len(codes)) * width)
    memory = _faiss.rev_swig_ptr(index.xb.data(), (start + len(codes)) * width)
    rows = memory.reshape(-1, width)[start:]
    rows[:, : codes.shape[1]] = codes
    rows[:, codes.shape[1] :] = 0
    index.ntotal = start + len(codes)


def _append_chunks(index: Any, codes: Codes, ids: Keys) -> None:
    for start in range(0, len(codes), _CHUNK_ROWS):
        index.add(_padded(codes[start : start + _CHUNK_ROWS], index.code_size))


def _append_with_ids(index: Any, codes: Codes, ids: Keys) -> None:
    for start in range(0, len(codes), _CHUNK_ROWS):
        part = slice(start, start + _CHUNK_ROWS)
        index.add_with_ids(_padded(codes[part], index.code_size), ids[part])


def _recall_ivf(index: HammingIndex, faiss_index: Any) -> None:
    """Take over what a loaded index was made with."""
    index.n_lists, index.n_probe = int(faiss_index.nlist), int(faiss_index.nprobe)


def _recall_hnsw(index: HammingIndex, faiss_index: Any) -> None:
    graph = faiss_index.hnsw
    index.n_neighbors = int(graph.nb_neighbors(1))
    index.ef_construction, index.ef_search = int(graph.efConstruction), int(graph.efSearch)


_BUILDERS: dict[str, Callable[[HammingIndex, Codes], Any]] = {
    "flat": _build_flat,
    "ivf": _build_ivf,
    "hnsw": _build_hnsw,
}
_APPENDERS: dict[str, Callable[[Any, Codes, Keys], None]] = {
    "flat": _append_flat,
    "ivf": _append_with_ids,
    "hnsw": _append_chunks,
}
_RECALL: dict[str, Callable[[HammingIndex, Any], None]] = {
    "flat": lambda index, faiss_index: None,
    "ivf": _recall_ivf,
    "hnsw": _recall_hnsw,
}


class FaissCodes:
    """The codes of an index in a binary index of FAISS.

    What FAISS calls a code is its row for ``"flat"`` and ``"hnsw"``, its id for ``"ivf"``.

    Parameters
    ----------
    owner : HammingIndex
        Whose parameters hold, also when they are changed later.
    index : FAISS index, optional
        One that was loaded. By default it is built when the first codes come.
    ids : ndarray of int64, optional
        Ids of its rows.
    """

    fixed = False

    def __init__(self, owner: HammingIndex, index: Any = None, ids: Keys | None = None) -> None:
        self.owner, self.index = owner, index
        self.ids = IdMap(0 if index is None else int(index.ntotal), ids)
        self._lock = SharedLock()
        if index is not None:
            _RECALL[owner.kind](owner, index)

    @property
    def n(self) -> int:
        """Number of codes."""
        return self.ids.n

    def add(
        self,
        codes: Codes,
        ids: npt.ArrayLike | None,
        scales: npt.NDArray[np.float32] | None,
        *,
        copy: bool = True,
    ) -> None:
        """Add codes, alone; the first ones may train the index."""
        if scales is not None:
            raise ValueError(f"scales serve search_asymmetric, which {self._what()} does not have")
        with self._lock.exclusive():
            id_map = self.ids.added(len(codes), ids)
            _on_threads(
                self.owner.n_threads or _max_threads(), self._append, codes, id_map.ids[self.n :]
            )
            order = id_map.order() if self.owner.kind == "flat" else None
            if order is not None:  # ties are broken by id, so rows lie in the order of ids
                rows = self._rows()[order]
                self.index.reset()
                _append_flat(self.index, rows, order)
                id_map = id_map.taken(order)
            self.ids = id_map

    def _append(self, codes: Codes, ids: Keys) -> None:
        if self.index is None:
            self.index = _BUILDERS[self.owner.kind](self.owner, codes)
        _APPENDERS[self.owner.kind](self.index, codes, ids)

    def remove(self, ids: npt.ArrayLike) -> int:
        """Remove codes, alone."""
        if self.owner.kind == "hnsw":
            raise ValueError(
                "a graph (kind='hnsw') cannot forget codes; build it anew without them"
            )
        with self._lock.exclusive():
            rows = self.ids.rows_to_remove(ids)
            labels = rows if self.owner.kind == "flat" else self.ids.of(rows)
            if len(rows):
                self.index.remove_ids(_faiss.IDSelectorBatch(labels))
                self.ids = self.ids.taken(np.delete(np.arange(self.n), rows))
        return len(rows)

    def parts(self) -> Iterator[Codes]:
        """All codes of a flat index."""
        if self.owner.kind != "flat":
            raise ValueError(f"{self._what()} does not give codes back")
        with self._lock.shared():
            yield self._rows()

    def _rows(self) -> Codes:
        memory = _faiss.rev_swig_ptr(self.index.xb.data(), self._n_rows() * self.index.code_size)
        return memory.reshape(self._n_rows(), -1).copy()

    def _n_rows(self) -> int:
        """Rows that FAISS has."""
        return int(self.index.ntotal)

    def nearest(
        self, queries: Codes, k: int, subset: npt.ArrayLike | None
    ) -> tuple[npt.NDArray[np.int32], Keys]:
        """Distances and ids of the `k` nearest codes, -1 where fewer were found."""
        queries = _padded(queries, self.owner.padded_bits // 8)
        useful = -(-len(queries) // KINDS[self.owner.kind])
        n_threads = min(self.owner.n_threads or _max_threads(), useful) or 1
        with self._lock.shared():
            options = self._options(subset)
            distances, labels = _on_threads(
                n_threads, lambda: self.index.search(queries, k, **options)
            )
            ids = labels if self.owner.kind == "ivf" else self.ids.of(labels)
        distances = np.where(ids < 0, np.int32(self.owner.n_bits + 1), distances)
        if self.owner.kind == "flat":  # FAISS keeps the order by itself; the tests hold it to that
            return distances, ids
        order = np.lexsort((ids, distances), axis=-1)
        return np.take_along_axis(distances, order, 1), np.take_along_axis(ids, order, 1)

    def within(
        self, queries: Codes, radius: int, subset: npt.ArrayLike | None
    ) -> tuple[Keys, npt.NDArray[np.int32], Keys]:
        """Ends of the results of each query, distances and ids of all codes within a radius."""
        if self.owner.kind == "hnsw" or subset is not None:
            what = "" if subset is None else " of a subset"
            raise ValueError(
                f"{self._what()} has no range_search{what}; use kind='flat', engine='auto'"
            )
        queries = _padded(queries, self.owner.padded_bits // 8)
        n_threads = self.owner.n_threads or _max_threads()
        with self._lock.shared():
            self._options(None)
            # FAISS finds what is nearer than its radius
            ends, distances, labels = _on_threads(
                n_threads, self.index.range_search, queries, radius + 1
            )
            ids = labels if self.owner.kind == "ivf" else self.ids.of(labels)
        ends, distances = ends.astype(np.int64), distances.astype(np.int32)
        order = np.lexsort((ids, distances, np.repeat(np.arange(len(queries)), np.diff(ends))))
        return ends, distances[order], ids[order]

    def best(
        self, queries: npt.NDArray[np.float64], k: int, subset: npt.ArrayLike | None
    ) -> tuple[npt.NDArray[np.float32], Keys]:
        """FAISS has no such search."""
        raise ValueError(
            f"{self._what()} has no search_asymmetric; use kind='flat', engine='auto' or 'native'"
        )

    def _options(self, subset: npt.ArrayLike | None) -> dict[str, Any]:
        """Hand the attributes that can be changed at any time to FAISS."""
        options: dict[str, Any] = {}
        if self.owner.kind == "ivf":
            self.index.nprobe = count_of("n_probe", self.owner.n_probe)
        elif self.owner.kind == "hnsw":
            options["efSearch"] = count_of("ef_search", self.owner.ef_search)
            self.index.hnsw.efSearch = options["efSearch"]
        if subset is None:
            return {}
        if self.owner.kind == "ivf":
            raise ValueError("lists (kind='ivf') cannot search a subset; use 'flat' or 'hnsw'")
        options["sel"] = _faiss.IDSelectorBatch(np.flatnonzero(self.ids.subset(subset)))
        made = {"flat": _faiss.SearchParameters, "hnsw": _faiss.SearchParametersHNSW}
        return {"params": made[self.owner.kind](**options)}

    def save(self, path: str | os.PathLike[str], padded_bits: int) -> None:
        """Write a file that FAISS opens too."""
        with self._lock.shared():
            self._options(None)
            write_index(
                path,
                self.index,
                n_bits=self.owner.n_bits,
                kind=self.owner.kind,
                sections={} if self.ids.array is None else {"ids": self.ids.array},
            )

    def _what(self) -> str:
        return f"FAISS (engine='faiss', kind={self.owner.kind!r})"
