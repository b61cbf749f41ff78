"""Where the numbers of feature maps lie in a flat workspace.

The planes of a map lie one after the other, and in each plane the rows, at a *pitch* that is
larger than the width. The gap after a row is zero; it is the padding on the right of that row and
on the left of the next one, and the rows of zeros below a plane are those above the next plane. So
a convolution with stride 1 is the same for every position of a plane: flat position q of the output
is a sum of weights times flat positions ``q + offset`` of the input. The kernels compute whole
vectors of 16 such positions, across the ends of rows, and store zeros in the gaps. For that, input
and output have the same pitch.

A convolution with a larger stride is one with stride 1 over the *phases* of its input: plane (a, b)
of a channel holds the numbers whose padded row is a and whose padded column is b modulo the stride.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = [
    "Map",
    "conv_offsets",
    "conv_shape",
    "map_of",
    "phase_map",
    "phases_of",
    "pitch_of",
    "valid_positions",
]

LANES = 16
# Vectors that begin at the last number of a map, or 32 numbers that are split, end in the buffer.
_SLACK = 64
# Planes at a multiple of the page size would compete for the same places of the cache.
_PAGE = 1024

Pair = int | tuple[int, int]


@dataclass(frozen=True)
class Map:
    """Geometry of a map; number (c, y, x) is at ``origin + c * plane + y * pitch + x``.

    Parameters
    ----------
    channels, height, width : int
        Shape.
    pad : int
        Rows and columns of zeros around each plane; neighbours share them.
    pitch : int
        From a row to the next, at least ``width + pad``.
    plane : int
        From a plane to the next, a multiple of 16.
    origin : int
        From the start of the buffer to number (0, 0, 0), a multiple of 16.
    size : int
        float32 numbers of the whole buffer, a multiple of 16.
    """

    channels: int
    height: int
    width: int
    pad: int
    pitch: int
    plane: int
    origin: int
    size: int

    @property
    def vectors(self) -> int:
        """Vectors of 16 that cover a plane without the gap after its last row."""
        return -(-((self.height - 1) * self.pitch + self.width) // LANES)

    def view(self, work: npt.NDArray[np.float32], at: int = 0) -> npt.NDArray[np.float32]:
        """The numbers of the map, without padding, in a workspace.

        Parameters
        ----------
        work : ndarray of shape (n,)
            float32.
        at : int, default 0
            Where the buffer of the map starts.

        Returns
        -------
        ndarray of shape (channels, height, width)
            A view.
        """
        if at < 0 or at + self.size > len(work):
            raise ValueError(
                f"a map of {self.size} numbers at {at} does not fit a workspace of {len(work)}"
            )
        return np.lib.stride_tricks.as_strided(
            work[at + self.origin :],
            (self.channels, self.height, self.width),
            [work.itemsize * step for step in (self.plane, self.pitch, 1)],
        )


def _up(number: int, step: int = LANES) -> int:
    return -(-number // step) * step


def _pair(name: str, value: Pair, least: int) -> tuple[int, int]:
    first, second = (value, value) if isinstance(value, int | np.integer) else value
    if min(first, second) < least:
        raise ValueError(f"{name}={value!r}: must be at least {least}")
    return int(first), int(second)


def pitch_of(width: int, pad: int) -> int:
    """Pitch for rows of that width: what is needed, or a multiple of 16 where it costs little.

    Rows that start at a multiple of 16 make a part of the loads aligned; that is worth up to a
    twelfth more positions.

    >>> pitch_of(56, 1), pitch_of(14, 1)
    (57, 16)
    """
    least = width + pad
    return _up(least) if _up(least) - least <= least // 12 else least


def map_of(
    channels: int, height: int, width: int, *, pad: int = 0, pitch: int | None = None
) -> Map:
    """Geometry of a map.

    Parameters
    ----------
    channels, height, width : int
        Shape.
    pad : int, default 0
        Largest padding that an operation with stride 1 that reads the map needs.
    pitch : int, optional
        Default: `pitch_of`. A convolution needs the same pitch in its input, its output and the
        map it adds.

    Returns
    -------
    Map

    Examples
    --------
    >>> from embcompress.runtime.maps import map_of
    >>> m = map_of(64, 56, 56, pad=1)
    >>> m.pitch, m.plane, m.origin, m.vectors
    (57, 3264, 64, 200)
    """
    for name, value, least in (
        ("channels", channels, 1), ("height", height, 1), ("width", width, 1), ("pad", pad, 0),
    ):  # fmt: skip
        if value < least:
            raise ValueError(f"{name}={value}: must be at least {least}")
    pitch = pitch_of(width, pad) if pitch is None else pitch
    if pitch < width + pad:
        raise ValueError(f"pitch={pitch} is less than width + pad = {width + pad}")
    # whole vectors of a plane, and whole vectors of its last row, end before the next plane
    plane = _up(max((height + pad) * pitch, (height - 1) * pitch + _up(width)))
    plane += LANES * (plane % _PAGE == 0)
    origin = max(_up(pad * pitch + pad), LANES)
    return Map(
        channels, height, width, pad, pitch, plane, origin,
        _up(origin + channels * plane + _SLACK),
    )  # fmt: skip


def conv_shape(
    height: int, width: int, kernel: Pair, *, stride: int = 1, padding: Pair = 0
) -> tuple[int, int]:
    """Height and width of what a convolution or a pooling gives.

    Parameters
    ----------
    height, width : int
        Of the input.
    kernel : int or (int, int)
        Height and width of the kernel.
    stride : int, default 1
    padding : int or (int, int), default 0
        Zeros above and below, and on the left and on the right.

    Returns
    -------
    (int, int)
    """
    if stride < 1:
        raise ValueError(f"stride={stride}: must be at least 1")
    rows, columns = _pair("kernel", kernel, 1)
    above, left = _pair("padding", padding, 0)
    if height + 2 * above < rows or width + 2 * left < columns:
        raise ValueError(
            f"a kernel of {rows} x {columns} does not fit a map of {height} x {width} "
            f"with padding {above}, {left}"
        )
    return (height + 2 * above - rows) // stride + 1, (width + 2 * left - columns) // stride + 1


def phases_of(kernel: Pair, stride: int) -> tuple[int, int]:
    """Phases of rows and of columns that a kernel reads.

    >>> phases_of(3, 2), phases_of(1, 2)
    ((2, 2), (1, 1))
    """
    rows, columns = _pair("kernel", kernel, 1)
    return min(rows, stride), min(columns, stride)


def phase_map(
    source: Map, kernel: Pair, *, stride: int, padding: Pair = 0, pitch: int | None = None
) -> Map:
    """Geometry of the phases of a padded map; plane ``(c * rows + a) * columns + b`` is (a, b).

    Parameters
    ----------
    source : Map
        What is split; it needs no padding of its own.
    kernel : int or (int, int)
        Height and width of the kernel that reads the phases.
    stride : int
        Of that kernel. 1 makes a padded copy, which pooling with padding needs.
    padding : int or (int, int), default 0
        Of that kernel; it becomes part of the phases.
    pitch : int, optional
        That of the output. Default: the width of the phases.

    Returns
    -------
    Map
        With ``channels * rows * columns`` planes, see `phases_of`, and no padding.
    """
    conv_shape(source.height, source.width, kernel, stride=stride, padding=padding)
    above, left = _pair("padding", padding, 0)
    if left >= LANES:  # the first vector of a row begins that far before it
        raise ValueError(f"padding={padding!r}: at most {LANES - 1} columns can be padded")
    rows, columns = phases_of(kernel, stride)
    height, width = -(-(source.height + 2 * above) // stride), source.width + 2 * left
    width = -(-width // stride)
    pitch = width if pitch is None else pitch
    return map_of(source.channels * rows * columns, height, width, pitch=pitch)


def conv_offsets(
    source: Map, kernel: Pair, *, stride: int = 1, padding: Pair = 0
) -> npt.NDArray[np.int32]:
    """Where the weights of a convolution read, from the flat position of the output.

    Parameters
    ----------
    source : Map
        The padded input for stride 1, and its `phase_map` for larger strides.
    kernel : int or (int, int)
        Height and width of the kernel.
    stride : int, default 1
    padding : int or (int, int), default 0
        Ignored for larger strides: it is part of the phases.

    Returns
    -------
    ndarray of shape (channels, rows of the kernel, columns of the kernel)
        int32, relative to the origin of `source`.
    """
    rows, columns = _pair("kernel", kernel, 1)
    above, left = _pair("padding", padding, 0) if stride == 1 else (0, 0)
    if max(above, left) > source.pad:
        raise ValueError(f"padding={padding!r} is more than the {source.pad} of the map")
    split = phases_of(kernel, stride)
    channels, rest = divmod(source.channels, split[0] * split[1])
    if rest:
        raise ValueError(
            f"{source.channels} planes are not a multiple of {split[0]} x {split[1]} phases"
        )
    c, y, x = np.ogrid[:channels, :rows, :columns]
    plane = (c * split[0] + y % stride) * split[1] + x % stride
    offsets = plane * source.plane + (y // stride - above) * source.pitch + x // stride - left
    return offsets.astype(np.int32)


def valid_positions(output: Map) -> npt.NDArray[np.float32]:
    """1 at the flat positions of a plane that are numbers, and 0 at those of the gaps.

    Parameters
    ----------
    output : Map

    Returns
    -------
    ndarray of shape (16 * vectors,)
        float32.
    """
    q = np.arange(LANES * output.vectors)
    return ((q % output.pitch < output.width) & (q < output.height * output.pitch)).astype(
        np.float32
    )
