"""Steps of a program, and where in the workspace their rows lie.

Where a buffer lies depends on how many samples and frames there are, so steps name buffers, and a
:class:`Plan` gives them places: buffers that are not needed at the same time share theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from embcompress.runtime import simd
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
    per : {"sample", "frame", "once"}
        What there is a row for; "once" is scratch of `stride` floats in all.
    """

    stride: int
    per: str = "sample"

    def size(self, n: int, n_frames: int) -> int:
        """Floats for `n` samples of `n_frames` frames; whole tiles of rows fit."""
        if self.per == "once":
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


@dataclass(eq=False)
class Plan:
    """The table for one number of samples and frames, and its workspace.

    Attributes
    ----------
    code : ndarray of int64, shape (steps, N_FIELDS)
    work : ndarray of float32
    quads : ndarray of int32
    octets : ndarray of uint8
        `quads` as bytes.
    """

    code: npt.NDArray[np.int64]
    work: npt.NDArray[np.float32]
    quads: npt.NDArray[np.int32]
    octets: npt.NDArray[np.uint8]

    @staticmethod
    def size_of(steps: Sequence[Step], n: int, n_frames: int) -> int:
        """Floats of the workspace for so many samples and frames."""
        return _places(steps, n, n_frames)[1]

    @classmethod
    def of(cls, steps: Sequence[Step], n: int, n_frames: int, n_quads: int) -> Plan:
        """Give every buffer a place.

        Parameters
        ----------
        steps : sequence of Step
        n, n_frames : int
        n_quads : int
            Of the workspace of quantized inputs.

        Returns
        -------
        Plan
        """
        places, size = _places(steps, n, n_frames)
        code = np.full((len(steps), f.N_FIELDS), 0, np.int64)
        for row, step in zip(code, steps, strict=True):
            for column, value in step.fields.items():
                row[column] = value
            for column, buffer in step.buffers.items():
                row[column] = places[id(buffer)]
        quads = aligned(n_quads + _LINE, np.int32)
        return cls(code, aligned(size + _LINE, np.float32), quads, quads.view(np.uint8))


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
