"""Where the data of the benchmarks are, and what was computed from them once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["CACHE", "Array", "cached", "data_folder"]

CACHE = Path(__file__).resolve().parent / "cache"
Array = npt.NDArray[Any]


def data_folder() -> Path:
    """The folder of the data."""
    return Path(os.environ["EMBCOMPRESS_DATA"])


def cached(subject: str, name: str, make: Callable[[], dict[str, Array]]) -> dict[str, Array]:
    """Arrays from a folder of the cache, made once."""
    path = CACHE / subject / f"{name}.npz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{name}.part.npz")
        np.savez(partial, **make())
        partial.replace(path)
    with np.load(path) as file:
        return {key: file[key] for key in file.files}
