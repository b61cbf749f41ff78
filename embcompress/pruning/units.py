"""Units that have lost all their inputs: their biases and normalizations go too."""

from __future__ import annotations

from torch import Tensor, nn

from embcompress.pruning.layers import prunable_weights
from embcompress.pruning.masks import Masks
from embcompress.pruning.tracing import norms_after

__all__ = ["with_removed_units"]


def with_removed_units(model: nn.Module, masks: Masks) -> Masks:
    """Add masks of the biases, and of the batch normalization, of units without any input.

    A unit whose weights are all removed would still give a constant, by its bias or the shift of
    its normalization. Outputs of the last layer keep theirs: they are classes, not units.

    Parameters
    ----------
    model : Module
    masks : Masks
        Of weights.

    Returns
    -------
    Masks
        The given ones, and those of the vectors where a unit is removed.
    """
    layers = [view for view in prunable_weights(model) if view.kind in ("linear", "conv")]
    added: dict[str, Tensor] = dict(masks)
    norms: dict[str, str] | None = None
    for view in layers[:-1]:
        if view.parameter not in masks or not view.parameter.endswith("weight"):
            continue
        alive = masks[view.parameter].flatten(1).any(dim=1)
        if bool(alive.all()):
            continue
        if norms is None:
            norms = norms_after(model)
        prefixes = [view.module]
        if view.module in norms:
            prefixes.append(norms[view.module])
        for prefix in prefixes:
            added.update(_vectors(model.get_submodule(prefix), prefix, alive))
    return Masks(added)


def _vectors(module: nn.Module, prefix: str, alive: Tensor) -> dict[str, Tensor]:
    return {
        f"{prefix}.{name}" if prefix else name: alive
        for name, parameter in module.named_parameters(recurse=False)
        if parameter.shape == alive.shape
    }
