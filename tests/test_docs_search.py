"""docs/search.md: its examples run, and print what stands below them."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = (Path(__file__).parents[1] / "docs" / "search.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```\n(?:\n```\n(.*?)```)?", PAGE, flags=re.DOTALL)


def test_examples_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert len(BLOCKS) == 6
    scope: dict = {}
    for code, shown in BLOCKS:
        exec(compile(code, "docs/search.md", "exec"), scope)
        assert capsys.readouterr().out == shown
