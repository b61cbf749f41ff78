"""What the readers of all formats share: the batch, the options, the wording of errors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from embcompress.container import FormatError

__all__ = ["Batch", "RowReader", "fail", "shortened"]

_SHOWN = 40


@dataclass
class Batch:
    """Rows that were read: the words here, the numbers in the matrix that the caller gave.

    Attributes
    ----------
    blob : ndarray of uint8
        The words, UTF-8, one after the other.
    lengths : ndarray of int64, shape (m,)
        Bytes of each word.
    places : ndarray of int64, shape (m,)
        Line (text) or row number of each, from 1, for messages.
    counts : ndarray of int64, shape (m,), optional
    """

    blob: npt.NDArray[np.uint8]
    lengths: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64] | None = None


@dataclass
class RowReader(ABC):
    """Reads rows of one format, in order, into matrices that the caller gives.

    Attributes
    ----------
    name : str
        File name for messages.
    format : str
    n_features : int
    n_rows : int or None
        Number of rows that the file promises.
    n_skipped : int
        Bad rows dropped so far.
    unit : str
        What `Batch.places` counts: ``"line"`` or ``"row"``.
    """

    name: str
    format: str
    n_features: int
    n_rows: int | None = None
    n_skipped: int = 0
    unit: str = "row"
    skip_bad: bool = field(default=False, kw_only=True)

    @abstractmethod
    def read(self, out: npt.NDArray[np.float32]) -> Batch | None:
        """Fill the first rows of `out`, at most all; None at the end of the file."""

    @property
    @abstractmethod
    def position(self) -> int:
        """Bytes of the file on disk that are done, for progress and for guessing the length."""

    @abstractmethod
    def close(self) -> None:
        """Close the files."""


def shortened(token: bytes | str) -> str:
    """Show a token in a message: quoted, at most 40 characters."""
    text = token.decode("utf-8", "backslashreplace") if isinstance(token, bytes) else token
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")


def fail(name: str, message: str, *, cause: BaseException | None = None) -> NoReturn:
    """Raise a FormatError that starts with the file name."""
    raise FormatError(f"{name}: {message}") from cause


def drop_non_finite(reader: RowReader, out: npt.NDArray[np.float32], batch: Batch) -> Batch:
    """Refuse rows with NaN or infinity, or drop them if the reader skips bad rows."""
    rows = out[: len(batch.lengths)]
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(rows.sum()):  # one pass, no temporary; an overflow only costs a second look
            return batch
    good = np.asarray(np.isfinite(rows).all(axis=1))
    if good.all():
        return batch
    if not reader.skip_bad:
        first = int(np.argmin(good))
        column = int(np.argmin(np.isfinite(rows[first])))
        fail(
            reader.name,
            f"{reader.unit} {batch.places[first]}: number {column + 1} is {rows[first, column]}; "
            "vectors must be finite; skip_bad=True drops such rows",
        )
    reader.n_skipped += int(np.count_nonzero(~good))
    return keep_rows(out, batch, good)


def keep_rows(out: npt.NDArray[np.float32], batch: Batch, keep: npt.NDArray[np.bool_]) -> Batch:
    """Close the gaps that dropped rows leave in `out` and in the batch."""
    m = len(batch.lengths)
    kept = np.flatnonzero(keep)
    moved = np.flatnonzero(kept != np.arange(len(kept)))
    if len(moved):
        first = int(moved[0])
        _close_gaps(out, kept[first:], first)
    return Batch(
        batch.blob[np.repeat(keep, batch.lengths)],
        batch.lengths[keep],
        batch.places[:m][keep],
        None if batch.counts is None else batch.counts[keep],
    )


def _close_gaps(out: npt.NDArray[np.float32], kept: npt.NDArray[np.int64], first: int) -> None:
    for start in range(0, len(kept), 1024):  # in steps: the copies stay small
        rows = kept[start : start + 1024]
        out[first + start : first + start + len(rows)] = out[rows]
