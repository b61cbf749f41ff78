"""Weights in the file: whole, or the kept ones and a bit for each place.

What a runtime computes from constants alone it computes once, when it loads the file. So a pruned
weight lies in the file as its kept numbers and packed bits that say where they are, one bit for a
whole group where groups were pruned, and the graph itself puts the dense array together: the file
follows the rate whatever the structure, and the products run as for any dense weight.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from embcompress.runtime.onnx_export.writer import Writer
from embcompress.runtime.records import Weight

__all__ = ["dense_weight", "dequantized", "float_weight", "unpacked_bits"]

# bytes of the nodes that put an array together; where it saves less it is written whole
_NODES = 1_500


def float_weight(to: Writer, weight: Weight, hint: str, *, transposed: bool = False) -> str:
    """A weight in float32, from int8 where it is that.

    int8 is converted by Cast and Mul, which runtimes do once; DequantizeLinear is kept by
    onnxruntime for its integer kernels and repeated at every call where there is none.

    Parameters
    ----------
    to : Writer
    weight : Weight
    hint : str
        What to call it.
    transposed : bool, default False
        Of a matrix: (inputs, outputs).

    Returns
    -------
    str
        Value of the same shape as the weight.
    """
    value = dense_weight(to, weight, hint, transposed=transposed)
    if not weight.is_int8:
        return value
    shape = (1, -1) if transposed else (-1, *[1] * (weight.values.ndim - 1))
    scales = to.constant(_scales(weight).reshape(shape), "scales")
    return to.op("Mul", to.cast(value, np.float32), scales)


def dequantized(to: Writer, weight: Weight, hint: str) -> str:
    """A matrix of int8, (inputs, outputs), behind a DequantizeLinear of each output."""
    value = dense_weight(to, weight, hint, transposed=True)
    return to.op("DequantizeLinear", value, to.constant(_scales(weight), "scales"), axis=1)


def _scales(weight: Weight) -> npt.NDArray[np.float32]:
    if weight.scales is None:
        return np.ones(weight.shape[0], np.float32)
    return np.asarray(weight.scales, np.float32)


def dense_weight(to: Writer, weight: Weight, hint: str, *, transposed: bool = False) -> str:
    """The numbers of a weight as they are, float32 or int8; see :func:`float_weight`."""
    values, kept = weight.values, weight.kept
    if transposed:
        values, kept = values.T, kept.T
    flat = kept.reshape(len(kept), -1)
    steps = tuple(_step(flat, axis, int(np.prod(kept.shape[2:]))) for axis in (0, 1))
    grid = flat[:: steps[0], :: steps[1]]
    size = int(kept.sum()) * values.itemsize + grid.size // 8 + _NODES
    if size >= values.nbytes:
        return to.constant(np.ascontiguousarray(values), hint)
    mask = _spread(to, grid, steps)
    # numbers are counted from 1; at 0 lies a zero for the places that keep nothing
    numbers = to.constant(np.r_[values.dtype.type(0), values[kept]], hint)
    count = to.op("CumSum", mask, to.constant(0))
    found = to.op("Gather", numbers, to.op("Mul", count, mask))
    return to.op("Reshape", found, to.constant(values.shape))


def _step(mask: npt.NDArray[np.bool_], axis: int, n_positions: int) -> int:
    """Longest run along an axis within which all are kept or none."""
    size = mask.shape[axis]
    for step in sorted({64, 32, 16, 8, 4, 2, n_positions}, reverse=True):
        if step > 1 and size % step == 0:
            shape = [*mask.shape[:axis], size // step, step, *mask.shape[axis + 1 :]]
            parts = mask.reshape(shape)
            if (parts == parts.take([0], axis=axis + 1)).all():
                return step
    return 1


def _spread(to: Writer, grid: npt.NDArray[np.bool_], steps: tuple[int, ...]) -> str:
    """Mask of 0 and 1 in int32, shape (places,), from a bit for each group."""
    packed = to.constant(np.packbits(grid.ravel())[None], "bits")
    mask = unpacked_bits(to, packed, grid.size)
    (a, b), (h, w) = grid.shape, steps
    if h * w > 1:
        mask = to.op("Reshape", mask, to.constant([a, 1, b, 1]))
        mask = to.op("Expand", mask, to.constant([a, h, b, w]))
    return to.cast(to.op("Reshape", mask, to.constant([-1])), np.int32)


def unpacked_bits(to: Writer, codes: str, n_bits: int) -> str:
    """Bits of packed codes, first bit in the most significant place.

    Parameters
    ----------
    to : Writer
    codes : str
        Value of uint8, shape (n, ceil(n_bits / 8)).
    n_bits : int

    Returns
    -------
    str
        Value of uint8, 0 and 1, shape (n, n_bits).
    """
    n_bytes = -(-n_bits // 8)
    apart: Any = to.op("Unsqueeze", codes, to.constant([2]))
    places = to.constant(np.arange(7, -1, -1, dtype=np.uint8))
    apart = to.op("BitShift", apart, places, direction="RIGHT")
    apart = to.op("BitwiseAnd", apart, to.constant(np.uint8(1)))
    bits = to.op("Reshape", apart, to.constant([0, 8 * n_bytes]))
    if n_bits == 8 * n_bytes:
        return bits
    return to.op("Slice", bits, to.constant([0]), to.constant([n_bits]), to.constant([1]))
