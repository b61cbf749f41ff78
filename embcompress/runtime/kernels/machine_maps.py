"""Steps on feature maps, one map at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from embcompress._compiled import compiled
from embcompress.runtime.kernels import fields as f
from embcompress.runtime.kernels.conv import conv_lists, conv_panels
from embcompress.runtime.kernels.planes import (
    MAX,
    clear_gaps,
    clear_padding,
    collect_map,
    global_mean,
    place_map,
    pointwise,
    pool,
    split_map,
)

__all__ = ["run_map"]


@compiled()
def run_map(code: Any, i: int, floats: Any, ints: Any, work: Any, x: Any, out: Any) -> None:
    """Run a step whose operation is one of maps."""
    op = code[i, f.OP]
    source = code[i, f.SOURCE] + code[i, f.SOURCE_ORIGIN]
    target = code[i, f.TARGET] + code[i, f.TARGET_ORIGIN]
    if op == f.SPLIT_MAP:
        _split(code, i, work, source, target)
        return
    if op == f.COLLECT_MAP:
        if code[i, f.TO_OUTPUT] == 1:
            _collect(code, i, work, source, out, 0)
        else:
            _collect(code, i, work, source, work, code[i, f.TARGET])
        return
    if op == f.MAP_MEAN:
        global_mean(
            work, source, code[i, f.SOURCE_PLANE], code[i, f.VECTORS], code[i, f.CHANNELS],
            code[i, f.HEIGHT] * code[i, f.MAP_WIDTH], work, code[i, f.TARGET],
        )  # fmt: skip
        return
    if code[i, f.CLEAR] > 0:  # the padding is read, and something else was there before
        clear_padding(
            work, code[i, f.TARGET], code[i, f.TARGET_ORIGIN], code[i, f.CLEAR],
            code[i, f.TARGET_CHANNELS], code[i, f.TARGET_PLANE], code[i, f.COVERED],
        )  # fmt: skip
    if op == f.PLACE_MAP:
        if code[i, f.CLEAR] > 0:
            clear_gaps(
                work, target, code[i, f.CHANNELS], code[i, f.HEIGHT], code[i, f.MAP_WIDTH],
                code[i, f.SOURCE_PITCH], code[i, f.TARGET_PLANE],
            )  # fmt: skip
        place_map(
            x, 0, work, target, code[i, f.CHANNELS], code[i, f.HEIGHT], code[i, f.MAP_WIDTH],
            code[i, f.SOURCE_PITCH], code[i, f.TARGET_PLANE], floats, code[i, f.MAP_VALUES],
            code[i, f.MAP_BIAS],
        )  # fmt: skip
    elif op == f.POOL:
        pool(
            work, source, code[i, f.SOURCE_PLANE], target, code[i, f.TARGET_PLANE],
            code[i, f.CHANNELS], code[i, f.VECTORS], ints, code[i, f.MAP_OFFSETS],
            code[i, f.MAP_COUNT], floats, code[i, f.MASK], code[i, f.MAP_KIND],
        )  # fmt: skip
    else:
        _convolve(code, i, floats, ints, work, source, target)


@compiled()
def _convolve(
    code: Any, i: int, floats: Any, ints: Any, work: Any, source: int, target: int
) -> None:
    op, added, added_plane = code[i, f.OP], -1, 0
    if code[i, f.ADDED_ORIGIN] >= 0:
        added = code[i, f.ADDED] + code[i, f.ADDED_ORIGIN]
        added_plane = code[i, f.ADDED_PLANE]
    plane, vectors, kind = code[i, f.TARGET_PLANE], code[i, f.VECTORS], code[i, f.ACTIVATION]
    values, bias, mask = code[i, f.MAP_VALUES], code[i, f.MAP_BIAS], code[i, f.MASK]
    if op == f.CONV_PANELS:
        conv_panels(
            work, source, target, plane, added, added_plane, code[i, f.MAP_SCRATCH], vectors,
            floats, values, bias, mask, ints, code[i, f.MAP_ROWS], code[i, f.MAP_STARTS],
            code[i, f.MAP_LENGTHS], code[i, f.MAP_OFFSETS], code[i, f.MAP_COUNT], kind,
        )  # fmt: skip
    elif op == f.CONV_LISTS:
        conv_lists(
            work, source, target, plane, added, added_plane, floats, values, bias, mask, ints,
            code[i, f.MAP_TILES], code[i, f.N_TILES], code[i, f.MAP_ROWS], code[i, f.MAP_STARTS],
            code[i, f.MAP_LENGTHS], code[i, f.MAP_OFFSETS], code[i, f.MAP_COUNT], kind,
        )  # fmt: skip
    else:
        pointwise(
            work, source, code[i, f.SOURCE_PLANE], added, added_plane, target, plane,
            code[i, f.CHANNELS], vectors, floats, values, bias, mask, kind,
        )  # fmt: skip


@compiled()
def _split(code: Any, i: int, work: Any, source: int, target: int) -> None:
    fill = np.float32(-np.inf) if code[i, f.MAP_KIND] == MAX else np.float32(0)
    split_map(
        work, source, code[i, f.SOURCE_PITCH], code[i, f.SOURCE_PLANE], code[i, f.CHANNELS],
        code[i, f.HEIGHT], code[i, f.MAP_WIDTH], target, code[i, f.TARGET_PITCH],
        code[i, f.TARGET_PLANE], code[i, f.TARGET_HEIGHT], code[i, f.TARGET_WIDTH],
        code[i, f.STRIDE], code[i, f.PHASES_Y], code[i, f.PHASES_X], code[i, f.ABOVE],
        code[i, f.ABOVE], fill,
    )  # fmt: skip


@compiled()
def _collect(code: Any, i: int, work: Any, source: int, out: Any, to: int) -> None:
    collect_map(
        work, source, out, to, code[i, f.CHANNELS], code[i, f.HEIGHT], code[i, f.MAP_WIDTH],
        code[i, f.SOURCE_PITCH], code[i, f.SOURCE_PLANE],
    )  # fmt: skip
