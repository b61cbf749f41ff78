"""Accuracy of pruned heads on real data: dense, one-shot and solvers at equal density.

Each experiment is a head, data, and the ways it is pruned; all ways of one rate end in the same
retraining. Settings were chosen on a part of the training data (``--validate`` scores there).
Finished cells lie in ``cache/pruning`` and are not run again; a cell whose setting changed is.

Run: ``EMBCOMPRESS_DATA=... python benchmarks/bench_pruning.py [--only mlp-trec] [--long]``.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _pruning_data import CACHE, Split, photographs, spoken_digits, text_means
from _rows import write_rows

SEEDS = 3


@dataclass(frozen=True)
class Method:
    """One way to prune.

    Attributes
    ----------
    name : str
    rate : float
        Original / kept weights that are asked for.
    run : callable
        ``run(dense, split, seed)`` gives the pruned model and its masks.
    setting : str
        What would change the result; a cell with another setting is run again.
    seeds : int
    """

    name: str
    rate: float
    run: Callable[[Any, Split, int], tuple[Any, Any]]
    setting: str
    seeds: int = SEEDS


@dataclass(frozen=True)
class Experiment:
    """A head, its data, and how it is pruned.

    Attributes
    ----------
    name : str
    model : str
        For the table.
    data : callable
    dense : callable
        ``dense(split, seed)`` gives the trained model.
    score : callable
        ``score(model, split)`` gives the accuracy on the test part.
    setting : str
        Of the dense model.
    methods : list of Method
    """

    name: str
    model: str
    data: Callable[[], Split]
    dense: Callable[[Split, int], Any]
    score: Callable[[Any, Split], float]
    setting: str
    methods: list[Method] = field(default_factory=list)


def retrained(
    head: Any, result: Any, split: Split, *, epochs: int, learning_rate: float = 1e-3
) -> tuple[Any, Any]:
    """The head with the pruned network, retrained by the labels; the same for all solvers."""
    from embcompress.pruning import TaskLoss, finetune

    data = head.batches(split.X_train, split.y_train)
    model = finetune(
        result.model, result.masks, TaskLoss(), data, epochs=epochs, schedule="cosine",
        learning_rate=learning_rate,
    )  # fmt: skip
    return with_network(head, model), result.masks


def with_network(head: Any, model: Any) -> Any:
    """Copy of a head with another network."""
    other = copy.copy(head)
    other.module_ = model.eval()
    return other


def solved(
    solver: Any, scheme: Any, *, epochs: int, learning_rate: float = 1e-3, **options: Any
) -> Callable[[Any, Split, int], tuple[Any, Any]]:
    """Prune a head by a scheme and a solver, then retrain it."""

    def run(head: Any, split: Split, seed: int) -> tuple[Any, Any]:
        from embcompress.pruning import TaskLoss

        result = solver.solve(
            head.module_, scheme, TaskLoss(), head.batches(split.X_train, split.y_train),
            random_state=seed, **options,
        )  # fmt: skip
        return retrained(head, result, split, epochs=epochs, learning_rate=learning_rate)

    return run


def by_recipe(name: str, **options: Any) -> Callable[[Any, Split, int], tuple[Any, Any]]:
    """Prune a head by a recipe, which retrains it too."""

    def run(head: Any, split: Split, seed: int) -> tuple[Any, Any]:
        from embcompress.pruning.recipes import RECIPES

        result = RECIPES[name](head, split.X_train, split.y_train, random_state=seed, **options)
        return with_network(head, result.model), result.masks

    return run


def head_score(head: Any, split: Split) -> float:
    """Accuracy of a head."""
    return float(head.score(split.X_test, split.y_test))


def first_layer(solver: Any, *, epochs: int, learning_rate: float) -> Any:
    """Prune the first layer of a perceptron so far that the whole has the rate of the solver.

    One threshold for all layers would take nearly all of the small output layer.
    """

    def run(head: Any, split: Split, seed: int) -> tuple[Any, Any]:
        from embcompress.pruning import Masks, TaskLoss, Unstructured, prunable_weights

        views = prunable_weights(head.module_)
        rest = sum(view.numel for view in views[1:])
        rate = views[0].numel / ((views[0].numel + rest) / solver.target_rate - rest)
        result = replace(solver, target_rate=rate).solve(
            head.module_, {views[0].name: Unstructured(1 - 1 / rate)}, TaskLoss(),
            head.batches(split.X_train, split.y_train), random_state=seed,
        )  # fmt: skip
        others = {view.name: view.of(head.module_) != 0 for view in views[1:]}
        result.masks = Masks({**result.masks, **others})
        return retrained(head, result, split, epochs=epochs, learning_rate=learning_rate)

    return run


def mlp(
    name: str,
    hidden: int,
    dense: dict[str, Any],
    epochs: int,
    retrain: int,
    rho: tuple[float, ...],
) -> Experiment:
    """Perceptron on mean word vectors, single weights removed; 20x, and without the data at 4x."""
    from embcompress.heads import MLPHead
    from embcompress.pruning import ADMM, OneShot, PrimalProximal, Reweighted, Unstructured

    settings = {"batch_size": 128, **dense}

    def trained(split: Split, seed: int) -> Any:
        head = MLPHead((hidden,), random_state=seed, **settings)
        return head.fit(split.X_train, split.y_train)

    rate, scheme = 20.0, Unstructured(0.95)
    auto = {"rates": "auto", "target_rate": rate}
    stage = max(1, round(epochs / len(rho)))
    again = {"epochs": retrain, "learning_rate": 2e-3}
    solvers = {
        "one-shot": OneShot(),
        "ADMM": ADMM(rho=rho, epochs_per_rho=stage),
        "Reweighted": Reweighted(penalty=1.0, epochs=epochs),
    }
    methods = [
        Method(label, rate, solved(solver, scheme, **again, **auto), f"{solver!r} {auto} {again}")
        for label, solver in solvers.items()
    ]
    proximal = PrimalProximal(target_rate=rate, rho=0.1, epochs=epochs, normalize=False)
    methods.append(
        Method("PrimalProximal", rate, first_layer(proximal, **again), f"{proximal!r} {again}")
    )
    private = {
        "rate": 4.0, "epochs": max(4, epochs // 2),
        "retrain_epochs": retrain, "retrain_learning_rate": again["learning_rate"],
    }  # fmt: skip
    layered, real = Unstructured(0.75), ADMM(epochs_per_rho=max(1, epochs // 8))
    methods += [
        Method("one-shot", 4.0, solved(OneShot(), layered, **again), f"4x {again}"),
        Method("ADMM", 4.0, solved(real, layered, **again), f"{real!r} {layered!r} {again}"),
        Method("privacy-preserving", 4.0, by_recipe("privacy-preserving", **private), str(private)),
    ]
    return Experiment(
        f"mlp-{name}", f"MLPHead(({hidden},))", lambda: text_means(name), trained, head_score,
        f"{hidden} {settings}", methods,
    )  # fmt: skip


def gru_scheme(rate: float, columns: float) -> Any:
    """Rows inside column blocks, and columns with them, as the recipe takes them."""
    from embcompress.pruning import BlockColumn, BlockRow

    if columns == 1:
        return BlockRow(1 - 1 / rate, n_blocks=4)
    return BlockColumn(1 - 1 / columns, n_blocks=1) & BlockRow(1 - columns / rate, n_blocks=4)


def gru(epochs: int, retrain: int) -> Experiment:
    """Recurrent head on spoken digits; the blocks of RTMobile."""
    from embcompress.heads import GRUHead
    from embcompress.pruning import OneShot

    settings = {"hidden_size": 128, "max_epochs": 20, "batch_size": 128, "learning_rate": 4e-3}

    def trained(split: Split, seed: int) -> Any:
        return GRUHead(random_state=seed, **settings).fit(split.X_train, split.y_train)

    methods = []
    # rate, share of the columns in it, seeds
    for rate, columns, seeds in (
        (10.0, 2.0, SEEDS),
        (29.0, 2.0, SEEDS),
        (50.0, 3.0, 1),
        (100.0, 4.0, 1),
    ):
        scheme = {"gru": gru_scheme(rate, columns)}
        recipe = {
            "rate": rate, "column_rate": columns, "epochs": epochs, "retrain_epochs": retrain,
            "learning_rate": 4e-3, "retrain_learning_rate": 8e-3,
        }  # fmt: skip
        again = {"epochs": retrain, "learning_rate": 8e-3}
        methods += [
            Method("RTMobile", rate, by_recipe("rtmobile", **recipe), str(recipe), seeds),
            Method(
                "one-shot", rate, solved(OneShot(), scheme, **again), f"{scheme!r} {again}", seeds
            ),
        ]  # fmt: skip
    return Experiment(
        "gru-digits", "GRUHead(128, n_layers=2)", spoken_digits, trained, head_score,
        str(settings), methods,
    )  # fmt: skip


def resnet(*, long: bool) -> Experiment:
    """Convolutional network on photographs: patterns, blocks, rows and columns."""
    from _pruning_models import accuracy, trained, tuned_resnet20

    from embcompress.pruning import (
        ADMM,
        SPM,
        Connectivity,
        KernelPattern,
        OneShot,
        RandomInputs,
        Unstructured,
    )

    # images per epoch, epochs of pruning, epochs of retraining
    rows, epochs, retrain = (50_000, 8, 12) if long else (2_500, 4, 4)
    tune = {"n_rows": 50_000, "epochs": 8} if long else {"n_rows": 20_000, "epochs": 1}
    seeds = SEEDS if long else 1
    size = {"epochs": epochs, "retrain_epochs": retrain, "batch_size": 128}
    steps = {"optimizer": "sgd", "learning_rate": 0.01, "retrain_learning_rate": 0.02}

    def part(split: Split, seed: int) -> tuple[Any, Any]:
        order = np.random.default_rng(seed).permutation(len(split.X_train))[:rows]
        return split.X_train[order], split.y_train[order]

    def again(result: Any, X: Any, y: Any, seed: int) -> Any:
        masks, rate = result.masks, steps["retrain_learning_rate"]
        return trained(result.model, masks, X, y, epochs=retrain, rate=rate, seed=seed)

    def recipe(name: str, **options: Any) -> Callable[[Any, Split, int], tuple[Any, Any]]:
        def run(model: Any, split: Split, seed: int) -> tuple[Any, Any]:
            from embcompress.pruning.recipes import RECIPES

            result = RECIPES[name](
                model, *part(split, seed), random_state=seed, **{**size, **steps, **options}
            )
            return result.model, result.masks

        return run

    def one_shot(scheme: Any) -> Callable[[Any, Split, int], tuple[Any, Any]]:
        def run(model: Any, split: Split, seed: int) -> tuple[Any, Any]:
            result = OneShot().solve(model, scheme)
            return again(result, *part(split, seed), seed), result.masks

        return run

    def private(model: Any, split: Split, seed: int) -> tuple[Any, Any]:
        from embcompress.pruning.recipes import RECIPES

        # uniform pixels, as in the paper; no data but the random ones decide
        drawn = RandomInputs((3, 32, 32), "uniform", n_batches=16, batch_size=64, seed=seed)
        quiet = copy.deepcopy(model)
        quiet.augment = False
        result = RECIPES["privacy-preserving"](
            quiet, rate=4.0, inputs=drawn, layerwise=False, epochs=epochs, retrain_epochs=0,
            optimizer="adam", learning_rate=1e-4, random_state=seed,
        )  # fmt: skip
        result.model.augment = True
        return again(result, *part(split, seed), seed), result.masks

    def real(model: Any, split: Split, seed: int) -> tuple[Any, Any]:
        from embcompress.pruning import LabelledBatches, TaskLoss

        X, y = part(split, seed)
        result = ADMM(epochs_per_rho=epochs // 4, optimizer="sgd", learning_rate=0.01).solve(
            model, Unstructured(0.75), TaskLoss(), LabelledBatches(X, y, 128, seed=seed)
        )
        return again(result, X, y, seed), result.masks

    both = {
        "conv1": KernelPattern(),
        "layer*": Connectivity(0.55) & KernelPattern(),
        "linear": Unstructured(0.8),
    }
    fixed = {"conv1": KernelPattern(), "layer*": KernelPattern()}
    few = {"conv1": SPM(4, 16), "layer*": SPM(4, 16)}
    dense_matrix = {"skip": ["linear"]}
    ways: list[tuple[str, float, Any, str]] = [
        (
            "pattern", 2.25,
            recipe("pattern-connectivity", rate=2.25, **dense_matrix), "2.25 skip linear",
        ),
        ("one-shot pattern", 2.25, one_shot(fixed), "fixed"),
        ("PCNN n=4, 16 patterns", 2.25, recipe("pcnn", n=4, **dense_matrix), "4 of 9"),
        ("one-shot PCNN", 2.25, one_shot(few), "few"),
        ("pattern + connectivity", 5.0, recipe("pattern-connectivity", rate=5.0), "5"),
        ("one-shot pattern + connectivity", 5.0, one_shot(both), "both"),
        ("BLK-REW", 4.0, recipe("blk-rew", rate=4.0), "blk"),
        ("SS-Auto", 4.0, recipe("ss-auto", rate=4.0), "ss"),
        ("ADMM", 4.0, real, "real"),
        ("privacy-preserving", 4.0, private, "random"),
        ("one-shot", 4.0, one_shot(Unstructured(0.75)), "unstructured"),
    ]  # fmt: skip
    text = f"{rows} {size} {steps}"
    return Experiment(
        "resnet-cifar10", "ResNet-20", photographs,
        lambda split, seed: tuned_resnet20(split, **tune),
        lambda model, split: accuracy(model, split.X_test, split.y_test),
        str(tune),
        [Method(name, rate, run, f"{text} {more}", seeds) for name, rate, run, more in ways],
    )  # fmt: skip


def experiments(*, long: bool = False) -> dict[str, Callable[[], Experiment]]:
    """Name -> maker."""
    factor = 3 if long else 1
    trec = {"max_epochs": 30, "weight_decay": 2.0}
    imdb = {"max_epochs": 10, "weight_decay": 0.1}
    return {
        "mlp-trec": lambda: mlp("trec", 512, trec, 21 * factor, 20 * factor, (1e-2, 1e-1, 1.0)),
        "mlp-imdb": lambda: mlp("imdb", 256, imdb, 9 * factor, 10 * factor, (1e-3, 1e-2, 1e-1)),
        "gru-digits": lambda: gru(8 * factor, 25 * factor),
        "resnet-cifar10": lambda: resnet(long=long),
    }


def cell_at(
    folder: Path, experiment: Experiment, method: Method | None, seed: int
) -> tuple[Path, str, dict[str, Any] | None]:
    """Where a cell lies, its setting, and what it holds; None if it is missing or outdated."""
    label = "dense" if method is None else f"{method.name} {method.rate:g}x"
    setting = experiment.setting + ("" if method is None else f" | {method.setting}")
    name = "".join(c if c.isalnum() or c in "-.=" else "_" for c in label)
    path = folder / f"{experiment.name}.{name}.{seed}.json"
    if path.exists():
        cell = json.loads(path.read_text(encoding="utf-8"))
        if cell["setting"] == setting:
            return path, setting, cell
    return path, setting, None


def run_cell(
    folder: Path, experiment: Experiment, method: Method | None, seed: int, make: Any
) -> None:
    """Run a cell unless it is there; `make` gives the model, its masks and the data."""
    path, setting, cell = cell_at(folder, experiment, method, seed)
    if cell is not None:
        return
    start = time.process_time()
    model, masks, split = make()
    cell = {
        "experiment": experiment.name,
        "method": "dense" if method is None else method.name,
        "rate": 1.0 if method is None else method.rate,
        "seed": seed,
        "accuracy": experiment.score(model, split),
        "n_weights": 0 if masks is None else masks.n_weights,
        "n_kept": 0 if masks is None else masks.n_kept,
        "cpu_s": round(time.process_time() - start, 1),
        "setting": setting,
    }
    path.write_text(json.dumps(cell, indent=1), encoding="utf-8")
    print(f"{path.stem:50}{cell['accuracy']:.4f}  {cell['cpu_s']} s", flush=True)


def finished(folder: Path, experiment: Experiment) -> list[dict[str, Any]]:
    """Cells that are there, also of earlier runs."""
    cells = []
    for method in (None, *experiment.methods):
        for seed in range(SEEDS if method is None else method.seeds):
            cell = cell_at(folder, experiment, method, seed)[2]
            if cell is not None:
                cells.append(cell)
    return cells


def run_experiment(
    experiment: Experiment,
    folder: Path,
    *,
    validate: bool,
    methods: Sequence[str],
    n_seeds: int,
) -> None:
    """Run what is missing; dense models are trained when a cell needs them."""

    @cache
    def split() -> Split:
        return experiment.data().validation() if validate else experiment.data()

    @cache
    def dense(seed: int) -> Any:
        return experiment.dense(split(), seed)

    chosen = [method for method in experiment.methods if not methods or method.name in methods]
    most = max((method.seeds for method in chosen), default=0)
    for seed in range(min(n_seeds, most)):
        run_cell(folder, experiment, None, seed, lambda seed=seed: (dense(seed), None, split()))
        for method in chosen:
            if seed < method.seeds:

                def make(method: Method = method, seed: int = seed) -> tuple[Any, Any, Split]:
                    return *method.run(dense(seed), split(), seed), split()

                run_cell(folder, experiment, method, seed, make)


def rows_of(experiment: Experiment, cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over seeds; the loss is to the dense model of the same seed."""
    dense = {cell["seed"]: cell["accuracy"] for cell in cells if cell["method"] == "dense"}
    groups: dict[tuple[str, float], list[dict[str, Any]]] = {}
    for cell in cells:
        groups.setdefault((cell["method"], cell["rate"]), []).append(cell)
    rows = []
    for (method, rate), group in sorted(groups.items(), key=lambda item: item[0][1]):
        accuracy = np.array([cell["accuracy"] for cell in group])
        loss = np.array([dense[cell["seed"]] - cell["accuracy"] for cell in group])
        kept = np.mean([cell["n_kept"] for cell in group])
        rows.append(
            {
                "benchmark": "pruning",
                "experiment": experiment.name,
                "model": experiment.model,
                "method": method,
                "rate": rate,
                "n_seeds": len(group),
                "accuracy": round(float(accuracy.mean()), 4),
                "accuracy_sd": round(float(accuracy.std(ddof=1)), 4) if len(group) > 1 else "",
                "loss_points": round(100 * float(loss.mean()), 2),
                "n_weights": group[0]["n_weights"] or "",
                "n_kept": round(kept) if kept else "",
                "rate_reached": round(group[0]["n_weights"] / kept, 2) if kept else "",
                "cpu_s": round(float(np.mean([cell["cpu_s"] for cell in group])), 1),
            }
        )
    return rows


def main() -> int:
    """Run what is missing, write the rows."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", action="append", default=[], metavar="EXPERIMENT")
    parser.add_argument("--method", action="append", default=[], help="only these")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="at most so many")
    parser.add_argument("--long", action="store_true", help="three times the training, all images")
    parser.add_argument("--validate", action="store_true", help="score on held out training data")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder of the cells")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    folder = options.cache / ("validation" if options.validate else "long" if options.long else "")
    folder.mkdir(parents=True, exist_ok=True)
    known = experiments(long=options.long)
    unknown = set(options.only) - set(known)
    if unknown:
        parser.error(f"no experiment {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    rows = []
    for name, make in known.items():
        experiment = make()
        if name in (options.only or known):
            run_experiment(
                experiment, folder, validate=options.validate, methods=options.method,
                n_seeds=options.seeds,
            )  # fmt: skip
        rows += rows_of(experiment, finished(folder, experiment))
    for row in rows:
        print(*(row[key] for key in ("experiment", "method", "rate", "accuracy", "loss_points")))
    if not options.validate:
        print(write_rows("pruning" + ("_long" if options.long else ""), rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
