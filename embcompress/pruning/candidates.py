"""Candidates of a search: which rate each layer gets, and how large the pruned model would be."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn

from embcompress.pruning.base import Scheme
from embcompress.pruning.layers import WeightView, prunable_weights, select_views
from embcompress.pruning.rates import assign_schemes, sparsity_of_rate, with_rates

__all__ = ["Candidate", "Space", "Symbol"]

# (number of the layer in the order of execution, rate)
Symbol: TypeAlias = "tuple[int, float]"

_MOST_CANDIDATES = 4096


@dataclass(frozen=True)
class Candidate:
    """One choice of rates.

    Attributes
    ----------
    symbols : tuple of (int, float)
        Layer and its rate, for every layer of the search, in the order of execution.
    n_kept : int
        Weights that are kept in these layers.
    """

    symbols: tuple[Symbol, ...]
    n_kept: int


class Space:
    """All candidates: layers, their rates, and the masks that follow.

    The mask of a layer depends on its own weights and rate only, so candidates that agree on a
    layer have the same mask there.

    Parameters
    ----------
    model : Module
        Trained.
    views : mapping of WeightView to sequence of float
        Weights of the search and their rates, in the order of execution.
    scheme : Scheme, or mapping of str to Scheme
    """

    def __init__(
        self,
        model: nn.Module,
        views: Mapping[WeightView, Sequence[float]],
        scheme: Scheme | Mapping[str, Scheme],
    ) -> None:
        self.views = list(views)
        self.rates = [list(rates) for rates in views.values()]
        plan = assign_schemes(self.views, scheme)
        missing = [view.name for view in self.views if view not in plan]
        if missing:
            raise ValueError(f"no scheme for {', '.join(missing)}, which the rates name")
        self.masks: dict[Symbol, Tensor] = {}
        for i, view in enumerate(self.views):
            size = view.of(model).detach().abs()
            for rate in self.rates[i]:
                part = with_rates({view: plan[view]}, {view.name: rate}, model=model)[view]
                dense = rate == 1
                self.masks[i, rate] = torch.ones_like(size).bool() if dense else part.mask(size)

    @property
    def n_possible(self) -> int:
        """Number of all candidates."""
        return math.prod(len(rates) for rates in self.rates)

    def candidates(self, n: int | None, random_state: int) -> list[Candidate]:
        """List candidates, smallest model first.

        Parameters
        ----------
        n : int, optional
            So many are drawn, without repetition; all if None, or if there are fewer.
        random_state : int

        Returns
        -------
        list of Candidate

        Raises
        ------
        ValueError
            If `n` is below 1, or is not given and there are too many.
        """
        possible = self.n_possible
        if n is None and possible > _MOST_CANDIDATES:
            raise ValueError(
                f"the rates allow {possible} candidates, more than {_MOST_CANDIDATES}; give "
                "n_candidates to draw some, or fewer rates"
            )
        if n is not None and n < 1:
            raise ValueError(f"n_candidates={n} must be at least 1")
        numbers = (
            range(possible) if n is None or n >= possible else _drawn(possible, n, random_state)
        )
        found = [self._candidate(number) for number in numbers]
        return sorted(found, key=lambda candidate: (candidate.n_kept, candidate.symbols))

    def _candidate(self, number: int) -> Candidate:
        symbols: list[Symbol] = []
        for i, rates in enumerate(self.rates):
            number, choice = divmod(number, len(rates))
            symbols.append((i, rates[choice]))
        kept = sum(int(self.masks[symbol].sum()) for symbol in symbols)
        return Candidate(tuple(symbols), kept)

    @classmethod
    def views_of(
        cls, model: nn.Module, rates: Mapping[str, Sequence[float]] | Sequence[float]
    ) -> dict[WeightView, list[float]]:
        """Find the weights that are meant, and check their rates.

        Parameters
        ----------
        model : Module
        rates : sequence of float, or mapping of str to sequence of float
            For all prunable weights, or by names and patterns; the first match counts.

        Returns
        -------
        dict of WeightView to list of float
            In the order of the modules; rates ascending, each once.

        Raises
        ------
        ValueError
            If a rate is out of range, a pattern matches nothing, or a layer cannot be searched.
        """
        views = prunable_weights(model)
        if not views:
            raise ValueError("the model has no layer to search: no Linear or Conv2d")
        table = rates if isinstance(rates, Mapping) else {"*": rates}
        chosen: dict[WeightView, list[float]] = {}
        for pattern, values in table.items():
            choices = sorted({float(rate) for rate in values})
            if not choices:
                raise ValueError(f"no rate is given for {pattern!r}; [1] leaves a layer dense")
            for rate in choices:
                sparsity_of_rate(rate, f"rate for {pattern!r}")
            for view in select_views(views, [pattern]):
                chosen.setdefault(view, choices)
        for view in chosen:
            if view.kind not in ("linear", "conv") or not view.parameter.endswith("weight"):
                raise ValueError(
                    f"the search cannot handle {view.name} ({view.kind}): blocks are made of "
                    "Linear and Conv2d layers, which are rebuilt from their inputs and outputs; "
                    "name such layers in a mapping of rates, and prune the others by a solver"
                )
        return {view: chosen[view] for view in views if view in chosen}


def _drawn(possible: int, n: int, random_state: int) -> list[int]:
    generator = random.Random(random_state)
    if possible <= 1_000_000:
        return generator.sample(range(possible), n)
    # far more than n: repetitions are rare, and a range may be too long to sample from
    numbers: dict[int, None] = {}
    while len(numbers) < n:
        numbers[generator.randrange(possible)] = None
    return list(numbers)
