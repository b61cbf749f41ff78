"""What stores share whose codes are in an index file of another program."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embcompress.stores._appended import Appended, read_appended
from embcompress.stores._description import Description
from embcompress.stores._rows import Ids

__all__ = ["IndexFile"]


class IndexFile(ABC):
    """An index file with ids, keys and metadata behind what the other program reads."""

    _path: Path
    _appended: Appended | None = None

    @abstractmethod
    def close(self) -> None:
        """Forget what was read."""

    @property
    def place(self) -> str:
        """The file."""
        return str(self._path)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        yield  # files are ours; the other program raises only where it reads its part

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        yield  # the file is written beside its place and renamed

    def _read(self) -> Description | None:
        self.close()
        self._appended = read_appended(self._path)
        return None if self._appended is None else self._appended.described

    def _words(self) -> Appended:
        if self._appended is None:
            self._appended = read_appended(self._path)
        assert self._appended is not None  # whoever asks has read the description
        return self._appended

    def _count(self) -> int:
        return len(self._words().ids)

    def _find(self, key: str) -> int | None:
        return self._words().find(key)

    def _keys(self, ids: Ids) -> dict[int, str | None]:
        words = self._words()
        return {int(words.ids[row]): words.key(row) for row in words.rows_of(ids)}
