"""Threads for compiled loops: one pool for all indexes, and a lock for readers and writers."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

__all__ = ["SharedLock", "available_cores", "run_jobs"]

_T = TypeVar("_T")

_pool: ThreadPoolExecutor | None = None
_pool_lock = threading.Lock()


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_jobs(jobs: Sequence[Callable[[], _T]]) -> list[_T]:
    """Run jobs side by side; the calling thread does the first one.

    Parameters
    ----------
    jobs : sequence of callables

    Returns
    -------
    list
        What they returned, in their order.
    """
    if not jobs:
        return []
    futures = [_threads().submit(job) for job in jobs[1:]]
    try:
        first = jobs[0]()
    except BaseException:
        for future in futures:
            future.cancel()
        raise
    return [first, *(future.result() for future in futures)]


def _threads() -> ThreadPoolExecutor:
    global _pool
    with _pool_lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(max(1, available_cores() - 1), "embcompress-search")
        return _pool


def _forget_threads() -> None:
    """Threads do not live on in a forked process."""
    global _pool, _pool_lock
    _pool, _pool_lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)


class SharedLock:
    """Any number of readers, or one writer; a waiting writer goes first."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._readers = 0
        self._writers = 0  # that write or wait to
        self._writing = False

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Read: with others, not while something is written."""
        with self._changed:
            self._changed.wait_for(lambda: not self._writers)
            self._readers += 1
        try:
            yield
        finally:
            with self._changed:
                self._readers -= 1
                self._changed.notify_all()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Write: alone."""
        with self._changed:
            self._writers += 1
            self._changed.wait_for(lambda: not self._readers and not self._writing)
            self._writing = True
        try:
            yield
        finally:
            with self._changed:
                self._writing = False
                self._writers -= 1
                self._changed.notify_all()
