"""Layers as plain arrays: what a program is compiled from.

A graph is a list of nodes in the order in which they run; each has a name, a record that says what
it does, and the names of its inputs. ``"input"`` is the input of the program. Nothing here knows of
PyTorch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from embcompress.runtime.kernels.activations import ACTIVATIONS

__all__ = [
    "GRU", "LSTM", "Activation", "Add", "Affine", "AveragePool2d", "Conv2d", "Flatten", "GRUCell",
    "GlobalAverage", "Graph", "LSTMCell", "Linear", "MaxPool2d", "Node", "PoolFrames", "Record",
    "Weight",
]  # fmt: skip

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Weight:
    """A matrix or a set of filters, and which of its numbers are kept.

    Parameters
    ----------
    values : ndarray of float32 or int8
        Shape (outputs, inputs) or (outputs, inputs, height, width); removed numbers are 0.
    kept : ndarray of bool, optional
        Same shape. Default: where `values` is not 0.
    scales : ndarray of float32, shape (outputs,), optional
        Of int8: the weight is ``scales * values``, output by output.
    layout : str, default "auto"
        A key of :data:`embcompress.runtime.layouts.LAYOUTS`, or what the compiler finds best.
    input_scale : float, optional
        Of int8: what a step of the inputs stands for; from the largest of each row if None.
    """

    values: npt.NDArray[Any]
    kept: npt.NDArray[np.bool_] = None  # type: ignore[assignment]  # filled below
    scales: Floats | None = None
    layout: str = "auto"
    input_scale: float | None = None

    def __post_init__(self) -> None:
        values = np.ascontiguousarray(self.values)
        if values.dtype not in (np.int8, np.float32):
            values = values.astype(np.float32)
        if values.ndim not in (2, 4) or 0 in values.shape:
            raise ValueError(
                f"weights of shape {values.shape}; (outputs, inputs) or (outputs, inputs, height, "
                "width) is needed, nothing of it 0"
            )
        kept = values != 0 if self.kept is None else np.asarray(self.kept, bool)
        if kept.shape != values.shape:
            raise ValueError(f"a mask of shape {kept.shape} for weights of {values.shape}")
        if values.dtype == np.float32 and not np.isfinite(values).all():
            raise ValueError("weights hold NaN or infinite numbers")
        if not kept.all():
            values = np.where(kept, values, values.dtype.type(0))
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "kept", kept)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the dense weight."""
        return self.values.shape

    @property
    def n_kept(self) -> int:
        """Number of weights that are kept."""
        return int(self.kept.sum())

    @property
    def is_int8(self) -> bool:
        """Whether the values are codes of int8."""
        return self.values.dtype == np.int8

    def dense(self) -> Floats:
        """The weight in float32, zeros where it was pruned."""
        if self.scales is None:
            return self.values
        return self.values * self.scales.reshape(-1, *[1] * (self.values.ndim - 1))

    def taking(self, rows: Any = slice(None), columns: Any = slice(None)) -> Weight:
        """Some of the outputs and inputs."""
        scales = None if self.scales is None else self.scales[rows]
        return replace(
            self, values=self.values[rows][:, columns], kept=self.kept[rows][:, columns],
            scales=scales,
        )  # fmt: skip


class Record:
    """Base of the records; `weights` names the fields that hold a `Weight`."""

    weights: ClassVar[tuple[str, ...]] = ()

    def matrices(self) -> dict[str, Weight]:
        """Field -> weight."""
        return {name: getattr(self, name) for name in self.weights}

    def plain(self) -> dict[str, Any]:
        """Fields that are numbers or strings."""
        return {
            part.name: value
            for part in fields(self)  # type: ignore[arg-type]
            if not isinstance(value := getattr(self, part.name), (Weight, np.ndarray))
        }

    def vectors(self) -> dict[str, Floats]:
        """Fields that are arrays."""
        return {
            part.name: value
            for part in fields(self)  # type: ignore[arg-type]
            if isinstance(value := getattr(self, part.name), np.ndarray)
        }


def _check_vector(record: Any, name: str, size: int) -> None:
    """Make a field a float32 vector of a length; zeros if it is None."""
    value = getattr(record, name)
    vector = np.zeros(size, np.float32) if value is None else np.asarray(value, np.float32)
    if vector.shape != (size,):
        raise ValueError(
            f"{type(record).__name__}.{name} has shape {vector.shape}; the weights need ({size},)"
        )
    if not np.isfinite(vector).all():
        raise ValueError(f"{type(record).__name__}.{name} holds NaN or infinite numbers")
    object.__setattr__(record, name, vector)


def _check_weight(record: Any, name: str, ndim: int) -> Weight:
    value = getattr(record, name)
    weight = value if isinstance(value, Weight) else Weight(np.asarray(value))
    if weight.values.ndim != ndim:
        raise ValueError(
            f"{type(record).__name__}.{name} has shape {weight.shape}; {ndim} axes are needed"
        )
    object.__setattr__(record, name, weight)
    return weight


def _check_activation(record: Any) -> None:
    if record.activation not in ACTIVATIONS:
        raise ValueError(
            f"activation={record.activation!r} is unknown; there are {', '.join(ACTIVATIONS)}"
        )


@dataclass(frozen=True, eq=False)
class Linear(Record):
    """``activation(x W^T + b)``.

    Parameters
    ----------
    weight : Weight or array-like of shape (outputs, inputs)
    bias : ndarray of float32, shape (outputs,), optional
    activation : str, default "identity"
        A key of :data:`ACTIVATIONS`.
    """

    weight: Weight
    bias: Floats = None  # type: ignore[assignment]
    activation: str = "identity"
    weights: ClassVar[tuple[str, ...]] = ("weight",)

    def __post_init__(self) -> None:
        _check_vector(self, "bias", _check_weight(self, "weight", 2).shape[0])
        _check_activation(self)


@dataclass(frozen=True, eq=False)
class Conv2d(Record):
    """Convolution of maps, ``activation(w * x + b)``.

    With two inputs the second is added before the activation, as a shortcut is.

    Parameters
    ----------
    weight : Weight or array-like of shape (outputs, inputs, height, width)
    bias : ndarray of float32, shape (outputs,), optional
    stride, padding : int, default 1, 0
        The same in both directions; zeros are padded.
    activation : {"identity", "relu"}
    """

    weight: Weight
    bias: Floats = None  # type: ignore[assignment]
    stride: int = 1
    padding: int = 0
    activation: str = "identity"
    weights: ClassVar[tuple[str, ...]] = ("weight",)

    def __post_init__(self) -> None:
        _check_vector(self, "bias", _check_weight(self, "weight", 4).shape[0])
        _check_activation(self)
        if self.stride < 1 or self.padding < 0:
            raise ValueError(f"Conv2d(stride={self.stride}, padding={self.padding}) is no conv")


@dataclass(frozen=True, eq=False)
class _Gated(Record):
    """Gates' matrices, stacked as PyTorch stacks them.

    Parameters
    ----------
    weight_input : Weight or array-like of shape (gates * hidden, inputs)
    weight_state : Weight or array-like of shape (gates * hidden, hidden)
    bias_input, bias_state : ndarray of float32, shape (gates * hidden,), optional
    """

    weight_input: Weight
    weight_state: Weight
    bias_input: Floats = None  # type: ignore[assignment]
    bias_state: Floats = None  # type: ignore[assignment]
    weights: ClassVar[tuple[str, ...]] = ("weight_input", "weight_state")
    gates: ClassVar[int] = 3

    def __post_init__(self) -> None:
        given = _check_weight(self, "weight_input", 2)
        state = _check_weight(self, "weight_state", 2)
        if state.shape[0] != self.gates * state.shape[1] or given.shape[0] != state.shape[0]:
            raise ValueError(
                f"{type(self).__name__} with weights of {given.shape} and {state.shape}; "
                f"({self.gates} * hidden, inputs) and ({self.gates} * hidden, hidden) are needed"
            )
        for name in ("bias_input", "bias_state"):
            _check_vector(self, name, state.shape[0])

    @property
    def hidden(self) -> int:
        """Units."""
        return self.weight_state.shape[1]


@dataclass(frozen=True, eq=False)
class GRUCell(_Gated):
    """One step of gated recurrent units: input and state -> new state."""


@dataclass(frozen=True, eq=False)
class LSTMCell(_Gated):
    """One step of an LSTM; a state is units, then cells."""

    gates: ClassVar[int] = 4


@dataclass(frozen=True, eq=False)
class GRU(_Gated):
    """A layer over frames; `reverse` runs against time."""

    reverse: bool = False


@dataclass(frozen=True, eq=False)
class LSTM(_Gated):
    """A layer over frames; `reverse` runs against time."""

    reverse: bool = False
    gates: ClassVar[int] = 4


@dataclass(frozen=True, eq=False)
class Affine(Record):
    """``(x - mean) * scale + shift`` of each feature or channel.

    Parameters
    ----------
    mean, scale, shift : ndarray of float32, shape (features,)
    """

    mean: Floats
    scale: Floats
    shift: Floats = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        for name in ("mean", "scale", "shift"):
            _check_vector(self, name, len(np.asarray(self.scale)))


@dataclass(frozen=True, eq=False)
class Activation(Record):
    """An activation on its own."""

    activation: str

    def __post_init__(self) -> None:
        _check_activation(self)


@dataclass(frozen=True, eq=False)
class MaxPool2d(Record):
    """Largest of each square of `size`, every `stride`; padding never is the largest."""

    size: int
    stride: int
    padding: int = 0


@dataclass(frozen=True, eq=False)
class AveragePool2d(Record):
    """Mean of each square of `size`, every `stride`; padding counts as zeros."""

    size: int
    stride: int
    padding: int = 0


@dataclass(frozen=True, eq=False)
class GlobalAverage(Record):
    """Mean over space: maps become rows."""


@dataclass(frozen=True, eq=False)
class Flatten(Record):
    """Maps become rows: channel by channel, row by row."""


@dataclass(frozen=True, eq=False)
class Add(Record):
    """Sum of two values, and an activation."""

    activation: str = "identity"


@dataclass(frozen=True, eq=False)
class PoolFrames(Record):
    """Frames become rows.

    Parameters
    ----------
    mode : {"mean", "last"}
        Mean over time, or the last states: of units that run against time, those of frame 0.
    n_forward : int
        Units that run with time; the others follow them.
    """

    mode: str
    n_forward: int


#: Records by name, as files have them.
RECORDS: dict[str, type[Record]] = {
    record.__name__: record
    for record in (
        Linear, Conv2d, GRUCell, LSTMCell, GRU, LSTM, Affine, Activation, MaxPool2d,
        AveragePool2d, GlobalAverage, Flatten, Add, PoolFrames,
    )
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Node:
    """One layer of a graph.

    Attributes
    ----------
    name : str
    record : Record
    inputs : tuple of str
        Names of nodes before it, or ``"input"``; two for a cell (``"input"``, ``"state"``), a
        sum, a convolution with a shortcut; layers over frames with two inputs read both, one
        after the other.
    """

    name: str
    record: Record
    inputs: tuple[str, ...] = ("input",)


@dataclass(frozen=True, eq=False)
class Graph:
    """Layers in the order in which they run; the last one gives the output.

    Attributes
    ----------
    nodes : sequence of Node
    kind : {"rows", "codes", "frames", "maps"}
        What the input is: rows of numbers, packed codes, sequences, feature maps.
    shape : tuple of int
        Of one input: (features,), (bits,), (features,) of a frame, (channels, height, width).
    classes : ndarray, optional
        Labels of the outputs, for a classifier.
    """

    nodes: Sequence[Node]
    kind: str
    shape: tuple[int, ...]
    classes: npt.NDArray[Any] | None = field(default=None)

    def __post_init__(self) -> None:
        if not self.nodes:
            raise ValueError("a graph without layers")
        known = {"input", "state"}
        for node in self.nodes:
            missing = [name for name in node.inputs if name not in known]
            if missing or node.name in known:
                raise ValueError(
                    f"layer {node.name!r} reads {', '.join(node.inputs)}; before it come "
                    f"{', '.join(sorted(known))}, and names must differ"
                )
            known.add(node.name)

    def weights(self) -> Mapping[str, Weight]:
        """All weights: ``"layer"``, or ``"layer.field"`` where a layer has several."""
        found = {}
        for node in self.nodes:
            matrices = node.record.matrices()
            for name, weight in matrices.items():
                found[node.name if len(matrices) == 1 else f"{node.name}.{name}"] = weight
        return found
