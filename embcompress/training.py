"""The one training loop: losses, hooks, seeds, threads; needs PyTorch.

Heads, pruning solvers and retraining all run through :func:`train`. What differs between them is
the loss, the batches, and hooks that act after a step or an epoch.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from embcompress._optional import require
from embcompress.progress import ProgressBar

require("torch", extra="torch", feature="training")

import torch  # noqa: E402 - after the check, which says how to install it
from torch import nn  # noqa: E402

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "Batch",
    "Hooks",
    "Loss",
    "NonFiniteLossError",
    "copy_model",
    "deterministic",
    "threads",
    "train",
]

# (inputs,), (inputs, labels) or (inputs, labels, weights of the rows)
Batch: TypeAlias = "tuple[Tensor, ...]"
Loss: TypeAlias = "Callable[[nn.Module, Batch], Tensor]"


class NonFiniteLossError(FloatingPointError):
    """The loss or a weight became infinite or NaN; the model is back in its last good state."""


class Hooks:
    """What to do around training; a subclass overrides what it needs.

    The base does nothing. Hooks run in the order they are given in.
    """

    def on_start(self, model: nn.Module) -> None:
        """Run once, before the first step."""

    def on_step(self, model: nn.Module, step: int) -> None:
        """Run after every step of the optimizer; `step` counts from 0 over all epochs."""

    def on_epoch(self, model: nn.Module, epoch: int) -> bool | None:
        """Run after every epoch, counted from 0; returning True ends the training."""


def train(
    model: nn.Module,
    loss: Loss,
    batches: Iterable[Batch],
    *,
    epochs: int,
    optimizer: torch.optim.Optimizer,
    hooks: Sequence[Hooks] = (),
    bar: ProgressBar | None = None,
    scheduler: Any = None,
) -> list[float]:
    """Train a model in place.

    The model is in training mode meanwhile (before each epoch it is put back there, so a hook
    may evaluate), and every module is in its former mode afterwards.

    Parameters
    ----------
    model : torch.nn.Module
        Changed in place.
    loss : callable
        ``loss(model, batch)`` gives a scalar tensor, the mean over the rows of the batch.
    batches : iterable of tuples of tensors
        Gone through once per epoch: a list, or an object whose ``__iter__`` starts anew.
    epochs : int
        At least 0.
    optimizer : torch.optim.Optimizer
        Of the parameters to train.
    hooks : sequence of Hooks
    bar : ProgressBar, optional
        Advanced by 1 per step.
    scheduler : learning rate scheduler, optional
        Stepped after every epoch, before the hooks.

    Returns
    -------
    losses : list of float
        Mean loss of each epoch, rows weighted equally.

    Raises
    ------
    NonFiniteLossError
        If a loss, or a weight at the end of an epoch, is not finite. The model then holds what
        it held at the end of the last good epoch (at the start, if there was none).
    ValueError
        If `epochs` is negative, or an epoch has no batch.
    """
    if epochs < 0:
        raise ValueError(f"epochs={epochs} must be at least 0")
    modes = [(module, module.training) for module in model.modules()]
    good = _snapshot(model)
    losses: list[float] = []
    steps = 0
    try:
        for hook in hooks:
            hook.on_start(model)
        for epoch in range(epochs):
            model.train()
            done = _epoch(model, loss, batches, optimizer, hooks, bar, epoch, steps)
            steps += done[1]
            losses.append(done[0])
            _store(good, model)
            if scheduler is not None:
                scheduler.step()
            # every hook runs, also where an earlier one asks to stop
            if any([bool(hook.on_epoch(model, epoch)) for hook in hooks]):
                break
    except NonFiniteLossError:
        model.load_state_dict(good)
        raise
    finally:
        for module, mode in modes:
            module.training = mode
    return losses


@contextmanager
def deterministic(seed: int) -> Iterator[None]:
    """Seed torch inside the block, and leave its random state outside as it was.

    Parameters
    ----------
    seed : int
        At least 0 and below 2**63.

    Examples
    --------
    >>> import torch
    >>> with deterministic(0):
    ...     first = torch.rand(3)
    >>> with deterministic(0):
    ...     torch.equal(first, torch.rand(3))
    True
    """
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    with torch.random.fork_rng(devices=list(devices)):
        torch.manual_seed(seed)
        yield


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Let torch use `n` threads inside the block, and as many as before afterwards.

    Parameters
    ----------
    n : int
        At least 1; the count holds for the whole process while the block runs.

    Raises
    ------
    ValueError
        If `n` is smaller than 1.
    """
    if n < 1:
        raise ValueError(f"n={n} threads; at least 1 is needed")
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def copy_model(model: nn.Module) -> nn.Module:
    """Copy a model, without gradients, on the same device and in the same mode.

    Parameters
    ----------
    model : torch.nn.Module
        Untouched.

    Returns
    -------
    torch.nn.Module
        Shares no memory with `model`; which parameters are trainable stays as it was.
    """
    copied = copy.deepcopy(model)
    for parameter in copied.parameters():
        parameter.grad = None
    return copied


def _epoch(
    model: nn.Module,
    loss: Loss,
    batches: Iterable[Batch],
    optimizer: torch.optim.Optimizer,
    hooks: Sequence[Hooks],
    bar: ProgressBar | None,
    epoch: int,
    first: int,
) -> tuple[float, int]:
    """Mean loss over the rows, and how many steps there were; `first` numbers the first step."""
    total, rows, step = 0.0, 0, first
    for batch in batches:
        total += _step(model, loss, batch, optimizer, epoch, step) * len(batch[0])
        rows += len(batch[0])
        for hook in hooks:
            hook.on_step(model, step)
        step += 1
        if bar is not None:
            bar.advance(1)
    if rows == 0:
        raise ValueError(_empty(epoch))
    _check_weights(model, epoch, step)
    return total / rows, step - first


def _step(
    model: nn.Module,
    loss: Loss,
    batch: Batch,
    optimizer: torch.optim.Optimizer,
    epoch: int,
    step: int,
) -> float:
    optimizer.zero_grad(set_to_none=True)
    value = loss(model, batch)
    number = float(value.detach())
    if not -float("inf") < number < float("inf"):
        raise NonFiniteLossError(
            f"the loss is {number} at step {step} (epoch {epoch}); the model is back at the end "
            "of the last good epoch; use a smaller learning rate or check the input"
        )
    value.backward()
    optimizer.step()
    return number


def _empty(epoch: int) -> str:
    if epoch == 0:
        return "batches is empty; at least one batch per epoch is needed"
    return (
        f"batches is empty in epoch {epoch}; it is gone through once per epoch, so give a list "
        "or an object whose __iter__ starts anew, not a generator"
    )


def _check_weights(model: nn.Module, epoch: int, step: int) -> None:
    for name, parameter in model.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            raise NonFiniteLossError(
                f"{name} is not finite after step {step - 1} (epoch {epoch}); the model is back "
                "at the end of the last good epoch; use a smaller learning rate"
            )


def _snapshot(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def _store(snapshot: dict[str, Tensor], model: nn.Module) -> None:
    for name, value in model.state_dict().items():
        snapshot[name].copy_(value)
