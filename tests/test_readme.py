"""The examples of the README run as they stand there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
COMMANDS = re.findall(r"^\$ embcompress (.*)$", README, flags=re.MULTILINE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder in which the paths of the README hold."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "data").symlink_to(ROOT / "data")
    return folder


def test_there_are_examples():
    assert len(PYTHON) >= 2
    assert len(COMMANDS) >= 3


@pytest.mark.parametrize("code", PYTHON, ids=range(len(PYTHON)))
def test_python_example(code, folder):
    if "heads" in code:
        pytest.importorskip("torch")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    # numbers may differ in the last bits from one processor to another; the form may not
    shown = README.split(code)[1].split("```\n")[2]
    assert re.sub(r"\d+", "0", done.stdout)[:12] == re.sub(r"\d+", "0", shown)[:12]


def test_commands(folder):
    # in order: the later ones use what the first one writes
    for command in COMMANDS:
        done = subprocess.run(
            [sys.executable, "-m", "embcompress", *shlex.split(command)],
            cwd=folder,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        shown = README.split(f"$ embcompress {command}\n")[1].split("\n\n")[0].split("```")[0]
        lines = done.stdout.splitlines()
        assert len(lines) == len(shown.splitlines())
        assert lines[0].split() == shown.splitlines()[0].split()
