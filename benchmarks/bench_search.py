"""Exact search in packed codes: HammingIndex against FAISS, usearch, NumPy and sqlite-vec.

    python benchmarks/bench_search.py [--rounds 9] [--quick]

First in processor time on one thread, then in wall time on two. Every peer is compared with the
answer of HammingIndex before it is timed; times are medians of interleaved rounds, ratios medians
over rounds, because the machine may be busy. FAISS gets the bytes as they are, and codes padded to
a width that it is fast at. Then the read bandwidth of the same memory beside a single query, the
cost of real-valued queries, and the first search of a process. Writes
benchmarks/results/search.csv.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from _rows import write_rows
from _search_peers import PEERS, SLOWEST
from _timing import times_of

from embcompress._compiled import compiled
from embcompress.codes import pack_bits
from embcompress.index import HammingIndex

K = 10
WIDTHS = (128, 256, 300, 512, 1024)
BATCHES = (1, 100, 1000)
#: The slow peers are asked at one size and width only.
SLOW_CELL = (400_000, 256)


def random_codes(n: int, n_bits: int, seed: int) -> np.ndarray:
    """Uniform random codes, pad bits zero."""
    codes = np.random.default_rng(seed).integers(0, 256, (n, -(-n_bits // 8)), dtype=np.uint8)
    codes[:, -1] &= pack_bits(np.ones((1, (n_bits - 1) % 8 + 1)))[0, 0]
    return codes


def rows_of(
    question: str, times: Mapping[str, list[float]], asked: Mapping[str, int], **cell: Any
) -> list[dict]:
    """One row per contender; `ratio_to_ours` is the median over rounds, per query."""
    rows = []
    for name, values in times.items():
        per_query = [value / asked[name] for value in values]
        ours = [value / asked["ours"] for value in times["ours"]]
        ratio = median(a / b for a, b in zip(per_query, ours, strict=True))
        rows.append({
            "question": question, **cell, "name": name, "rounds": len(values),
            "us_per_query": round(1e6 * median(per_query), 2),
            "best_us": round(1e6 * min(per_query), 2), "ratio_to_ours": round(ratio, 3),
        })  # fmt: skip
        print(*list(rows[-1].values()), sep="  ", flush=True)
    return rows


def search_cell(n: int, n_bits: int, rounds: int, n_threads: int) -> list[dict]:
    """All contenders at one number of codes and width."""
    codes, queries = random_codes(n, n_bits, 0), random_codes(1000, n_bits, 1)
    index = HammingIndex(n_bits, engine="native", n_threads=n_threads)
    index.add(codes)
    names = list(PEERS) if (n, n_bits) == SLOW_CELL and n_threads == 1 else ["faiss"]
    if n_bits == 300 and "faiss, padded" not in names:
        names.append("faiss, padded")
    peers = {name: PEERS[name](codes, n_threads) for name in names}
    right = index.search(queries, K)[0]
    for name, search in peers.items():
        few = SLOWEST.get(name, 1000)
        np.testing.assert_array_equal(search(queries[:few], K), right[:few], name)
    clock, question = (time.process_time, "cpu") if n_threads == 1 else (time.perf_counter, "wall")
    rows = []
    for batch in BATCHES:
        asked = {"ours": batch} | {name: min(batch, SLOWEST.get(name, batch)) for name in peers}
        calls: dict[str, Callable[[], Any]] = {
            name: lambda s=search, q=queries[: asked[name]]: s(q, K)
            for name, search in peers.items()
        }
        calls["ours"] = lambda q=queries[:batch]: index.search(q, K)
        times = times_of(
            calls, rounds=rounds if batch < 1000 else max(3, rounds // 2), clock=clock, seconds=0.03
        )
        rows += rows_of(question, times, asked, n_codes=n, n_bits=n_bits, batch=batch)
    return rows


@compiled()
def _sum(words: Any) -> Any:
    total = words[0]
    for i in range(1, words.size):
        total += words[i]
    return total


def bandwidth(rounds: int) -> list[dict]:
    """A single query beside the sum of the same memory: what is read per second."""
    n, n_bits = SLOW_CELL
    codes = random_codes(n, n_bits, 0)
    index = HammingIndex(n_bits, engine="native", n_threads=1)
    index.add(codes)
    query = codes[:1].copy()
    index.search(query, K)
    words = index._codes._state.codes.memory.view(np.uint64)
    calls = {
        "ours": lambda: index.search(query, K),
        "sum of the same memory": lambda: _sum(words),
    }
    times = times_of(calls, rounds=4 * rounds, seconds=0.03)
    rows = rows_of("bandwidth", times, dict.fromkeys(calls, 1), n_codes=n, n_bits=n_bits, batch=1)
    for row in rows:
        row["gb_per_s"] = round(n * n_bits / 8 / row["us_per_query"] / 1e3, 1)
    return rows


def asymmetric(rounds: int) -> list[dict]:
    """Real-valued queries beside the Hamming distance of the same codes."""
    rows = []
    for n_bits in (256, 300, 512):
        n = SLOW_CELL[0]
        codes, queries = random_codes(n, n_bits, 0), random_codes(100, n_bits, 1)
        values = np.random.default_rng(2).normal(size=(100, n_bits)).astype(np.float32)
        index, scaled = (HammingIndex(n_bits, engine="native", n_threads=1) for _ in range(2))
        index.add(codes)
        scaled.add(codes, scales=np.random.default_rng(3).uniform(0.9, 1.1, n))
        signs = np.unpackbits(codes, axis=1, count=n_bits).astype(np.float32) * 2 - 1
        right = np.sort(values[:20] @ signs.T, axis=1)[:, ::-1][:, :K]
        found = index.search_asymmetric(values[:20], K)[0]
        np.testing.assert_allclose(found, right, rtol=1e-4)
        for batch in (1, 100):
            q, x = queries[:batch], values[:batch]
            calls = {
                "ours": lambda: index.search(q, K),  # noqa: B023
                "asymmetric, float32": lambda: index.search_asymmetric(x, K),  # noqa: B023
                "asymmetric, int8": lambda: index.search_asymmetric(x, K, precision="int8"),  # noqa: B023
                "asymmetric, int4": lambda: index.search_asymmetric(x, K, precision="int4"),  # noqa: B023
                "asymmetric, scales": lambda: scaled.search_asymmetric(x, K),  # noqa: B023
            }
            times = times_of(calls, rounds=rounds, seconds=0.03)
            asked = dict.fromkeys(calls, batch)
            rows += rows_of("asymmetric", times, asked, n_codes=n, n_bits=n_bits, batch=batch)
    return rows


_FIRST = """
import json, sys, time
import numpy as np
from embcompress import HammingIndex
codes = np.random.default_rng(0).integers(0, 256, (400_000, 32), dtype=np.uint8)
start = time.process_time()
index = HammingIndex(256, engine=sys.argv[1], n_threads=1)
index.add(codes)
index.search(codes[:1], 10)
print(json.dumps(time.process_time() - start))
"""


def first_calls(rounds: int) -> list[dict]:
    """Processor time of the first search of a process, with and without compiled code on disk."""
    cells = {
        "native, nothing compiled": ("native", True),
        "native": ("native", False),
        "auto": ("auto", False),
        "faiss": ("faiss", False),
    }
    times: dict[str, list[float]] = {name: [] for name in cells}
    with tempfile.TemporaryDirectory() as kept:
        for number in range(rounds):
            for name, (engine, fresh) in cells.items():
                with tempfile.TemporaryDirectory() as empty:
                    environment = os.environ | {"NUMBA_CACHE_DIR": empty if fresh else kept}
                    command = [sys.executable, "-c", _FIRST, engine]
                    if number == 0 and not fresh:  # the folder is filled
                        subprocess.run(command, env=environment, check=True, capture_output=True)
                    done = subprocess.run(command, env=environment, check=True, capture_output=True)
                    times[name].append(json.loads(done.stdout))
    rows = []
    for name, values in times.items():
        rows.append({
            "question": "first", "n_codes": 400_000, "n_bits": 256, "batch": 1, "name": name,
            "rounds": len(values), "us_per_query": round(1e6 * median(values)),
        })  # fmt: skip
        print(*rows[-1].values(), sep="  ", flush=True)
    return rows


def main() -> None:
    """Run all and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="400,000 codes only, few rounds")
    options = parser.parse_args()
    rounds = 3 if options.quick else options.rounds
    sizes = (400_000,) if options.quick else (400_000, 1_000_000)
    rows = bandwidth(rounds)
    rows += asymmetric(rounds)
    rows += first_calls(3)
    for n_threads in (1, 2):
        for n in sizes:
            for n_bits in WIDTHS:
                rows += search_cell(n, n_bits, rounds, n_threads)
    write_rows("search", rows)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    main()
