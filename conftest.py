"""Modules that need PyTorch are not searched for examples where it is not installed."""

from __future__ import annotations

import importlib.util

collect_ignore_glob = []
if importlib.util.find_spec("torch") is None:
    collect_ignore_glob += [
        "embcompress/heads/*",
        "embcompress/lowering/*",
        "embcompress/pruning/*",
        "embcompress/training.py",
        "tests/lowering/lowering_cases.py",
        "tests/scale/array_api_cases.py",
        "tests/pruning/small_models.py",
    ]
