"""Progress bars for long work: rate and time left on a terminal, silence elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

__all__ = ["ProgressBar"]

# A bar that flashes by is noise: nothing is drawn for work shorter than this.
_DELAY_SECONDS = 1.0


class ProgressBar:
    """Show the progress of one phase on standard error.

    Drawn only if `enabled`, if standard error is a terminal, and once the work has lasted a
    second. Use it as a context manager and call :meth:`advance`.

    Parameters
    ----------
    description : str
        Short, such as ``"Reading glove.txt"``.
    total : int, optional
        Amount of work; unknown shows a moving bar.
    unit : {"B", "rows", "steps"}
        ``"B"`` shows sizes and rates in bytes.
    enabled : bool

    Examples
    --------
    >>> with ProgressBar("Encoding", total=10, unit="rows", enabled=False) as bar:
    ...     bar.advance(10)
    """

    def __init__(
        self,
        description: str,
        total: int | None = None,
        *,
        unit: str = "rows",
        enabled: bool = True,
    ) -> None:
        self.description = description
        self.total = total
        self.unit = unit
        self._active = enabled and sys.stderr.isatty()
        self._started = time.monotonic()
        self._done = 0
        self._rich: Any = None
        self._task: Any = None

    def __enter__(self) -> ProgressBar:
        self._started = time.monotonic()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._rich is not None:
            self._rich.stop()

    def advance(self, amount: int) -> None:
        """Report that `amount` more units are done."""
        self._done += amount
        if not self._active:
            return
        if self._rich is None and time.monotonic() - self._started >= _DELAY_SECONDS:
            self._open()
        if self._rich is not None:
            self._rich.update(self._task, completed=self._done)

    def _open(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        if self.unit == "B":
            amounts = [DownloadColumn(), TransferSpeedColumn()]
        else:
            amounts = [MofNCompleteColumn(), TextColumn(self.unit), _rate_column(self.unit)]
        self._rich = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            *amounts,
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._rich.add_task(self.description, total=self.total)
        self._rich.tasks[0].start_time = self._rich.get_time() - (time.monotonic() - self._started)
        self._rich.start()


def _rate_column(unit: str) -> Any:
    from rich.progress import ProgressColumn, Task
    from rich.text import Text

    class RateColumn(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:,.0f} {unit}/s" if speed else "")

    return RateColumn()
