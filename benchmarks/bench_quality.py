"""What every method keeps at equal bytes: all tasks, three files, three widths, three seeds.

Runs :func:`embcompress.evaluation.suite.run_benchmark` on the three embedding files
of the data folder that were trained on one text, and writes the means of the tasks. It can be
interrupted: finished cells lie in ``cache/quality`` and are not run again. The protocol is in
``docs/benchmarks.md``.

Run: ``EMBCOMPRESS_DATA=... python benchmarks/bench_quality.py [--jobs 2]``; some two hours of
processor time.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _rows import write_rows

from embcompress import load_vectors
from embcompress.evaluation.suite import run_benchmark
from embcompress.report import save_report

CACHE = Path(__file__).parent / "cache" / "quality"
# file -> numbers of bits
FILES = {
    "enwiki_glove300_40k.npz": (300, 150, 75),
    "enwiki_sgns300_50k.npz": (300, 150, 75),
    "enwiki_glove100_40k.txt.gz": (100, 50),
}
# opq and nlb are left out: minutes for each cell
METHODS = (
    "float-abtt",
    "iiq",
    "iiq-2",
    "iiq-1",
    "sign",
    "sign-mean",
    "sign-median",
    "lsh",
    "pcasign",
    "itq",
    "faiss-itq",
    "pruned",
    "pq",
    "pq-abtt",
    "rabitq",
    "eden1",
)
SEEDS = 3
KEPT = (
    "method",
    "n_bits",
    "scoring",
    "task",
    "metric",
    "n_seeds",
    "n_sets",
    "value",
    "low",
    "high",
    "seed_sd",
    "difference",
    "difference_low",
    "difference_high",
    "retention",
    "bytes_per_vector",
    "fit_seconds",
    "encode_seconds",
)
# of these tasks each set has a row, since the mean hides what a user asks for
BY_SET = ("text classification",)


def rows_of(name: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows that are written: means of the tasks, and the sets of some."""
    kept = [
        row
        for row in rows
        if row["dataset"] == "mean" or row["task"] in BY_SET or row["task"] == "retrieval"
    ]
    return [
        {
            "benchmark": "quality",
            "file": name,
            "dataset": row["dataset"],
            **{key: _short(row[key]) for key in KEPT},
        }
        for row in kept
    ]


def _short(value: Any) -> Any:
    return float(f"{value:.5g}") if isinstance(value, float) else value


def main() -> int:
    """Run what is missing, write the rows."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=1, help="cells at a time")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder of the cells")
    options = parser.parse_args()
    folder = Path(os.environ["EMBCOMPRESS_DATA"]) / "embeddings"
    rows: list[dict[str, Any]] = []
    for file, n_bits in FILES.items():
        name = file.partition(".")[0]
        found = run_benchmark(
            load_vectors(folder / file),
            n_bits=n_bits,
            methods=METHODS,
            seeds=SEEDS,
            folder=options.cache / name,
            n_jobs=options.jobs,
            progress=True,
            report=print,
        )
        save_report(found, options.cache / name, title=name)
        rows += rows_of(name, found.rows)
    print(write_rows("quality", rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
