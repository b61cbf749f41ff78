"""Forms of IIQ that were tried: what each keeps at the same bytes, also those that were dropped.

Every form starts from what IIQ prepares: unit rows, centred, the dominant directions left out, the
principal directions that remain. It ends in two matrices, what is stored and what asks, which are
compared by cosine. Written are the mean Spearman correlation over the similarity sets and the share
of the ten nearest float neighbours that remain, three seeds.

Run: ``EMBCOMPRESS_DATA=... python benchmarks/bench_variants.py``; some ten minutes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _rows import write_rows

from embcompress import IIQ, CompressedVectors, KeyedVectors, load_vectors
from embcompress.evaluation import Space, evaluate_similarity, space_of
from embcompress.evaluation.retrieval import Neighbours, evaluate_retrieval, neighbours
from embcompress.evaluation.suite_tasks import load_sets
from embcompress.progress import ProgressBar
from embcompress.quantizers._moments import principal_directions
from embcompress.quantizers._spectrum import choose_n_remove
from embcompress.quantizers.itq import best_rotation, sample_rows
from embcompress.row_lengths import unit_rows

Matrix = npt.NDArray[np.float32]
FILES = {
    "enwiki_glove300_40k.npz": 300,
    "enwiki_sgns300_50k.npz": 300,
    "enwiki_glove100_40k.txt.gz": 100,
}
SEEDS = 3
FIT_ROWS = 20_000
# of a standard Gaussian, the thresholds of the best thermometer code with two of them
THERMOMETER = 0.43


@dataclass
class Prepared:
    """Unit rows of a file, and its moments under weights of the rows."""

    unit: Matrix
    counts: npt.NDArray[np.float64] | None

    def directions(self, power: float = 0.0) -> tuple[Matrix, npt.NDArray, Matrix]:
        """Mean, variances and principal directions, rows weighted by count ** power."""
        n = len(self.unit)
        weights = np.ones(n) if self.counts is None else self.counts**power
        weights = (weights / weights.sum()).astype(np.float32)
        mean = weights @ self.unit
        covariance = (self.unit * weights[:, None]).T @ self.unit - np.outer(mean, mean)
        variances, directions = principal_directions(covariance.astype(np.float64))
        return mean, variances, directions.astype(np.float32)

    def scores(self, n: int, *, power: float = 0.0, remove: int | None = None) -> Matrix:
        """Scores of all rows on the strongest `n` directions behind the removed ones."""
        mean, variances, directions = self.directions(power)
        centred = self.unit - mean
        if remove is None:
            random = np.random.RandomState(0)
            first = centred[sample_rows(len(centred), FIT_ROWS, random)] @ directions.T
            remove = choose_n_remove(variances, first, random)
        return centred @ directions[remove : remove + n].T


def rotate(scores: Matrix, n_outputs: int, random: np.random.RandomState) -> Matrix:
    """Scores times a rotation fitted to them."""
    rows = sample_rows(len(scores), FIT_ROWS, random)
    with ProgressBar("", enabled=False) as bar:
        found = best_rotation(unit_rows(scores[rows]), n_outputs, random, 50, 1e-3, 1, bar)
    return scores @ found.matrix


def stacked(scores: Matrix, n_bits: int, random: np.random.RandomState) -> Matrix:
    """Two rotations of half of the directions where there are 256 or more, else one."""
    if n_bits < 256:
        return rotate(scores, n_bits, random)
    half = n_bits // 2
    return np.concatenate([rotate(scores[:, :half], half, random) for _ in range(2)], axis=1)


def signs(scores: Matrix) -> Matrix:
    """-1 and 1."""
    return np.where(scores >= 0, np.float32(1), np.float32(-1))


def cosine(rows: Matrix, queries: Matrix | None = None) -> tuple[Matrix, Matrix]:
    """Both sides with length 1; the stored rows ask where there is no other side."""
    unit = unit_rows(rows)
    return unit, unit if queries is None else unit_rows(queries)


def forms(data: Prepared, n_bits: int, seed: int) -> Iterator[tuple[str, Matrix, Matrix]]:
    """Name, what is stored, what asks; compared by dot product."""

    def random() -> np.random.RandomState:
        return np.random.RandomState(seed)

    whole = data.scores(n_bits)
    V = stacked(whole, n_bits, random())
    B = signs(V)
    yield "signs: hamming", *cosine(B)
    yield "signs: asymmetric", *cosine(B, V)
    kept = (unit_rows(V) * unit_rows(B)).sum(axis=1, keepdims=True)
    scaled = unit_rows(B) / kept
    yield "signs with a scale for each vector: asymmetric", scaled, unit_rows(V)
    yield (
        "signs with a scale for each direction: asymmetric",
        *cosine(B * np.abs(V).mean(axis=0), V),
    )
    for power in (0.25, 0.5):
        softened = data.scores(n_bits, remove=0) / data.directions()[1][:n_bits] ** (power / 2)
        S = signs(stacked(softened.astype(np.float32), n_bits, random()))
        yield f"signs, spectrum to the power {1 - power:g} for the cut: hamming", *cosine(S)
    if data.counts is not None:
        for power in (0.25, 0.5, 1.0):
            S = signs(stacked(data.scores(n_bits, power=power), n_bits, random()))
            yield f"signs, rows weighted by count ** {power:g}: hamming", *cosine(S)
    half = rotate(whole[:, : n_bits // 2], n_bits // 2, random())
    size = np.sqrt((half**2).mean(axis=1, keepdims=True))
    large = np.abs(half) >= size
    levels = np.where(large, np.float32(3), np.float32(1)) * signs(half)
    yield "two bits: hamming of bit planes", *cosine(levels)
    yield "two bits: asymmetric", *cosine(levels, half)
    gray = np.concatenate([signs(half), signs(np.abs(half) - size)], axis=1)
    yield "two bits, sign and magnitude: plain hamming", *cosine(gray)
    steps = np.concatenate([signs(half + THERMOMETER * size), signs(half - THERMOMETER * size)], 1)
    yield "two bits, thermometer: plain hamming", *cosine(steps)


def larger(vectors: KeyedVectors, n_bits: int, seed: int) -> Iterator[tuple[str, Matrix, Matrix]]:
    """More bits than features."""
    for factor in (1.7, 2.0):
        quantizer = IIQ(round(factor * n_bits), random_state=seed)
        space = space_of(CompressedVectors.compress(vectors, quantizer))
        yield f"{factor:g}x the bits, signs: hamming", space.rows, space.rows


def measure(space: Space, sets: list, reference: Neighbours | None) -> tuple[float, float | None]:
    """Mean Spearman correlation and recall@10."""
    scores = [evaluate_similarity(space, data, n_resamples=1).value for data in sets]
    mean = float(np.mean([score for score in scores if score is not None]))
    if reference is None:
        return mean, None
    found = neighbours(space, 10, queries=reference.queries)
    recall = next(
        result.value
        for result in evaluate_retrieval(found, reference, n_resamples=1)
        if result.metric == "recall@10"
    )
    return mean, recall


def measure_file(path: Path, n_bits: int) -> list[dict]:
    """All forms on one file."""
    vectors = load_vectors(path)
    counts = np.load(path)["counts"].astype(float) if path.suffix == ".npz" else None
    floats = space_of(vectors)
    data = Prepared(floats.rows, counts)
    sets = load_sets(["similarity"]).sets["similarity"]
    reference = neighbours(floats, 10, n_queries=500)
    scored: dict[str, list[tuple[float, float | None]]] = {
        "float": [(measure(floats, sets, None)[0], 1.0)]
    }
    for seed in range(SEEDS):
        for made in (forms(data, n_bits, seed), larger(vectors, n_bits, seed)):
            for name, rows, queries in made:
                space = Space(vectors.index_to_key, rows, queries, name)
                scored.setdefault(name, []).append(measure(space, sets, reference))
    print(path.name, flush=True)
    return [row_of(path, n_bits, name, values) for name, values in scored.items()]


def row_of(path: Path, n_bits: int, name: str, values: list) -> dict:
    """One row of the results."""
    spearman, recall = np.array(values).T
    row = {
        "benchmark": "variants",
        "file": path.name.partition(".")[0],
        "n_bits": n_bits,
        "form": name,
        "n_seeds": len(values),
        "spearman": round(float(spearman.mean()), 4),
        "spearman_sd": round(float(spearman.std(ddof=1)), 4) if len(values) > 1 else "",
        "recall10": round(float(recall.mean()), 4),
    }
    print(row["form"], row["spearman"], row["recall10"], flush=True)
    return row


def main() -> int:
    """Measure all files, write the rows."""
    folder = Path(os.environ["EMBCOMPRESS_DATA"]) / "embeddings"
    rows: list[dict] = []
    with threadpool_limits(1):
        for file, n_bits in FILES.items():
            rows += measure_file(folder / file, n_bits)
    print(write_rows("variants", rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
