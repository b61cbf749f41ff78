"""Computation of augmentation, displacements that operators explain, and a pruned head."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import _augmentation_data  # noqa: F401 - puts examples on the path
import numpy as np
from _backbones import count_macs, load_backbone
from _comparison import Task, fit_augmenter, score
from _data import data_folder
from _heads import augmented_heads
from _photographs import embed, load_flowers
from _timing import interleaved
from _transforms import FIXED

from embcompress.augmentation import LowRank

__all__ = ["computation", "displacements", "pruned"]

VIEWS = 10
_TIMED_IMAGES = 60
OPERATORS: dict[str, Any] = {
    "default": "gainridge",
    "ridge, penalty by leave-one-out": "ridge",
    "low rank 64": LowRank(64, penalty=0.3),
    "low rank 16": LowRank(16, penalty=0.3),
    "diagonal": "diagonal",
    "offset": "offset",
    "displacement bank": "bank",
}
Rows = list[dict[str, Any]]


def computation(backbone: str, task: Task) -> Rows:
    """Multiply-accumulate steps and CPU seconds of ten views of each training image.

    Seconds of raw augmentation are passes of the backbone, and those of reading and transforming
    images in a column of their own; those of embedding space are one pass, the views, and, in
    ``total_seconds_with_fit``, the fit on pairs that are there.
    """
    network, flowers = load_backbone(backbone, data_folder()), load_flowers(data_folder())
    some = flowers.only(np.arange(0, len(flowers.paths), len(flowers.paths) // _TIMED_IMAGES))
    passes = [embed(network, some, transform) for transform in (None, FIXED["blur"])]
    _, backbone_s, image_s = (np.mean([p[i] for p in passes]) / len(some.paths) if i else None
                              for i in range(3))  # fmt: skip
    macs, n = count_macs(network, network.side), len(task.X)
    rows = []
    for name, operator in OPERATORS.items():
        start = time.process_time()
        augmenter = fit_augmenter(task, operator=operator, holdout=0.0)
        fit_s = time.process_time() - start
        times = interleaved(
            {"views": lambda a=augmenter: a.fit_resample(task.X, task.y, n_views=VIEWS)}, rounds=5
        )
        view_s = times["views"] * 1e-6 / (n * VIEWS)
        cost = augmenter.cost(macs, n, n_views=VIEWS)
        raw_s, ours_s = n * (1 + VIEWS) * backbone_s, n * (backbone_s + VIEWS * view_s)
        rows.append(
            {
                "part": "cost", "backbone": backbone, "method": name, "n": n, "n_views": VIEWS,
                "backbone_macs": macs, "view_macs": macs / cost["per_view"],
                "per_view_macs": cost["per_view"], "total_macs": cost["total"],
                "backbone_s": backbone_s, "image_s": image_s, "view_s": view_s, "fit_s": fit_s,
                "per_view_seconds": backbone_s / view_s, "total_seconds": raw_s / ours_s,
                "total_seconds_with_fit": raw_s / (ours_s + fit_s),
            }
        )  # fmt: skip
        print(f"{backbone:12} {name:32} {cost['total']:.2f}x MACs {raw_s / ours_s:.2f}x seconds")
    return rows


def displacements(backbone: str, task: Task) -> Rows:
    """What each operator leaves unexplained, on pairs held out."""
    rows = []
    for name in ("default", "ridge, penalty by leave-one-out", "diagonal", "offset"):
        report = fit_augmenter(task, operator=OPERATORS[name]).report_
        rows += [
            {
                "part": "displacement", "backbone": backbone, "method": name,
                "transform": transform,
                **{key: entry[key] for key in ("rho", "rel", "cosine", "cosine_identity")},
            }
            for transform, entry in report.items()
        ]  # fmt: skip
    return rows


def pruned(tasks: Sequence[Task]) -> Rows:
    """A head trained on a stream of views, pruned ten times and compiled; means over tasks."""
    found: dict[str, list[dict[str, float]]] = {}
    for task in tasks:
        for name, predict in augmented_heads(task).items():
            found.setdefault(name, []).append(score(predict, task))
    return [
        {
            "part": "pruned", "backbone": "mobilenet_v2", "method": name,
            "shots": len(tasks[0].y) // len(np.unique(tasks[0].y)), "n_draws": len(scores),
            **{key: float(np.mean([s[key] for s in scores])) for key in ("clean", "augmented")},
        }
        for name, scores in found.items()
    ]  # fmt: skip
