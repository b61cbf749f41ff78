"""Time several calls side by side."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import numpy as np

__all__ = ["interleaved", "times_of"]


def times_of(
    calls: Mapping[str, Callable[[], Any]],
    *,
    rounds: int,
    clock: Callable[[], float] = time.process_time,
    seconds: float = 0.02,
) -> dict[str, list[float]]:
    """Seconds of each call in each round; one call before is not counted.

    Each round runs every call for about `seconds`, in a new order: what a busy machine does to one
    it does to the others too, and what a call finds in the caches depends on which one ran before.
    """
    counts = {}
    for name, call in calls.items():
        call()
        start = clock()
        call()
        counts[name] = max(1, int(seconds / max(clock() - start, 1e-6)))
    times: dict[str, list[float]] = {name: [] for name in calls}
    generator = np.random.default_rng(0)
    for _ in range(rounds):
        for name in generator.permutation(list(calls)):
            call = calls[name]
            start = clock()
            for _ in range(counts[name]):
                call()
            times[name].append((clock() - start) / counts[name])
    return times


def interleaved(
    calls: Mapping[str, Callable[[], Any]], *, rounds: int = 15, seconds: float = 0.02
) -> dict[str, float]:
    """Median processor time of a call, in microseconds; see :func:`times_of`."""
    times = times_of(calls, rounds=rounds, seconds=seconds)
    return {name: 1e6 * median(values) for name, values in times.items()}
