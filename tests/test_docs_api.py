"""The API reference: every public name is in it, and has a docstring."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import warnings
from pathlib import Path

import pytest

import embcompress

ROOT = Path(__file__).parent.parent
HAS_TORCH = importlib.util.find_spec("torch") is not None


def load_script():
    spec = importlib.util.spec_from_file_location("make_api", ROOT / "docs" / "make_api.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def public_modules() -> list[str]:
    """Modules that users take names from."""
    modules = {f"embcompress.{name}" for name in embcompress._MODULES}
    if not HAS_TORCH:
        modules -= {"embcompress.heads", "embcompress.pruning"}
    return ["embcompress", *sorted(modules | {*load_script().MODULES})]


def public_names(module: str) -> list[str]:
    return [name for name in importlib.import_module(module).__all__ if name[0] != "_"]


NAMES = [(module, name) for module in public_modules() for name in public_names(module)]


def test_there_are_names():
    assert len(NAMES) > 120


@pytest.mark.parametrize(("module", "name"), NAMES, ids=lambda value: str(value))
def test_public_names_have_docstrings(module, name):
    if module == "embcompress" and name in {"heads", "pruning"} and not HAS_TORCH:
        pytest.skip("torch is not installed")
    thing = getattr(importlib.import_module(module), name)
    if not (inspect.isclass(thing) or inspect.isfunction(thing) or inspect.ismodule(thing)):
        return  # a constant, which has a comment
    assert inspect.getdoc(thing), f"{module}.{name}"
    if inspect.isclass(thing):
        for member, value in vars(thing).items():
            if not member.startswith("_") and (callable(value) or isinstance(value, property)):
                assert inspect.getdoc(getattr(thing, member)), f"{module}.{name}.{member}"


@pytest.mark.skipif(not HAS_TORCH, reason="torch is not installed, whose modules are documented")
def test_every_public_name_is_in_the_reference(tmp_path, capsys):
    pytest.importorskip("pdoc")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # types that are imported for the checker only
        assert load_script().main(["-o", str(tmp_path / "api")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "api" / "embcompress.html")
    missing = []
    for module in public_modules():
        page = (tmp_path / "api" / f"{module.replace('.', '/')}.html").read_text("utf-8")
        ids = set(re.findall(r'id="([^"]+)"', page))
        for name in public_names(module):
            inner = tmp_path / "api" / module.replace(".", "/") / f"{name}.html"
            if name not in ids and not inner.exists():
                missing.append(f"{module}.{name}")
    assert missing == []
    page = (tmp_path / "api" / "embcompress.html").read_text("utf-8")
    assert "CompressedVectors.most_similar" in page
    assert not re.search(r'<(?:script|link|img)[^>]+(?:src|href)="https?:', page)
    inherited = (tmp_path / "api" / "embcompress" / "vectors.html").read_text("utf-8")
    assert "equal ones in the order of the file" in " ".join(inherited.split())
