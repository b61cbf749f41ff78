"""Dask arrays and data frames as arrays of rows with blocks of known sizes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from embcompress._optional import require
from embcompress.scale.sources import BLOCK_ROWS, Source, blocks, float_type, open_source

__all__ = ["SourcePart", "as_array", "parts_of", "pieces", "to_dask"]


def _dask() -> Any:
    return require("dask", extra="dask", feature="a Dask collection")


def to_dask(
    source: Any, *, column: str | list[str] | None = None, rows_per_block: int = 131_072
) -> Any:
    """Rows of a source as a Dask array, whose blocks the workers read.

    Parameters
    ----------
    source : path, array, Arrow table, or Source
        See :func:`open_source`. The number of rows has to be known, and all workers have to see
        files under the same path. Parquet is read by row groups, so blocks are best as large as
        these or a multiple.
    column : str or list of str, optional
        Column of lists, or columns of numbers, of a table.
    rows_per_block : int, default 131072
        A multiple of 2,048 keeps fits equal to the last bit to those in memory.

    Returns
    -------
    dask.array.Array of shape (n, n_features)

    Raises
    ------
    ValueError
        If the number of rows is not known.
    MissingExtraError
        If Dask is not installed.
    """
    array, delayed = require("dask.array", extra="dask", feature="to_dask"), _dask().delayed
    opened = open_source(source, column=column)
    if opened.n_rows is None:
        raise ValueError(
            f"{opened.name}: its number of rows is not known, which a Dask array needs; use a "
            "Parquet, Arrow or .npy file"
        )
    if isinstance(rows_per_block, bool) or rows_per_block < 1:
        raise ValueError(f"rows_per_block={rows_per_block!r} must be a whole number from 1 on")
    name = f"rows-{_dask().base.tokenize(opened.fingerprint())}"
    read = delayed(_read_block)
    # the name of a file goes with every task, so that any worker takes any; rows go once
    reader = opened
    if not opened.is_light:
        reader = delayed(opened, traverse=False, name=f"source-{name}")
    wholes, parts = [], []
    for first in range(0, opened.n_rows, rows_per_block):
        last = min(first + rows_per_block, opened.n_rows)
        part = read(reader, first, last, dask_key_name=f"{name}-{first}-{last}")
        shape = (last - first, opened.n_features)
        wholes.append(array.from_delayed(part, shape=shape, dtype=opened.dtype))
        lazy = SourcePart if opened.is_light else delayed(SourcePart)
        parts.append(lazy(reader, first, last))
    made = array.concatenate(wholes)
    # under its name, which changes with whatever is done to the array
    made.source_parts = (made.name, parts)
    return made


class SourcePart:
    """Rows of a source, read in pieces when they are worked on: a block that is not made whole.

    Parameters
    ----------
    source : Source
    first, last : int
        From row `first` to before row `last`.
    """

    def __init__(self, source: Source, first: int, last: int) -> None:
        self._source, self._first, self._last = source, first, last

    def pieces(self) -> Iterator[npt.NDArray[np.floating]]:
        """Checked rows, block by block."""
        missing = self._last - self._first
        for rows in blocks(self._source, self._first):
            yield rows[:missing]
            missing -= len(rows)
            if missing <= 0:
                return


def parts_of(array: Any) -> list[Any]:
    """Blocks of a Dask array for tasks: those of :func:`to_dask` as a `SourcePart`."""
    name, parts = getattr(array, "source_parts", (None, []))
    return parts if name == array.name else list(array.to_delayed()[:, 0])


def pieces(part: Any) -> Iterator[npt.NDArray[np.floating]]:
    """Checked rows of a block of a Dask array, in pieces that stay in the caches; at least one.

    Raises
    ------
    ValueError
        If a row holds NaN or infinity.
    """
    if hasattr(part, "pieces"):
        yield from part.pieces()
        return
    rows = np.asarray(part)
    for start in range(0, max(len(rows), 1), BLOCK_ROWS):
        piece = rows[start : start + BLOCK_ROWS]
        if not np.isfinite(piece.sum()) and not np.isfinite(piece).all():
            bad = start + int(np.flatnonzero(~np.isfinite(piece).all(axis=1))[0])
            raise ValueError(
                f"a partition of the Dask collection holds NaN or infinity in row {bad}"
            )
        yield piece


def _read_block(source: Source, first: int, last: int) -> npt.NDArray[np.floating]:
    """Rows from `first` to before `last`."""
    out = np.empty((last - first, source.n_features), dtype=source.dtype)
    done = 0
    for rows in source.chunks(first):
        taken = rows[: len(out) - done]
        out[done : done + len(taken)] = taken
        done += len(taken)
        if done == len(out):
            break
    return out


def as_array(
    collection: Any,
    column: str | list[str] | None,
    *,
    n_features: int | None = None,
    dtype: np.dtype | None = None,
) -> Any:
    """The rows of a collection, in blocks that hold all columns.

    Parameters
    ----------
    collection : dask.array.Array or dask.dataframe.DataFrame
    column : str or list of str, optional
        Column of lists, or columns of numbers, of a data frame.
    n_features : int, optional
        Number of columns, if it is known. Nothing is computed then, and sizes of blocks may
        stay unknown.
    dtype : data type, optional
        What to cast to. Default: float32, or float64 for double precision.

    Returns
    -------
    dask.array.Array

    Raises
    ------
    ValueError
        If it is not a matrix, or a column has to be named.
    TypeError
        If entries are not real numbers.
    """
    is_lazy = n_features is not None
    if hasattr(collection, "columns"):
        array = _of_frame(collection, column, n_features)
    elif column is not None:
        raise ValueError(f"a Dask array has no column {column!r}; that is for data frames")
    else:
        array = collection
    if getattr(array, "ndim", 0) != 2:
        shape = getattr(array, "shape", type(array).__name__)
        raise ValueError(f"the Dask collection has shape {shape}; a matrix (n, d) is needed")
    dtype = dtype or float_type(array.dtype, "the Dask collection")
    if array.dtype != dtype:
        array = array.astype(dtype)
    if array.numblocks[1] > 1:
        array = array.rechunk({1: -1})
    if not is_lazy and np.isnan(array.shape[0]):
        array = array.copy()
        array.compute_chunk_sizes()
    if array.shape[0] == 0 or array.shape[1] == 0:
        raise ValueError(f"the Dask collection has shape {array.shape}; there are no rows")
    return array


def _of_frame(frame: Any, column: str | list[str] | None, n_features: int | None) -> Any:
    columns = _columns(frame, column)
    if isinstance(columns, list):
        return frame[columns].to_dask_array()
    dask, array = _dask(), require("dask.array", extra="dask")
    parts = frame[columns].to_delayed()
    if n_features is None:
        n_features = int(dask.delayed(_width)(parts[0], columns).compute())
    stack = dask.delayed(_stack)
    wholes = [
        array.from_delayed(
            stack(part, columns, n_features), shape=(np.nan, n_features), dtype=np.float32
        )
        for part in parts
    ]
    return array.concatenate(wholes, allow_unknown_chunksizes=True)


def _columns(frame: Any, column: str | list[str] | None) -> str | list[str]:
    """The column of lists, or the columns of numbers."""
    names = list(frame.columns)
    asked = names if column is None else [column] if isinstance(column, str) else list(column)
    missing = [name for name in asked if name not in names]
    if missing:
        raise ValueError(f"no column {missing}; there are {', '.join(map(str, names))}")
    kinds = {name: str(frame.dtypes[name]) for name in asked}
    lists = [name for name, kind in kinds.items() if kind == "object" or kind.startswith("list")]
    if len(lists) == 1:
        return lists[0]
    if lists:
        raise ValueError(f"name one of the columns of lists: {', '.join(lists)}")
    numbers = [name for name, kind in kinds.items() if kind.lower().startswith(("float", "double"))]
    if not numbers or (column is not None and numbers != asked):
        found = ", ".join(f"{name}: {kind}" for name, kind in kinds.items())
        raise TypeError(f"no column holds floats or lists of floats; found {found}")
    return numbers


def _width(series: Any, column: str) -> int:
    if not len(series):
        raise ValueError(f"column {column!r}: the first partition is empty")
    return len(_vector(series.iloc[0], column, 0))


def _vector(value: Any, column: str, row: int) -> npt.NDArray:
    vector = np.asarray(value)
    if vector.ndim != 1 or vector.dtype.kind not in "fiu":
        raise TypeError(
            f"column {column!r} holds {type(value).__name__} in row {row} of a partition; lists "
            "of real numbers, without nulls, are needed"
        )
    return vector


def _stack(series: Any, column: str, n_features: int) -> npt.NDArray[np.float32]:
    """A partition of lists as a matrix."""
    out = np.empty((len(series), n_features), dtype=np.float32)
    for row, value in enumerate(series):
        vector = _vector(value, column, row)
        if len(vector) != n_features:
            raise ValueError(
                f"column {column!r} has {len(vector)} numbers in row {row} of a partition, "
                f"{n_features} are needed"
            )
        out[row] = vector
    return out
