"""docs/runtime.md: its examples run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "runtime.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


def test_examples_run(tmp_path, monkeypatch, capsys):
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    assert len(BLOCKS) == 2
    scope: dict = {}
    for code in BLOCKS:
        exec(compile(code, "docs/runtime.md", "exec"), scope)
    assert "fewer weights" in capsys.readouterr().out


def test_schemes_of_the_table_exist():
    pytest.importorskip("torch")
    from embcompress import pruning

    names = re.findall(r"`([A-Z]\w+)(?:\(|`)", PAGE.partition("| zeros |")[2].partition("\n\n")[0])
    assert len(names) >= 8
    assert all(hasattr(pruning, name) for name in names)
