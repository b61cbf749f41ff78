"""Arrays that are not NumPy's, such as PyTorch tensors, through scikit-learn's array API support.

Every function takes blocks of rows and works where the block lies, on whatever device. NumPy has
the short way, with the functions that the encoder uses.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils._array_api import _convert_to_numpy, get_namespace

from embcompress.encoder import Encoder
from embcompress.row_lengths import lengths_and_unit_rows as numpy_lengths_and_unit_rows
from embcompress.row_lengths import unit_rows as numpy_unit_rows

__all__ = [
    "decode",
    "encode",
    "is_numpy",
    "lengths_and_unit_rows",
    "like",
    "namespace",
    "prepared_rows",
    "project",
    "signs",
    "take_rows",
    "to_numpy",
    "unit_rows",
]

# Any array of the array API standard; NumPy's are one kind of it.
Array = Any

# Rows that are encoded in one step on a device: 79 MB of float32 scores at 300 bits.
_BLOCK_ROWS = 65_536


def is_numpy(X: Array) -> bool:
    """Whether an array is NumPy's."""
    return isinstance(X, np.ndarray)


def namespace(X: Array) -> Any:
    """Module with the functions of the array API standard for an array."""
    return np if is_numpy(X) else get_namespace(X)[0]


def to_numpy(X: Array) -> npt.NDArray:
    """The array as NumPy's, copied from its device if need be."""
    return X if is_numpy(X) else _convert_to_numpy(X, namespace(X))


def like(array: npt.NDArray, X: Array, *, dtype: Any = None) -> Array:
    """A NumPy array in the namespace, on the device and in the data type of `X`.

    Parameters
    ----------
    array : ndarray
    X : array
    dtype : NumPy data type, optional
        Another data type than that of `X`.

    Returns
    -------
    array
        Not copied where nothing has to change.
    """
    if is_numpy(X):
        return array.astype(dtype or X.dtype, copy=False)
    xp = namespace(X)
    array = np.ascontiguousarray(array, dtype=dtype)
    return xp.asarray(array, dtype=None if dtype else X.dtype, device=X.device)


def take_rows(X: Array, positions: npt.NDArray[np.intp]) -> Array:
    """Rows of an array by their numbers, in the order of the numbers."""
    if is_numpy(X):
        return X[positions]
    xp = namespace(X)
    return xp.take(X, like(positions, X, dtype=np.int64), axis=0)


def unit_rows(X: Array) -> Array:
    """Rows scaled to length 1; rows of zeros stay zero."""
    return lengths_and_unit_rows(X)[1]


def lengths_and_unit_rows(X: Array, out: npt.NDArray | None = None) -> tuple[Array, Array]:
    """Euclidean lengths of rows, and the rows scaled to length 1; `out` is for NumPy alone."""
    if is_numpy(X):
        return numpy_lengths_and_unit_rows(X, out)
    xp = namespace(X)
    # dividing by the largest entry first keeps squares of huge and tiny values in range
    peak = xp.max(xp.abs(X), axis=1, keepdims=True)
    scaled = X / xp.where(peak > 0, peak, xp.ones_like(peak))
    norms = xp.sqrt(xp.sum(scaled * scaled, axis=1, keepdims=True))
    return (norms * peak)[:, 0], scaled / xp.where(norms > 0, norms, xp.ones_like(norms))


def prepared_rows(X: Array, mean: npt.NDArray, *, normalize: bool) -> Array:
    """Rows as the encoder sees them: scaled to length 1 on request, then centred."""
    if is_numpy(X):
        rows = numpy_unit_rows(X) if normalize else X.copy()
        rows -= mean.astype(X.dtype)
        return rows
    return (unit_rows(X) if normalize else X) - like(mean, X)


def signs(V: Array) -> Array:
    """1 where a number is at least 0, else -1, in the data type of `V`."""
    if is_numpy(V):
        return np.copysign(V.dtype.type(1), V)
    xp = namespace(V)
    return xp.where(V >= 0, xp.ones_like(V), -xp.ones_like(V))


def project(encoder: Encoder, X: Array) -> Array:
    """Scores of rows before they are cut to bits; see :meth:`Encoder.project`."""
    if is_numpy(X):
        return encoder.project(X)
    rows = unit_rows(X) if encoder.normalize else X
    scores = rows if encoder.projection is None else rows @ like(encoder.projection, X)
    return scores - like(encoder.offset, X)


def encode(encoder: Encoder, X: Array) -> Array:
    """Packed codes of rows, uint8, where the rows lie; see :meth:`Encoder.encode`."""
    if is_numpy(X):
        return encoder.encode(X)
    xp = namespace(X)
    blocks = [
        _pack(xp, _bits(xp, project(encoder, X[start : start + _BLOCK_ROWS]), encoder.n_second))
        for start in range(0, X.shape[0], _BLOCK_ROWS)
    ]
    return xp.concat(blocks, axis=0)


def _bits(xp: Any, scores: Array, n_second: int) -> Array:
    """Bits of scores, as :func:`embcompress.encoder.cut_scores` cuts them."""
    first = scores >= 0
    if not n_second:
        return first
    root_mean_square = xp.sqrt(xp.sum(scores * scores, axis=1, keepdims=True) / scores.shape[1])
    large = xp.abs(scores[:, :n_second]) >= root_mean_square
    return xp.concat([first, large == first[:, :n_second]], axis=1)


def _pack(xp: Any, bits: Array) -> Array:
    """Bits to bytes, first bit most significant: ``numpy.packbits`` of the standard's parts."""
    n, n_bits = bits.shape
    missing = -n_bits % 8
    bits = xp.astype(bits, xp.uint8)
    if missing:
        pad = xp.zeros((n, missing), dtype=xp.uint8, device=bits.device)
        bits = xp.concat([bits, pad], axis=1)
    places = like(1 << np.arange(7, -1, -1, dtype=np.uint8), bits)
    return xp.sum(xp.reshape(bits, (n, -1, 8)) * places, axis=2, dtype=xp.uint8)


def decode(encoder: Encoder, codes: Array) -> Array:
    """Vectors that codes stand for, float32, where the codes lie."""
    if not hasattr(codes, "shape") or is_numpy(codes) or not get_namespace(codes)[1]:
        return encoder.decode(codes)
    return like(encoder.decode(to_numpy(codes)), codes, dtype=np.float32)
