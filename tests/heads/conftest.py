"""One thread for torch in all tests of heads."""

from __future__ import annotations

import importlib.util

import pytest


@pytest.fixture(autouse=True)
def one_thread():
    if importlib.util.find_spec("torch") is None:
        yield
        return
    from embcompress.training import threads

    with threads(1):
        yield
