"""Transfer learning on photographs: augment embeddings instead of images.

A pretrained backbone embeds each photograph once. Operators are fitted on unlabelled photographs,
embedded before and after flips, crops, rotations, changes of light and blur; from then on they
make the views of labelled photographs out of their embeddings. The example trains a head on them,
prunes and compiles it, compares with raw augmentation, and writes a report with pictures.

Run: ``EMBCOMPRESS_DATA=... python examples/transfer_images.py -o report.html``
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from _backbones import BACKBONES, count_macs, load_backbone
from _comparison import Task, classical, fit_augmenter, fitted, make_task, none, raw, score, train
from _heads import augmented_heads
from _page import Result, page
from _photographs import Flowers, embed, load_flowers
from _transforms import FIXED, RANDOM

METHODS = {
    "no augmentation": none,
    "raw augmentation": raw,
    "fitted operators": fitted(),
    "fitted offsets": fitted(operator="offset"),
    "matched noise": classical("noise"),
    "within-class mixup": classical("within-class mixup"),
    "SMOTE": classical("smote"),
}


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def choose(flowers: Flowers, n_classes: int, n_images: int) -> Flowers:
    """The first images of the first classes."""
    rows = [np.flatnonzero(flowers.labels == label)[:n_images] for label in range(n_classes)]
    return flowers.only(np.concatenate(rows))


def split(
    labels: npt.NDArray[np.int64], shots: int, n_unlabelled: int, seed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Training, unlabelled and test images, of which no two share one."""
    order = np.random.default_rng(seed).permutation(len(labels))
    training = np.concatenate([order[labels[order] == c][:shots] for c in np.unique(labels)])
    others = order[~np.isin(order, training)]
    if not 3 <= n_unlabelled < len(others):
        raise SystemExit(f"{n_unlabelled} unlabelled of {len(others)} images leave none to test")
    return training, others[:n_unlabelled], others[n_unlabelled:]


def compare(tasks: Sequence[Task], macs: int) -> list[Result]:
    """Mean accuracy of each method, and the backbone's part of its cost."""
    n_views = len(tasks[0].X_raw)
    results = []
    for name, way in METHODS.items():
        scores = [score(train(way(task)), task) for task in tasks]
        mean = {key: float(np.mean([each[key] for each in scores])) for key in scores[0]}
        cost = float(macs)
        if way is raw:
            cost *= 1 + n_views
        elif name.startswith("fitted"):
            operator = "offset" if name.endswith("offsets") else "gainridge"
            report = fit_augmenter(tasks[0], operator=operator).report_
            cost += sum(entry["macs"] for entry in report.values())
        results.append(Result(name, mean["clean"], mean["augmented"], cost))
        say(f"{name:20} clean {mean['clean']:.3f}, augmented {mean['augmented']:.3f}")
    return results


def arguments_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("-o", "--output", type=Path, help="write the report here")
    parser.add_argument("--data", type=Path, default=os.environ.get("EMBCOMPRESS_DATA"))
    parser.add_argument("--backbone", choices=BACKBONES, default="mobilenet_v2")
    parser.add_argument("--classes", type=int, default=9, help="kinds of flowers, 2 to 17")
    parser.add_argument("--images", type=int, default=80, help="photographs of each")
    parser.add_argument("--shots", type=int, default=5, help="labelled photographs of each")
    parser.add_argument("--unlabelled", type=int, default=300, help="to fit operators on")
    parser.add_argument("--draws", type=int, default=5, help="splits that are averaged over")
    parser.add_argument("--random", action="store_true", help="draw strength, side and place")
    options = parser.parse_args(arguments)
    if options.data is None:
        parser.error("give --data, or set EMBCOMPRESS_DATA to the folder of the data")
    return options


def main(arguments: Sequence[str] | None = None) -> list[Result]:
    """Run the example; what it found."""
    import torch

    torch.set_num_threads(1)
    options = arguments_of(arguments)
    transforms = RANDOM if options.random else FIXED
    backbone = load_backbone(options.backbone, options.data)
    macs = count_macs(backbone, backbone.side)
    flowers = choose(load_flowers(options.data), options.classes, options.images)
    say(
        f"{len(flowers.paths)} photographs, {1 + len(transforms)} passes of {macs / 1e6:.0f} M MACs"
    )
    features, seconds, _ = embed(backbone, flowers)
    views = {name: embed(backbone, flowers, each)[0] for name, each in transforms.items()}
    rows = [
        split(flowers.labels, options.shots, options.unlabelled, seed)
        for seed in range(options.draws)
    ]
    tasks = [
        make_task(features, views, flowers.labels, part, nonnegative=True, seed=seed)
        for seed, part in enumerate(rows)
    ]
    results = compare(tasks, macs)
    augmenter = fit_augmenter(tasks[0])
    cost = augmenter.cost(macs, len(tasks[0].X), n_views=10)
    say(f"10 views: {cost['total']:.1f}x fewer MACs in all, {cost['per_view']:.0f}x for each view")
    heads = {
        name: score(predict, tasks[0])["augmented"]
        for name, predict in augmented_heads(tasks[0]).items()
    }
    for name, accuracy in heads.items():
        say(f"head {name}: augmented {accuracy:.3f}")
    if options.output:
        about = {
            "backbone": options.backbone,
            "photographs": len(flowers.paths),
            "labelled a class": options.shots,
            "unlabelled": options.unlabelled,
            "milliseconds a photograph": round(1000 * seconds / len(flowers.paths), 1),
            "fewer MACs with 10 views": f"{cost['total']:.1f}x",
            "fewer for each view": f"{cost['per_view']:.0f}x",
        }
        shown = flowers.only(rows[0][2][:3])
        options.output.write_text(
            page(results, augmenter.report_, heads, shown, transforms, about), encoding="utf-8"
        )
        say(f"{options.output} written")
    return results


if __name__ == "__main__":
    main()
