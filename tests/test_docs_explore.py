"""docs/explore.md and docs/hub.md: their examples run, their names exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from command import run_here

from embcompress.explore import LARGEST_PAGE

ROOT = Path(__file__).parent.parent
PAGES = {name: (ROOT / "docs" / f"{name}.md").read_text("utf-8") for name in ("explore", "hub")}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "data").symlink_to(ROOT / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_commands(text):
    for command in re.findall(r"^\$ embcompress (.*)$", text, flags=re.MULTILINE):
        done = run_here(*shlex.split(command))
        assert done.returncode == 0, done.stderr


def run_python(text):
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert len(blocks) == 1
    exec(compile(blocks[0], "docs", "exec"), {})


def test_explore(folder):
    run_commands(PAGES["explore"])
    large = (folder / "page.html").read_text("utf-8")
    run_python(PAGES["explore"])
    small = (folder / "page.html").read_text("utf-8")
    assert "<title>Words of English Wikipedia</title>" in large
    assert len(small) < len(large)
    assert f"above {LARGEST_PAGE // 10**6} MB" in PAGES["explore"]


def test_hub(folder, capsys):
    run_python(PAGES["hub"])
    assert capsys.readouterr().out == "True\n"
    run_commands(PAGES["hub"])


def test_names_of_the_javascript_reader_exist():
    web = ROOT / "embcompress" / "web"
    files = ("embcompress.js", "container.js", "vocabulary.js")
    script = "".join((web / name).read_text("utf-8") for name in files)
    table = PAGES["explore"].split("## The reader in JavaScript")[1].partition("| name |")[2]
    first = " ".join(line.split(" | ")[0] for line in table.partition("\n\n")[0].splitlines()[1:])
    names = re.findall(r"`(?:\w+\.)?(\w+)(?=[(`])", first)
    assert {"readContainer", "read", "mostSimilar", "distances", "prepare"} <= {*names}
    for name in names:
        assert re.search(rf"\b{name}\(|this\.{name} =", script), name
