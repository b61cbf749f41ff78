"""Running tasks where Dask runs them: on threads here, or on the workers of a cluster."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from embcompress._optional import require
from embcompress.progress import ProgressBar

__all__ = ["as_completed", "compute"]

# Results that one task merges; also the unit of progress.
_MERGED = 16


def _client() -> Any:
    """The client of a cluster, if there is one."""
    if "distributed" not in sys.modules:  # without it there is no client, and it is heavy
        return None
    from distributed import get_client

    try:
        return get_client()
    except ValueError:
        return None


def as_completed(tasks: Sequence[Any]) -> Iterator[tuple[int, Any]]:
    """Run tasks, wherever Dask runs them.

    Parameters
    ----------
    tasks : sequence of Delayed

    Yields
    ------
    place : int
        Of the task in the sequence.
    result : object
        As tasks end, in any order.

    Raises
    ------
    RuntimeError
        If a task lost more workers than are allowed.
    """
    client = _client()
    if client is None:
        step = os.cpu_count() or 1  # so many at a time: results come as they are made
        for first in range(0, len(tasks), step):
            results = require("dask", extra="dask").compute(*tasks[first : first + step])
            yield from enumerate(results, start=first)
        return
    from distributed import as_completed as each_completed

    futures = client.compute(list(tasks))
    places = {future.key: place for place, future in enumerate(futures)}
    with _lost_workers():
        try:
            for future, result in each_completed(futures, with_results=True):
                yield places[future.key], result
        finally:  # after an error nothing more is to be written
            client.cancel(futures)


def compute(
    parts: Sequence[Any], merge: Callable[[list[Any]], Any], description: str, *, progress: bool
) -> Any:
    """Compute parts and merge them in their order, as a tree.

    Parameters
    ----------
    parts : sequence of Delayed
    merge : callable
        From a list of results to one of the same kind.
    description : str
        For the progress bar.
    progress : bool
        Show one.

    Returns
    -------
    object
        The merged result.

    Raises
    ------
    RuntimeError
        If a task lost more workers than are allowed.
    """
    task = require("dask", extra="dask").delayed(merge)
    groups = [task(list(parts[k : k + _MERGED])) for k in range(0, len(parts), _MERGED)]
    client = _client()
    with ProgressBar(description, len(groups), unit="steps", enabled=progress) as bar:
        if client is None:
            return _compute_here(groups, task, bar)
        from distributed import as_completed as each_completed

        futures = client.compute(groups)
        with _lost_workers():
            for future in each_completed(futures):
                if future.status == "error":
                    future.result()  # raises it
                bar.advance(1)
            return client.compute(_tree(futures, task)).result()


def _compute_here(groups: list[Any], task: Any, bar: ProgressBar) -> Any:
    from dask.callbacks import Callback

    keys = {group.key for group in groups}

    def advance(key: Any, *_: Any) -> None:
        if key in keys:
            bar.advance(1)

    with Callback(posttask=advance):
        return _tree(groups, task).compute()


def _tree(parts: list[Any], task: Any) -> Any:
    """Merge in steps of a few, so that no worker has to hold all parts."""
    while True:
        parts = [task(parts[k : k + _MERGED]) for k in range(0, len(parts), _MERGED)]
        if len(parts) == 1:
            return parts[0]


@contextmanager
def _lost_workers() -> Iterator[None]:
    """Say in one line what happened where workers were lost too often."""
    from distributed import KilledWorker

    try:
        yield
    except KilledWorker as error:
        raise RuntimeError(
            f"{error.allowed_failures + 1} Dask workers were lost one after another while they "
            f"worked on the same partition ({error.task}; the last was "
            f"{getattr(error.last_worker, 'address', error.last_worker)}). Mostly that means too "
            "little memory: use smaller partitions or more memory per worker. If workers come "
            "and go, raise distributed.scheduler.allowed-failures in the Dask configuration"
        ) from error
