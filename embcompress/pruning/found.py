"""What a search over candidates returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import nn

from embcompress.pruning.masks import Masks

__all__ = ["SearchResult", "TrainedBlock", "TriedCandidate"]


@dataclass(frozen=True)
class TrainedBlock:
    """Layers in a row that were trained once, for all candidates that have them.

    Attributes
    ----------
    rates : mapping of str to float
        Layer -> rate.
    repeats : int
        Number of candidates that have the block.
    error_before, error_after : float
        Squared error of its outputs over their mean square: in the first step, and in the mean of
        the last epoch.
    cost : float
        See `SearchResult`.
    seconds : float
    """

    rates: Mapping[str, float]
    repeats: int
    error_before: float
    error_after: float
    cost: float
    seconds: float


@dataclass(frozen=True)
class TriedCandidate:
    """A candidate that was put together and validated.

    Attributes
    ----------
    rates : mapping of str to float
        Layer -> rate.
    n_kept : int
        Weights that are kept in these layers.
    start_accuracy : float
        Validated as put together, before fine-tuning.
    accuracy : float
        The best, before or after.
    epochs : int
        Epochs of fine-tuning.
    meets_floor : bool
    cost, seconds : float
        Of its blocks that no candidate before had needed, and of fine-tuning; the seconds include
        validation.
    """

    rates: Mapping[str, float]
    n_kept: int
    start_accuracy: float
    accuracy: float
    epochs: int
    meets_floor: bool
    cost: float
    seconds: float


@dataclass
class SearchResult:
    """The smallest model above the floor, all that was tried, and what it cost.

    Attributes
    ----------
    model : Module
        Pruned copy.
    masks : Masks
    rates : mapping of str to float
        Layer -> rate.
    accuracy : float
        As validated.
    n_kept, n_weights : int
        Weights in the layers of the search, kept and before.
    floor : float
    meets_floor : bool
        If not, no candidate did, and this one is the most accurate.
    tried : list of TriedCandidate
        In the order of their size.
    n_candidates : int
        Candidates there were, tried or not.
    blocks : list of TrainedBlock
        In the order in which they were needed.
    cost : float
        Multiply-accumulate operations of all training, as if dense: rows times the operations of
        the layers that are trained, three times (forward and two gradients), and of the teacher
        once. Validation is not counted.
    cost_of_each : float
        Of training one candidate from the dense weights, for the epochs that were named.
    seconds : float
        Of all training, with the validation after every epoch.
    seconds_of_each : float, optional
        Estimate for one candidate trained from the dense weights, at the pace of the search. None
        if nothing was trained.
    """

    model: nn.Module
    masks: Masks
    rates: Mapping[str, float]
    accuracy: float
    n_kept: int
    n_weights: int
    floor: float
    meets_floor: bool
    tried: list[TriedCandidate]
    n_candidates: int
    cost: float
    cost_of_each: float
    seconds: float
    seconds_of_each: float | None = None
    blocks: list[TrainedBlock] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Weights before, divided by weights kept, in the layers of the search."""
        return self.n_weights / self.n_kept

    @property
    def saving(self) -> float:
        """Cost of training every candidate from the dense weights, divided by that of the search.

        Infinite if nothing had to be trained.
        """
        return _ratio(self.cost_of_each * self.n_candidates, self.cost)

    @property
    def saving_on_tried(self) -> float:
        """As `saving`, but against training in full only those that the search tried.

        This leaves out what is saved by starting from the smallest.
        """
        return _ratio(self.cost_of_each * len(self.tried), self.cost)

    @property
    def saving_in_seconds(self) -> float | None:
        """As `saving`, in seconds, those of all candidates being estimated."""
        if self.seconds_of_each is None:
            return None
        return _ratio(self.seconds_of_each * self.n_candidates, self.seconds)

    def summary(self) -> str:
        """Table of all candidates that were tried, and what the search saved.

        Returns
        -------
        str
        """
        layers = list(self.rates)
        rows = [(*layers, "kept", "start", "tuned", "epochs", "")]
        for tried in self.tried:
            rates = (f"{tried.rates[name]:g}x" for name in layers)
            numbers = (f"{tried.start_accuracy:.4f}", f"{tried.accuracy:.4f}")
            mark = "above the floor" if tried.meets_floor else ""
            rows.append((*rates, str(tried.n_kept), *numbers, str(tried.epochs), mark))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        lines.append(
            f"{len(self.tried)} of {self.n_candidates} candidates tried, {len(self.blocks)} blocks "
            f"trained; {self.saving:.3g} times less training than all from the dense weights, "
            f"{self.saving_on_tried:.3g} times less than those tried"
        )
        return "\n".join(lines)


def _ratio(whole: float, part: float) -> float:
    return whole / part if part else float("inf")
