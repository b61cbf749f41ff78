"""docs/augmentation.md: its examples run, and its tables name what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("torch")

from embcompress.augmentation.cache import STORAGES
from embcompress.augmentation.forms import FORMS

PAGE = (Path(__file__).parents[2] / "docs" / "augmentation.md").read_text("utf-8")


@pytest.mark.filterwarnings("ignore:operators leave")
def test_examples_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert len(blocks) == 3
    scope: dict = {"__name__": __name__}
    for code in blocks:
        exec(compile(code, "docs/augmentation.md", "exec"), scope)
    assert "of the displacement unexplained" in capsys.readouterr().out


def test_tables():
    named = dict(re.findall(r'^\| `"(\w+)"` \| `(\w+)` \|', PAGE, flags=re.MULTILINE))
    assert named == {name: form.__name__ for name, form in FORMS.items()}
    stored = re.findall(r'^\| `"(\w+)"` \| [\d/]', PAGE, flags=re.MULTILINE)
    assert set(stored) == set(STORAGES) - {"float32"}
