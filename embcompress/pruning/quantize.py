"""Weights as small integers: int8 with one scale per output channel.

Both this and the powers of two of :mod:`embcompress.pruning.powers` give `QuantizedWeights`:
plain NumPy arrays, which whoever runs the model can read without PyTorch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from embcompress.pruning.layers import WeightView, prunable_weights, select_views
from embcompress.pruning.masks import Masks
from embcompress.pruning.ranges import InputRange, input_ranges
from embcompress.training import Batch, copy_model

__all__ = ["CodedWeight", "QuantizedWeights", "quantize_int8"]

LARGEST_CODE = 127

# below this a scale has no precision left; weights so small become zero
_TINY = float(np.finfo(np.float32).tiny)
# how far below the largest weight the end of the int8 range is tried
_SHRINKS = tuple(np.linspace(1.0, 0.5, 26).tolist())


@dataclass(frozen=True, eq=False)
class CodedWeight:
    """One parameter as signed codes: ``weight = scale of the row * sign(code) * levels[|code|]``.

    Attributes
    ----------
    codes : ndarray of int8
        Shape of the parameter. 0 is a weight that is exactly zero.
    scales : ndarray of float32, shape (rows,)
        One per output channel, the first axis of the parameter.
    levels : ndarray of float32
        Size of a weight with the code 0, 1, 2, ... in units of the scale; ``levels[0]`` is 0.
    n_bits : int
        Bits of a code that is not zero, sign included.
    max_error : float
        Largest distance of a weight from what its code stands for.
    activation_scale : float, optional
        Inputs of the layer are ``activation_scale`` times an int8, if a calibration was made.
    """

    codes: npt.NDArray[np.int8]
    scales: npt.NDArray[np.float32]
    levels: npt.NDArray[np.float32]
    n_bits: int
    max_error: float
    activation_scale: float | None = None

    @property
    def n_nonzero(self) -> int:
        """Number of codes that are not zero."""
        return int(np.count_nonzero(self.codes))

    @property
    def nbytes(self) -> int:
        """Bytes of codes and scales as they are in memory."""
        return self.codes.nbytes + self.scales.nbytes

    @property
    def nbytes_packed(self) -> int:
        """Bytes of the codes that are not zero, `n_bits` each, and of the scales.

        Where the zeros are is for the storage format to say, and not counted.
        """
        return -(-self.n_nonzero * self.n_bits // 8) + self.scales.nbytes

    def dequantize(self) -> npt.NDArray[np.float32]:
        """Get the weights that the codes stand for.

        Returns
        -------
        ndarray of float32
            Shape of the parameter.
        """
        # of int16: the absolute value of an int8 may not fit in one
        sizes = self.levels[np.abs(self.codes.astype(np.int16))]
        scales = self.scales.reshape(-1, *[1] * (self.codes.ndim - 1))
        return np.where(self.codes == 0, np.float32(0), np.sign(self.codes) * sizes * scales)


class QuantizedWeights(Mapping[str, CodedWeight]):
    """The coded parameters of a model, by name.

    Parameters
    ----------
    weights : mapping of str to CodedWeight
        Name of a parameter -> its codes.
    """

    def __init__(self, weights: Mapping[str, CodedWeight]) -> None:
        self._weights = dict(weights)

    def __getitem__(self, name: str) -> CodedWeight:
        return self._weights[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)

    def __repr__(self) -> str:
        return f"QuantizedWeights({len(self)} parameters, {self.nbytes} bytes)"

    @property
    def nbytes(self) -> int:
        """Bytes of all codes and scales as they are in memory."""
        return sum(weight.nbytes for weight in self.values())

    @property
    def nbytes_packed(self) -> int:
        """Bytes of all codes that are not zero and of the scales; zeros are not counted."""
        return sum(weight.nbytes_packed for weight in self.values())

    @property
    def max_error(self) -> float:
        """Largest distance of a weight from what its code stands for."""
        return max((weight.max_error for weight in self.values()), default=0.0)

    def dequantize(self) -> dict[str, npt.NDArray[np.float32]]:
        """Get the weights that the codes stand for.

        Returns
        -------
        dict of str to ndarray of float32
        """
        return {name: weight.dequantize() for name, weight in self.items()}

    def apply(self, model: nn.Module) -> nn.Module:
        """Copy a model, with the weights that the codes stand for.

        Parameters
        ----------
        model : Module
            Left as it is.

        Returns
        -------
        Module
            All other parameters, such as biases, are those of `model`.

        Raises
        ------
        ValueError
            If the model lacks one of the parameters, or has it in another shape.
        """
        copied = copy_model(model)
        parameters = dict(copied.named_parameters())
        with torch.no_grad():
            for name, weight in self.items():
                found = tuple(parameters[name].shape) if name in parameters else None
                if found != weight.codes.shape:
                    raise ValueError(
                        f"quantized weights for another model: {name!r} has shape "
                        f"{weight.codes.shape} here, and in the model "
                        + (f"it has {found}" if found else "there is none")
                    )
                parameters[name].copy_(torch.from_numpy(weight.dequantize()))
        return copied

    def to_tensors(self) -> dict[str, npt.NDArray]:
        """Get everything as named arrays, to be stored or compiled.

        Returns
        -------
        dict of str to ndarray
            For every parameter ``name``: ``"name.codes"`` (int8, its shape), ``"name.scales"``
            (float32, one per row), ``"name.levels"`` (float32, see `CodedWeight`) and, after a
            calibration, ``"name.activation_scale"`` (float32, shape (1,)).
        """
        tensors: dict[str, npt.NDArray] = {}
        for name, weight in self.items():
            tensors[f"{name}.codes"] = weight.codes
            tensors[f"{name}.scales"] = weight.scales
            tensors[f"{name}.levels"] = weight.levels
            if weight.activation_scale is not None:
                scale = np.array([weight.activation_scale], np.float32)
                tensors[f"{name}.activation_scale"] = scale
        return tensors


def quantize_int8(
    model: nn.Module,
    masks: Masks | None = None,
    calibration: Tensor | npt.NDArray | Iterable[Batch] | None = None,
    *,
    percentile: float = 100.0,
    scales: Literal["max", "output"] = "max",
    layers: Iterable[str] | None = None,
) -> QuantizedWeights:
    """Round weights to int8, symmetrically, with one scale per output channel.

    A row of weights is ``scale * code`` with codes from -127 to 127; there is no offset, so zeros
    stay exactly zero. Our specification.

    Parameters
    ----------
    model : Module
        Trained, and pruned if it shall be sparse; left as it is.
    masks : Masks, optional
        Removed weights get the code 0 even where the model's are not zero.
    calibration : Tensor, ndarray or iterable of batches, optional
        Inputs of the model, to learn the range of the inputs of every layer from. States of
        recurrent layers need none: they lie between -1 and 1 (unless the layer projects them:
        such matrices get no ``activation_scale``).
    percentile : float, default 100
        Share of the absolute inputs of a layer, in percent, that its range covers; the rest is
        cut. 100 is the largest.
    scales : {"max", "output"}, default "max"
        ``"max"``: the largest weight of a row has the code 127. ``"output"``: the scale, down to
        half of that, that is best for the outputs: it minimizes the squared error of the
        weights, each weighted by the mean square of its input in the calibration.
    layers : iterable of str, optional
        Names or patterns of the weights (:meth:`WeightView.matches`). Default: all prunable ones.
        A parameter with several gates is quantized whole.

    Returns
    -------
    QuantizedWeights

    Raises
    ------
    ValueError
        If an option is out of range or needs a calibration, weights or inputs are not finite,
        the masks are for another model, or the forward pass on the calibration fails.
    """
    if not 0 < percentile <= 100:
        raise ValueError(f"percentile={percentile} must be above 0 and at most 100")
    if scales not in ("max", "output"):
        raise ValueError(f'scales={scales!r} is unknown; use "max" or "output"')
    if calibration is None and (scales == "output" or percentile < 100):
        raise ValueError('scales="output" and percentile need a calibration: inputs of the model')
    views = whole_parameters(model, layers)
    weights = masked_weights(model, views, masks)
    ranges: Mapping[str, InputRange] = {}
    if calibration is not None:
        ranges = input_ranges(model, list(weights), calibration, percentile)
    return QuantizedWeights(
        {name: _coded(weight, ranges.get(name), scales) for name, weight in weights.items()}
    )


def whole_parameters(model: nn.Module, layers: Iterable[str] | None) -> list[WeightView]:
    """All views of the parameters that the patterns mean; of all prunable ones if None.

    Raises
    ------
    ValueError
        If there are none.
    """
    views = prunable_weights(model)
    if not views:
        raise ValueError("the model has no weight to quantize: no Linear, Conv2d, GRU or LSTM")
    if layers is None:
        return views
    names = {view.parameter for view in select_views(views, layers)}
    return [view for view in views if view.parameter in names]


def masked_weights(
    model: nn.Module, views: Iterable[WeightView], masks: Masks | None
) -> dict[str, Tensor]:
    """Copies of the parameters with zeros where the masks have them.

    Raises
    ------
    ValueError
        If a weight is not finite, or the masks are for another model.
    """
    if masks is not None:
        masks.check(model)
    weights = {}
    for name in dict.fromkeys(view.parameter for view in views):
        weight = model.get_parameter(name).detach().float().cpu().clone()
        if masks is not None and name in masks:
            weight.masked_fill_(~masks[name].cpu(), 0.0)
        if not bool(torch.isfinite(weight).all()):
            raise ValueError(f"{name} holds weights that are not finite; train it anew")
        weights[name] = weight
    return weights


def _coded(weight: Tensor, inputs: InputRange | None, scales: str) -> CodedWeight:
    rows = weight.flatten(1)
    scale = rows.abs().amax(dim=1) / LARGEST_CODE
    # a row of zeros has codes 0 at any scale
    scale = torch.where(scale > 0, scale.clamp_min(_TINY), 1.0)
    if scales == "output":
        importance = torch.ones(1)
        if inputs is not None and inputs.mean_squares is not None:
            # of every input; the positions of a kernel share that of their channel
            importance = inputs.mean_squares.repeat_interleave(
                rows.shape[1] // len(inputs.mean_squares)
            )
        scale = _best_scale(rows, scale, importance)
    codes = _rounded(rows, scale)
    error = (rows - codes * scale[:, None]).abs().max()
    return CodedWeight(
        codes.to(torch.int8).reshape(weight.shape).numpy(),
        scale.numpy(),
        np.arange(LARGEST_CODE + 1, dtype=np.float32),
        8,
        float(error),
        None if inputs is None else _activation_scale(inputs),
    )


def _rounded(rows: Tensor, scale: Tensor) -> Tensor:
    return (rows / scale[:, None]).round().clamp(-LARGEST_CODE, LARGEST_CODE)


def _best_scale(rows: Tensor, scale: Tensor, importance: Tensor) -> Tensor:
    best, least = scale, torch.full_like(scale, torch.inf)
    for shrink in _SHRINKS:
        tried = (scale * shrink).clamp_min(_TINY)
        error = ((rows - _rounded(rows, tried) * tried[:, None]).square() * importance).sum(dim=1)
        better = error < least
        best, least = torch.where(better, tried, best), torch.where(better, error, least)
    return best


def _activation_scale(inputs: InputRange) -> float | None:
    if inputs.limit is None:
        return None
    scale: Any = np.float32(inputs.limit / LARGEST_CODE)
    return float(max(scale, _TINY)) if scale > 0 else 1.0
