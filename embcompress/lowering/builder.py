"""The graph as it grows: values, names, weights with their masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from embcompress.runtime.records import (
    Activation,
    Affine,
    Conv2d,
    GlobalAverage,
    Graph,
    Node,
    PoolFrames,
    Record,
    Weight,
)

__all__ = [
    "Builder",
    "Direction",
    "Picked",
    "Refused",
    "States",
    "Value",
    "features",
    "unsupported",
]

Array = npt.NDArray[Any]

LAYERS = (
    "Linear, Conv2d (one group, square), BatchNorm1d, BatchNorm2d, GRU, LSTM, GRUCell, LSTMCell, "
    "ReLU, GELU, Tanh, SiLU, Sigmoid, MaxPool2d, AvgPool2d, AdaptiveAvgPool2d(1), Flatten, "
    "Dropout, Identity, sums of branches, means over space or time, arithmetic with constants"
)


def unsupported(what: str) -> ValueError:
    """Error about something that no record describes.

    Parameters
    ----------
    what : str
        Names the layer or call, and what of it is the matter.

    Returns
    -------
    ValueError
        To be raised; lists what is supported.
    """
    return ValueError(f"{what} cannot be compiled; supported are {LAYERS}")


@dataclass(frozen=True)
class Value:
    """What a layer gives.

    Attributes
    ----------
    nodes : tuple of str
        Name of the node; of two, whose units lie side by side, for a layer that runs both ways.
    kind : {"rows", "frames", "maps"}
    shape : tuple of int
        (features,), of each frame for frames, or (channels, height, width).
    is_pooled : bool
        Rows that PyTorch holds as maps of 1 x 1.
    """

    nodes: tuple[str, ...]
    kind: str
    shape: tuple[int, ...]
    is_pooled: bool = False

    def __str__(self) -> str:
        sizes = " x ".join(map(str, self.shape))
        return f"{self.kind} of {sizes}"


@dataclass(eq=False)
class Picked:
    """Every `stride`-th place of maps, and channels of zeros before and behind them.

    A convolution of 1 x 1; kept open, since the shortcuts of residual networks take places by one
    call and add channels by another.
    """

    name: str
    value: Value
    stride: int = 1
    before: int = 0
    behind: int = 0
    settled: Value | None = field(default=None, repr=False)


@dataclass(frozen=True)
class States:
    """Last states of a recurrent layer, as PyTorch stacks them: by layer, then by direction."""

    layers: tuple[Value, ...]

    def pick(self, index: int) -> Direction:
        """One of them."""
        flat = [Direction(layer, i) for layer in self.layers for i in range(len(layer.nodes))]
        return flat[index]


@dataclass(frozen=True)
class Refused:
    """What a layer gives too, but no record does; an error as soon as it is used."""

    what: str

    def __str__(self) -> str:
        return self.what


@dataclass(frozen=True)
class Direction:
    """Last states of one direction of one layer."""

    layer: Value
    number: int


class Builder:
    """Collects nodes.

    Parameters
    ----------
    model : Module
        Whose parameters the masks name.
    masks : mapping of str to bool tensor or array, optional

    Attributes
    ----------
    nodes : list of Node
    """

    def __init__(self, model: nn.Module, masks: Mapping[str, Any] | None = None) -> None:
        self.nodes: list[Node] = []
        self._names = {"input", "state"}
        self._constant: set[str] = set()  # arithmetic with constants, which may be put together
        # by identity: a parameter may have several names
        self._masks = _checked(model, masks or {})

    def input(self, kind: str, shape: tuple[int, ...]) -> Value:
        """The input of the graph; codes are rows for the layers."""
        return Value(("input",), "rows" if kind == "codes" else kind, shape)

    def emit(self, name: str, record: Record, inputs: Sequence[str]) -> str:
        """Add a node, and return its name.

        With a number if there is another of this name; named as its record is if it has none, as
        where the model is one layer.
        """
        kind = type(record).__name__.lower()
        name = kind + name if not name or name.startswith(".") else name
        unique, number = name, 1
        while unique in self._names:
            unique, number = f"{name}_{number}", number + 1
        self._names.add(unique)
        self.nodes.append(Node(unique, record, tuple(inputs)))
        return unique

    def layer(self, name: str, record: Record, value: Value, shape: tuple[int, ...]) -> Value:
        """Add a layer that leaves the kind of its input alone."""
        node = self.emit(name, record, value.nodes)
        return Value((node,), value.kind, shape, value.is_pooled)

    def activation(self, name: str, value: Value, kind: str) -> Value:
        """Add an activation."""
        return self.layer(name, Activation(kind), value, value.shape)

    def affine(self, name: str, value: Value, mean: Any, scale: Any, shift: Any) -> Value:
        """Add arithmetic with constants, ``(x - mean) * scale + shift`` feature by feature."""
        size = value.shape[0]
        parts = [np.broadcast_to(np.asarray(part, float), size) for part in (mean, scale, shift)]
        made = self.layer(name, Affine(*parts), value, value.shape)
        self._constant.add(made.nodes[0])
        return made

    def global_average(self, name: str, value: Value, *, is_pooled: bool = False) -> Value:
        """Add a mean over space."""
        if value.kind == "rows" and value.is_pooled:  # of 1 x 1
            return Value(value.nodes, "rows", value.shape, is_pooled)
        node = self.emit(name, GlobalAverage(), value.nodes)
        return Value((node,), "rows", value.shape[:1], is_pooled)

    def pool_frames(self, name: str, value: Value, mode: str, n_forward: int) -> Value:
        """Turn frames into rows, see :class:`~embcompress.runtime.records.PoolFrames`."""
        node = self.emit(name, PoolFrames(mode, n_forward), value.nodes)
        return Value((node,), "rows", value.shape)

    def one(self, value: Value) -> Value:
        """As a value of one node: both directions of a layer put together by an identity."""
        if len(value.nodes) == 1:
            return value
        name = value.nodes[0].rpartition(".")[0]
        return self.layer(f"{name}.both", Activation("identity"), value, value.shape)

    def settle(self, thing: Any) -> Any:
        """Make a value of what was kept open; everything else stays as it is."""
        if isinstance(thing, Picked):
            if thing.settled is None:
                thing.settled = self._pick(thing)
            return thing.settled
        if isinstance(thing, Direction):
            if len(thing.layer.nodes) != 1:
                raise unsupported(
                    f"the last state of one direction of {thing.layer.nodes[0]!r} alone (both, "
                    "joined by torch.cat, can be)"
                )
            node = thing.layer.nodes[0]
            return self.pool_frames(f"{node}.last", thing.layer, "last", thing.layer.shape[0])
        return thing

    def _pick(self, picked: Picked) -> Value:
        channels, height, width = picked.value.shape
        n_out = picked.before + channels + picked.behind
        identity = np.zeros((n_out, channels, 1, 1), np.float32)
        identity[picked.before + np.arange(channels), np.arange(channels)] = 1
        shape = (n_out, -(-height // picked.stride), -(-width // picked.stride))
        record = Conv2d(Weight(identity), stride=picked.stride)
        return self.layer(picked.name, record, picked.value, shape)

    def weight(self, parameter: Tensor) -> Weight:
        """A matrix or filters, with the mask of the parameter if it has one."""
        kept: Any = self._masks.get(id(parameter))
        return Weight(_array(parameter).astype(np.float32), kept)

    def vector(self, parameter: Tensor | None) -> Any:
        """A bias or the like; None stays None."""
        if parameter is None:
            return None
        values, mask = _array(parameter), self._masks.get(id(parameter))
        return values if mask is None else np.where(mask, values, 0)

    def graph(self, output: Value, kind: str, shape: tuple[int, ...]) -> Graph:
        """The graph that ends in a value."""
        output = self.one(output)
        if not self.nodes or self.nodes[-1].name != output.nodes[0]:
            self.activation("output", output, "identity")
        return Graph(_merged(self.nodes, self._constant), kind, shape)


def _array(tensor: Tensor) -> Array:
    return tensor.detach().cpu().double().numpy()


def _checked(model: nn.Module, masks: Mapping[str, Any]) -> dict[int, Array]:
    """Masks by the identity of the parameter."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    found, problems = {}, []
    for name, mask in masks.items():
        kept = mask.detach().cpu().numpy() if isinstance(mask, Tensor) else np.asarray(mask)
        if kept.dtype != np.bool_:
            raise TypeError(f"mask {name!r} is {kept.dtype}; booleans are needed, True = kept")
        if name not in parameters:
            problems.append(f"the model has no parameter {name!r}")
        elif kept.shape != tuple(parameters[name].shape):
            shape = tuple(parameters[name].shape)
            problems.append(f"{name!r} has shape {shape}, its mask {kept.shape}")
        else:
            found[id(parameters[name])] = kept
    if problems:
        shown = "; ".join(problems[:4]) + ("; ..." if len(problems) > 4 else "")
        raise ValueError(f"masks for another model: {shown}")
    return found


def _merged(nodes: Sequence[Node], constant: set[str]) -> list[Node]:
    """Arithmetic in a row as one node: what normalizes images is a difference and a quotient."""
    readers: dict[str, int] = {}
    for node in nodes:
        for name in node.inputs:
            readers[name] = readers.get(name, 0) + 1
    made: dict[str, Node] = {}
    for node in nodes:
        before = made.get(node.inputs[0])
        both = before is not None and {node.name, before.name} <= constant
        if before is not None and both and readers[before.name] == 1:
            first: Any = before.record
            second: Any = node.record
            shift = (first.shift.astype(float) - second.mean) * second.scale + second.shift
            scale = first.scale.astype(float) * second.scale
            del made[before.name]
            node = Node(node.name, Affine(first.mean, scale, shift), before.inputs)
        made[node.name] = node
    return list(made.values())


def features(constant: Any, value: Value) -> Array | None:
    """A number or tensor as one number, or one of each feature; None if it does not fit.

    Parameters
    ----------
    constant : float or Tensor
    value : Value
        That it meets.

    Returns
    -------
    ndarray of float64, shape () or (features,), or None
    """
    array = _array(constant) if isinstance(constant, torch.Tensor) else np.asarray(constant, float)
    if array.size == 1:
        return array.reshape(())
    n_axes = {"rows": 2, "frames": 3, "maps": 4}[value.kind]
    axis = 2 if value.kind == "frames" else 1
    if value.is_pooled:
        n_axes = 4
    if array.ndim > n_axes:
        return None
    shape = (1,) * (n_axes - array.ndim) + array.shape
    fits = shape[axis] == value.shape[0] and array.size == value.shape[0]
    return array.reshape(-1) if fits else None
