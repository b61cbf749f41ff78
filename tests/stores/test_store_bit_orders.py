"""What a store's own functions make of its codes, as someone without this package asks them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from embcompress import HammingIndex, open_store
from embcompress.codes import pack_bits
from embcompress.stores import _sqlite_driver

# sentence-transformers and pgvector make 0x2B of its signs, sqlite-vec 0xD4
VECTOR = [-0.73, -0.80, 0.12, -0.73, 0.79, -0.11, 0.23, 0.97]


@pytest.fixture
def vectors():
    """Real numbers whose signs are the codes."""
    return np.random.default_rng(3).normal(size=(500, 72)).astype(np.float32)


def write(url, vectors, **options):
    codes = pack_bits(vectors >= 0)
    with open_store(url) as store:
        store.write(codes, n_bits=vectors.shape[1], **options)
    index = HammingIndex(vectors.shape[1])
    index.add(codes)
    return index.search(codes[7:8], 10)


def test_sqlite_vec_quantizes_to_our_codes(tmp_path, vectors):
    pytest.importorskip("sqlite_vec")
    url = f"sqlite:///{tmp_path}/s.db?table=words"
    distances, _ = write(url, vectors)
    connection = _sqlite_driver.connect(tmp_path / "s.db", write=False)
    rows = list(
        connection.execute(
            "SELECT id, distance FROM words WHERE code MATCH vec_quantize_binary(?) AND k = 10",
            (vectors[7].tobytes(),),
        )
    )
    assert sorted(d for _, d in rows) == distances[0].tolist()
    assert rows[0] == (7, 0)
    ((bits,),) = connection.execute("SELECT vec_to_json(code) FROM words WHERE id = 7")
    assert bits == str((vectors[7] >= 0).astype(int).tolist()).replace(" ", "")
    with open_store(f"sqlite:///{tmp_path}/s.db?table=one") as store:
        store.write(pack_bits(np.array([VECTOR]) >= 0), n_bits=8)
        assert store.info().bit_order == "little"
        assert store.codes([0]).tolist() == [[0x2B]]
    assert list(connection.execute("SELECT hex(code) FROM one")) == [("D4",)]
    connection.close()


def test_duckdb_counts_over_words(tmp_path, vectors):
    duckdb = pytest.importorskip("duckdb")
    pytest.importorskip("pyarrow")
    distances, ids = write(f"duckdb:///{tmp_path}/s.duckdb", vectors)
    with duckdb.connect(str(tmp_path / "s.duckdb")) as connection:
        rows = connection.execute(
            "SELECT a.id, bit_count(xor(a.w0, b.w0)) + bit_count(xor(a.w1, b.w1)) AS distance "
            "FROM codes a, codes b WHERE b.id = 7 ORDER BY distance, a.id LIMIT 10"
        ).fetchall()
        ((word,),) = connection.execute("SELECT w0::BIT::TEXT FROM codes WHERE id = 7").fetchall()
    assert [row[0] for row in rows] == ids[0].tolist()
    assert [row[1] for row in rows] == distances[0].tolist()
    assert word == "".join(map(str, (vectors[7, :64] >= 0).astype(int)))


def test_postgres_has_bits_in_order(postgres_url, vectors):
    psycopg = pytest.importorskip("psycopg")
    distances, ids = write(postgres_url, vectors)
    server, _, table = postgres_url.partition("?table=")
    bits = "".join(map(str, (vectors[7] >= 0).astype(int)))
    with psycopg.connect(server) as connection:
        assert connection.execute(f"SELECT code::text FROM {table} WHERE id = 7").fetchone() == (
            bits,
        )
        rows = connection.execute(
            f"SELECT bit_count(code # '{bits}'::bit(72)) AS d, id FROM {table} "
            "ORDER BY d, id LIMIT 10"
        ).fetchall()
    assert [row[0] for row in rows] == distances[0].tolist()
    assert [row[1] for row in rows] == ids[0].tolist()


def test_pgvector_quantizes_to_our_codes(pgvector_url, vectors):
    psycopg = pytest.importorskip("psycopg")
    distances, _ = write(pgvector_url + "&hnsw=1", vectors)
    server, _, table = pgvector_url.partition("?table=")
    with psycopg.connect(server) as connection:
        rows = connection.execute(
            f"SELECT id, code <~> binary_quantize(%s::vector)::bit(72) AS d FROM {table} "
            "ORDER BY d, id LIMIT 10",
            [str(vectors[7].tolist())],
        ).fetchall()
    assert rows[0] == (7, 0)
    assert [row[1] for row in rows] == distances[0].tolist()


def test_lancedb_searches_packed_bits(tmp_path, vectors):
    lancedb = pytest.importorskip("lancedb")
    distances, _ = write(f"lancedb:///{tmp_path}", vectors)
    table = lancedb.connect(tmp_path).open_table("codes")
    search = table.search(np.packbits(vectors[7] >= 0), vector_column_name="code")
    found = search.distance_type("hamming").limit(10).select(["id", "_distance"]).to_arrow()
    assert found["id"][0].as_py() == 7
    assert found["_distance"].to_pylist() == distances[0].tolist()


@pytest.mark.parametrize("ids", [None, np.arange(500) * 7 + 3], ids=["positions", "ids"])
def test_faiss_opens_its_file(tmp_path, vectors, ids):
    import faiss

    path = tmp_path / "s.faiss"
    distances, positions = write(f"faiss:///{path}", vectors, ids=ids, keys=["x"] * 500)
    index = faiss.read_index_binary(str(path))
    assert index.d == 72
    found = index.search(np.packbits(vectors[7:8] >= 0, axis=1), 10)
    np.testing.assert_array_equal(found[0], distances)
    np.testing.assert_array_equal(found[1], positions if ids is None else ids[positions])


def test_usearch_opens_its_file(tmp_path, vectors):
    usearch = pytest.importorskip("usearch.index")
    path = tmp_path / "s.usearch"
    distances, _ = write(f"usearch:///{path}", vectors, keys=["x"] * 500)
    for view in (False, True):
        index = usearch.Index.restore(str(path), view=view)
        assert (index.ndim, len(index)) == (72, 500)
        found = index.search(np.packbits(vectors[7] >= 0), 10, exact=True)
        assert found.keys[0] == 7
        np.testing.assert_array_equal(found.distances, distances[0])
    with open_store(f"usearch:///{Path(path)}?hnsw=1") as store:
        found = store.search(pack_bits(vectors[:100] >= 0), 5)
    assert np.mean(found.ids[:, 0] == np.arange(100)) > 0.9
