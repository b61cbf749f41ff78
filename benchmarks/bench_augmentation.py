"""What augmentation in embedding space keeps of raw augmentation, and what it costs.

Flowers of 17 kinds with two pretrained backbones. Settings were chosen on 8 of the classes
(``--validate``); the figures are those of the other 9, and of all 17 for the main methods. In every
draw the training images, 300 unlabelled images that operators are fitted on, and the test images
are different ones.

Run: ``EMBCOMPRESS_DATA=... python benchmarks/bench_augmentation.py``; features take 12 minutes of
processor time the first time, the rest 8. SqueezeNet needs h5py.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import _augmentation_costs as costs
import numpy as np
import numpy.typing as npt
from _augmentation_data import BACKBONES, KINDS, check_features, labels, view_features
from _comparison import Task, Way, classical, fitted, make_task, none, raw, score, train
from _rows import RESULTS, write_rows

from embcompress.augmentation import GainRidge, LowRank, ResidualRidge

SHOTS = (1, 5, 10, 20)
DRAWS = 10
UNLABELLED = 300
METHODS: dict[str, Way] = {
    "none": none,
    "raw": raw,
    "default": fitted(),
    "gains + ridge, penalty 1": fitted(operator=GainRidge(1.0)),
    "gains + ridge, penalty by leave-one-out": fitted(operator=GainRidge("loo")),
    "default, residual bank at 0.3": fitted(noise="bank", noise_scale=0.3),
    "default, residual bank at 1": fitted(noise="bank"),
    "default, two strengths of 0.7 to 1.3": fitted(2, strength=(0.7, 1.3)),
    "default, strength 1.2": fitted(strength=1.2),
    "ridge, penalty 0.01": fitted(operator=ResidualRidge(penalty=0.01)),
    "ridge, penalty by leave-one-out": fitted(operator="ridge"),
    "low rank 16": fitted(operator=LowRank(16, penalty=0.3)),
    "low rank 64": fitted(operator=LowRank(64, penalty=0.3)),
    "diagonal": fitted(operator="diagonal"),
    "offset": fitted(operator="offset"),
    "displacement bank": fitted(operator="bank"),
    "matched noise": classical("noise"),
    "mixup": classical("mixup"),
    "within-class mixup": classical("within-class mixup"),
    "SMOTE": classical("smote"),
}
MAIN = ("none", "raw", "default", "matched noise", "SMOTE")
CLASSES = {"validation": range(1, 17, 2), "report": range(0, 17, 2), "all": range(17)}
Rows = list[dict[str, Any]]


def split(
    classes: Sequence[int], shots: int, seed: int, n_unlabelled: int = UNLABELLED
) -> tuple[npt.NDArray[np.int64], ...]:
    """Training, unlabelled and test images of one draw; no image is in two of them.

    Parameters
    ----------
    classes : sequence of int
    shots : int
        Training images of each class, up to 20: fewer are the first of more.
    seed : int
    n_unlabelled : int

    Returns
    -------
    tuple of three ndarrays of int64
    """
    random = np.random.default_rng([seed, 7])
    training, rest = [], []
    for number in classes:
        order = random.permutation(np.flatnonzero(labels() == number))
        training.append(order[:20][:shots])
        rest.append(order[20:])
    others = random.permutation(np.concatenate(rest))
    return np.concatenate(training), others[:n_unlabelled], others[n_unlabelled:]


def tasks(
    backbone: str,
    kind: str,
    classes: Sequence[int],
    shots: int,
    n_draws: int,
    n_unlabelled: int = UNLABELLED,
) -> Iterator[Task]:
    """The task of each draw."""
    features = view_features(backbone)["features"]
    views = {name: view_features(backbone, kind, name)["features"] for name in KINDS[kind]}
    for seed in range(n_draws):
        rows = split(classes, shots, seed, n_unlabelled)
        yield make_task(features, views, labels(), rows, nonnegative=True, seed=seed)


def compare(
    backbone: str,
    kind: str,
    part: str,
    shots: int,
    methods: Mapping[str, Way],
    n_draws: int,
    n_unlabelled: int = UNLABELLED,
) -> Rows:
    """Accuracy of all methods at one number of images a class."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in methods}
    for task in tasks(backbone, kind, CLASSES[part], shots, n_draws, n_unlabelled):
        for name, way in methods.items():
            found[name].append(score(train(way(task)), task))
    rows = []
    for name, scores in found.items():
        mean = {key: float(np.mean([each[key] for each in scores])) for key in scores[0]}
        kept, low, high = kept_gain(*([s["augmented"] for s in found[m]] for m in
                                      (name, "none", "raw")))  # fmt: skip
        rows.append(
            {
                "part": "accuracy", "classes": part, "views": kind, "backbone": backbone,
                "shots": shots, "method": name, "n_draws": n_draws,
                "n_pairs": n_unlabelled, "kept": kept,
                "kept_low": low, "kept_high": high, **mean,
            }
        )  # fmt: skip
        print(
            f"{part:10} {kind:6} {backbone:12} {shots:2} {name:40} "
            f"{mean['clean']:.3f} {mean['augmented']:.3f} {kept:5.2f} [{low:.2f}, {high:.2f}]",
            flush=True,
        )
    return rows


def kept_gain(
    method: Sequence[float], plain: Sequence[float], raw_: Sequence[float]
) -> tuple[float, float, float]:
    """Share of the gain of raw augmentation, with a 95 % bootstrap interval over the draws."""
    gains = np.subtract([method, raw_], plain)
    chosen = np.random.default_rng(0).integers(0, len(plain), (1000, len(plain)))
    of_method, of_raw = gains[:, chosen].mean(axis=2)
    shares = of_method / np.where(np.abs(of_raw) > 1e-9, of_raw, np.nan)
    low, high = np.nanpercentile(shares, [2.5, 97.5])
    return float(gains[0].mean() / gains[1].mean()), float(low), float(high)


def accuracy(options: argparse.Namespace) -> Rows:
    """All comparisons."""
    rows: Rows = []
    main = {name: METHODS[name] for name in MAIN}
    plans = [("report", "fixed", METHODS), ("report", "random", main), ("all", "fixed", main)]
    if options.validate:
        plans = [("validation", "fixed", METHODS)]
    for part, kind, methods in plans:
        for backbone in BACKBONES:
            for shots in SHOTS:
                rows += compare(backbone, kind, part, shots, methods, options.draws)
    return rows


def pairs(options: argparse.Namespace) -> Rows:
    """All 17 classes with more and fewer unlabelled images, on the same kind of test images."""
    names = ("none", "raw", "default", "default, strength 1.2", "matched noise")
    methods = {name: METHODS[name] for name in names}
    rows = [
        row
        for n_pairs in (150, 600)
        for shots in (5, 20)
        for row in compare("mobilenet_v2", "fixed", "all", shots, methods, options.draws, n_pairs)
    ]
    return [{**row, "part": "pairs"} for row in rows]


def costs_and_displacements(options: argparse.Namespace) -> Rows:
    """Computation of ten views, and what operators leave unexplained."""
    rows: Rows = []
    for backbone in BACKBONES:
        task = next(tasks(backbone, "fixed", CLASSES["all"], 20, 1))
        rows += costs.computation(backbone, task) + costs.displacements(backbone, task)
    return rows


def pruned(options: argparse.Namespace) -> Rows:
    """An augmented head, pruned and compiled."""
    part = "validation" if options.validate else "report"
    return costs.pruned(list(tasks("mobilenet_v2", "fixed", CLASSES[part], 20, options.draws)))


PARTS = {"accuracy": accuracy, "pairs": pairs, "costs": costs_and_displacements, "pruned": pruned}


def with_others(name: str, rows: Rows) -> Rows:
    """The rows, and those of parts that were not measured anew."""
    path, parts = RESULTS / f"{name}.csv", {row["part"] for row in rows}
    if not path.exists():
        return rows
    with path.open(newline="", encoding="utf-8") as file:
        kept = [row for row in csv.DictReader(file) if row["part"] not in parts]
    return [*kept, *rows]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--validate", action="store_true", help="on the classes for choices")
    parser.add_argument("--only", choices=PARTS, help="one part; other rows stay")
    parser.add_argument("--draws", type=int, default=DRAWS)
    options = parser.parse_args(arguments)
    start = time.process_time()
    check_features()
    rows = [row for name, part in PARTS.items() if options.only in (None, name)
            for row in part(options)]  # fmt: skip
    print(f"{time.process_time() - start:.0f} s of processor time")
    name = "augmentation_validation" if options.validate else "augmentation"
    write_rows(name, with_others(name, rows))


if __name__ == "__main__":
    main()
