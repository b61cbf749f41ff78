"""Experiments on heads: perceptrons on texts, a recurrent head on spoken digits."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from _pruning_cells import SEEDS, Experiment, Method
from _pruning_data import Split, spoken_digits, text_means

__all__ = ["gru", "mlp"]


def retrained(
    head: Any,
    result: Any,
    split: Split,
    *,
    epochs: int,
    learning_rate: float = 1e-3,
    distill: float = 0.0,
) -> tuple[Any, Any]:
    """The head with the pruned network, retrained; the same for all solvers, and as recipes do.

    `distill` is the share of the dense network's answers in the loss.
    """
    from embcompress.pruning import Distillation, TaskLoss, finetune

    data = head.batches(split.X_train, split.y_train)
    objective: Any = Distillation(head.module_, 3.0, 1 - distill) if distill else TaskLoss()
    model = finetune(
        result.model, result.masks, objective, data, epochs=epochs, schedule="cosine",
        learning_rate=learning_rate,
    )  # fmt: skip
    return with_network(head, model), result.masks


def with_network(head: Any, model: Any) -> Any:
    """Copy of a head with another network."""
    other = copy.copy(head)
    other.module_ = model.eval()
    return other


def solved(
    solver: Any,
    scheme: Any,
    *,
    epochs: int,
    learning_rate: float = 1e-3,
    distill: float = 0.0,
    **options: Any,
) -> Callable[[Any, Split, int], tuple[Any, Any]]:
    """Prune a head by a scheme and a solver, then retrain it."""

    def run(head: Any, split: Split, seed: int) -> tuple[Any, Any]:
        from embcompress.pruning import TaskLoss

        result = solver.solve(
            head.module_, scheme, TaskLoss(), head.batches(split.X_train, split.y_train),
            random_state=seed, **options,
        )  # fmt: skip
        return retrained(
            head, result, split, epochs=epochs, learning_rate=learning_rate, distill=distill
        )

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
    # finds the rates of the layers itself
    proximal = PrimalProximal(target_rate=rate, rho=0.1, epochs=epochs)
    methods.append(
        Method("PrimalProximal", rate, solved(proximal, scheme, **again), f"{proximal!r} {again}")
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
