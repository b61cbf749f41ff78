"""What stores share whose codes are in tables of one database file."""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["DatabaseFile"]


class DatabaseFile(ABC):
    """A database file, and a connection that is made when it is needed."""

    _path: Path
    _name: str
    _connection: Any = None
    _writable = False

    @abstractmethod
    def _connect(self, *, write: bool) -> Any:
        """Open the file; to write, it is made if it is not there."""

    @property
    def place(self) -> str:
        """File and table."""
        return f"{self._path}, table {self._name}"

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self, *, write: bool) -> None:
        if self._connection is not None and (self._writable or not write):
            return
        self.close()
        self._connection = self._connect(write=write)
        self._writable = write

    @contextmanager
    def _nothing_left(self, log: str) -> Iterator[None]:
        """After a failure close the file, and remove it and its log if it was not there before."""
        is_new = not self._path.exists()
        folder = self._path.parent
        if not folder.is_dir():
            raise FileNotFoundError(errno.ENOENT, "the output folder does not exist", str(folder))
        try:
            yield
        except BaseException:
            self.close()
            if is_new:
                for path in (self._path, self._path.with_name(self._path.name + log)):
                    path.unlink(missing_ok=True)
            raise
