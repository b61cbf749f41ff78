"""What a model should still do while it is pruned: its task, or what a teacher does.

An objective gives one or several stages. A solver runs them in order; each stage says which
weights it covers, which parameters it trains, and a loss.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from embcompress.pruning.layers import prunable_weights
from embcompress.pruning.tracing import Follower, followers, output_of
from embcompress.training import Batch, Loss, copy_model

__all__ = ["Distillation", "LayerwiseReconstruction", "Stage", "TaskLoss"]


@dataclass(frozen=True)
class Stage:
    """One training problem within an objective.

    Attributes
    ----------
    name : str
        For the history: ``"task"``, or the name of a layer.
    loss : callable
        ``loss(model, batch)`` gives a scalar tensor.
    parameters : tuple of str, optional
        Names of the parameters that are trained; all if None.
    views : tuple of str, optional
        Names of the prunable weights that become sparse in this stage; all if None.
    """

    name: str
    loss: Loss
    parameters: tuple[str, ...] | None = None
    views: tuple[str, ...] | None = None


@dataclass(frozen=True)
class TaskLoss:
    """Cross entropy with the labels.

    Parameters
    ----------
    label_smoothing : float, default 0
        In [0, 1).
    class_weight : mapping of int to float, optional
        Class -> weight; classes that are not named have the weight 1.

    Raises
    ------
    ValueError
        If a number is out of range.
    """

    label_smoothing: float = 0.0
    class_weight: Mapping[int, float] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing={self.label_smoothing} must be in [0, 1)")
        if self.class_weight is not None and any(w < 0 for w in self.class_weight.values()):
            raise ValueError(f"class_weight={self.class_weight} must not be negative")

    def stages(self, model: nn.Module) -> Iterator[Stage]:
        """One stage for the whole model.

        Parameters
        ----------
        model : Module

        Yields
        ------
        Stage
        """
        yield Stage("task", self._loss)

    def _loss(self, model: nn.Module, batch: Batch) -> Tensor:
        return self._of_logits(model(batch[0]), batch)

    def _of_logits(self, logits: Tensor, batch: Batch) -> Tensor:
        if len(batch) < 2:
            raise ValueError(
                "the task loss needs labels, but batches hold inputs only; use LabelledBatches, "
                "or Distillation, which needs no labels"
            )
        weight = None
        if self.class_weight is not None:
            weight = torch.ones(logits.shape[1], dtype=logits.dtype, device=logits.device)
            for number, value in self.class_weight.items():
                weight[number] = value
        losses = functional.cross_entropy(
            logits, batch[1], weight=weight, label_smoothing=self.label_smoothing,
            reduction="mean" if len(batch) == 2 else "none",
        )  # fmt: skip
        if len(batch) == 2:
            return losses
        # as torch does: a mean weighted by class and row
        shares = batch[2] if weight is None else batch[2] * weight[batch[1]]
        return (losses * batch[2]).sum() / shares.sum().clamp_min(torch.finfo(losses.dtype).tiny)


@dataclass(frozen=True)
class Distillation:
    """Answer as a teacher does: the whole-model problem of privacy-preserving pruning.

    arXiv 2003.06513; the squared distance of the logits on random inputs, as we read it. On
    batches without labels, batch normalization keeps its statistics, which random inputs would
    destroy; with labels the inputs are real, and it learns those of the pruned model.

    Parameters
    ----------
    teacher : Module, optional
        Default: a frozen copy of the model as it is given to the solver.
    temperature : float, optional
        Mean squared error of the logits if None; else the Kullback-Leibler divergence of the
        softmax at this temperature, times its square.
    label_weight : float, default 0
        Share of the cross entropy with the labels in the loss, in [0, 1]; needs labels if it is
        not 0.

    Raises
    ------
    ValueError
        If a number is out of range.
    """

    teacher: nn.Module | None = None
    temperature: float | None = None
    label_weight: float = 0.0

    def __post_init__(self) -> None:
        if self.temperature is not None and not self.temperature > 0:
            raise ValueError(f"temperature={self.temperature} must be positive")
        if not 0 <= self.label_weight <= 1:
            raise ValueError(f"label_weight={self.label_weight} must be in [0, 1]")

    def stages(self, model: nn.Module) -> Iterator[Stage]:
        """One stage for the whole model; copies it as the teacher if none is given.

        Parameters
        ----------
        model : Module

        Yields
        ------
        Stage
        """
        teacher = _frozen(self.teacher or model)
        task = TaskLoss()

        def loss(student: nn.Module, batch: Batch) -> Tensor:
            if len(batch) < 2:
                _freeze_norms(student)
            with torch.no_grad():
                wanted = teacher(batch[0])
            logits = student(batch[0])
            value = (1 - self.label_weight) * self._distance(logits, wanted)
            if self.label_weight:
                value = value + self.label_weight * task._of_logits(logits, batch)
            return value

        yield Stage("distillation", loss)

    def _distance(self, logits: Tensor, wanted: Tensor) -> Tensor:
        if self.temperature is None:
            return functional.mse_loss(logits, wanted)
        return self.temperature**2 * functional.kl_div(
            functional.log_softmax(logits / self.temperature, dim=1),
            functional.log_softmax(wanted / self.temperature, dim=1),
            reduction="batchmean",
            log_target=True,
        )


@dataclass(frozen=True)
class LayerwiseReconstruction:
    """Rebuild the output of every layer of a teacher, one layer after the other.

    The layer-wise problem of privacy-preserving pruning (arXiv 2003.06513, as we read it):
    ``min |s(W' A' + b') - s(W A + b)|^2 / n``. The student is fed by its own prefix, which is
    pruned already (A'), the teacher by its own (A). s is what directly follows the layer: batch
    normalization in evaluation mode, then the activation. Only the layer itself is trained.

    Parameters
    ----------
    teacher : Module, optional
        With the same layers. Default: a frozen copy of the model as it is given to the solver.
    """

    teacher: nn.Module | None = None

    def stages(self, model: nn.Module) -> Iterator[Stage]:
        """One stage per module that holds prunable weights, in the order of the modules.

        Parameters
        ----------
        model : Module

        Yields
        ------
        Stage
        """
        teacher = _frozen(self.teacher or model)
        covered: dict[str, list[str]] = {}
        for view in prunable_weights(model):
            covered.setdefault(view.module, []).append(view.name)
        for name, views in covered.items():
            own = model.get_submodule(name).named_parameters(recurse=False)
            parameters = tuple(f"{name}.{own_name}" if name else own_name for own_name, _ in own)
            yield Stage(name, _reconstruction(teacher, name), parameters, tuple(views))


def _reconstruction(teacher: nn.Module, name: str) -> Callable[[nn.Module, Batch], Tensor]:
    after: list[Follower] | None = None

    def loss(student: nn.Module, batch: Batch) -> Tensor:
        nonlocal after
        student.eval()
        if after is None:
            after = followers(teacher, name, batch[0])
        with torch.no_grad():
            wanted = output_of(teacher, name, batch[0])
            for follow in after:
                wanted = follow(teacher, wanted)
        found = output_of(student, name, batch[0])
        for follow in after:
            found = follow(student, found)
        return functional.mse_loss(found, wanted)

    return loss


def _frozen(model: nn.Module) -> nn.Module:
    return copy_model(model).eval().requires_grad_(False)


def _freeze_norms(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
