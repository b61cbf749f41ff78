"""FAISS by width of the codes, and time to open a file of codes.

    python benchmarks/bench_index.py [--n 100000] [--rounds 15]

The widths are what files of indexes are padded to. Times are those of interleaved rounds, for the
widths in process CPU time on one thread: what a busy machine does to one of them it does to the
others too. The answers are compared before anything is timed. Writes benchmarks/results/index.csv.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import faiss
import numpy as np
from _rows import write_rows
from _timing import times_of

from embcompress.codes import pack_bits
from embcompress.index import HammingIndex

K = 10


def random_codes(n: int, n_bits: int, seed: int) -> np.ndarray:
    """Uniform random codes, pad bits zero."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 256, (n, (n_bits + 7) // 8), dtype=np.uint8)
    codes[:, -1] &= pack_bits(np.ones((1, (n_bits - 1) % 8 + 1)))[0, 0]
    return codes


def bare(codes: np.ndarray, width: int) -> tuple[faiss.IndexBinaryFlat, Callable]:
    """An IndexBinaryFlat of codes padded to `width` bits, and what pads queries for it."""

    def padded(rows: np.ndarray) -> np.ndarray:
        return np.pad(rows, ((0, 0), (0, width // 8 - rows.shape[1])))

    index = faiss.IndexBinaryFlat(width)
    index.add(padded(codes))
    return index, padded


def rows_of(
    question: str, n: int, batch: int, times: dict[str, list[float]], ours: str, unit: float
) -> list[dict]:
    """One row per contender; `ratio` is the median over rounds of its time by ours."""
    rows = []
    for name, values in times.items():
        ratios = [value / own for value, own in zip(values, times[ours], strict=True)]
        rows.append(
            {
                "question": question,
                "name": name,
                "n_codes": n,
                "batch": batch,
                "rounds": len(values),
                "median_us": round(1e6 * median(values) / unit, 2),
                "best_us": round(1e6 * min(values) / unit, 2),
                "ratio_to_ours": round(median(ratios), 3),
            }
        )
        print(f"{question:8} batch {batch:5} {name:34}", *list(rows[-1].values())[-3:], sep="  ")
    return rows


def width_times(n: int, rounds: int) -> list[dict]:
    """Time per query of IndexBinaryFlat by width: what the rule of padding rests on."""
    faiss.omp_set_num_threads(1)
    widths = (8, 16, 32, 40, 64, 96, 128, 160, 192, 256, 264, 304, 320, 384, 448, 512, 520, 576)
    widths += (640, 768, 896, 1024)
    calls = {}
    for width in widths:
        codes = random_codes(n, width, width)
        index, _ = bare(codes, width)
        queries = codes[:32].copy()
        calls[f"IndexBinaryFlat {width}"] = lambda i=index, q=queries: i.search(q, K)
    times = times_of(calls, rounds=rounds, seconds=0)
    return rows_of("width", n, 32, times, "IndexBinaryFlat 512", unit=32)


def open_times(n: int, rounds: int) -> list[dict]:
    """Wall time to open 512-bit codes in a file that is in the page cache."""
    codes = random_codes(n, 512, 2)
    index = HammingIndex(512)
    index.add(codes)
    with tempfile.TemporaryDirectory() as folder:
        path, plain = str(Path(folder, "codes.faiss")), str(Path(folder, "codes.npy"))
        index.save(path)
        np.save(plain, codes)
        right = index.search(codes[:3], K)
        for mmap in (True, False):
            got = HammingIndex.load(path, mmap=mmap).search(codes[:3], K)
            np.testing.assert_array_equal(got, right)
        flag = faiss.IO_FLAG_MMAP_IFC
        calls = {
            "HammingIndex.load": lambda: HammingIndex.load(path),
            "HammingIndex.load(mmap=False)": lambda: HammingIndex.load(path, mmap=False),
            "faiss.read_index_binary": lambda: faiss.read_index_binary(path),
            "faiss.read_index_binary, mapped": lambda: faiss.read_index_binary(path, flag),
            "np.load(mmap_mode='r')": lambda: np.load(plain, mmap_mode="r"),
        }
        times = times_of(calls, rounds=rounds, clock=time.perf_counter, seconds=0)
    return rows_of("open", n, 0, times, "HammingIndex.load", unit=1)


def main() -> None:
    """Run all three and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n", type=int, default=100_000, help="codes that are searched")
    parser.add_argument("--n-open", type=int, default=1_000_000, help="codes in the opened file")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    rows = width_times(options.n, options.rounds)
    rows += open_times(options.n_open, options.rounds)
    write_rows("index", rows)


if __name__ == "__main__":
    main()
