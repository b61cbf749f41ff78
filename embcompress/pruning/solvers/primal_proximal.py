"""Primal training and proximal shrinkage by turns, under one penalty for all layers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from embcompress.pruning.base import Form, Scheme
from embcompress.pruning.layers import WeightView
from embcompress.pruning.optimize import check_options
from embcompress.pruning.rates import sparsity_of_rate
from embcompress.pruning.solvers.admm import pull
from embcompress.pruning.solvers.base import Problem, Solver
from embcompress.training import Hooks

__all__ = ["PrimalProximal"]

_FORMS = ("soft", "hard", "mcp")

# While training, the penalty need not meet the target more closely than this.
_TOLERANCE = 0.02
_ROUNDS = 40


@dataclass(frozen=True)
class PrimalProximal(Solver):
    r"""Train towards V, where V is the proximal map of a penalty on whole groups (SS-Auto).

    Li et al. (arXiv 2001.08839) prune rows and columns at once, with one penalty and no rates
    per layer; the equations are our specification. By turns, from V = prox(W),

    - primal: train on ``loss + rho / 2 |W - V|^2``,
    - proximal: ``V = prox_{tau}(W)`` with ``tau_g = lambda s_g / rho``,

    where s_g is the number of weights of group g for the hard form, and its square root for the
    others: so a group goes by the root mean square of its weights, in all layers alike. Rows
    and columns of `RowColumn` are both groups. The hard form does not shrink what it keeps,
    which avoids the pitfall of penalizing all weights equally.

    Parameters
    ----------
    penalty : float, optional
        lambda. If None, it is found by bisection at each proximal step, so that V has the
        density of the target, which falls geometrically to its final value in the first half.
    target_rate : float, optional
        Weights before divided by weights kept, over all layers. If given, or if `penalty` is,
        what the common penalty leaves decides each layer's own rate (the largest penalty that
        still keeps enough is found by bisection at the end). If neither is, the penalty only
        trains, and each layer is cut to the count of its scheme.
    row_penalty, column_penalty : float, default 1
        Factors of the penalty on rows and on columns, for schemes that have both.
    form : {"hard", "soft", "mcp"}, default "hard"
    rho : float, default 1e-2
    epochs : int, default 20
    update_every : int, default 1
        Epochs between proximal steps.
    min_density : float, default 0.01
        Share of its weights that each layer keeps at least.
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
    The history has ``density``, that of V, and ``penalty``, the lambda that gave it.
    """

    penalty: float | None = None
    target_rate: float | None = None
    row_penalty: float = 1.0
    column_penalty: float = 1.0
    form: Form = "hard"
    rho: float = 1e-2
    epochs: int = 20
    update_every: int = 1
    min_density: float = 0.01
    learning_rate: float = 1e-3
    optimizer: str = "adam"
    weight_decay: float = 0.0
    momentum: float = 0.9
    needs_scheme: ClassVar[tuple[str, ...]] = ("mask", "prox", "group_sizes")

    def __post_init__(self) -> None:
        check_options(
            epochs=self.epochs, learning_rate=self.learning_rate, optimizer=self.optimizer
        )
        if self.form not in _FORMS:
            raise ValueError(f"form={self.form!r} is unknown; use {', '.join(_FORMS)}")
        if self.target_rate is not None:
            sparsity_of_rate(self.target_rate, "target_rate")
        if self.penalty is not None and not self.penalty > 0:
            raise ValueError(f"penalty={self.penalty} must be positive")
        if min(self.rho, self.row_penalty, self.column_penalty) <= 0:
            raise ValueError("rho, row_penalty and column_penalty must be positive")
        if not 0 < self.min_density <= 1:
            raise ValueError(f"min_density={self.min_density} must be in (0, 1]")
        if self.update_every < 1:
            raise ValueError(f"update_every={self.update_every} must be at least 1")

    def _sparsify(self, problem: Problem) -> dict[WeightView, Tensor] | None:
        optimizer = problem.optimizer(
            self.optimizer, learning_rate=self.learning_rate,
            weight_decay=self.weight_decay, momentum=self.momentum,
        )  # fmt: skip
        proximal = _Proximal(self, problem)
        problem.train(
            epochs=self.epochs, optimizer=optimizer, hooks=[proximal],
            penalty=lambda: self.rho * proximal.distance(),
            notes={"density": proximal.densities, "penalty": proximal.penalties},
        )  # fmt: skip
        if self.target_rate is None and self.penalty is None:
            return None
        return proximal.masks()


class _Proximal(Hooks):
    """V of every weight, and the penalty that leads to a wanted density."""

    def __init__(self, solver: PrimalProximal, problem: Problem) -> None:
        self.solver = solver
        self.problem = problem
        self.total = sum(view.numel for view in problem.views)
        self.scales = [_scales(solver, v, s) for v, s in problem.plan.items()]
        self.densities: list[float] = []
        self.penalties: list[float] = []
        if solver.target_rate is not None:
            self.target = 1 - sparsity_of_rate(solver.target_rate)
        else:
            kept = sum((1 - s.sparsity) * v.numel for v, s in problem.plan.items())
            self.target = kept / self.total
        self._lambda = solver.penalty or 0.0
        self._update(0.0)

    def distance(self) -> Tensor:
        """Half the squared distance of all weights to V."""
        pairs = zip(self.problem.weights(), self.v, strict=True)
        return torch.stack([pull(weight, v) for weight, v in pairs]).sum()

    def on_epoch(self, model: nn.Module, epoch: int) -> None:
        """Take the proximal step where it is time."""
        if (epoch + 1) % self.solver.update_every == 0:
            self._update(min(1.0, 2 * (epoch + 1) / self.solver.epochs))
        kept = sum(int((v != 0).sum()) for v in self.v)
        self.densities.append(kept / self.total)
        self.penalties.append(self._lambda)

    def masks(self) -> dict[WeightView, Tensor]:
        """What one penalty leaves of every weight; no layer is lost as a whole."""
        weights = self._weights()
        if self.solver.target_rate is not None:
            self._lambda = self._search(weights, self.target, tolerance=0.0)
        kept = {}
        with torch.no_grad():
            shrunk = self._prox(weights, self._lambda)
            for (view, scheme), weight, v in zip(
                self.problem.plan.items(), weights, shrunk, strict=True
            ):
                mask = v != 0
                if int(mask.sum()) < self.solver.min_density * view.numel:
                    mask = _least(scheme, weight, self.solver.min_density)
                kept[view] = mask
        return kept

    def _update(self, progress: float) -> None:
        """Proximal step; the density falls with the progress, from 1 to the target."""
        weights = self._weights()
        if self.solver.penalty is None:
            self._lambda = self._search(weights, self.target**progress, tolerance=_TOLERANCE)
        with torch.no_grad():
            self.v = self._prox(weights, self._lambda)

    def _weights(self) -> list[Tensor]:
        return [view.of(self.problem.model).detach() for view in self.problem.views]

    def _prox(self, weights: list[Tensor], penalty: float) -> list[Tensor]:
        schemes: list[Any] = list(self.problem.plan.values())
        return [
            scheme.prox(weight, penalty / self.solver.rho * scale, self.solver.form)
            for scheme, weight, scale in zip(schemes, weights, self.scales, strict=True)
        ]

    def _search(self, weights: list[Tensor], density: float, *, tolerance: float) -> float:
        """The largest penalty that keeps at least a density (within a tolerance)."""
        if density >= 1:
            return 0.0

        def left(penalty: float) -> float:
            with torch.no_grad():
                return sum(int((v != 0).sum()) for v in self._prox(weights, penalty)) / self.total

        return bisect(left, density, start=self._lambda or 1e-4, tolerance=tolerance)


def bisect(
    left: Callable[[float], float], density: float, *, start: float, tolerance: float
) -> float:
    """Find the largest argument at which a falling function is not below a density.

    Parameters
    ----------
    left : callable
        Falls from a density of 1 at 0 to 0.
    density : float
        In (0, 1).
    start : float
        Where to begin; the last answer saves rounds.
    tolerance : float
        Stop at a value so close to the density, relative to it.

    Returns
    -------
    float
    """
    low, high, tried = 0.0, math.inf, start
    for _ in range(_ROUNDS):
        value = left(tried)
        if value >= density:
            low = tried
            if value - density <= tolerance * density:
                break
        else:
            high = tried
        if math.isinf(high):
            tried = 8 * low
        elif low == 0:
            tried = high / 8
        else:
            tried = math.sqrt(low * high)
            if high / low < 1 + 1e-6:
                break
    return low


def _scales(solver: PrimalProximal, view: WeightView, scheme: Any) -> Tensor:
    """Factor of lambda / rho for every group of a weight."""
    sizes = scheme.group_sizes(view.shape)
    scales = sizes if solver.form == "hard" else sizes.sqrt()
    leaves: tuple[Any, ...] = getattr(scheme, "leaves", ())
    if len(leaves) == 2:  # rows come before columns
        rows = leaves[0].group_sizes(view.shape).numel()
        scales = torch.cat(
            [scales[:rows] * solver.row_penalty, scales[rows:] * solver.column_penalty]
        )
    return scales


def _least(scheme: Scheme, weight: Tensor, density: float) -> Tensor:
    """Mask of the least that a layer keeps."""
    if hasattr(scheme, "with_sparsity"):
        scheme = scheme.with_sparsity(1 - density)
    return scheme.mask(weight.abs())
