"""One call from a network to its graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from embcompress.lowering.builder import Builder, Value
from embcompress.lowering.layers import layer_of, lower_module
from embcompress.lowering.tracing import lower_forward
from embcompress.runtime.records import Graph

__all__ = ["lower"]

_KINDS = ("rows", "codes", "frames", "maps")
_FOR_MAPS = (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)


def lower(
    module: nn.Module,
    *,
    input_shape: Sequence[int] | None = None,
    kind: str | None = None,
    masks: Mapping[str, Any] | None = None,
) -> Graph:
    """Describe a network as layers of plain arrays.

    The model is followed as it runs in evaluation mode on float32 inputs. Nodes are named as the
    modules are; those of recurrent layers ``"gru.l0"``, ``"gru.l0.reverse"``.

    Parameters
    ----------
    module : Module
        Layers that :mod:`embcompress.runtime` has, called in any forward function that torch.fx
        can follow. It is not changed.
    input_shape : sequence of int, optional
        Of one input: (features,), of a frame for sequences, or (channels, height, width), which
        is always needed for maps. Default: what the first layer takes.
    kind : {"rows", "codes", "frames", "maps"}, optional
        What goes in; ``codes`` are bits, unpacked to -1 and 1, and only this says so. Default:
        frames if there is a GRU or LSTM, maps if there are layers on maps, else rows.
    masks : mapping of str to bool tensor or ndarray, optional
        Name of a parameter -> True where it is kept. Without, zeros are what was pruned.

    Returns
    -------
    Graph

    Raises
    ------
    TypeError
        If `module` is no module, or a mask not boolean.
    ValueError
        If a layer or call is not supported: the message names it, and lists what is. If masks
        are for parameters that are not there, or of other shapes; if weights are not finite.

    Examples
    --------
    >>> from torch import nn
    >>> graph = lower(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)))
    >>> [node.name for node in graph.nodes], graph.kind, graph.shape
    (['0', '1', '2'], 'rows', (4,))
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"{type(module).__name__} is no torch.nn.Module")
    kind, shape = _input_of(module, input_shape, kind)
    build = Builder(module, masks)
    value = build.input(kind, shape)
    with _evaluating(module), torch.no_grad():
        if layer_of(module) is not None:
            found = lower_module(build, module, "", value)
            # a recurrent layer gives its last states as well
            found = found[0] if isinstance(found, tuple) else found
        else:
            found = lower_forward(build, module, value, _example(module, kind, shape))
    output = build.settle(found)
    if not isinstance(output, Value):
        raise ValueError(
            f"{type(module).__name__} gives {type(output).__name__}; one tensor is needed"
        )
    return build.graph(output, kind, shape)


def _input_of(
    module: nn.Module, shape: Sequence[int] | None, kind: str | None
) -> tuple[str, tuple[int, ...]]:
    """Kind and shape of the input: as given, or as the layers take it."""
    layers = list(module.modules())
    if kind is None:
        kind = "rows"
        if any(isinstance(layer, (nn.GRU, nn.LSTM)) for layer in layers):
            kind = "frames"
        elif len(shape or ()) == 3 or any(isinstance(layer, _FOR_MAPS) for layer in layers):
            kind = "maps"
    if kind not in _KINDS:
        raise ValueError(f"kind={kind!r} is unknown; there are {', '.join(_KINDS)}")
    axes = "(channels, height, width)" if kind == "maps" else "(features,)"
    if shape is None:
        sizes = [
            size
            for layer in layers
            for name in ("in_features", "input_size", "num_features")
            if isinstance(size := getattr(layer, name, None), int)
        ]
        if kind == "maps" or not sizes:
            raise ValueError(f"input_shape={axes} is needed, for the layers do not say it")
        shape = sizes[:1]
    shape = tuple(map(int, shape))
    if len(shape) != (3 if kind == "maps" else 1) or min(shape) < 1:
        raise ValueError(f"input_shape={shape} for kind={kind!r}; {axes} is needed")
    return kind, shape


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode; afterwards each module has its own again."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def _example(module: nn.Module, kind: str, shape: tuple[int, ...]) -> Tensor:
    """Two inputs, of three frames, as the parameters are."""
    first = next((p for p in module.parameters() if p.is_floating_point()), torch.zeros(()))
    time = (3,) if kind == "frames" else ()
    return torch.zeros(2, *time, *shape, dtype=first.dtype, device=first.device)
