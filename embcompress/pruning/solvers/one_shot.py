"""Remove the smallest weights at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from embcompress.pruning.solvers.base import Problem, Solver

__all__ = ["OneShot"]


@dataclass(frozen=True)
class OneShot(Solver):
    """Cut every weight to its scheme by magnitude, without training: the baseline.

    Retrain afterwards with :func:`embcompress.pruning.finetune`.

    Examples
    --------
    >>> import torch
    >>> from embcompress.pruning import OneShot, Unstructured
    >>> OneShot().solve(torch.nn.Linear(8, 4), Unstructured(sparsity=0.75)).rate
    4.0
    """

    needs_objective: ClassVar[tuple[str, ...]] = ()

    def _sparsify(self, problem: Problem) -> None:
        return None
