"""docs/stores.md: its examples run, and its tables say what is true."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from command import run_here
from store_places import need

from embcompress.stores import SCHEMES, open_store

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "stores.md").read_text("utf-8")
SERVER = "# with a server\n"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder in which the paths of the page hold."""
    (tmp_path / "data").symlink_to(ROOT / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_blocks(blocks, scope):
    for code in blocks:
        exec(compile(code, "docs/stores.md", "exec"), scope)


def test_python_examples(here, capsys):
    for scheme in SCHEMES:
        if scheme != "postgresql":
            need(scheme)
    blocks = [block for block in BLOCKS if not block.startswith(SERVER)]
    assert len(blocks) == 2
    run_blocks(blocks, {})
    shown = capsys.readouterr().out
    assert shown.startswith("[0 0] [0 1] sentence 1\n")
    assert "has_keys=True, has_encoder=True, metadata={'model': 'name of your model'}" in shown


def test_the_example_with_a_server(here, postgres_url, capsys):
    need("sqlite")
    blocks = [block for block in BLOCKS if block.startswith(SERVER)]
    assert len(blocks) == 1
    server = re.sub(r'url = ".*"', f'url = "{postgres_url}"', blocks[0])
    run_blocks([BLOCKS[0], server], {})
    assert "[['sentence 0', " in capsys.readouterr().out


def run_sql(block, url, sample_keys):
    """The first column of what a block of SQL finds, on a table of the name in the address."""
    psycopg = pytest.importorskip("psycopg")
    server, _, table = url.partition("?table=")
    codes = np.random.default_rng(0).integers(0, 256, (50, 8), dtype=np.uint8)
    with open_store(url) as store:
        store.write(codes, n_bits=64, keys=sample_keys)
        expected = store.most_similar(sample_keys[7], 9)
    with psycopg.connect(server) as connection:
        rows = connection.execute(block.replace("sentences", table)).fetchall()
    return [row[0] for row in rows], [sample_keys[7], *(key for key, _ in expected)]


def test_sql(postgres_url):
    blocks = re.findall(r"```sql\n(.*?)```", PAGE, flags=re.DOTALL)
    assert len(blocks) == 2
    found, expected = run_sql(blocks[0], postgres_url, [f"k{i}" for i in range(50)])
    assert found == expected


def test_sql_of_pgvector(pgvector_url):
    psycopg = pytest.importorskip("psycopg")
    with psycopg.connect(pgvector_url.partition("?")[0]) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    block = re.findall(r"```sql\n(.*?)```", PAGE, flags=re.DOTALL)[1]
    found, expected = run_sql(block, pgvector_url, [f"k{i}" for i in range(50)])
    assert found[0] == expected[0]
    assert len(set(found)) == 10


def test_commands(here):
    need("sqlite")
    need("duckdb")
    np.save("codes.npy", np.random.default_rng(0).integers(0, 256, (5, 32), dtype=np.uint8))
    Path("sentences.txt").write_text("a\nb\nc\nd\ne\n")
    commands = re.findall(r"^\$ embcompress (.*)$", PAGE, flags=re.MULTILINE)
    assert len(commands) == 4
    for command in commands:
        done = run_here(*shlex.split(command))
        assert done.returncode == 0, done.stderr


def test_every_store_is_in_the_tables():
    addresses = re.findall(r"^\| `(\w+):///?[^`]*` \|", PAGE, flags=re.MULTILINE)
    assert addresses == list(SCHEMES)


def test_the_bit_orders(tmp_path):
    _, _, table = PAGE.partition("| store | order |")
    shown = {}
    for line in table.splitlines()[2:]:
        if not line.startswith("|"):
            break
        names, order = (cell.strip() for cell in line.split("|")[1:3])
        shown |= dict.fromkeys(names.lower().split(", "), order.partition(":")[0])
    names = {"sqlite": "sqlite-vec"}
    for scheme in SCHEMES:
        need(scheme)
        address = f"{scheme}:///x" if scheme != "postgresql" else "postgresql://x@localhost/x"
        assert open_store(address).bit_order == shown[names.get(scheme, scheme)]
