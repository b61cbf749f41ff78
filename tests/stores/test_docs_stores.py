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
