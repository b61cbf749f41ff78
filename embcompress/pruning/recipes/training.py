"""What all recipes share: the model behind the argument, its data, pruning and retraining."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypedDict

from torch import nn

from embcompress.progress import ProgressBar
from embcompress.pruning.base import Scheme
from embcompress.pruning.data import LabelledBatches
from embcompress.pruning.finetune import finetune
from embcompress.pruning.objectives import Distillation, TaskLoss
from embcompress.pruning.optimize import check_options
from embcompress.pruning.result import PruneResult
from embcompress.pruning.solvers import ADMM, Reweighted, Solver
from embcompress.training import Batch

__all__ = ["Training", "TrainingOptions", "Work", "network_of"]

_LEARNING_RATE = 1e-3
_BATCH_SIZE = 64
_RETRAIN_FACTOR = 3.0
# what retraining with a teacher uses in the code of the authors' group
_TEMPERATURE = 3.0


class TrainingOptions(TypedDict, total=False):
    """Keyword arguments that every recipe takes; see :class:`Training`."""

    epochs: int
    retrain_epochs: int
    learning_rate: float | None
    retrain_learning_rate: float | None
    batch_size: int | None
    optimizer: str
    weight_decay: float
    momentum: float
    distill: float


@dataclass(frozen=True)
class Training:
    """How long and how a recipe trains; every recipe takes these by keyword.

    Parameters
    ----------
    epochs : int, default 20
        Of the search for the zeros, all phases together.
    retrain_epochs : int, default 20
        With the zeros fixed; the learning rate falls as a cosine.
    learning_rate : float, optional
        Default: that of the head, or 1e-3.
    retrain_learning_rate : float, optional
        Where the cosine begins. Default: three times `learning_rate`, which was better than
        once on all kinds of heads that were tried: few weights have far to go.
    batch_size : int, optional
        Only for torch modules, default 64; heads have their own.
    optimizer : {"adam", "adamw", "rmsprop", "sgd"}, default "adam"
    weight_decay : float, default 0
    momentum : float, default 0.9
        Of "sgd".
    distill : float, default 0
        Share of the dense model's answers, at temperature 3, in the loss of retraining; in
        [0, 1].

    Raises
    ------
    ValueError
        If a number is out of range.
    """

    epochs: int = 20
    retrain_epochs: int = 20
    learning_rate: float | None = None
    retrain_learning_rate: float | None = None
    batch_size: int | None = None
    optimizer: str = "adam"
    weight_decay: float = 0.0
    momentum: float = 0.9
    distill: float = 0.0

    def __post_init__(self) -> None:
        for rate in (self.learning_rate, self.retrain_learning_rate):
            check_options(
                epochs=self.epochs,
                learning_rate=_LEARNING_RATE if rate is None else rate,
                optimizer=self.optimizer,
            )
        if self.retrain_epochs < 0:
            raise ValueError(f"retrain_epochs={self.retrain_epochs} must not be negative")
        if not 0 <= self.distill <= 1:
            raise ValueError(f"distill={self.distill} must be in [0, 1]")

    def admm(self, *, share: float = 1.0) -> ADMM:
        """ADMM with the four stages of rho, in a share of the epochs."""
        stages = len(ADMM.rho)
        return ADMM(
            epochs_per_rho=max(1, round(share * self.epochs / stages)),
            learning_rate=self.learning_rate or _LEARNING_RATE, optimizer=self.optimizer,
            weight_decay=self.weight_decay, momentum=self.momentum,
        )  # fmt: skip

    def reweighted(self, form: Any, penalty: float | None) -> Reweighted:
        """Reweighted regularization; the penalty of the solver if None."""
        solver = Reweighted(
            form=form, epochs=self.epochs, learning_rate=self.learning_rate or _LEARNING_RATE,
            optimizer=self.optimizer, weight_decay=self.weight_decay, momentum=self.momentum,
        )  # fmt: skip
        return solver if penalty is None else replace(solver, penalty=penalty)


@dataclass(frozen=True)
class Work:
    """One call of a recipe.

    Attributes
    ----------
    recipe : str
        Its name, for messages.
    network : Module
        Dense; never changed.
    training : Training
        With the learning rate filled in.
    batches : iterable of tuples of tensors, optional
        None where there is no data with labels.
    bar : ProgressBar, optional
    random_state : int
    """

    recipe: str
    network: nn.Module
    training: Training
    batches: Iterable[Batch] | None
    bar: ProgressBar | None
    random_state: int

    @classmethod
    def of(
        cls,
        recipe: str,
        model: Any,
        X: Any,
        y: Any,
        training: Training,
        bar: ProgressBar | None,
        random_state: int,
        *,
        labels_needed: bool = True,
    ) -> Work:
        """Find the network and make the batches.

        Parameters
        ----------
        recipe : str
        model : Module or fitted head
        X, y : array-like or None
        training : Training
        bar : ProgressBar, optional
        random_state : int
        labels_needed : bool, default True

        Returns
        -------
        Work

        Raises
        ------
        ValueError
            If data is missing or does not fit.
        TypeError
            If `model` is neither a module nor a fitted head.
        """
        network = network_of(model)
        if labels_needed and (X is None or y is None):
            raise ValueError(
                f"{recipe} trains with labels: give X and y; privacy_preserving needs neither"
            )
        head = None if model is network else model
        if head is not None and training.batch_size is not None:
            raise ValueError("batch_size is for torch modules; a head has its own: set that")
        batches: Iterable[Batch] | None = None
        if X is not None and y is not None:
            if head is None:
                batches = LabelledBatches(
                    X, y, training.batch_size or _BATCH_SIZE, seed=random_state
                )
            else:
                batches = head.batches(X, y, random_state=random_state)
        if training.learning_rate is None:
            own = getattr(head, "learning_rate", _LEARNING_RATE)
            training = replace(training, learning_rate=own)
        return cls(recipe, network, training, batches, bar, random_state)

    def solve(
        self,
        solver: Solver,
        plan: Mapping[str, Scheme],
        *,
        start: nn.Module | None = None,
        objective: Any = None,
        batches: Iterable[Batch] | None = None,
        total_rate: float | None = None,
    ) -> PruneResult:
        """Prune by a solver, with the labels unless another objective is given.

        Parameters
        ----------
        solver : Solver
        plan : mapping of str to Scheme
            Name of a weight -> its scheme.
        start : Module, optional
            What to begin with. Default: the network.
        objective : optional
        batches : iterable of tuples of tensors, optional
        total_rate : float, optional
            Choose the rate of each layer so that this one is reached over all of them. Default:
            as the schemes have it.

        Returns
        -------
        PruneResult
        """
        return solver.solve(
            self.network if start is None else start, plan,
            TaskLoss() if objective is None else objective,
            self.batches if batches is None else batches,
            rates=None if total_rate is None else "auto", target_rate=total_rate,
            bar=self.bar, random_state=self.random_state,
        )  # fmt: skip

    def retrained(
        self,
        result: PruneResult,
        *,
        objective: Any = None,
        batches: Iterable[Batch] | None = None,
        epochs: int | None = None,
    ) -> PruneResult:
        """Train what a solver left, under its masks.

        Parameters
        ----------
        result : PruneResult
        objective : optional
            Default: the labels, with the share of the dense model's answers that was asked for.
        batches : iterable of tuples of tensors, optional
        epochs : int, optional
            Default: `retrain_epochs`.

        Returns
        -------
        PruneResult
            With another model.
        """
        options = self.training
        data = self.batches if batches is None else batches
        if data is None:
            raise ValueError(f"{self.recipe} retrains with labels: give X and y")
        if objective is None:
            objective = TaskLoss()
            if options.distill:
                objective = Distillation(self.network, _TEMPERATURE, 1 - options.distill)
        model = finetune(
            result.model, result.masks, objective, data,
            epochs=options.retrain_epochs if epochs is None else epochs,
            learning_rate=options.retrain_learning_rate
            or _RETRAIN_FACTOR * (options.learning_rate or _LEARNING_RATE),
            optimizer=options.optimizer, weight_decay=options.weight_decay,
            momentum=options.momentum, schedule="cosine", bar=self.bar,
            random_state=self.random_state,
        )  # fmt: skip
        return replace(result, model=model)


def network_of(model: Any) -> nn.Module:
    """The torch module itself, or the one inside a fitted head.

    Parameters
    ----------
    model : Module or fitted head

    Returns
    -------
    Module

    Raises
    ------
    TypeError
        If it is neither.
    """
    inner = model if isinstance(model, nn.Module) else getattr(model, "module_", None)
    if isinstance(inner, nn.Module):
        return inner
    hint = "; fit it first" if hasattr(model, "fit") else ""
    raise TypeError(f"a torch module or a fitted head is needed, not {type(model).__name__}{hint}")
