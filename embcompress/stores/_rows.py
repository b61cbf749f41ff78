"""Rows on their way into a store: codes, their ids and keys, checked once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from embcompress.codes import Codes, check_codes

__all__ = ["Rows", "check_metadata", "check_pad_bits", "check_rows"]

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Rows:
    """Codes with ids and keys.

    Attributes
    ----------
    ids : ndarray of int64, shape (n,)
        Distinct, not negative.
    codes : ndarray of uint8, shape (n, n_bytes)
    keys : sequence of str, or None
    """

    ids: Ids
    codes: Codes
    keys: Sequence[str] | None

    def __len__(self) -> int:
        return len(self.ids)

    def batches(self, size: int) -> Iterator[Rows]:
        """The rows in order, `size` at a time, keys checked to be text."""
        for start in range(0, len(self), size):
            part = slice(start, start + size)
            keys = None
            if self.keys is not None:
                keys = [
                    _checked(key, f"key {place}")
                    for place, key in enumerate(self.keys[part], start)
                ]
            yield replace(self, ids=self.ids[part], codes=self.codes[part], keys=keys)


def check_rows(
    codes: npt.ArrayLike,
    n_bits: int,
    ids: npt.ArrayLike | None,
    keys: Sequence[str] | None,
) -> Rows:
    """Check what is to be written.

    Parameters
    ----------
    codes : array-like of uint8, shape (n, ceil(n_bits / 8))
    n_bits : int
    ids : array-like of integers, shape (n,), optional
        By default 0, 1, 2 ...
    keys : sequence of str, optional

    Returns
    -------
    Rows

    Raises
    ------
    TypeError, ValueError
        If something does not fit.
    """
    array = check_codes(codes, n_bits)
    check_pad_bits(array, n_bits, "codes")
    if not len(array):
        raise ValueError("there are no codes to write")
    if keys is not None and len(keys) != len(array):
        raise ValueError(f"{len(keys)} keys came with {len(array)} codes")
    return Rows(_check_ids(ids, len(array)), array, keys)


def check_pad_bits(codes: Codes, n_bits: int, name: str) -> None:
    """Refuse codes with bits behind the last one, which a store would count."""
    n_pad = -n_bits % 8
    if n_pad and np.bitwise_or.reduce(codes[:, -1], initial=0) & ((1 << n_pad) - 1):
        raise ValueError(
            f"{name} has bits set behind bit {n_bits}; pad bits must be 0: is n_bits={n_bits} "
            "right, and the first bit the most significant?"
        )


def check_metadata(metadata: Mapping[str, str]) -> None:
    """Refuse names and values that are not text, as :func:`check_rows` does with keys."""
    for name, value in metadata.items():
        for text in (name, value):
            _checked(text, f"metadata {name!r}")


def _check_ids(ids: npt.ArrayLike | None, n: int) -> Ids:
    if ids is None:
        return np.arange(n, dtype=np.int64)
    array = np.asarray(ids)
    if array.shape != (n,):
        raise ValueError(f"ids has shape {array.shape}; ({n},) is needed, one for each code")
    if array.dtype.kind not in "iu":
        raise TypeError(f"ids has dtype {array.dtype}; ids are whole numbers")
    if array.min() < 0 or array.max() > np.iinfo(np.int64).max:
        raise ValueError("ids must be from 0 to 2**63-1")
    values, counts = np.unique(array, return_counts=True)
    if len(values) < n:
        raise ValueError(f"ids has {values[counts > 1][0]} more than once; ids must be distinct")
    return array.astype(np.int64)


def _checked(text: object, what: str) -> str:
    """A text that every store can hold."""
    if not isinstance(text, str):
        raise TypeError(f"{what} is {text!r}; strings are needed")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"{what} is {text.encode('utf-8', 'surrogateescape')!r}, which is not UTF-8; "
            'stores hold text; vectors are read as text with errors="replace"'
        ) from None
    if "\0" in text:
        raise ValueError(f"{what} is {text!r}; stores hold text without NUL characters")
    return str(text)  # plain, where it was a string of NumPy
