"""SQLite with sqlite-vec: one file, nothing to set up.

Codes are in a ``vec0`` table of sqlite-vec with a column ``code bit[n]``, keys in a table beside
it, because columns of ``vec0`` have no index. ``vec_quantize_binary`` of sqlite-vec puts the first
number of a vector into the least significant bit, so codes are stored in that order.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from embcompress.codes import Codes, code_bytes
from embcompress.container import FormatError
from embcompress.stores._database_file import DatabaseFile
from embcompress.stores._description import Description
from embcompress.stores._rows import Ids, Rows
from embcompress.stores._sql import from_metadata_rows, metadata_rows, quoted
from embcompress.stores._sqlite_driver import connect, error_types
from embcompress.stores._ties import nearest_with_ties
from embcompress.stores._urls import StoreURL
from embcompress.stores.base import Change, Found, Store

__all__ = ["SqliteStore"]

# The largest k that vec0 takes.
_MOST = 4096
# Below the number of variables that a statement may have in any build.
_IDS_AT_ONCE = 500
_BIT_COLUMN = re.compile(r"\w+\s+bit\[\d+\]")


class SqliteStore(DatabaseFile, Store):
    """Codes in an SQLite file, searched by sqlite-vec: ``sqlite:///words.db?table=words``."""

    bit_order = "little"

    def __init__(self, url: StoreURL) -> None:
        super().__init__(url)
        url.allow({"table"})
        self._path = url.file
        name = url.table()
        if len(name) > 1:
            raise ValueError(f"{url.shown}: tables of SQLite have no schema")
        self._name = name[0]
        self._table, self._keys_table, self._metadata = (
            quoted(self._name + suffix) for suffix in ("", "_keys", "_embcompress")
        )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except error_types() as error:
            text = _reason(error)
            if "disk is full" in text:
                raise self._full(text) from error
            if "not a database" in text or "malformed" in text:
                raise FormatError(f"{self._path}: {text}") from error
            raise OSError(errno.EIO, f"SQLite: {text}", str(self._path)) from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._nothing_left("-journal"):
            self._open(write=True)
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                with self._given_up():
                    yield
                    self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    with suppress(*error_types()):
                        self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _given_up(self) -> Iterator[None]:
        """Tell a full disk from other failures.

        sqlite-vec says of a row that could not be written only that it could not. But SQLite ends
        a transaction by itself for one kind of reason: there is no space, or writing fails.
        """
        try:
            yield
        except error_types() as error:
            if self._connection.in_transaction:
                raise
            raise self._full(_reason(error)) from error

    def _full(self, text: str) -> OSError:
        return OSError(
            errno.ENOSPC,
            f"the disk is full or cannot be written; nothing was written (SQLite: {text})",
            str(self._path),
        )

    def _connect(self, *, write: bool) -> Any:
        return connect(self._path, write=write)

    def _query(self, statement: str, *values: Any) -> list[tuple]:
        self._open(write=False)
        return list(self._connection.execute(statement, values))

    def _read(self) -> Description | None:
        if self._connection is None and not self._path.exists():
            return None
        # names are the same in upper and lower case
        tables = dict(self._query("SELECT lower(name), sql FROM sqlite_master"))
        name = self._name.lower()
        if f"{name}_embcompress" in tables:
            rows = self._query(f"SELECT name, value, data FROM {self._metadata}")
            return from_metadata_rows(rows, self.place)
        for table in (name, f"{name}_keys"):
            if table in tables:
                raise self._foreign(", ".join(_BIT_COLUMN.findall(tables[table] or "")))
        return None

    def _load(self, batches: Iterator[Rows], described: Description, change: Change) -> None:
        execute, many = self._connection.execute, self._connection.executemany
        if change == "replace":
            for table in (self._table, self._keys_table, self._metadata):
                execute(f"DROP TABLE {table}")
        if change != "merge":
            width = 8 * code_bytes(described.n_bits)
            execute(
                f"CREATE VIRTUAL TABLE {self._table} USING vec0("
                f"id INTEGER PRIMARY KEY, code bit[{width}])"
            )
            execute(f"CREATE TABLE {self._keys_table} (id INTEGER PRIMARY KEY, key TEXT)")
            execute(f"CREATE TABLE {self._metadata} (name TEXT PRIMARY KEY, value TEXT, data BLOB)")
        many(f"INSERT OR REPLACE INTO {self._metadata} VALUES (?, ?, ?)", metadata_rows(described))
        for batch in batches:
            ids = batch.ids.tolist()
            if change == "merge":  # vec0 has no upsert
                many(f"DELETE FROM {self._table} WHERE id = ?", ((i,) for i in ids))
                many(f"DELETE FROM {self._keys_table} WHERE id = ?", ((i,) for i in ids))
            codes = map(bytes, batch.codes)
            many(
                f"INSERT INTO {self._table} (id, code) VALUES (?, vec_bit(?))",
                zip(ids, codes, strict=True),
            )
            if batch.keys is not None:
                many(
                    f"INSERT INTO {self._keys_table} VALUES (?, ?)",
                    zip(ids, batch.keys, strict=True),
                )
        if described.has_keys:
            index = quoted(f"{self._name}_by_key")
            execute(f"CREATE INDEX IF NOT EXISTS {index} ON {self._keys_table} (key)")

    def _nearest(self, queries: Codes, k: int) -> Iterator[Found]:
        for query in queries:
            data = query.tobytes()

            def fetch(size: int, data: bytes = data) -> Found:
                return _found(
                    self._query(
                        f"SELECT distance, id FROM {self._table} "
                        "WHERE code MATCH vec_bit(?) AND k = ?",
                        data,
                        size,
                    )
                )

            found = nearest_with_ties(fetch, k, most=_MOST)
            if found is None:  # more ties than vec0 gives: compare with every row
                found = _found(
                    self._query(
                        "SELECT vec_distance_hamming(code, vec_bit(?)) AS distance, id "
                        f"FROM {self._table} ORDER BY distance, id LIMIT ?",
                        data,
                        k,
                    )
                )
            yield found

    def _count(self) -> int:
        return int(self._query(f"SELECT count(*) FROM {self._table}")[0][0])

    def _find(self, key: str) -> int | None:
        rows = self._query(f"SELECT min(id) FROM {self._keys_table} WHERE key = ?", key)
        return rows[0][0]

    def _codes(self, ids: Ids) -> dict[int, bytes]:
        return dict(self._among(f"SELECT id, code FROM {self._table}", ids))

    def _keys(self, ids: Ids) -> dict[int, str | None]:
        return dict(self._among(f"SELECT id, key FROM {self._keys_table}", ids))

    def _among(self, select: str, ids: Ids) -> Iterator[tuple]:
        for start in range(0, len(ids), _IDS_AT_ONCE):
            some = ids[start : start + _IDS_AT_ONCE].tolist()
            yield from self._query(f"{select} WHERE id IN ({','.join('?' * len(some))})", *some)


def _found(rows: list[tuple]) -> Found:
    distances = np.array([row[0] for row in rows], dtype=np.int32)
    return distances, np.array([row[1] for row in rows], dtype=np.int64)


def _reason(error: Exception) -> str:
    """What a client says, without the names of its classes."""
    return str(error).rpartition("Error: ")[2]
