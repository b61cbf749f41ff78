"""The index of packed codes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embcompress.codes import Codes
from embcompress.index.checks import (
    checked_codes,
    checked_scales,
    choice_of,
    count_of,
    seed_of,
)
from embcompress.index.engines import ENGINES
from embcompress.index.files import inspect_file, map_rows, read_index, read_rows, read_sections
from embcompress.index.flat import FlatCodes
from embcompress.index.searching import Indices, Searches
from embcompress.index.storage import is_mapped
from embcompress.index.tuning import Tuning, tune
from embcompress.index.widths import KINDS, fast_width

__all__ = ["HammingIndex"]


class HammingIndex(Searches):
    """Codes, and the search for those nearest to a query.

    A flat index is searched by compiled loops that compare 64 codes at a time and several queries
    with each of them, on all cores; any number of bits costs the same per byte. Approximate
    indexes are those of FAISS.

    Parameters
    ----------
    n_bits : int
        Code length in bits.
    kind : {"flat", "ivf", "hnsw"}, default "flat"
        ``"flat"`` compares with every code and is exact; ``"ivf"`` compares with the codes of the
        nearest lists; ``"hnsw"`` walks a graph of neighbours.
    engine : {"auto", "native", "numpy", "faiss"}, default "auto"
        What searches: the compiled loops, NumPy, or FAISS, all with the same results. ``"auto"``
        is FAISS for ``"ivf"`` and ``"hnsw"``, and else the compiled loops, except for the first
        few searches of a process, which NumPy has done before the loops would be loaded.
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
        Threads of a search; by default as many as there are cores (for FAISS, as it is set to).
        No more are used than the work keeps busy; a single query uses several where there are
        many codes.
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

    Several threads may search while one adds or removes: a search sees the codes either before or
    after a change, never a part of it. With FAISS it waits until the change is done.

    Codes are kept in blocks of 64, byte by byte: the layout that the compiled loops read. A file
    that is memory-mapped, or codes that :meth:`over` was given, stay as they are and are laid into
    blocks a few at a time during each search; they may be larger than memory.

    Examples
    --------
    >>> import numpy as np
    >>> from embcompress.codes import pack_bits
    >>> codes = pack_bits(np.eye(300, dtype=bool))
    >>> index = HammingIndex(n_bits=300)
    >>> index.add(codes)
    >>> index
    HammingIndex(n_bits=300, kind='flat', engine='auto': 300 codes)
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
        self.n_bits = count_of("n_bits", n_bits)
        self.kind = choice_of("kind", kind, KINDS)
        self.engine = choice_of("engine", engine, ENGINES)
        if kind not in ENGINES[engine]:
            raise ValueError(f"engine={engine!r} searches kind='flat' only, kind={kind!r} came")
        if kind != "flat":
            self.engine = "faiss"
        self.n_lists = None if n_lists is None else count_of("n_lists", n_lists)
        self.n_probe = count_of("n_probe", n_probe)
        self.n_neighbors = count_of("n_neighbors", n_neighbors)
        self.ef_construction = count_of("ef_construction", ef_construction)
        self.ef_search = count_of("ef_search", ef_search)
        self.n_threads = None if n_threads is None else count_of("n_threads", n_threads)
        self.random_state = seed_of(random_state)
        self.padded_bits = fast_width(self.n_bits)
        self._codes: Any = (
            self._faiss_codes()
            if self.engine == "faiss"
            else FlatCodes(self.n_bits, self.engine, self.n_threads)
        )

    def _faiss_codes(self, index: Any = None, ids: Indices | None = None) -> Any:
        from embcompress.index.faiss_codes import FaissCodes

        return FaissCodes(self, index, ids)

    def __len__(self) -> int:
        return self._codes.n

    def __repr__(self) -> str:
        place = ", memory-mapped" if self._codes.fixed else ""
        return (
            f"HammingIndex(n_bits={self.n_bits}, kind={self.kind!r}, engine={self.engine!r}: "
            f"{len(self):,} codes{place})"
        )

    @property
    def ids(self) -> Indices:
        """Indices of all codes that searches return, shape (n,); ascending in a flat index."""
        return self._codes.ids.ids

    @property
    def codes(self) -> Codes:
        """All codes of a flat index in the order of :attr:`ids`; copied.

        Raises
        ------
        ValueError
            If the kind is another.
        """
        width = (self.n_bits + 7) // 8
        parts = [part[:, :width] for part in self._codes.parts()]
        return np.concatenate(parts) if parts else np.empty((0, width), np.uint8)

    def add(
        self,
        codes: npt.ArrayLike,
        ids: npt.ArrayLike | None = None,
        *,
        scales: npt.ArrayLike | None = None,
    ) -> None:
        """Add codes.

        The first call trains the lists of ``"ivf"``, so it should bring a fair sample.

        Parameters
        ----------
        codes : array-like of uint8, shape (n, ceil(n_bits / 8))
            Copied, unless they are a read-only memory map.
        ids : array-like of int, shape (n,), optional
            What searches return for the codes: whole numbers of at least 0, none of them in the
            index already. By default numbers that go on from the largest one: positions, as long
            as nothing else was given and nothing was removed.
        scales : array-like of floats, shape (n,), optional
            Positive factor of the score of each code in :meth:`search_asymmetric`, such as one by
            the length of what it stands for; all codes of an index have them, or none.

        Raises
        ------
        TypeError, ValueError
            If these are not codes of `n_bits` bits, ids or scales do not fit them, there are
            fewer codes than lists in the first call, or the index is memory-mapped.
        """
        array = checked_codes(codes, self.n_bits, "codes")
        self._check_growing()
        factors = None if scales is None else checked_scales(scales, len(array))
        if len(array):
            self._codes.add(array, ids, factors, copy=not is_mapped(array))

    def remove(self, ids: npt.ArrayLike) -> int:
        """Remove codes; those that stay keep their ids. The time grows with the size of the index.

        Parameters
        ----------
        ids : array-like of int

        Returns
        -------
        int
            How many were removed.

        Raises
        ------
        ValueError
            If an id is not there (then nothing is removed), the index is memory-mapped, or a graph.
        """
        self._check_growing()
        return int(self._codes.remove(ids))

    def tune(
        self,
        queries: npt.ArrayLike,
        exact: Searches,
        *,
        k: int = 10,
        recall: float = 0.95,
    ) -> Tuning:
        """Set `n_probe` or `ef_search` to the least that reaches a recall.

        Parameters
        ----------
        queries : array-like of uint8, shape (n_queries, ceil(n_bits / 8))
            Such as will be asked, and not the codes themselves; a few hundred.
        exact : HammingIndex
            A flat index over the same codes.
        k : int, default 10
        recall : float, default 0.95
            Share of the `k` nearest codes to be found, above 0 and at most 1. Counted by distance:
            of several codes at the same distance any counts.

        Returns
        -------
        Tuning
            What was chosen, and recall and time of all that was tried; prints as a table.

        Raises
        ------
        ValueError
            If this index is flat, `exact` holds another number of codes, or `recall` is out of
            its range.

        Warns
        -----
        UserWarning
            If the recall cannot be reached.
        """
        if self.kind == "flat":
            raise ValueError("a flat index is exact; tune one of kind='ivf' or 'hnsw'")
        if not 0 < recall <= 1:
            raise ValueError(f"recall={recall} must be above 0 and at most 1")
        if len(exact) != len(self):
            raise ValueError(f"exact holds {len(exact)} codes, this index {len(self)}")
        array = checked_codes(queries, self.n_bits, "queries")
        if not len(array):
            raise ValueError("queries is empty; a few hundred are needed")
        distances, _ = exact.search(array, min(count_of("k", k), len(self)))
        return tune(self, array, distances, recall)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index to a file, whole or not at all.

        The file is a FAISS binary index file, which ``faiss.read_index_binary`` opens (codes are
        padded to a width that FAISS is fast at), followed by ids and scales where there are some,
        and a footer, none of which FAISS reads: a JSON object with the number of bits, and with
        the sizes and the CRC-32 of what is before it; then its own length and CRC-32 (4 bytes
        each, little-endian), and 8 bytes that mark it.

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
        self._codes.save(path, self.padded_bits)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        mmap: bool = True,
        *,
        n_bits: int | None = None,
        engine: str = "auto",
        n_threads: int | None = None,
    ) -> HammingIndex:
        """Open a file that `save` wrote, or a binary index file of FAISS.

        Parameters
        ----------
        path : path-like
        mmap : bool, default True
            Map the codes of a flat index into memory instead of reading them: opening does not
            depend on the size then, several processes share the memory, the codes may be larger
            than it, and nothing can be added. The other kinds are always read. What is read is
            compared with its checksum.
        n_bits : int, optional
            Code length, for a file that FAISS wrote from padded codes. By default what the file
            says, which is the padded width if FAISS wrote it.
        engine, n_threads
            As for the class; FAISS reads a flat file into memory.

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
        width = found.n_bits if found.n_bits is not None else found.padded_bits
        if n_bits is not None and n_bits != width and (found.n_bits or n_bits > width):
            raise ValueError(f"{path}: holds codes of {width} bits, n_bits={n_bits} was asked for")
        self = cls(n_bits or width, kind=found.kind, engine=engine, n_threads=n_threads)
        self.padded_bits = found.padded_bits
        sections = read_sections(path, found)
        if self.engine == "faiss":
            self._codes = self._faiss_codes(read_index(path, found), sections.get("ids"))
        elif found.n_codes:
            rows = map_rows(path, found) if mmap else read_rows(path, found)
            self._codes = FlatCodes.over(
                rows, self.n_bits, self.engine, n_threads, fixed=mmap, sections=sections
            )
        return self

    @classmethod
    def over(
        cls,
        codes: Codes,
        n_bits: int,
        *,
        engine: str = "auto",
        n_threads: int | None = None,
    ) -> HammingIndex:
        """Search codes where they are, without a copy: in a memory map that is larger than memory.

        Parameters
        ----------
        codes : ndarray of uint8, shape (n, ceil(n_bits / 8))
            C-contiguous, such as a :class:`numpy.memmap`; must stay as they are.
        n_bits : int
        engine : {"auto", "native", "numpy"}, default "auto"
        n_threads : int, optional

        Returns
        -------
        HammingIndex
            Nothing can be added to it.

        Raises
        ------
        TypeError, ValueError
            If these are not codes of `n_bits` bits, or not contiguous.
        """
        self = cls(
            n_bits,
            engine=choice_of("engine", engine, ("auto", "native", "numpy")),
            n_threads=n_threads,
        )
        width = (self.n_bits + 7) // 8
        if not isinstance(codes, np.ndarray) or not codes.flags.c_contiguous:
            raise ValueError(
                f"codes must be a C-contiguous array of uint8 of shape (n, {width}); add copies any"
            )
        checked_codes(codes[:1], self.n_bits, "codes")
        self._codes = FlatCodes.over(codes, self.n_bits, engine, n_threads, fixed=True, sections={})
        return self

    def _check_growing(self) -> None:
        if self._codes.fixed:
            raise ValueError(
                "this index is memory-mapped and cannot be changed; open it with "
                "HammingIndex.load(path, mmap=False) to add or remove codes"
            )
