"""Activations: by their number, on vectors and on whole arrays."""

from __future__ import annotations

from typing import Any

from embcompress import simd
from embcompress._compiled import compiled

__all__ = [
    "ACTIVATIONS", "activate", "activate_rows", "sigmoid", "tanh",
]  # fmt: skip

#: Numbers of the activations in compiled programs; they are part of the file format.
ACTIVATIONS: dict[str, int] = {
    "identity": 0, "relu": 1, "gelu": 2, "tanh": 3, "silu": 4, "sigmoid": 5,
}  # fmt: skip

# Abramowitz and Stegun, 7.1.26: error function, absolute error below 1.5e-7
_ERF = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
_ERF_P, _ROOT_HALF = 0.3275911, 0.7071067811865476


@compiled(inline="never")
def sigmoid(x: Any) -> Any:
    """``1 / (1 + exp(-x))`` of a vector."""
    one = simd.splat(1.0)
    return simd.divide(one, simd.add(one, simd.exp(simd.subtract(simd.splat(0.0), x))))


@compiled()
def tanh(x: Any) -> Any:
    """Hyperbolic tangent of a vector; absolute error below 2e-7."""
    one = simd.splat(1.0)
    twice = simd.exp(simd.add(x, x))
    return simd.subtract(one, simd.divide(simd.splat(2.0), simd.add(twice, one)))


@compiled()
def _erf(x: Any) -> Any:
    size = simd.absolute(x)
    one = simd.splat(1.0)
    t = simd.divide(one, simd.fma(simd.splat(_ERF_P), size, one))
    series = simd.splat(_ERF[0])
    series = simd.fma(series, t, simd.splat(_ERF[1]))
    series = simd.fma(series, t, simd.splat(_ERF[2]))
    series = simd.fma(series, t, simd.splat(_ERF[3]))
    series = simd.fma(series, t, simd.splat(_ERF[4]))
    below = simd.exp(simd.multiply(simd.subtract(simd.splat(0.0), size), size))
    value = simd.subtract(one, simd.multiply(simd.multiply(series, t), below))
    # an odd function: the value for |x| where x > 0, its negative elsewhere
    positive = simd.select_positive(x, value)
    return simd.subtract(positive, simd.subtract(value, positive))


@compiled()
def activate(x: Any, kind: int) -> Any:
    """Apply the activation of a number in `ACTIVATIONS` to a vector."""
    if kind == 1:
        return simd.select_positive(x, x)
    if kind == 2:
        half = simd.multiply(simd.splat(0.5), x)
        return simd.fma(half, _erf(simd.multiply(x, simd.splat(_ROOT_HALF))), half)
    if kind == 3:
        return tanh(x)
    if kind == 4:
        return simd.multiply(x, sigmoid(x))
    if kind == 5:
        return sigmoid(x)
    return x


@compiled()
def activate_rows(work: Any, at: int, stride: int, n: int, width: int, kind: int) -> None:
    """Apply an activation to `n` rows in place; rows are padded to whole vectors."""
    for row in range(n):
        start = at + row * stride
        for k in range(start, start + width, simd.LANES):
            simd.store(activate(simd.load(work, k), kind), work, k)
