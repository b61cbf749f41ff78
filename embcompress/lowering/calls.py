"""Functions and methods of tensors as records: one function for each.

They have the parameters of what they stand for, so that arguments find their places; an argument
that they do not have makes the call an unsupported one.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import functional

from embcompress.lowering.builder import (
    Builder,
    Direction,
    Picked,
    States,
    Value,
    features,
    unsupported,
)
from embcompress.lowering.layers import average_pool, flatten, max_pool, same_pair
from embcompress.runtime.records import Add, Linear

__all__ = ["lower_call", "name_of"]

Handler = Callable[..., Any]


def name_of(target: Any) -> str:
    """Name of a function or method in messages."""
    return target if isinstance(target, str) else getattr(target, "__name__", repr(target))


def lower_call(
    build: Builder, target: Any, name: str, args: Sequence[Any], kwargs: dict[str, Any]
) -> Any:
    """Add the nodes of a call.

    Parameters
    ----------
    build : Builder
    target : callable or str
        A function, or the name of a method.
    name : str
        For the node.
    args, kwargs
        Values, numbers, tensors of constants.

    Returns
    -------
    Value, or something that becomes one (`Builder.settle`)

    Raises
    ------
    ValueError
        If it is not supported.
    """
    # that it works in place is dealt with where values are kept
    key = target.rstrip("_") if isinstance(target, str) and target[0] != "_" else target
    handler = _CALLS.get(key)
    if handler is None:
        raise unsupported(f"the call {name_of(target)}() ({name!r})")
    if handler not in _OPEN:
        args = [build.settle(argument) for argument in args]
        if args and not isinstance(args[0], (Value, int, float, torch.Tensor)):
            raise unsupported(f"the call {name_of(target)}() ({name!r}) of {args[0]}")
    try:
        return handler(build, name, *args, **kwargs)
    except (AttributeError, TypeError) as error:
        raise unsupported(f"the call {name_of(target)}() ({name!r}: {error})") from error


def _activation(kind: str) -> Handler:
    def handler(build: Builder, name: str, x: Value, inplace: bool = False) -> Value:
        return build.activation(name, x, kind)

    return handler


def _gelu(build: Builder, name: str, x: Value, *, approximate: str = "none") -> Value:
    if approximate != "none":
        raise unsupported(f"gelu(approximate={approximate!r}) ({name!r})")
    return build.activation(name, x, "gelu")


def _dropout(
    build: Builder, name: str, x: Value, p: float = 0.5, training: bool = True,
    inplace: bool = False,
) -> Value:  # fmt: skip
    if training and p > 0:
        raise unsupported(f"dropout that is random in evaluation ({name!r})")
    return x


def _same(build: Builder, name: str, x: Value, *args: Any, **kwargs: Any) -> Value:
    return x


# -- arithmetic -----------------------------------------------------------------------------------


def _constant(name: str, number: Any, x: Value) -> Any:
    found = features(number, x) if isinstance(number, (int, float, torch.Tensor)) else None
    if found is None:
        shape = tuple(getattr(number, "shape", ()))
        raise unsupported(
            f"arithmetic {name!r} of {x} with {type(number).__name__} of shape {shape}"
        )
    return found


def _add(build: Builder, name: str, x: Any, other: Any, *, alpha: float = 1) -> Value:
    if not isinstance(x, Value):
        x, other = other, x
    if alpha != 1:
        raise unsupported(f"add(alpha={alpha}) ({name!r})")
    if not isinstance(other, Value):
        return build.affine(name, x, 0, 1, _constant(name, other, x))
    if (x.kind, x.shape) != (other.kind, other.shape):
        raise unsupported(f"the sum {name!r} of {x} and {other}")
    x, other = build.one(x), build.one(other)
    node = build.emit(name, Add(), (*x.nodes, *other.nodes))
    return Value((node,), x.kind, x.shape, x.is_pooled)


def _subtract(build: Builder, name: str, x: Any, other: Any, *, alpha: float = 1) -> Value:
    if alpha != 1 or (isinstance(x, Value) and isinstance(other, Value)):
        raise unsupported(f"the difference {name!r} of two values")
    if isinstance(x, Value):
        return build.affine(name, x, _constant(name, other, x), 1, 0)
    return build.affine(name, other, _constant(name, x, other), -1, 0)


def _subtract_from(build: Builder, name: str, x: Any, other: Any) -> Value:
    return _subtract(build, name, other, x)


def _multiply(build: Builder, name: str, x: Any, other: Any) -> Value:
    if not isinstance(x, Value):
        x, other = other, x
    if isinstance(other, Value):
        raise unsupported(f"the product {name!r} of two values")
    return build.affine(name, x, 0, _constant(name, other, x), 0)


def _divide(build: Builder, name: str, x: Any, other: Any) -> Value:
    if not isinstance(x, Value) or isinstance(other, Value):
        raise unsupported(f"the quotient {name!r}, which divides by a value,")
    return build.affine(name, x, 0, 1 / _constant(name, other, x), 0)


def _negative(build: Builder, name: str, x: Value) -> Value:
    return build.affine(name, x, 0, -1, 0)


def _linear(build: Builder, name: str, x: Value, weight: Any, bias: Any = None) -> Value:
    if x.kind == "maps" or x.is_pooled:
        raise unsupported(f"linear() ({name!r}) on {x}")
    return build.layer(
        name, Linear(build.weight(weight), build.vector(bias)), x, (weight.shape[0],)
    )  # fmt: skip


# -- pooling and shapes ---------------------------------------------------------------------------


def _max_pool(
    build: Builder, name: str, x: Value, kernel_size: Any, stride: Any = None, padding: Any = 0,
    dilation: Any = 1, ceil_mode: bool = False, return_indices: bool = False,
) -> Value:  # fmt: skip
    return max_pool(
        build, name, x, kernel_size=kernel_size, stride=stride, padding=padding,
        dilation=dilation, ceil_mode=ceil_mode, return_indices=return_indices,
    )  # fmt: skip


def _average_pool(
    build: Builder, name: str, x: Value, kernel_size: Any, stride: Any = None, padding: Any = 0,
    ceil_mode: bool = False, count_include_pad: bool = True, divisor_override: Any = None,
) -> Value:  # fmt: skip
    return average_pool(
        build, name, x, kernel_size=kernel_size, stride=stride, padding=padding,
        ceil_mode=ceil_mode, count_include_pad=count_include_pad,
        divisor_override=divisor_override,
    )  # fmt: skip


def _adaptive(build: Builder, name: str, x: Value, output_size: Any) -> Value:
    if same_pair(output_size) != 1 or not (x.kind == "maps" or x.is_pooled):
        raise unsupported(f"adaptive_avg_pool2d({output_size}) ({name!r}) on {x}")
    return build.global_average(name, x, is_pooled=True)


def _mean(
    build: Builder, name: str, x: Value, dim: Any = None, keepdim: bool = False, **others: Any
) -> Value:
    dims = {dim} if isinstance(dim, int) else set(dim or ())
    maps = x.kind == "maps" or x.is_pooled
    dims = {d % (4 if maps else 3) for d in dims}
    if maps and dims == {2, 3} and not others:
        return build.global_average(name, x, is_pooled=keepdim)
    if x.kind == "frames" and dims == {1} and not keepdim and not others:
        return build.pool_frames(name, x, "mean", x.shape[0])
    raise unsupported(f"mean(dim={dim}, keepdim={keepdim}) ({name!r}) of {x}")


def _flatten(build: Builder, name: str, x: Value, start_dim: int = 0, end_dim: int = -1) -> Value:
    n_axes = {"rows": 4 if x.is_pooled else 2, "frames": 3, "maps": 4}[x.kind]
    if start_dim != 1 or end_dim not in (-1, n_axes - 1):
        raise unsupported(f"flatten(start_dim={start_dim}, end_dim={end_dim}) ({name!r})")
    return flatten(build, name, x)


def _reshape(build: Builder, name: str, x: Value, *shape: Any) -> Value:
    sizes = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], tuple) else shape
    if len(sizes) != 2:
        raise unsupported(f"a new shape {sizes} ({name!r}) of {x}")
    return flatten(build, name, x)


def _squeeze(build: Builder, name: str, x: Any, dim: Any = None) -> Any:
    if isinstance(x, States) and dim == 0 and len(x.layers) == 1:
        return x.pick(0)
    x = build.settle(x)
    if isinstance(x, Value) and x.is_pooled:
        return x  # whether all is done is seen by the number of axes
    raise unsupported(f"squeeze(dim={dim}) ({name!r}) of {x}")


def _getitem(build: Builder, name: str, x: Any, index: Any) -> Any:
    if isinstance(x, tuple):
        return x[index]
    if isinstance(x, States) and isinstance(index, int):
        return x.pick(index)
    x, parts, every = build.settle(x), _parts(index), slice(None)
    if not all(isinstance(part, (int, slice)) for part in parts):
        parts = []
    if isinstance(x, Value) and x.is_pooled and parts in ([every, every, 0, 0],):
        return Value(x.nodes, "rows", x.shape)
    if isinstance(x, Value) and x.kind == "frames" and parts[:1] == [every]:
        if parts[1:] in ([-1], [-1, every]):
            return build.pool_frames(name, x, "last", x.shape[0])
        if parts[1:] in ([0], [0, every]):
            return build.pool_frames(name, x, "last", 0)
    if isinstance(x, Value) and x.kind == "maps" and len(parts) == 4 and parts[:2] == [every] * 2:
        step = getattr(parts[2], "step", None)
        if parts[2] == parts[3] and parts[2] in (slice(None, None, step), slice(0, None, step)):
            return Picked(name, x, step or 1)
    raise unsupported(f"indexing {x} by {index} ({name!r})")


def _parts(index: Any) -> list[Any]:
    """An index of each axis; what an ellipsis stands for is only known of maps."""
    parts = list(index) if isinstance(index, tuple) else [index]
    if any(part is Ellipsis for part in parts):
        at = next(i for i, part in enumerate(parts) if part is Ellipsis)
        parts[at : at + 1] = [slice(None)] * (5 - len(parts))
    return parts


def _pad(
    build: Builder, name: str, x: Any, pad: Any, mode: str = "constant", value: Any = None
) -> Any:
    sides = tuple(pad)
    maps = isinstance(x, Picked) or (isinstance(x, Value) and x.kind == "maps")
    if not maps or mode != "constant" or value or any(sides[:4]) or len(sides) not in (4, 6):
        raise unsupported(f"pad({sides}, mode={mode!r}, value={value}) ({name!r}) of {x}")
    before, behind = sides[4:] or (0, 0)
    if before < 0 or behind < 0:
        raise unsupported(f"pad({sides}) ({name!r})")
    if isinstance(x, Picked) and not (x.before or x.behind or x.settled):
        return Picked(name, x.value, x.stride, before, behind)
    return Picked(name, build.settle(x), 1, before, behind)


def _cat(build: Builder, name: str, tensors: Sequence[Any], dim: int = 0) -> Any:
    both = list(tensors)
    if dim in (1, -1) and len(both) == 2 and all(isinstance(part, Direction) for part in both):
        layer = both[0].layer
        if both[1].layer is layer and [part.number for part in both] == [0, 1]:
            return build.pool_frames(name, layer, "last", layer.shape[0] // 2)
    raise unsupported(f"cat() ({name!r}), except of the last states of both directions of a layer,")


_CALLS: dict[Any, Handler] = {}


def _register(handler: Handler, *targets: Any) -> None:
    _CALLS.update(dict.fromkeys(targets, handler))


for _kind in ("relu", "tanh", "sigmoid", "silu"):
    _functions = [
        getattr(place, _kind) for place in (torch, functional, torch.special)
        if hasattr(place, _kind)
    ]  # fmt: skip
    _register(_activation(_kind), _kind, *_functions)
_register(_CALLS["sigmoid"], torch.special.expit)
_register(_gelu, functional.gelu)
_register(_dropout, functional.dropout, functional.dropout2d, torch.dropout)
_register(_same, "contiguous", "float", "detach", "clone", "to", "type_as")
_register(_add, operator.add, operator.iadd, torch.add, "add", "__radd__")
_register(_subtract, operator.sub, torch.sub, torch.subtract, "sub", "subtract")
_register(_subtract_from, torch.rsub, "__rsub__", "rsub")
_register(_multiply, operator.mul, torch.mul, torch.multiply, "mul", "multiply", "__rmul__")
_register(_divide, operator.truediv, torch.div, torch.divide, torch.true_divide, "div", "divide")
_register(_divide, "true_divide")
_register(_negative, operator.neg, torch.neg, "neg", "negative")
_register(_linear, functional.linear)
_register(_max_pool, functional.max_pool2d, torch.max_pool2d)
_register(_average_pool, functional.avg_pool2d)
_register(_adaptive, functional.adaptive_avg_pool2d)
_register(_mean, torch.mean, "mean")
_register(_flatten, torch.flatten, "flatten")
_register(_reshape, torch.reshape, "reshape", "view")
_register(_squeeze, torch.squeeze, "squeeze")
_register(_getitem, operator.getitem)
_register(_pad, functional.pad)
_register(_cat, torch.cat, torch.concat, torch.concatenate)

# these take what is not settled yet
_OPEN = {_squeeze, _getitem, _pad, _cat}
