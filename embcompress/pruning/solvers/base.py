"""What all solvers share: checks before any work, stages, and the cut to the scheme at the end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from embcompress.progress import ProgressBar
from embcompress.pruning.base import Scheme
from embcompress.pruning.data import rewound
from embcompress.pruning.layers import WeightView, prunable_weights, select_views
from embcompress.pruning.masks import Masks
from embcompress.pruning.objectives import Stage
from embcompress.pruning.optimize import make_optimizer, only_trainable
from embcompress.pruning.rates import Rates, assign_schemes, with_rates
from embcompress.pruning.result import PruneResult
from embcompress.pruning.tracing import check_forward
from embcompress.pruning.units import with_removed_units
from embcompress.training import (
    Batch,
    Hooks,
    NonFiniteLossError,
    copy_model,
    deterministic,
    train,
)

__all__ = ["Problem", "Solver", "live_weights"]

Penalty = Callable[[], Tensor]


def live_weights(model: nn.Module, views: Sequence[WeightView]) -> list[Tensor]:
    """Get the weights of views for use in a loss.

    Gates that together make up a parameter come from one split, whose gradient is put together
    once; single slices would each pad theirs to the whole parameter.

    Parameters
    ----------
    model : Module
    views : sequence of WeightView

    Returns
    -------
    list of Tensor
        In the order of `views`.
    """
    by_parameter: dict[str, list[WeightView]] = {}
    for view in views:
        by_parameter.setdefault(view.parameter, []).append(view)
    found: dict[str, Tensor] = {}
    for name, gates in by_parameter.items():
        parameter = model.get_parameter(name)
        heights = [view.stop - view.start for view in gates]
        if len(gates) > 1 and sum(heights) == len(parameter):
            ordered = sorted(gates, key=lambda view: view.start)
            pieces = parameter.split([view.stop - view.start for view in ordered])
            found.update((view.name, p) for view, p in zip(ordered, pieces, strict=True))
        else:
            found.update((view.name, view.of(model)) for view in gates)
    return [found[view.name] for view in views]


@dataclass
class Problem:
    """One stage of a solve: what to train, how, and which weights become sparse.

    Attributes
    ----------
    model : Module
        The student; changed in place.
    plan : dict of WeightView to Scheme
        Weights of this stage.
    stage : Stage, optional
        None for solvers that do not train.
    data : iterable of batches
    history : list of dict
        Entries of all stages so far.
    bar : ProgressBar, optional
    """

    model: nn.Module
    plan: dict[WeightView, Scheme]
    stage: Stage | None
    data: Iterable[Batch]
    history: list[dict[str, Any]] = field(default_factory=list)
    bar: ProgressBar | None = None

    @property
    def views(self) -> list[WeightView]:
        """Weights of this stage."""
        return list(self.plan)

    def weights(self) -> list[Tensor]:
        """Live weights, in the order of `views`; gradients flow through."""
        return live_weights(self.model, self.views)

    def optimizer(
        self, name: str, *, learning_rate: float, weight_decay: float, momentum: float = 0.9
    ) -> torch.optim.Optimizer:
        """Create a new optimizer of what the stage trains."""
        return make_optimizer(
            name, self.model.parameters(), learning_rate=learning_rate,
            weight_decay=weight_decay, momentum=momentum,
        )  # fmt: skip

    def train(
        self,
        *,
        epochs: int,
        optimizer: torch.optim.Optimizer,
        penalty: Penalty | None = None,
        hooks: Sequence[Hooks] = (),
        notes: Mapping[str, Sequence[Any]] | None = None,
    ) -> None:
        """Train on the loss of the stage plus a penalty, and write the history.

        Parameters
        ----------
        epochs : int
        optimizer : Optimizer
        penalty : callable, optional
            Gives a scalar to add to the loss.
        hooks : sequence of Hooks
        notes : mapping of str to sequence, optional
            Filled while training, one value per epoch: more columns of the history.
        """
        stage = self.stage
        assert stage is not None, "a solver that trains has a stage"

        def loss(model: nn.Module, batch: Batch) -> Tensor:
            value = stage.loss(model, batch)
            return value if penalty is None else value + penalty()

        losses = train(
            self.model, loss, self.data, epochs=epochs, optimizer=optimizer, hooks=hooks,
            bar=self.bar,
        )  # fmt: skip
        for epoch, value in enumerate(losses):
            entry = {"stage": stage.name, "epoch": len(self.history), "loss": value}
            self.history.append(entry | {k: v[epoch] for k, v in (notes or {}).items()})


@dataclass(frozen=True)
class Solver(ABC):
    """How the zeros are found.

    Solvers are frozen dataclasses of plain numbers. A final class gives ``_sparsify``, which
    trains the weights of one stage towards their schemes; the cut itself is made here. What a
    solver needs is declared by names, and checked before any work.

    Attributes
    ----------
    needs_scheme : tuple of str
        Methods that a scheme must have.
    needs_objective : tuple of str
        Methods that an objective must have; empty if the solver does not train.
    """

    needs_scheme: ClassVar[tuple[str, ...]] = ("mask",)
    needs_objective: ClassVar[tuple[str, ...]] = ("stages",)

    def solve(
        self,
        model: nn.Module,
        scheme: Scheme | Mapping[str, Scheme],
        objective: Any = None,
        data: Iterable[Batch] | None = None,
        *,
        layers: Iterable[str] | None = None,
        rates: Rates = None,
        target_rate: float | None = None,
        target_macs: float | None = None,
        bar: ProgressBar | None = None,
        random_state: int = 0,
    ) -> PruneResult:
        """Prune a copy of a model.

        Parameters
        ----------
        model : Module
            Trained; left as it is.
        scheme : Scheme, or mapping of str to Scheme
            One for all prunable weights, or by names and patterns such as ``"gru.*"``; the first
            match counts, and weights that none matches are not pruned.
        objective : TaskLoss, Distillation or LayerwiseReconstruction, optional
            Needed by all solvers but `OneShot`.
        data : iterable of batches, optional
            Needed with an objective: `LabelledBatches`, `RandomInputs`, or any object that gives
            tuples of tensors each time it is iterated.
        layers : iterable of str, optional
            Names or patterns of the weights to prune. Default: all that `scheme` covers.
        rates : float, "uniform", "auto", or mapping of str to float, optional
            Weights before divided by weights kept; replaces the sparsity of the schemes.
            ``"auto"`` chooses them under `target_rate` or `target_macs` by the energy of the
            weights; see :func:`embcompress.pruning.rates.auto_rates`.
        target_rate, target_macs : float, optional
            For ``rates="auto"``, and the first also for ``"uniform"``.
        bar : ProgressBar, optional
            Advanced by 1 per step of training.
        random_state : int, default 0
            Seeds what torch draws. Same arguments, same result.

        Returns
        -------
        PruneResult

        Raises
        ------
        ValueError
            Before any work: if solver, scheme, objective, data and model do not fit together.
        TypeError
            If an argument is of the wrong kind.
        NonFiniteLossError
            If a loss is not finite; its attribute ``model`` is the copy in its last good state.
        """
        student = copy_model(model)
        views = prunable_weights(student)
        if layers is not None:
            chosen = select_views(views, layers)
            plan = assign_schemes(chosen, scheme)
        else:
            plan = assign_schemes(views, scheme)
        self._check(plan, objective, data)
        batches = [] if data is None else rewound(data)
        inputs = _first_inputs(batches)
        if inputs is not None:
            check_forward(student, inputs)
        plan = with_rates(
            plan, rates, model=student, target_rate=target_rate, target_macs=target_macs,
            inputs=inputs,
        )  # fmt: skip
        # again from the start: the first batch was only looked at
        batches = [] if data is None else rewound(data)
        with deterministic(random_state):
            return self._run(student, plan, objective, batches, bar)

    def _run(
        self,
        student: nn.Module,
        plan: dict[WeightView, Scheme],
        objective: Any,
        data: Iterable[Batch],
        bar: ProgressBar | None,
    ) -> PruneResult:
        stages = _stages(objective, student, plan) if self.needs_objective else [None]
        history: list[dict[str, Any]] = []
        kept: dict[WeightView, Tensor] = {}
        removed = whole = 0.0
        masks = Masks({})
        for stage in stages:
            covered = None if stage is None else stage.views
            part = {v: s for v, s in plan.items() if covered is None or v.name in covered}
            if not part:
                continue
            problem = Problem(student, part, stage, data, history, bar)
            with only_trainable(student, stage.parameters) if stage else nullcontext():
                try:
                    found = self._sparsify(problem)
                except NonFiniteLossError as error:
                    error.model = student  # type: ignore[attr-defined]
                    raise
            distance, norm = _residual(problem)
            removed, whole = removed + distance, whole + norm
            kept |= found if found is not None else _cut(problem)
            masks = with_removed_units(student, Masks.of_views(student, kept))
            masks.apply(student)
        schemes = {view.name: scheme for view, scheme in plan.items()}
        return PruneResult(student, masks, removed / whole if whole else 0.0, history, schemes)

    @abstractmethod
    def _sparsify(self, problem: Problem) -> dict[WeightView, Tensor] | None:
        """Train towards the schemes.

        Returns
        -------
        dict of WeightView to Tensor, or None
            Masks, where they do not come from the counts of the schemes.
        """

    def _constraints(self, scheme: Scheme) -> tuple[Scheme, ...]:
        """The schemes whose methods the solver calls: by default the one as a whole."""
        return (scheme,)

    def _check(self, plan: Mapping[WeightView, Scheme], objective: Any, data: Any) -> None:
        name = type(self).__name__
        for scheme in plan.values():
            for part in self._constraints(scheme):
                for method in self.needs_scheme:
                    if not hasattr(part, method):
                        raise ValueError(
                            f"{name} needs a scheme with `{method}`; {type(part).__name__} has "
                            "none; use ADMM"
                        )
        if not self.needs_objective:
            return
        if objective is None or data is None:
            missing = " and ".join(
                what
                for what, given in (("an objective", objective), ("data", data))
                if given is None
            )
            raise ValueError(
                f"{name} trains, so it needs {missing}: for example TaskLoss() with "
                "LabelledBatches(X, y), or Distillation() with RandomInputs(shape); OneShot "
                "needs neither"
            )
        for method in self.needs_objective:
            if not hasattr(objective, method):
                raise TypeError(
                    f"{name} needs an objective with `{method}`, such as TaskLoss(); got "
                    f"{type(objective).__name__}"
                )


def _stages(
    objective: Any, student: nn.Module, plan: Mapping[WeightView, Scheme]
) -> list[Stage | None]:
    """Stages of an objective, after a check that they cover the plan."""
    stages = list(objective.stages(student))
    if all(stage.views is not None for stage in stages):
        covered = {name for stage in stages for name in stage.views}
        left = [view.name for view in plan if view.name not in covered]
        if left:
            raise ValueError(
                f"no stage of {type(objective).__name__} covers {', '.join(left)}; leave them out "
                "with layers="
            )
    return stages


def _first_inputs(batches: Iterable[Batch]) -> Tensor | None:
    for batch in batches:
        if not isinstance(batch, (tuple, list)) or not isinstance(batch[0], Tensor):
            raise TypeError(
                "data must give tuples of tensors, (inputs,) or (inputs, labels); got "
                f"{type(batch).__name__}"
            )
        return batch[0]
    return None


def _residual(problem: Problem) -> tuple[float, float]:
    """Squared distance of the weights of a stage to their schemes, and their squared norm."""
    distance = norm = 0.0
    with torch.no_grad():
        for view, scheme in problem.plan.items():
            weight = view.of(problem.model)
            distance += float((weight - scheme.project(weight)).square().sum())
            norm += float(weight.square().sum())
    return distance, norm


def _cut(problem: Problem) -> dict[WeightView, Tensor]:
    with torch.no_grad():
        return {
            view: scheme.mask(view.of(problem.model).abs()) for view, scheme in problem.plan.items()
        }
