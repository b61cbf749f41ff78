"""Layers on rows and maps in ONNX: products, activations, pools."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from embcompress.runtime.onnx_export.blocks import Block, cut_blocks, in_order, places
from embcompress.runtime.onnx_export.weights import dequantized, float_weight
from embcompress.runtime.onnx_export.writer import Value, Writer
from embcompress.runtime.records import (
    Activation,
    Add,
    Affine,
    AveragePool2d,
    Conv2d,
    GlobalAverage,
    Linear,
    MaxPool2d,
    Weight,
)

__all__ = ["activated", "add", "affine", "conv2d", "global_average", "linear", "pool2d", "single"]


def activated(to: Writer, x: str, activation: str) -> str:
    """Apply an activation by its name."""
    simple = {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid"}
    if activation in simple:
        return to.op(simple[activation], x)
    if activation == "silu":
        return to.op("Mul", x, to.op("Sigmoid", x))
    if activation == "gelu":
        # the operator came with opset 20
        return to.op("Gelu", x) if to.opset >= 20 else _gelu(to, x)
    return x


def _gelu(to: Writer, x: str) -> str:
    """``x (1 + erf(x / sqrt 2)) / 2``."""
    erf = to.op("Erf", to.op("Div", x, to.constant(np.float32(np.sqrt(2)))))
    twice = to.op("Mul", x, to.op("Add", erf, to.constant(np.float32(1))))
    return to.op("Mul", twice, to.constant(np.float32(0.5)))


def linear(to: Writer, record: Linear, inputs: Sequence[Value]) -> Value:
    """A product of rows or frames; maps are laid out flat, channel by channel."""
    x, weight = inputs[0], record.weight
    n_in = weight.shape[1]
    if x.kind == "maps" and int(np.prod(x.shape)) == n_in:
        x = Value(to.op("Flatten", x.name), "rows", (n_in,))
    if x.kind == "maps" or x.width != n_in:
        raise ValueError(f"its weights take {n_in} inputs; its input has {x.kind} of {x.shape}")
    value = _product(to, record, x)
    return Value(activated(to, value, record.activation), x.kind, (weight.shape[0],))


def _product(to: Writer, record: Linear, x: Value) -> str:
    weight, bias = record.weight, record.bias
    if weight.is_int8 and weight.input_scale is not None:
        return _integers(to, record, x)
    blocks = cut_blocks(weight.kept)
    if blocks is not None:
        return _linear_in_blocks(to, record, blocks, x)
    matrix = float_weight(to, weight, "weight", transposed=True)
    if x.kind == "rows":
        return to.op("Gemm", x.name, matrix, to.constant(bias, "bias"))
    return to.op("Add", to.op("MatMul", x.name, matrix), to.constant(bias, "bias"))


def _integers(to: Writer, record: Linear, x: Value) -> str:
    """Inputs rounded to int8 by a fixed step, in the form that runtimes turn into integers.

    The bias is subtracted with its sign changed: onnxruntime joins MatMul and Add to a Gemm, for
    which it has no integer kernel.
    """
    scale, zero = to.constant(np.float32(record.weight.input_scale)), to.constant(np.int8(0))
    rounded = to.op("QuantizeLinear", x.name, scale, zero)
    given = to.op("DequantizeLinear", rounded, scale, zero)
    product = to.op("MatMul", given, dequantized(to, record.weight, "weight"))
    return to.op("Sub", product, to.constant(-record.bias, "bias"))


def _linear_in_blocks(
    to: Writer, record: Linear, blocks: Sequence[Block], x: Value
) -> str:  # fmt: skip
    """Features lie along the first axis, where gathering copies whole runs of rows."""
    n_out, n_in = record.weight.shape
    flat = x.name
    if x.kind == "frames":
        flat = to.op("Reshape", flat, to.constant([-1, n_in]))
    columns = to.op("Transpose", flat, perm=[1, 0])

    def multiply(weight: Weight, value: str) -> str:
        return to.op("MatMul", float_weight(to, weight, "weight"), value)

    summed = _in_blocks(to, record.weight, blocks, columns, 0, multiply)
    rows = to.op("Add", to.op("Transpose", summed, perm=[1, 0]), to.constant(record.bias, "bias"))
    if x.kind == "rows":
        return rows
    leading = to.op("Slice", to.op("Shape", x.name), to.constant([0]), to.constant([2]))
    shape = to.op("Concat", leading, to.constant([n_out]), axis=0)
    return to.op("Reshape", rows, shape)


def _in_blocks(
    to: Writer, weight: Weight, blocks: Sequence[Block], x: str, axis: int,
    multiply: Callable[[Weight, str], str],
) -> str:  # fmt: skip
    """Gather, multiply, put together and add up, along an axis; without the bias."""
    n_out, n_in = weight.shape[:2]
    if not blocks:  # nothing is kept: one input times a weight that is 0
        blocks = [Block(np.zeros(1, np.int64), np.zeros(1, np.int64))]
    index, needs_zero = places(blocks, n_out)
    parts = []
    for k, block in enumerate(blocks):
        part = weight.taking(block.rows, block.columns)
        if needs_zero and k == len(blocks) - 1:
            part = _with_zero_row(part)
        columns = to.constant(block.columns.astype(np.int32), "inputs")
        given = x if len(block.columns) == n_in else to.op("Gather", x, columns, axis=axis)
        parts.append(multiply(part, given))
    joined = parts[0] if len(parts) == 1 else to.op("Concat", *parts, axis=axis)
    if in_order(index) and not needs_zero:
        return joined
    terms = [to.op("Gather", joined, to.constant(k, "outputs"), axis=axis) for k in index]
    summed = terms[0]
    for term in terms[1:]:
        summed = to.op("Add", summed, term)
    return summed


def _with_zero_row(weight: Weight) -> Weight:
    """One more output, always 0, for the outputs that keep nothing."""
    row = np.zeros((1, *weight.shape[1:]), weight.values.dtype)
    scales = None if weight.scales is None else np.r_[weight.scales, np.float32(1)]
    kept = np.concatenate([weight.kept, np.zeros(row.shape, bool)])
    return replace(weight, values=np.concatenate([weight.values, row]), kept=kept, scales=scales)


def conv2d(to: Writer, record: Conv2d, inputs: Sequence[Value]) -> Value:
    """A convolution; a second input is added before the activation."""
    x, weight = inputs[0], record.weight
    n_out, n_in, height, width = weight.shape
    if x.kind != "maps" or x.width != n_in:
        raise ValueError(
            f"its weights take maps of {n_in} channels; its input has {x.kind} of {x.shape}"
        )
    pads = {"pads": [record.padding] * 4, "strides": [record.stride] * 2}
    sizes = tuple(
        _windows(size + 2 * record.padding, kernel, record.stride)
        for size, kernel in zip(x.shape[1:], (height, width), strict=True)
    )

    def multiply(part: Weight, value: str) -> str:
        return to.op("Conv", value, float_weight(to, part, "weight"), **pads)

    blocks = cut_blocks(np.asarray(weight.kept.any(axis=(2, 3))), height * width)
    if blocks is None:
        matrix, bias = float_weight(to, weight, "weight"), to.constant(record.bias, "bias")
        value = to.op("Conv", x.name, matrix, bias, **pads)
    else:
        value = _in_blocks(to, weight, blocks, x.name, 1, multiply)
        value = to.op("Add", value, to.constant(record.bias.reshape(-1, 1, 1), "bias"))
    if len(inputs) == 2:
        value = to.op("Add", value, _same(inputs[1], (n_out, *sizes)))
    return Value(activated(to, value, record.activation), "maps", (n_out, *sizes))


def _same(value: Value, shape: tuple[int, ...]) -> str:
    if value.shape != shape:
        raise ValueError(f"it adds {value.kind} of {value.shape} to values of {shape}")
    return value.name


def _windows(size: int, window: int, stride: int) -> int:
    if window > size:
        raise ValueError(
            f"its windows of {window} do not fit into maps of {size}, padding included"
        )
    return (size - window) // stride + 1


def pool2d(to: Writer, record: MaxPool2d | AveragePool2d, inputs: Sequence[Value]) -> Value:
    """Largest or mean of squares."""
    x = _maps(inputs[0])
    kind = "MaxPool" if isinstance(record, MaxPool2d) else "AveragePool"
    sizes = tuple(_windows(size, record.size, record.stride) for size in x.shape[1:])
    value = to.op(kind, x.name, kernel_shape=[record.size] * 2, strides=[record.stride] * 2)
    return Value(value, "maps", (x.width, *sizes))


def global_average(to: Writer, record: GlobalAverage, inputs: Sequence[Value]) -> Value:
    """Mean over space."""
    x = _maps(inputs[0])
    value = to.op("ReduceMean", x.name, to.constant([2, 3]), keepdims=0)
    return Value(value, "rows", (x.width,))


def _maps(value: Value) -> Value:
    if value.kind != "maps":
        raise ValueError(f"it takes maps; its input has {value.kind} of {value.shape}")
    return value


def affine(to: Writer, record: Affine, inputs: Sequence[Value]) -> Value:
    """``(x - mean) * scale + shift``; what changes nothing is left out."""
    x = inputs[0]
    if len(record.scale) != x.width:
        raise ValueError(
            f"it has {len(record.scale)} features; its input has {x.kind} of {x.shape}"
        )
    shape = (-1, 1, 1) if x.kind == "maps" else (-1,)
    value = x.name
    for kind, numbers, neutral in (
        ("Sub", record.mean, 0), ("Mul", record.scale, 1), ("Add", record.shift, 0),
    ):  # fmt: skip
        if (numbers != neutral).any():
            value = to.op(kind, value, to.constant(numbers.reshape(shape), "numbers"))
    return Value(value, x.kind, x.shape)


def single(to: Writer, record: Activation, inputs: Sequence[Value]) -> Value:
    """An activation on its own."""
    x = inputs[0]
    return Value(activated(to, x.name, record.activation), x.kind, x.shape)


def add(to: Writer, record: Add, inputs: Sequence[Value]) -> Value:
    """Sum of two values, and an activation."""
    first, second = inputs
    if second.kind != first.kind:
        raise ValueError(f"it adds {second.kind} to {first.kind}")
    value = to.op("Add", first.name, _same(second, first.shape))
    return Value(activated(to, value, record.activation), first.kind, first.shape)
