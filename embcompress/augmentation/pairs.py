"""Embeddings of inputs and of their augmented views, checked, with what all operators share."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_array

from embcompress.augmentation.spectrum import Spectrum

__all__ = ["Pairs", "Sources", "checked_rows"]

Floats = npt.NDArray[np.floating]


def checked_rows(X: Any, name: str = "Z") -> Floats:
    """Finite matrix of float32 or float64; other types become float64, float16 float32.

    Parameters
    ----------
    X : array-like of shape (n, d)
    name : str
        For the message.

    Returns
    -------
    ndarray of shape (n, d)

    Raises
    ------
    ValueError
        If it is something else.
    """
    if getattr(X, "dtype", None) == np.float16:
        X = np.asarray(X, dtype=np.float32)
    return check_array(X, dtype=[np.float64, np.float32], input_name=name)


class Sources:
    """Embeddings of inputs as they are, and their spectrum, which is computed once.

    Parameters
    ----------
    Z : ndarray of shape (m, d)
        Checked.
    """

    def __init__(self, Z: Floats) -> None:
        self.Z = Z

    @cached_property
    def mean(self) -> Floats:
        """Mean of the rows, shape (d,)."""
        return self.Z.mean(axis=0, dtype=np.float64).astype(self.Z.dtype)

    @cached_property
    def centred(self) -> Floats:
        """Rows without their mean, shape (m, d)."""
        return self.Z - self.mean

    @cached_property
    def spectrum(self) -> Spectrum:
        """Decomposition of the centred rows."""
        return Spectrum.of(self.centred)


class Pairs:
    """Inputs beside one kind of augmented view of them.

    Parameters
    ----------
    sources : Sources
    views : array-like of shape (m, d) or (v, m, d)
        Row i is a view of input i; v views of each, drawn anew each time.
    params : array-like of shape (m,), (m, p), (v, m) or (v, m, p), optional
        How strongly each view was transformed, such as an angle; 0 is not at all.
    name : str
        For messages.

    Raises
    ------
    ValueError
        If shapes do not fit, or something is not finite.
    """

    def __init__(
        self, sources: Sources, views: Any, params: Any = None, *, name: str = "Z_aug"
    ) -> None:
        self.sources = sources
        self.name = name
        Z = sources.Z
        stack = np.asarray(views)
        if stack.ndim == 2:
            stack = stack[None]
        if stack.ndim != 3 or stack.shape[1:] != Z.shape or len(stack) == 0:
            raise ValueError(
                f"views {name!r} have shape {np.shape(views)}, Z has {Z.shape}; row i must be a "
                f"view of row i of Z: {Z.shape}, or (views, {Z.shape[0]}, {Z.shape[1]}) is needed"
            )
        flat = check_array(stack.reshape(-1, Z.shape[1]), dtype=Z.dtype, input_name=repr(name))
        self.displacements: Floats = flat.reshape(stack.shape) - Z
        self.params = None if params is None else _checked_params(params, stack.shape, name)

    @classmethod
    def given(cls, sources: Sources, name: str, view: Any) -> Pairs:
        """Pairs of what users give for a name: embeddings, or a tuple of them and params."""
        embeddings, params = view if isinstance(view, tuple) else (view, None)
        return cls(sources, embeddings, params, name=name)

    @property
    def n(self) -> int:
        """Number of inputs."""
        return len(self.sources.Z)

    @cached_property
    def offset(self) -> Floats:
        """Mean displacement, shape (d,)."""
        mean = self.displacements.mean(axis=(0, 1), dtype=np.float64)
        return mean.astype(self.sources.Z.dtype)

    @cached_property
    def centred(self) -> Floats:
        """Displacement of each input, mean over its views, less the offset; shape (m, d)."""
        mean = self.displacements[0]
        if len(self.displacements) > 1:
            mean = self.displacements.mean(axis=0, dtype=np.float64).astype(mean.dtype)
        return mean - self.offset

    def spread(self) -> Floats:
        """How far each view is from the mean over the views of its input; shape (v, m, d)."""
        return self.displacements - (self.centred + self.offset)

    def take(self, rows: npt.NDArray[np.int64], sources: Sources) -> Pairs:
        """The pairs of some inputs.

        Parameters
        ----------
        rows : ndarray of int, shape (k,)
        sources : Sources
            Of these rows.

        Returns
        -------
        Pairs
        """
        part = object.__new__(Pairs)
        part.sources, part.name = sources, self.name
        part.displacements = self.displacements[:, rows]
        part.params = None if self.params is None else self.params[:, rows]
        return part


def _checked_params(params: Any, shape: tuple[int, ...], name: str) -> npt.NDArray[np.float64]:
    array = np.asarray(params, dtype=np.float64)
    views, m, _ = shape
    if array.shape == (m,) or (views == 1 and array.ndim == 2 and array.shape[0] == m):
        array = array[None]
    if array.ndim == 2 and array.shape == (views, m):
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[:2] != (views, m):
        raise ValueError(
            f"params of {name!r} have shape {np.shape(params)}; one row for each of the "
            f"{views} x {m} views is needed"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"params of {name!r} contain NaN or infinity")
    return array
