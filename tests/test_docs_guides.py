"""docs/quickstart.md and docs/recipes.md: commands and examples run, links lead somewhere."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = ["quickstart.md", "recipes.md"]


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text("utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder in which the paths of the pages hold."""
    folder = tmp_path_factory.mktemp("guides")
    (folder / "data").symlink_to(ROOT / "data")
    return folder


@pytest.mark.parametrize("name", PAGES)
def test_commands_run(name, folder):
    commands = re.findall(r"^\$ embcompress (.*)$", page(name), flags=re.MULTILINE)
    assert len(commands) >= 2
    for command in commands:
        done = subprocess.run(
            [sys.executable, "-m", "embcompress", *shlex.split(command)],
            cwd=folder,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout


@pytest.mark.parametrize("name", PAGES)
def test_examples_run(name, folder, monkeypatch, capsys):
    pytest.importorskip("torch")
    if "sqlite" in page(name):
        pytest.importorskip("sqlite_vec")
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.chdir(folder)
    blocks = re.findall(r"```python\n(.*?)```\n(?:\n```\n(.*?)```)?", page(name), flags=re.DOTALL)
    assert len(blocks) >= 2
    scope: dict = {}
    for code, shown in blocks:
        exec(compile(code, f"docs/{name}", "exec"), scope)
        assert capsys.readouterr().out == shown


@pytest.mark.parametrize("path", sorted((ROOT / "docs").glob("*.md")), ids=lambda p: p.name)
def test_links_lead_to_files(path):
    for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", path.read_text("utf-8")):
        assert (path.parent / target).exists(), f"{path.name} links to {target}"
