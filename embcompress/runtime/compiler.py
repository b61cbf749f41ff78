"""From a head, a network or plain layers to a program."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from embcompress.runtime.layout_choice import choose, choose_filters
from embcompress.runtime.model import Program
from embcompress.runtime.passes import simplify
from embcompress.runtime.records import Conv2d, Graph, Linear, Node, Record, Weight
from embcompress.runtime.rounding import largest_outputs, round_graph
from embcompress.runtime.tuning import fastest

__all__ = ["compile", "graph_of"]

#: Base class of what must be translated first -> the module that can, imported when one comes.
_EDGES = {"torch.nn.modules.module.Module": "embcompress.lowering"}


def compile(
    model: Any,
    masks: Mapping[str, Any] | None = None,
    *,
    precision: Literal["float32", "int8"] = "float32",
    calibration: npt.ArrayLike | None = None,
    input_shape: Sequence[int] | None = None,
    batch_size: int = 1,
    tune: bool = False,
) -> Program:
    """Compile a pruned model into a program that runs without PyTorch.

    Parameters
    ----------
    model : head, torch module, Graph, Record or sequence of Record
        A fitted head of `embcompress.heads` (standardization is part of the program); a module of
        linear, convolutional, GRU and LSTM layers, for which PyTorch must be there; or layers of
        :mod:`embcompress.runtime.records` as arrays, one after the other. It is not changed.
    masks : mapping of str to array-like of bool, optional
        Name of a parameter (of a layer, for records) -> which weights are kept. Default: what
        pruning has left in a head; else weights that are 0 are removed ones.
    precision : {"float32", "int8"}
        int8: matrices have one scale for each output, and inputs of a layer are rounded with one
        scale for each row. Convolutions stay float32.
    calibration : array-like, optional
        Inputs as the program takes them. With int8 the scale of a layer's inputs is then fixed by
        the largest that came; what is larger is cut.
    input_shape : sequence of int, optional
        Of one input, for torch modules that begin with a convolution: (channels, height, width).
    batch_size : int, default 1
        How many rows mostly come at a time: what layouts are chosen for.
    tune : bool, default False
        Choose layouts by time on this machine. Default: by rule, the same on every machine.

    Returns
    -------
    Program

    Raises
    ------
    TypeError
        If `model` is nothing of these.
    ValueError
        If a layer is not supported, masks do not fit or keep nothing of a layer, or the
        calibration does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from embcompress import runtime
    >>> weight = np.eye(32, dtype=np.float32)
    >>> program = runtime.compile(runtime.Linear(weight, activation="relu"))
    >>> program(np.full((1, 32), -1)).max()
    np.float32(0.0)
    """
    if precision not in ("float32", "int8"):
        raise ValueError(f'precision={precision!r} is unknown; use "float32" or "int8"')
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size} must be at least 1")
    if calibration is not None and precision != "int8":
        raise ValueError('calibration is for precision="int8"')
    graph = graph_of(model, masks, input_shape)
    _check_kept(graph)
    graph = simplify(graph, fold_inputs=precision == "float32")
    if precision == "int8":
        graph = round_graph(graph, _ranges(graph, calibration))
    return Program(_with_layouts(graph, batch_size, tune))


def graph_of(
    model: Any,
    masks: Mapping[str, Any] | None = None,
    input_shape: Sequence[int] | None = None,
) -> Graph:
    """Translate a model into layers as arrays.

    Parameters
    ----------
    model, masks, input_shape
        As :func:`compile` takes them.

    Returns
    -------
    Graph
    """
    if hasattr(model, "layer_graph"):
        graph = model.layer_graph() if masks is None else model.layer_graph(masks)
        assert isinstance(graph, Graph)
        return graph
    for base in type(model).__mro__:
        edge = _EDGES.get(f"{base.__module__}.{base.__qualname__}")
        if edge is not None:
            translated = importlib.import_module(edge).lower(
                model, masks=masks, input_shape=input_shape
            )
            assert isinstance(translated, Graph)
            return translated
    return _masked(_chain(model, input_shape), masks or {})


def _chain(model: Any, input_shape: Sequence[int] | None) -> Graph:
    if isinstance(model, Graph):
        return model
    records = [model] if isinstance(model, Record) else model
    if not isinstance(records, Sequence) or not records:
        records = [model]
    for record in records:
        if not isinstance(record, Record):
            raise TypeError(
                f"cannot compile a {type(record).__name__}; a head, a torch module, a Graph, or "
                "records such as runtime.Linear can be compiled"
            )
    names = [f"{i}" for i in range(len(records))]
    nodes = [
        Node(name, record, (before,))
        for name, record, before in zip(names, records, ["input", *names], strict=False)
    ]
    kind, shape = _input_of(records[0], input_shape)
    if kind == "cell":
        nodes[0] = replace(nodes[0], inputs=("input", "state"))
        kind = "rows"
    return Graph(nodes, kind, shape)


def _input_of(record: Any, input_shape: Sequence[int] | None) -> tuple[str, tuple[int, ...]]:
    """What a first layer takes."""
    name = type(record).__name__
    if isinstance(record, Conv2d):
        if input_shape is None or len(input_shape) != 3:
            raise ValueError(
                "a convolution comes first: give input_shape=(channels, height, width)"
            )
        return "maps", tuple(input_shape)
    if isinstance(record, Linear):
        return "rows", (record.weight.shape[1],)
    if name in ("GRU", "LSTM"):
        return "frames", (record.weight_input.shape[1],)
    if name in ("GRUCell", "LSTMCell"):
        return "cell", (record.weight_input.shape[1],)
    if name == "Affine":
        if input_shape is not None and len(input_shape) == 3:
            return "maps", tuple(input_shape)
        return "rows", record.scale.shape
    raise ValueError(f"{name} cannot be the first layer of a chain; build a Graph")


def _masked(graph: Graph, masks: Mapping[str, Any]) -> Graph:
    known = graph.weights()
    unknown = [name for name in masks if name not in known]
    if unknown:
        raise ValueError(f"masks for {', '.join(unknown)}; the layers are {', '.join(known)}")
    nodes = []
    for node in graph.nodes:
        record: Any = node.record
        matrices = record.matrices()
        for field, weight in matrices.items():
            name = node.name if len(matrices) == 1 else f"{node.name}.{field}"
            if name in masks:
                kept = np.asarray(masks[name], bool)
                record = replace(record, **{field: replace(weight, kept=kept)})
        nodes.append(replace(node, record=record))
    return replace(graph, nodes=nodes)


def _check_kept(graph: Graph) -> None:
    empty = [name for name, weight in graph.weights().items() if weight.n_kept == 0]
    if empty:
        raise ValueError(
            f"nothing is kept of {', '.join(empty)}: the output would not depend on the input; "
            "prune less there"
        )


def _ranges(graph: Graph, calibration: npt.ArrayLike | None) -> dict[str, float] | None:
    if calibration is None:
        return None
    from embcompress.runtime.reference import evaluate

    x = np.asarray(calibration)
    if len(x) == 0:
        raise ValueError("calibration is empty")
    values = evaluate(graph, x)
    return largest_outputs(values, np.ones(1) if graph.kind == "codes" else x)


def _with_layouts(graph: Graph, batch_size: int, tune: bool) -> Graph:
    nodes = []
    for node in graph.nodes:
        record: Any = node.record
        for field, weight in record.matrices().items():
            # frames come many at a time, whatever the number of sequences
            rows = max(batch_size, 16) if field == "weight_input" else batch_size
            record = replace(record, **{field: _with_layout(weight, rows, tune)})
        nodes.append(replace(node, record=record))
    return replace(graph, nodes=nodes)


def _with_layout(weight: Weight, rows: int, tune: bool) -> Weight:
    if weight.layout != "auto":
        return weight
    if weight.values.ndim == 4:
        return replace(weight, layout=choose_filters(weight))
    return replace(weight, layout=fastest(weight, rows) if tune else choose(weight, rows))
