"""Arrays of a program, gathered into one flat array for each type."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Arena", "aligned"]

# bytes of a line of the cache: vectors that cross lines cost twice
_LINE = 64


def aligned(size: int, dtype: Any) -> npt.NDArray[Any]:
    """New array of zeros that begins at a line of the cache.

    Parameters
    ----------
    size : int
    dtype : data type

    Returns
    -------
    ndarray of shape (size,)
    """
    item = np.dtype(dtype).itemsize
    room = np.zeros(size * item + _LINE, np.uint8)
    start = -room.ctypes.data % _LINE
    return room[start : start + size * item].view(dtype)


class Arena:
    """A flat array that grows: parts are added and found by their place.

    Parameters
    ----------
    dtype : data type
    """

    def __init__(self, dtype: Any) -> None:
        self.dtype = np.dtype(dtype)
        self._parts: list[tuple[int, npt.NDArray[Any]]] = []
        self._known: dict[bytes, int] = {}
        self.size = 0

    def add(self, array: npt.ArrayLike) -> int:
        """Append numbers at the next line of the cache; equal short ones are kept once.

        Parameters
        ----------
        array : array-like

        Returns
        -------
        int
            Where they begin.
        """
        part = np.ascontiguousarray(array, self.dtype).ravel()
        key = part.tobytes() if part.nbytes <= 4096 else None
        if key is not None and key in self._known:
            return self._known[key]
        at, step = self.size, max(1, _LINE // self.dtype.itemsize)
        self._parts.append((at, part))
        self.size = at + -(-part.size // step) * step
        if key is not None:
            self._known[key] = at
        return at

    def build(self) -> npt.NDArray[Any]:
        """All parts as one array; a vector may be read past the last.

        Returns
        -------
        ndarray of shape (size + some,)
        """
        array = aligned(self.size + _LINE, self.dtype)
        for at, part in self._parts:
            array[at : at + part.size] = part
        return array
