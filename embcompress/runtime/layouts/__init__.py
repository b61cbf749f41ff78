"""How the weights of one pruned layer are stored: exactly, without their zeros, in named arrays.

NumPy only. Arrays go into the safetensors file of a program; kernels are packed from
`Layout.to_dense` when it is loaded. docs/runtime-layouts.md describes every array.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from embcompress.runtime.layouts.base import Layout, Misfit, checked_weight
from embcompress.runtime.layouts.bspc import BSPC
from embcompress.runtime.layouts.compact import Compact
from embcompress.runtime.layouts.csr import CSR
from embcompress.runtime.layouts.dense import Dense
from embcompress.runtime.layouts.fkw import FKW
from embcompress.runtime.layouts.spm import SPM
from embcompress.runtime.layouts.strips import Strips

__all__ = [
    "BSPC",
    "CSR",
    "FKW",
    "LAYOUTS",
    "SPM",
    "Compact",
    "Dense",
    "Layout",
    "Strips",
    "fits",
    "smallest",
]

#: Layouts by name. The names of those that schemes of pruning ask for are the same.
LAYOUTS: Mapping[str, type[Layout]] = MappingProxyType(
    {layout.name: layout for layout in (Dense, Compact, Strips, BSPC, FKW, SPM, CSR)}
)


def fits(name: str, weight: npt.NDArray, mask: npt.NDArray[np.bool_] | None = None) -> bool:
    """Whether a layout can hold a weight: only FKW and SPM cannot hold every one.

    Parameters
    ----------
    name : str
        Key in `LAYOUTS`.
    weight, mask
        As `Layout.from_dense` takes them.

    Returns
    -------
    bool

    Raises
    ------
    ValueError
        If there is no such layout, or the weight is none.

    Examples
    --------
    >>> import numpy as np
    >>> from embcompress.runtime.layouts import fits
    >>> fits("fkw", np.ones((8, 4, 3, 3), np.float32)), fits("fkw", np.ones((8, 4), np.float32))
    (True, False)
    """
    if name not in LAYOUTS:
        raise ValueError(f"layout {name!r} is none of {', '.join(LAYOUTS)}")
    return _packed(LAYOUTS[name], *checked_weight(weight, mask)) is not None


def smallest(weight: npt.NDArray, mask: npt.NDArray[np.bool_] | None = None) -> Layout:
    """Store a weight in the layout that takes the fewest bytes, weights and index together.

    Parameters
    ----------
    weight, mask
        As `Layout.from_dense` takes them.

    Returns
    -------
    Layout
        Of equals, the first in `LAYOUTS`.

    Examples
    --------
    >>> import numpy as np
    >>> from embcompress.runtime.layouts import smallest
    >>> weight = np.zeros((64, 64), np.float32)
    >>> weight[::3, [3, 5, 40]] = 1
    >>> smallest(weight).name
    'compact'
    """
    checked = checked_weight(weight, mask)
    packed = [_packed(layout, *checked) for layout in LAYOUTS.values()]
    return min(
        (layout for layout in packed if layout is not None),
        key=lambda layout: layout.nbytes + layout.index_nbytes,
    )


def _packed(
    layout: type[Layout], weight: npt.NDArray, kept: npt.NDArray[np.bool_]
) -> Layout | None:
    try:
        return layout._pack(weight, kept)
    except Misfit:
        return None
