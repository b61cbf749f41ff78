"""How a head is trained: batches, loss, optimizer, early stopping."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from embcompress.heads.inputs import InputKind, Stored
from embcompress.progress import ProgressBar
from embcompress.training import Batch, Hooks, copy_model, train

__all__ = [
    "EarlyStopping",
    "HeadBatches",
    "KeepZeros",
    "batch_rows",
    "cross_entropy",
    "logits",
    "make_optimizer",
    "predicted",
    "run",
]

# Sequences of about one length are put together out of so many batches at a time
_BUCKET_BATCHES = 16
_PREDICT_ROWS = 1024


def batch_rows(asked: int | str, n_rows: int) -> int:
    """Rows per step; "auto" is 64, and fewer for few rows, for an epoch of about 16 steps."""
    if isinstance(asked, str):
        return min(max(n_rows // 16, 8), 64)
    return int(asked)


class HeadBatches:
    """Batches ``(inputs, labels)`` or ``(inputs, labels, weights)`` of prepared inputs.

    Every iteration goes through all rows once, in a new order if `random` is given. Batches
    differ in size by one row at most. Sequences of similar length come together.
    """

    def __init__(
        self,
        kind: InputKind,
        stored: Stored,
        labels: torch.Tensor | None,
        weights: torch.Tensor | None = None,
        *,
        batch_size: int,
        random: np.random.RandomState | None = None,
    ) -> None:
        self.kind = kind
        self.stored = stored
        self.labels = labels
        self.weights = weights
        self.batch_size = batch_size
        self.random = random
        self._lengths = kind.lengths(stored)

    def __len__(self) -> int:
        return max(1, -(-len(self.stored) // self.batch_size))

    def __iter__(self) -> Iterator[Batch]:
        for index in self.indices():
            rows = torch.from_numpy(index)
            extra = (part[rows] for part in (self.labels, self.weights) if part is not None)
            yield (self.kind.rows(self.stored, index), *extra)

    def only(
        self, rows: npt.NDArray[np.int64], random: np.random.RandomState | None
    ) -> HeadBatches:
        """Batches of some of the rows, in a new order in every pass if `random` is given."""
        whole = len(rows) == len(self.stored)
        index = torch.from_numpy(rows)
        return HeadBatches(
            self.kind,
            self.stored if whole else self.stored[rows],
            self.labels if whole or self.labels is None else self.labels[index],
            self.weights if whole or self.weights is None else self.weights[index],
            batch_size=self.batch_size,
            random=random,
        )

    def indices(self) -> list[npt.NDArray[np.int64]]:
        """Row numbers of each batch of one pass."""
        n = len(self.stored)
        order = np.arange(n) if self.random is None else self.random.permutation(n)
        if self._lengths is None:
            return np.array_split(order, len(self))
        if self.random is None:
            return np.array_split(order[np.argsort(self._lengths, kind="stable")], len(self))
        batches: list[npt.NDArray[np.int64]] = []
        for bucket in np.array_split(order, -(-len(self) // _BUCKET_BATCHES)):
            bucket = bucket[np.argsort(self._lengths[bucket], kind="stable")]
            batches += np.array_split(bucket, -(-len(bucket) // self.batch_size))
        return [batches[i] for i in self.random.permutation(len(batches))]


class EarlyStopping(Hooks):
    """Keep the best state on validation data, and stop when it has not improved for a while.

    Rows weigh as they do in training. Better is a higher accuracy, or the same with a smaller
    loss: accuracy alone stays on one value for many epochs when the validation data are few.
    """

    def __init__(self, batches: Iterable[Batch], patience: int) -> None:
        self.batches = batches
        self.patience = patience
        self.scores: list[float] = []
        self._best = (-1.0, float("-inf"))
        self._best_epoch = -1
        self._state: dict[str, torch.Tensor] = {}

    def on_epoch(self, model: nn.Module, epoch: int) -> bool:
        """Score the model; True when it is time to stop."""
        score = _accuracy_and_gain(model, self.batches)
        self.scores.append(score[0])
        if score > self._best:
            self._best, self._best_epoch = score, epoch
            self._state = {name: part.clone() for name, part in model.state_dict().items()}
        return epoch - self._best_epoch >= self.patience

    def restore(self, model: nn.Module) -> None:
        """Put the best state back."""
        if self._state:
            model.load_state_dict(self._state)


class KeepZeros(Hooks):
    """Put pruned weights back to zero after every step.

    A gradient of zero is not enough: momentum and weight decay move weights too.
    """

    def __init__(self, masks: Mapping[str, torch.Tensor]) -> None:
        self.masks = masks
        self._pairs: list[tuple[torch.Tensor, torch.Tensor]] = []

    def on_start(self, model: nn.Module) -> None:
        """Find the parameters of the masks."""
        parameters = dict(model.named_parameters())
        self._pairs = [(parameters[name], mask) for name, mask in self.masks.items()]
        self.on_step(model, 0)

    @torch.no_grad()
    def on_step(self, model: nn.Module, step: int) -> None:
        """Zero what is pruned."""
        for parameter, mask in self._pairs:
            parameter.mul_(mask)


def cross_entropy(model: nn.Module, batch: Batch) -> torch.Tensor:
    """Mean cross-entropy of a batch; rows are weighted if the batch has weights.

    Weights have the mean 1 over all rows, so the mean over rows is not divided by their sum.
    """
    inputs, labels, *weights = batch
    if not weights:
        return functional.cross_entropy(model(inputs), labels)
    each = functional.cross_entropy(model(inputs), labels, reduction="none")
    return (each * weights[0]).mean()


def make_optimizer(
    module: nn.Module, name: str, learning_rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    """Adam with decoupled weight decay, or SGD with momentum 0.9; biases do not decay."""
    matrices = [p for p in module.parameters() if p.ndim > 1]
    vectors = [p for p in module.parameters() if p.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    if name == "sgd":
        return torch.optim.SGD(groups, lr=learning_rate, momentum=0.9)
    # one pass over each parameter in place of a dozen: half the time of a step on small heads
    return torch.optim.AdamW(groups, lr=learning_rate, fused=True)


def run(
    head: Any, batches: Iterable[Batch], epochs: int, validation: Iterable[Batch] | None
) -> None:
    """Train the network of a head, and keep record in the head."""
    hooks: list[Hooks] = [] if head.masks_ is None else [KeepZeros(head.masks_)]
    stopping = None
    if validation is not None:
        stopping = EarlyStopping(validation, head.patience)
        hooks.append(stopping)
    if head._optimizer is None:
        head._optimizer = make_optimizer(
            head.module_, head.optimizer, head.learning_rate, head.weight_decay
        )
    steps = epochs * len(batches) if isinstance(batches, HeadBatches) else None
    with ProgressBar("Training", steps, unit="steps", enabled=head.verbose) as bar:
        losses = train(
            head.module_, cross_entropy, batches, epochs=epochs, optimizer=head._optimizer,
            hooks=hooks, bar=bar,
        )  # fmt: skip
    head.n_iter_ += len(losses)
    head.loss_curve_ = [*head.loss_curve_, *losses]
    if stopping is not None:
        stopping.restore(head.module_)
        head.validation_scores_ = stopping.scores


@torch.no_grad()
def logits(model: nn.Module, batches: HeadBatches) -> npt.NDArray[np.floating]:
    """Outputs for all rows, in the order of the rows; the model is evaluated, not trained."""
    model.eval()
    parts = [model(batch[0]) for batch in batches]
    joined = torch.cat(parts).cpu().numpy()
    order = np.concatenate(batches.indices())
    out = np.empty_like(joined)
    out[order] = joined
    return out


def predicted(head: Any, X: npt.NDArray[Any]) -> npt.NDArray[np.floating]:
    """Logits of a head for checked inputs."""
    kind, module = head._kind(), head.module_
    # in double precision where the input is: rows then give the same alone and together
    double = kind.doubles and X.dtype == np.float64
    if double:
        module = copy_model(module).double()
    stored = kind.prepare(X, head.mean_, head.scale_, np.float64 if double else np.float32)
    return logits(module, HeadBatches(kind, stored, None, batch_size=_PREDICT_ROWS))


@torch.no_grad()
def _accuracy_and_gain(model: nn.Module, batches: Iterable[Batch]) -> tuple[float, float]:
    """Weighted accuracy, and minus the mean loss."""
    model.eval()
    right, lost, total = 0.0, 0.0, 0.0
    for inputs, labels, *weights in batches:
        output = model(inputs)
        weight = weights[0] if weights else torch.ones(len(labels))
        each = functional.cross_entropy(output, labels, reduction="none")
        right += float((weight * (output.argmax(dim=1) == labels)).sum())
        lost += float((weight * each).sum())
        total += float(weight.sum())
    total = max(total, 1e-30)
    return right / total, -lost / total
