"""The index of packed codes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embcompress.codes import Codes, check_codes
from embcompress.index.engine import (
    APPENDERS,
    BUILDERS,
    QUERY_BLOCK,
    RECALL,
    Distances,
    Indices,
    fast_width,
    max_threads,
    on_threads,
    ordered,
    padded,
)
from embcompress.index.files import inspect_file, map_flag, map_index, read_index, write_index
from embcompress.rescoring import Scorer, rescore

__all__ = ["HammingIndex"]

_ENGINES = {"auto": "faiss", "faiss": "faiss"}


class HammingIndex:
    """Codes, and the search for those nearest to a query by Hamming distance.

    Codes and queries are padded inside to a width that FAISS has a fast kernel for: 32, 64, 128,
    160, 256 or 512 bits, then multiples of 64. Equal padding leaves distances as they are; it
    costs memory (300 bits take 64 bytes instead of 38) and saves more than a third of the time.

    Parameters
    ----------
    n_bits : int
        Code length in bits.
    kind : {"flat", "ivf", "hnsw"}, default "flat"
        ``"flat"`` compares with every code and is exact; ``"ivf"`` compares with the codes of the
        nearest lists; ``"hnsw"`` walks a graph of neighbours.
    engine : {"auto", "faiss"}, default "auto"
        What does the work; ``"auto"`` takes the fastest engine that there is.
    n_lists : int, optional
        Number of lists of ``"ivf"``. By default about the square root of the number of codes in
        the first call of `add`, with at least 39 codes per list.
    n_probe : int, default 16
        Lists that a query visits. Also an attribute that can be set later.
    n_neighbors : int, default 32
        Links of a code in the graph of ``"hnsw"``.
    ef_construction : int, default 80
        Candidates kept while the graph of ``"hnsw"`` is built.
    ef_search : int, default 64
        Candidates kept while the graph is searched. Also an attribute that can be set later.
    n_threads : int, optional
        Threads of `add` and `search`; by default as many as FAISS is set to. No more are used
        than a batch of queries can keep busy.
    random_state : int, optional
        Seed of the list centres (``"ivf"``) and of the levels of the graph (``"hnsw"``). Without
        one, FAISS's fixed seeds hold. A graph is the same from run to run with ``n_threads=1``
        only.

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    Notes
    -----
    Results are ordered by distance, equal distances by index. For ``"flat"`` this decides also
    which codes are among the `k`: of those at the last distance, the ones with the smallest
    indices. ``"ivf"`` and ``"hnsw"`` order what they found.

    Examples
    --------
    >>> import numpy as np
    >>> from embcompress.codes import pack_bits
    >>> codes = pack_bits(np.eye(300, dtype=bool))
    >>> index = HammingIndex(n_bits=300)
    >>> index.add(codes)
    >>> index
    HammingIndex(n_bits=300, kind='flat': 300 codes, padded to 512 bits)
    >>> distances, indices = index.search(codes[7:9], k=3)
    >>> distances
    array([[0, 2, 2],
           [0, 2, 2]], dtype=int32)
    >>> indices
    array([[7, 0, 1],
           [8, 0, 1]])
    """

    def __init__(
        self,
        n_bits: int,
        *,
        kind: str = "flat",
        engine: str = "auto",
        n_lists: int | None = None,
        n_probe: int = 16,
        n_neighbors: int = 32,
        ef_construction: int = 80,
        ef_search: int = 64,
        n_threads: int | None = None,
        random_state: int | None = None,
    ) -> None:
        self.n_bits = _count("n_bits", n_bits)
        self.kind = _choice("kind", kind, QUERY_BLOCK)
        self.engine = _ENGINES[_choice("engine", engine, _ENGINES)]
        self.n_lists = None if n_lists is None else _count("n_lists", n_lists)
        self.n_probe = _count("n_probe", n_probe)
        self.n_neighbors = _count("n_neighbors", n_neighbors)
        self.ef_construction = _count("ef_construction", ef_construction)
        self.ef_search = _count("ef_search", ef_search)
        self.n_threads = None if n_threads is None else _count("n_threads", n_threads)
        self.random_state = _seed(random_state)
        self.padded_bits = fast_width(self.n_bits)
        self._index: Any = None  # built by the first add, which knows how many codes come
        self._n_codes = 0
        self._mapped = False

    def __len__(self) -> int:
        return self._n_codes

    def __repr__(self) -> str:
        place = ", memory-mapped" if self._mapped else ""
        return (
            f"HammingIndex(n_bits={self.n_bits}, kind={self.kind!r}: {len(self):,} codes, "
            f"padded to {self.padded_bits} bits{place})"
        )

    def add(self, codes: npt.ArrayLike) -> None:
        """Add codes behind those that are there; the index of a code is its position.

        The first call trains the lists of ``"ivf"``, so it should bring a fair sample.

        Parameters
        ----------
        codes : array-like of uint8, shape (n, ceil(n_bits / 8))

        Raises
        ------
        TypeError, ValueError
            If these are not codes of `n_bits` bits, if there are fewer codes than lists in the
            first call, or if the index is memory-mapped.
        """
        array = self._check(codes, "codes")
        if self._mapped:
            raise ValueError(
                "this index is memory-mapped and cannot grow; open it with "
                "HammingIndex.load(path, mmap=False) to add codes"
            )
        if not len(array):
            return
        on_threads(self.n_threads or max_threads(), self._append, array)

    def search(self, queries: npt.ArrayLike, k: int) -> tuple[Distances, Indices]:
        """Find the nearest codes of every query.

        Parameters
        ----------
        queries : array-like of uint8, shape (n_queries, ceil(n_bits / 8))
        k : int
            How many codes to find per query.

        Returns
        -------
        distances : ndarray of int32, shape (n_queries, k)
            Numbers of differing bits, ascending.
        indices : ndarray of int64, shape (n_queries, k)
            Positions of the codes; equal distances in ascending order. Where fewer than `k` codes
            were found, because there are no more or because an approximate index did not reach
            more, the index is -1 and the distance ``n_bits + 1``.

        Raises
        ------
        TypeError, ValueError
            If the queries are not codes of `n_bits` bits, `k` is smaller than 1, or the index is
            empty.
        """
        array = self._check(queries, "queries")
        k = _count("k", k)
        if not self._n_codes:
            raise ValueError("the index is empty; add codes before searching")
        n_found = min(k, self._n_codes)
        distances, indices = self._find(padded(array, self.padded_bits // 8), n_found)
        if n_found < k:
            missing = ((0, 0), (0, k - n_found))
            distances = np.pad(distances, missing, constant_values=self.n_bits + 1)
            indices = np.pad(indices, missing, constant_values=-1)
        return distances, indices

    def search_rescored(
        self,
        queries: npt.ArrayLike,
        k: int,
        scorer: Scorer,
        *,
        rescore_multiplier: int = 4,
    ) -> tuple[npt.NDArray[np.float32], Indices]:
        """Find a shortlist by Hamming distance, and take the best of it by a finer score.

        Parameters
        ----------
        queries : array-like of uint8, shape (n_queries, ceil(n_bits / 8))
        k : int
            How many codes to find per query.
        scorer : Scorer
            Made with the same queries, such as :class:`~embcompress.rescoring.FloatScorer` or
            :class:`~embcompress.rescoring.AsymmetricScorer`.
        rescore_multiplier : int, default 4
            Length of the shortlist, in units of `k`.

        Returns
        -------
        scores : ndarray of float32, shape (n_queries, k)
            Descending; -inf where fewer than `k` codes were found.
        indices : ndarray of int64, shape (n_queries, k)
            Positions of the codes, equal scores in ascending order; -1 where there are none.

        Raises
        ------
        TypeError, ValueError
            As :meth:`search`, and if the scorer was made with another number of queries.
        """
        multiplier = _count("rescore_multiplier", rescore_multiplier)
        k = _count("k", k)
        _, shortlist = self.search(queries, min(k * multiplier, max(k, len(self))))
        return rescore(shortlist, k, scorer)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index to a file, whole or not at all.

        The file is a FAISS binary index file, which ``faiss.read_index_binary`` opens, followed by
        a footer that FAISS does not read: a JSON object with the number of bits, and with the
        size and the CRC-32 of what is before it; then its own length and CRC-32 (4 bytes each,
        little-endian), and 8 bytes that mark it.

        Parameters
        ----------
        path : path-like

        Raises
        ------
        ValueError
            If the index is empty.
        OSError
            If the file cannot be written; nothing is left behind.
        """
        if not len(self):
            raise ValueError("the index is empty; add codes before saving")
        self._set_effort()
        write_index(path, self._index, n_bits=self.n_bits, kind=self.kind)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        mmap: bool = True,
        *,
        n_bits: int | None = None,
        n_threads: int | None = None,
    ) -> HammingIndex:
        """Open a file that `save` wrote, or a binary index file of FAISS.

        Parameters
        ----------
        path : path-like
        mmap : bool, default True
            Map the codes of a flat index into memory instead of reading them: opening does not
            depend on the size then, several processes share the memory, and nothing can be added.
            The other kinds are always read. What is read is compared with its checksum.
        n_bits : int, optional
            Code length, for a file that FAISS wrote from padded codes. By default what the file
            says, which is the padded width if FAISS wrote it.
        n_threads : int, optional
            As for the class.

        Returns
        -------
        HammingIndex

        Raises
        ------
        FormatError
            If the file is damaged, truncated, of a newer version, a float index, or of another
            kind of binary index.
        ValueError
            If `n_bits` contradicts the file.
        OSError
            If the file cannot be read.
        """
        path = Path(path)
        found = inspect_file(path)
        mapped = mmap and found.kind == "flat" and map_flag() != 0
        index = map_index(path) if mapped else read_index(path, found)
        width = found.n_bits if found.n_bits is not None else int(index.d)
        if n_bits is not None and n_bits != width and (found.n_bits or n_bits > width):
            raise ValueError(f"{path}: holds codes of {width} bits, n_bits={n_bits} was asked for")
        self = cls(n_bits or width, kind=found.kind, n_threads=n_threads)
        self.padded_bits = int(index.d)
        self._index, self._n_codes, self._mapped = index, int(index.ntotal), mapped
        RECALL[self.kind](self)
        return self

    def _append(self, codes: Codes) -> None:
        if self._index is None:
            self._index = BUILDERS[self.kind](self, codes)
        APPENDERS[self.kind](self._index, codes)
        self._n_codes = int(self._index.ntotal)

    def _find(self, queries: Codes, k: int) -> tuple[Distances, Indices]:
        """Search with checked queries: the place of the engine."""
        useful = -(-len(queries) // QUERY_BLOCK[self.kind])
        n_threads = min(self.n_threads or max_threads(), useful) or 1
        if self.kind == "flat":  # FAISS keeps the order by itself; the tests hold it to that
            return on_threads(n_threads, self._index.search, queries, k)
        self._set_effort()
        distances, indices = on_threads(n_threads, self._index.search, queries, k)
        return ordered(distances, indices, self.n_bits + 1)

    def _check(self, codes: npt.ArrayLike, name: str) -> Codes:
        array = check_codes(codes, self.n_bits, name=name)
        n_pad = -self.n_bits % 8
        if n_pad and _last_bytes(array) & ((1 << n_pad) - 1):
            raise ValueError(
                f"{name} has bits set behind bit {self.n_bits}; pad bits must be 0: is "
                f"n_bits={self.n_bits} right, and the first bit the most significant?"
            )
        return array

    def _set_effort(self) -> None:
        """Hand the attributes that can be changed at any time to FAISS."""
        if self.kind == "ivf":
            self._index.nprobe = _count("n_probe", self.n_probe)
        elif self.kind == "hnsw":
            self._index.hnsw.efSearch = _count("ef_search", self.ef_search)


def _count(name: str, value: Any) -> int:
    """Check a whole number of at least 1."""
    if type(value) is int and value >= 1:
        return value
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name}={value!r} must be a whole number of at least 1")
    return int(value)


def _seed(value: Any) -> int | None:
    """Check a seed: FAISS takes 31 bits."""
    if value is None:
        return None
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or not 0 <= value < 2**31:
        raise ValueError(f"random_state={value!r} must be None or a whole number from 0 to 2**31-1")
    return int(value)


def _choice(name: str, value: str, allowed: dict[str, Any]) -> str:
    if value not in allowed:
        raise ValueError(f"{name}={value!r} is not known; allowed: {', '.join(map(repr, allowed))}")
    return value


def _last_bytes(codes: Codes) -> int:
    """All last bytes, ORed."""
    if len(codes) == 1:  # after a scan every NumPy call is cold; this is the cheapest one
        return int(codes.item(-1))
    return int(np.bitwise_or.reduce(codes[:, -1]))
