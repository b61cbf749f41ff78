"""Which scheme each weight gets, and how much of it is removed.

A rate is weights before divided by weights kept, at least 1; a sparsity is ``1 - 1 / rate``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from embcompress.pruning.base import Scheme
from embcompress.pruning.layers import WeightView, macs, select_views

__all__ = ["Rates", "assign_schemes", "auto_rates", "sparsity_of_rate", "with_rates"]

Rates: TypeAlias = float | Literal["uniform", "auto"] | Mapping[str, float] | None

# a layer keeps at least this share of its weights when the rates are chosen by themselves
_LEAST_DENSITY = 0.01


def sparsity_of_rate(rate: Any, name: str = "rate") -> float:
    """Share removed at a rate.

    Parameters
    ----------
    rate : float
        Weights before divided by weights kept; finite, at least 1.
    name : str
        What to call it in a message.

    Returns
    -------
    float
        ``1 - 1 / rate``.

    Raises
    ------
    ValueError
        If the rate is out of range.
    TypeError
        If it is not a number.

    Examples
    --------
    >>> sparsity_of_rate(4)
    0.75
    """
    if isinstance(rate, bool) or not isinstance(rate, Real):
        raise TypeError(f"{name} must be a number, not {type(rate).__name__}")
    if not 1 <= float(rate) < math.inf:
        raise ValueError(
            f"{name}={rate} must be finite and at least 1: it is weights before divided by "
            "weights kept; for a sparsity s (fraction removed) give 1 / (1 - s)"
        )
    return 1.0 - 1.0 / float(rate)


def assign_schemes(
    views: Sequence[WeightView], scheme: Scheme | Mapping[str, Scheme]
) -> dict[WeightView, Scheme]:
    """Give every weight its scheme, and check that the two fit.

    Parameters
    ----------
    views : sequence of WeightView
    scheme : Scheme, or mapping of str to Scheme
        One for all, or by names and patterns (:meth:`WeightView.matches`): the first entry that
        matches counts, and weights that none matches stay as they are.

    Returns
    -------
    dict of WeightView to Scheme

    Raises
    ------
    ValueError
        If a scheme does not fit a weight, a pattern matches nothing, or there is no weight.
    TypeError
        If something is not a scheme.
    """
    if not views:
        raise ValueError("the model has no prunable weight: no Linear, Conv2d, GRU or LSTM")
    table = scheme if isinstance(scheme, Mapping) else {"*": scheme}
    chosen: dict[WeightView, Scheme] = {}
    for pattern, part in table.items():
        if not isinstance(part, Scheme):
            raise TypeError(
                f"a scheme is needed, such as Unstructured(sparsity=0.9), not {part!r}"
                + (f" (for {pattern!r})" if table is scheme else "")
            )
        for view in select_views(views, [pattern]):
            chosen.setdefault(view, part)
    for view, part in chosen.items():
        try:
            part.check(view.shape, view.kind)
        except ValueError as error:
            raise ValueError(
                f"{view.name}: {error}; leave it out with layers=, or give each layer its own "
                "scheme in a mapping"
            ) from error
    return {view: chosen[view] for view in views if view in chosen}


def with_rates(
    plan: Mapping[WeightView, Scheme],
    rates: Rates,
    *,
    model: nn.Module,
    target_rate: float | None = None,
    target_macs: float | None = None,
    inputs: Tensor | None = None,
) -> dict[WeightView, Scheme]:
    """Give the schemes of a plan the wanted rates.

    Parameters
    ----------
    plan : mapping of WeightView to Scheme
    rates : float, "uniform", "auto", mapping of str to float, or None
        The same for all (``"uniform"`` takes it from `target_rate`), chosen by
        :func:`auto_rates`, by names and patterns (others keep the sparsity of their scheme), or
        as the schemes have it.
    model : Module
    target_rate, target_macs : float, optional
        See :func:`auto_rates`.
    inputs : Tensor, optional
        To count operations with; `target_macs` needs it.

    Returns
    -------
    dict of WeightView to Scheme

    Raises
    ------
    ValueError, TypeError
        If a rate is out of range, a scheme has no ``with_sparsity``, or targets do not go with
        the rates.
    """
    if rates not in ("auto", "uniform") and (target_rate is not None or target_macs is not None):
        raise ValueError('target_rate and target_macs go with rates="auto" (or "uniform")')
    if rates is None:
        return dict(plan)
    views = list(plan)
    if rates == "auto":
        by_view: Mapping[WeightView, float] = auto_rates(
            model, plan, target_rate=target_rate, target_macs=target_macs, inputs=inputs
        )
    elif isinstance(rates, str):
        if rates != "uniform":
            raise ValueError(f'rates={rates!r} is neither a number, "uniform" nor "auto"')
        if target_rate is None or target_macs is not None:
            raise ValueError('rates="uniform" needs target_rate, and no target_macs')
        by_view = dict.fromkeys(views, target_rate)
    elif isinstance(rates, Mapping):
        by_view = {}
        for pattern, rate in rates.items():
            for view in select_views(views, [pattern]):
                by_view.setdefault(view, rate)
    else:
        by_view = dict.fromkeys(views, rates)
    return {
        view: _at_rate(view, scheme, by_view[view]) if view in by_view else scheme
        for view, scheme in plan.items()
    }


def auto_rates(
    model: nn.Module,
    plan: Mapping[WeightView, Scheme],
    *,
    target_rate: float | None = None,
    target_macs: float | None = None,
    inputs: Tensor | None = None,
) -> dict[WeightView, float]:
    """Choose the rate of every weight under one budget, by the energy of what is removed.

    Water filling, our specification. The groups of all weights (as the scheme forms them) are
    ranked by their squared norm, as a share of that of their weight, per unit of cost; the best
    are kept until the budget is used up. So every weight is cut at the same level of lost energy
    per unit of cost. Cost is the number of weights, or of multiply-accumulate operations. Each
    weight keeps one percent at least.

    Parameters
    ----------
    model : Module
        Trained.
    plan : mapping of WeightView to Scheme
    target_rate : float, optional
        Weights before divided by weights kept, over the plan.
    target_macs : float, optional
        Operations per sample that remain in the weights of the plan.
    inputs : Tensor of shape (n, ...), optional
        Needed for `target_macs`.

    Returns
    -------
    dict of WeightView to float

    Raises
    ------
    ValueError
        If not exactly one target is given, or it is out of range.
    """
    if (target_rate is None) == (target_macs is None):
        raise ValueError('rates="auto" needs either target_rate or target_macs')
    views = list(plan)
    if target_rate is not None:
        costs = [float(view.numel) for view in views]
        budget = sum(costs) * (1 - sparsity_of_rate(target_rate, "target_rate"))
    else:
        costs = _operations(model, views, inputs)
        budget = float(target_macs or 0)
        if not 0 < budget <= sum(costs):
            raise ValueError(
                f"target_macs={target_macs} must be above 0 and at most the {sum(costs):.0f} "
                "operations per sample of the dense weights"
            )
    shares = [_energy_shares(view.of(model).detach(), plan[view]) for view in views]
    kept = _fill(shares, costs, budget)
    return {
        view: len(share) / count for view, share, count in zip(views, shares, kept, strict=True)
    }


def _fill(shares: Sequence[Tensor], costs: Sequence[float], budget: float) -> list[int]:
    """How many groups of each weight to keep; `shares` are sorted, largest first."""
    least = [max(1, math.ceil(len(share) * _LEAST_DENSITY)) for share in shares]
    # the first groups are free of the ranking, and paid for first
    paid = sum(cost * n / len(s) for s, cost, n in zip(shares, costs, least, strict=True))
    values, prices, owners = [], [], []
    for i, (share, cost, n) in enumerate(zip(shares, costs, least, strict=True)):
        price = cost / len(share)
        values.append(share[n:] / max(price, torch.finfo(torch.float64).tiny))
        prices.append(torch.full((len(share) - n,), price, dtype=torch.float64))
        owners.append(torch.full((len(share) - n,), i))
    order = torch.cat(values).argsort(descending=True, stable=True)
    spent = paid + torch.cat(prices)[order].cumsum(0)
    # half a group of tolerance: a budget that is met exactly must not lose one to rounding
    chosen = torch.cat(owners)[order][spent <= budget * (1 + 1e-9)]
    more = torch.bincount(chosen, minlength=len(shares)).tolist()
    return [n + extra for n, extra in zip(least, more, strict=True)]


def _energy_shares(weight: Tensor, scheme: Scheme) -> Tensor:
    """Squared norm of each group as a share of the whole, largest first, float64."""
    energy = weight.double().square()
    whole = energy.sum()
    groups = energy.flatten()
    if hasattr(scheme, "group_norms"):
        of_groups = scheme.group_norms(weight.double()).square()
        # groups that overlap, or that leave weights out, say nothing of single counts
        if torch.isclose(of_groups.sum(), whole, rtol=1e-6):
            groups = of_groups
    return groups.sort(descending=True).values / whole.clamp_min(torch.finfo(torch.float64).tiny)


def _operations(
    model: nn.Module, views: Sequence[WeightView], inputs: Tensor | None
) -> list[float]:
    if inputs is None:
        raise ValueError("target_macs needs data: the size of the inputs decides the operations")
    counts = macs(model, inputs)
    missing = [view.name for view in views if view.name not in counts]
    if missing:
        raise ValueError(f"the model does not use {', '.join(missing)} on these inputs")
    return [counts[view.name] for view in views]


def _at_rate(view: WeightView, scheme: Any, rate: float) -> Scheme:
    sparsity = sparsity_of_rate(rate, f"rate of {view.name}")
    if not hasattr(scheme, "with_sparsity"):
        raise ValueError(
            f"{view.name}: {type(scheme).__name__} has a fixed sparsity of {scheme.sparsity:.4g}; "
            "leave its rate out, or combine it with another scheme by &"
        )
    return scheme.with_sparsity(sparsity)
