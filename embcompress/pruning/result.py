"""What a solver returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from embcompress.pruning.base import Scheme
from embcompress.pruning.layers import prunable_weights
from embcompress.pruning.masks import Masks

__all__ = ["PruneResult"]


@dataclass
class PruneResult:
    """A pruned model, its masks, and how it came about.

    Attributes
    ----------
    model : Module
        Pruned copy: removed weights are zero.
    masks : Masks
        Of the parameters that were pruned.
    residual : float
        ``|W - project(W)|^2 / |W|^2`` over all pruned weights before they were cut to the
        scheme: what the cut removed. 0 means that the solver had found the zeros itself.
    history : list of dict
        One entry per epoch: ``stage``, ``epoch``, ``loss`` (with the terms of the solver), and
        what the solver adds.
    schemes : mapping of str to Scheme
        Name of a prunable weight -> the scheme that it was cut to.
    """

    model: nn.Module
    masks: Masks
    residual: float
    history: list[dict[str, Any]] = field(default_factory=list)
    schemes: Mapping[str, Scheme] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Weights before, divided by weights kept, over the pruned parameters."""
        return self.masks.rate

    @property
    def sparsity(self) -> float:
        """Share of the weights that is removed, over the pruned parameters."""
        return self.masks.sparsity

    def summary(self) -> str:
        """Table of the weights: scheme, kept of total, sparsity and rate.

        Returns
        -------
        str
            One line per weight, and one for all of them.
        """
        rows = [("weight", "shape", "scheme", "kept", "sparsity", "rate")]
        kept_sum = total_sum = 0
        for view in prunable_weights(self.model):
            if view.name not in self.schemes:
                continue
            kept = int(self.masks[view.parameter][view.start : view.stop].sum())
            scheme = " & ".join(type(part).__name__ for part in self.schemes[view.name].parts)
            shape = "x".join(map(str, view.shape))
            rows.append((view.name, shape, scheme, *_numbers(kept, view.numel)))
            kept_sum, total_sum = kept_sum + kept, total_sum + view.numel
        rows.append(("all", "", "", *_numbers(kept_sum, total_sum)))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = (
            "  ".join(
                cell.ljust(width) if i < 3 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        )
        return "\n".join(line.rstrip() for line in lines)


def _numbers(kept: int, total: int) -> tuple[str, str, str]:
    rate = f"{total / kept:.4g}x" if kept else "-"
    return f"{kept}/{total}", f"{1 - kept / max(total, 1):.4f}", rate
