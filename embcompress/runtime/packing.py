"""From weights to the arrays that the kernels read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embcompress.runtime.arena import Arena
from embcompress.runtime.kernels import fields as f
from embcompress.runtime.matrices import LANES, Panels

__all__ = ["Arenas", "pack_csr", "pack_panels", "pack_panels_int8"]

Floats = npt.NDArray[np.float32]


@dataclass(eq=False)
class Arenas:
    """What the steps of a program read, by type: float32, int8, int32."""

    floats: Arena
    octets: Arena
    ints: Arena

    @classmethod
    def empty(cls) -> Arenas:
        """Nothing yet."""
        return cls(Arena(np.float32), Arena(np.int8), Arena(np.int32))


def pack_csr(weight: Floats, bias: Floats, kept: npt.NDArray[np.bool_], to: Arenas) -> dict:
    """Single weights, row by row.

    Parameters
    ----------
    weight : ndarray of float32, shape (outputs, inputs)
    bias : ndarray of float32, shape (outputs,)
    kept : ndarray of bool, shape (outputs, inputs)
    to : Arenas

    Returns
    -------
    dict of int to int
        Columns of the step's row in the table.
    """
    starts = np.r_[0, np.cumsum(kept.sum(axis=1))]
    return {
        f.LAYOUT: f.CSR,
        f.VALUES: to.floats.add(weight[kept]),
        f.BIAS: to.floats.add(_filled(bias)),
        f.STARTS: to.ints.add(starts),
        f.COLUMNS: to.ints.add(np.nonzero(kept)[1]),
        f.SCATTER_COUNTS: -1,
    }


def pack_panels(weight: Floats, bias: Floats, panels: Panels, to: Arenas) -> dict:
    """Panels of float32; see :func:`pack_csr`."""
    parts = []
    for panel in panels.panels:
        values = np.zeros((len(panel.columns), LANES), np.float32)
        values[:, : len(panel.rows)] = weight[np.ix_(panel.rows, panel.columns)].T
        parts.append(values.ravel())
    counts = [len(panel.columns) for panel in panels.panels]
    columns = [panel.columns for panel in panels.panels]
    return {
        f.LAYOUT: f.PANELS,
        f.VALUES: to.floats.add(_joined(parts, np.float32)),
        f.STARTS: to.ints.add(np.r_[0, np.cumsum(counts, dtype=np.int64)]),
        f.COLUMNS: to.ints.add(_joined(columns, np.int64)),
        **_outputs(bias, panels, to),
    }


def pack_panels_int8(
    codes: npt.NDArray[np.int8], scales: Floats, bias: Floats, panels: Panels, to: Arenas
) -> dict:
    """Panels of int8, four inputs at a time.

    Parameters
    ----------
    codes : ndarray of int8, shape (outputs, inputs)
    scales : ndarray of float32, shape (outputs,)
        ``weight = scales[:, None] * codes``.
    bias : ndarray of float32, shape (outputs,)
    panels : Panels
    to : Arenas

    Returns
    -------
    dict of int to int
    """
    n_inputs = codes.shape[1]
    order = _order(panels, n_inputs)
    place = np.full(n_inputs, -1)
    place[order[order >= 0]] = np.flatnonzero(order >= 0)
    n_bytes = -(-len(order) // 4) * 4
    values, quads, begin = [], [], []
    for panel in panels.panels:
        at = place[panel.columns]
        numbers = np.unique(at // 4)
        block = np.zeros((LANES, 4 * len(numbers)), np.int8)
        where = np.searchsorted(numbers, at // 4) * 4 + at % 4
        block[: len(panel.rows), where] = codes[np.ix_(panel.rows, panel.columns)]
        begin.append(-128 * block.sum(axis=1, dtype=np.int64))
        values.append(block.reshape(LANES, -1, 4).transpose(1, 0, 2).ravel())
        quads.append(numbers)
    identity = np.array_equal(order, np.arange(n_inputs))
    return {
        f.LAYOUT: f.PANELS_INT8,
        f.VALUES: to.octets.add(_joined(values, np.int8)),
        f.STARTS: to.ints.add(np.r_[0, np.cumsum([len(q) for q in quads], dtype=np.int64)]),
        f.COLUMNS: to.ints.add(_joined(quads, np.int64)),
        f.BEGIN: to.ints.add(_joined(begin, np.int64)),
        f.STEPS: to.floats.add(_by_panel(scales, panels)),
        f.ORDER: -1 if identity else to.ints.add(_padded(order, n_bytes)),
        f.N_BYTES: n_bytes,
        **_outputs(bias, panels, to),
    }


def _outputs(bias: Floats, panels: Panels, to: Arenas) -> dict:
    """Biases, and how outputs are put together."""
    fields = {f.N_PANELS: len(panels.panels)}
    if panels.in_order:
        return fields | {f.BIAS: to.floats.add(_by_panel(bias, panels)), f.SCATTER_COUNTS: -1}
    rows = np.zeros((len(panels.panels), LANES), np.int64)
    for places, panel in zip(rows, panels.panels, strict=True):
        places[: len(panel.rows)] = panel.rows
    return fields | {
        f.BIAS: to.floats.add(np.zeros(LANES * len(panels.panels), np.float32)),
        f.SCATTER_COUNTS: to.ints.add([len(panel.rows) for panel in panels.panels]),
        f.SCATTER_ROWS: to.ints.add(rows),
        f.SCATTER_BIAS: to.floats.add(_filled(bias)),
    }


def _order(panels: Panels, n_inputs: int) -> npt.NDArray[np.int64]:
    """Which input comes as which byte: inputs that are read together lie together.

    -1 fills up to whole quads where lists of inputs do not overlap.
    """
    lists: Mapping[bytes, npt.NDArray[np.int64]] = {
        panel.columns.tobytes(): panel.columns for panel in panels.panels
    }
    used = sum(len(columns) for columns in lists.values())
    if panels.in_order or used > n_inputs:
        return np.arange(n_inputs)
    parts = [_padded(columns, -(-len(columns) // 4) * 4) for columns in lists.values()]
    order = _joined(parts, np.int64)
    seen = order[order >= 0]
    # lists that overlap without being equal: keep the inputs as they are
    return order if len(np.unique(seen)) == len(seen) else np.arange(n_inputs)


def _padded(numbers: npt.NDArray[np.int64], size: int) -> npt.NDArray[np.int64]:
    return np.concatenate([numbers, np.full(size - len(numbers), -1)])


def _by_panel(values: Floats, panels: Panels) -> Floats:
    """One number for each place of each panel."""
    found = np.zeros((len(panels.panels), LANES), np.float32)
    for row, panel in zip(found, panels.panels, strict=True):
        row[: len(panel.rows)] = values[panel.rows]
    return found.ravel()


def _filled(values: Floats) -> Floats:
    """Padded to whole vectors."""
    size = -(-len(values) // LANES) * LANES
    return np.concatenate([values, np.zeros(size - len(values), np.float32)])


def _joined(parts: list, dtype: type) -> npt.NDArray:
    return np.concatenate(parts).astype(dtype) if parts else np.zeros(0, dtype)
