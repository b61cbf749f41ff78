"""What it costs to compress millions of vectors from Parquet, in bounded memory and on Dask.

Synthetic rows of 300 float32 numbers are written to a Parquet file, part by part. One process fits
IIQ on it and writes the codes as shards: processor time of the whole process, by phase, and its
peak memory, for one million rows and for ten. The same work is then done on Dask with one and two
worker processes. Before anything is written down, shards are compared with codes of rows that are
made again, and a fit on chunks with one in memory, bit by bit.

Run: ``python benchmarks/bench_scale.py --sizes 1000000``; the file of ten million rows takes 12 GB.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import _scale_parts as parts
from _rows import RESULTS, write_rows
from bench_compress import run_child, warm_page_cache

SIZES = (1_000_000, 10_000_000)
DASK_ROWS, DASK_ROUNDS = 2_000_000, 3
FIT_ROWS = 200_000
KEY = ("part", "method", "rows")


def child(name: str, *arguments: object) -> Any:
    """Run one of the parts as a process of its own."""
    return run_child(name, *map(str, arguments), script=__file__)


def make_file(folder: Path, n_rows: int) -> Path:
    """A Parquet file of rows, in the page cache."""
    path = folder / f"{n_rows}.parquet"
    child("make", path, n_rows)
    warm_page_cache(path)
    return path


def one_process(folder: Path, n_rows: int) -> list[dict[str, Any]]:
    """Fit on all rows, or on some of them, and encode all."""
    path = make_file(folder, n_rows)
    rows = []
    for method, max_rows in (("fit on all rows", 0), (f"fit on {FIT_ROWS:,} rows", FIT_ROWS)):
        if max_rows and max_rows >= n_rows:
            continue
        shards = folder / f"shards-{max_rows}"
        done = child("compress", path, shards, max_rows)
        print(child("check", path, shards).stdout, end="", flush=True)
        printed = json.loads(done.stdout)
        rows.append(
            {
                "part": "one process", "method": method, "rows": printed.pop("rows"),
                "cpu_s": round(done.cpu_s, 2), "wall_s": round(done.wall_s, 2),
                **{name: round(value, 2) for name, value in printed.items()},
                "vectors_per_cpu_s": round(n_rows / done.cpu_s),
                "peak_rss_mb": round(done.peak_rss_mb),
                "file_MB": round(parts.file_bytes(path) / 1e6), "rounds": 1,
            }
        )  # fmt: skip
        print(rows[-1], flush=True)
    path.unlink()
    return rows


def on_dask(folder: Path, n_rows: int, rounds: int) -> list[dict[str, Any]]:
    """The same work without Dask, and with one and two worker processes, round by round."""
    path = make_file(folder, n_rows)
    names = {0: "without Dask", 1: "1 worker", 2: "2 workers"}
    found: dict[int, list[dict[str, float]]] = {workers: [] for workers in names}
    for number in range(rounds):
        for workers, results in found.items():
            shards = folder / f"dask-{number}-{workers}"
            results.append(json.loads(child("dask", path, shards, workers).stdout))
            print(names[workers], results[-1], flush=True)
        child("check", path, folder / f"dask-{number}-2")
    path.unlink()
    base = {key: statistics.median(each[key] for each in found[0]) for key in found[0][0]}
    rows = []
    for workers, results in found.items():
        median = {key: statistics.median(each[key] for each in results) for key in results[0]}
        rows.append(
            {
                "part": "dask", "method": names[workers], "rows": n_rows, "workers": workers,
                "cpu_s": round(median["cpu_s"], 2), "wall_s": round(median["wall_s"], 2),
                "vectors_per_cpu_s": round(n_rows / median["cpu_s"]),
                "worker_peak_rss_mb": round(median.get("worker_peak_rss_mb", 0)),
                "speedup": round(base["wall_s"] / median["wall_s"], 2),
                "cpu_overhead": round(median["cpu_s"] / base["cpu_s"] - 1, 3), "rounds": rounds,
            }
        )  # fmt: skip
    return rows


def travelling() -> list[dict[str, Any]]:
    """Bytes of what goes over the network in a fit."""
    return [{"part": "bytes", "method": "IIQ", "rows": 0, **json.loads(child("sizes").stdout)}]


def merged(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """New rows, and those of an earlier run that were not measured again."""
    path = RESULTS / "scale.csv"
    old: list[dict[str, Any]] = []
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            old = list(csv.DictReader(file))
    new = {tuple(str(row[key]) for key in KEY) for row in rows}
    kept = [row for row in old if tuple(row[key] for key in KEY) not in new]
    order = {"one process": 0, "dask": 1, "bytes": 2}
    return sorted([*kept, *rows], key=lambda row: (order[row["part"]], int(row["rows"])))


def main() -> None:
    """Measure what was asked for, and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES, help="rows of one process")
    parser.add_argument("--dask-rows", type=int, default=DASK_ROWS, help="0: leave Dask out")
    parser.add_argument("--rounds", type=int, default=DASK_ROUNDS)
    parser.add_argument("--folder", help="where the files are made; the system's by default")
    options = parser.parse_args()
    if options.child:
        parts.CHILDREN[options.child[0]](*options.child[1:])
        return
    rows = travelling()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for n_rows in options.sizes:
            rows += one_process(Path(folder), n_rows)
        if options.dask_rows:
            rows += on_dask(Path(folder), options.dask_rows, options.rounds)
    print(write_rows("scale", merged(rows)))


if __name__ == "__main__":
    main()
