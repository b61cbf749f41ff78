"""PostgreSQL: what goes wrong on servers, and what pgvector adds."""

from __future__ import annotations

import errno
import socket
from urllib.parse import urlsplit

import numpy as np
import pytest

from embcompress import HammingIndex, open_store
from embcompress.stores import postgres

psycopg = pytest.importorskip("psycopg")


@pytest.fixture
def admin(plain_postgres):
    """A connection beside that of the store."""
    with psycopg.connect(plain_postgres, autocommit=True) as connection:
        yield connection


def table_of(url: str) -> str:
    return url.partition("?table=")[2]


class Cutting(list):
    """Keys that have the server end the connection of the loader once half of them are read."""

    def __init__(self, keys, admin, table):
        super().__init__(keys)
        self.admin, self.table = admin, table
        self.cut = 0

    def __getitem__(self, item):
        if isinstance(item, slice) and item.start >= len(self) // 2 and not self.cut:
            rows = self.admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE query LIKE 'COPY%%' AND pid <> pg_backend_pid() AND state <> 'idle'"
            ).fetchall()
            self.cut = len(rows)
        return super().__getitem__(item)


@pytest.mark.parametrize("there", [False, True])
def test_a_connection_lost_midway(postgres_url, admin, make_codes, there):
    codes = make_codes(20_000, 256)
    with open_store(postgres_url) as store:
        if there:
            store.write(codes[:50], n_bits=256, keys=["x"] * 50)
        keys = Cutting(["y"] * len(codes), admin, table_of(postgres_url))
        with pytest.raises(ConnectionError, match="the connection was lost; nothing was written"):
            store.write(codes, n_bits=256, keys=keys, batch_size=500)
        assert keys.cut == 1
        # the store connects again by itself
        if there:
            assert store.info().n_codes == 50
        else:
            with pytest.raises(FileNotFoundError, match="there are no codes"):
                store.info()
        store.write(codes, n_bits=256, batch_size=5000)
        assert store.info().n_codes == len(codes)


def test_the_disk_of_the_server_is_full(postgres_url, admin, make_codes):
    codes, table = make_codes(30, 40), table_of(postgres_url)
    with open_store(postgres_url) as store:
        store.write(codes[:10], n_bits=40)
        admin.execute(
            f"CREATE FUNCTION {table}_full() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'no space' USING ERRCODE = 'disk_full'; END $$"
        )
        admin.execute(
            f"CREATE TRIGGER full_disk BEFORE INSERT ON {table} FOR EACH ROW WHEN (NEW.id = 25) "
            f"EXECUTE FUNCTION {table}_full()"
        )
        with pytest.raises(OSError, match="the disk of the server is full; nothing") as caught:
            store.write(codes, n_bits=40)
        assert caught.value.errno == errno.ENOSPC
        assert store.info().n_codes == 10
    admin.execute(f"DROP FUNCTION {table}_full() CASCADE")


def test_no_server():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        url = f"postgresql://somebody:secret@127.0.0.1:{port}/database?connect_timeout=5"
        with (
            open_store(url) as store,
            pytest.raises(ConnectionError, match=r"somebody@127.*no connection") as caught,
        ):
            store.info()
    assert "secret" not in str(caught.value)


def test_a_connection_lost_while_searching(postgres_url, admin, make_codes):
    with open_store(postgres_url) as store:
        store.write(make_codes(5, 40), n_bits=40)
        server_process = store._connection.info.backend_pid
        admin.execute("SELECT pg_terminate_backend(%s)", (server_process,))
        with pytest.raises(ConnectionError, match=r"the connection was lost \("):
            store.search(make_codes(5, 40), 3)
        assert store.search(make_codes(5, 40), 3).ids.shape == (5, 3)


def test_the_host_as_an_option(postgres_url, plain_postgres, make_codes):
    parts = urlsplit(plain_postgres)
    url = (
        f"postgresql:///postgres?host={parts.hostname}&port={parts.port}&user={parts.username}"
        f"&password={parts.password}&table={table_of(postgres_url)}"
    )
    with open_store(url) as store:
        store.write(make_codes(5, 40), n_bits=40)
        assert store.info().place == f"postgresql:///postgres, table {table_of(postgres_url)}"
        assert parts.password not in repr(store)


def test_wrong_password(plain_postgres):
    url = plain_postgres.replace("embcompress:", "embcompress:x")
    with (
        open_store(url) as store,
        pytest.raises(ConnectionError, match=r"no connection \(.*password authentication failed"),
    ):
        store.info()


def test_an_old_server(postgres_url, monkeypatch):
    monkeypatch.setattr(postgres, "_OLDEST_SERVER", 990000)
    with (
        open_store(postgres_url) as store,
        pytest.raises(OSError, match=r"PostgreSQL \d+; bit_count.*needs 99 or newer"),
    ):
        store.info()


def test_a_table_of_somebody_else(postgres_url, admin, make_codes):
    table = table_of(postgres_url)
    admin.execute(f"CREATE TABLE {table} (id bigint, hash bit(48))")
    with (
        open_store(postgres_url) as store,
        pytest.raises(ValueError, match=r"not written by embcompress \(it has hash bit\(48\)\)"),
    ):
        store.write(make_codes(5, 40), n_bits=40, replace=True)


def test_no_right_to_write(postgres_url, admin, plain_postgres, make_codes):
    with open_store(postgres_url) as store:
        store.write(make_codes(5, 40), n_bits=40)
    table = table_of(postgres_url)
    admin.execute(f"CREATE ROLE reader_{table} LOGIN PASSWORD 'r'")
    admin.execute(f"GRANT SELECT ON {table}, {table}_embcompress TO reader_{table}")
    server = plain_postgres.partition("@")[2]
    try:
        with open_store(f"postgresql://reader_{table}:r@{server}?table={table}") as store:
            assert store.search(make_codes(1, 40), 3).ids.shape == (1, 3)
            with pytest.raises(OSError, match="PostgreSQL: permission denied"):
                store.write(make_codes(5, 40), n_bits=40)
    finally:
        admin.execute(f"DROP OWNED BY reader_{table}")
        admin.execute(f"DROP ROLE reader_{table}")


def test_a_schema_and_options_of_the_client(postgres_url, admin, make_codes):
    table = table_of(postgres_url)
    admin.execute(f"CREATE SCHEMA s_{table}")
    url = postgres_url.replace(f"={table}", f"=s_{table}.Words") + "&application_name=a%20b"
    try:
        with open_store(url) as store:
            store.write(make_codes(5, 40), n_bits=40, keys=list("abcde"))
            store.write(make_codes(5, 40), n_bits=40, keys=list("abcde"))
            assert store.info().place.endswith(f"table s_{table}.Words")
            names = admin.execute("SELECT application_name FROM pg_stat_activity").fetchall()
        assert ("a b",) in names
        assert admin.execute(f'SELECT count(*) FROM s_{table}."Words"').fetchone() == (5,)
    finally:
        admin.execute(f"DROP SCHEMA s_{table} CASCADE")


def test_no_pgvector(postgres_url, admin, make_codes):
    query = "SELECT 1 FROM pg_available_extensions WHERE name = 'vector'"
    if admin.execute(query).fetchall():
        pytest.skip("this server has pgvector")
    with (
        open_store(postgres_url + "&hnsw=1") as store,
        pytest.raises(ValueError, match=r"the server has no pgvector.*leave hnsw out"),
    ):
        store.write(make_codes(5, 40), n_bits=40)
    with open_store(postgres_url) as store, pytest.raises(FileNotFoundError):
        store.info()


def test_hnsw_finds_most_and_exact_search_all(pgvector_url, make_codes):
    codes = make_codes(3000, 100)
    queries = codes[:30] ^ np.uint8(1 << 4)  # every eighth bit is another
    queries[:, -1] &= 0xF0
    with open_store(pgvector_url) as store:
        store.write(codes[:100], n_bits=100)
    with open_store(pgvector_url + "&hnsw=1") as store:
        with pytest.raises(ValueError, match="no HNSW index; write it with hnsw=1 first"):
            store.search(queries, 10)
        store.write(codes, n_bits=100)
        near = store.search(queries, 10)
        assert (np.diff(near.distances, axis=1) >= 0).all()
        same = np.diff(near.distances, axis=1) == 0
        assert (np.diff(near.ids, axis=1)[same] > 0).all()
    index = HammingIndex(100)
    index.add(codes)
    distances, positions = index.search(queries, 10)
    assert np.mean(near.distances[:, 0] == distances[:, 0]) > 0.8
    with open_store(pgvector_url) as store:  # exact although the index is there
        found = store.search(queries, 10)
    np.testing.assert_array_equal(found.distances, distances)
    np.testing.assert_array_equal(found.ids, positions)


def test_an_old_pgvector(pgvector_url, make_codes, monkeypatch):
    monkeypatch.setattr(postgres, "_OLDEST_PGVECTOR", (99, 0))
    with (
        open_store(pgvector_url + "&hnsw=1") as store,
        pytest.raises(ValueError, match=r"pgvector 0\.\d+\.\d+ does not compare bits"),
    ):
        store.write(make_codes(5, 40), n_bits=40)
