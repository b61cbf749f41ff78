"""`embcompress train-head`: embeddings and labels in, a head out."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from embcompress.cli._arguments import JsonFlag, check_output
from embcompress.cli._labelled import read_arrays, read_labelled, read_labels, split_rows
from embcompress.cli._output import print_json, print_pairs

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

__all__ = ["train_head"]


class HeadName(StrEnum):
    """Heads by the name they have on the command line."""

    linear = "linear"
    mlp = "mlp"
    gru = "gru"


def train_head(
    input: Annotated[
        Path,
        typer.Argument(
            help="Embeddings: .npz with arrays X and y, or .npy with --labels. Sequences for a "
            "gru: (n, time, features), NaN after the end of each.",
            show_default=False,
            metavar="X",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="File to write (.safetensors).", show_default=False),
    ],
    labels: Annotated[
        Path | None,
        typer.Option(
            help="Labels of the rows: .npy, or text with one a line.",
            show_default="y of the .npz",
            metavar="FILE",
        ),
    ] = None,
    head: Annotated[HeadName, typer.Option(help="Kind of classifier.")] = HeadName.linear,
    hidden: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Units of the hidden layer; not for linear.",
            show_default="the head's",
            metavar="N",
        ),
    ] = None,
    augmenter: Annotated[
        Path | None,
        typer.Option(
            help="Made by `embcompress augment fit`: train on fresh views in each epoch.",
            show_default=False,
            metavar="FILE",
        ),
    ] = None,
    views: Annotated[
        int,
        typer.Option(min=1, help="With --augmenter: views of each row per epoch.", metavar="K"),
    ] = 1,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the rows.", metavar="N")] = 100,
    learning_rate: Annotated[float, typer.Option(min=1e-9, help="Of Adam.", metavar="RATE")] = 1e-3,
    holdout: Annotated[
        float,
        typer.Option(help="Share of each class kept aside to measure accuracy.", metavar="SHARE"),
    ] = 0.2,
    seed: Annotated[int, typer.Option(min=0, help="Random seed.", metavar="N")] = 0,
    json: JsonFlag = False,
) -> None:
    """Train a classifier head on embeddings, augmented on the way if an augmenter is given.

    Prints the accuracy on rows kept aside, which are never augmented. Make the head smaller with
    `embcompress prune`.
    """
    if not 0 < holdout < 1:
        raise ValueError(f"--holdout {holdout} must be between 0 and 1")
    if augmenter is None and views != 1:
        raise ValueError("--views needs --augmenter")
    check_output(output, input)
    X, y = _read(input, labels)
    model = _make(head, hidden, epochs, learning_rate, seed)
    parts = split_rows(X, y, holdout, seed)
    _train(model, *parts["train"], augmenter, views, seed)
    model.save(output)
    summary: dict[str, Any] = {
        "output": str(output),
        "head": type(model).__name__,
        "classes": len(model.classes_),
        "rows": len(parts["train"][1]),
        "rows_aside": len(parts["aside"][1]),
        "views": views if augmenter is not None else 0,
        "accuracy": float(model.score(*parts["train"])),
        "validation_accuracy": float(model.score(*parts["aside"])),
    }
    if json:
        print_json(summary)
        return
    trained = f"{summary['rows']:,} rows, {summary['classes']} classes"
    print_pairs(
        [
            ("head", summary["head"]),
            ("trained on", trained + (f", {views} views an epoch" if augmenter else "")),
            ("accuracy", f"{summary['accuracy']:.4f} there, {summary['validation_accuracy']:.4f} "
             f"on {summary['rows_aside']:,} rows kept aside"),
            ("written", str(output)),
        ]
    )  # fmt: skip


def _read(path: Path, labels: Path | None) -> tuple[Array, Array]:
    if labels is None:
        if path.suffix == ".npy":
            raise ValueError(f"{path}: --labels is needed with an .npy file")
        return read_labelled(path)
    arrays = read_arrays(path)
    X = arrays.get("X") if len(arrays) > 1 else next(iter(arrays.values()), None)
    if X is None or X.ndim < 2:
        raise ValueError(f"{path}: no array X of two axes or more; arrays: {', '.join(arrays)}")
    y = read_labels(labels)
    if len(X) != len(y):
        raise ValueError(f"{labels}: {len(y)} labels for the {len(X)} rows of {path}")
    return X, y


def _make(head: HeadName, hidden: int | None, epochs: int, rate: float, seed: int) -> Any:
    from embcompress import heads  # says how to install torch, if it is not there

    common: dict[str, Any] = {
        "max_epochs": epochs, "learning_rate": rate, "random_state": seed, "verbose": True,
    }  # fmt: skip
    if head is HeadName.linear:
        if hidden is not None:
            raise ValueError("--hidden: a linear head has no hidden layer; use --head mlp")
        return heads.LinearHead(**common)
    if head is HeadName.mlp:
        if hidden is not None:
            common["hidden"] = (hidden,)
        return heads.MLPHead(**common)
    if hidden is not None:
        common["hidden_size"] = hidden
    return heads.GRUHead(**common)


def _train(model: Any, X: Array, y: Array, augmenter: Path | None, views: int, seed: int) -> None:
    if augmenter is None:
        model.fit(X, y)
        return
    from embcompress.augmentation import EmbeddingAugmenter

    if X.ndim != 2:
        raise ValueError(
            f"--augmenter moves rows of numbers; X has shape {X.shape}, which is for a gru"
        )
    import numpy as np

    fitted = EmbeddingAugmenter.load(augmenter)
    batches = fitted.batches(X, y, n_views=views, random_state=seed)
    model.fit_batches(batches, classes=np.unique(y))
