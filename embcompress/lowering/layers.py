"""Modules of PyTorch as records: one function for each type of layer."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from torch import nn

from embcompress.lowering.builder import Builder, Refused, States, Value, unsupported
from embcompress.runtime.records import (
    GRU,
    LSTM,
    Affine,
    AveragePool2d,
    Conv2d,
    Flatten,
    GRUCell,
    Linear,
    LSTMCell,
    MaxPool2d,
)

__all__ = [
    "Parts",
    "average_pool",
    "described",
    "flatten",
    "layer_of",
    "lower_module",
    "max_pool",
    "same_pair",
]

# module, its name, its input -> its output
Handler = Callable[[Builder, Any, str, Any], Any]


def layer_of(module: nn.Module) -> Handler | None:
    """What lowers a module as a whole; None if there is nothing.

    Modules with a method ``lowered(parts, value)`` say themselves what they are, with the help of
    :class:`Parts`; it is for networks that cannot be traced.
    """
    if hasattr(module, "lowered"):
        return _described_by_itself
    for base in type(module).__mro__:
        # a subclass with a forward pass of its own is another layer
        if base in _LAYERS and type(module).forward is base.forward:
            return _LAYERS[base]
    return None


def lower_module(build: Builder, module: nn.Module, name: str, value: Any) -> Any:
    """Add the nodes of a layer.

    Parameters
    ----------
    build : Builder
    module : Module
    name : str
        Of the module in the model; of the model itself "".
    value : Value

    Returns
    -------
    Value, or a pair (Value, States) of recurrent layers

    Raises
    ------
    ValueError
        If it is not supported.
    """
    handler = layer_of(module)
    if handler is None:
        raise unsupported(described(module, name))
    if not isinstance(value, Value):
        raise unsupported(f"{described(module, name)}, which reads {value!r},")
    return handler(build, module, name, value)


class Parts:
    """What a module describes itself with.

    Parameters
    ----------
    build : Builder
    module : Module
    name : str
        Of the module in the model.
    """

    def __init__(self, build: Builder, module: nn.Module, name: str) -> None:
        self._build, self._module = build, module
        self._prefix = f"{name}." if name else ""

    def child(self, name: str, value: Any) -> Any:
        """Add a module inside; gives a value, or a pair (value, last states)."""
        return lower_module(
            self._build, self._module.get_submodule(name), self._prefix + name, value
        )

    def pool_frames(self, value: Value, mode: str, n_forward: int) -> Value:
        """Turn frames into rows, see :class:`~embcompress.runtime.records.PoolFrames`."""
        return self._build.pool_frames(f"{self._prefix}pool", value, mode, n_forward)


def _described_by_itself(build: Builder, module: Any, name: str, value: Value) -> Any:
    return module.lowered(Parts(build, module, name), value)


def described(module: nn.Module, name: str) -> str:
    """A layer in messages: its name, and what it is."""
    return f"layer {name!r} ({module!r})" if name else f"{module!r}"


def _expect(value: Value, module: nn.Module, name: str, *kinds: str, size: int | None) -> None:
    if value.kind not in kinds or value.is_pooled:
        raise unsupported(f"{described(module, name)} on {value}")
    if size is not None and value.shape[0] != size:
        raise ValueError(f"{described(module, name)} gets {value}, but takes {size}")


def _linear(build: Builder, module: nn.Linear, name: str, value: Value) -> Value:
    _expect(value, module, name, "rows", "frames", size=module.in_features)
    record = Linear(build.weight(module.weight), build.vector(module.bias))
    return build.layer(name, record, value, (module.out_features,))


def same_pair(size: Any) -> int | None:
    """The number that a pair consists of, or a number itself; None if two differ."""
    pair = tuple(size) if isinstance(size, (tuple, list)) else (size, size)
    if len(pair) == 1:
        pair *= 2
    return int(pair[0]) if pair[0] == pair[1] else None


def _conv(build: Builder, module: nn.Conv2d, name: str, value: Value) -> Value:
    size: Any = same_pair(module.kernel_size)
    stride: Any = same_pair(module.stride)
    padding: Any = module.padding
    if padding == "valid":
        padding = 0
    elif padding == "same":
        padding = None if size is None or size % 2 == 0 else size // 2
    padding = None if padding is None else same_pair(padding)
    plain = module.groups == 1 and same_pair(module.dilation) == 1
    zeros = module.padding_mode == "zeros" or padding == 0
    if not plain or not zeros or None in (size, stride, padding):
        raise unsupported(
            f"{described(module, name)}, which is not square or has groups, dilation or a padding "
            "that is not zeros,"
        )
    _expect(value, module, name, "maps", size=module.in_channels)
    record = Conv2d(build.weight(module.weight), build.vector(module.bias), stride, padding)
    places = [(n + 2 * padding - size) // stride + 1 for n in value.shape[1:]]
    return build.layer(name, record, value, (module.out_channels, *places))


def _norm(build: Builder, module: Any, name: str, value: Value) -> Value:
    if module.running_mean is None:
        raise unsupported(f"{described(module, name)} without statistics of its own")
    kind = "maps" if isinstance(module, nn.BatchNorm2d) else "rows"
    _expect(value, module, name, kind, size=module.num_features)
    mean, variance = build.vector(module.running_mean), build.vector(module.running_var)
    weight, shift = build.vector(module.weight), build.vector(module.bias)
    scale = (1.0 if weight is None else weight) / np.sqrt(variance + module.eps)
    record = Affine(mean, scale, shift)
    return build.layer(name, record, value, value.shape)


def _activation(kind: str) -> Handler:
    def handler(build: Builder, module: nn.Module, name: str, value: Value) -> Value:
        return build.activation(name, value, kind)

    return handler


def _gelu(build: Builder, module: nn.GELU, name: str, value: Value) -> Value:
    if module.approximate != "none":
        raise unsupported(described(module, name))
    return build.activation(name, value, "gelu")


def _same(build: Builder, module: nn.Module, name: str, value: Value) -> Value:
    return value


def flatten(build: Builder, name: str, value: Value) -> Value:
    """Rows of maps, channel by channel."""
    if value.kind == "rows":
        return Value(value.nodes, "rows", value.shape)
    if value.kind != "maps":
        raise unsupported(f"flattening {value} ({name!r})")
    node = build.emit(name, Flatten(), value.nodes)
    return Value((node,), "rows", (math.prod(value.shape),))


def _flatten(build: Builder, module: nn.Flatten, name: str, value: Value) -> Value:
    if module.start_dim != 1 or module.end_dim != -1:
        raise unsupported(described(module, name))
    return flatten(build, name, value)


def max_pool(build: Builder, name: str, value: Value, **options: Any) -> Value:
    """Add maximum pooling, with the options of the function in PyTorch."""
    size, stride, padding = _pooling(name, value, options)
    record = MaxPool2d(size, stride, padding)
    return build.layer(name, record, value, _pooled(value, size, stride, padding))


def average_pool(build: Builder, name: str, value: Value, **options: Any) -> Value:
    """Add mean pooling, with the options of the function in PyTorch."""
    size, stride, padding = _pooling(name, value, options)
    if padding and not options.get("count_include_pad", True):
        raise unsupported(f"pooling {name!r} with padding that does not count")
    record = AveragePool2d(size, stride, padding)
    return build.layer(name, record, value, _pooled(value, size, stride, padding))


def _pooling(name: str, value: Value, options: dict[str, Any]) -> tuple[int, int, int]:
    size = same_pair(options["kernel_size"])
    # an empty list is what tracing makes of None in some versions
    given = options.get("stride")
    stride = size if given is None or given == [] else same_pair(given)
    padding = same_pair(options.get("padding", 0))
    strange = [
        f"{option}={found}"
        for option, usual in (
            ("dilation", 1), ("ceil_mode", 0), ("return_indices", 0), ("divisor_override", None),
        )
        if (found := options.get(option, usual)) != usual and found != (usual, usual)
    ]  # fmt: skip
    if value.kind != "maps" or size is None or stride is None or padding is None or strange:
        raise unsupported(f"pooling {name!r} of {value} with {', '.join(strange) or options}")
    return size, stride, padding


def _pooled(value: Value, size: int, stride: int, padding: int) -> tuple[int, ...]:
    return (value.shape[0], *[(n + 2 * padding - size) // stride + 1 for n in value.shape[1:]])


_POOL_OPTIONS = (
    "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices",
    "divisor_override", "count_include_pad",
)  # fmt: skip


def _pool(function: Callable[..., Value]) -> Handler:
    def handler(build: Builder, module: nn.Module, name: str, value: Value) -> Value:
        options = {key: getattr(module, key) for key in _POOL_OPTIONS if hasattr(module, key)}
        return function(build, name, value, **options)

    return handler


def _adaptive(build: Builder, module: nn.AdaptiveAvgPool2d, name: str, value: Value) -> Value:
    if same_pair(module.output_size) != 1 or not (value.kind == "maps" or value.is_pooled):
        raise unsupported(f"{described(module, name)} on {value}")
    return build.global_average(name, value, is_pooled=True)


def _gates(build: Builder, module: Any, ending: str) -> tuple[Any, ...]:
    """Matrices and biases of one direction of one layer, in the order of the records' fields."""
    names = [f"{kind}_{part}{ending}" for kind in ("weight", "bias") for part in ("ih", "hh")]
    tensors = [getattr(module, name, None) for name in names]
    return (*map(build.weight, tensors[:2]), *map(build.vector, tensors[2:]))  # type: ignore[arg-type]


def _recurrent(build: Builder, module: Any, name: str, value: Value) -> tuple[Value, Any]:
    _expect(value, module, name, "frames", size=module.input_size)
    if not module.batch_first:
        raise unsupported(f"{described(module, name)} without batch_first=True")
    if module.proj_size:
        raise unsupported(f"{described(module, name)}, which projects its states,")
    record: Any = GRU if isinstance(module, nn.GRU) else LSTM
    layers = []
    for i in range(module.num_layers):
        nodes = []
        for ending in ("", "_reverse") if module.bidirectional else ("",):
            gates = _gates(build, module, f"_l{i}{ending}")
            node = f"{name}.l{i}{ending.replace('_', '.')}"
            nodes.append(build.emit(node, record(*gates, reverse=bool(ending)), value.nodes))
        value = Value(tuple(nodes), "frames", (module.hidden_size * len(nodes),))
        layers.append(value)
    states = States(tuple(layers))
    return value, states if record is GRU else (states, Refused("the cells of an LSTM"))


def _cell(build: Builder, module: Any, name: str, value: Value) -> Value:
    _expect(value, module, name, "rows", size=module.input_size)
    record: Any = GRUCell if isinstance(module, nn.GRUCell) else LSTMCell
    node = build.emit(name, record(*_gates(build, module, "")), (*value.nodes, "state"))
    width = module.hidden_size * (1 if record is GRUCell else 2)
    return Value((node,), "rows", (width,))


_LAYERS: dict[type[nn.Module], Handler] = {
    nn.Linear: _linear,
    nn.Conv2d: _conv,
    nn.BatchNorm1d: _norm,
    nn.BatchNorm2d: _norm,
    nn.ReLU: _activation("relu"),
    nn.Tanh: _activation("tanh"),
    nn.SiLU: _activation("silu"),
    nn.Sigmoid: _activation("sigmoid"),
    nn.GELU: _gelu,
    nn.Identity: _same,
    nn.Dropout: _same,
    nn.Dropout1d: _same,
    nn.Dropout2d: _same,
    nn.AlphaDropout: _same,
    nn.Flatten: _flatten,
    nn.MaxPool2d: _pool(max_pool),
    nn.AvgPool2d: _pool(average_pool),
    nn.AdaptiveAvgPool2d: _adaptive,
    nn.GRU: _recurrent,
    nn.LSTM: _recurrent,
    nn.GRUCell: _cell,
    nn.LSTMCell: _cell,
}
