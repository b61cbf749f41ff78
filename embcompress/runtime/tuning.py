"""Layouts chosen by time on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from embcompress.runtime.model import Program
from embcompress.runtime.records import Graph, Linear, Node, Weight

__all__ = ["fastest", "single", "timed"]

#: Layouts that matrices are tried in.
TRIED = ("dense", "strips", "bspc", "csr")

_SECONDS, _ROUNDS = 0.004, 5
# shape, kept weights, type and rows -> layout: the same layer is not tried twice
_known: dict[tuple, str] = {}


def fastest(weight: Weight, batch_size: int = 1) -> str:
    """Time a matrix in every layout.

    Parameters
    ----------
    weight : Weight
        Of two axes.
    batch_size : int, default 1

    Returns
    -------
    str
        Found again without timing for a matrix with the same zeros.
    """
    key = (weight.shape, np.packbits(weight.kept).tobytes(), weight.is_int8, batch_size)
    if key not in _known:
        _known[key] = _fastest(weight, batch_size)
    return _known[key]


def _fastest(weight: Weight, batch_size: int) -> str:
    x = np.random.default_rng(0).normal(size=(batch_size, weight.shape[1])).astype(np.float32)
    runs = {}
    for layout in TRIED:
        program = single(replace(weight, layout=layout))
        runs[layout] = lambda program=program: program(x)
    times = timed(runs)
    return min(TRIED, key=lambda layout: times[layout])


def single(weight: Weight) -> Program:
    """Program of one matrix."""
    return Program(Graph([Node("0", Linear(weight))], "rows", (weight.shape[1],)))


def timed(runs: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Time functions side by side.

    Parameters
    ----------
    runs : dict of str to callable

    Returns
    -------
    dict of str to float
        Seconds of processor time for a call: the median of some rounds, taken in turn.
    """
    counts = {}
    for name, run in runs.items():
        run()
        start = time.process_time()
        run()
        counts[name] = max(1, int(_SECONDS / max(time.process_time() - start, 1e-6)))
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(_ROUNDS):
        for name, run in runs.items():
            start = time.process_time()
            for _ in range(counts[name]):
                run()
            seconds[name].append((time.process_time() - start) / counts[name])
    return {name: float(np.median(values)) for name, values in seconds.items()}
