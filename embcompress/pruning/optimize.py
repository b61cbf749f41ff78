"""Optimizers by name, and hooks and contexts that solvers and retraining share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from embcompress.pruning.masks import Masks
from embcompress.training import Hooks

__all__ = ["OPTIMIZERS", "ReapplyMasks", "check_options", "make_optimizer", "only_trainable"]

OPTIMIZERS = ("adam", "adamw", "rmsprop", "sgd")


def make_optimizer(
    name: str,
    parameters: Iterable[Tensor],
    *,
    learning_rate: float,
    weight_decay: float = 0.0,
    momentum: float = 0.9,
) -> torch.optim.Optimizer:
    """Create an optimizer of those parameters that are trainable.

    Parameters
    ----------
    name : {"adam", "adamw", "rmsprop", "sgd"}
    parameters : iterable of Tensor
    learning_rate, weight_decay : float
    momentum : float
        Of "sgd" only.

    Returns
    -------
    Optimizer
    """
    own: dict[str, Any] = {"lr": learning_rate, "weight_decay": weight_decay}
    if name == "sgd":
        own["momentum"] = momentum
    kinds: dict[str, Any] = {
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
        "rmsprop": torch.optim.RMSprop,
        "sgd": torch.optim.SGD,
    }
    return kinds[name]([p for p in parameters if p.requires_grad], **own)


def check_options(*, epochs: int, learning_rate: float, optimizer: str, least: int = 1) -> None:
    """Check what all training has.

    Parameters
    ----------
    epochs : int
        At least `least`.
    learning_rate : float
        Positive.
    optimizer : str
        One of `OPTIMIZERS`.

    Raises
    ------
    ValueError
        Saying which is wrong, and what is allowed.
    """
    if epochs < least:
        raise ValueError(f"epochs={epochs} must be at least {least}")
    if not learning_rate > 0:
        raise ValueError(f"learning_rate={learning_rate} must be positive")
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"optimizer={optimizer!r} is unknown; use {', '.join(OPTIMIZERS)}")


@contextmanager
def only_trainable(model: nn.Module, names: Sequence[str] | None) -> Iterator[None]:
    """Let only some parameters have gradients inside the block.

    Parameters
    ----------
    model : Module
    names : sequence of str, optional
        All as they are if None.
    """
    if names is None:
        yield
        return
    before = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    chosen = set(names)
    try:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(parameter.requires_grad and name in chosen)
        yield
    finally:
        for parameter, required in before:
            parameter.requires_grad_(required)


class ReapplyMasks(Hooks):
    """Zero the removed weights again after every step.

    A mask on the gradients would not do: momentum and weight decay move weights that have none.

    Parameters
    ----------
    masks : Masks
    """

    def __init__(self, masks: Masks) -> None:
        self.masks = masks
        self._removed: list[tuple[nn.Parameter, Tensor]] = []

    def on_start(self, model: nn.Module) -> None:
        """Check the masks and apply them once."""
        self.masks.apply(model)
        self._removed = [
            (model.get_parameter(name), ~mask.to(model.get_parameter(name).device))
            for name, mask in self.masks.items()
        ]

    def on_step(self, model: nn.Module, step: int) -> None:
        """Set what was removed to zero."""
        with torch.no_grad():
            for parameter, removed in self._removed:
                parameter.masked_fill_(removed, 0.0)
