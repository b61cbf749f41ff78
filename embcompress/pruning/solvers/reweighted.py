"""Reweighted regularization: groups that are small anyway are pushed to zero."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from embcompress.pruning.base import Scheme
from embcompress.pruning.optimize import check_options
from embcompress.pruning.solvers.base import Problem, Solver
from embcompress.training import Hooks

__all__ = ["Reweighted"]

# form -> (exponent of the norm in the weight, exponent in the penalty, default epsilon)
_FORMS = {"A": (1, 1, 1e-3), "B": (2, 1, 1e-6), "C": (2, 2, 1e-6)}


@dataclass(frozen=True)
class Reweighted(Solver):
    r"""Train with a penalty on group norms whose weights follow the norms, then cut.

    The unified framework of Zhang et al. (arXiv 2004.05531), and BLK-REW (arXiv 2001.08357); the
    equations are our specification. With n the L2 norm of a group and P recomputed from the
    current norms at every milestone, ``loss + lambda sum_g P_g n_g^a``, in three forms:

    - ``"A"``: ``P = 1 / (n + epsilon)``, a = 1; majorizes ``sum log(n + epsilon)``;
    - ``"B"``: ``P = 1 / (n^2 + epsilon)``, a = 1;
    - ``"C"``: ``P = 1 / (n^2 + epsilon)``, a = 2, as the papers write it; majorizes
      ``sum log(n^2 + epsilon)``.

    Large groups are left nearly alone. The target is met by the cut at the end. For ``A & B``
    the penalties of the parts add up.

    Parameters
    ----------
    form : {"A", "B", "C"}, default "A"
    penalty : float, default 3.0
        The whole penalty term at the start, in units of the loss: lambda is this number divided
        by ``sum_g P_g n_g^a`` of the given model. It falls where a milestone would raise the term
        above (form B), and never rises. Useful values are 0.1 to 10.
    relative : bool, default True
        If False, `penalty` is lambda itself.
    epochs : int, default 20
    milestones : tuple of float, default (0.2, 0.4, 0.6, 0.8)
        When P is recomputed, as shares of the epochs, in (0, 1).
    epsilon : float, optional
        Default: 1e-3 for form A, 1e-6 for B and C.
    learning_rate : float, default 1e-3
    decay, boost : float, default 0.98 and 1.6
        Factors of the learning rate after every epoch, and at a milestone.
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
    The history has ``penalty``, the term at the end of each epoch.
    """

    form: Literal["A", "B", "C"] = "A"
    penalty: float = 3.0
    relative: bool = True
    epochs: int = 20
    milestones: tuple[float, ...] = (0.2, 0.4, 0.6, 0.8)
    epsilon: float | None = None
    learning_rate: float = 1e-3
    decay: float = 0.98
    boost: float = 1.6
    optimizer: str = "adam"
    weight_decay: float = 0.0
    momentum: float = 0.9
    needs_scheme: ClassVar[tuple[str, ...]] = ("mask", "group_norms")

    def __post_init__(self) -> None:
        check_options(
            epochs=self.epochs, learning_rate=self.learning_rate, optimizer=self.optimizer
        )
        if self.form not in _FORMS:
            raise ValueError(f"form={self.form!r} is unknown; use {', '.join(_FORMS)}")
        if not self.penalty > 0:
            raise ValueError(f"penalty={self.penalty} must be positive")
        if self.epsilon is not None and not self.epsilon > 0:
            raise ValueError(f"epsilon={self.epsilon} must be positive")
        if not all(0 < share < 1 for share in self.milestones):
            raise ValueError(f"milestones={self.milestones} must be shares of the epochs in (0, 1)")
        if min(self.decay, self.boost) <= 0:
            raise ValueError(f"decay={self.decay} and boost={self.boost} must be positive")

    def _constraints(self, scheme: Scheme) -> tuple[Scheme, ...]:
        return scheme.parts

    def _sparsify(self, problem: Problem) -> None:
        optimizer = problem.optimizer(
            self.optimizer, learning_rate=self.learning_rate,
            weight_decay=self.weight_decay, momentum=self.momentum,
        )  # fmt: skip
        term = _Term(self, problem, optimizer)
        problem.train(
            epochs=self.epochs, optimizer=optimizer, hooks=[term], penalty=term.value,
            notes={"penalty": term.values},
        )  # fmt: skip


class _Term(Hooks):
    """The penalty of the current weights, and its reweighting at the milestones."""

    def __init__(
        self, solver: Reweighted, problem: Problem, optimizer: torch.optim.Optimizer
    ) -> None:
        self.solver = solver
        self.problem = problem
        self.optimizer = optimizer
        self.exponent, self.power, epsilon = _FORMS[solver.form]
        self.epsilon = epsilon if solver.epsilon is None else solver.epsilon
        # the number of epochs after which P is recomputed
        self.milestones = {max(1, round(share * solver.epochs)) for share in solver.milestones}
        self.values: list[float] = []
        self.factor = math.inf
        self._reweight()

    def value(self) -> Tensor:
        """``lambda sum_g P_g n_g^a``, of the live weights."""
        terms = [
            torch.dot(weights, norms if self.power == 1 else norms.square())
            for weights, norms in zip(self.weights, self._norms(), strict=True)
        ]
        return self.factor * torch.stack(terms).sum()

    def on_epoch(self, model: nn.Module, epoch: int) -> None:
        """Recompute P at a milestone, and move the learning rate."""
        milestone = epoch + 1 in self.milestones
        if milestone:
            self._reweight()
        for group in self.optimizer.param_groups:
            group["lr"] *= self.solver.boost if milestone else self.solver.decay
        with torch.no_grad():
            self.values.append(float(self.value()))

    def _reweight(self) -> None:
        with torch.no_grad():
            self.weights = [1 / (n.pow(self.exponent) + self.epsilon) for n in self._norms()]
            factor, self.factor = self.factor, 1.0
            whole = float(self.value()) if self.solver.relative else 1.0
            # never raised again: what is gone would push what is left
            self.factor = min(factor, self.solver.penalty / whole) if whole else 0.0

    def _norms(self) -> list[Tensor]:
        norms: list[Tensor] = []
        for weight, scheme in zip(self.problem.weights(), self.problem.plan.values(), strict=True):
            parts: tuple[Any, ...] = scheme.parts
            norms += [part.group_norms(weight) for part in parts]
        return norms
