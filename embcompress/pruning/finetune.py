"""Retrain a pruned model; what is removed stays zero."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import nn

from embcompress.progress import ProgressBar
from embcompress.pruning.data import rewound
from embcompress.pruning.masks import Masks
from embcompress.pruning.optimize import (
    ReapplyMasks,
    check_options,
    make_optimizer,
    only_trainable,
)
from embcompress.training import Batch, NonFiniteLossError, copy_model, deterministic, train

__all__ = ["finetune"]


def finetune(
    model: nn.Module,
    masks: Masks,
    objective: Any,
    data: Iterable[Batch],
    *,
    epochs: int,
    learning_rate: float = 1e-3,
    optimizer: str = "adam",
    weight_decay: float = 0.0,
    momentum: float = 0.9,
    schedule: Literal["constant", "cosine"] = "constant",
    bar: ProgressBar | None = None,
    random_state: int = 0,
) -> nn.Module:
    """Retrain a copy of a model under masks.

    The optimizer is new, and the masks are applied again after every step, so that what is
    removed stays exactly zero under momentum and weight decay.

    Parameters
    ----------
    model : Module
        Left as it is; the masks are applied to the copy first.
    masks : Masks
        From a solver, or from a file.
    objective : TaskLoss, Distillation or LayerwiseReconstruction
        Its stages are trained one after the other, each for `epochs`. A teacher that is not
        given is the model itself: give the dense one.
    data : iterable of batches
    epochs : int
    learning_rate : float, default 1e-3
    optimizer : {"adam", "adamw", "rmsprop", "sgd"}, default "adam"
    weight_decay : float, default 0
    momentum : float, default 0.9
        Of "sgd".
    schedule : {"constant", "cosine"}, default "constant"
        Of the learning rate, by epoch; the cosine ends near zero.
    bar : ProgressBar, optional
        Advanced by 1 per step.
    random_state : int, default 0

    Returns
    -------
    Module

    Raises
    ------
    ValueError
        If the masks are for another model, or a number is out of range.
    NonFiniteLossError
        If a loss is not finite; its attribute ``model`` is the copy in its last good state.
    """
    check_options(epochs=epochs, learning_rate=learning_rate, optimizer=optimizer, least=0)
    if schedule not in ("constant", "cosine"):
        raise ValueError(f'schedule={schedule!r} is unknown; use "constant" or "cosine"')
    masks.check(model)
    copied = copy_model(model)
    batches = rewound(data)
    # a teacher that is not given is the model before the masks
    stages = list(objective.stages(copied))
    masks.apply(copied)
    with deterministic(random_state):
        for stage in stages:
            with only_trainable(copied, stage.parameters):
                steps = make_optimizer(
                    optimizer, copied.parameters(), learning_rate=learning_rate,
                    weight_decay=weight_decay, momentum=momentum,
                )  # fmt: skip
                scheduler = None
                if schedule == "cosine" and epochs:
                    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(steps, epochs)
                try:
                    train(
                        copied, stage.loss, batches, epochs=epochs, optimizer=steps,
                        hooks=[ReapplyMasks(masks)], scheduler=scheduler, bar=bar,
                    )  # fmt: skip
                except NonFiniteLossError as error:
                    error.model = copied  # type: ignore[attr-defined]
                    raise
    return copied
