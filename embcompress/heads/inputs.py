"""What heads take: rows of numbers, packed codes, sequences, feature maps.

Each kind checks what comes in, learns how to standardize it, and hands it to the network batch by
batch. Everything per row is done by whole arrays.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from sklearn.utils.validation import check_array, validate_data

from embcompress.codes import check_codes, unpack_signs

__all__ = [
    "FeatureMaps",
    "InputKind",
    "Moments",
    "PackedCodes",
    "Rows",
    "Sequences",
    "pad",
]

Array = npt.NDArray[Any]
Stored = Any  # a tensor, or packed codes as an array

# Entries per step where temporaries in float64 are made
_CHUNK_ENTRIES = 1 << 20


class Moments:
    """Mean and standard deviation of each feature, from parts that come one by one.

    Parameters
    ----------
    axis : int
        The axis of the features; all others are averaged over. NaN entries do not count.
    """

    def __init__(self, axis: int) -> None:
        self.axis = axis
        self._count: Any = 0.0
        self._mean: Any = 0.0
        self._squares: Any = 0.0
        self._precision = 0.0

    def update(self, X: Array) -> None:
        """Add rows; `X` has any shape that has the axis."""
        if X.dtype.kind == "f":
            self._precision = max(self._precision, float(np.finfo(X.dtype).eps))
        for part in _chunks(X):
            rows = np.moveaxis(X[part], self.axis, -1)
            self._add(rows.reshape(-1, rows.shape[-1]).astype(np.float64))

    def _add(self, rows: npt.NDArray[np.float64]) -> None:
        present = ~np.isnan(rows)
        count = present.sum(axis=0)
        seen = np.maximum(count, 1)
        mean = np.where(present, rows, 0).sum(axis=0) / seen
        squares = np.square(np.where(present, rows - mean, 0)).sum(axis=0)
        # Chan, Golub and LeVeque: the moments of two parts together
        total = self._count + count
        shift = mean - self._mean
        weight = count / np.maximum(total, 1)
        self._squares = self._squares + squares + shift**2 * self._count * weight
        self._mean = self._mean + shift * weight
        self._count = total

    def result(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Mean and scale, each of shape (n_features,); the scale of a constant feature is 1."""
        scale = np.sqrt(self._squares / np.maximum(self._count, 1))
        # no more spread than rounding makes
        constant = scale <= 10 * self._precision * np.abs(self._mean)
        return self._mean, np.where(constant | (scale == 0), 1.0, scale)


class InputKind(ABC):
    """One kind of input of a head.

    ``name`` is what compiled programs call it; ``feature_axis`` is the axis of the features of an
    array of inputs.
    """

    name: ClassVar[str]
    feature_axis: ClassVar[int] = 1
    standardizes: ClassVar[bool] = True
    # whether float64 rows are predicted in float64
    doubles: ClassVar[bool] = False

    @abstractmethod
    def check(self, head: Any, X: Any, *, reset: bool) -> Array:
        """Checked inputs; sets ``n_features_in_`` of the head where `reset`, else compares."""

    def shape(self, X: Array) -> tuple[int, ...]:
        """Shape of one input of the network, from checked inputs."""
        return tuple(X.shape[1:])

    def prepare(self, X: Array, mean: Array | None, scale: Array | None, dtype: Any) -> Stored:
        """Standardize checked inputs and keep them as one contiguous tensor of type `dtype`."""
        if mean is None or scale is None:
            plain = np.ascontiguousarray(X, dtype=dtype)
            return torch.from_numpy(plain if plain.flags.writeable else plain.copy())
        ending = (1,) * (X.ndim - 1 - self.feature_axis)
        mean, scale = mean.reshape(-1, *ending), scale.reshape(-1, *ending)
        out = np.empty(X.shape, dtype=dtype)
        for part in _chunks(X):
            # the subtraction in double precision: an offset may be far larger than the spread
            out[part] = (X[part] - mean) / scale
        return torch.from_numpy(out)

    def lengths(self, stored: Stored) -> Array | None:
        """How long each input is, where that differs; None where all are alike."""
        return None

    def rows(self, stored: Stored, index: npt.NDArray[np.int64]) -> torch.Tensor:
        """Take some of the prepared inputs, as the network takes them."""
        return stored[torch.from_numpy(index)]


@dataclass(frozen=True)
class Rows(InputKind):
    """A matrix of numbers."""

    name: ClassVar[str] = "rows"
    doubles: ClassVar[bool] = True

    def check(self, head: Any, X: Any, *, reset: bool) -> Array:
        """Finite matrix of float32 or float64."""
        return validate_data(head, X, dtype=[np.float64, np.float32], reset=reset)


@dataclass(frozen=True)
class PackedCodes(InputKind):
    """Packed codes, unpacked to -1 and 1 batch by batch.

    Attributes
    ----------
    n_bits : int
    """

    n_bits: int
    name: ClassVar[str] = "codes"
    standardizes: ClassVar[bool] = False

    def check(self, head: Any, X: Any, *, reset: bool) -> Array:
        """Matrix of uint8 with the bytes of `n_bits` bits."""
        codes = check_codes(X, self.n_bits, name="X")
        if len(codes) == 0:
            raise ValueError("X has 0 rows; at least one is needed")
        if reset:
            head.n_features_in_ = codes.shape[1]
        return codes

    def shape(self, X: Array) -> tuple[int, ...]:
        """One number per bit."""
        return (self.n_bits,)

    def prepare(self, X: Array, mean: Array | None, scale: Array | None, dtype: Any) -> Stored:
        """Codes stay packed."""
        return X

    def rows(self, stored: Stored, index: npt.NDArray[np.int64]) -> torch.Tensor:
        """Signs of some of the rows, float32."""
        return torch.from_numpy(unpack_signs(stored[index], self.n_bits))


@dataclass(frozen=True)
class Sequences(InputKind):
    """Sequences of frames: an array (n, time, features), or a list of (time, features).

    Where sequences differ in length, the frames after the end are NaN (see :func:`pad`).
    """

    name: ClassVar[str] = "frames"
    feature_axis: ClassVar[int] = 2

    def check(self, head: Any, X: Any, *, reset: bool) -> Array:
        """Array (n, time, features), NaN after the end of each sequence only."""
        if not (isinstance(X, np.ndarray) and X.dtype != object):
            X = pad(list(X))
        X = check_array(
            X, dtype=[np.float64, np.float32], allow_nd=True, ensure_all_finite="allow-nan",
            ensure_2d=False,
        )  # fmt: skip
        if X.ndim != 3:
            raise ValueError(
                f"X has shape {X.shape}; an array (n, time, features) or a list of arrays "
                "(time, features) is needed"
            )
        _check_frames(X)
        _check_shape(head, X.shape[2], f"{X.shape[2]} features per frame", reset)
        return X

    def shape(self, X: Array) -> tuple[int, ...]:
        """Shape of a frame."""
        return (X.shape[2],)

    def lengths(self, stored: Stored) -> Array:
        """Frames of each sequence."""
        return (~torch.isnan(stored[:, :, 0])).sum(dim=1).numpy()

    def rows(self, stored: Stored, index: npt.NDArray[np.int64]) -> torch.Tensor:
        """Some of the sequences, cut after the end of the longest of them."""
        rows = stored[torch.from_numpy(index)]
        longest = int((~torch.isnan(rows[:, :, 0])).sum(dim=1).max())
        return rows[:, :longest]


@dataclass(frozen=True)
class FeatureMaps(InputKind):
    """Feature maps or images: an array (n, channels, height, width)."""

    name: ClassVar[str] = "maps"

    def check(self, head: Any, X: Any, *, reset: bool) -> Array:
        """Finite array (n, channels, height, width) of the shape the head has seen."""
        X = check_array(X, dtype=[np.float64, np.float32, np.uint8], allow_nd=True, ensure_2d=False)
        if X.ndim != 4:
            raise ValueError(f"X has shape {X.shape}; (n, channels, height, width) is needed")
        shape = tuple(X.shape[1:])
        expected = getattr(head, "input_shape_", shape)
        if not reset and shape != expected:
            raise ValueError(
                f"X has inputs of shape {shape}, but {type(head).__name__} is expecting {expected}"
            )
        _check_shape(head, shape[0], f"{shape[0]} channels", reset)
        return X


def pad(
    sequences: Sequence[npt.ArrayLike] | npt.ArrayLike, lengths: npt.ArrayLike | None = None
) -> npt.NDArray[np.floating]:
    """Put sequences of different lengths into one array; frames after the end are NaN.

    Parameters
    ----------
    sequences : list of array-like of shape (time, features), or array (n, time, features)
        With an array, `lengths` says where each sequence ends.
    lengths : array-like of int, shape (n,), optional
        Only with an array.

    Returns
    -------
    X : ndarray of shape (n, longest, features)
        float32 or float64, as the sequences.

    Raises
    ------
    ValueError
        If a sequence is empty, not finite, not a matrix, or has other features than the first.

    Examples
    --------
    >>> pad([[[1.0], [2.0]], [[3.0]]])[:, :, 0]
    array([[ 1.,  2.],
           [ 3., nan]])
    """
    if lengths is not None:
        array, ends = np.asarray(sequences), np.asarray(lengths)
        if array.ndim != 3 or ends.shape != array.shape[:1]:
            raise ValueError(
                f"sequences has shape {array.shape} and lengths {ends.shape}; "
                "(n, time, features) and (n,) are needed"
            )
        if ends.min(initial=1) < 1 or ends.max(initial=1) > array.shape[1]:
            raise ValueError(f"lengths must be between 1 and the time axis, {array.shape[1]}")
        parts = [row[:end] for row, end in zip(array, ends, strict=True)]
    else:
        parts = [np.asarray(row) for row in sequences]  # type: ignore[union-attr]
    if not parts:
        raise ValueError("no sequences (n_samples=0); at least one is needed")
    for i, part in enumerate(parts):
        if part.ndim != 2 or len(part) == 0 or part.shape[1] != parts[0].shape[-1]:
            raise ValueError(
                f"sequence {i} has shape {part.shape}; (time, features) with at least one frame "
                f"and {parts[0].shape[-1]} features, as the first, is needed"
            )
        if not np.isfinite(part).all():
            raise ValueError(f"sequence {i} contains NaN or infinity")
    single = all(part.dtype in (np.float32, np.float16) for part in parts)
    longest = max(len(part) for part in parts)
    shape = (len(parts), longest, parts[0].shape[1])
    out = np.full(shape, np.nan, dtype=np.float32 if single else np.float64)
    for row, part in zip(out, parts, strict=True):
        row[: len(part)] = part
    return out


def _chunks(X: Array) -> Iterator[slice]:
    step = max(1, _CHUNK_ENTRIES * len(X) // max(X.size, 1))
    for start in range(0, len(X), step):
        yield slice(start, start + step)


def _check_frames(X: Array) -> None:
    """NaN may only fill whole frames after the end of a sequence."""
    if np.isinf(X).any():
        raise ValueError("X contains infinity")
    missing: npt.NDArray[np.bool_] = np.isnan(X)
    present = np.logical_not(missing.all(axis=2))
    if (missing.any(axis=2) & present).any() or (present[:, 1:] > present[:, :-1]).any():
        raise ValueError("X contains NaN other than in whole frames after the end of a sequence")
    if not present[:, 0].all():
        raise ValueError(f"sequence {int(np.argmin(present[:, 0]))} has no frames")


def _check_shape(head: Any, n_features: int, found: str, reset: bool) -> None:
    if reset:
        head.n_features_in_ = n_features
    elif n_features != head.n_features_in_:
        raise ValueError(
            f"X has {found}, but {type(head).__name__} is expecting {head.n_features_in_}"
        )
