"""From a trained head to a pruned network, by a recipe or by a scheme and a solver."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

__all__ = ["prune"]


def prune(
    head: Any,
    how: Any,
    X: Any = None,
    y: Any = None,
    *,
    rate: float | None = None,
    propagate: bool = False,
    **options: Any,
) -> tuple[nn.Module, Mapping[str, torch.Tensor]]:
    """Prune the network of a head; the head is untouched.

    Parameters
    ----------
    head : Head
        Trained.
    how : str, Scheme or Masks
        Name of a recipe in `embcompress.pruning.recipes`, a scheme, or masks that somebody else
        has found, under which the head is retrained.
    X, y : array-like, optional
        Training data, as the head takes them.
    rate : float, optional
        Original / kept weights.
    propagate : bool, default False
        Remove what removed units leave without effect.
    **options
        See :meth:`embcompress.heads.LinearHead.prune`.

    Returns
    -------
    module : torch.nn.Module
    masks : Masks

    Raises
    ------
    ValueError
        If there is no such recipe, the rate is not more than 1, or the masks are for another
        network.
    TypeError
        If `how` is none of these.
    """
    if rate is not None and not rate > 1:
        raise ValueError(f"rate={rate} must be more than 1: it is original / kept weights")
    module, masks = _pruned(head, how, X, y, rate, options)
    if propagate:
        from embcompress import pruning

        return pruning.propagate(module, pruning.Masks(masks))
    return module, masks


def _pruned(
    head: Any, how: Any, X: Any, y: Any, rate: float | None, options: dict[str, Any]
) -> tuple[nn.Module, Mapping[str, torch.Tensor]]:
    if isinstance(how, str):
        result = _by_recipe(head, how, X, y, rate, options)
        return result.model, result.masks
    if isinstance(how, Mapping):
        return _by_masks(head, how, X, y, rate, options)
    if not hasattr(how, "with_sparsity"):
        raise TypeError(
            f"how={how!r} is neither the name of a recipe nor a scheme, such as "
            "pruning.BlockRow(sparsity=0.9), nor masks"
        )
    return _by_scheme(head, how if rate is None else how.with_sparsity(1 - 1 / rate), X, y, options)


def _by_recipe(
    head: Any, name: str, X: Any, y: Any, rate: float | None, options: dict[str, Any]
) -> Any:
    from embcompress.pruning.recipes import RECIPES

    recipe = RECIPES.get(name.replace("_", "-"))
    if recipe is None:
        raise ValueError(f"no recipe {name!r}; there are: {', '.join(sorted(RECIPES))}")
    if rate is not None:
        options = {"rate": rate, **options}
    return recipe(head, X, y, **options)


def _by_masks(
    head: Any,
    masks: Mapping[str, torch.Tensor],
    X: Any,
    y: Any,
    rate: float | None,
    options: dict[str, Any],
) -> tuple[nn.Module, Mapping[str, torch.Tensor]]:
    from embcompress.pruning import Masks, TaskLoss, finetune

    options = dict(options)
    epochs = options.pop("finetune_epochs", head.max_epochs)
    if rate is not None or options:
        raise TypeError("masks say themselves what goes; only finetune_epochs= goes with them")
    if X is None or y is None:
        raise ValueError("retraining under masks needs X and y")
    masks = masks if isinstance(masks, Masks) else Masks(masks)
    model = finetune(
        head.module_, masks, TaskLoss(), head.batches(X, y), epochs=epochs,
        learning_rate=head.learning_rate, schedule="cosine",
    )  # fmt: skip
    return model, masks


def _by_scheme(
    head: Any, scheme: Any, X: Any, y: Any, options: dict[str, Any]
) -> tuple[nn.Module, Mapping[str, torch.Tensor]]:
    from embcompress.pruning import ADMM, TaskLoss, finetune

    options = dict(options)
    solver = options.pop("solver", None)
    solver = ADMM() if solver is None else solver
    objective = options.pop("objective", None)
    objective = TaskLoss() if objective is None else objective
    data = options.pop("data", None)
    epochs = options.pop("finetune_epochs", head.max_epochs)
    labelled = None
    if X is not None:
        if y is None:
            raise ValueError("X is given without y; give both, or data= for data without labels")
        labelled = head.batches(X, y)
    result = solver.solve(
        head.module_, scheme, objective, labelled if data is None else data, **options
    )
    if labelled is None or epochs == 0:
        return result.model, result.masks
    # retraining is by the labels, whatever told the solver which weights to drop
    model = finetune(
        result.model, result.masks, TaskLoss(), labelled, epochs=epochs,
        learning_rate=head.learning_rate,
    )  # fmt: skip
    return model, result.masks
