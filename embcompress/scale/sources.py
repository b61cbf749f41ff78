"""Matrices that are too large for memory, read as chunks of rows from any row on."""

from __future__ import annotations

import os
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embcompress.container import FormatError
from embcompress.quantizers._rows import BLOCK_ROWS

__all__ = [
    "BLOCK_ROWS",
    "ArraySource",
    "ChunkSource",
    "NpySource",
    "Source",
    "TextSource",
    "blocks",
    "open_source",
]

Floats = npt.NDArray[np.floating]

# Rows that stand for a whole array where it is asked whether it is still the same
_WITNESSES = 64
_PARQUET, _ARROW = {".parquet", ".pq"}, {".arrow", ".feather", ".ipc"}


class Source(ABC):
    """Rows of real numbers, read in chunks.

    Attributes
    ----------
    name : str
        For messages.
    n_rows : int or None
        None where it is not known before the end.
    n_features : int
    dtype : data type
        float32 or float64: what chunks are cast to.
    rereadable : bool
        Whether the rows can be read more than once.
    is_light : bool
        Whether it is pickled as the name of a file instead of with the rows.
    """

    name: str
    n_rows: int | None
    n_features: int
    dtype: np.dtype
    rereadable = True
    is_light = False

    @abstractmethod
    def chunks(self, start: int = 0) -> Iterator[npt.NDArray]:
        """Matrices of any number of rows, from row `start` on."""

    @abstractmethod
    def fingerprint(self) -> dict[str, Any]:
        """What tells this source from another, as JSON values."""


class ArraySource(Source):
    """An array, a memory map, or anything with a shape, a data type and slices of rows.

    Parameters
    ----------
    array : array of shape (n_rows, n_features)
        Real numbers. Such as ``numpy.load(path, mmap_mode="r")`` or a data set of h5py or zarr.
    name : str, default "the array"
        For messages.

    Raises
    ------
    ValueError
        If it is not a matrix with rows and columns.
    TypeError
        If its entries are not real numbers.
    """

    def __init__(self, array: Any, name: str = "the array") -> None:
        if len(array.shape) != 2 or 0 in array.shape:
            raise ValueError(f"{name} has shape {tuple(array.shape)}; a matrix (n, d) is needed")
        self.name = name
        self.dtype = float_type(array.dtype, name)
        self.n_rows, self.n_features = (int(size) for size in array.shape)
        self._array = array

    def chunks(self, start: int = 0) -> Iterator[npt.NDArray]:
        """Slices of rows."""
        assert self.n_rows is not None
        for first in range(start, self.n_rows, BLOCK_ROWS):
            yield np.asarray(self._array[first : first + BLOCK_ROWS])

    def fingerprint(self) -> dict[str, Any]:
        """Shape, data type, and a checksum of some rows."""
        assert self.n_rows is not None
        checksum = 0
        for row in np.unique(np.linspace(0, self.n_rows - 1, _WITNESSES).astype(int)):
            witness = np.ascontiguousarray(self._array[int(row) : int(row) + 1])
            checksum = zlib.crc32(witness.data, checksum)
        return {
            "kind": "array",
            "shape": [self.n_rows, self.n_features],
            "dtype": str(self._array.dtype),
            "crc32": checksum,
        }


class NpySource(ArraySource):
    """A ``.npy`` matrix, memory-mapped.

    Parameters
    ----------
    path : path-like
    """

    is_light = True

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise FormatError(f"{path}: a damaged or unsafe .npy file ({error})") from error
        super().__init__(array, self._path.name)

    def __reduce__(self) -> tuple[type, tuple[Path]]:
        return type(self), (self._path,)


class ChunkSource(Source):
    """Chunks of rows, from a list, a function that starts anew, or an iterator that comes once.

    Parameters
    ----------
    chunks : iterable, or callable that returns one
        Matrices of equal width. Iterables that are not iterators, and callables, can be read
        again; iterators and generators cannot.
    n_rows : int, optional
        Number of rows, where it is known.
    name : str, default "the chunks"
        For messages.

    Raises
    ------
    ValueError
        If there is no chunk, or the first is not a matrix.
    """

    def __init__(
        self,
        chunks: Iterable[Any] | Callable[[], Iterable[Any]],
        *,
        n_rows: int | None = None,
        name: str = "the chunks",
    ) -> None:
        self.name, self.n_rows = name, n_rows
        self._restart: Callable[[], Iterable[Any]] | None = None
        if callable(chunks):
            self._restart = chunks
        elif iter(chunks) is not chunks:
            self._restart = lambda: chunks
        self.rereadable = self._restart is not None
        waiting = iter(self._restart() if self._restart else chunks)  # type: ignore[arg-type]
        first = next(waiting, None)
        if first is None:
            raise ValueError(f"{name}: there is no chunk of rows")
        first = np.asarray(first)
        if first.ndim != 2 or 0 in first.shape[1:]:
            raise ValueError(f"{name}: chunk 0 has shape {first.shape}; (m, d) is needed")
        self.dtype, self.n_features = float_type(first.dtype, name), first.shape[1]
        self._once = None if self._restart else chain([first], waiting)

    def chunks(self, start: int = 0) -> Iterator[npt.NDArray]:
        """The chunks; those before row `start` are read and dropped."""
        if self._restart is not None:
            chunks: Iterable[Any] = self._restart()
        elif self._once is not None:
            chunks, self._once = self._once, None
        else:
            raise ValueError(
                f"{self.name} came from an iterator, which is used up after one pass; give a "
                "list, an array, or a function that returns a new iterator"
            )
        for number, chunk in enumerate(chunks):
            rows = np.asarray(chunk)
            if rows.ndim != 2 or rows.shape[1] != self.n_features:
                raise ValueError(
                    f"{self.name}: chunk {number} has shape {rows.shape}, those before it "
                    f"(m, {self.n_features}); all chunks need the same number of columns"
                )
            skipped = min(start, len(rows))
            start -= skipped
            yield rows[skipped:]

    def fingerprint(self) -> dict[str, Any]:
        """Width, data type and a checksum of the first chunk."""
        if not self.rereadable:
            raise ValueError(f"{self.name} came from an iterator, which cannot be looked at twice")
        first = np.ascontiguousarray(next(self.chunks()))
        return {
            "kind": "chunks",
            "n_features": self.n_features,
            "dtype": str(first.dtype),
            "crc32": zlib.crc32(first.data),
        }


class TextSource(ChunkSource):
    """A file of words and vectors in one of the formats of :func:`embcompress.load_vectors`.

    Parameters
    ----------
    path : path-like
    **options
        As for :func:`embcompress.formats.open_vectors`.
    """

    def __init__(self, path: str | os.PathLike[str], **options: Any) -> None:
        def read() -> Iterator[npt.NDArray]:
            from embcompress.formats import open_vectors

            with open_vectors(path, **options) as reader:
                for chunk in reader.chunks():
                    yield chunk.vectors

        self._path = Path(path)
        super().__init__(read, name=self._path.name)

    def fingerprint(self) -> dict[str, Any]:
        """Size of the file, and a checksum of the first rows."""
        return {**super().fingerprint(), "kind": "text", "bytes": self._path.stat().st_size}


def open_source(thing: Any, *, column: str | list[str] | None = None) -> Source:
    """Open whatever holds rows.

    Parameters
    ----------
    thing : path, array, Arrow table, iterable of matrices, or Source
        A path names a Parquet file, a folder of them, an Arrow IPC (Feather) file, a ``.npy``
        matrix, or a file of words and vectors. An array has a shape, a data type and slices.
        Tables are those of pyarrow, polars, or anything that offers an Arrow stream. An iterable
        gives chunks of rows; an iterator gives them once. A list of paths are Parquet files.
    column : str or list of str, optional
        Column of lists, or columns of numbers, of a table. Needed where a table has several that
        could be meant.

    Returns
    -------
    Source

    Raises
    ------
    TypeError
        If it is none of these, or a column does not hold real numbers.
    ValueError
        If there are no rows, or a column has to be named.
    OSError
        If a file cannot be read.
    """
    if hasattr(thing, "chunks") and hasattr(thing, "fingerprint"):
        return thing
    if isinstance(thing, str | os.PathLike):
        return _open_path(Path(thing), column)
    if hasattr(thing, "__arrow_c_stream__"):
        from embcompress.scale.arrow import ArrowSource

        return ArrowSource(thing, column=column)
    if hasattr(thing, "shape") and hasattr(thing, "dtype") and hasattr(thing, "__getitem__"):
        return ArraySource(thing)
    if not callable(thing) and not hasattr(thing, "__iter__"):
        raise TypeError(
            f"cannot read rows from {type(thing).__name__}; a path, an array, an Arrow table, or "
            "an iterable of matrices is needed"
        )
    if isinstance(thing, list) and thing and isinstance(thing[0], str | os.PathLike):
        from embcompress.scale.arrow import ParquetSource

        return ParquetSource(thing, column=column)
    return ChunkSource(thing)


def _open_path(path: Path, column: str | list[str] | None) -> Source:
    if path.suffix in _PARQUET or path.is_dir():
        from embcompress.scale.arrow import ParquetSource

        return ParquetSource(path, column=column)
    if path.suffix in _ARROW:
        from embcompress.scale.arrow import ArrowFileSource

        return ArrowFileSource(path, column=column)
    if column is not None:
        raise ValueError(f"{path.name} is no table; column={column!r} is for Parquet and Arrow")
    if path.suffix == ".npy":
        return NpySource(path)
    return TextSource(path)


def float_type(dtype: npt.DTypeLike, name: str) -> np.dtype:
    """float32 or float64, whichever holds a data type of real numbers as models do."""
    dtype = np.dtype(dtype)
    if dtype.kind not in "fiu":
        raise TypeError(f"{name} holds {dtype}; real numbers are needed")
    return np.dtype(np.float64 if dtype == np.float64 else np.float32)


def blocks(source: Source, start: int = 0) -> Iterator[Floats]:
    """Checked rows in blocks of :data:`BLOCK_ROWS`, the last one shorter.

    Parameters
    ----------
    source : Source
    start : int, default 0
        Row of the source at which the first block begins, a multiple of :data:`BLOCK_ROWS`.

    Yields
    ------
    ndarray of shape (BLOCK_ROWS, n_features)
        In the data type of the source.

    Raises
    ------
    ValueError
        If a row holds NaN or infinity.
    """
    waiting: list[Floats] = []
    n_waiting, done = 0, start
    for chunk in source.chunks(start):
        rows = _finite(np.asarray(chunk).astype(source.dtype, copy=False), source, done)
        done += len(rows)
        while n_waiting + len(rows) >= BLOCK_ROWS:
            split = BLOCK_ROWS - n_waiting
            yield np.concatenate([*waiting, rows[:split]]) if waiting else rows[:split]
            waiting, n_waiting, rows = [], 0, rows[split:]
        if len(rows):
            waiting.append(rows)
            n_waiting += len(rows)
    if waiting:
        yield np.concatenate(waiting)


def _finite(rows: Floats, source: Source, first: int) -> Floats:
    with np.errstate(over="ignore", invalid="ignore"):
        total = rows.sum()  # cheaper than looking at every entry
    if not np.isfinite(total):
        bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        if len(bad):
            raise ValueError(f"{source.name}: row {first + bad[0]} holds NaN or infinity")
    return rows
