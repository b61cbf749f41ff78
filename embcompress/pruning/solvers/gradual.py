"""Remove the smallest weights little by little."""

from __future__ import annotations

from collections.abc import Iterable, Sized
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from embcompress.pruning.layers import WeightView
from embcompress.pruning.optimize import check_options
from embcompress.pruning.solvers.base import Problem, Solver
from embcompress.training import Hooks

__all__ = ["GradualMagnitude"]


@dataclass(frozen=True)
class GradualMagnitude(Solver):
    """Train while the sparsity grows as a cubic: fast at first, when many weights are spare.

    Zhu and Gupta (arXiv 1710.01878): ``s(t) = s (1 - (1 - t)^3)``, t from 0 to 1. After each
    update the removed weights are zero, but keep being chosen anew: what has grown may return.

    Parameters
    ----------
    epochs : int, default 12
    end : float, default 0.75
        Share of the training after which the sparsity is final and the mask fixed.
    update_every : int, default 10
        Steps between updates of the mask.
    learning_rate : float, default 1e-3
    optimizer : {"adam", "adamw", "rmsprop", "sgd"}, default "adam"
    weight_decay : float, default 0
    momentum : float, default 0.9
        Of "sgd".

    Raises
    ------
    ValueError
        If a number is out of range.

    Notes
    -----
    The history has ``sparsity``, that of the masks at the end of each epoch.
    """

    epochs: int = 12
    end: float = 0.75
    update_every: int = 10
    learning_rate: float = 1e-3
    optimizer: str = "adam"
    weight_decay: float = 0.0
    momentum: float = 0.9
    needs_scheme: ClassVar[tuple[str, ...]] = ("mask", "with_sparsity")

    def __post_init__(self) -> None:
        check_options(
            epochs=self.epochs, learning_rate=self.learning_rate, optimizer=self.optimizer
        )
        if not 0 < self.end <= 1:
            raise ValueError(f"end={self.end} must be in (0, 1]")
        if self.update_every < 1:
            raise ValueError(f"update_every={self.update_every} must be at least 1")

    def _sparsify(self, problem: Problem) -> dict[WeightView, Tensor]:
        last = max(1, round(self.end * self.epochs * _n_batches(problem.data)))
        growing = _Growing(problem, last, self.update_every)
        optimizer = problem.optimizer(
            self.optimizer, learning_rate=self.learning_rate,
            weight_decay=self.weight_decay, momentum=self.momentum,
        )  # fmt: skip
        problem.train(
            epochs=self.epochs, optimizer=optimizer, hooks=[growing],
            notes={"sparsity": growing.sparsities},
        )  # fmt: skip
        return growing.final()


class _Growing(Hooks):
    """Masks that remove more and more; fixed from step `last` on."""

    def __init__(self, problem: Problem, last: int, update_every: int) -> None:
        self.problem = problem
        self.last = last
        self.update_every = update_every
        self.sparsities: list[float] = []
        self._removed: dict[WeightView, Tensor] = {}
        self._fixed = False

    def on_step(self, model: nn.Module, step: int) -> None:
        """Update the masks where it is time, and apply them."""
        done = (step + 1) / self.last
        if not self._fixed and (done >= 1 or step % self.update_every == 0):
            self._update(model, min(1.0, done))
        with torch.no_grad():
            for view, removed in self._removed.items():
                view.of(model).masked_fill_(removed, 0.0)

    def on_epoch(self, model: nn.Module, epoch: int) -> None:
        """Note the sparsity."""
        removed = sum(int(mask.sum()) for mask in self._removed.values())
        self.sparsities.append(removed / sum(view.numel for view in self.problem.views))

    def final(self) -> dict[WeightView, Tensor]:
        """Masks of the schemes themselves."""
        if not self._fixed:  # an end that lies after the last step by rounding
            self._update(self.problem.model, 1.0)
        return {view: ~removed for view, removed in self._removed.items()}

    def _update(self, model: nn.Module, done: float) -> None:
        self._fixed = done >= 1
        for view, scheme in self.problem.plan.items():
            now: Any = scheme
            if not self._fixed:
                now = _lighter(scheme, scheme.sparsity * (1 - (1 - done) ** 3))
            with torch.no_grad():
                if now is not None:
                    self._removed[view] = ~now.mask(view.of(model).abs())


def _lighter(scheme: Any, sparsity: float) -> Any:
    """The scheme at a lower sparsity; None where a part of it has a fixed, higher one."""
    try:
        return scheme.with_sparsity(sparsity)
    except ValueError:
        return None


def _n_batches(data: Iterable) -> int:
    return len(data) if isinstance(data, Sized) else sum(1 for _ in data)
