"""The alternating direction method of multipliers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from embcompress.pruning.base import Scheme
from embcompress.pruning.layers import WeightView
from embcompress.pruning.optimize import check_options
from embcompress.pruning.solvers.base import Problem, Solver
from embcompress.training import Hooks

__all__ = ["ADMM", "Pull", "pull"]


class Pull(torch.autograd.Function):
    """``|W - T|^2 / 2``, whose gradient ``W - T`` is kept from the forward pass."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, target: Tensor) -> Tensor:
        """Half the squared distance."""
        difference = (weight - target).flatten()
        ctx.save_for_backward(difference)
        ctx.shape = weight.shape
        return 0.5 * torch.dot(difference, difference)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Gradient with respect to the weight."""
        (difference,) = ctx.saved_tensors
        return (gradients[0] * difference).view(ctx.shape), None


def pull(weight: Tensor, target: Tensor) -> Tensor:
    """Half the squared distance of a weight to a target.

    Parameters
    ----------
    weight, target : Tensor
        Of the same shape; gradients flow to `weight` alone.

    Returns
    -------
    Tensor
        Scalar.
    """
    value: Tensor = Pull.apply(weight, target)
    return value


@dataclass(frozen=True)
class ADMM(Solver):
    r"""Pull the weights towards the nearest ones that the scheme allows, ever more strongly.

    Scaled ADMM as in the pruning papers of Zhang et al. (ECCV 2018) and their successors. With
    Z = project(W) and U = 0 at the start of every rho:

    - train on ``loss + sum rho / 2 |W - Z + U|^2``,
    - every `update_every` epochs: ``Z = project(W + U)``, then ``U = U + W - Z``.

    The parts of ``A & B`` each have their own pair Z, U (the extended ADMM of PatDNN).

    Where the weights do not follow, because rho is small or the steps between updates are few, U
    would grow without end, and Z with it move away from the weights. So, as in safeguarded
    augmented Lagrangian methods, U starts at 0 again (with ``Z = project(W)``) at an update at
    which |W - Z| would be larger than at the one before.

    Parameters
    ----------
    rho : tuple of float, default (1e-4, 1e-3, 1e-2, 1e-1)
        One run each; every run starts a new Z, U and optimizer.
    epochs_per_rho : int, default 5
    update_every : int, default 1
        Epochs between updates of Z and U.
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
    The history has ``rho`` and ``residual``, the relative squared distance ``|W - Z|^2 / |W|^2``
    after each epoch.
    """

    rho: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1)
    epochs_per_rho: int = 5
    update_every: int = 1
    learning_rate: float = 1e-3
    optimizer: str = "adam"
    weight_decay: float = 0.0
    momentum: float = 0.9
    needs_scheme: ClassVar[tuple[str, ...]] = ("mask", "project")

    def __post_init__(self) -> None:
        check_options(
            epochs=self.epochs_per_rho,
            learning_rate=self.learning_rate,
            optimizer=self.optimizer,
        )
        if not self.rho or min(self.rho) <= 0:
            raise ValueError(f"rho={self.rho} must hold at least one number, all positive")
        if self.update_every < 1:
            raise ValueError(f"update_every={self.update_every} must be at least 1")

    def _constraints(self, scheme: Scheme) -> tuple[Scheme, ...]:
        return scheme.parts

    def _sparsify(self, problem: Problem) -> None:
        for rho in self.rho:
            duals = _Duals(problem, self._constraints, self.update_every)
            optimizer = problem.optimizer(
                self.optimizer, learning_rate=self.learning_rate,
                weight_decay=self.weight_decay, momentum=self.momentum,
            )  # fmt: skip
            problem.train(
                epochs=self.epochs_per_rho, optimizer=optimizer, hooks=[duals],
                penalty=lambda duals=duals, rho=rho: rho * duals.distance(),  # type: ignore[misc]
                notes={"rho": [rho] * self.epochs_per_rho, "residual": duals.residuals},
            )  # fmt: skip


class _Duals(Hooks):
    """Z and U of every constraint on every weight; T = Z - U is what a weight is pulled to."""

    def __init__(self, problem: Problem, constraints: Any, update_every: int) -> None:
        self.problem = problem
        self.update_every = update_every
        self.residuals: list[float] = []
        self.pairs: list[list[_Pair]] = []
        with torch.no_grad():
            for view, scheme in problem.plan.items():
                weight = view.of(problem.model)
                self.pairs.append([_Pair(part, weight) for part in constraints(scheme)])

    def distance(self) -> Tensor:
        """Half the squared distance of all weights to their targets; to be multiplied by rho."""
        terms = [
            pull(weight, pair.target)
            for weight, pairs in zip(self.problem.weights(), self.pairs, strict=True)
            for pair in pairs
        ]
        return torch.stack(terms).sum()

    def on_epoch(self, model: nn.Module, epoch: int) -> None:
        """Update Z and U where it is time."""
        weights = _current(model, self.problem.views)
        if (epoch + 1) % self.update_every == 0:
            for weight, pairs in zip(weights, self.pairs, strict=True):
                for pair in pairs:
                    pair.update(weight)
        self.residuals.append(self._residual(weights))

    def _residual(self, weights: Sequence[Tensor]) -> float:
        distance = norm = 0.0
        for weight, pairs in zip(weights, self.pairs, strict=True):
            for pair in pairs:
                distance += float((weight - pair.z).square().sum())
                norm += float(weight.square().sum())
        return distance / norm if norm else 0.0


class _Pair:
    """Z and U of one constraint on one weight."""

    def __init__(self, scheme: Scheme, weight: Tensor) -> None:
        self.scheme = scheme
        self.u = torch.zeros_like(weight)
        self.z = scheme.project(weight)
        self.distance = _distance(weight, self.z)
        self.target = self.z.clone()

    def update(self, weight: Tensor) -> None:
        before = self.distance
        self.z = self.scheme.project(weight + self.u)
        self.distance = _distance(weight, self.z)
        if self.distance > before:
            self.u.zero_()
            self.z = self.scheme.project(weight)
            self.distance = _distance(weight, self.z)
        else:
            self.u += weight - self.z
        torch.sub(self.z, self.u, out=self.target)


def _distance(weight: Tensor, z: Tensor) -> float:
    return float((weight - z).square().sum())


def _current(model: nn.Module, views: Sequence[WeightView]) -> list[Tensor]:
    return [view.of(model).detach() for view in views]
