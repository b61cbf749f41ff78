"""Which layout a weight gets, and how it is cut for the kernels.

By rule, what a product costs is counted in vectors of 16 weights that pass through the processor;
the rule knows no clock, so the same weights always get the same layout. `compile(tune=True)` takes
the time instead.
"""

from __future__ import annotations

import numpy as np

from embcompress.runtime.matrices import LANES, Panels, cut, strips
from embcompress.runtime.records import Weight

__all__ = ["choose", "panels_of"]

# Measured in vectors of weights: a single weight with one row at a time, and with 16; an output.
_SINGLE, _SINGLE_OF_16, _OUTPUT = 0.65, 0.08, 2.0
# a sparse form must save at least so much
_GAIN = 0.95


def panels_of(weight: Weight) -> Panels | None:
    """How a matrix with a layout is cut into panels; None for single weights.

    Parameters
    ----------
    weight : Weight
        Of two axes.

    Returns
    -------
    Panels or None
    """
    if weight.layout in ("csr", "spm"):
        return None
    if weight.layout == "dense":
        return strips(np.ones_like(weight.kept))
    if weight.layout == "strips":
        return strips(weight.kept)
    return cut(weight.kept)


def choose(weight: Weight, batch_size: int = 1) -> str:
    """Choose the layout of a matrix by rule.

    Parameters
    ----------
    weight : Weight
        Of two axes.
    batch_size : int, default 1
        Rows at a time; single weights gain most from many.

    Returns
    -------
    str
    """
    kept, quads = weight.kept, weight.is_int8
    n_out, n_in = kept.shape
    dense = -(-n_out // LANES) * (-(-n_in // 4) if quads else n_in)
    single = _SINGLE if batch_size < 3 else _SINGLE_OF_16
    by_strips, best = strips(kept), cut(kept)
    costs = {"dense": _GAIN * dense, "csr": single * weight.n_kept + _OUTPUT * n_out}
    extra = best.cost(n_out) - best.vectors()
    costs["bspc"] = best.vectors(quads) + extra
    costs["strips"] = by_strips.vectors(quads)
    if best.in_order:
        del costs["bspc"]
    chosen = min(costs, key=lambda name: costs[name])
    if chosen == "bspc" and _is_rectangle(kept):
        return "compact"
    return chosen


def _is_rectangle(kept: np.ndarray) -> bool:
    rows, columns = kept.any(axis=1), kept.any(axis=0)
    return int(rows.sum()) * int(columns.sum()) == int(kept.sum())
