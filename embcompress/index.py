"""Search in packed codes by Hamming distance, exact or approximate; indexes in files.

The engine is FAISS. What this module adds to its binary indexes: any number of bits (codes are
padded to a width that FAISS is fast at), a fixed order of results, checks, rescoring of a
shortlist, and files that know their number of bits, are written whole or not at all, are checked
when read, and that FAISS itself still opens.
"""

from __future__ import annotations

import errno
import json
import os
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from embcompress._version import __version__
from embcompress.codes import Codes, check_codes
from embcompress.container import FormatError, atomic_write
from embcompress.rescoring import Scorer, rescore

__all__ = ["HammingIndex"]

_faiss: Any = faiss  # the type stubs of FAISS lack some of its names

Distances = npt.NDArray[np.int32]
Indices = npt.NDArray[np.int64]

# Widths that have a distance kernel of their own in FAISS; others cost up to four times as much
# per distance. Beyond the last one the general kernel works in steps of 64 bits.
_FAST_BITS = (32, 64, 128, 160, 256, 512)
_CHUNK_ROWS = 65_536
# Queries per unit of parallel work in FAISS: more threads than units only wait for each other.
_QUERY_BLOCK = {"flat": 32, "ivf": 1, "hnsw": 1}
# k-means gains nothing visible from more codes per list, and FAISS turns them into floats
_TRAINING_CODES_PER_LIST = 64
_ENGINES = {"auto": "faiss", "faiss": "faiss"}

_FORMAT_VERSION = 1
_MAGIC = b"EMBCIDX\n"
# First four bytes of a FAISS binary index file
_KIND_OF_FOURCC = {b"IBxF": "flat", b"IBwF": "ivf", b"IBHf": "hnsw"}
_FAISS_HEADER_BYTES = 33  # up to the codes of a flat index


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
        self.kind = _choice("kind", kind, _QUERY_BLOCK)
        self.engine = _ENGINES[_choice("engine", engine, _ENGINES)]
        self.n_lists = None if n_lists is None else _count("n_lists", n_lists)
        self.n_probe = _count("n_probe", n_probe)
        self.n_neighbors = _count("n_neighbors", n_neighbors)
        self.ef_construction = _count("ef_construction", ef_construction)
        self.ef_search = _count("ef_search", ef_search)
        self.n_threads = None if n_threads is None else _count("n_threads", n_threads)
        self.random_state = _seed(random_state)
        self.padded_bits = _fast_width(self.n_bits)
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
        _on_threads(self.n_threads or _faiss.omp_get_max_threads(), self._append, array)

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
        distances, indices = self._find(_padded(array, self.padded_bits // 8), n_found)
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
        _write(path, self._index, n_bits=self.n_bits, kind=self.kind)

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
        found = _inspect(path)
        mapped = mmap and found.kind == "flat" and _map_flag() != 0
        index = _map(path) if mapped else _read(path, found)
        width = found.n_bits if found.n_bits is not None else int(index.d)
        if n_bits is not None and n_bits != width and (found.n_bits or n_bits > width):
            raise ValueError(f"{path}: holds codes of {width} bits, n_bits={n_bits} was asked for")
        self = cls(n_bits or width, kind=found.kind, n_threads=n_threads)
        self.padded_bits = int(index.d)
        self._index, self._n_codes, self._mapped = index, int(index.ntotal), mapped
        _RECALL[self.kind](self)
        return self

    def _append(self, codes: Codes) -> None:
        if self._index is None:
            self._index = _BUILDERS[self.kind](self, codes)
        _APPENDERS[self.kind](self._index, codes)
        self._n_codes = int(self._index.ntotal)

    def _find(self, padded: Codes, k: int) -> tuple[Distances, Indices]:
        """Search with checked queries: the place of the engine."""
        useful = -(-len(padded) // _QUERY_BLOCK[self.kind])
        n_threads = min(self.n_threads or _faiss.omp_get_max_threads(), useful) or 1
        if self.kind == "flat":  # FAISS keeps the order by itself; the tests hold it to that
            return _on_threads(n_threads, self._index.search, padded, k)
        self._set_effort()
        distances, indices = _on_threads(n_threads, self._index.search, padded, k)
        return _ordered(distances, indices, self.n_bits + 1)

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


def _fast_width(n_bits: int) -> int:
    """Smallest width, in bits, that FAISS is fast at and that holds `n_bits`."""
    return next((width for width in _FAST_BITS if width >= n_bits), -(-n_bits // 64) * 64)


def _padded(codes: Codes, width: int) -> Codes:
    """Codes with zero bytes behind them, `width` bytes per row, contiguous."""
    if codes.shape[1] == width:
        return np.ascontiguousarray(codes)
    wide = np.zeros((len(codes), width), dtype=np.uint8)
    wide[:, : codes.shape[1]] = codes
    return wide


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


def _ordered(
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
    ivf.train(_padded(codes[sample], index.padded_bits // 8))
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
        index.add(_padded(codes[start : start + _CHUNK_ROWS], index.code_size))


def _recall_ivf(index: HammingIndex) -> None:
    """Take over what a loaded index was made with."""
    index.n_lists, index.n_probe = int(index._index.nlist), int(index._index.nprobe)


def _recall_hnsw(index: HammingIndex) -> None:
    graph = index._index.hnsw
    index.n_neighbors = int(graph.nb_neighbors(1))
    index.ef_construction, index.ef_search = int(graph.efConstruction), int(graph.efSearch)


_BUILDERS: dict[str, Callable[[HammingIndex, Codes], Any]] = {
    "flat": _build_flat,
    "ivf": _build_ivf,
    "hnsw": _build_hnsw,
}
_APPENDERS: dict[str, Callable[[Any, Codes], None]] = {
    "flat": _append_flat,
    "ivf": _append_chunks,
    "hnsw": _append_chunks,
}
_RECALL: dict[str, Callable[[HammingIndex], None]] = {
    "flat": lambda index: None,
    "ivf": _recall_ivf,
    "hnsw": _recall_hnsw,
}


@dataclass(frozen=True)
class _Found:
    """What a file says about itself; the last three are None in a file that FAISS wrote."""

    kind: str
    payload_bytes: int
    n_codes: int
    n_bits: int | None = None
    payload_crc32: int | None = None
    created_with: str | None = None


def _write(path: str | os.PathLike[str], index: Any, *, n_bits: int, kind: str) -> None:
    """Write FAISS's bytes and the footer."""
    size = checksum = 0
    with atomic_write(path) as file:

        def take(block: bytes) -> None:
            nonlocal size, checksum
            file.write(block)
            size, checksum = size + len(block), zlib.crc32(block, checksum)

        _faiss.write_index_binary(index, _faiss.PyCallbackIOWriter(take))
        found = _Found(
            kind, size, int(index.ntotal), n_bits, checksum, f"embcompress {__version__}"
        )
        entries = asdict(found) | {"format_version": _FORMAT_VERSION, "padded_bits": int(index.d)}
        text = json.dumps(entries, sort_keys=True, separators=(",", ":")).encode()
        file.write(text + b"".join(_uint32(n) for n in (len(text), zlib.crc32(text))) + _MAGIC)


def _uint32(number: int) -> bytes:
    return number.to_bytes(4, "little")


def _inspect(path: Path) -> _Found:
    """Read the first and the last bytes of a file, and check that nothing is missing between.

    FAISS may crash on a mapped file that is shorter than its header says, so this comes first.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder, not a file", str(path))
    with path.open("rb") as file:
        head = file.read(_FAISS_HEADER_BYTES)
        n_bytes = file.seek(0, os.SEEK_END)
        kind = _kind(path, head)
        if len(head) < _FAISS_HEADER_BYTES:
            raise _truncated(path, n_bytes, f"at least {_FAISS_HEADER_BYTES}")
        width, code_size = (int.from_bytes(head[i : i + 4], "little") for i in (4, 8))
        n_codes = int.from_bytes(head[12:20], "little")
        if width < 1 or width != 8 * code_size:
            raise FormatError(
                f"{path}: damaged header: codes of {width} bits in {code_size} bytes each"
            )
        file.seek(max(0, n_bytes - 16))
        tail = file.read()
        if len(tail) < 16 or tail[8:] != _MAGIC:
            found = _Found(kind, n_bytes, n_codes)
        else:
            n_text, checksum = (int.from_bytes(tail[i : i + 4], "little") for i in (0, 4))
            if n_text > n_bytes - 16 - _FAISS_HEADER_BYTES:
                raise FormatError(f"{path}: damaged footer: {n_text} bytes in a file of {n_bytes}")
            file.seek(n_bytes - 16 - n_text)
            found = _parse_footer(path, file.read(n_text), checksum, width)
            if found.payload_bytes != n_bytes - 16 - n_text:
                raise _truncated(path, n_bytes, str(found.payload_bytes + n_text + 16))
    if (found.kind, found.n_codes) != (kind, n_codes):
        raise FormatError(
            f"{path}: damaged: the header says {n_codes} codes, {kind}; the footer says "
            f"{found.n_codes} codes, {found.kind}"
        )
    least = _FAISS_HEADER_BYTES + n_codes * code_size
    if found.payload_bytes < least or (kind == "flat" and found.payload_bytes != least):
        raise _truncated(path, found.payload_bytes, f"{'' if kind == 'flat' else 'over '}{least}")
    return found


def _kind(path: Path, head: bytes) -> str:
    fourcc = head[:4]
    if fourcc in _KIND_OF_FOURCC:
        return _KIND_OF_FOURCC[fourcc]
    name = fourcc.decode("latin-1")
    if fourcc[:2] == b"IB":
        raise FormatError(
            f"{path}: a FAISS binary index of a kind that is not read here ({name!r}); expected "
            f"flat, ivf or hnsw ({', '.join(repr(code.decode()) for code in _KIND_OF_FOURCC)})"
        )
    if fourcc[:1] == b"I" and name.isascii() and name.isalnum() and len(name) == 4:
        raise FormatError(
            f"{path}: a float FAISS index ({name!r}); expected a binary one "
            "(faiss.read_index opens this file)"
        )
    raise FormatError(f"{path}: not a FAISS binary index file (it starts with {fourcc!r})")


def _truncated(path: Path, found: int, expected: str) -> FormatError:
    return FormatError(
        f"{path}: {found} bytes found, {expected} expected; was the download or copy interrupted?"
    )


def _parse_footer(path: Path, text: bytes, checksum: int, width: int) -> _Found:
    try:
        if zlib.crc32(text) != checksum:
            raise ValueError("the checksum is another")
        entries = json.loads(text)
        version = entries.pop("format_version")
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise FormatError(
            f"{path}: damaged footer: {text[:40]!r} is not what was written"
        ) from error
    if version != _FORMAT_VERSION:
        raise FormatError(
            f"{path}: format version {version!r}, this embcompress {__version__} reads version "
            f"{_FORMAT_VERSION}; the file was written by "
            f"{entries.get('created_with', 'an unknown version')}: please upgrade"
        )
    try:
        padded_bits = entries.pop("padded_bits")
        found = _Found(**entries)
        numbers = (found.n_bits, found.n_codes, found.payload_bytes, found.payload_crc32)
        sound = all(type(number) is int and number >= 0 for number in numbers)
        sound = sound and padded_bits == width and 1 <= entries["n_bits"] <= width
    except (KeyError, TypeError):
        sound = False
    if not sound:
        raise FormatError(
            f"{path}: damaged footer: {text.decode(errors='replace')} in a file of "
            f"codes of {width} bits"
        )
    return found


def _map_flag() -> int:
    """FAISS's flag for mapping a flat index; 0 in versions that have none."""
    return getattr(faiss, "IO_FLAG_MMAP_IFC", 0)


def _map(path: Path) -> Any:
    try:
        return _faiss.read_index_binary(os.fspath(path), _map_flag())
    except (RuntimeError, MemoryError) as error:
        raise FormatError(f"{path}: FAISS cannot map this file: {_first_line(error)}") from error


def _read(path: Path, found: _Found) -> Any:
    """Read a file into memory, and compare what was read with its checksum."""
    checksum = 0
    with path.open("rb") as file:

        def give(n_bytes: int) -> bytes:
            nonlocal checksum
            block = file.read(min(n_bytes, found.payload_bytes - file.tell()))
            checksum = zlib.crc32(block, checksum)
            return block

        try:
            index = _faiss.read_index_binary(_faiss.PyCallbackIOReader(give))
        except (RuntimeError, MemoryError) as error:
            raise FormatError(
                f"{path}: FAISS cannot read this file: {_first_line(error)}"
            ) from error
        n_read = file.tell()
    if n_read != found.payload_bytes:
        raise _truncated(path, found.payload_bytes, str(n_read))
    if found.payload_crc32 is not None and checksum != found.payload_crc32:
        raise FormatError(
            f"{path}: damaged: checksum {checksum:08x} found, {found.payload_crc32:08x} expected"
        )
    return index


def _first_line(error: BaseException) -> str:
    """What FAISS says, without its place in the source."""
    return str(error).partition("\n")[0].rpartition(": ")[2] or type(error).__name__
