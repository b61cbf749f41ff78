"""Scratch: pattern and panel convolutions against the best of PyTorch, one thread."""

from __future__ import annotations

import statistics
import time

import numpy as np
import torch
from torch.utils import mkldnn

from embcompress.pruning.patterns import FIXED_PATTERNS, pattern_bits
from embcompress.runtime.kernels import conv, conv_packing
from embcompress.runtime.maps import conv_offsets, map_of, valid_positions

ROUNDS = 41


class Runner:
    """One convolution with one of the kernels, in a workspace of its own."""

    def __init__(self, kind: str, weight: np.ndarray, x: np.ndarray) -> None:
        filters, channels = weight.shape[:2]
        source = map_of(channels, *x.shape[1:], pad=1)
        self.output = map_of(filters, *x.shape[1:], pad=1, pitch=source.pitch)
        self.scratch = source.size + self.output.size
        self.work = np.zeros(self.scratch + conv.SCRATCH + 16, np.float32)
        self.work = self.work[-self.work.ctypes.data % 64 // 4 :]
        source.view(self.work)[:] = x
        self.at = source.origin, source.size
        offsets = conv_offsets(source, 3, padding=1)
        bias = np.zeros(filters, np.float32)
        if kind == "panels":
            packed = conv_packing.pack_panels(weight, bias, offsets)
            ints = [packed.rows, packed.starts, packed.lengths, packed.offsets]
        else:
            packed = conv_packing.pack_lists(weight, bias, offsets)
            tiles = conv_packing.split_vectors(self.output.vectors)
            ints = [tiles, packed.rows, packed.starts, packed.singles, packed.offsets]
        floats = [packed.values, packed.bias, valid_positions(self.output)]
        self.floats = np.concatenate([part.ravel() for part in floats])
        self.ints = np.concatenate([part.ravel() for part in ints])
        self.f = np.cumsum([0, *(part.size for part in floats)]).tolist()
        self.i = np.cumsum([0, *(part.size for part in ints)]).tolist()
        self.kind, self.count = kind, len(packed.starts) - (kind != "panels")

    def __call__(self) -> None:
        x_at, at = self.at
        out = at + self.output.origin
        if self.kind == "panels":
            conv.conv_panels(
                self.work, x_at, out, self.output.plane, -1, 0, self.scratch, self.output.vectors,
                self.floats, *self.f[:3], self.ints, *self.i[:4], self.count, 0,
            )  # fmt: skip
        else:
            conv.conv_lists(
                self.work, x_at, out, self.output.plane, -1, 0,
                self.floats, *self.f[:3], self.ints, 0, self.i[1], *self.i[1:5], self.count, 0,
            )  # fmt: skip

    def result(self) -> np.ndarray:
        """The output, contiguous."""
        return self.output.view(self.work, self.at[1]).copy()


def masks(filters: int, channels: int, kept: float, height: int, rng: np.random.Generator):
    """Patterns and kept kernels, shared by `height` filters."""
    bits = pattern_bits(FIXED_PATTERNS).numpy().reshape(-1, 3, 3)
    shape = filters // height, channels
    mask = bits[rng.integers(8, size=shape)]
    order = rng.random(shape).argsort(1) < round(kept * channels)
    return np.repeat(mask & order[..., None, None], height, 0)


def references(weight: np.ndarray, x: np.ndarray):
    """PyTorch's ways to do the dense convolution."""
    conv = torch.nn.Conv2d(*weight.shape[1::-1], 3, padding=1, bias=False).eval()
    conv.weight.data = torch.from_numpy(weight)
    image = torch.from_numpy(x)[None]
    last = torch.nn.Conv2d(*weight.shape[1::-1], 3, padding=1, bias=False).eval()
    last.weight.data = conv.weight.data
    last = last.to(memory_format=torch.channels_last)
    image_last = image.to(memory_format=torch.channels_last)
    packed, image_packed = mkldnn.to_mkldnn(conv), image.to_mkldnn()
    return {
        "torch": lambda: conv(image),
        "torch channels last": lambda: last(image_last),
        "torch mkldnn": lambda: packed(image_packed),
    }


def main() -> None:
    """Print median and least microseconds."""
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    rng = np.random.default_rng(0)
    for channels, side in ((64, 56), (128, 28), (256, 14), (512, 7)):
        x = rng.standard_normal((channels, side, side)).astype(np.float32)
        weight = rng.standard_normal((channels, channels, 3, 3)).astype(np.float32) / channels
        candidates = references(weight, x)
        ours = {"dense panels": ("panels", np.ones_like(weight, bool))}
        for kept in (1.0, 0.4444, 0.28):
            ours[f"own patterns {kept}"] = ("lists", masks(channels, channels, kept, 1, rng))
            ours[f"shared by 16 {kept}"] = ("panels", masks(channels, channels, kept, 16, rng))
        for name, (kind, mask) in ours.items():
            candidates[name] = runner = Runner(kind, weight * mask, x)
            runner()
            w, image = torch.from_numpy(weight * mask).double(), torch.from_numpy(x)[None].double()
            true = torch.nn.functional.conv2d(image, w, padding=1)[0].numpy()
            assert np.abs(runner.result() - true).max() < 1e-5 * np.abs(true).max()
        times: dict[str, list[float]] = {name: [] for name in candidates}
        for _ in range(ROUNDS):
            for name, function in candidates.items():
                function()
                start = time.process_time_ns()
                function()
                times[name].append((time.process_time_ns() - start) / 1e3)
        middle = {name: statistics.median(values) for name, values in times.items()}
        best = min(value for name, value in middle.items() if name.startswith("torch"))
        print(f"{channels} x {channels} x {side} x {side}")
        for name, value in middle.items():
            print(f"  {name:22} {value:7.0f} {min(times[name]):7.0f}  {best / value:5.2f}x")


if __name__ == "__main__":
    main()
