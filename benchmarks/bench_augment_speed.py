"""How long operators take to fit, and how many embeddings a minute they move.

1,000 pairs of 1,280 dimensions with a decaying spectrum, on one thread; processor time, the least
of three. Fitting includes the decomposition, which an augmenter does once for all operators.

Run: ``OPENBLAS_NUM_THREADS=1 python benchmarks/bench_augment_speed.py``
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _rows import write_rows

from embcompress.augmentation import (
    Diagonal,
    DisplacementBank,
    EmbeddingAugmenter,
    LowRank,
    Offset,
    ParameterConditioned,
    ResidualRidge,
)

PAIRS, DIMENSIONS, ROWS = 1_000, 1_280, 20_000
NOISES = (None, "diagonal", "factors", "bank")


def embeddings(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows with a decaying spectrum, and views by a linear map and noise."""
    directions = np.linalg.qr(rng.normal(size=(DIMENSIONS, DIMENSIONS)))[0]
    spectrum = 1 / np.sqrt(np.arange(1, DIMENSIONS + 1))
    Z = rng.normal(size=(PAIRS, DIMENSIONS)) * spectrum @ directions.T
    W = rng.normal(size=(DIMENSIONS, DIMENSIONS)) / np.sqrt(DIMENSIONS)
    views = Z + 0.5 * Z @ W + 0.02 * rng.normal(size=Z.shape)
    return Z.astype(np.float32), views.astype(np.float32)


def least(work: Callable[[], Any], times: int = 3) -> float:
    """Processor seconds of the quickest run."""
    found = []
    for _ in range(times):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


def main() -> None:
    """Measure, check, and write the rows."""
    warnings.simplefilter("ignore", UserWarning)  # what operators explain is not measured here
    Z, views = embeddings(np.random.default_rng(0))
    many = np.tile(Z, (ROWS // PAIRS, 1))
    strengths = np.linspace(0, 1, PAIRS)
    rows = []
    forms: dict[str, Any] = {
        "ridge": ResidualRidge(),
        "ridge, a penalty per dimension": ResidualRidge(per="dimension"),
        "ridge, a penalty per direction": ResidualRidge(per="direction"),
        "low rank 64": LowRank(64),
        "low rank by leave-one-out": LowRank(),
        "by strength": ParameterConditioned(),
        "diagonal": Diagonal(),
        "offset": Offset(),
        "bank": DisplacementBank(),
    }
    for label, operator in forms.items():
        params = strengths if label == "by strength" else None
        seconds = least(lambda o=operator, p=params: o.fit(Z, views, p))
        given = {"a": views if params is None else (views, params)}
        augmenter = EmbeddingAugmenter(operator, holdout=0).fit(Z, given)
        rows.append(measured(label, "none", seconds, augmenter, many, operator.macs))
    for noise in NOISES[1:]:
        augmenter = EmbeddingAugmenter(LowRank(64), noise=noise, random_state=0, holdout=0)
        seconds = least(lambda a=augmenter: a.fit(Z, {"a": views}))
        macs = augmenter.report_["a"]["macs"]
        rows.append(measured("low rank 64", noise, seconds, augmenter, many, macs))
    print(write_rows("augment_speed", rows))


def measured(
    operator: str, noise: str, seconds: float, augmenter: Any, many: np.ndarray, macs: int
) -> dict[str, Any]:
    """One row; a first call checks that the same seed gives the same views."""
    small = many[:1000]
    same = augmenter.transform(small, "a", random_state=0) == augmenter.transform(
        small, "a", random_state=0
    )
    assert same.all()
    apply = least(lambda: augmenter.transform(many, "a", random_state=0))
    row = {
        "operator": operator,
        "noise": noise,
        "n_pairs": PAIRS,
        "n_dimensions": DIMENSIONS,
        "fit_cpu_seconds": round(seconds, 3),
        "macs": macs,
        "embeddings_per_cpu_minute": round(60 * len(many) / apply, -3),
    }
    print(row, flush=True)
    return row


if __name__ == "__main__":
    main()
