"""ResNet-20 on photographs: patterns, blocks, rows and columns, single weights.

Every method gets the same retraining, towards the answers of the tuned dense network, which was
better than by the labels (on held out training images). The methods that train for their zeros have
four epochs of some images before it. What the dense network gains from being trained on as long,
by the labels, is a row of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from _pruning_cells import Experiment, Method
from _pruning_data import Split, photographs

__all__ = ["resnet"]

Run = Callable[[Any, Split, int], tuple[Any, Any]]

# of the methods that train for their zeros
EPOCHS = 4
STEPS = {"epochs": EPOCHS, "optimizer": "sgd", "learning_rate": 0.01}


@dataclass(frozen=True)
class Retraining:
    """What all methods have after the cut: images, and the rate of SGD they begin with."""

    n_images: int
    rate: float


def resnet(*, long: bool) -> Experiment:
    """The experiment; the long setting trains on four to eight times as many images."""
    from _pruning_models import accuracy, tuned_resnet20

    from embcompress.pruning import SPM, Connectivity, KernelPattern, Unstructured

    rows, retrain, tune = (20_000, 320_000, 250_000) if long else (5_000, 40_000, 250_000)
    retrain = Retraining(retrain, 0.03 if long else 0.015)
    recipe, one_shot = partial(by_recipe, rows, retrain), partial(cut, retrain)
    both = {
        "conv1": KernelPattern(),
        "layer*": Connectivity(0.55) & KernelPattern(),
        "linear": Unstructured(0.8),
    }
    fixed = {"conv1": KernelPattern(), "layer*": KernelPattern()}
    few = {"conv1": SPM(4, 16), "layer*": SPM(4, 16)}
    kernels = {"skip": ["linear"]}
    # the reweighted penalty is steep near zero, where plain steps overshoot
    adam = {"optimizer": "adam", "learning_rate": 1e-3}
    ways: list[tuple[str, float, Run, str, str]] = [
        ("trained on", 1.0, partial(trained_on, retrain), "labels", ""),
        ("pattern", 2.25, recipe("pattern-connectivity", rate=2.25, **kernels), "natural", "fkw"),
        ("pattern + connectivity", 5.0, recipe("pattern-connectivity", rate=5.0), "natural", "fkw"),
        ("PCNN n=4, 16 patterns", 2.25, recipe("pcnn", n=4, **kernels), "4 of 9", "spm"),
        ("ADMM", 4.0, partial(real, rows, retrain), "real", "csr"),
        ("privacy-preserving", 4.0, partial(private, rows, retrain), "random", "csr"),
        ("BLK-REW", 4.0, recipe("blk-rew", rate=4.0, **adam), "blocks", ""),
        ("SS-Auto", 4.0, recipe("ss-auto", rate=4.0), "rows and columns", "compact"),
        ("one-shot", 4.0, one_shot(Unstructured(0.75)), "single", "csr"),
        ("one-shot pattern", 2.25, one_shot(fixed), "fixed", "fkw"),
        ("one-shot pattern + connectivity", 5.0, one_shot(both), "both", "fkw"),
        ("one-shot PCNN", 2.25, one_shot(few), "few", "spm"),
    ]  # fmt: skip
    text = f"{rows} x {STEPS}, {retrain.n_images} at {retrain.rate}"
    return Experiment(
        "resnet-cifar10", "ResNet-20", photographs,
        lambda split, seed: tuned_resnet20(split, n_images=tune),
        lambda model, split: accuracy(model, split.X_test, split.y_test),
        f"tuned by {tune}",
        [
            Method(name, rate, run, f"{text} {more}", seeds=1, layout=layout)
            for name, rate, run, more, layout in ways
        ],
        stored=True,
    )  # fmt: skip


def by_recipe(rows: int, retrain: Retraining, name: str, **options: Any) -> Run:
    """Prune by a recipe on some rows; then the retraining that all methods have."""

    def run(model: Any, split: Split, seed: int) -> tuple[Any, Any]:
        from embcompress.pruning.recipes import RECIPES

        result = RECIPES[name](
            model, *part(split, rows, seed), batch_size=128, random_state=seed,
            retrain_epochs=0, **{**STEPS, **options},
        )  # fmt: skip
        return again(model, result, split, retrain, seed)

    return run


def cut(retrain: Retraining, scheme: Any) -> Run:
    """Cut by magnitude, then retrain."""

    def run(model: Any, split: Split, seed: int) -> tuple[Any, Any]:
        from embcompress.pruning import OneShot

        return again(model, OneShot().solve(model, scheme), split, retrain, seed)

    return run


def trained_on(retrain: Retraining, model: Any, split: Split, seed: int) -> tuple[Any, Any]:
    """The dense network with the retraining of the pruned ones."""
    from _pruning_models import trained

    from embcompress.pruning import Masks

    none = Masks({})
    size = {"n_images": retrain.n_images, "rate": retrain.rate}
    return trained(model, none, split, seed=seed, **size), none


def real(rows: int, retrain: Retraining, model: Any, split: Split, seed: int) -> tuple[Any, Any]:
    """Single weights by ADMM on labelled images."""
    from embcompress.pruning import ADMM, LabelledBatches, TaskLoss, Unstructured

    X, y = part(split, rows, seed)
    solver = ADMM(epochs_per_rho=EPOCHS // 4, optimizer="sgd", learning_rate=STEPS["learning_rate"])
    result = solver.solve(
        model, Unstructured(0.75), TaskLoss(), LabelledBatches(X, y, 128, seed=seed),
        random_state=seed,
    )  # fmt: skip
    return again(model, result, split, retrain, seed)


def private(rows: int, retrain: Retraining, model: Any, split: Split, seed: int) -> tuple[Any, Any]:
    """Single weights without the data: random pixels decide, as in the paper."""
    from embcompress.pruning import RandomInputs
    from embcompress.pruning.recipes import RECIPES

    drawn = RandomInputs((3, 32, 32), "uniform", n_batches=rows // 128, batch_size=128, seed=seed)
    result = RECIPES["privacy-preserving"](
        model, rate=4.0, inputs=drawn, layerwise=False, epochs=EPOCHS, retrain_epochs=0,
        optimizer="adam", learning_rate=1e-4, random_state=seed,
    )  # fmt: skip
    return again(model, result, split, retrain, seed)


def part(split: Split, rows: int, seed: int) -> tuple[Any, Any]:
    """Some rows of the training part."""
    order = np.random.default_rng(seed).permutation(len(split.X_train))[:rows]
    return split.X_train[order], split.y_train[order]


def again(dense: Any, result: Any, split: Split, retrain: Retraining, seed: int) -> tuple[Any, Any]:
    """The retraining that is the same for all methods."""
    from _pruning_models import trained

    model = trained(
        result.model, result.masks, split, n_images=retrain.n_images, rate=retrain.rate,
        teacher=dense, seed=seed,
    )  # fmt: skip
    return model, result.masks
