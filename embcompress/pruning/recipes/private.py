"""The recipe that needs no data: random inputs, and a teacher."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Unpack

from torch import nn

from embcompress.progress import ProgressBar
from embcompress.pruning.base import Scheme
from embcompress.pruning.data import RandomInputs
from embcompress.pruning.layers import prunable_weights
from embcompress.pruning.objectives import Distillation, LayerwiseReconstruction
from embcompress.pruning.recipes.plans import general_plan, pattern_plan
from embcompress.pruning.recipes.training import Training, TrainingOptions, Work, network_of
from embcompress.pruning.result import PruneResult

__all__ = ["privacy_preserving"]

_PATTERNS = 8
_FRAMES = 32


def privacy_preserving(
    model: Any,
    X: Any = None,
    y: Any = None,
    *,
    rate: float = 4.0,
    scheme: str | Scheme = "unstructured",
    layerwise: bool = True,
    inputs: RandomInputs | Mapping[str, Any] | tuple[int, ...] | int | None = None,
    n_batches: int = 32,
    skip: Iterable[str] | None = None,
    bar: ProgressBar | None = None,
    random_state: int = 0,
    **training: Unpack[TrainingOptions],
) -> PruneResult:
    r"""Prune without the private data: only random inputs, and what the dense model makes of them.

    Zhan et al., "Privacy-Preserving DNN Pruning and Mobile Acceleration" (arXiv 2003.06513). As
    we read it:

    - layer by layer, ``min |s(W' A' + b') - s(W A + b)|^2`` with W' in the scheme, where A' has
      passed the layers that are pruned already, or for the whole model
      ``min |F'(X) - F(X)|^2`` of the logits; X random; by ADMM;
    - the cut gives the masks, which the client applies, and retrains with her data:
      ``finetune(model, masks, TaskLoss(), data, epochs=...)``.

    The paper draws pixels. Embeddings are none, so the distribution follows the head: normal
    where it standardizes, signs where it takes packed codes. Batch normalization keeps its
    statistics.

    Parameters
    ----------
    model : Module or fitted head
    X, y : array-like, optional
        If both are given, the client's part is done too: retraining with them under the masks.
        They never decide which weights go. Without them the weights are fitted to the dense
        model on random inputs.
    rate : float, default 4
    scheme : str or Scheme, default "unstructured"
        As in :func:`reweighted_unified`, or "pattern": that of :func:`pattern_connectivity`.
    layerwise : bool, default True
        Layer by layer, as in version 2 of the paper, or the whole model at once.
    inputs : RandomInputs, mapping, tuple of int, or int, optional
        What to draw; statistics for :meth:`RandomInputs.like`; or the shape of one input,
        which is then standard normal. Default: from the head (sequences of 32 frames), or from
        the first layer if it is linear.
    n_batches : int, default 32
        Of random inputs, per epoch; new ones in every epoch.
    skip, bar, random_state, **training
        See :func:`reweighted_unified`. `epochs` are those of each layer.

    Returns
    -------
    PruneResult

    Raises
    ------
    ValueError, NonFiniteLossError
        As :func:`reweighted_unified`; also if the shape of the inputs is not known.
    """
    if (X is None) != (y is None):
        raise ValueError("privacy_preserving takes the client's X and y together, or neither")
    network = network_of(model)
    options = Training(**training)
    drawn = _random_inputs(model, network, inputs, n_batches, options.batch_size, random_state)
    if scheme == "pattern":
        plan = pattern_plan("privacy_preserving", network, rate, _PATTERNS, None, skip)
    else:
        plan = general_plan("privacy_preserving", network, scheme, rate, skip)
    work = Work.of(
        "privacy_preserving", model, X, y, options, bar, random_state, labels_needed=False
    )
    objective = LayerwiseReconstruction(network) if layerwise else Distillation(network)
    result = work.solve(work.training.admm(), plan, objective=objective, batches=drawn)
    if work.batches is None:
        return work.retrained(result, objective=objective, batches=drawn)
    return work.retrained(result)


def _random_inputs(
    model: Any,
    network: nn.Module,
    inputs: Any,
    n_batches: int,
    batch_size: int | None,
    seed: int,
) -> RandomInputs:
    if isinstance(inputs, RandomInputs):
        return inputs
    sizes: dict[str, Any] = {"n_batches": n_batches, "batch_size": batch_size or 64, "seed": seed}
    if isinstance(inputs, Mapping):
        return RandomInputs.like(inputs, **sizes)
    distribution: Literal["signs", "gaussian"] = "gaussian"
    if inputs is None:
        if getattr(model, "packed_bits", None) is not None:
            distribution = "signs"
        inputs = _shape_of(model, network)
    return RandomInputs(inputs, distribution, **sizes)


def _shape_of(model: Any, network: nn.Module) -> tuple[int, ...]:
    """Shape of one input: as the head knows it, or as the first layer tells."""
    views = prunable_weights(network)
    shape = getattr(model, "input_shape_", None)
    if shape is not None:
        shape = tuple(int(size) for size in shape)
        # of sequences a head knows the frames alone
        return (_FRAMES, *shape) if views and views[0].kind == "gru_input" else shape
    if views and views[0].kind == "linear":
        return (math.prod(views[0].shape[1:]),)
    raise ValueError(
        "privacy_preserving must know what to draw: give inputs=(channels, height, width), "
        "inputs=(time, features), or a RandomInputs"
    )
