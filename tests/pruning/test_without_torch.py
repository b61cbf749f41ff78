"""Without PyTorch the message says how to install it."""

from __future__ import annotations

import importlib
import sys

import pytest

import embcompress
from embcompress._optional import MissingExtraError


@pytest.mark.parametrize("name", ["heads", "pruning"])
def test_the_message_names_the_extra(monkeypatch, name):
    monkeypatch.setitem(sys.modules, "torch", None)
    parts = ("embcompress.heads", "embcompress.pruning", "embcompress.training")
    for module in [module for module in sys.modules if module.startswith(parts)]:
        monkeypatch.delitem(sys.modules, module)
    for part in ("heads", "pruning", "training"):  # known where a test before imported them
        monkeypatch.delitem(vars(embcompress), part, raising=False)
    with pytest.raises(MissingExtraError, match=r'needs torch.*"embcompress\[torch\]"'):
        importlib.import_module(f"embcompress.{name}")
