"""Which weights of a model can be pruned, and how each is seen as one matrix.

A recurrent layer stores the matrices of its gates stacked in one parameter. They are different
matrices, so each gets a view of its own; all other weights are one view each.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["WeightView", "macs", "prunable_weights", "select_views"]

# row blocks of the stacked matrices, in the order of PyTorch
_GATES = {"gru": ("r", "z", "n"), "lstm": ("i", "f", "g", "o")}


@dataclass(frozen=True)
class WeightView:
    """One weight matrix (or filter tensor) inside a parameter of a model.

    Attributes
    ----------
    name : str
        Name of the parameter, with the gate in brackets where there are several:
        ``"layers.0.weight"``, ``"gru.weight_ih_l0[r]"``.
    parameter : str
        Name of the parameter in the model.
    kind : str
        ``"linear"``, ``"conv"``, ``"gru_input"``, ``"gru_recurrent"``, ``"lstm_input"`` or
        ``"lstm_recurrent"``.
    start, stop : int
        Rows of the parameter.
    shape : tuple of int
        ``(outputs, inputs)``, or ``(outputs, inputs, height, width)`` for a convolution.
    """

    name: str
    parameter: str
    kind: str
    start: int
    stop: int
    shape: tuple[int, ...]

    @property
    def module(self) -> str:
        """Name of the module that holds the parameter; empty for the model itself."""
        return self.parameter.rpartition(".")[0]

    @property
    def numel(self) -> int:
        """Number of weights."""
        return math.prod(self.shape)

    def of(self, model: nn.Module) -> Tensor:
        """Get the weights of a model: a live view, through which gradients flow.

        Parameters
        ----------
        model : Module

        Returns
        -------
        Tensor of shape `shape`

        Raises
        ------
        ValueError
            If the model has no such parameter, or one of another shape.
        """
        try:
            parameter = model.get_parameter(self.parameter)
        except AttributeError as error:
            raise ValueError(
                f"the model has no parameter {self.parameter!r}: {self.name!r} is a view of "
                "another model"
            ) from error
        if len(parameter) < self.stop or parameter.shape[1:] != self.shape[1:]:
            raise ValueError(
                f"parameter {self.parameter!r} has shape {tuple(parameter.shape)}; the view "
                f"{self.name!r} is rows {self.start} to {self.stop} of another model's"
            )
        if self.start == 0 and self.stop == len(parameter):
            return parameter
        return parameter[self.start : self.stop]

    def matches(self, pattern: str) -> bool:
        """Whether a name or pattern means this view.

        Parameters
        ----------
        pattern : str
            Name of the view, of its parameter or of its module, or any of these with the
            wildcards ``*`` and ``?``. Brackets stand for themselves: ``"*_ih_*[r]"``.

        Returns
        -------
        bool
        """
        glob = pattern.replace("[", "[[]")
        return any(fnmatchcase(name, glob) for name in (self.name, self.parameter, self.module))


def prunable_weights(model: nn.Module, *, skip: Iterable[str] = ()) -> list[WeightView]:
    """List the weights of a model that can be pruned, in the order of its modules.

    These are the matrices of `Linear`, the filters of `Conv2d` with one group, and every gate of
    the input and recurrent matrices of `GRU`, `LSTM` and their cells. Biases, normalizations and
    embeddings are left alone. A parameter that several modules share is listed once.

    Parameters
    ----------
    model : Module
    skip : iterable of str
        Names or patterns (:meth:`WeightView.matches`) of what to leave out.

    Returns
    -------
    list of WeightView

    Raises
    ------
    ValueError
        If an entry of `skip` matches nothing.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> [view.name for view in prunable_weights(model, skip=["2"])]
    ['0.weight']
    """
    views = []
    seen: set[int] = set()
    for prefix, module in model.named_modules():
        for name, parameter, kind, gates in _matrices(module):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                full = f"{prefix}.{name}" if prefix else name
                views += _views(full, parameter, kind, gates)
    skipped = {view.name for view in select_views(views, skip)} if skip else set()
    return [view for view in views if view.name not in skipped]


def select_views(views: Sequence[WeightView], patterns: Iterable[str]) -> list[WeightView]:
    """Keep the views that any of the names or patterns means.

    Parameters
    ----------
    views : sequence of WeightView
    patterns : iterable of str

    Returns
    -------
    list of WeightView
        In the order of `views`.

    Raises
    ------
    ValueError
        If a pattern matches no view; the message lists the names there are.
    """
    chosen: set[str] = set()
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        matching = {view.name for view in views if view.matches(pattern)}
        if not matching:
            names = ", ".join(view.name for view in views) or "none"
            raise ValueError(f"no prunable weight is called {pattern!r}; there are: {names}")
        chosen |= matching
    return [view for view in views if view.name in chosen]


def macs(model: nn.Module, inputs: Tensor) -> dict[str, float]:
    """Count the multiply-accumulate operations of every prunable weight, per sample.

    Parameters
    ----------
    model : Module
    inputs : Tensor of shape (n, ...)
        What the model is called with; the size of images and the length of sequences count.

    Returns
    -------
    dict of str to float
        Name of a view -> operations of the dense matrix for one sample. Views whose module is
        not called are left out.
    """
    views = prunable_weights(model)
    positions: dict[str, float] = {}
    handles = []

    def count(name: str) -> Any:
        def hook(module: nn.Module, arguments: tuple, output: Any) -> None:
            if isinstance(module, nn.Conv2d):
                used = output.numel() / module.out_channels
            else:
                rows = getattr(arguments[0], "data", arguments[0])  # also of a PackedSequence
                used = rows.numel() / rows.shape[-1]
            positions[name] = positions.get(name, 0.0) + used

        return hook

    for name in {view.module for view in views}:
        handles.append(model.get_submodule(name).register_forward_hook(count(name)))
    training = model.training
    try:
        model.eval()
        with torch.no_grad():
            model(inputs)
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    return {
        view.name: view.numel * positions[view.module] / len(inputs)
        for view in views
        if view.module in positions
    }


def _matrices(module: nn.Module) -> Iterator[tuple[str, Tensor, str, tuple[str, ...]]]:
    """Yield (name, parameter, kind, gates) of one module, without its children."""
    if isinstance(module, nn.Linear):
        yield "weight", module.weight, "linear", ()
    elif isinstance(module, nn.Conv2d) and module.groups == 1:
        yield "weight", module.weight, "conv", ()
    elif isinstance(module, (nn.GRU, nn.GRUCell, nn.LSTM, nn.LSTMCell)):
        family = "gru" if isinstance(module, (nn.GRU, nn.GRUCell)) else "lstm"
        for name, parameter in module.named_parameters(recurse=False):
            if name.startswith("weight_ih"):
                yield name, parameter, f"{family}_input", _GATES[family]
            elif name.startswith("weight_hh"):
                yield name, parameter, f"{family}_recurrent", _GATES[family]
            elif name.startswith("weight_hr"):  # the projection of an LSTM: an ordinary matrix
                yield name, parameter, "linear", ()


def _views(name: str, parameter: Tensor, kind: str, gates: tuple[str, ...]) -> list[WeightView]:
    if not gates:
        return [WeightView(name, name, kind, 0, len(parameter), tuple(parameter.shape))]
    height = len(parameter) // len(gates)
    shape = (height, *parameter.shape[1:])
    return [
        WeightView(f"{name}[{gate}]", name, kind, i * height, (i + 1) * height, shape)
        for i, gate in enumerate(gates)
    ]
