"""Run the kernels of convolutions on small maps, beside plain NumPy; by itself, a short check."""

from __future__ import annotations

import numpy as np

from embcompress.runtime.kernels import conv, planes
from embcompress.runtime.kernels.conv_packing import (
    Lists,
    Panels,
    pack_lists,
    pack_panels,
    split_vectors,
)
from embcompress.runtime.maps import (
    Map,
    conv_offsets,
    conv_shape,
    map_of,
    phase_map,
    phases_of,
    valid_positions,
)


def windows(x, kernel, stride, padding, fill=0.0):
    """(channels, rows, columns, kernel rows, kernel columns), padded."""
    y_pad, x_pad = (padding, padding) if isinstance(padding, int) else padding
    padded = np.pad(x, [(0, 0), (y_pad, y_pad), (x_pad, x_pad)], constant_values=fill)
    views = np.lib.stride_tricks.sliding_window_view(padded, kernel, (1, 2))
    return views[:, ::stride, ::stride]


def reference(x, weight, bias, stride=1, padding=0, added=None, relu=False):
    """Convolution in float64."""
    views = windows(x.astype(np.float64), weight.shape[2:], stride, padding)
    result = np.einsum("cyxij,ocij->oyx", views, weight.astype(np.float64))
    result += bias[:, None, None]
    if added is not None:
        result += added
    return np.maximum(result, 0) if relu else result


def joined(arrays):
    """One flat array and where each part starts."""
    return np.concatenate([a.ravel() for a in arrays]), np.cumsum([0, *(a.size for a in arrays)])


class Workspace:
    """Maps in one flat array."""

    def __init__(self):
        self.size, self.places = conv.SCRATCH, []

    def add(self, geometry: Map) -> int:
        at, self.size = self.size, self.size + geometry.size
        return at

    def array(self):
        work = np.zeros(self.size, np.float32)
        work[: conv.SCRATCH] = np.nan  # may hold anything
        return work


def input_geometry(x, kernel, stride, padding, pad=0):
    """Map of the input, map that the convolution reads, map of its output."""
    y_pad, x_pad = (padding, padding) if isinstance(padding, int) else padding
    height, width = conv_shape(*x.shape[1:], kernel, stride=stride, padding=padding)
    if stride == 1:
        wide = max(x.shape[2] + max(y_pad, x_pad), width + pad)
        source = map_of(*x.shape, pad=max(y_pad, x_pad), pitch=wide)
        return source, source, (height, width)
    source = map_of(*x.shape)
    least = phase_map(source, kernel, stride=stride, padding=padding).pitch
    pitch = max(least, width + pad)
    read = phase_map(source, kernel, stride=stride, padding=padding, pitch=pitch)
    return source, read, (height, width)


def split(work, source, source_at, read, read_at, kernel, stride, padding, fill=0.0):
    """Phases of a map."""
    y_pad, x_pad = (padding, padding) if isinstance(padding, int) else padding
    work[read_at : read_at + read.size] = np.nan  # phases may lie where something else was
    planes.split_map(
        work, source_at + source.origin, source.pitch, source.plane,
        source.channels, source.height, source.width,
        read_at + read.origin, read.pitch, read.plane, read.height, read.width,
        stride, *phases_of(kernel, stride), y_pad, x_pad, fill,
    )  # fmt: skip


def convolve(
    x, weight, bias, kind, *, stride=1, padding=0, added=None, relu=False, pad=0, rows=None
):
    """The output map of one of the kernels, and whether its padding is still zero."""
    kernel = weight.shape[2:]
    source, read, shape = input_geometry(x, kernel, stride, padding, pad)
    output = map_of(len(weight), *shape, pad=pad, pitch=read.pitch)
    space = Workspace()
    source_at, read_at, out_at, add_at = map(space.add, (source, read, output, output))
    work = space.array()
    place(work, source, source_at, x)
    if stride == 1:
        read_at = source_at
    else:
        split(work, source, source_at, read, read_at, kernel, stride, padding)
    if added is not None:
        output.view(work, add_at)[:] = added
    offsets = conv_offsets(read, kernel, stride=stride, padding=padding)
    pack = pack_panels if kind == "panels" else pack_lists
    run(
        work, pack(weight, bias, offsets, rows=rows), output, read_at + read.origin,
        out_at + output.origin, add_at + output.origin if added is not None else -1, relu,
    )  # fmt: skip
    result = output.view(work, out_at).copy()
    output.view(work, out_at)[:] = 0
    assert not work[out_at : out_at + output.size].any(), "padding is not zero"
    return result


def run(work, packed: Panels | Lists, output, x_at, out_at, add_at, relu):
    """Call the kernel that fits; scratch is at 0."""
    floats, f = joined([packed.values, packed.bias, valid_positions(output)])
    activation = conv.RELU if relu else conv.IDENTITY
    if isinstance(packed, Panels):
        ints, i = joined([packed.rows, packed.starts, packed.lengths, packed.offsets])
        conv.conv_panels(
            work, x_at, out_at, output.plane, add_at, output.plane, 0, output.vectors,
            floats, *f[:3], ints, *i[:4], len(packed.rows), activation,
        )  # fmt: skip
    else:
        tiles = split_vectors(output.vectors)
        ints, i = joined([tiles, packed.rows, packed.starts, packed.singles, packed.offsets])
        conv.conv_lists(
            work, x_at, out_at, output.plane, add_at, output.plane,
            floats, *f[:3], ints, 0, len(tiles), *i[1:5], len(packed.rows), activation,
        )  # fmt: skip


def place(work, geometry, at, x, scale=None, shift=None):
    """Put a contiguous map into its planes."""
    floats = np.zeros(1, np.float32) if scale is None else np.concatenate([scale, shift])
    planes.place_map(
        np.ascontiguousarray(x).ravel(), 0, work, at + geometry.origin, *x.shape,
        geometry.pitch, geometry.plane, floats, -1 if scale is None else 0,
        0 if shift is None else len(shift),
    )  # fmt: skip


def pooled(x, size, stride, padding, kind, pad=0):
    """Maximum or mean over windows."""
    source = map_of(*x.shape)
    height, width = conv_shape(*x.shape[1:], size, stride=stride, padding=padding)
    least = phase_map(source, size, stride=stride, padding=padding).pitch
    pitch = max(least, width + pad)
    read = phase_map(source, size, stride=stride, padding=padding, pitch=pitch)
    output = map_of(len(x), height, width, pad=pad, pitch=pitch)
    space = Workspace()
    source_at, read_at, out_at = map(space.add, (source, read, output))
    work = space.array()
    place(work, source, source_at, x)
    fill = -np.inf if kind == planes.MAX else 0.0
    split(work, source, source_at, read, read_at, (size, size), stride, padding, fill)
    offsets = conv_offsets(read, size, stride=stride)[0].ravel()
    planes.pool(
        work, read_at + read.origin, read.channels // len(x) * read.plane,
        out_at + output.origin, output.plane, len(x), output.vectors,
        offsets, 0, len(offsets), valid_positions(output), 0, kind,
    )  # fmt: skip
    return output.view(work, out_at).copy()


def close(ours, true):
    """Whether all numbers are as float32 can be."""
    return np.abs(ours - true).max() <= 2e-6 * max(1.0, np.abs(true).max())


def main() -> None:
    """Compare a few convolutions; fails loudly."""
    rng = np.random.default_rng(0)
    for side, stride, filters in ((3, 1, 17), (9, 2, 5), (7, 1, 2)):
        x = rng.standard_normal((3, side, side)).astype(np.float32)
        weight = rng.standard_normal((filters, 3, 3, 3)).astype(np.float32)
        weight *= rng.random(weight.shape) < 0.5
        bias = rng.standard_normal(filters).astype(np.float32)
        true = reference(x, weight, bias, stride, 1)
        for kind in ("panels", "lists"):
            result = convolve(x, weight, bias, kind, stride=stride, padding=1, pad=1)
            assert close(result, true), (kind, side)
        most = pooled(x, 3, 2, 1, planes.MAX)
        assert np.array_equal(most, windows(x, (3, 3), 2, 1, -np.inf).max((3, 4)))


if __name__ == "__main__":
    main()
