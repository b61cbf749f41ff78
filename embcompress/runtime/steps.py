"""Steps of a program, and where in the workspace their rows lie.

Where a buffer lies depends on how many samples and frames there are, so steps name buffers, and a
:class:`Plan` gives them places: buffers that are not needed at the same time share theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from embcompress import simd
from embcompress.runtime.arena import aligned
from embcompress.runtime.kernels import fields as f

__all__ = ["Buffer", "Plan", "Step", "whole"]

_LINE = 16  # floats


def whole(size: int) -> int:
    """Round up to whole vectors."""
    return -(-size // simd.LANES) * simd.LANES


@dataclass(eq=False)
class Buffer:
    """Rows in the workspace, or scratch.

    Attributes
    ----------
    stride : int
        Floats from row to row.
    per : {"sample", "frame", "map", "once"}
        What there is a row for; "map" is one map, and "once" scratch, of `stride` floats in all.
    """

    stride: int
    per: str = "sample"

    def size(self, n: int, n_frames: int) -> int:
        """Floats for `n` samples of `n_frames` frames; whole tiles of rows fit."""
        if self.per in ("once", "map"):
            return whole(self.stride) + simd.LANES
        rows = n * n_frames if self.per == "frame" else n
        return whole(self.stride * (rows + simd.LANES)) + simd.LANES


@dataclass(eq=False)
class Step:
    """A row of the table, without places.

    Attributes
    ----------
    fields : dict of int to int
    buffers : dict of int to Buffer
        Column -> the buffer whose place goes there.
    reads : sequence of Buffer
        That must be kept until this step, whether or not it names them.
    """

    fields: dict[int, int]
    buffers: dict[int, Buffer] = field(default_factory=dict)
    reads: Sequence[Buffer] = ()

    def used(self) -> list[Buffer]:
        """All buffers that must be there during the step."""
        return [*self.buffers.values(), *self.reads]


class Plan:
    """The table for one number of samples and frames, and its workspace.

    Parameters
    ----------
    steps : sequence of Step
    n, n_frames : int
    arrays : sequence of ndarray
        What the steps read: float32, int8, int32.
    n_quads : int
        Of the workspace of quantized inputs.
    state_size : int
        Numbers of a state that the caller gives.
    room : int
        Rows that the output must have.

    Attributes
    ----------
    n, room : int
    table : ndarray of int64
        Addresses, as :func:`embcompress.runtime.kernels.machine.run` takes them; the arrays are
        kept alive by this object.
    state : ndarray of float32, shape (n, state_size)
    lengths : ndarray of int64, shape (n,)
        Both to be filled in before a run.
    """

    def __init__(
        self, steps: Sequence[Step], n: int, n_frames: int, arrays: Sequence[npt.NDArray],
        n_quads: int, state_size: int, room: int,
    ) -> None:  # fmt: skip
        places, size = _places(steps, n, n_frames)
        code = np.zeros((len(steps), f.N_FIELDS), np.int64)
        for row, step in zip(code, steps, strict=True):
            for column, value in step.fields.items():
                row[column] = value
            for column, buffer in step.buffers.items():
                row[column] = places[id(buffer)]
        work, quads = aligned(size + _LINE, np.float32), aligned(n_quads + _LINE, np.int32)
        self.state = np.zeros((n, state_size), np.float32)
        self.lengths = np.full(n, n_frames, np.int64)
        octets = quads.view(np.uint8)
        self._arrays = (code, *arrays, work, quads, octets, self.state, self.lengths)
        self.n, self.room = n, room
        places_of = [number for a in self._arrays for number in (a.ctypes.data, a.size)]
        self.table = np.array([*places_of, n_frames], np.int64)

    @staticmethod
    def size_of(steps: Sequence[Step], n: int, n_frames: int) -> int:
        """Floats of the workspace for so many samples and frames."""
        return _places(steps, n, n_frames)[1]


def _places(steps: Sequence[Step], n: int, n_frames: int) -> tuple[dict[int, int], int]:
    """Place of each buffer by its identity, and floats in all; the first gap that fits is taken."""
    last: dict[int, int] = {}
    for i, step in enumerate(steps):
        for buffer in step.used():
            last[id(buffer)] = i
    places: dict[int, int] = {}
    living: list[tuple[int, int, int]] = []  # (place, end, last step)
    total = 0
    for i, step in enumerate(steps):
        living = [block for block in living if block[2] >= i]
        for buffer in step.used():
            if id(buffer) in places:
                continue
            size, at = buffer.size(n, n_frames), 0
            for start, end, _ in sorted(living):
                if start - at >= size:
                    break
                at = max(at, end)
            places[id(buffer)] = at
            living.append((at, at + size, last[id(buffer)]))
            total = max(total, at + size)
    return places, total
