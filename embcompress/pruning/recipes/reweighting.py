"""Recipes that find the zeros by reweighted regularization."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, Unpack

from embcompress.progress import ProgressBar
from embcompress.pruning.base import Scheme
from embcompress.pruning.recipes.plans import (
    blocks_plan,
    check_reach,
    general_plan,
    removed,
    views_of,
    without_classes,
)
from embcompress.pruning.recipes.training import Training, TrainingOptions, Work, network_of
from embcompress.pruning.result import PruneResult
from embcompress.pruning.schemes import Unstructured

__all__ = ["blk_rew", "reweighted_unified"]

_MODES = ("row", "column", "both")


def reweighted_unified(
    model: Any,
    X: Any,
    y: Any = None,
    *,
    rate: float = 10.0,
    scheme: str | Scheme = "unstructured",
    rates: Literal["auto", "uniform"] | None = None,
    form: Literal["A", "B", "C"] = "A",
    penalty: float | None = None,
    skip: Iterable[str] | None = None,
    bar: ProgressBar | None = None,
    random_state: int = 0,
    **training: Unpack[TrainingOptions],
) -> PruneResult:
    r"""Any scheme by reweighted regularization.

    Zhang et al., "A Unified DNN Weight Compression Framework Using Reweighted Optimization
    Methods" (arXiv 2004.05531). The text was not available; this is our specification:

    - train on ``loss + lambda sum_g P_g n_g^a`` with n_g the L2 norm of group g, where P_g is
      ``1 / (n_g + epsilon)`` (form A) or ``1 / (n_g^2 + epsilon)`` (B, C), computed from the
      weights at the start and at 20, 40, 60 and 80 % of the epochs;
    - cut each layer to its count, which is what "bounded by the designated constraint" means as
      we read it; retrain the rest.

    Form A is that of the group's code, C the written one (squared norms). lambda is given
    relative to the size of the penalty, so that one number does for all models.

    Parameters
    ----------
    model : Module or fitted head
        Gives logits. Left as it is.
    X, y : array-like
        Training data, as the head takes them; for a module what its forward takes, and labels
        0 to n_classes - 1.
    rate : float, default 10
        Weights before divided by weights kept, of the layers that are pruned; more than 1.
    scheme : str or Scheme, default "unstructured"
        Layers that it does not fit stay dense.
    rates : {"auto", "uniform"}, optional
        Of the layers: chosen so that `rate` is reached over all of them
        (:func:`embcompress.pruning.auto_rates`), or `rate` for each. Default: chosen for single
        weights, where small output layers suffer most from an even rate; else even.
    form : {"A", "B", "C"}, default "A"
    penalty : float, optional
        See :class:`embcompress.pruning.Reweighted`.
    skip : iterable of str, optional
        Names or patterns of weights that stay dense. Default: none; for schemes that remove
        rows, the last layer, whose rows are the classes.
    bar : ProgressBar, optional
        Advanced by 1 per step.
    random_state : int, default 0
        Same arguments, same result.
    **training
        See :class:`embcompress.pruning.recipes.Training`.

    Returns
    -------
    PruneResult
        Its model is retrained, with the masks kept.

    Raises
    ------
    ValueError
        Before any work: if rate, scheme and model do not go together, or data is missing.
    NonFiniteLossError
        If training breaks down.
    """
    if rates not in (None, "auto", "uniform"):
        raise ValueError(f'reweighted_unified: rates={rates!r}; allowed: "auto" and "uniform"')
    plan = general_plan("reweighted_unified", network_of(model), scheme, rate, skip)
    if rates is None:
        single = all(isinstance(part, Unstructured) for part in plan.values())
        rates = "auto" if single else "uniform"
    options = Training(**training)
    work = Work.of("reweighted_unified", model, X, y, options, bar, random_state)
    total_rate = rate if rates == "auto" else None
    result = work.solve(work.training.reweighted(form, penalty), plan, total_rate=total_rate)
    return work.retrained(result)


def blk_rew(
    model: Any,
    X: Any,
    y: Any = None,
    *,
    rate: float = 4.0,
    block: tuple[int, int] = (8, 8),
    mode: Literal["row", "column", "both"] = "row",
    balanced: bool = True,
    form: Literal["A", "B", "C"] = "C",
    penalty: float | None = None,
    skip: Iterable[str] | None = None,
    bar: ProgressBar | None = None,
    random_state: int = 0,
    **training: Unpack[TrainingOptions],
) -> PruneResult:
    r"""Rows or columns inside small blocks, by reweighted regularization.

    Ma et al., "BLK-REW: A Unified Block-based DNN Pruning Framework using Reweighted
    Regularization Method" (arXiv 2001.08357). As we read it (only the abstract was available):
    ``min loss + lambda sum_ijm alpha_ijm |[W_ij]_m|^2`` with
    ``alpha = 1 / (|[W_ij]_m|^2 + epsilon)`` over the rows (or columns) m of the blocks ij,
    alpha recomputed four times; then the cut, then retraining. For convolutions a block of
    inputs is so many channels with all places of their kernels. For any kind of layer.

    Parameters
    ----------
    model, X, y
        See :func:`reweighted_unified`.
    rate : float, default 4
        With `balanced`, at most the height (or width) of a block; for "both", their product.
    block : (int, int), default (8, 8)
        Outputs and inputs of a block; smaller in layers that are smaller. As in the group's
        code; 1 x 1 would be unstructured, the whole matrix plain rows or columns.
    mode : {"row", "column", "both"}, default "row"
        What leaves a block. Of the last layer only columns, so that no class is lost.
    balanced : bool, default True
        The same count in each block, best for speed; or the smallest of the layer, best for
        accuracy and exact at any rate.
    skip : iterable of str, optional
        Names or patterns of weights that stay dense. Default: where rows go, the last layer,
        unless it is the only one.
    form, penalty, bar, random_state, **training
        See :func:`reweighted_unified`.

    Returns
    -------
    PruneResult

    Raises
    ------
    ValueError, NonFiniteLossError
        As :func:`reweighted_unified`.
    """
    if mode not in _MODES:
        raise ValueError(f"mode={mode!r} is unknown; use {', '.join(_MODES)}")
    if len(block) != 2 or min(block) < 1:
        raise ValueError(f"block={block} must be two positive numbers: outputs and inputs")
    network = network_of(model)
    views = views_of("blk_rew", network, skip)
    if mode != "column":
        views = without_classes(network, views, skip)
    plan = blocks_plan(network, views, removed("blk_rew", rate), block, mode, balanced)
    check_reach("blk_rew", network, plan, rate)
    options = Training(**training)
    work = Work.of("blk_rew", model, X, y, options, bar, random_state)
    return work.retrained(work.solve(work.training.reweighted(form, penalty), plan))
