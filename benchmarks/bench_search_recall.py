"""Recall of exact searches in codes of the same bytes, and of approximate ones by effort.

    EMBCOMPRESS_DATA=... python benchmarks/bench_search_recall.py [--n 1000000]

First, recall@10 against float cosine on the 50,000 skip-gram vectors (1,000 words ask, their own
vectors left out): our quantizers with one bit per dimension by Hamming distance, with real-valued
queries against the same codes, and with the shortlist of 40 scored again from int8 originals;
beside RaBitQ and PQ FastScan of FAISS at the same bytes. Then IVF and HNSW over many codes in
clusters: the effort that `HammingIndex.tune` chooses for 90, 95 and 99 % of the exact neighbours,
and its time beside the exact search. Writes benchmarks/results/search_recall.csv and
search_approximate.csv.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import faiss
import numpy as np
from _data import data_folder
from _rows import write_rows

from embcompress import IIQ, ITQ, LSH, Sign
from embcompress.codes import pack_bits
from embcompress.index import HammingIndex
from embcompress.rescoring import FloatScorer, quantize_int8, rescore

K, DEPTH, N_QUERIES = 10, 4, 1000


def unit(X: np.ndarray) -> np.ndarray:
    """Rows of length 1."""
    return X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), 1e-12)


def without_own(found: np.ndarray, asked: np.ndarray, k: int = K) -> np.ndarray:
    """The first k of each row that are not the query."""
    return np.array([row[row != own][:k] for row, own in zip(found, asked, strict=True)])


def recall(found: np.ndarray, right: np.ndarray) -> float:
    """Share of the right neighbours that were found."""
    shares = [len(np.intersect1d(a, b)) / K for a, b in zip(found, right, strict=True)]
    return float(np.mean(shares))


def timed(call: Callable[[], Any], n: int) -> tuple[Any, float]:
    """Answer of a call, and microseconds of processor time per query; the third of three calls."""
    times = []
    for _ in range(3):
        start = time.process_time()
        answer = call()
        times.append(time.process_time() - start)
    return answer, 1e6 * median(times) / n


def our_rows(X: np.ndarray, asked: np.ndarray, right: np.ndarray, seeds: int) -> list[dict]:
    """Quantizers of this package, three ways of asking."""
    d = X.shape[1]
    small, scale = quantize_int8(X)
    rows = []
    for make in (Sign, LSH, ITQ, IIQ):
        for seed in range(1 if make is Sign else seeds):
            options: dict[str, Any] = {} if make is Sign else {"n_bits": d, "random_state": seed}
            if make is IIQ:
                options["bits_per_direction"] = 1
            quantizer = make(**options).fit(X)
            codes = quantizer.transform(X)
            index = HammingIndex(d, engine="native", n_threads=1)
            index.add(codes)
            queries, values = codes[asked], quantizer.project(X[asked])
            scorer = FloatScorer(X[asked], small, scale=scale)

            def rescored(
                index: HammingIndex = index, values: np.ndarray = values, scorer: Any = scorer
            ) -> np.ndarray:
                _, shortlist = index.search_asymmetric(values, K * DEPTH + 1)
                return rescore(shortlist, K + 1, scorer)[1]

            ways: dict[str, Callable[[], np.ndarray]] = {
                "hamming": lambda i=index, q=queries: i.search(q, K + 1)[1],
                "asymmetric": lambda i=index, v=values: i.search_asymmetric(v, K + 1)[1],
                "asymmetric, int4": lambda i=index, v=values: i.search_asymmetric(
                    v, K + 1, precision="int4"
                )[1],
                "asymmetric x 4, then int8": rescored,
            }
            for way, call in ways.items():
                found, us = timed(call, len(asked))
                rows.append({
                    "method": make.__name__, "way": way, "seed": seed,
                    "bytes": codes.shape[1] + (d + 4 if way.endswith("then int8") else 0),
                    "recall": round(recall(without_own(found, asked), right), 4),
                    "us_per_query": round(us, 1),
                })  # fmt: skip
                print(*rows[-1].values(), sep="  ", flush=True)
    return rows


def faiss_rows(X: np.ndarray, asked: np.ndarray, right: np.ndarray, seeds: int) -> list[dict]:
    """RaBitQ and PQ FastScan on rows of length 1, at about the bytes of our codes."""
    d = X.shape[1]
    normal = unit(X).astype(np.float32)
    rows = []
    for name, n_bytes in ((f"PQ{d // 4}x4fs", 38), ("RaBitQ", 46), ("RaBitQfs", 46)):
        for seed in range(seeds if name.startswith("RaBitQ") else 1):
            rotation = faiss.RandomRotationMatrix(d, d)
            rotation.init(seed)
            turned = rotation.apply(normal) if name.startswith("RaBitQ") else normal
            index = faiss.index_factory(d, name, faiss.METRIC_L2)
            index.train(turned)
            index.add(turned)
            found, us = timed(lambda: index.search(turned[asked], K + 1)[1], len(asked))  # noqa: B023
            rows.append({
                "method": f"FAISS {name}" + (", rotated" if turned is not normal else ""),
                "way": "asymmetric", "seed": seed, "bytes": n_bytes,
                "recall": round(recall(without_own(found, asked), right), 4),
                "us_per_query": round(us, 1),
            })  # fmt: skip
            print(*rows[-1].values(), sep="  ", flush=True)
    return rows


def recall_rows(seeds: int) -> list[dict]:
    """All methods on the skip-gram vectors."""
    path = data_folder() / "embeddings" / "enwiki_sgns300_50k.npz"
    X = np.load(path)["vectors"].astype(np.float32)
    asked = np.sort(np.random.default_rng(0).choice(len(X), N_QUERIES, replace=False))
    normal = unit(X)
    right = np.empty((N_QUERIES, K), dtype=np.int64)
    for start in range(0, N_QUERIES, 100):
        part = asked[start : start + 100]
        cosines = normal[part] @ normal.T
        cosines[np.arange(len(part)), part] = -np.inf
        right[start : start + 100] = np.argsort(-cosines, axis=1)[:, :K]
    return our_rows(X, asked, right, seeds) + faiss_rows(X, asked, right, seeds)


def clustered(n: int, n_bits: int, centres: np.ndarray, seed: int) -> np.ndarray:
    """Codes around centres, 12 % of the bits turned over."""
    rng = np.random.default_rng(seed)
    codes = np.empty((n, n_bits // 8), dtype=np.uint8)
    for start in range(0, n, 100_000):
        m = min(100_000, n - start)
        turned = rng.random((m, n_bits), dtype=np.float32) < 0.12
        codes[start : start + m] = pack_bits(centres[rng.integers(len(centres), size=m)] ^ turned)
    return codes


def approximate_rows(n: int, n_bits: int = 256) -> list[dict]:
    """Effort and time of the approximate kinds for three recalls."""
    centres = np.random.default_rng(0).random((n // 200, n_bits)) < 0.5
    codes, queries = clustered(n, n_bits, centres, 1), clustered(500, n_bits, centres, 2)
    exact = HammingIndex(n_bits, engine="native", n_threads=1)
    exact.add(codes)
    _, us = timed(lambda: exact.search(queries, K), len(queries))
    rows = [{"kind": "flat", "n_codes": n, "recall_wanted": 1, "effort": "", "recall": 1.0,
             "us_per_query": round(us, 1), "build_cpu_s": ""}]  # fmt: skip
    print(*rows[-1].values(), sep="  ", flush=True)
    for kind, options in (("ivf", {}), ("hnsw", {"n_neighbors": 16})):
        index = HammingIndex(n_bits, kind=kind, n_threads=1, random_state=0, **options)
        start = time.process_time()
        index.add(codes)
        seconds = time.process_time() - start
        for wanted in (0.9, 0.95, 0.99):
            tuning = index.tune(queries, exact, recall=wanted)
            _, us = timed(lambda: index.search(queries, K), len(queries))  # noqa: B023
            rows.append({
                "kind": kind, "n_codes": n, "recall_wanted": wanted,
                "effort": f"{tuning.name}={tuning.chosen.effort}",
                "recall": round(tuning.chosen.recall, 4), "us_per_query": round(us, 1),
                "build_cpu_s": round(seconds, 1),
            })  # fmt: skip
            print(*rows[-1].values(), sep="  ", flush=True)
    return rows


def main() -> None:
    """Run both and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n", type=int, default=1_000_000, help="codes of the approximate kinds")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    faiss.omp_set_num_threads(1)
    write_rows("search_recall", recall_rows(options.seeds))
    write_rows("search_approximate", approximate_rows(options.n))


if __name__ == "__main__":
    main()
