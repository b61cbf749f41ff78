"""A load that fails leaves nothing behind, and every refusal says why."""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from store_places import file_url, need

from embcompress import IIQ, FormatError, Sign, open_store
from embcompress._optional import MissingExtraError
from embcompress.stores import _sqlite_driver

BAD_KEYS = ["fine"] * 2500 + ["\udcff"] + ["fine"] * 499


def listing(url):
    """Everything beside the store, hidden files too."""
    folder = Path(url.partition(":///")[2].partition("?")[0]).parent
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_failure_midway_leaves_nothing(url, make_codes):
    codes = make_codes(3000, 40)
    local = not url.startswith("postgresql")
    with open_store(url) as store:
        with pytest.raises(ValueError, match=r"key 2500 is b'\\xff', which is not UTF-8"):
            store.write(codes, n_bits=40, keys=BAD_KEYS, batch_size=1000)
        if local:
            assert listing(url) == []
        with pytest.raises(FileNotFoundError, match="there are no codes; write some first"):
            store.info()
        store.write(codes[:9], n_bits=40)  # and the store is of use afterwards
        assert store.info().n_codes == 9


@pytest.mark.parametrize("replace", [False, True])
def test_a_failure_midway_leaves_what_was_there(url, make_codes, replace):
    codes, more = make_codes(50, 40), make_codes(3000, 40, seed=1)
    with open_store(url) as store:
        store.write(codes, n_bits=40, keys=["x"] * 50, metadata={"a": "1"})
        before, info = store.search(codes[:5], 50), store.info()
        with pytest.raises(ValueError, match="key 2500"):
            store.write(
                more, n_bits=40, keys=BAD_KEYS, metadata={"a": "2"}, batch_size=1000,
                replace=replace,
            )  # fmt: skip
        after = store.search(codes[:5], 50)
        assert store.info() == info
    np.testing.assert_array_equal(after.ids, before.ids)
    np.testing.assert_array_equal(after.distances, before.distances)


KILLED = """
import os, signal, sys
import numpy as np
from embcompress import open_store

class Keys(list):
    def __getitem__(self, item):
        if isinstance(item, slice) and item.start >= 0.75 * len(self):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(item)

n = int(sys.argv[2])
codes = np.random.default_rng(0).integers(0, 256, (n, 64), dtype=np.uint8)
with open_store(sys.argv[1]) as store:
    store.write(codes, n_bits=512, keys=Keys(["a key"] * n), batch_size=1000)
"""


@pytest.mark.parametrize("there", [False, True])
def test_a_killed_load_leaves_what_was_there(local_url, make_codes, there):
    codes = make_codes(50, 512)
    if there:
        with open_store(local_url) as store:
            store.write(codes, n_bits=512)
    # more than the caches of databases hold, so that part of it is in the file already
    n_rows = "4000" if local_url.startswith("usearch") else "60000"
    done = subprocess.run([sys.executable, "-c", KILLED, local_url, n_rows], capture_output=True)
    assert done.returncode == -signal.SIGKILL
    with open_store(local_url) as store:
        if there:
            assert store.info().n_codes == 50
            np.testing.assert_array_equal(store.codes(np.arange(50)), codes)
        else:
            with pytest.raises(FileNotFoundError, match="there are no codes"):
                store.info()
        store.write(codes, n_bits=512, ids=np.arange(50) + 100)
        assert store.info().n_codes == (100 if there else 50)


FULL = """
import errno, resource, sys
import numpy as np
from embcompress import open_store

codes = np.random.default_rng(0).integers(0, 256, (50_000, 32), dtype=np.uint8)
store = open_store(sys.argv[1])
if sys.argv[2] == "there":
    store.write(codes[:10], n_bits=256)
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))
try:
    store.write(codes, n_bits=256)
except OSError as error:
    print(error.errno in {errno.EFBIG, errno.ENOSPC, errno.EIO}, error)
"""


@pytest.mark.parametrize("there", ["there", "new"])
@pytest.mark.parametrize("kind", ["sqlite", "duckdb", "lancedb", "faiss"])
def test_a_file_that_cannot_grow(kind, there, tmp_path):
    """The limit of a process on the size of files, which is what a full disk is to a program."""
    need(kind)
    url = file_url(kind, tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", FULL, url, there], capture_output=True, text=True, timeout=100
    )
    assert done.stdout.startswith("True "), (done.stdout, done.stderr[-2000:])
    with open_store(url) as store:
        if there == "there":
            assert store.info().n_codes == 10
        else:
            assert listing(url) == []


def test_a_full_database_of_sqlite(tmp_path, make_codes, monkeypatch):
    need("sqlite")
    url = f"sqlite:///{tmp_path}/s.db"
    with open_store(url) as store:
        store.write(make_codes(50, 64), n_bits=64)

    from embcompress.stores import sqlite

    def limited(path, *, write):
        connection = _sqlite_driver.connect(path, write=write)
        list(connection.execute("PRAGMA max_page_count = 60"))
        return connection

    monkeypatch.setattr(sqlite, "connect", limited)
    with open_store(url) as store:
        with pytest.raises(
            OSError, match="the disk is full or cannot be written; nothing was"
        ) as caught:
            store.write(make_codes(50_000, 64), n_bits=64)
        assert caught.value.errno == errno.ENOSPC
        assert store.info().n_codes == 50


def test_codes_of_another_length(url, make_codes):
    with open_store(url) as store:
        store.write(make_codes(5, 40), n_bits=40)
        message = "holds codes of 40 bits, these have 48; write elsewhere, or .* replace=True"
        with pytest.raises(ValueError, match=message):
            store.write(make_codes(5, 48), n_bits=48)
        with pytest.raises(ValueError, match="queries has 6 bytes per row; 40 bits need 5"):
            store.search(make_codes(5, 48), 3)
        assert store.info().n_codes == 5


def test_codes_of_another_encoder(url, clusters):
    first, second = Sign().fit(clusters), IIQ(n_bits=24).fit(clusters)
    codes = first.transform(clusters)
    with open_store(url) as store:
        store.write(codes, n_bits=24, encoder=first.encoder_)
        with pytest.raises(ValueError, match="holds codes with another encoder"):
            store.write(codes, n_bits=24, encoder=second.encoder_)
        store.write(codes, n_bits=24, replace=True)
        with pytest.raises(ValueError, match="holds codes with no encoder"):
            store.write(codes, n_bits=24, encoder=first.encoder_)


def test_codes_that_hamming_does_not_compare(url, clusters):
    fitted = IIQ(n_bits=24, bits_per_direction=2).fit(clusters)
    with open_store(url) as store:
        with pytest.raises(ValueError, match="24 bits have two bits per direction"):
            store.write(fitted.transform(clusters), n_bits=24, encoder=fitted.encoder_)
        with pytest.raises(ValueError, match="the encoder makes codes of 24 bits, n_bits=17"):
            store.write(
                np.zeros((5, 3), np.uint8), n_bits=17, encoder=Sign().fit(clusters).encoder_
            )


GOOD = np.zeros((3, 2), dtype=np.uint8)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"codes": GOOD.astype(int)}, TypeError, "codes has dtype int64; packed codes are uint8"),
        ({"n_bits": 20}, ValueError, "2 bytes per row; 20 bits need 3"),
        ({"codes": GOOD | 1}, ValueError, "bits set behind bit 12"),
        ({"codes": GOOD[:0]}, ValueError, "there are no codes to write"),
        ({"keys": ["a"]}, ValueError, "1 keys came with 3 codes"),
        ({"keys": ["a", 5, "b"]}, TypeError, "key 1 is 5; strings are needed"),
        ({"metadata": {"a": 1}}, TypeError, "metadata 'a' is 1; strings are needed"),
        ({"metadata": {"a": "\udcff"}}, ValueError, "metadata 'a' is .* not UTF-8"),
        ({"keys": ["a", "\0", "b"]}, ValueError, "key 1 is '.x00'; .* without NUL"),
        ({"ids": [0, 1]}, ValueError, r"ids has shape \(2,\); \(3,\) is needed"),
        ({"ids": [0.0, 1.0, 2.0]}, TypeError, "ids has dtype float64"),
        ({"ids": [0, -1, 2]}, ValueError, "ids must be from 0"),
        ({"ids": [0, 7, 7]}, ValueError, "ids has 7 more than once"),
        ({"batch_size": 0}, ValueError, "batch_size=0 must be at least 1"),
    ],
    ids=str,
)
def test_wrong_arguments(local_url, arguments, error, message):
    with open_store(local_url) as store:
        with pytest.raises(error, match=message):
            store.write(**({"codes": GOOD, "n_bits": 12} | arguments))
        assert listing(local_url) == []


def test_wrong_searches(url):
    with open_store(url) as store:
        store.write(GOOD, n_bits=12)
        for k in (0, True, 2.0):
            with pytest.raises(ValueError, match=f"k={k} must be a whole number"):
                store.search(GOOD, k)
        with pytest.raises(ValueError, match="queries has bits set behind bit 12"):
            store.search(GOOD | 1, 1)
        with pytest.raises(ValueError, match="id 3 is not in"):
            store.codes([1, 3])


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("words.db", "'words.db' is not the address of a store, such as sqlite:///words.db"),
        ("redis://:secret@host", r"redis://:\*\*\*@host: no store is called 'redis'; there are sq"),
        ("sqlite://words.db", "two slashes name a host"),
        ("duckdb:///", "duckdb:///: the path is missing"),
        ("sqlite:///w.db?tabel=x", "option 'tabel' is not known; allowed: table"),
        ("faiss:///w.faiss?table=x", "option 'table' is not known; allowed: none"),
        ("sqlite:///w.db?table=a b", "table='a b'; a name has letters"),
        ("sqlite:///w.db?table=a.b", "tables of SQLite have no schema"),
        ("lancedb:///w?table=", "table=''; a name has letters"),
        ("usearch:///w?hnsw=yes", "hnsw='yes'; allowed: 0 or 1"),
    ],
    ids=str,
)
def test_wrong_addresses(url, message):
    with pytest.raises(ValueError, match=message) as caught:
        open_store(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["sqlite", "duckdb", "faiss", "usearch"])
def test_the_folder_is_missing(tmp_path, scheme):
    need(scheme)
    with (
        open_store(f"{scheme}:///{tmp_path}/no/file") as store,
        pytest.raises(FileNotFoundError, match="output folder does not exist"),
    ):
        store.write(GOOD, n_bits=12)
    assert os.listdir(tmp_path) == []


def test_something_else_is_there(local_url, tmp_path):
    """A table, or a file, that this package has not written is never touched."""
    scheme, path = local_url.split(":///")
    make_foreign(scheme, path)
    before = listing(local_url)
    for replace in (False, True):
        with open_store(local_url) as store, pytest.raises(ValueError, match=FOREIGN[scheme]):
            store.write(GOOD, n_bits=12, replace=replace)
    assert listing(local_url) == before


FOREIGN = {
    "sqlite": r"table codes exists and was not written by embcompress \(it has code bit\[24\]\)",
    "duckdb": "table codes exists and was not written by embcompress",
    "lancedb": r"table codes exists .* \(it has code fixed_size_list<.*uint8.*>\[3\]\)",
    "faiss": "exists and was not written by embcompress as a store",
    "usearch": "exists and was not written by embcompress as a store",
}


def make_foreign(scheme: str, path: str) -> None:
    if scheme == "sqlite":
        connection = _sqlite_driver.connect(Path(path), write=True)
        connection.execute("CREATE VIRTUAL TABLE codes USING vec0(code bit[24])")
        connection.close()
    elif scheme == "duckdb":
        import duckdb

        with duckdb.connect(path) as connection:
            connection.execute("CREATE TABLE codes (code BIT)")
    elif scheme == "lancedb":
        import lancedb
        import pyarrow as pa

        schema = pa.schema([("code", pa.list_(pa.uint8(), 3))])
        lancedb.connect(path).create_table("codes", schema=schema)
    else:
        Path(path).write_bytes(b"a file of somebody else" * 9)


@pytest.mark.parametrize("scheme", ["faiss", "usearch"])
def test_damaged_files(scheme, tmp_path, make_codes):
    need(scheme)
    path, url = tmp_path / "f", f"{scheme}:///{tmp_path}/f"
    with open_store(url) as store:
        store.write(make_codes(50, 40), n_bits=40, keys=["x"] * 50)
    whole = path.read_bytes()
    n_payload = int.from_bytes(whole[-32:-24], "little")
    for damaged, message in (
        (whole[:100] + b"?" + whole[101:], "damaged: the checksum of the index"),
        (whole[:-50] + b"?" + whole[-49:], "damaged: the checksum of the metadata"),
        (whole[: n_payload - 9] + whole[n_payload:], "bytes found, .* expected; was the download"),
    ):
        path.write_bytes(damaged)
        with open_store(url) as store, pytest.raises(FormatError, match=message):
            store.info()
    path.write_bytes(whole[:-1])
    with open_store(url) as store, pytest.raises(ValueError, match="not written by embcompress"):
        store.info()


@pytest.mark.parametrize("scheme", ["sqlite", "duckdb"])
def test_a_file_that_is_no_database(scheme, tmp_path):
    need(scheme)
    (tmp_path / "f").write_bytes(b"no database at all " * 500)
    with (
        open_store(f"{scheme}:///{tmp_path}/f") as store,
        pytest.raises(FormatError, match=r"not a (DuckDB )?database"),
    ):
        store.info()


def test_metadata_of_a_newer_version(tmp_path):
    need("sqlite")
    url = f"sqlite:///{tmp_path}/s.db"
    with open_store(url) as store:
        store.write(GOOD, n_bits=12)
    connection = _sqlite_driver.connect(tmp_path / "s.db", write=True)
    for name, value, message in (
        ("format_version", "2", "format version '2', this embcompress .* reads version 1"),
        ("bitorder", "middle", "bitorder='middle' in the metadata; allowed: big, little"),
        ("n_bits", "-3", "n_bits='-3' in the metadata is no number of bits"),
    ):
        change = "UPDATE codes_embcompress SET value = ? WHERE name = ?"
        ((old,),) = connection.execute(
            "SELECT value FROM codes_embcompress WHERE name = ?", (name,)
        )
        connection.execute(change, (value, name))
        with open_store(url) as store, pytest.raises(FormatError, match=message):
            store.search(GOOD, 1)
        connection.execute(change, (old, name))
    connection.close()


def test_sqlite_that_cannot_load_extensions(tmp_path, monkeypatch):
    pytest.importorskip("sqlite_vec")

    class Bare:
        Connection = object
        Error = sqlite3.Error

    def require(module, **options):
        if module == "apsw":
            raise MissingExtraError("apsw is not installed")
        return real(module, **options)

    real = _sqlite_driver.require
    monkeypatch.setattr(_sqlite_driver, "sqlite3", Bare)
    monkeypatch.setattr(_sqlite_driver, "require", require)
    with (
        open_store(f"sqlite:///{tmp_path}/s.db") as store,
        pytest.raises(MissingExtraError, match=r"built without loading of extensions.*apsw"),
    ):
        store.write(GOOD, n_bits=12)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("scheme", "package"),
    [("sqlite", "sqlite_vec"), ("duckdb", "duckdb"), ("postgresql", "psycopg"),
     ("lancedb", "lancedb"), ("usearch", "usearch")],
)  # fmt: skip
def test_a_client_that_is_not_installed(scheme, package, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    message = rf'store needs {package}, which is not installed: pip install "embcompress\[stores\]"'
    with (
        pytest.raises(MissingExtraError, match=message),
        open_store(f"{scheme}:///{tmp_path}/s") as store,
    ):
        store.write(GOOD, n_bits=12)
    assert os.listdir(tmp_path) == []
