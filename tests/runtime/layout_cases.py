"""Weights and masks of every structure, for the tests of layouts."""

from __future__ import annotations

import numpy as np

from embcompress.runtime.layouts import LAYOUTS, Layout, fits

SHAPES = [
    (1, 1), (1, 5), (7, 1), (16, 16), (17, 33), (40, 24), (5, 300), (300, 3), (33, 64),
    (1, 1, 1, 1), (6, 8, 1, 1), (1, 1, 3, 3), (5, 3, 3, 3), (18, 7, 3, 3), (4, 2, 5, 5),
    (3, 2, 8, 8), (2, 3, 1, 3),
]  # fmt: skip


def block_rows(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    blocks = np.arange(shape[1]) * 4 // shape[1]
    return (rng.random((shape[0], 4)) < 0.4)[:, blocks]


def blocks_of_both(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Rows inside column blocks, and columns inside row blocks."""
    return block_rows(shape, rng) & block_rows(shape[::-1], rng).T


def strips(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    return (rng.random((-(-shape[0] // 16), shape[1])) < 0.3)[np.arange(shape[0]) // 16]


def patterns(shape: tuple[int, int], rng: np.random.Generator, n: int = 2) -> np.ndarray:
    """Short vectors that keep n, with few patterns; the last of a row may be shorter."""
    table = np.array([np.bincount(rng.permutation(4)[:n], minlength=4) for _ in range(3)])
    codes = rng.integers(0, 3, (shape[0], -(-shape[1] // 4)))
    return table[codes].reshape(shape[0], -1)[:, : shape[1]].astype(bool)


STRUCTURES = {
    "unstructured": lambda shape, rng: rng.random(shape) < 0.3,
    "sparse": lambda shape, rng: rng.random(shape) < 0.02,
    "rows": lambda shape, rng: np.repeat(rng.random((shape[0], 1)) < 0.4, shape[1], 1),
    "rows and columns": lambda shape, rng: (
        (rng.random((shape[0], 1)) < 0.5) & (rng.random((1, shape[1])) < 0.5)
    ),
    "block rows": block_rows,
    "block columns": lambda shape, rng: block_rows(shape[::-1], rng).T,
    "both": blocks_of_both,
    "strips": strips,
    "patterns": patterns,
    "nothing": lambda shape, rng: np.zeros(shape, bool),
    "everything": lambda shape, rng: np.ones(shape, bool),
}


def kernels(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Patterns of equal size in kernels, and absent kernels."""
    length = shape[2] * shape[3]
    n = min(4, length)
    table = np.array([rng.permutation(length) < n for _ in range(5)])
    mask = table[rng.integers(0, 5, shape[:2])].reshape(shape)
    return mask & (rng.random((*shape[:2], 1, 1)) < 0.7)


def make_mask(structure: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if structure == "kernels":
        return kernels(shape if len(shape) == 4 else (*shape, 1, 1), rng).reshape(shape)
    return STRUCTURES[structure]((shape[0], int(np.prod(shape[1:]))), rng).reshape(shape)


def make_weight(shape: tuple[int, ...], dtype: str, seed: int) -> np.ndarray:
    """Random, with zeros; floats with -0.0, denormals, infinities and NaN."""
    rng = np.random.default_rng(seed)
    if dtype == "int8":
        return rng.integers(-3, 4, shape).astype(np.int8)
    special = np.array([0.0, -0.0, 1e-45, -1e-40, np.inf, np.nan, -np.float32(3e38)], np.float32)
    weight = rng.standard_normal(shape).astype(np.float32)
    return np.where(rng.random(shape) < 0.4, rng.choice(special, shape), weight)


def to_bits(array: np.ndarray) -> np.ndarray:
    return array.view(f"u{array.itemsize}")


def make(name: str, weight: np.ndarray, mask: np.ndarray | None) -> Layout | None:
    return LAYOUTS[name].from_dense(weight, mask) if fits(name, weight, mask) else None


# One small weight for each layout, whose bytes are known.
def golden_weight(name: str, dtype: type) -> tuple[np.ndarray, np.ndarray]:
    if name in ("fkw", "spm"):
        mask = np.zeros((3, 2, 3, 3), bool)
        mask[0, 0, 0, :2] = mask[0, 1, 1, 1:] = mask[2, 0, 1, 1:] = True
    else:
        mask = np.zeros((18, 6), bool)
        if (name, dtype) == ("strips", np.float32):  # two blocks in two strips
            mask[:16, 2] = mask[16:, 5] = True
        else:
            mask[[1, 17], :3] = mask[[2, 3, 17], 4:] = True
    values = np.arange(1, mask.sum() + 1)
    weight = np.zeros(mask.shape, dtype)
    weight[mask] = values
    return weight, mask
