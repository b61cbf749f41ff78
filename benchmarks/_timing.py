"""Time several calls side by side in processor time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import numpy as np

__all__ = ["interleaved"]


def interleaved(
    calls: Mapping[str, Callable[[], Any]], *, rounds: int = 15, seconds: float = 0.02
) -> dict[str, float]:
    """Median processor time of a call, in microseconds.

    Each round runs every call for about `seconds`, in a new order: what a busy machine does to one
    it does to the others too.
    """
    counts = {}
    for name, call in calls.items():
        call()
        start = time.process_time()
        call()
        counts[name] = max(1, int(seconds / max(time.process_time() - start, 1e-6)))
    times: dict[str, list[float]] = {name: [] for name in calls}
    generator = np.random.default_rng(0)
    for _ in range(rounds):
        for name in generator.permutation(list(calls)):
            call = calls[name]
            start = time.process_time()
            for _ in range(counts[name]):
                call()
            times[name].append((time.process_time() - start) / counts[name])
    return {name: 1e6 * median(values) for name, values in times.items()}
