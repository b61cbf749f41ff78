"""`embcompress prune`: a head in, a smaller one out."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from embcompress.cli._arguments import JsonFlag, check_output
from embcompress.cli._labelled import read_labelled, split_rows
from embcompress.cli._output import print_json, print_pairs, print_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    Array = npt.NDArray[Any]

__all__ = ["prune"]


class RecipeName(StrEnum):
    """Recipes by the name they have on the command line."""

    blk_rew = "blk-rew"
    cocopie = "cocopie"
    pattern_connectivity = "pattern-connectivity"
    pcnn = "pcnn"
    privacy_preserving = "privacy-preserving"
    reweighted_unified = "reweighted-unified"
    rtmobile = "rtmobile"
    ss_auto = "ss-auto"


def prune(
    input: Annotated[
        Path,
        typer.Argument(
            help="Head made by `head.save(...)` (.safetensors).",
            show_default=False,
            metavar="HEAD",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="File to write (.safetensors).", show_default=False),
    ],
    recipe: Annotated[
        RecipeName | None,
        typer.Option(help="How the zeros are found; see docs/pruning.md.", show_default=False),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            help="Weights before / weights kept, of the layers that the recipe prunes.",
            show_default="the recipe's",
            metavar="R",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Training data: .npz with arrays X and y. Only privacy-preserving can do without.",
            show_default=False,
            metavar="FILE",
        ),
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option(
            help="Also write the masks, for someone who has the data but not the recipe.",
            show_default=False,
            metavar="FILE",
        ),
    ] = None,
    apply_masks: Annotated[
        Path | None,
        typer.Option(
            help="Instead of a recipe: retrain under masks that somebody else has made.",
            show_default=False,
            metavar="FILE",
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Epochs of the recipe, and as many of retraining.",
            show_default="the recipe's, or the head's",
            metavar="N",
        ),
    ] = None,
    holdout: Annotated[
        float,
        typer.Option(
            help="Share of the rows that are kept aside to measure the accuracy with.",
            metavar="SHARE",
        ),
    ] = 0.2,
    seed: Annotated[int, typer.Option(min=0, help="Random seed.", metavar="N")] = 0,
    json: JsonFlag = False,
) -> None:
    """Prune a trained classifier head, and retrain what is left.

    Pruned weights are zero in the file that is written, and stay zero if it is trained further.
    """
    _check_options(recipe, rate, data, masks, apply_masks, holdout)
    check_output(output, input)
    if masks is not None:
        check_output(masks, input)
    from embcompress import heads  # says how to install torch, if it is not there

    head = heads.load(input)
    parts = None if data is None else split_rows(*read_labelled(data), holdout, seed)
    if apply_masks is None:
        assert recipe is not None, "checked above"
        small = _by_recipe(head, recipe, rate, parts, epochs, seed)
    else:
        small = _by_masks(head, apply_masks, parts, epochs)
    small.save(output)
    if masks is not None:
        small.masks_.save(masks)
    summary = _summary(head, small, parts, output, masks)
    if json:
        print_json(summary)
    else:
        _print(summary)


def _check_options(
    recipe: RecipeName | None,
    rate: float | None,
    data: Path | None,
    masks: Path | None,
    apply_masks: Path | None,
    holdout: float,
) -> None:
    if (recipe is None) == (apply_masks is None):
        raise ValueError("either --recipe or --apply-masks is needed, and not both")
    if apply_masks is not None and (rate is not None or masks is not None):
        raise ValueError("--apply-masks: the masks say what goes; leave out --rate and --masks")
    if data is None and recipe is not RecipeName.privacy_preserving:
        raise ValueError("--data is needed; only --recipe privacy-preserving can do without")
    if not 0 < holdout < 1:
        raise ValueError(f"--holdout {holdout} must be between 0 and 1")


def _by_recipe(
    head: Any,
    recipe: RecipeName,
    rate: float | None,
    parts: Mapping[str, tuple[Array, Array]] | None,
    epochs: int | None,
    seed: int,
) -> Any:
    from embcompress.progress import ProgressBar

    options: dict[str, Any] = {}
    if epochs is not None:
        options = {"epochs": epochs, "retrain_epochs": epochs}
    X, y = (None, None) if parts is None else parts["train"]
    with ProgressBar("Pruning", unit="steps") as bar:
        return head.prune(str(recipe), X, y, rate=rate, random_state=seed, bar=bar, **options)


def _by_masks(
    head: Any,
    path: Path,
    parts: Mapping[str, tuple[Array, Array]] | None,
    epochs: int | None,
) -> Any:
    from embcompress.pruning import Masks

    assert parts is not None, "checked before"
    options = {} if epochs is None else {"finetune_epochs": epochs}
    return head.prune(Masks.load(path), *parts["train"], **options)


def _summary(
    head: Any,
    small: Any,
    parts: Mapping[str, tuple[Array, Array]] | None,
    output: Path,
    masks: Path | None,
) -> dict[str, Any]:
    summary: dict[str, Any] = {
        "output": str(output),
        "head": type(head).__name__,
        "layers": small.masks_.per_layer(),
        "n_weights": small.masks_.n_weights,
        "n_kept": small.masks_.n_kept,
        "rate": small.masks_.rate,
        "rows_aside": 0,
        "accuracy_before": None,
        "accuracy_after": None,
        "masks": None if masks is None else str(masks),
    }
    if parts is not None:
        summary["rows_aside"] = len(parts["aside"][1])
        summary["accuracy_before"] = float(head.score(*parts["aside"]))
        summary["accuracy_after"] = float(small.score(*parts["aside"]))
    return summary


def _print(summary: dict[str, Any]) -> None:
    rows = [
        (name, f"{layer['n_kept']:,}", f"{layer['n_weights']:,}", f"{layer['rate']:.2f}x")
        for name, layer in summary["layers"].items()
    ]
    rows.append(
        ("all", f"{summary['n_kept']:,}", f"{summary['n_weights']:,}", f"{summary['rate']:.2f}x")
    )
    print_table(("layer", "kept", "weights", "rate"), rows)
    lines = [("", "")]
    if summary["rows_aside"]:
        lines.append(
            (
                "accuracy",
                f"{summary['accuracy_before']:.4f} before, {summary['accuracy_after']:.4f} after "
                f"({summary['rows_aside']:,} rows kept aside)",
            )
        )
    written = summary["output"] + (f", {summary['masks']}" if summary["masks"] else "")
    lines.append(("written", written))
    print_pairs(lines)
