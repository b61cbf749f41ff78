"""Which layout a weight gets, and how it is cut for the kernels.

By rule, what a product costs is counted in vectors of 16 weights that pass through the processor;
the rule knows no clock, so the same weights always get the same layout. `compile(tune=True)` takes
the time instead.
"""

from __future__ import annotations

import numpy as np

from embcompress.runtime.layouts import LAYOUTS, Layout, fits
from embcompress.runtime.matrices import LANES, Panels, cut, strips
from embcompress.runtime.records import Weight

__all__ = ["choose", "choose_filters", "panels_of", "smallest_exact"]

# Measured in vectors of weights: a single weight with one row at a time, and with 16; an output.
_SINGLE, _SINGLE_OF_16, _OUTPUT = 0.65, 0.08, 2.0
# Of convolutions: a weight of a kernel with its own pattern, against one of a panel.
_KERNEL_BY_KERNEL = 1.5
# layouts that run as panels
_PANELS = ("strips", "compact", "bspc")
# layouts of filters that run weight by weight
_SINGLES = ("fkw", "spm", "csr")
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
    best = cut(kept)
    panels = best.vectors(quads) + best.cost(n_out) - best.vectors()
    costs = {
        "panels": panels, "dense": _GAIN * dense, "csr": single * weight.n_kept + _OUTPUT * n_out,
    }  # fmt: skip
    chosen = min(costs, key=lambda name: costs[name])
    return _smallest(weight, _PANELS) if chosen == "panels" else chosen


def _smallest(weight: Weight, names: tuple[str, ...]) -> str:
    """Which of some layouts, that run alike, takes the fewest bytes; the first wins a tie."""
    sizes = {}
    for name in names:
        if fits(name, weight.values, weight.kept):
            stored = LAYOUTS[name].from_dense(weight.values, weight.kept)
            sizes[name] = stored.nbytes + stored.index_nbytes
    return min(sizes, key=lambda name: sizes[name])


def smallest_exact(weight: Weight) -> Layout:
    """Store a weight in the layout that takes the fewest bytes and keeps the mask as it is.

    How a weight is stored has nothing to do with how it runs.

    Parameters
    ----------
    weight : Weight

    Returns
    -------
    Layout
    """
    found: list[tuple[int, int, Layout]] = []
    for i, name in enumerate(LAYOUTS):
        if fits(name, weight.values, weight.kept):
            stored = LAYOUTS[name].from_dense(weight.values, weight.kept)
            found.append((stored.nbytes + stored.index_nbytes, i, stored))
    for _, _, stored in sorted(found, key=lambda entry: entry[:2]):
        if not stored.fills or np.array_equal(stored.mask(), weight.kept):
            return stored
    raise AssertionError("single weights keep every mask")


def choose_filters(weight: Weight) -> str:
    """Choose the layout of the filters of a convolution by rule.

    Parameters
    ----------
    weight : Weight
        Of four axes.

    Returns
    -------
    str
        ``"dense"``, ``"strips"``, ``"compact"`` or ``"bspc"`` run as panels of 16 filters,
        ``"fkw"``, ``"spm"`` and ``"csr"`` with a list for each filter.
    """
    kept = weight.kept
    matrix = kept.reshape(len(kept), -1)
    dense = -(-len(kept) // LANES) * matrix.shape[1]
    best = cut(matrix)
    kernels = _KERNEL_BY_KERNEL * weight.n_kept / LANES
    if min(best.vectors(), kernels) > _GAIN * dense:
        return "dense"
    if kernels < best.vectors():
        return _smallest(weight, _SINGLES)
    return _smallest(weight, _PANELS)
