"""Masks: which weights of a model are kept, as a thing that can be saved, sent and applied."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from embcompress.codes import code_bytes, pack_bits, unpack_bits
from embcompress.container import Container, FormatError, load_container, save_container
from embcompress.pruning.layers import WeightView, prunable_weights

__all__ = ["Masks"]


class Masks(Mapping[str, Tensor]):
    """Kept positions of the parameters of a model: name of a parameter -> mask, True = kept.

    This is all that someone needs who has the data and the model, but not the method that found
    the zeros: apply the masks, then retrain with :func:`embcompress.pruning.finetune`.

    Where a unit has lost all its inputs, its bias and its batch normalization have masks too.
    Those vectors do not count in `rate`, `density` and the like, which speak of weights.

    Parameters
    ----------
    masks : mapping of str to Tensor
        Boolean tensors of the shapes of the parameters; copied.

    Raises
    ------
    TypeError
        If a tensor is not boolean.

    Examples
    --------
    >>> masks = Masks({"weight": torch.tensor([[True, False, False, False]])})
    >>> masks.rate, masks.sparsity
    (4.0, 0.75)
    """

    def __init__(self, masks: Mapping[str, Tensor]) -> None:
        for name, mask in masks.items():
            if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
                found = getattr(mask, "dtype", type(mask).__name__)
                raise TypeError(f"mask {name!r} is {found}; a boolean tensor is needed")
        self._masks = {name: mask.detach().clone() for name, mask in masks.items()}

    @classmethod
    def of(cls, model: nn.Module) -> Masks:
        """Read the masks off a pruned model: what is not zero is kept.

        Parameters
        ----------
        model : Module

        Returns
        -------
        Masks
            Of all parameters that hold prunable weights.
        """
        names = dict.fromkeys(view.parameter for view in prunable_weights(model))
        return cls({name: model.get_parameter(name).detach() != 0 for name in names})

    @classmethod
    def of_views(cls, model: nn.Module, kept: Mapping[WeightView, Tensor]) -> Masks:
        """Put masks of single views together; rows of a parameter that no view covers are kept.

        Parameters
        ----------
        model : Module
        kept : mapping of WeightView to Tensor
            Boolean, of the shape of the view.

        Returns
        -------
        Masks
        """
        masks: dict[str, Tensor] = {}
        for view, mask in kept.items():
            if view.parameter not in masks:
                parameter = model.get_parameter(view.parameter)
                masks[view.parameter] = torch.ones_like(parameter, dtype=torch.bool)
            masks[view.parameter][view.start : view.stop] = mask
        return cls(masks)

    def __getitem__(self, name: str) -> Tensor:
        return self._masks[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._masks)

    def __len__(self) -> int:
        return len(self._masks)

    def __repr__(self) -> str:
        return f"Masks({len(self)} parameters, {self.n_kept} of {self.n_weights} weights kept)"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Masks):
            return NotImplemented
        return self.keys() == other.keys() and all(
            torch.equal(self[name].cpu(), other[name].cpu()) for name in self
        )

    # tensors inside: equal by value, and so not hashable
    __hash__ = None  # type: ignore[assignment]

    @property
    def n_weights(self) -> int:
        """Number of weights that the masks cover."""
        return sum(mask.numel() for mask in self._weights())

    @property
    def n_kept(self) -> int:
        """Number of weights that are kept."""
        return sum(int(mask.sum()) for mask in self._weights())

    @property
    def density(self) -> float:
        """Share of the weights that is kept."""
        return self.n_kept / self.n_weights if self.n_weights else 1.0

    @property
    def sparsity(self) -> float:
        """Share of the weights that is removed."""
        return 1.0 - self.density

    @property
    def rate(self) -> float:
        """Weights before, divided by weights kept; infinite if nothing is kept."""
        if self.n_weights == 0:
            return 1.0
        return self.n_weights / self.n_kept if self.n_kept else math.inf

    def per_layer(self) -> dict[str, dict[str, float]]:
        """Count by parameter.

        Returns
        -------
        dict of str to dict
            Name of a parameter -> ``{"n_weights", "n_kept", "sparsity", "rate"}``.
        """
        return {name: _counts(mask) for name, mask in self.items() if mask.ndim > 1}

    def check(self, model: nn.Module) -> None:
        """Check that the masks fit a model.

        Parameters
        ----------
        model : Module

        Raises
        ------
        ValueError
            If the model lacks one of the parameters, or has it in another shape. The message
            names what differs.
        """
        parameters = dict(model.named_parameters())
        problems = []
        for name, mask in self.items():
            if name not in parameters:
                problems.append(f"the model has no parameter {name!r}")
            elif parameters[name].shape != mask.shape:
                problems.append(
                    f"{name!r} has shape {tuple(parameters[name].shape)}, "
                    f"its mask {tuple(mask.shape)}"
                )
        if problems:
            shown = "; ".join(problems[:4]) + ("; ..." if len(problems) > 4 else "")
            raise ValueError(f"masks for another model: {shown}")

    def apply(self, model: nn.Module) -> None:
        """Set the removed weights of a model to zero, in place.

        Parameters
        ----------
        model : Module

        Raises
        ------
        ValueError
            As :meth:`check`.
        """
        self.check(model)
        with torch.no_grad():
            for name, mask in self.items():
                parameter = model.get_parameter(name)
                # not a product: a weight that became infinite would turn into a NaN
                parameter.masked_fill_(~mask.to(parameter.device), 0.0)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one safetensors file: a bit per weight, and the shapes.

        Parameters
        ----------
        path : path-like

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        arrays = {
            name: pack_bits(mask.cpu().numpy().reshape(1, -1))[0]
            for name, mask in sorted(self.items())
        }
        shapes = {name: list(mask.shape) for name, mask in sorted(self.items())}
        save_container(path, arrays, kind="masks", metadata={"shapes": json.dumps(shapes)})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Masks:
        """Read a file written by :meth:`save`.

        Parameters
        ----------
        path : path-like

        Returns
        -------
        Masks

        Raises
        ------
        FormatError
            If the file is damaged or holds something else.
        OSError
            If the file cannot be read.
        """
        container = load_container(path, kind="masks")
        shapes = _read_shapes(container)
        masks = {}
        for name, shape in shapes.items():
            packed = container.tensor(name, (np.uint8,), 1)
            n_bits = math.prod(shape)
            if len(packed) != code_bytes(n_bits):
                raise FormatError(
                    f"{path}: mask {name!r} has {len(packed)} bytes; the shape {shape} needs "
                    f"{code_bytes(n_bits)}"
                )
            bits = unpack_bits(packed[None, :], n_bits)[0]
            masks[name] = torch.from_numpy(bits.astype(bool).reshape(shape))
        return cls(masks)

    def _weights(self) -> list[Tensor]:
        # vectors are biases and normalizations of removed units
        return [mask for mask in self._masks.values() if mask.ndim > 1]


def _counts(mask: Tensor) -> dict[str, float]:
    total, kept = mask.numel(), int(mask.sum())
    return {
        "n_weights": total,
        "n_kept": kept,
        "sparsity": 1.0 - kept / total,
        "rate": total / kept if kept else math.inf,
    }


def _read_shapes(container: Container) -> dict[str, Sequence[int]]:
    text = container.value("shapes")
    try:
        shapes = json.loads(text)
    except json.JSONDecodeError as error:
        raise FormatError(f"{container.path}: the shapes of the masks are not JSON") from error
    good = isinstance(shapes, dict) and all(
        isinstance(shape, list) and shape and all(type(n) is int and n > 0 for n in shape)
        for shape in shapes.values()
    )
    if not good or set(shapes) != set(container.tensors):
        raise FormatError(
            f"{container.path}: the shapes {text[:200]!r} do not belong to the masks "
            f"{', '.join(sorted(container.tensors)) or 'none'}"
        )
    return shapes
