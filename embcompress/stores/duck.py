"""DuckDB: one file, with fast scans of columns.

A code is stored as unsigned 64-bit numbers in columns ``w0``, ``w1`` ..., its first bit the most
significant one of ``w0``: ``bit_count(xor(w0, ...))`` over such columns takes a third of the time
that it takes over a column of the type ``BIT``, which compares byte by byte.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from embcompress._optional import require
from embcompress.codes import Codes, code_bytes
from embcompress.container import FormatError
from embcompress.stores._database_file import DatabaseFile
from embcompress.stores._description import Description
from embcompress.stores._rows import Ids, Rows
from embcompress.stores._sql import from_metadata_rows, metadata_rows, quoted
from embcompress.stores._urls import StoreURL
from embcompress.stores.base import Change, Found, Store

__all__ = ["DuckStore"]

_FEATURE = "the DuckDB store"


class DuckStore(DatabaseFile, Store):
    """Codes in a DuckDB file: ``duckdb:///words.duckdb?table=words``."""

    bit_order = "big"

    def __init__(self, url: StoreURL) -> None:
        super().__init__(url)
        url.allow({"table"})
        self._path = url.file
        name = url.table()
        if len(name) > 1:
            raise ValueError(f"{url.shown}: name the table without a schema")
        self._name = name[0]
        self._table, self._metadata = (quoted(self._name + end) for end in ("", "_embcompress"))

    @contextmanager
    def _errors(self) -> Iterator[None]:
        duckdb = require("duckdb", extra="stores", feature=_FEATURE)
        try:
            yield
        except duckdb.Error as error:
            text = " ".join(str(error).split())
            for sign, code in (("No space left", errno.ENOSPC), ("File too large", errno.EFBIG)):
                if sign in text:
                    message = f"DuckDB: {sign.lower()}; nothing was written"
                    raise OSError(code, message, str(self._path)) from error
            if "not a valid DuckDB database" in text:
                raise FormatError(f"{self._path}: not a DuckDB database file") from error
            raise OSError(errno.EIO, f"DuckDB: {text}", str(self._path)) from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._nothing_left(".wal"):
            self._open(write=True)
            try:
                self._connection.execute("BEGIN")
                yield
                self._connection.execute("COMMIT")
                self._connection.execute("CHECKPOINT")  # no log is left beside the file
            except BaseException:
                duckdb = require("duckdb", extra="stores", feature=_FEATURE)
                with suppress(duckdb.Error, AttributeError):
                    self._connection.execute("ROLLBACK")
                raise

    def _connect(self, *, write: bool) -> Any:
        duckdb = require("duckdb", extra="stores", feature=_FEATURE)
        connection = duckdb.connect(str(self._path), read_only=not write)
        connection.execute("SET enable_progress_bar = false")
        return connection

    def _query(self, statement: str, *values: Any) -> Any:
        self._open(write=False)
        return self._connection.execute(statement, list(values))

    def _read(self) -> Description | None:
        if self._connection is None and not self._path.exists():
            return None
        # names are the same in upper and lower case
        names = self._query("SELECT lower(table_name) FROM duckdb_tables()").fetchall()
        tables, name = {table for (table,) in names}, self._name.lower()
        if f"{name}_embcompress" in tables:
            rows = self._query(f"SELECT name, value, data FROM {self._metadata}").fetchall()
            return from_metadata_rows(rows, self.place)
        if name in tables:
            raise self._foreign()
        return None

    def _load(self, batches: Iterator[Rows], described: Description, change: Change) -> None:
        execute = self._connection.execute
        n_words = _n_words(described.n_bits)
        if change != "create":
            execute(f"DROP TABLE {self._metadata}")
        if change == "replace":
            execute(f"DROP TABLE {self._table}")
        if change != "merge":
            words = ", ".join(f"w{j} UBIGINT NOT NULL" for j in range(n_words))
            execute(f"CREATE TABLE {self._table} (id BIGINT NOT NULL, {words}, key TEXT)")
        execute(f"CREATE TABLE {self._metadata} (name TEXT PRIMARY KEY, value TEXT, data BLOB)")
        self._connection.executemany(
            f"INSERT INTO {self._metadata} VALUES (?, ?, ?)",
            [list(row) for row in metadata_rows(described)],
        )
        for batch in batches:
            self._connection.register("_batch", _arrow(batch, n_words))
            if change == "merge":
                # a key on the column would be dearer than this at every load
                execute(f"DELETE FROM {self._table} WHERE id IN (SELECT id FROM _batch)")
            execute(f"INSERT INTO {self._table} SELECT * FROM _batch")
            self._connection.unregister("_batch")

    def _nearest(self, queries: Codes, k: int) -> Iterator[Found]:
        terms = [
            f"bit_count(xor(w{j}, ?::UBIGINT))::INTEGER" for j in range(-(-queries.shape[1] // 8))
        ]
        statement = (
            f"SELECT {' + '.join(terms)} AS distance, id FROM {self._table} "
            "ORDER BY distance, id LIMIT ?"
        )
        for words in _as_words(queries).tolist():
            found = self._query(statement, *words, k).fetchnumpy()
            yield found["distance"].astype(np.int32), found["id"].astype(np.int64)

    def _count(self) -> int:
        return int(self._query(f"SELECT count(*) FROM {self._table}").fetchone()[0])

    def _find(self, key: str) -> int | None:
        return self._query(f"SELECT min(id) FROM {self._table} WHERE key = ?", key).fetchone()[0]

    def _codes(self, ids: Ids) -> dict[int, bytes]:
        n_bits = self._described().n_bits
        words = ", ".join(f"w{j}" for j in range(_n_words(n_bits)))
        rows = self._among(f"id, {words}", ids)
        return {
            i: b"".join(word.to_bytes(8, "big") for word in row)[: code_bytes(n_bits)]
            for i, *row in rows
        }

    def _keys(self, ids: Ids) -> dict[int, str | None]:
        return dict(self._among("id, key", ids))

    def _among(self, columns: str, ids: Ids) -> list[tuple]:
        statement = f"SELECT {columns} FROM {self._table} WHERE id IN (SELECT unnest(?::BIGINT[]))"
        return self._query(statement, ids.tolist()).fetchall()


def _n_words(n_bits: int) -> int:
    return -(-n_bits // 64)


def _as_words(codes: Codes) -> npt.NDArray[np.uint64]:
    """Codes as unsigned 64-bit numbers, the first bit most significant, zeros behind the last."""
    padded = np.pad(codes, ((0, 0), (0, -codes.shape[1] % 8)))
    return padded.view(">u8").astype(np.uint64)


def _arrow(batch: Rows, n_words: int) -> Any:
    pyarrow = require("pyarrow", extra="stores", feature=_FEATURE)
    words = _as_words(batch.codes)
    keys = [None] * len(batch) if batch.keys is None else batch.keys
    columns = {"id": pyarrow.array(batch.ids)}
    columns |= {f"w{j}": pyarrow.array(words[:, j]) for j in range(n_words)}
    return pyarrow.table(columns | {"key": pyarrow.array(keys, pyarrow.string())})
