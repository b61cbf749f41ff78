"""Codes in stores as one writes them there without this package, by the client of each store.

Each of these is what the documents of the store show for packed bits: a table or an index of the
type meant for them, one transaction, and a query for the ten nearest. None of them has metadata,
keys, checks, an order among equal distances, or a way back from a failure.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.uint8]
K = 10


class Sqlite:
    """A vec0 table with the defaults of sqlite-vec."""

    name = "sqlite-vec"

    def __init__(self, folder: Path, server: str) -> None:
        self.path = folder / "hand.db"

    def connect(self) -> Any:
        from embcompress.stores import _sqlite_driver  # only to load the extension

        return _sqlite_driver.connect(self.path, write=True)

    def load(self, codes: Codes) -> None:
        self.path.unlink(missing_ok=True)
        connection = self.connect()
        connection.execute("BEGIN")
        connection.execute(
            f"CREATE VIRTUAL TABLE codes USING vec0(id INTEGER PRIMARY KEY, "
            f"code bit[{8 * codes.shape[1]}])"
        )
        connection.executemany(
            "INSERT INTO codes VALUES (?, vec_bit(?))",
            ((i, code.tobytes()) for i, code in enumerate(codes)),
        )
        connection.execute("COMMIT")
        connection.close()

    def open(self) -> None:
        self.connection = self.connect()

    def query(self, code: Codes) -> list[int]:
        rows = self.connection.execute(
            f"SELECT id, distance FROM codes WHERE code MATCH vec_bit(?) AND k = {K}",
            (code.tobytes(),),
        )
        return [int(distance) for _, distance in rows]

    def close(self) -> None:
        self.connection.close()


class Duck:
    """A column of the type BIT, filled from Arrow."""

    name = "DuckDB"

    def __init__(self, folder: Path, server: str) -> None:
        self.path = folder / "hand.duckdb"

    def load(self, codes: Codes) -> None:
        import duckdb
        import pyarrow as pa

        self.path.unlink(missing_ok=True)
        buffers = [None, pa.py_buffer(np.ascontiguousarray(codes))]
        column = pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(codes.shape[1]), len(codes), buffers
        )
        table = pa.table({"id": np.arange(len(codes)), "code": column})
        with duckdb.connect(str(self.path)) as connection:
            connection.register("batch", table)
            connection.execute(
                "CREATE TABLE codes AS SELECT id, code::BLOB::BIT AS code FROM batch"
            )

    def open(self) -> None:
        import duckdb

        self.connection = duckdb.connect(str(self.path), read_only=True)

    def query(self, code: Codes) -> list[int]:
        rows = self.connection.execute(
            "SELECT id, bit_count(xor(code, ?::BLOB::BIT)) AS distance FROM codes "
            f"ORDER BY distance LIMIT {K}",
            [code.tobytes()],
        ).fetchall()
        return [int(distance) for _, distance in rows]

    def close(self) -> None:
        self.connection.close()


class Postgres:
    """A column bit(n), filled by COPY of strings of 0 and 1."""

    name = "PostgreSQL"
    distance = "bit_count(code # %s::bit({n}))"
    prepare = "SELECT 1"

    def __init__(self, folder: Path, server: str) -> None:
        self.server = server

    def load(self, codes: Codes) -> None:
        import psycopg

        width = 8 * codes.shape[1]
        with psycopg.connect(self.server) as connection:
            connection.execute(self.prepare)
            connection.execute("DROP TABLE IF EXISTS hand")
            connection.execute(f"CREATE TABLE hand (id bigint, code bit({width}))")
            with connection.cursor().copy("COPY hand FROM STDIN") as copy:
                for i, bits in enumerate(np.unpackbits(codes, axis=1) + ord("0")):
                    copy.write_row((i, bits.tobytes().decode()))
            connection.execute("ALTER TABLE hand ADD PRIMARY KEY (id)")

    def open(self) -> None:
        import psycopg

        self.connection = psycopg.connect(self.server, autocommit=True)

    def query(self, code: Codes) -> list[int]:
        bits = (np.unpackbits(code) + ord("0")).tobytes().decode()
        distance = self.distance.format(n=len(bits))
        rows = self.connection.execute(
            f"SELECT id, {distance} AS distance FROM hand ORDER BY distance LIMIT {K}", (bits,)
        ).fetchall()
        return [int(distance) for _, distance in rows]

    def close(self) -> None:
        self.connection.close()


class Pgvector(Postgres):
    """The same with the operator of pgvector, and no index, so that the answer is exact."""

    name = "PostgreSQL, pgvector"
    distance = "code <~> %s::bit({n})"
    prepare = "CREATE EXTENSION IF NOT EXISTS vector"


class Lance:
    """A column of fixed-size lists of uint8."""

    name = "LanceDB"

    def __init__(self, folder: Path, server: str) -> None:
        self.path = folder / "hand.lancedb"

    def load(self, codes: Codes) -> None:
        import lancedb
        import pyarrow as pa

        shutil.rmtree(self.path, ignore_errors=True)
        column = pa.FixedSizeListArray.from_arrays(pa.array(codes.reshape(-1)), codes.shape[1])
        table = pa.table({"id": np.arange(len(codes)), "code": column})
        lancedb.connect(self.path).create_table("codes", table)

    def open(self) -> None:
        import lancedb

        self.table = lancedb.connect(self.path).open_table("codes")

    def query(self, code: Codes) -> list[int]:
        search = self.table.search(code, vector_column_name="code").distance_type("hamming")
        found = search.limit(K).select(["id", "_distance"]).to_arrow()
        return [int(distance) for distance in found["_distance"].to_pylist()]

    def close(self) -> None:
        del self.table


class Faiss:
    """IndexBinaryFlat."""

    name = "FAISS file"

    def __init__(self, folder: Path, server: str) -> None:
        self.path = folder / "hand.faiss"

    def load(self, codes: Codes) -> None:
        import faiss

        index = faiss.IndexBinaryFlat(8 * codes.shape[1])
        index.add(codes)
        faiss.write_index_binary(index, str(self.path))

    def open(self) -> None:
        import faiss

        self.index = faiss.read_index_binary(str(self.path))

    def query(self, code: Codes) -> list[int]:
        return self.index.search(code[None, :], K)[0][0].tolist()

    def close(self) -> None:
        del self.index


class Usearch:
    """An index with its defaults, asked exactly."""

    name = "usearch file"

    def __init__(self, folder: Path, server: str) -> None:
        self.path = folder / "hand.usearch"

    def load(self, codes: Codes) -> None:
        from usearch.index import Index, MetricKind, ScalarKind

        index = Index(ndim=8 * codes.shape[1], metric=MetricKind.Hamming, dtype=ScalarKind.B1)
        index.add(np.arange(len(codes), dtype=np.uint64), codes)
        index.save(str(self.path))

    def open(self) -> None:
        from usearch.index import Index

        self.index = Index.restore(str(self.path), view=True)

    def query(self, code: Codes) -> list[int]:
        return self.index.search(code, K, exact=True).distances.astype(int).tolist()

    def close(self) -> None:
        del self.index
