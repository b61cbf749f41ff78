"""Which scheme each layer of a model gets, so that a recipe fits it and reaches its rate."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from torch import nn

from embcompress.pruning.base import Scheme, kept_count
from embcompress.pruning.blocks import BlockColumn, BlockRow
from embcompress.pruning.kernels import SPM, Connectivity, KernelPattern
from embcompress.pruning.layers import WeightView, prunable_weights
from embcompress.pruning.overlapping import RowColumn
from embcompress.pruning.patterns import MAX_LENGTH, extract_library
from embcompress.pruning.rates import sparsity_of_rate
from embcompress.pruning.schemes import Filter

__all__ = [
    "Plan",
    "blocks_plan",
    "check_reach",
    "general_plan",
    "is_recurrent",
    "last_layer",
    "pattern_plan",
    "phases_plan",
    "removed",
    "vector_scheme",
    "views_of",
    "without_classes",
]

#: Name of a weight -> its scheme.
Plan: TypeAlias = dict[str, Scheme]

# a recipe must come so near to the rate that is asked for; the rest is rounding of counts
_NEAR = 0.75
# lengths of vectors are chosen near that of a 3x3 kernel
_KERNEL = 9


def removed(recipe: str, rate: float) -> float:
    """Share removed at a rate; raises unless the rate is more than 1."""
    sparsity = sparsity_of_rate(rate)
    if sparsity == 0:
        raise ValueError(f"{recipe}: rate={rate} removes nothing; it must be more than 1")
    return sparsity


def views_of(recipe: str, network: nn.Module, skip: Iterable[str] | None) -> list[WeightView]:
    """Weights that may be pruned; raises if there are none."""
    views = prunable_weights(network, skip=skip or ())
    if not views:
        left = ", all others are skipped" if prunable_weights(network) else ""
        raise ValueError(f"{recipe}: the model has no Linear, Conv2d, GRU or LSTM to prune{left}")
    return views


def last_layer(network: nn.Module) -> str | None:
    """Name of the weight whose rows are the outputs of the model; None if there is none."""
    layers = [view for view in prunable_weights(network) if view.kind in ("linear", "conv")]
    return layers[-1].name if layers else None


def without_classes(
    network: nn.Module, views: Sequence[WeightView], skip: Iterable[str] | None
) -> list[WeightView]:
    """Leave out the last layer unless `skip` is given, or there is no other.

    Where rows go, units of the layer before are lost, and nothing tells the columns of the last
    layer which: pruned by itself, it would keep others.
    """
    last = last_layer(network)
    others = [view for view in views if view.name != last]
    return others if skip is None and others else list(views)


def is_recurrent(view: WeightView) -> bool:
    """Whether a weight is a gate of a recurrent layer."""
    return view.kind not in ("linear", "conv")


def general_plan(
    recipe: str,
    network: nn.Module,
    scheme: str | Scheme,
    rate: float,
    skip: Iterable[str] | None,
) -> Plan:
    """One scheme for all weights that it fits.

    Parameters
    ----------
    recipe : str
    network : Module
    scheme : str or Scheme
        A name such as "column" or "block-row", or a scheme, which gets the rate.
    rate : float
    skip : iterable of str or None
        None leaves out the last layer if the scheme removes rows.

    Returns
    -------
    dict of str to Scheme

    Raises
    ------
    ValueError
        If the scheme is unknown, fits no layer, or cannot reach the rate.
    """
    part = _scheme_of(scheme, removed(recipe, rate))
    views = views_of(recipe, network, skip)
    if skip is None and any(isinstance(p, (Filter, RowColumn)) for p in part.parts):
        last = last_layer(network)
        views = [view for view in views if view.name != last]
        if not views:
            raise ValueError(
                f"{recipe}: the only layer, {last}, has the classes as its rows; use a scheme "
                "that keeps rows, or skip=() to prune it all the same"
            )
    plan: Plan = {}
    problems = []
    for view in views:
        try:
            part.check(view.shape, view.kind)
        except ValueError as error:
            problems.append(f"{view.name}: {error}")
        else:
            plan[view.name] = part
    if not plan:
        raise ValueError(f"{recipe}: the scheme fits no layer of the model; {problems[0]}")
    check_reach(recipe, network, plan, rate)
    return plan


def _scheme_of(scheme: str | Scheme, sparsity: float) -> Scheme:
    from embcompress.pruning import SCHEMES  # this module is imported by that one

    if isinstance(scheme, str):
        if scheme not in SCHEMES:
            raise ValueError(f"no scheme {scheme!r}; there are: {', '.join(sorted(SCHEMES))}")
        kind: Any = SCHEMES[scheme]
        try:
            made: Scheme = kind(sparsity=sparsity)
        except TypeError:
            raise ValueError(
                f"{scheme!r} has more parameters than its sparsity: give the scheme itself, such "
                "as NM(1, 4) or KernelPattern() & Connectivity(0.5)"
            ) from None
        return made
    if not isinstance(scheme, Scheme):
        raise TypeError(f"scheme={scheme!r} is neither a name nor a scheme")
    # a scheme whose sparsity is fixed must have the rate: check_reach will tell
    adjusted: Scheme = (
        scheme.with_sparsity(sparsity) if hasattr(scheme, "with_sparsity") else scheme
    )
    return adjusted


def check_reach(recipe: str, network: nn.Module, plan: Mapping[str, Scheme], rate: float) -> None:
    """Raise unless the counts of a plan come near a rate.

    Parameters
    ----------
    recipe : str
    network : Module
    plan : mapping of str to Scheme
    rate : float

    Raises
    ------
    ValueError
        Saying what is reached.
    """
    total = kept = 0
    for view in prunable_weights(network):
        if view.name in plan:
            total += view.numel
            kept += int(plan[view.name].mask(view.of(network).detach().abs()).sum())
    reached = total / max(kept, 1)
    if not _NEAR * rate <= reached <= rate / _NEAR:
        raise ValueError(
            f"{recipe}: on layers of these sizes the counts give a rate of {reached:.3g}, not "
            f"{rate:g}: ask for that, or use larger blocks or another scheme"
        )


def blocks_plan(
    network: nn.Module,
    views: Sequence[WeightView],
    sparsity: float,
    block: tuple[int, int],
    mode: str,
    balanced: bool,
) -> Plan:
    """Rows or columns (or both) inside blocks; of the last layer, columns alone."""
    share = 1 - math.sqrt(1 - sparsity) if mode == "both" else sparsity
    last = last_layer(network)
    plan: Plan = {}
    for view in views:
        height = min(block[0], view.shape[0])
        width = min(block[1], view.shape[1]) * math.prod(view.shape[2:])
        # tiles inside which the counts are equal need both sides
        row: Scheme = BlockRow(
            share, width=width, height=height if balanced else None, balanced=balanced
        )
        column: Scheme = BlockColumn(
            sparsity if view.name == last else share,
            height=height, width=width if balanced else None, balanced=balanced,
        )  # fmt: skip
        if mode == "column" or view.name == last:
            plan[view.name] = column
        else:
            plan[view.name] = row if mode == "row" else row & column
    return plan


def phases_plan(
    network: nn.Module,
    views: Sequence[WeightView],
    rate: float,
    column_rate: float,
    n_blocks: int,
    n_row_blocks: int,
) -> tuple[Plan, Plan]:
    """Columns in row blocks, and these with rows in column blocks (RTMobile).

    Rows make up for the rounding of columns. The first plan is empty if no columns go.
    """
    last = last_layer(network)
    first: Plan = {}
    both: Plan = {}
    for view in views:
        columns = math.prod(view.shape[1:])
        blocks = min(n_row_blocks, view.shape[0])
        if view.name == last:
            both[view.name] = BlockColumn(1 - 1 / rate, n_blocks=1)
            if column_rate > 1:
                first[view.name] = both[view.name]
            continue
        row_rate = rate
        if column_rate > 1:
            first[view.name] = BlockColumn(1 - 1 / column_rate, n_blocks=blocks)
            row_rate = max(1.0, rate * kept_count(columns, 1 - 1 / column_rate) / columns)
        row = BlockRow(1 - 1 / row_rate, n_blocks=min(n_blocks, columns))
        both[view.name] = first[view.name] & row if view.name in first else row
    return first, both


def vector_scheme(view: WeightView, density: float, n_patterns: int | None) -> SPM | None:
    """Pattern scheme of short vectors of inputs that keeps nearly a density.

    Parameters
    ----------
    view : WeightView
        Of a matrix.
    density : float
    n_patterns : int or None

    Returns
    -------
    SPM or None
        None if no length up to 16 divides the number of inputs.
    """
    choices = []
    for length in range(2, MAX_LENGTH + 1):
        if view.shape[1] % length == 0:
            n = min(length - 1, max(1, round(length * density)))
            error = abs(math.log(n / length / density))
            choices.append((round(error, 2), abs(length - _KERNEL), n, length))
    if not choices:
        return None
    _, _, n, length = min(choices)
    return SPM(n, n_patterns, length)


def pattern_plan(
    recipe: str,
    network: nn.Module,
    rate: float,
    n_patterns: int,
    library: Sequence[int] | None,
    skip: Iterable[str] | None,
    *,
    balanced: bool = True,
) -> Plan:
    """Patterns and connectivity of 3x3 kernels; short vectors with patterns elsewhere.

    The first convolution has patterns alone. Kernels of other sizes have connectivity alone.
    Matrices are cut into short vectors; those whose inputs no length divides stay dense. What
    is left of the rate after these is the connectivity's.

    Raises
    ------
    ValueError
        If the rate cannot be reached, or nothing can be pruned.
    """
    density = 1 - removed(recipe, rate)
    views = views_of(recipe, network, skip)
    convolutions = [view for view in views if view.kind == "conv"]
    plan: Plan = {}
    for view in views:
        vectors = None if view.kind == "conv" else vector_scheme(view, density, n_patterns)
        if vectors is not None:
            plan[view.name] = vectors.distilled(view.of(network).detach())
    if not plan and not convolutions:
        raise ValueError(
            f"{recipe} needs 3x3 kernels, or layers whose inputs are a multiple of 2 to 16"
        )
    kernels = [view for view in convolutions if view.shape[2:] == (3, 3)]
    patterns = None
    if kernels:
        if library is None:
            library = extract_library([v.of(network).detach() for v in kernels], n_patterns)
        patterns = KernelPattern(tuple(library))
        if density > (1 - patterns.sparsity) * (1 + 1e-6):
            raise ValueError(
                f"{recipe}: patterns alone make 3x3 kernels {9 / patterns.n_kept:.4g} times "
                f"smaller; rate={rate:g} is below that"
            )
    # the network's first, not the first that is not skipped
    first = next((v.name for v in prunable_weights(network) if v.kind == "conv"), "")
    _connect(recipe, convolutions, plan, patterns, first, density, balanced)
    check_reach(recipe, network, plan, rate)
    return plan


def _connect(
    recipe: str,
    convolutions: Sequence[WeightView],
    plan: Plan,
    patterns: KernelPattern | None,
    first: str,
    density: float,
    balanced: bool,
) -> None:
    """Add the convolutions to a plan, at the density that is left for them."""
    rest = [view for view in convolutions if view.name != first]
    budget = density * sum(view.numel for view in convolutions)
    for view in convolutions:
        if view.name == first and view.shape[2:] == (3, 3) and patterns is not None:
            plan[view.name] = patterns
            budget -= view.numel * (1 - patterns.sparsity)
    if first not in plan:  # stays dense, and does not count
        budget = density * sum(view.numel for view in rest)
    if not rest:
        return
    share = budget / sum(view.numel for view in rest)
    if share <= 0:
        raise ValueError(
            f"{recipe}: the first convolution keeps its patterns, which is more than the rate of "
            f"{1 / density:g} leaves; leave it out with skip={[first]!r}"
        )
    for view in rest:
        if patterns is not None and view.shape[2:] == (3, 3):
            kept = min(1.0, share / (1 - patterns.sparsity))
            # connectivity before patterns: whole kernels are judged by all their weights
            connected = Connectivity(1 - kept, balanced) & patterns
            plan[view.name] = connected if kept < 1 else patterns
        else:
            plan[view.name] = Connectivity(1 - min(1.0, share), balanced)
