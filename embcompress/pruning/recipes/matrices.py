"""Recipes of rows and columns of matrices: whole ones, and those inside blocks."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Literal, Unpack

from embcompress.progress import ProgressBar
from embcompress.pruning.overlapping import RowColumn
from embcompress.pruning.recipes.plans import (
    Plan,
    check_reach,
    is_recurrent,
    last_layer,
    phases_plan,
    removed,
    views_of,
    without_classes,
)
from embcompress.pruning.recipes.training import Training, TrainingOptions, Work, network_of
from embcompress.pruning.result import PruneResult
from embcompress.pruning.schemes import Column
from embcompress.pruning.solvers import PrimalProximal

__all__ = ["rtmobile", "ss_auto"]

# up to this rate the released models have rows alone
_ROWS_ALONE = 10.0
_MOST_COLUMNS = 16.0


def rtmobile(
    model: Any,
    X: Any,
    y: Any = None,
    *,
    rate: float = 10.0,
    column_rate: float | None = None,
    n_blocks: int = 4,
    n_row_blocks: int = 1,
    skip: Iterable[str] | None = None,
    bar: ProgressBar | None = None,
    random_state: int = 0,
    **training: Unpack[TrainingOptions],
) -> PruneResult:
    r"""Columns inside row blocks, then rows inside column blocks, by ADMM, for recurrent layers.

    Dong et al., "RTMobile: Beyond Real-Time Mobile Acceleration of RNNs for Speech Recognition"
    (DAC 2020, arXiv 2002.11474). As we read the released logs and the group's code:

    - every gate is a matrix of its own, for the inputs and for the states;
    - phase 1: in each of `n_row_blocks` blocks of rows the same share of columns goes;
    - phase 2, with those columns gone: in each of `n_blocks` blocks of columns the same share of
      rows goes; both by ADMM, ``loss + rho / 2 |W - Z + U|^2``;
    - the cut; retraining.

    Parameters
    ----------
    model, X, y
        See :func:`reweighted_unified`. Of a model with recurrent layers these alone are pruned,
        as in the paper; in others linear layers and convolutions are.
    rate : float, default 10
    column_rate : float, optional
        Share of the rate that columns have, as a factor from 1 to `rate`. Default, our choice:
        1 up to a rate of 10 (as the released model); beyond, the square root, at most 16.
    n_blocks : int, default 4
        Blocks of columns, as in the released models; fewer where there are fewer columns.
    n_row_blocks : int, default 1
        Blocks of rows, as in the released models.
    skip : iterable of str, optional
        Names or patterns of weights that stay dense. Default: all but recurrent layers, if
        there are such; else the last layer, unless it is the only one. If it is pruned, it loses
        whole columns, so that no class is lost.
    bar, random_state, **training
        See :func:`reweighted_unified`.

    Returns
    -------
    PruneResult

    Raises
    ------
    ValueError, NonFiniteLossError
        As :func:`reweighted_unified`.
    """
    removed("rtmobile", rate)
    if column_rate is None:
        column_rate = 1.0 if rate <= _ROWS_ALONE else min(math.sqrt(rate), _MOST_COLUMNS)
    if not 1 <= column_rate <= rate:
        raise ValueError(f"column_rate={column_rate} must be from 1 to rate={rate:g}")
    if min(n_blocks, n_row_blocks) < 1:
        raise ValueError(f"n_blocks={n_blocks} and n_row_blocks={n_row_blocks} must be positive")
    network = network_of(model)
    views = views_of("rtmobile", network, skip)
    if skip is None and any(map(is_recurrent, views)):
        views = [view for view in views if is_recurrent(view)]
    views = without_classes(network, views, skip)
    columns, both = phases_plan(network, views, rate, column_rate, n_blocks, n_row_blocks)
    check_reach("rtmobile", network, both, rate)
    options = Training(**training)
    work = Work.of("rtmobile", model, X, y, options, bar, random_state)
    if not columns:
        return work.retrained(work.solve(work.training.admm(), both))
    half = work.training.admm(share=0.5)
    first = work.solve(half, columns)
    result = work.solve(half, both, start=first.model)
    result.history[:0] = first.history
    return work.retrained(result)


def ss_auto(
    model: Any,
    X: Any,
    y: Any = None,
    *,
    rate: float = 4.0,
    penalty: float | None = None,
    row_penalty: float = 1.0,
    column_penalty: float = 1.0,
    form: Literal["hard", "soft", "mcp"] = "hard",
    rho: float = 0.1,
    skip: Iterable[str] | None = None,
    bar: ProgressBar | None = None,
    random_state: int = 0,
    **training: Unpack[TrainingOptions],
) -> PruneResult:
    r"""Rows and columns at once, each layer as much as one common penalty takes.

    Li et al., "SS-Auto: A Single-Shot, Automatic Structured Weight Pruning Framework of DNNs
    with Ultra-High Efficiency" (arXiv 2001.08839). Only the abstract was available; this is our
    design:

    - primal: train on ``loss + rho / 2 |W - V|^2``;
    - proximal: ``V = prox(W)`` of a penalty on all row norms and all column norms, with the
      hard threshold, which does not shrink what stays;
    - one penalty for all layers, so that no rates per layer are given; where a rate is asked
      for, that penalty is found which leaves it;
    - the cut; retraining.

    Parameters
    ----------
    model, X, y
        See :func:`reweighted_unified`. For linear layers and convolutions.
    rate : float, default 4
        Of all pruned layers together.
    penalty : float, optional
        lambda itself, instead of a rate.
    row_penalty, column_penalty : float, default 1
        Factors of lambda.
    form : {"hard", "soft", "mcp"}, default "hard"
    rho : float, default 0.1
    skip : iterable of str, optional
        Names or patterns of weights that stay dense. Default: the last layer, unless it is the
        only one. If it is pruned, it loses columns only, so that no class is lost.
    bar, random_state, **training
        See :func:`reweighted_unified`.

    Returns
    -------
    PruneResult

    Raises
    ------
    ValueError, NonFiniteLossError
        As :func:`reweighted_unified`; also if the model has recurrent layers that are not
        skipped, whose units would have to leave all gates at once.
    """
    sparsity = removed("ss_auto", rate)
    network = network_of(model)
    views = views_of("ss_auto", network, skip)
    recurrent = [view.module for view in views if is_recurrent(view)]
    if recurrent:
        raise ValueError(
            f"ss_auto fits linear layers and convolutions, not the recurrent layer "
            f"{recurrent[0]!r}: use rtmobile, or skip={[recurrent[0]]!r}"
        )
    last = last_layer(network)
    views = without_classes(network, views, skip)
    plan: Plan = {
        view.name: Column(sparsity) if view.name == last else RowColumn(sparsity) for view in views
    }
    if penalty is None:
        check_reach("ss_auto", network, plan, rate)
    options = Training(**training)
    work = Work.of("ss_auto", model, X, y, options, bar, random_state)
    options = work.training
    solver = PrimalProximal(
        penalty=penalty, target_rate=rate if penalty is None else None, form=form, rho=rho,
        row_penalty=row_penalty, column_penalty=column_penalty, epochs=options.epochs,
        learning_rate=options.learning_rate or PrimalProximal.learning_rate,
        optimizer=options.optimizer, weight_decay=options.weight_decay,
        momentum=options.momentum,
    )  # fmt: skip
    return work.retrained(work.solve(solver, plan))
