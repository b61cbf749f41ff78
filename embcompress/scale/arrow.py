"""Parquet files and Arrow tables: columns of lists, or of numbers, as matrices without copies."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embcompress._optional import require
from embcompress.container import FormatError
from embcompress.scale.sources import BLOCK_ROWS, Source, float_type

__all__ = ["ArrowFileSource", "ArrowSource", "ParquetSource"]

# What a column chunk is read in: a row group may be larger than memory. Small reads stay in the
# caches, and are a fifth faster than those of megabytes.
_READ_BYTES = 1 << 17
_FOOTER_BYTES = 1 << 16


def _pyarrow(module: str = "pyarrow") -> Any:
    return require(module, extra="parquet", feature="reading Parquet and Arrow")


class _TableSource(Source):
    """Rows in columns of a table; a final class reads its record batches."""

    def _choose(self, schema: Any, column: str | list[str] | None) -> None:
        """Set the columns that hold the rows, and what follows from their types."""
        self._columns = _choose_columns(schema, column, self.name)
        first = schema.field(self._columns[0]).type
        self._is_list = _is_list(first)
        self.n_features = len(self._columns)
        value_type = first
        if self._is_list:
            storage = _storage(first)
            value_type = storage.value_type
            # only a list of fixed size knows its length before it is read
            self.n_features = getattr(storage, "list_size", 0)
        types = {value_type, *(schema.field(name).type for name in self._columns[1:])}
        numpy_types = [_float_of(kind, self._columns, self.name) for kind in types]
        self.dtype = float_type(np.result_type(*numpy_types), self.name)

    def _find_width(self, batches: Iterator[Any]) -> None:
        """Take the width of lists without a fixed one from the first row."""
        if self.n_features:
            return
        first = next((batch for batch in batches if len(batch)), None)
        if first is None:
            raise ValueError(f"{self.name}: there are no rows")
        self.n_features = len(_flat(first.column(self._columns[0])).slice(0, 1).flatten())
        if not self.n_features:
            raise ValueError(f"{self.name}: row 0 of {self._columns[0]!r} is an empty list or null")

    def _matrices(self, batches: Iterable[Any], start: int) -> Iterator[npt.NDArray]:
        """Matrices of record batches, of which the first begins at row `start`."""
        row = start
        for batch in batches:
            if self._is_list:
                yield self._of_lists(_flat(batch.column(self._columns[0])), row)
            else:
                yield self._of_numbers(batch, row)
            row += len(batch)

    def _of_lists(self, lists: Any, row: int) -> npt.NDArray:
        name = f"{self.name}: column {self._columns[0]!r}"
        if lists.null_count:
            at = row + int(np.argmax(lists.is_null().to_numpy(zero_copy_only=False)))
            raise ValueError(f"{name} is null in row {at}; drop such rows first")
        values = lists.flatten()
        if hasattr(lists, "offsets"):
            lengths = np.diff(lists.offsets.to_numpy())
            wrong = np.flatnonzero(lengths != self.n_features)
            if len(wrong):
                raise ValueError(
                    f"{name} has {lengths[wrong[0]]} numbers in row {row + wrong[0]}, and "
                    f"{self.n_features} in those before it; all lists need the same length"
                )
        if values.null_count:
            at = int(np.argmax(values.is_null().to_numpy(zero_copy_only=False)))
            raise ValueError(f"{name} holds a null in row {row + at // self.n_features}")
        return values.to_numpy(zero_copy_only=True).reshape(-1, self.n_features)

    def _of_numbers(self, batch: Any, row: int) -> npt.NDArray:
        out = np.empty((len(batch), len(self._columns)), dtype=self.dtype)
        for place, name in enumerate(self._columns):
            values = batch.column(name)
            if values.null_count:
                at = row + int(np.argmax(values.is_null().to_numpy(zero_copy_only=False)))
                raise ValueError(f"{self.name}: column {name!r} is null in row {at}")
            out[:, place] = values.to_numpy(zero_copy_only=False)
        return out


class ParquetSource(_TableSource):
    """Parquet files with one vector a row.

    Parameters
    ----------
    paths : path-like, or list of path-like
        Files in order, or a folder: its ``*.parquet`` files in the order of their names.
    column : str or list of str, optional
        Column of lists, or columns of numbers. Default: the only column of lists of floats; if
        there is none, all columns of floats.

    Raises
    ------
    TypeError
        If a column does not hold floats or lists of floats.
    ValueError
        If there is no such column or row, or several columns could be meant.
    FormatError
        If a file is no whole Parquet file.
    OSError
        If a file cannot be read.
    """

    n_rows: int
    is_light = True

    def __init__(
        self,
        paths: str | os.PathLike[str] | list[Any],
        *,
        column: str | list[str] | None = None,
    ) -> None:
        self._paths = _parquet_files(paths)
        self.name = self._paths[0].name
        self._counts: list[list[int]] = []
        for path in self._paths:
            with self._open(path) as file:
                schema = file.schema_arrow
                if not self._counts:
                    self._choose(schema, column)
                    self._types = _types_of(schema, self._columns)
                elif _types_of(schema, self._columns) != self._types:
                    raise TypeError(
                        f"{path.name}: {_types_of(schema, self._columns)}, but "
                        f"{self._paths[0].name} has {self._types}"
                    )
                metadata = file.metadata
                groups = range(metadata.num_row_groups)
                self._counts.append([metadata.row_group(group).num_rows for group in groups])
        self.n_rows = sum(map(sum, self._counts))
        if not self.n_rows:
            raise ValueError(f"{self.name}: there are no rows")
        self._find_width(self._batches(0))

    def chunks(self, start: int = 0) -> Iterator[npt.NDArray]:
        """Views of decoded pages; row groups before `start` are not read."""
        return self._matrices(self._batches(start), start)

    def _batches(self, start: int) -> Iterator[Any]:
        first = 0  # row at which the next row group begins
        for path, counts in zip(self._paths, self._counts, strict=True):
            ends = first + np.cumsum(counts)
            groups = np.flatnonzero(ends > start)
            if len(groups):
                begin = int(ends[groups[0]]) - counts[groups[0]]
                with self._open(path) as file:
                    yield from _rows_of(file, groups.tolist(), self._columns, start - begin)
            first = int(ends[-1]) if counts else first

    def _open(self, path: Path) -> Any:
        parquet = _pyarrow("pyarrow.parquet")
        try:
            return parquet.ParquetFile(path, buffer_size=_READ_BYTES, pre_buffer=False)
        except _pyarrow().ArrowInvalid as error:
            reason = str(error).split(".")[0]
            raise FormatError(f"{path}: not a complete Parquet file ({reason})") from error

    def fingerprint(self) -> dict[str, Any]:
        """Names, sizes, and checksums of the ends of the files, which describe all pages."""
        files = []
        for path, counts in zip(self._paths, self._counts, strict=True):
            with path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _FOOTER_BYTES))
                checksum = zlib.crc32(file.read())
            files.append({"name": path.name, "bytes": size, "rows": sum(counts), "crc32": checksum})
        return {"kind": "parquet", "columns": self._columns, "files": files}


class ArrowSource(_TableSource):
    """A table of pyarrow or polars, or anything else that offers an Arrow stream.

    Parameters
    ----------
    table : object with ``__arrow_c_stream__``
        A stream that is read as it comes, such as a ``RecordBatchReader``, is read once.
    column : str or list of str, optional
        As for :class:`ParquetSource`.
    """

    def __init__(self, table: Any, *, column: str | list[str] | None = None) -> None:
        self.name = f"the {type(table).__name__}"
        self._table = table
        self.rereadable = not hasattr(table, "read_next_batch")
        self.n_rows = len(table) if hasattr(table, "__len__") else None
        reader = self._reader()
        self._choose(reader.schema, column)
        self._once = None if self.rereadable else reader
        if self.n_features == 0 and not self.rereadable:
            raise TypeError(
                f"{self.name}: column {self._columns[0]!r} has lists of no fixed size, whose "
                "length a stream that is read once does not tell; use fixed_size_list"
            )
        if self.rereadable:
            self._find_width(iter(self._reader()))

    def _reader(self) -> Any:
        return _pyarrow().RecordBatchReader.from_stream(self._table)

    def chunks(self, start: int = 0) -> Iterator[npt.NDArray]:
        """Matrices of record batches; rows before `start` are dropped."""
        reader = self._reader() if self.rereadable else self._once
        if reader is None:
            raise ValueError(f"{self.name} is used up after one pass; read it into a table first")
        self._once = None
        return self._matrices(_after(reader, start), start)

    def fingerprint(self) -> dict[str, Any]:
        """Columns, and a checksum of the first rows."""
        if not self.rereadable:
            raise ValueError(f"{self.name} is read once and cannot be looked at twice")
        first = np.ascontiguousarray(next(self.chunks()))
        return {
            "kind": "arrow",
            "columns": self._columns,
            "rows": self.n_rows,
            "crc32": zlib.crc32(first.data),
        }


class ArrowFileSource(_TableSource):
    """An Arrow IPC (Feather) file, memory-mapped.

    Parameters
    ----------
    path : path-like
    column : str or list of str, optional
        As for :class:`ParquetSource`.
    """

    is_light = True

    def __init__(
        self, path: str | os.PathLike[str], *, column: str | list[str] | None = None
    ) -> None:
        self._path = Path(path)
        self.name = self._path.name
        file = self._open()
        self._choose(file.schema, column)
        self._counts = [len(file.get_batch(k)) for k in range(file.num_record_batches)]
        self.n_rows = sum(self._counts)
        if not self.n_rows:
            raise ValueError(f"{self.name}: there are no rows")
        self._find_width(file.get_batch(k) for k in range(file.num_record_batches))

    def _open(self) -> Any:
        pyarrow, ipc = _pyarrow(), _pyarrow("pyarrow.ipc")
        try:
            return ipc.open_file(pyarrow.memory_map(os.fspath(self._path)))
        except pyarrow.ArrowInvalid as error:
            raise FormatError(f"{self._path}: not a complete Arrow file ({error})") from error

    def chunks(self, start: int = 0) -> Iterator[npt.NDArray]:
        """Views of the memory map."""
        file = self._open()
        ends = np.cumsum(self._counts)
        first = int(np.searchsorted(ends, start, side="right"))
        begin = int(ends[first]) - self._counts[first] if first < len(ends) else start
        batches = (file.get_batch(k) for k in range(first, len(ends)))
        return self._matrices(_after(batches, start - begin), start)

    def fingerprint(self) -> dict[str, Any]:
        """Size of the file, and a checksum of its first rows."""
        first = np.ascontiguousarray(next(self.chunks()))
        return {
            "kind": "arrow",
            "columns": self._columns,
            "bytes": self._path.stat().st_size,
            "rows": self.n_rows,
            "crc32": zlib.crc32(first.data),
        }


def _parquet_files(paths: str | os.PathLike[str] | list[Any]) -> list[Path]:
    if isinstance(paths, list):
        return [Path(path) for path in paths]
    path = Path(paths)
    if not path.is_dir():
        return [path]
    found = sorted(path.glob("*.parquet"))
    if not found:
        raise FileNotFoundError(2, "the folder holds no .parquet file", str(path))
    return found


def _choose_columns(schema: Any, column: str | list[str] | None, name: str) -> list[str]:
    """Names of the column of lists, or of all columns of numbers, that hold the rows."""
    if column is not None:
        chosen = [column] if isinstance(column, str) else list(column)
        missing = [each for each in chosen if each not in schema.names]
        if missing or not chosen:
            raise ValueError(f"{name}: no column {missing}; there are {', '.join(schema.names)}")
        return chosen
    lists = [field.name for field in schema if _is_list(field.type) and _is_float(field.type)]
    if len(lists) == 1:
        return lists
    if lists:
        raise ValueError(f"{name}: name one of the columns of lists: {', '.join(lists)}")
    numbers = [field.name for field in schema if _is_float(field.type)]
    if not numbers:
        found = ", ".join(f"{field.name}: {field.type}" for field in schema)
        raise TypeError(f"{name}: no column holds floats or lists of floats; found {found}")
    return numbers


def _storage(kind: Any) -> Any:
    """The type that an extension type, such as a tensor of fixed shape, is stored as."""
    return getattr(kind, "storage_type", kind)


def _is_list(kind: Any) -> bool:
    # dictionaries have a value type too
    kind = _storage(kind)
    return hasattr(kind, "value_field")


def _is_float(kind: Any) -> bool:
    kind = _storage(kind)
    kind = kind.value_type if _is_list(kind) else kind
    return str(kind) in ("halffloat", "float", "double")


def _float_of(kind: Any, columns: list[str], name: str) -> np.dtype:
    if not _is_float(kind) or _is_list(kind):
        raise TypeError(
            f"{name}: column {', '.join(map(repr, columns))} holds {kind}; floats or lists of "
            "floats (float16, float32, float64) are needed"
        )
    return np.dtype(kind.to_pandas_dtype())


def _types_of(schema: Any, columns: list[str]) -> dict[str, str]:
    return {
        name: str(schema.field(name).type) if name in schema.names else "missing"
        for name in columns
    }


def _flat(array: Any) -> Any:
    """A column without its extension type."""
    return getattr(array, "storage", array)


def _rows_of(file: Any, groups: list[int], columns: list[str], skip: int) -> Iterator[Any]:
    """Record batches of row groups, without the first `skip` rows."""
    batches = file.iter_batches(
        batch_size=BLOCK_ROWS, row_groups=groups, columns=columns, use_threads=False
    )
    return _after(batches, max(skip, 0))


def _after(batches: Iterable[Any], skip: int) -> Iterator[Any]:
    """Record batches without the first `skip` rows."""
    for batch in batches:
        if skip >= len(batch):
            skip -= len(batch)
            continue
        yield batch.slice(skip)
        skip = 0
