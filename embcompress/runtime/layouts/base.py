"""What every storage layout of a pruned weight has, and the checks that they share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import numpy as np
import numpy.typing as npt

from embcompress.container import FormatError

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Layout", "Misfit", "checked_weight", "lengths_of", "smallest_uint", "starts_of"]

WEIGHT_TYPES = (np.dtype("<f4"), np.dtype("i1"))
_UINTS = tuple(np.dtype(name) for name in ("u1", "<u2", "<u4"))


class Misfit(ValueError):
    """A layout cannot hold a weight with such zeros."""


@dataclass(frozen=True, eq=False)
class Layout(ABC):
    """One pruned weight, stored without its zeros.

    A weight of shape (O, I, kh, kw) is stored as the matrix (O, I * kh * kw): below, K is the
    number of columns of the matrix. Arrays are little-endian and cannot be written to.

    Final classes are frozen dataclasses whose fields, ``weights`` among them, are the arrays of
    the file. They say how to choose them (`_pack`), how to put weights back (`_write`) and what
    must hold of arrays from a file (`_check`).

    Attributes
    ----------
    shape : tuple of int
        (O, I) or (O, I, kh, kw).
    weights : ndarray
        float32 or int8; its shape depends on the layout.
    name : str
        Key in `LAYOUTS`.
    fills : bool
        Whether places between kept ones are stored too, where the zeros do not have the form of
        the layout. If not, `mask` is exactly the mask that was given, for every mask.
    """

    shape: tuple[int, ...]
    weights: npt.NDArray
    name: ClassVar[str]
    fills: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for name, array in self.arrays().items():
            view = array.view()
            view.flags.writeable = False
            object.__setattr__(self, name, view)

    @classmethod
    def from_dense(cls, weight: npt.NDArray, mask: npt.NDArray[np.bool_] | None = None) -> Self:
        """Store the kept part of a weight.

        Parameters
        ----------
        weight : ndarray of shape (O, I) or (O, I, kh, kw)
            float32 or int8.
        mask : ndarray of bool, optional
            Same shape, True = kept. Default: where the weight is not zero. Weights outside the
            mask become zero; zeros inside it are kept, with their sign.

        Returns
        -------
        Layout

        Raises
        ------
        TypeError
            If the weight or the mask has another data type.
        ValueError
            If the shapes do not fit, or the layout cannot hold such a weight.
        """
        return cls._pack(*checked_weight(weight, mask))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray], shape: tuple[int, ...]) -> Self:
        """Take arrays from a file, after a check.

        Parameters
        ----------
        arrays : mapping of str to ndarray
            As `arrays` gave them. Not copied.
        shape : tuple of int
            Of the weight.

        Returns
        -------
        Layout

        Raises
        ------
        FormatError
            If an array is missing, has another data type or size than the others ask for, or
            holds indices that are out of range or out of order.
        """
        if len(shape) not in (2, 4) or min(shape) < 1:
            raise FormatError(
                f"{cls.name}: shape {tuple(shape)}, expected (O, I) or (O, I, kh, kw), all positive"
            )
        names = [field.name for field in fields(cls) if field.name != "shape"]
        found = ", ".join(sorted(arrays)) or "none"
        for name in names:
            if name not in arrays:
                raise FormatError(f"{cls.name}: array {name!r} is missing (found: {found})")
        if len(arrays) > len(names):
            raise FormatError(
                f"{cls.name}: arrays {found}, expected only {', '.join(sorted(names))}"
            )
        given: dict[str, Any] = {name: np.asarray(arrays[name]) for name in names}
        layout = cls(shape=tuple(int(n) for n in shape), **given)
        if layout.weights.dtype not in WEIGHT_TYPES:
            layout._fail(f"array 'weights' is {layout.weights.dtype}, expected float32 or int8")
        try:
            layout._check()
        except Misfit as misfit:  # a shape that no such layout can have
            raise FormatError(str(misfit)) from None
        return layout

    def arrays(self) -> dict[str, npt.NDArray]:
        """Arrays for a file, by name; views that cannot be written to."""
        names = [field.name for field in fields(self) if field.name != "shape"]
        return {name: getattr(self, name) for name in names}

    def to_dense(self) -> npt.NDArray:
        """The weight with its zeros, of its shape and data type."""
        matrix = np.zeros(self._matrix_shape, self.weights.dtype)
        self._write(matrix, self.weights)
        return matrix.reshape(self.shape)

    def mask(self) -> npt.NDArray[np.bool_]:
        """The places that are stored, bool of the shape of the weight.

        All kept places, and no others unless the layout ``fills``.
        """
        matrix = np.zeros(self._matrix_shape, np.bool_)
        self._write(matrix, np.ones(self.weights.shape, np.bool_))
        return matrix.reshape(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the weights."""
        return self.weights.nbytes

    @property
    def index_nbytes(self) -> int:
        """Bytes of all other arrays."""
        return sum(array.nbytes for array in self.arrays().values()) - self.nbytes

    def __eq__(self, other: object) -> bool:
        """Same layout, shape, and arrays to the bit."""
        if not isinstance(other, Layout):
            return NotImplemented
        if (self.name, self.shape) != (other.name, other.shape):
            return False
        theirs = other.arrays()
        return all(_same(array, theirs[name]) for name, array in self.arrays().items())

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    @abstractmethod
    def _pack(cls, weight: npt.NDArray, kept: npt.NDArray[np.bool_]) -> Self:
        """Choose the arrays; both arguments are checked. `Misfit` if they cannot be chosen."""

    @abstractmethod
    def _write(self, matrix: npt.NDArray, weights: npt.NDArray) -> None:
        """Put values of the form of ``weights`` at their places in a matrix (O, K)."""

    @abstractmethod
    def _check(self) -> None:
        """Raise `FormatError` unless the arrays agree; the type of the weights is checked."""

    @property
    def _matrix_shape(self) -> tuple[int, int]:
        return self.shape[0], prod(self.shape[1:])

    def _fail(self, text: str) -> NoReturn:
        raise FormatError(f"{self.name}: {text}")

    def _expect(self, name: str, dtype: npt.DTypeLike, shape: tuple[int | None, ...]) -> None:
        """Raise unless an array has this type and shape; None stands for any length."""
        array = getattr(self, name)
        fits = len(array.shape) == len(shape) and all(
            wanted in (None, found) for found, wanted in zip(array.shape, shape, strict=True)
        )
        if array.dtype != dtype or not fits:
            wanted = ", ".join("any" if n is None else str(n) for n in shape)
            self._fail(
                f"array {name!r} is {array.dtype} of shape {array.shape}, expected "
                f"{np.dtype(dtype).name} of shape ({wanted}{',' * (len(shape) == 1)})"
            )

    def _expect_offsets(self, name: str, total: int, *, least: int = 0) -> None:
        """Raise unless offsets go from 0 to the total in steps that are large enough."""
        offsets = getattr(self, name).astype(np.int64)
        if offsets[0] != 0 or offsets[-1] != total:
            self._fail(
                f"array {name!r} goes from {offsets[0]} to {offsets[-1]}, expected 0 to {total}"
            )
        short = np.flatnonzero(np.diff(offsets) < least)
        if len(short):
            at = short[0]
            self._fail(
                f"array {name!r} is out of order at entry {at + 1}: {offsets[at + 1]} after "
                f"{offsets[at]}, expected at least {offsets[at] + least}"
            )

    def _expect_lists(
        self,
        name: str,
        stop: int,
        counts: npt.NDArray | None = None,
        values: npt.NDArray | None = None,
    ) -> None:
        """Raise unless each list in an array ascends, without repeats, below a limit.

        By default the array is one list; ``values`` may hold what it stands for.
        """
        values = getattr(self, name) if values is None else values
        values = values.astype(np.int64)
        over = np.flatnonzero(values >= stop)
        if len(over):
            self._fail(
                f"array {name!r} holds {values[over[0]]} at entry {over[0]}, expected below {stop}"
            )
        ascends = np.diff(values) > 0
        if counts is not None:
            # the first entry of a list may be anything
            borders = np.cumsum(counts)[:-1]
            ascends[borders[(borders > 0) & (borders < len(values))] - 1] = True
        wrong = np.flatnonzero(~ascends)
        if len(wrong):
            at = wrong[0]
            self._fail(
                f"array {name!r} is out of order at entry {at + 1}: {values[at + 1]} after "
                f"{values[at]}, expected more"
            )

    def _expect_bits(self, name: str, n_bits: int) -> None:
        """Raise unless an array holds so many bits, and no others are set."""
        self._expect(name, np.uint8, (-(-n_bits // 8),))
        if np.unpackbits(getattr(self, name))[n_bits:].any():
            self._fail(f"array {name!r} has bits set after the last of {n_bits}, expected zeros")


def checked_weight(
    weight: npt.NDArray, mask: npt.NDArray[np.bool_] | None
) -> tuple[npt.NDArray, npt.NDArray[np.bool_]]:
    """A weight and its mask in the form that `Layout._pack` takes.

    Parameters
    ----------
    weight : ndarray of shape (O, I) or (O, I, kh, kw)
        float32 or int8.
    mask : ndarray of bool, or None

    Returns
    -------
    weight : ndarray
        C-contiguous, little-endian.
    mask : ndarray of bool
        Same shape, C-contiguous.

    Raises
    ------
    TypeError, ValueError
        See `Layout.from_dense`.
    """
    weight = np.asarray(weight)
    kind = next((t for t in WEIGHT_TYPES if t.name == weight.dtype.name), None)
    if kind is None:
        raise TypeError(f"weights must be float32 or int8, not {weight.dtype}")
    if weight.ndim not in (2, 4) or weight.size == 0:
        raise ValueError(
            f"weights are (O, I) or (O, I, kh, kw) with no axis of length 0, not {weight.shape}"
        )
    weight = np.ascontiguousarray(weight, kind)
    if mask is None:
        return weight, weight != 0
    mask = np.asarray(mask)
    if mask.dtype != np.bool_:
        raise TypeError(f"the mask must be bool, True = kept, not {mask.dtype}")
    if mask.shape != weight.shape:
        raise ValueError(f"the mask has shape {mask.shape}, the weight {weight.shape}")
    return weight, np.ascontiguousarray(mask)


def smallest_uint(largest: int) -> np.dtype:
    """The smallest unsigned type that holds a number: uint8, uint16 or uint32.

    >>> smallest_uint(255).name, smallest_uint(256).name
    ('uint8', 'uint16')
    """
    for dtype in _UINTS:
        if largest <= np.iinfo(dtype).max:
            return dtype
    raise Misfit(f"an index of {largest} does not fit into 32 bits")


def starts_of(counts: npt.NDArray) -> npt.NDArray[np.int64]:
    """Where lists of these lengths start and, last, where they all end: (n + 1,)."""
    starts = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=starts[1:])
    return starts


def lengths_of(starts: npt.NDArray) -> npt.NDArray[np.int64]:
    """Inverse of `starts_of`, for starts of any integer type."""
    wide = starts.astype(np.int64)
    return wide[1:] - wide[:-1]


def _same(one: npt.NDArray, other: npt.NDArray) -> bool:
    """Equal to the bit: -0.0 is not 0.0, and a NaN is itself."""
    return (
        one.dtype == other.dtype
        and one.shape == other.shape
        and np.array_equal(_bits(one), _bits(other))
    )


def _bits(array: npt.NDArray) -> npt.NDArray:
    return np.ascontiguousarray(array).view(np.dtype(f"u{array.itemsize}"))
