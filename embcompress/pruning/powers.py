"""Weights as signed powers of two times a scale, found by ADMM after pruning.

Multiplying with such a weight is a shift. There is no level for zero: removed weights are held at
zero by their masks, all others are quantized.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from embcompress.progress import ProgressBar
from embcompress.pruning.data import rewound
from embcompress.pruning.layers import WeightView
from embcompress.pruning.levels import (
    best_scales,
    least_squares_scales,
    level_values,
    nearest_codes,
    power_levels,
)
from embcompress.pruning.masks import Masks
from embcompress.pruning.objectives import Stage
from embcompress.pruning.optimize import (
    ReapplyMasks,
    check_options,
    make_optimizer,
    only_trainable,
)
from embcompress.pruning.quantize import (
    CodedWeight,
    QuantizedWeights,
    masked_weights,
    whole_parameters,
)
from embcompress.pruning.solvers.admm import pull
from embcompress.pruning.solvers.base import live_weights
from embcompress.pruning.tracing import check_forward
from embcompress.training import (
    Batch,
    Hooks,
    Loss,
    NonFiniteLossError,
    copy_model,
    deterministic,
    train,
)

__all__ = ["PowerOfTwoResult", "power_of_two"]

Update = Literal["exact", "alternating"]
# steps of codes and scale at one update of Z, where they alternate
_ALTERNATIONS = 5


@dataclass
class PowerOfTwoResult:
    """A model whose weights are powers of two, and how it came about.

    Attributes
    ----------
    model : Module
        Quantized and retrained copy.
    weights : QuantizedWeights
        Codes ``sign * (j + 1)`` of the levels ``sign * 2^j``, 0 where removed; scales of the
        rows. Its values are exactly those of `model`.
    residual : float
        ``|W - aQ|^2 / |W|^2`` before the weights were set to their levels.
    history : list of dict
        One entry per epoch: ``stage``, ``epoch``, ``loss``; while the weights are pulled to
        their levels also ``rho`` and ``residual``.
    """

    model: nn.Module
    weights: QuantizedWeights
    residual: float
    history: list[dict[str, Any]] = field(default_factory=list)


def power_of_two(
    model: nn.Module,
    objective: Any,
    data: Iterable[Batch],
    masks: Masks | None = None,
    bits: int = 4,
    *,
    per_row: bool = False,
    update: Update = "exact",
    rho: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1),
    epochs_per_rho: int = 3,
    retrain_epochs: int = 3,
    learning_rate: float = 1e-3,
    optimizer: str = "adam",
    layers: Iterable[str] | None = None,
    bar: ProgressBar | None = None,
    random_state: int = 0,
) -> PowerOfTwoResult:
    r"""Quantize what pruning left to ``a * {+-2^j, j = 0 .. 2^(bits-1) - 1}``, by ADMM.

    Works after any scheme of zeros: prune, cut to the masks, then this. It trains on
    ``loss + rho / 2 |W - aQ + U|^2``, the sum over the weights that are kept, and after every
    epoch sets ``aQ`` to the nearest levels of ``W + U`` and ``U = U + W - aQ``; every rho starts
    anew. Then the weights are set to their levels, and what is not quantized (biases,
    normalizations, layers that are left out) is retrained around them. The combination of
    arXiv 2004.05531 with quantization; the details are our specification.

    Parameters
    ----------
    model : Module
        Trained, pruned if it shall be sparse; left as it is.
    objective : TaskLoss, Distillation or LayerwiseReconstruction
    data : iterable of batches
    masks : Masks, optional
        Of the pruned model. Default: all weights are kept, also those that are zero.
    bits : int, default 4
        1 to 5 per weight, sign included.
    per_row : bool, default False
        A scale for every output channel, in place of one per matrix (or gate).
    update : {"exact", "alternating"}, default "exact"
        Nearest levels and scale together (:func:`embcompress.pruning.levels.best_scales`), or by
        turns, a few steps from the last scale, as published code does.
    rho : tuple of float
        One run each.
    epochs_per_rho, retrain_epochs : int, default 3
    learning_rate : float, default 1e-3
    optimizer : {"adam", "adamw", "rmsprop", "sgd"}, default "adam"
    layers : iterable of str, optional
        Names or patterns of the weights. Default: all prunable ones. A parameter with several
        gates is quantized whole.
    bar : ProgressBar, optional
        Advanced by 1 per step.
    random_state : int, default 0

    Returns
    -------
    PowerOfTwoResult

    Raises
    ------
    ValueError
        Before any work: if a number is out of range, masks or data do not fit the model, or a
        weight is not finite.
    NonFiniteLossError
        If a loss is not finite; its attribute ``model`` is the copy in its last good state.
    """
    power_levels(bits)
    check_options(epochs=epochs_per_rho, learning_rate=learning_rate, optimizer=optimizer)
    if retrain_epochs < 0 or not rho or min(rho) <= 0:
        raise ValueError(
            f"rho={rho} must hold positive numbers, and retrain_epochs={retrain_epochs} must be "
            "at least 0"
        )
    if update not in ("exact", "alternating"):
        raise ValueError(f'update={update!r} is unknown; use "exact" or "alternating"')
    student = copy_model(model)
    masks = Masks({}) if masks is None else masks
    views = whole_parameters(student, layers)
    masked_weights(student, views, masks)  # checks them
    batches = rewound(data)
    for batch in batches:
        check_forward(student, batch[0])
        break
    batches = rewound(data)
    # a teacher that is not given is the model as it is
    stages = list(objective.stages(student))
    masks.apply(student)
    run = _Run(student, masks, batches, learning_rate, optimizer, bar)
    levels = {view: _Levels(view, student, masks, bits, per_row, update) for view in views}
    try:
        with deterministic(random_state):
            residual = run.quantize(stages, levels, rho, epochs_per_rho)
            run.retrain(stages, {view.parameter for view in views}, retrain_epochs)
    except NonFiniteLossError as error:
        error.model = student  # type: ignore[attr-defined]
        raise
    return PowerOfTwoResult(student, _coded(levels, bits), residual, run.history)


class _Levels:
    """Codes, scale, Z = aQ and U of one weight."""

    def __init__(
        self,
        view: WeightView,
        model: nn.Module,
        masks: Masks,
        bits: int,
        per_row: bool,
        update: str,
    ) -> None:
        self.view, self.bits, self.update_by = view, bits, update
        weight = view.of(model).detach()
        kept = torch.ones_like(weight, dtype=torch.bool)
        if view.parameter in masks:
            kept = masks[view.parameter][view.start : view.stop].to(weight.device)
        # one row if the matrix has one scale
        self.rows = len(weight) if per_row else 1
        self.kept = kept.reshape(self.rows, -1)
        self.error = 0.0
        self.start(weight)

    def start(self, weight: Tensor) -> None:
        """Begin a run: the best levels of the weight, and no U."""
        self.u = torch.zeros_like(weight)
        self._project(weight, exact=True)

    def update(self, weight: Tensor) -> None:
        """Z = nearest levels of W + U, then U = U + W - Z."""
        self._project(weight + self.u, exact=self.update_by == "exact")
        self.u += weight - self.z

    def harden(self, weight: Tensor) -> float:
        """Set a live weight to its nearest levels; the squared distance before."""
        self._project(weight, exact=True)
        difference = weight - self.z
        self.error = float(difference.abs().max())
        weight.copy_(self.z)
        return float(difference.square().sum())

    @property
    def target(self) -> Tensor:
        """What the weight is pulled to."""
        return self.z - self.u

    def _project(self, weight: Tensor, exact: bool) -> None:
        rows = weight.reshape(self.rows, -1)
        if exact:
            self.scales = best_scales(rows, self.kept, self.bits)
            self.codes = nearest_codes(rows, self.kept, self.scales, self.bits)
        else:
            for _ in range(_ALTERNATIONS):
                self.codes = nearest_codes(rows, self.kept, self.scales, self.bits)
                self.scales = least_squares_scales(rows, self.codes)
        # rounded first: the stored scale is float32, and times a power of two it is exact
        self.scales = self.scales.float().double()
        values = level_values(self.codes) * self.scales[:, None]
        self.z = values.to(weight.dtype).reshape(weight.shape)


class _Pull(Hooks):
    """Move the levels after every epoch, and hold the weights near them by a penalty."""

    def __init__(self, levels: Mapping[WeightView, _Levels]) -> None:
        self.levels = levels
        self.residuals: list[float] = []

    def penalty(self, model: nn.Module) -> Tensor:
        weights = live_weights(model, list(self.levels))
        parts = zip(weights, self.levels.values(), strict=True)
        return torch.stack([pull(weight, level.target) for weight, level in parts]).sum()

    def on_epoch(self, model: nn.Module, epoch: int) -> None:
        """Update Z and U, and note how far the weights are from Z."""
        for view, level in self.levels.items():
            level.update(view.of(model).detach())
        self.residuals.append(_residual(model, self.levels))


@dataclass
class _Run:
    """Train the student in steps, and keep the history."""

    model: nn.Module
    masks: Masks
    data: Iterable[Batch]
    learning_rate: float
    optimizer: str
    bar: ProgressBar | None
    history: list[dict[str, Any]] = field(default_factory=list)

    def quantize(
        self,
        stages: Iterable[Stage],
        levels: Mapping[WeightView, _Levels],
        rhos: Iterable[float],
        epochs: int,
    ) -> float:
        """Pull to the levels and set to them; the relative distance before that."""
        distance, norm = 0.0, 0.0
        for stage in stages:
            part = {v: n for v, n in levels.items() if not stage.views or v.name in stage.views}
            if not part:
                continue
            for rho in rhos:
                with torch.no_grad():
                    for view, level in part.items():
                        level.start(view.of(self.model))
                hook = _Pull(part)
                self._train(stage, stage.parameters, epochs, hook, rho)
            with torch.no_grad():
                for view, level in part.items():
                    weight = view.of(self.model)
                    norm += float(weight.square().sum())
                    distance += level.harden(weight)
        return distance / norm if norm else 0.0

    def retrain(self, stages: Iterable[Stage], fixed: set[str], epochs: int) -> None:
        """Train what is not quantized."""
        for stage in stages:
            names = stage.parameters or [name for name, _ in self.model.named_parameters()]
            free = tuple(name for name in names if name not in fixed)
            if free and epochs:
                self._train(stage, free, epochs, None, 0.0)

    def _train(
        self,
        stage: Stage,
        names: tuple[str, ...] | None,
        epochs: int,
        hook: _Pull | None,
        rho: float,
    ) -> None:
        loss: Loss = stage.loss
        if hook is not None:

            def loss(model: nn.Module, batch: Batch) -> Tensor:
                return stage.loss(model, batch) + rho * hook.penalty(model)

        with only_trainable(self.model, names):
            trained = [
                parameter for parameter in self.model.parameters() if parameter.requires_grad
            ]
            if not trained:
                return
            steps = make_optimizer(self.optimizer, trained, learning_rate=self.learning_rate)
            hooks: list[Hooks] = [ReapplyMasks(self.masks), *([hook] if hook else [])]
            losses = train(
                self.model, loss, self.data, epochs=epochs, optimizer=steps, hooks=hooks,
                bar=self.bar,
            )  # fmt: skip
        for epoch, value in enumerate(losses):
            entry = {"stage": stage.name, "epoch": len(self.history), "loss": value}
            more = {"rho": rho, "residual": hook.residuals[epoch]} if hook else {}
            self.history.append(entry | more)


def _residual(model: nn.Module, levels: Mapping[WeightView, _Levels]) -> float:
    distance = norm = 0.0
    for view, level in levels.items():
        weight = view.of(model).detach()
        distance += float((weight - level.z).square().sum())
        norm += float(weight.square().sum())
    return distance / norm if norm else 0.0


def _coded(levels: Mapping[WeightView, _Levels], bits: int) -> QuantizedWeights:
    """Put the gates of each parameter together."""
    table = np.concatenate([[0.0], power_levels(bits).numpy()]).astype(np.float32)
    by_parameter: dict[str, list[_Levels]] = {}
    for view, level in levels.items():
        by_parameter.setdefault(view.parameter, []).append(level)
    coded = {}
    for name, parts in by_parameter.items():
        codes = torch.cat([level.codes.reshape(level.view.shape) for level in parts])
        scales = torch.cat([level.scales.expand(level.view.shape[0]) for level in parts])
        coded[name] = CodedWeight(
            codes.cpu().numpy(), scales.float().cpu().numpy(), table, bits,
            max(level.error for level in parts),
        )  # fmt: skip
    return QuantizedWeights(coded)
