"""What the layers of a model are given: the range of their inputs, and their mean squares."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from embcompress.pruning.data import rewound
from embcompress.pruning.tracing import check_forward
from embcompress.training import Batch

__all__ = ["InputRange", "input_ranges"]

_ROWS_AT_ONCE = 256
# percentiles are exact to the largest input divided by this
_BINS = 16384
_CELLS = (nn.GRUCell, nn.LSTMCell)
_RECURRENT = (nn.GRU, nn.LSTM, *_CELLS)


@dataclass(frozen=True, eq=False)
class InputRange:
    """Inputs that one weight is multiplied with.

    Attributes
    ----------
    limit : float, optional
        Their absolute values are at most this, but for those beyond the percentile. None if it
        is not known.
    mean_squares : Tensor of shape (inputs,), optional
        Of every feature or channel. None for states of recurrent layers.
    """

    limit: float | None
    mean_squares: Tensor | None = None


def input_ranges(
    model: nn.Module,
    parameters: Sequence[str],
    inputs: Tensor | np.ndarray | Iterable[Batch],
    percentile: float = 100.0,
) -> dict[str, InputRange]:
    """Run a model and note what its weights are multiplied with.

    Parameters
    ----------
    model : Module
        Run in evaluation mode; left as it is.
    parameters : sequence of str
        Names of weights of `Linear`, `Conv2d` and recurrent layers.
    inputs : Tensor, ndarray or iterable of batches
        Inputs of the model; batches begin with them.
    percentile : float, default 100
        In (0, 100]; 100 is the largest.

    Returns
    -------
    dict of str to InputRange

    Raises
    ------
    ValueError
        If the forward pass fails, there are no inputs, a layer is not called, or its inputs are
        not finite.
    """
    batches = _checked(model, _batches(inputs))
    direct = [name for name in parameters if _fed_by(model, name) == "inputs"]
    seen = {name.rpartition(".")[0]: _Seen() for name in direct}
    passes = ("moments",) if percentile == 100 else ("moments", "histogram")
    for what in passes:
        _watch(model, batches, {module: getattr(seen[module], what) for module in seen})
    for module, one in seen.items():
        if one.count == 0:
            raise ValueError(f"the model does not call its module {module!r} on these inputs")
        if not np.isfinite(one.largest):
            raise ValueError(f"the inputs of {module!r} are not finite in the calibration")
    found = {}
    for name in parameters:
        source = _fed_by(model, name)
        if source == "inputs":
            found[name] = seen[name.rpartition(".")[0]].summary(percentile)
        else:
            found[name] = InputRange(1.0 if source == "states" else None)
    return found


class _Seen:
    """Running statistics of the inputs of one module."""

    def __init__(self) -> None:
        self.largest = 0.0
        self.count = 0
        self.squares: Tensor | None = None
        self.counts = torch.zeros(_BINS, dtype=torch.float64)

    def moments(self, rows: Tensor) -> None:
        # of a tensor with NaN the largest is NaN, and stays it
        self.largest = float(torch.maximum(rows.abs().max(), torch.tensor(self.largest)))
        self.count += len(rows)
        squares = rows.double().square().sum(dim=0)
        self.squares = squares if self.squares is None else self.squares + squares

    def histogram(self, rows: Tensor) -> None:
        if 0 < self.largest < np.inf:
            sizes = rows.abs().float()
            self.counts += torch.histc(sizes, _BINS, min=0.0, max=self.largest).double()

    def summary(self, percentile: float) -> InputRange:
        assert self.squares is not None, "the layer was called"
        limit = self.largest
        if percentile < 100 and limit > 0:
            share = self.counts.cumsum(0) / self.counts.sum()
            first = int((share < percentile / 100).sum())
            limit *= min(first + 1, _BINS) / _BINS
        return InputRange(limit, (self.squares / self.count).float())


def _watch(model: nn.Module, batches: Iterable[Batch], notes: dict[str, Any]) -> None:
    """Run the model on all batches; each note is called with rows of (features)."""

    def hook_of(note: Any) -> Any:
        def hook(module: nn.Module, arguments: tuple) -> None:
            given = getattr(arguments[0], "data", arguments[0])  # also of a PackedSequence
            axis = 1 if isinstance(module, nn.Conv2d) else -1
            note(given.detach().cpu().movedim(axis, -1).flatten(0, -2))

        return hook

    handles = [
        model.get_submodule(name).register_forward_pre_hook(hook_of(note))
        for name, note in notes.items()
    ]
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        with torch.no_grad():
            for batch in batches:
                model(batch[0])
    finally:
        for module, mode in modes:
            module.training = mode
        for handle in handles:
            handle.remove()


def _batches(inputs: Any) -> Iterable[Batch]:
    if isinstance(inputs, np.ndarray):
        inputs = torch.from_numpy(np.array(inputs))
    if isinstance(inputs, Tensor):
        inputs = inputs.float() if inputs.is_floating_point() else inputs
        return [(rows,) for rows in inputs.split(_ROWS_AT_ONCE) if len(rows)]
    # the passes must see the same rows
    return list(rewound(inputs))


def _checked(model: nn.Module, batches: Iterable[Batch]) -> Iterable[Batch]:
    first = next(iter(batches), None)
    if first is None:
        raise ValueError("the calibration is empty; at least one input is needed")
    check_forward(model, first[0])
    return batches


def _fed_by(model: nn.Module, parameter: str) -> str:
    """Whether a weight is multiplied with the inputs of its module, with states, or unknown."""
    prefix, _, name = parameter.rpartition(".")
    module = model.get_submodule(prefix)
    if not isinstance(module, _RECURRENT):
        return "inputs"
    if name.startswith("weight_ih") and (isinstance(module, _CELLS) or "_l0" in name):
        return "inputs"
    # states lie in (-1, 1), from a start at zero on, unless an LSTM projects them
    projected = getattr(module, "proj_size", 0) and not name.startswith("weight_hr")
    return "unknown" if projected else "states"
