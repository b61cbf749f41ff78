"""What codes keep of word similarity: five embedding files, all quantizers.

For every file and method the Spearman correlation between the similarity of the codes
(``1 - 2 h / n_bits``) and the judgement of people, over the word similarity sets in the data
folder. Words are lower-cased, pairs with a missing word are skipped, and a set counts on a file
where at least 30 of its pairs are covered. Randomized methods are fitted with several seeds; the
mean and the standard deviation over them are written, and so is the share of the ten nearest
neighbours that the codes keep (first seed).

Run: ``EMBCOMPRESS_DATA=... python benchmarks/bench_similarity.py``
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _rows import write_rows

from embcompress import IIQ, ITQ, LSH, CompressedVectors, KeyedVectors, PCASign, Sign, load_vectors
from embcompress.quality import neighbour_recall
from embcompress.row_lengths import unit_rows

FILES = {
    "glove.6B.50d.head9163": "glove.6B.50d.head9163.txt",
    "glove.6B.100d.head2604": "glove.6B.100d.head2604.txt",
    "enwiki_glove100_40k": "enwiki_glove100_40k.txt.gz",
    "enwiki_glove300_40k": "enwiki_glove300_40k.npz",
    "enwiki_sgns300_50k": "enwiki_sgns300_50k.npz",
}
FEWEST_PAIRS = 30
SEEDS, MANY_SEEDS = 3, 10
DEFAULT_IIQ = "IIQ"
FLOAT = ("float cosine", "float centred")


@dataclass(frozen=True)
class PairSet:
    """The covered pairs of one similarity set: two row numbers and a judgement each."""

    name: str
    pairs: npt.NDArray[np.intp]
    scores: npt.NDArray[np.float64]
    n_all: int


@dataclass(frozen=True)
class Method:
    """A quantizer to measure."""

    name: str
    make: Callable[..., Any]
    randomized: bool = True
    only_features: int | None = None


METHODS = [
    Method("Sign zero", partial(Sign, "zero"), randomized=False),
    Method("Sign mean", partial(Sign, "mean"), randomized=False),
    Method("Sign median", partial(Sign, "median"), randomized=False),
    Method("LSH gaussian", partial(LSH, kind="gaussian")),
    Method("LSH orthogonal", LSH),
    Method("LSH orthogonal uncentred", partial(LSH, center=False)),
    Method("PCASign", PCASign, randomized=False),
    Method("ITQ", ITQ),
    Method(DEFAULT_IIQ, IIQ),
    Method("IIQ n_rotations=1", partial(IIQ, n_rotations=1)),
    Method("IIQ n_remove=0", partial(IIQ, n_remove=0)),
    Method("IIQ n_remove=3", partial(IIQ, n_remove=3)),
    Method("LSH orthogonal 512 bits", partial(LSH, n_bits=512), only_features=300),
    Method("IIQ 512 bits", partial(IIQ, n_bits=512), only_features=300),
]


def read_sets(folder: Path, vectors: KeyedVectors) -> list[PairSet]:
    """The similarity sets, on the words of one file."""
    rows = vectors.key_to_index
    found = []
    for path in sorted(folder.glob("EN-*.txt")):
        pairs, scores, n_all = [], [], 0
        for line in path.read_text(encoding="utf-8").splitlines():
            first, second, score = line.lower().split()
            n_all += 1
            if first in rows and second in rows:
                pairs.append((rows[first], rows[second]))
                scores.append(float(score))
        name = path.stem.removeprefix("EN-")
        found.append(PairSet(name, np.array(pairs, dtype=np.intp), np.array(scores), n_all))
    return found


def spearman_of_rows(rows: npt.NDArray[np.float32], sets: list[PairSet]) -> list[float]:
    """Correlation of each set with the cosine of float rows."""
    unit = unit_rows(rows)
    return [
        float(spearmanr(np.einsum("ij,ij->i", *(unit[s.pairs[:, i]] for i in (0, 1))), s.scores)[0])
        for s in sets
    ]


def spearman_of_codes(codes: npt.NDArray[np.uint8], sets: list[PairSet]) -> list[float]:
    """Correlation of each set with minus the Hamming distance."""
    found = []
    for s in sets:
        first, second = codes[s.pairs[:, 0]], codes[s.pairs[:, 1]]
        distances = np.bitwise_count(first ^ second).sum(axis=1, dtype=np.int64)
        found.append(float(spearmanr(-distances, s.scores)[0]))
    return found


def score_columns(sets: list[PairSet], scores: npt.ArrayLike) -> dict[str, Any]:
    """Means and spread of a (seeds, sets) table of correlations."""
    table = np.atleast_2d(scores)
    over_seeds = table.mean(axis=1)
    spread = over_seeds.std(ddof=1) if len(table) > 1 else 0.0
    return {
        "n_seeds": len(table),
        "spearman": round(float(over_seeds.mean()), 4),
        "sd": round(float(spread), 4),
        **{s.name: round(float(v), 4) for s, v in zip(sets, table.mean(axis=0), strict=True)},
    }


def measure(method: Method, vectors: KeyedVectors, sets: list[PairSet], seeds: int) -> dict:
    """Fit one method with each seed; a row without the name of the file."""
    scores, seconds, recall, removed = [], [], {}, []
    for seed in range(seeds if method.randomized else 1):
        model = method.make(random_state=seed) if method.randomized else method.make()
        started = time.process_time()
        model.fit(vectors.vectors)
        seconds.append(time.process_time() - started)
        small = CompressedVectors.encode(vectors, model)
        scores.append(spearman_of_codes(small.codes, sets))
        if hasattr(model, "n_removed_"):
            removed.append(model.n_removed_)
        if seed == 0:
            recall = {
                f"recall10_{scoring}": round(neighbour_recall(vectors, small, scoring=scoring), 4)
                for scoring in ("hamming", "asymmetric")
            }
    return {
        "method": method.name,
        "n_bits": small.n_bits,
        **score_columns(sets, scores),
        "n_removed": " ".join(map(str, sorted(set(removed)))),
        **recall,
        "fit_cpu_s": round(float(np.median(seconds)), 3),
    }


def measure_file(name: str, folder: Path) -> list[dict[str, Any]]:
    """All methods on one embedding file."""
    vectors = load_vectors(folder / "embeddings" / FILES[name])
    sets = read_sets(folder / "word_eval" / "similarity", vectors)
    covered = ", ".join(f"{s.name} {len(s.scores)}/{s.n_all}" for s in sets)
    print(f"\n{name}: {len(vectors)} x {vectors.vector_size}; pairs covered: {covered}", flush=True)
    sets = [s for s in sets if len(s.scores) >= FEWEST_PAIRS]
    centred = vectors.vectors - vectors.vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    rows = [
        {"method": method, "n_bits": 32 * vectors.vector_size}
        | score_columns(sets, spearman_of_rows(matrix, sets))
        for method, matrix in zip(FLOAT, (vectors.vectors, centred), strict=True)
    ]
    # few pairs are covered there, so seeds differ more
    seeds = MANY_SEEDS if name.startswith("glove.6B") else SEEDS
    for method in METHODS:
        if method.only_features in (None, vectors.vector_size):
            rows.append(measure(method, vectors, sets, seeds))
            print("  {method:26} {spearman:.4f} sd {sd:.4f}".format(**rows[-1]), flush=True)
    head = {
        "benchmark": "similarity",
        "file": name,
        "n_words": len(vectors),
        "n_features": vectors.vector_size,
        "n_sets": len(sets),
        "n_pairs": sum(len(s.scores) for s in sets),
    }
    return [head | row for row in rows]


def show(rows: list[dict[str, Any]]) -> None:
    """Print methods by files."""
    files = list(dict.fromkeys(row["file"] for row in rows))
    found = {(row["method"], row["file"]): row["spearman"] for row in rows}
    print("\n" + " " * 26 + "".join(f"{file:>24}" for file in files))
    for method in dict.fromkeys(row["method"] for row in rows):
        cells = (found.get((method, file)) for file in files)
        shown = "".join(f"{'' if cell is None else f'{cell:.4f}':>24}" for cell in cells)
        print(f"{method:26}{shown}")


def judge(rows: list[dict[str, Any]]) -> None:
    """Say where IIQ with its defaults is the best row of one bit per dimension."""
    for file in dict.fromkeys(row["file"] for row in rows):
        codes = {
            row["method"]: row
            for row in rows
            if row["file"] == file and row["n_bits"] == row["n_features"]
        }
        ours = codes[DEFAULT_IIQ]
        others = [row for name, row in codes.items() if not name.startswith("IIQ")]
        for what, rivals in (("other quantizers", others), ("all rows", list(codes.values()))):
            best = max(rivals, key=lambda row: row["spearman"])
            gap = ours["spearman"] - best["spearman"]
            print(
                f"{file}: IIQ {ours['spearman']:.4f} (sd {ours['sd']:.4f}), best of {what} "
                f"{best['method']} {best['spearman']:.4f} (sd {best['sd']:.4f}): {gap:+.4f}"
            )


def main() -> None:
    """Measure every file, write the rows, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="*", choices=[[], *FILES], help="default: all five")
    options = parser.parse_args()
    folder = os.environ.get("EMBCOMPRESS_DATA")
    if not folder or not Path(folder).is_dir():
        raise SystemExit("EMBCOMPRESS_DATA has to name the folder of the data")
    warnings.simplefilter("error")
    rows = []
    with threadpool_limits(1):
        for name in options.files or FILES:
            rows += measure_file(name, Path(folder))
    show(rows)
    judge(rows)
    if not options.files:
        print(write_rows("similarity", rows))


if __name__ == "__main__":
    main()
