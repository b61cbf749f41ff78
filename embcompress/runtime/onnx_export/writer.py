"""Nodes and constants of an ONNX graph, as they come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Value", "Writer"]

# constants up to so many numbers are written once
_SHARED = 64
# the format allows 2 GB in all; what is left is for nodes
_MOST_BYTES = 2**31 - 2**24


@dataclass(frozen=True)
class Value:
    """A value of the graph.

    Attributes
    ----------
    name : str
    kind : {"rows", "frames", "maps"}
        Rows are (n, features), frames lie time by time, (time, n, features), maps are
        (n, channels, height, width).
    shape : tuple of int
        (features,), or (channels, height, width).
    """

    name: str
    kind: str
    shape: tuple[int, ...]

    @property
    def width(self) -> int:
        """Features or channels."""
        return self.shape[0]


class Writer:
    """Collects what a graph is made of.

    Parameters
    ----------
    onnx : module
    opset : int

    Attributes
    ----------
    nodes, initializers : list
        Protocol buffers of onnx.
    scope : str
        The layer that is being written; the names of its nodes begin with it.
    """

    def __init__(self, onnx: Any, opset: int) -> None:
        self.onnx, self.opset = onnx, opset
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.scope = ""
        self._names: set[str] = set()
        self._n_bytes = 0
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def reserve(self, names: Sequence[str]) -> None:
        """Keep names of inputs, outputs and layers from anything else."""
        self._names.update(names)

    def unique(self, hint: str) -> str:
        """A name that is new in the graph."""
        stem = f"{self.scope}/{hint}" if self.scope else hint
        name, k = stem, 1
        while name in self._names:
            name, k = f"{stem}_{k}", k + 1
        self._names.add(name)
        return name

    def constant(self, array: npt.ArrayLike, hint: str = "constant") -> str:
        """Store an array.

        Parameters
        ----------
        array : array-like
            Integers without a data type become int64.
        hint : str
            What to call it.

        Returns
        -------
        str
        """
        array = np.asarray(array)
        key = (str(array.dtype), array.shape, array.tobytes() if array.size <= _SHARED else b"")
        if array.size <= _SHARED and key in self._constants:
            return self._constants[key]
        self._n_bytes += array.nbytes
        if self._n_bytes > _MOST_BYTES:
            raise ValueError(
                f"with it the model has {self._n_bytes} bytes; a file of ONNX holds less than 2 GB"
            )
        name = self.unique(hint)
        array = np.ascontiguousarray(array).reshape(array.shape)  # scalars keep no axes
        self.initializers.append(self.onnx.numpy_helper.from_array(array, name))
        if array.size <= _SHARED:
            self._constants[key] = name
        return name

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Append an operator with one output; see :meth:`ops`."""
        return self.ops(kind, *inputs, **attributes)[0]

    def ops(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> list[str]:
        """Append an operator.

        Parameters
        ----------
        kind : str
        *inputs : str
            Values; "" for one that is left out.
        outputs : int, default 1
        **attributes

        Returns
        -------
        list of str
            Names of the outputs.
        """
        names = [self.unique(kind) for _ in range(outputs)]
        made = self.onnx.helper.make_node(kind, list(inputs), names, name=names[0], **attributes)
        self.nodes.append(made)
        return names

    def cast(self, value: str, dtype: npt.DTypeLike) -> str:
        """Convert to a data type of NumPy."""
        to = self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self.op("Cast", value, to=to)

    def close(self, value: str, output: str, layer: str = "") -> None:
        """Give a value the name that it has outside.

        Parameters
        ----------
        value : str
            What a layer gives, or an output of the model.
        output : str
            What it is to be called.
        layer : str, optional
            Name for the operator that gives it.
        """
        if not self.nodes or value not in self.nodes[-1].output:
            value = self.op("Identity", value)
        last = self.nodes[-1]
        last.name = layer or last.name
        last.output[list(last.output).index(value)] = output
