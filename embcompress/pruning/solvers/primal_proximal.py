"""Primal training and proximal shrinkage by turns, under one penalty for all layers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from embcompress.pruning.base import Form
from embcompress.pruning.layers import WeightView
from embcompress.pruning.optimize import check_options
from embcompress.pruning.rates import sparsity_of_rate
from embcompress.pruning.solvers.admm import pull
from embcompress.pruning.solvers.base import Problem, Solver
from embcompress.training import Hooks

__all__ = ["PrimalProximal"]

_FORMS = ("soft", "hard", "mcp")

# halvings of the interval of a threshold
_ROUNDS = 30
_TINY = 1e-30


@dataclass(frozen=True)
class PrimalProximal(Solver):
    r"""Train towards V, where V is the proximal map of a penalty on whole groups (SS-Auto).

    Li et al. (arXiv 2001.08839) prune rows and columns at once, with one penalty and no rates
    per layer; the equations are our specification. By turns, from V = prox(W),

    - primal: train on ``loss + rho / 2 |W - V|^2``,
    - proximal: ``V = prox_{tau}(W)`` with ``tau_g = lambda s_g / rho``,

    where s_g is the number of weights of group g for the hard form, and its square root for the
    others: so a group goes by the root mean square of its weights, in all layers alike. With
    `normalize` it is the share of the energy of its layer that decides. Rows and columns of
    `RowColumn` are both groups. The hard form does not shrink what it keeps, which avoids the
    pitfall of penalizing all weights equally.

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
    normalize : bool, optional
        Measure the weights of each layer in units of its norm in the given model, so that all
        layers lose groups at the same share of their own energy per weight, as
        :func:`embcompress.pruning.rates.auto_rates` does. Without, a layer whose weights are
        small by nature can lose nearly all, such as the output layer of a perceptron. With it,
        small layers are spared, which goes too far where groups are whole rows or columns, whose
        norms differ little inside a layer. Default: for schemes of single weights only, and if
        no penalty is given.
    rho : float, default 0.1
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
    normalize: bool | None = None
    rho: float = 0.1
    epochs: int = 20
    update_every: int = 1
    min_density: float = 0.01
    learning_rate: float = 1e-3
    optimizer: str = "adam"
    weight_decay: float = 0.0
    momentum: float = 0.9
    needs_scheme: ClassVar[tuple[str, ...]] = (
        "mask",
        "prox",
        "group_norms",
        "group_sizes",
        "expand",
    )

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
    """V of every weight, and the threshold that leads to a wanted density.

    A group goes if the root mean square of its weights is not above the threshold, which is
    ``sqrt(2 lambda / rho)`` for the hard form and ``lambda / rho`` for the others.
    """

    def __init__(self, solver: PrimalProximal, problem: Problem) -> None:
        self.solver = solver
        self.problem = problem
        normalize = solver.normalize
        if normalize is None:
            normalize = solver.penalty is None and all(
                _is_single(s, v.shape) for v, s in problem.plan.items()
            )
        self.layers = [
            _Layer(solver, v, s, v.of(problem.model), normalize=normalize)
            for v, s in problem.plan.items()
        ]
        self.total = sum(view.numel for view in problem.views)
        self.densities: list[float] = []
        self.penalties: list[float] = []
        if solver.target_rate is not None:
            self.target = 1 - sparsity_of_rate(solver.target_rate)
        else:
            kept = sum((1 - s.sparsity) * v.numel for v, s in problem.plan.items())
            self.target = kept / self.total
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
        self.penalties.append(_penalty(self.solver, self._threshold))

    @torch.no_grad()
    def masks(self) -> dict[WeightView, Tensor]:
        """What one penalty leaves of every weight; no layer is lost as a whole."""
        weights = self._weights()
        threshold = self._threshold
        if self.solver.target_rate is not None:
            threshold = self._search(weights, self.target)
        return {
            layer.view: layer.support(weight, layer.levels(weight), threshold)
            for layer, weight in zip(self.layers, weights, strict=True)
        }

    @torch.no_grad()
    def _update(self, progress: float) -> None:
        """Proximal step; the density falls with the progress, from 1 to the target."""
        weights = self._weights()
        if self.solver.penalty is None:
            self._threshold = self._search(weights, self.target**progress)
        else:
            self._threshold = _threshold(self.solver, self.solver.penalty)
        self.v = [
            layer.prox(weight, self._threshold)
            for layer, weight in zip(self.layers, weights, strict=True)
        ]

    def _weights(self) -> list[Tensor]:
        return [view.of(self.problem.model).detach() for view in self.problem.views]

    def _search(self, weights: list[Tensor], density: float) -> float:
        """The largest threshold that keeps at least a density."""
        if density >= 1:
            return 0.0

        levels = [layer.levels(weight) for layer, weight in zip(self.layers, weights, strict=True)]

        def left(threshold: float) -> float:
            kept = (
                int(layer.support(weight, level, threshold).sum())
                for layer, weight, level in zip(self.layers, weights, levels, strict=True)
            )
            return sum(kept) / self.total

        high = max(float(level.max()) for level in levels)
        return bisect(left, density, high)


def bisect(left: Callable[[float], float], density: float, high: float) -> float:
    """Find the largest argument at which a falling function is not below a density.

    Parameters
    ----------
    left : callable
    density : float
    high : float
        Where the function has fallen to its end; the search is from 0 to there.

    Returns
    -------
    float
    """
    low = 0.0
    for _ in range(_ROUNDS):
        middle = (low + high) / 2
        if left(middle) >= density:
            low = middle
        else:
            high = middle
    return low


class _Layer:
    """Groups of one weight, with the unit that their thresholds have."""

    def __init__(
        self,
        solver: PrimalProximal,
        view: WeightView,
        scheme: Any,
        weight: Tensor,
        *,
        normalize: bool,
    ) -> None:
        self.view = view
        self.scheme = scheme
        self.form = solver.form
        sizes = scheme.group_sizes(view.shape)
        leaves: tuple[Any, ...] = getattr(scheme, "leaves", ())
        self.shares = max(1, len(leaves))
        factors = torch.ones_like(sizes)
        if len(leaves) == 2:  # rows come before columns
            rows = leaves[0].group_sizes(view.shape).numel()
            factors[:rows], factors[rows:] = solver.row_penalty, solver.column_penalty
        if solver.form == "hard":  # the penalty is the square of the threshold
            factors = factors.sqrt()
        unit = float(weight.detach().norm()) if normalize else 1.0
        # norm of a group at a threshold of 1
        self.bounds = (sizes.sqrt() * factors * (unit or 1.0)).to(weight.device)
        self.least = solver.min_density * view.numel
        self.lightest = scheme
        if hasattr(scheme, "with_sparsity"):
            self.lightest = scheme.with_sparsity(1 - solver.min_density)

    def levels(self, weight: Tensor) -> Tensor:
        """Threshold of each group above which it goes."""
        levels: Tensor = self.scheme.group_norms(weight) / self.bounds.clamp_min(_TINY)
        return levels

    def support(self, weight: Tensor, levels: Tensor, threshold: float) -> Tensor:
        """What exceeds a threshold, or the least that stays if that is more."""
        mask: Tensor = self.scheme.expand(levels > threshold, self.view.shape)
        if int(mask.sum()) < self.least:
            mask = self.lightest.mask(weight.abs())
        return mask

    def prox(self, weight: Tensor, threshold: float) -> Tensor:
        """V of the weight.

        The hard form of disjoint groups is exactly the proximal map. Where rows and columns
        overlap, all are judged by the whole weight: taken by turns, each removal would take more
        with it, until nothing is left. For the other forms the overlapping penalties share the
        threshold.
        """
        if self.form == "hard":
            return weight * self.support(weight, self.levels(weight), threshold)
        shrunk: Tensor = self.scheme.prox(weight, threshold / self.shares * self.bounds, self.form)
        return shrunk


def _is_single(scheme: Any, shape: tuple[int, ...]) -> bool:
    """Whether the groups of a scheme are single weights."""
    return len(scheme.group_sizes(shape)) == math.prod(shape)


def _threshold(solver: PrimalProximal, penalty: float) -> float:
    ratio = penalty / solver.rho
    return math.sqrt(2 * ratio) if solver.form == "hard" else ratio


def _penalty(solver: PrimalProximal, threshold: float) -> float:
    return solver.rho * (threshold**2 / 2 if solver.form == "hard" else threshold)
