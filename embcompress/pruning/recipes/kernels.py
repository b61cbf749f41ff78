"""Recipes of patterns: in kernels, and in short vectors of matrices."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Unpack

from embcompress.progress import ProgressBar
from embcompress.pruning.kernels import SPM
from embcompress.pruning.layers import WeightView, select_views
from embcompress.pruning.objectives import LayerwiseReconstruction
from embcompress.pruning.patterns import MAX_LENGTH
from embcompress.pruning.recipes.plans import (
    Plan,
    check_reach,
    pattern_plan,
    removed,
    vector_scheme,
    views_of,
)
from embcompress.pruning.recipes.training import Training, TrainingOptions, Work, network_of
from embcompress.pruning.result import PruneResult
from embcompress.pruning.solvers import OneShot, Solver

__all__ = ["cocopie", "pattern_connectivity", "pcnn"]

_KERNEL = 9


def pcnn(
    model: Any,
    X: Any,
    y: Any = None,
    *,
    rate: float | None = None,
    n: int | Mapping[str, int] = 4,
    n_patterns: int = 16,
    skip: Iterable[str] | None = None,
    bar: ProgressBar | None = None,
    random_state: int = 0,
    **training: Unpack[TrainingOptions],
) -> PruneResult:
    r"""The same number of weights in every kernel, with few patterns.

    Tan et al., "PCNN: Pattern-based Fine-Grained Regular Pruning towards Optimizing CNN
    Accelerators" (DAC 2020, arXiv 2002.04997). As we read it:

    - of the C(9, n) patterns with n weights, each layer takes the `n_patterns` that keep most of
      its trained weights (pattern distillation; we maximize the energy kept greedily);
    - ADMM with ``Z = argmax_p |(W + U) * p|`` for each kernel; the cut; retraining.

    Matrices, of which the paper says nothing, are cut into vectors of 2 to 16 consecutive
    inputs, of a length that divides their number and comes nearest to the rate. Layers where
    there is none, and 1x1 kernels, stay dense.

    Parameters
    ----------
    model, X, y
        See :func:`reweighted_unified`.
    rate : float, optional
        Instead of `n`: the nearest number of weights of every kernel is taken.
    n : int or mapping of str to int, default 4
        Weights that stay of nine, for all layers, or by names and patterns (others have 4).
        The default is 2.25x.
    n_patterns : int, default 16
        At most so many in each layer: 4 bits of index per kernel.
    skip, bar, random_state, **training
        See :func:`reweighted_unified`; nothing is skipped by default.

    Returns
    -------
    PruneResult

    Raises
    ------
    ValueError, NonFiniteLossError
        As :func:`reweighted_unified`; also if no layer can be cut so.
    """
    network = network_of(model)
    views = views_of("pcnn", network, skip)
    densities = _densities(views, rate, n)
    plan: Plan = {}
    for view in views:
        scheme = _of_nine(view, densities[view.name], n_patterns)
        if scheme is not None:
            plan[view.name] = scheme.distilled(view.of(network).detach())
    if not plan:
        raise ValueError(
            "pcnn needs kernels of 2 to 16 weights, or layers whose inputs are a multiple of "
            "2 to 16"
        )
    if rate is not None:
        check_reach("pcnn", network, plan, rate)
    options = Training(**training)
    work = Work.of("pcnn", model, X, y, options, bar, random_state)
    return work.retrained(work.solve(work.training.admm(), plan))


def _densities(
    views: Sequence[WeightView], rate: float | None, n: int | Mapping[str, int]
) -> dict[str, float]:
    if rate is not None:
        return dict.fromkeys((v.name for v in views), 1 - removed("pcnn", rate))
    counts = n if isinstance(n, Mapping) else {"*": n}
    if not all(1 <= count < _KERNEL for count in counts.values()):
        raise ValueError(f"n={n} must be 1 to {_KERNEL - 1}: weights that stay of nine")
    found: dict[str, float] = {}
    for pattern, count in counts.items():
        for view in select_views(views, [pattern]):
            found.setdefault(view.name, count / _KERNEL)
    return {view.name: found.get(view.name, 4 / _KERNEL) for view in views}


def _of_nine(view: WeightView, density: float, n_patterns: int) -> SPM | None:
    if view.kind != "conv":
        return vector_scheme(view, density, n_patterns)
    length = math.prod(view.shape[2:])
    if not 2 <= length <= MAX_LENGTH:
        return None
    return SPM(min(length - 1, max(1, round(length * density))), n_patterns, length)


def pattern_connectivity(
    model: Any,
    X: Any,
    y: Any = None,
    *,
    rate: float = 5.0,
    n_patterns: int = 8,
    library: Sequence[int] | None = None,
    balanced: bool = True,
    skip: Iterable[str] | None = None,
    bar: ProgressBar | None = None,
    random_state: int = 0,
    **training: Unpack[TrainingOptions],
) -> PruneResult:
    r"""One of a few patterns in every 3x3 kernel, and whole kernels removed, by extended ADMM.

    PCONV (AAAI 2020, arXiv 1909.05073), PatDNN (ASPLOS 2020, arXiv 2001.00138) and Ma et al.,
    "An Image Enhancing Pattern-based Sparsity for Real-time Inference on Mobile Devices" (ECCV
    2020, arXiv 2001.07710). As we read them:

    - the library: for every trained 3x3 kernel the centre and its three largest neighbours,
      counted over the network, the most frequent ones kept;
    - ADMM with two auxiliary pairs,
      ``rho / 2 |W - Z + U|^2 + rho / 2 |W - Y + V|^2``, where Z has patterns
      (``argmax_p |K * p|``) and Y connectivity (the same number of kernels in each filter);
    - the cut, connectivity first; retraining.

    The first convolution has patterns alone. Kernels of other sizes have connectivity alone.
    Matrices, of which the papers say nothing, keep n of every few inputs with as many patterns
    (see :func:`pcnn`), or stay dense where no length fits.

    Parameters
    ----------
    model, X, y
        See :func:`reweighted_unified`.
    rate : float, default 5
        Of all pruned layers together; at least 2.25, which are patterns of four weights alone.
    n_patterns : int, default 8
        The papers use 4, 6, 8 and 12.
    library : sequence of int, optional
        Patterns, such as `FIXED_PATTERNS`. Default: from the kernels.
    balanced : bool, default True
        The same number of kernels in each filter.
    skip, bar, random_state, **training
        See :func:`reweighted_unified`; nothing is skipped by default.

    Returns
    -------
    PruneResult

    Raises
    ------
    ValueError, NonFiniteLossError
        As :func:`reweighted_unified`.
    """
    plan = pattern_plan(
        "pattern_connectivity", network_of(model), rate, n_patterns, library, skip,
        balanced=balanced,
    )  # fmt: skip
    options = Training(**training)
    work = Work.of("pattern_connectivity", model, X, y, options, bar, random_state)
    return work.retrained(work.solve(work.training.admm(), plan))


def cocopie(
    model: Any,
    X: Any,
    y: Any = None,
    *,
    rate: float = 5.0,
    n_patterns: int = 8,
    library: Sequence[int] | None = None,
    solver: Solver | None = None,
    skip: Iterable[str] | None = None,
    bar: ProgressBar | None = None,
    random_state: int = 0,
    **training: Unpack[TrainingOptions],
) -> PruneResult:
    r"""Patterns and connectivity, each layer prepared by itself, then the whole tuned.

    CoCoPIE (Liu et al., arXiv 2003.06700, CACM 2021) brings no solver of its own: CoCo-Gen has
    the zeros of PatDNN, CoCo-Tune (Wootz, PLDI 2019) pre-trains pruned blocks against the dense
    network and assembles them. As we put the two together:

    - the zeros of :func:`pattern_connectivity`, cut at once;
    - each layer, its zeros fixed, is trained to give what it gives in the dense network, fed by
      the layers before it: ``min |s(W A' + b) - s(W_dense A + b_dense)|^2``;
    - the whole is retrained.

    To choose among many rates per layer, reusing the blocks, is a search of its own.

    Parameters
    ----------
    model, X, y
        See :func:`reweighted_unified`.
    rate, n_patterns, library
        See :func:`pattern_connectivity`.
    solver : Solver, optional
        Finds the zeros. Default: `OneShot`.
    skip, bar, random_state, **training
        See :func:`reweighted_unified`; `epochs` are those of the layers, 5 each by default.

    Returns
    -------
    PruneResult

    Raises
    ------
    ValueError, NonFiniteLossError
        As :func:`reweighted_unified`.
    """
    network = network_of(model)
    plan = pattern_plan("cocopie", network, rate, n_patterns, library, skip)
    options = Training(**{"epochs": 5, **training})  # type: ignore[arg-type]
    work = Work.of("cocopie", model, X, y, options, bar, random_state)
    result = work.solve(OneShot() if solver is None else solver, plan)
    teacher = LayerwiseReconstruction(network)
    return work.retrained(work.retrained(result, objective=teacher, epochs=options.epochs))
