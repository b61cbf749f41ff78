"""PostgreSQL: codes in a column of the type ``bit(n)``, on any server from version 14 on.

Searches compare with every row, by ``bit_count(code # query)``, which every server has, or by the
operator ``<~>`` where the extension pgvector is in the database. With pgvector ``hnsw=1`` in the
address makes and asks its index over ``bit_hamming_ops``, which is faster and approximate.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import numpy as np

from embcompress._optional import require
from embcompress.codes import Codes
from embcompress.stores._copy import COPY_END, COPY_START, copy_rows
from embcompress.stores._description import Description
from embcompress.stores._rows import Ids, Rows
from embcompress.stores._sql import from_metadata_rows, metadata_rows
from embcompress.stores._urls import StoreURL
from embcompress.stores.base import Change, Found, Store

__all__ = ["PostgresStore"]

_FEATURE = "the PostgreSQL store"
_OLDEST_SERVER = 140000  # the first with bit_count
_OLDEST_PGVECTOR = (0, 7)  # the first with operators for bit(n)
_OURS = {"table", "hnsw"}
# Candidates that a walk through the graph keeps, at least and at most (the limit of pgvector).
_EF_SEARCH = (40, 1000)


class PostgresStore(Store):
    """Codes in a table of PostgreSQL: ``postgresql://user@host/database?table=words``."""

    bit_order = "big"

    def __init__(self, url: StoreURL) -> None:
        super().__init__(url)
        self._sql = require("psycopg.sql", extra="stores", feature=_FEATURE)
        self._name = url.table()
        self._hnsw = url.flag("hnsw")
        self._dsn, self._place = _without_ours(url)
        self._connection: Any = None
        self._progress = ""  # how far a load has come, for the message if the connection is lost

    @property
    def place(self) -> str:
        """Server, database and table."""
        return f"{self._place}, table {'.'.join(self._name)}"

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def _errors(self) -> Iterator[None]:
        psycopg = require("psycopg", extra="stores", feature=_FEATURE)
        try:
            yield
        except psycopg.errors.DiskFull as error:
            raise OSError(
                errno.ENOSPC, "the disk of the server is full; nothing was written", self._place
            ) from error
        except psycopg.Error as error:
            text = " ".join(str(error).split())
            if self._connection is not None and self._connection.closed:
                self._connection = None
                raise ConnectionError(
                    f"{self._place}: the connection was lost{self._progress} ({text})"
                ) from error
            if self._connection is None:
                raise ConnectionError(f"{self._place}: no connection ({text})") from error
            raise OSError(f"{self.place}: PostgreSQL: {text}") from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._progress = "; nothing was written"
        with self._open().transaction():
            yield
            self._progress = " while the load was committed; write it again"
        self._progress = ""

    def _open(self) -> Any:
        if self._connection is None or self._connection.closed:
            psycopg = require("psycopg", extra="stores", feature=_FEATURE)
            connection = psycopg.connect(self._dsn, autocommit=True, client_encoding="utf8")
            version = connection.info.server_version
            if version < _OLDEST_SERVER:
                connection.close()
                raise OSError(
                    f"{self._place}: PostgreSQL {version // 10000}; bit_count, by which codes are "
                    f"compared, needs {_OLDEST_SERVER // 10000} or newer"
                )
            self._connection = connection
        return self._connection

    def _query(self, statement: str, *values: Any, **names: Any) -> list[tuple]:
        return self._open().execute(self._format(statement, **names), values).fetchall()

    def _run(self, statement: str, **names: Any) -> None:
        self._open().execute(self._format(statement, **names))

    def _format(self, statement: str, **names: Any) -> Any:
        """Put the names of our tables into a statement, in quotes."""
        return self._sql.SQL(statement).format(
            table=self._sql.Identifier(*self._name),
            metadata=self._beside("_embcompress"),
            **names,
        )

    def _beside(self, suffix: str) -> Any:
        return self._sql.Identifier(*self._name[:-1], self._name[-1] + suffix)

    def _exists(self, suffix: str = "") -> bool:
        name = self._beside(suffix).as_string(self._open())
        return self._query("SELECT to_regclass(%s) IS NOT NULL", name)[0][0]

    def _read(self) -> Description | None:
        if self._exists("_embcompress"):
            rows = self._query("SELECT name, value, data FROM {metadata}")
            return from_metadata_rows(rows, self.place)
        if self._exists():
            raise self._foreign(self._bit_columns())
        return None

    def _bit_columns(self) -> str:
        """Columns of bits in the table, with their lengths."""
        name = self._beside("").as_string(self._open())
        rows = self._query(
            "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute "
            "WHERE attrelid = to_regclass(%s) AND atttypid = 'bit'::regtype AND NOT attisdropped",
            name,
        )
        return ", ".join(f"{column} {kind}" for column, kind in rows)

    def _load(self, batches: Iterator[Rows], described: Description, change: Change) -> None:
        n_bits = self._sql.Literal(described.n_bits)
        if self._hnsw:
            self._need_pgvector()
        if change == "replace":
            self._run("DROP TABLE {table}, {metadata}")
        if change == "merge":
            self._run("CREATE TEMP TABLE _batch (LIKE {table}) ON COMMIT DROP")
            self._copy(batches, described.n_bits, self._sql.Identifier("_batch"))
            self._run(
                "INSERT INTO {table} SELECT id, code, key FROM _batch "
                "ON CONFLICT (id) DO UPDATE SET code = EXCLUDED.code, key = EXCLUDED.key"
            )
            self._run("DELETE FROM {metadata}")
        else:
            self._run(
                "CREATE TABLE {table} (id bigint NOT NULL, code bit({n}) NOT NULL, key text)",
                n=n_bits,
            )
            self._run("CREATE TABLE {metadata} (name text PRIMARY KEY, value text, data bytea)")
            self._copy(batches, described.n_bits, self._sql.Identifier(*self._name))
            # an index over rows that are there is made faster than it grows row by row
            self._run("ALTER TABLE {table} ADD PRIMARY KEY (id)")
        with self._open().cursor() as cursor:
            cursor.executemany(
                self._format("INSERT INTO {metadata} VALUES (%s, %s, %s)"),
                metadata_rows(described),
            )
        self._make_indexes(described)

    def _copy(self, batches: Iterator[Rows], n_bits: int, target: Any) -> None:
        statement = self._format(
            "COPY {target} (id, code, key) FROM STDIN (FORMAT binary)", target=target
        )
        with self._open().cursor() as cursor, cursor.copy(statement) as copy:
            copy.write(COPY_START)
            for batch in batches:
                copy.write(copy_rows(batch, n_bits))
            copy.write(COPY_END)

    def _make_indexes(self, described: Description) -> None:
        if described.has_keys and not self._exists("_by_key"):
            # by hash, because a key may be longer than a B-tree takes
            name = self._sql.Identifier(self._name[-1] + "_by_key")
            self._run("CREATE INDEX {name} ON {table} USING hash (key)", name=name)
        if self._hnsw and not self._exists("_hnsw"):
            name = self._sql.Identifier(self._name[-1] + "_hnsw")
            self._run("CREATE INDEX {name} ON {table} USING hnsw (code bit_hamming_ops)", name=name)

    def _need_pgvector(self) -> None:
        """Have the extension in the database, or say why not."""
        available = "SELECT 1 FROM pg_available_extensions WHERE name = 'vector'"
        if not self._query(available):
            raise ValueError(
                f"{self._place}: the server has no pgvector (extension vector), which hnsw=1 "
                "needs; leave hnsw out to search exactly without it"
            )
        self._run("CREATE EXTENSION IF NOT EXISTS vector")
        version = self._pgvector()
        if version < _OLDEST_PGVECTOR:
            raise ValueError(
                f"{self._place}: pgvector {'.'.join(map(str, version))} does not compare bits; "
                "hnsw=1 needs 0.7 or newer"
            )

    def _pgvector(self) -> tuple[int, ...]:
        """Version of the extension in the database; (0,) if it is not there."""
        rows = self._query("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
        return tuple(map(int, rows[0][0].split("."))) if rows else (0,)

    def _nearest(self, queries: Codes, k: int) -> Iterator[Found]:
        n_bits = self._described().n_bits
        bits = np.unpackbits(queries, axis=1, count=n_bits) + ord("0")
        texts = [row.tobytes().decode() for row in bits]
        return (self._walk if self._hnsw else self._scan)(texts, k, self._sql.Literal(n_bits))

    def _scan(self, queries: list[str], k: int, n_bits: Any) -> Iterator[Found]:
        """Compare with every row."""
        # the operator takes a little less time; behind a cast it never asks an index, which
        # would be approximate
        has_operator = self._pgvector() >= _OLDEST_PGVECTOR
        distance = "(code <~> {})::int" if has_operator else "bit_count(code # {})"
        statement = (
            f"SELECT {distance.format('%s::bit({n})')} AS distance, id FROM {{table}} "
            "ORDER BY distance, id LIMIT %s"
        )
        for query in queries:
            yield _found(self._query(statement, query, k, n=n_bits))

    def _walk(self, queries: list[str], k: int, n_bits: Any) -> Iterator[Found]:
        """Ask the graph of pgvector."""
        if not self._exists("_hnsw"):
            raise ValueError(f"{self.place} has no HNSW index; write it with hnsw=1 first")
        statement = (
            "SELECT distance::int, id FROM (SELECT code <~> %s::bit({n}) AS distance, id "
            "FROM {table} ORDER BY distance LIMIT %s) AS found ORDER BY distance, id"
        )
        least, most = _EF_SEARCH
        with self._open().transaction():
            effort = self._sql.Literal(min(most, max(least, 2 * k)))
            self._run("SET LOCAL hnsw.ef_search = {effort}", effort=effort)
            for query in queries:
                yield _found(self._query(statement, query, k, n=n_bits))

    def _count(self) -> int:
        return self._query("SELECT count(*) FROM {table}")[0][0]

    def _find(self, key: str) -> int | None:
        return self._query("SELECT min(id) FROM {table} WHERE key = %s", key)[0][0]

    def _codes(self, ids: Ids) -> dict[int, bytes]:
        rows = self._query("SELECT id, code::text FROM {table} WHERE id = ANY(%s)", ids.tolist())
        return {i: _packed(text) for i, text in rows}

    def _keys(self, ids: Ids) -> dict[int, str | None]:
        return dict(self._query("SELECT id, key FROM {table} WHERE id = ANY(%s)", ids.tolist()))


def _found(rows: list[tuple]) -> Found:
    distances = np.array([row[0] for row in rows], dtype=np.int32)
    return distances, np.array([row[1] for row in rows], dtype=np.int64)


def _packed(text: str) -> bytes:
    return np.packbits(np.frombuffer(text.encode(), dtype=np.uint8) - ord("0")).tobytes()


def _without_ours(url: StoreURL) -> tuple[str, str]:
    """The address as the client takes it, and as people may see it."""
    parts = urlsplit(url.text)
    options = [(name, value) for name, value in parse_qsl(parts.query) if name not in _OURS]
    query = "?" + urlencode(options, quote_via=quote) if options else ""
    host = parts.netloc.rpartition("@")[2]
    shown = f"{parts.username}@{host}" if parts.username else host
    # put together by hand: the library drops an empty host
    return (
        f"{parts.scheme}://{parts.netloc}{parts.path}{query}",
        f"{parts.scheme}://{shown}{parts.path}",
    )
