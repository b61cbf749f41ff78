"""One thread for torch, and the same random numbers, in all tests of lowering."""

from __future__ import annotations

import importlib.util

import pytest


@pytest.fixture(autouse=True)
def one_thread():
    if importlib.util.find_spec("torch") is None:
        yield
        return
    import torch

    from embcompress.training import threads

    with threads(1):
        torch.manual_seed(0)
        yield
