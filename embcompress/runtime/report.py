"""What became of each layer: weights, bytes, layout, and time against dense."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from embcompress.runtime.layout_choice import smallest_exact
from embcompress.runtime.map_plan import MapPlan
from embcompress.runtime.model import Program
from embcompress.runtime.records import Graph, Node, Weight
from embcompress.runtime.tuning import single, timed

__all__ = ["LayerReport", "Report", "report"]

# columns of a table that are times
_TIMES = 3


@dataclass(frozen=True)
class LayerReport:
    """One weight of a program.

    Attributes
    ----------
    name : str
    kind : str
        Of the layer.
    shape : tuple of int
    n_weights, n_kept : int
    precision : {"float32", "int8"}
    layout : str
        How it runs.
    nbytes, index_nbytes : int
        In a file, where it has the layout that takes the fewest bytes: of weights and scales,
        and of what says where they belong.
    microseconds, dense_microseconds, blas_microseconds : float or None
        Processor time of one product with as many rows as asked for: as it is compiled; with the
        same kernels and nothing pruned, in the same precision; by NumPy's matrix product. Of a
        convolution: one map, and no BLAS. None where it was not measured.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    n_weights: int
    n_kept: int
    precision: str
    layout: str
    nbytes: int
    index_nbytes: int
    microseconds: float | None = None
    dense_microseconds: float | None = None
    blas_microseconds: float | None = None

    @property
    def best_dense_microseconds(self) -> float | None:
        """The faster of the dense products."""
        if self.dense_microseconds is None or self.blas_microseconds is None:
            return self.dense_microseconds
        return min(self.dense_microseconds, self.blas_microseconds)

    @property
    def speedup(self) -> float | None:
        """Times faster than the faster of the dense products."""
        dense = self.best_dense_microseconds
        if self.microseconds is None or dense is None:
            return None
        return dense / self.microseconds


@dataclass(frozen=True)
class Report:
    """Layers of a program.

    Attributes
    ----------
    layers : sequence of LayerReport
    batch_size : int
        Rows at a time in the times.
    """

    layers: Sequence[LayerReport]
    batch_size: int

    @property
    def nbytes(self) -> int:
        """Bytes of all weights in a file, index and scales included."""
        return sum(layer.nbytes + layer.index_nbytes for layer in self.layers)

    @property
    def rate(self) -> float:
        """Weights before pruning / weights kept."""
        kept = sum(layer.n_kept for layer in self.layers)
        return sum(layer.n_weights for layer in self.layers) / max(kept, 1)

    def __str__(self) -> str:
        """Table: a line for each layer."""
        header = (
            "layer", "shape", "kept", "rate", "precision", "layout", "bytes", "us",
            "dense us", "faster",
        )  # fmt: skip
        rows = [header, *(_row(layer) for layer in self.layers)]
        if all(layer.microseconds is None for layer in self.layers):
            rows = [row[:-_TIMES] for row in rows]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) if i in (0, 1, 4, 5) else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        return "\n".join([*lines, f"{self.rate:.3g}x fewer weights, {self.nbytes} bytes"])


def _row(layer: LayerReport) -> tuple[str, ...]:
    return (
        layer.name, "x".join(map(str, layer.shape)), str(layer.n_kept),
        f"{layer.n_weights / max(layer.n_kept, 1):.3g}x", layer.precision, layer.layout,
        str(layer.nbytes + layer.index_nbytes), _number(layer.microseconds),
        _number(layer.best_dense_microseconds),
        "-" if layer.speedup is None else f"{layer.speedup:.1f}x",
    )  # fmt: skip


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def report(graph: Graph, *, measure: bool = True, batch_size: int = 1) -> Report:
    """Describe the layers of a compiled graph.

    Parameters
    ----------
    graph : Graph
        Whose weights have layouts.
    measure : bool, default True
        Take the time of each matrix, some 50 ms each.
    batch_size : int, default 1

    Returns
    -------
    Report
    """
    layers = []
    plan = MapPlan(graph) if graph.kind == "maps" else None
    for node in graph.nodes:
        matrices = node.record.matrices()
        for field, weight in matrices.items():
            name = node.name if len(matrices) == 1 else f"{node.name}.{field}"
            stored = smallest_exact(weight)
            scales = 0 if weight.scales is None else weight.scales.nbytes
            layer = LayerReport(
                name, type(node.record).__name__, weight.shape, weight.values.size,
                weight.n_kept, "int8" if weight.is_int8 else "float32", weight.layout,
                stored.nbytes + scales, stored.index_nbytes,
            )  # fmt: skip
            if measure and weight.values.ndim == 2:
                layer = replace(layer, **_times(weight, batch_size))
            elif measure and plan is not None:
                layer = replace(layer, **_filter_times(node.record, plan.shapes[node.inputs[0]]))
            layers.append(layer)
    return Report(layers, batch_size)


def _filter_times(record: Any, shape: tuple[int, int, int]) -> dict[str, Any]:
    """Time of a convolution of one map, and of one of the same size with nothing pruned."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, *shape)).astype(np.float32)
    full = Weight(rng.normal(size=record.weight.shape).astype(np.float32), layout="dense")
    runs = {}
    for name, weight in (("microseconds", record.weight), ("dense_microseconds", full)):
        program = Program(Graph([Node("0", replace(record, weight=weight))], "maps", shape))
        runs[name] = lambda program=program: program(x)
    return {name: 1e6 * seconds for name, seconds in timed(runs).items()}


def _times(weight: Weight, batch_size: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    x: npt.NDArray[np.float32] = rng.normal(size=(batch_size, weight.shape[1])).astype(np.float32)
    compiled, dense = single(weight), single(replace(weight, layout="dense"))
    matrix = weight.dense()
    times = timed(
        {
            "microseconds": lambda: compiled(x),
            "dense_microseconds": lambda: dense(x),
            "blas_microseconds": lambda: x @ matrix.T,
        }
    )
    return {name: 1e6 * seconds for name, seconds in times.items()}
