"""How many bytes the index of each storage layout takes, beside compressed sparse rows.

Masks are random, of the structures that the schemes of pruning leave; each round trip is checked
before its row is written. Bytes depend on the masks alone, so one run is enough; the processor
time of storing a weight is the least of three.

Run: ``python benchmarks/bench_layouts.py``
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _rows import write_rows

from embcompress.runtime.layouts import LAYOUTS, fits, smallest

Case = tuple[str, str, np.ndarray]
SQUARE = (1024, 1024)
KERNELS = (256, 256, 3, 3)


def rows_of_blocks(rng: np.random.Generator, n_kept: int) -> np.ndarray:
    """So many rows in each of 4 blocks of columns."""
    mask = np.zeros(SQUARE, bool)
    for block in range(4):
        mask[rng.permutation(1024)[:n_kept], 256 * block : 256 * block + 256] = True
    return mask


def matrices(rng: np.random.Generator) -> Iterator[Case]:
    """Structure, layout that the scheme names, mask."""
    yield "single weights, 10x", "csr", rng.random(SQUARE) < 0.1
    keep_rows, keep_columns = (rng.random(1024) < 0.316 for _ in range(2))
    yield "rows and columns, 10x", "compact", np.outer(keep_rows, keep_columns)
    yield "rows in 4 blocks of columns, 10x", "bspc", rows_of_blocks(rng, 103)
    columns = np.concatenate([256 * block + rng.permutation(256)[:16] for block in range(4)])
    few = np.isin(np.arange(1024), columns)
    yield "the same with 16 columns of each block, 160x", "bspc", rows_of_blocks(rng, 103) & few
    yield "columns in 4 blocks of rows, 10x", "bspc", rows_of_blocks(rng, 103).T
    blocks = rng.random((64, 64)) < 0.1
    yield "blocks of 16 x 16, 10x", "bspc", blocks.repeat(16, 0).repeat(16, 1)
    few_blocks = (rng.permutation(64 * 64) < 16).reshape(64, 64)
    yield "blocks of 16 x 16, 256x", "bspc", few_blocks.repeat(16, 0).repeat(16, 1)
    strips = rng.random((64, 1024)) < 0.1
    yield "blocks of 16 x 1, 10x", "strips", strips.repeat(16, 0)
    vectors = np.zeros((1024 * 128, 8), bool)
    table = np.array([rng.permutation(8) < 2 for _ in range(16)])
    vectors[:] = table[rng.integers(0, 16, len(vectors))]
    yield "2 of 8 inputs, 16 patterns, 4x", "spm", vectors.reshape(SQUARE)


def kernels(rng: np.random.Generator) -> Iterator[Case]:
    """The same for convolutions."""
    table = np.array([rng.permutation(9) < 4 for _ in range(16)]).reshape(16, 3, 3)
    patterns = table[rng.integers(0, 16, KERNELS[:2])]
    yield "4 of 9 in each kernel, 16 patterns, 2.25x", "spm", patterns
    eight = table[rng.integers(0, 8, KERNELS[:2])]
    order = rng.random(KERNELS[:2]).argsort(1)
    yield "8 patterns, 72 of 256 kernels a filter, 8x", "fkw", eight & (order < 72)[..., None, None]


def measure(structure: str, name: str, mask: np.ndarray) -> Iterator[dict]:
    """Rows of the layouts that hold this weight."""
    weight = np.random.default_rng(1).standard_normal(mask.shape).astype(np.float32)
    expected = np.where(mask, weight, np.float32(0))
    best = smallest(weight, mask).name
    csr = LAYOUTS["csr"].from_dense(weight, mask).index_nbytes
    for layout in LAYOUTS:
        if not fits(layout, weight, mask):
            continue
        times = []
        for _ in range(3):
            start = time.process_time()
            stored = LAYOUTS[layout].from_dense(weight, mask)
            times.append(time.process_time() - start)
        if not np.array_equal(stored.to_dense(), expected):
            raise AssertionError(f"{layout} changes the weight: {structure}")
        yield {
            "structure": structure,
            "shape": "x".join(map(str, mask.shape)),
            "n_kept": int(mask.sum()),
            "layout": layout,
            "named": layout == name,
            "smallest": layout == best,
            "weight_bytes": stored.nbytes,
            "index_bytes": stored.index_nbytes,
            "csr_index_bytes": csr,
            "pack_cpu_ms": round(min(times) * 1000, 2),
        }


def main() -> None:
    """Measure and write the rows."""
    rng = np.random.default_rng(0)
    rows = []
    for structure, name, mask in [*matrices(rng), *kernels(rng)]:
        for row in measure(structure, name, mask):
            print(
                f"{structure:46}{row['layout']:8}{row['weight_bytes']:>9} + "
                f"{row['index_bytes']:>7}{row['pack_cpu_ms']:>8} ms"
            )
            rows.append(row)
    print(write_rows("layouts", rows))


if __name__ == "__main__":
    main()
