"""docs/pruning.md: its examples run, and its tables say what is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from embcompress import pruning  # noqa: E402
from embcompress.pruning import KINDS, SCHEMES, SOLVERS  # noqa: E402
from embcompress.pruning.recipes import RECIPES  # noqa: E402

PAGE = (Path(__file__).parents[2] / "docs" / "pruning.md").read_text("utf-8")
COLUMNS = (("linear",), ("conv",), ("gru_input", "lstm_input"), ("gru_recurrent", "lstm_recurrent"))


def table(first):
    """Cells of the rows of the table whose header begins so."""
    _, _, rest = PAGE.partition(f"| {first} |")
    lines = rest.splitlines()[2:]
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def test_examples_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert len(blocks) == 6
    # a class of dataclasses must find its module
    scope: dict = {"__name__": __name__}
    for code in blocks:
        exec(compile(code, "docs/pruning.md", "exec"), scope)
    assert "layers.0.weight" in capsys.readouterr().out


def test_scheme_table():
    rows = {re.match(r"`(\w+)`", row[0]).group(1): row[1:] for row in table("scheme")}
    assert set(rows) == {kind.__name__ for kind in SCHEMES.values()}
    for name, (_, *fits, layout) in rows.items():
        scheme = getattr(pruning, name)
        assert scheme.layout == layout
        assert {k for k in scheme.kinds} <= set(KINDS)
        for cell, kinds in zip(fits, COLUMNS, strict=True):
            assert (cell == "yes") == all(kind in scheme.kinds for kind in kinds), (name, kinds)


def test_solver_table():
    rows = {row[0].strip("`"): row[2] for row in table("solver")}
    assert set(rows) == {kind.__name__ for kind in SOLVERS.values()}
    for name, refused in rows.items():
        needs = getattr(pruning, name).needs_scheme
        lacking = {
            scheme.__name__
            for scheme in SCHEMES.values()
            if not all(hasattr(scheme, method) for method in needs)
        }
        assert set(re.findall(r"`(\w+)`", refused)) == lacking


def test_recipe_table():
    rows = {row[1].strip("`"): row[3] for row in table("you have")}
    assert set(rows) == set(RECIPES)
    for name, papers in rows.items():
        for number in re.findall(r"\d{4}\.\d{5}", papers):
            assert number in RECIPES[name].__doc__
