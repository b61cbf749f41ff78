"""`embcompress augment`: fit operators on pairs of embeddings, apply them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from embcompress.cli._arguments import JsonFlag, check_output
from embcompress.cli._labelled import read_arrays
from embcompress.cli._output import print_json, print_pairs, print_table

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

__all__ = ["app"]

app = typer.Typer(
    help="Augment embeddings instead of raw inputs: fit operators on pairs, apply them.",
    no_args_is_help=True,
)


class OperatorName(StrEnum):
    """Operators by the name they have on the command line."""

    gainridge = "gainridge"
    ridge = "ridge"
    lowrank = "lowrank"
    diagonal = "diagonal"
    offset = "offset"
    bank = "bank"
    mlp = "mlp"


class NoiseName(StrEnum):
    """Kinds of residual noise."""

    none = "none"
    diagonal = "diagonal"
    factors = "factors"
    bank = "bank"


Seed = Annotated[int, typer.Option(min=0, help="Random seed.", metavar="N")]


@app.command("fit")
def fit(
    pairs: Annotated[
        list[Path],
        typer.Argument(
            help="Arrays Z (embeddings of inputs) and Z_NAME (row i: an augmented view of input "
            "i) for each NAME, in .npz files or as Z.npy, Z_NAME.npy. Arrays params_NAME say how "
            "strongly each view was augmented.",
            show_default=False,
            metavar="PAIRS",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="File to write (.safetensors).", show_default=False),
    ],
    operator: Annotated[
        OperatorName | None,
        typer.Option(help="Form of the operators.", show_default="the library's"),
    ] = None,
    noise: Annotated[
        NoiseName | None,
        typer.Option(
            help="What stands for the displacement that an operator does not explain.",
            show_default="the library's",
        ),
    ] = None,
    noise_scale: Annotated[
        float, typer.Option(min=0, help="Noise over the size of the residuals.", metavar="S")
    ] = 1.0,
    nonnegative: Annotated[
        bool, typer.Option("--nonnegative", help="Clip at 0: the embedder ends in a ReLU.")
    ] = False,
    normalize: Annotated[
        bool, typer.Option("--normalize", help="Scale to length 1, as the embedder does.")
    ] = False,
    holdout: Annotated[
        float,
        typer.Option(
            min=0, max=0.9, help="Share of pairs that operators are measured on.", metavar="SHARE"
        ),
    ] = 0.2,
    seed: Seed = 0,
    json: JsonFlag = False,
) -> None:
    """Fit one operator for each kind of augmentation, and say how much each explains.

    "unexplained" is the share of the displacement of held-out pairs that the operator misses: 1 is
    no better than no augmentation. "strength" is the squared displacement over the variance.
    """
    import warnings

    for path in pairs:
        check_output(output, path)
    Z, views = _read_pairs(pairs)
    from embcompress.augmentation import EmbeddingAugmenter

    options: dict[str, Any] = {}
    if noise is not None:
        options["noise"] = None if noise is NoiseName.none else str(noise)
    if operator is not None:
        options["operator"] = str(operator)
    augmenter = EmbeddingAugmenter(
        noise_scale=noise_scale, nonnegative=nonnegative, normalize=normalize,
        holdout=holdout, random_state=seed, verbose=True, **options,
    )  # fmt: skip
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        augmenter.fit(Z, views)
    augmenter.save(output)
    for warning in caught:
        typer.echo(f"embcompress: note: {warning.message}", err=True)
    if json:
        print_json({"output": str(output), "n_pairs": len(Z), "operators": augmenter.report_})
        return
    print_table(
        ("augmentation", "operator", "unexplained", "strength", "cosine", "without"),
        [
            (name, entry["operator"], f"{entry['rho']:.3f}", f"{entry['rel']:.3f}",
             f"{entry['cosine']:.4f}", f"{entry['cosine_identity']:.4f}")
            for name, entry in augmenter.report_.items()
        ],
    )  # fmt: skip
    print_pairs([("", ""), ("pairs", f"{len(Z):,}"), ("written", str(output))])


@app.command("apply")
def apply(
    augmenter: Annotated[
        Path,
        typer.Argument(help="File made by `embcompress augment fit`.", show_default=False),
    ],
    input: Annotated[
        Path,
        typer.Argument(
            help="Embeddings: .npy, or .npz with an array X or Z, and labels y if there are any.",
            show_default=False,
            metavar="Z",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            help="File to write (.npz): X, originals first, and y.",
            show_default=False,
        ),
    ],
    name: Annotated[
        str | None,
        typer.Option(help="Only this operator.", show_default="all", metavar="NAME"),
    ] = None,
    views: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Views of each row, by operators drawn at random (with --name: draws of that).",
            show_default="one by each operator",
            metavar="K",
        ),
    ] = None,
    originals: Annotated[
        bool, typer.Option("--originals/--no-originals", help="Put the rows as they are first.")
    ] = True,
    seed: Seed = 0,
) -> None:
    """Write embeddings and augmented views of them: all originals, then all first views, ..."""
    check_output(output, input)
    if output.suffix != ".npz":
        raise ValueError(f"{output}: the output is an .npz file; name it so")
    import numpy as np

    from embcompress.augmentation import EmbeddingAugmenter
    from embcompress.container import atomic_write

    fitted = EmbeddingAugmenter.load(augmenter)
    Z, y = _read_rows(input)
    labels = np.arange(len(Z)) if y is None else y
    if name is None:
        X, tiled = fitted.fit_resample(
            Z, labels, n_views=views, include_original=originals, random_state=seed
        )
    else:
        random = np.random.default_rng(seed)
        parts = [Z] if originals else []
        parts += [fitted.transform(Z, name, random_state=random) for _ in range(views or 1)]
        X, tiled = np.concatenate(parts), np.tile(labels, len(parts))
    arrays = {"X": X} if y is None else {"X": X, "y": tiled}
    with atomic_write(output) as file:
        np.savez(file, **arrays)
    print_pairs(
        [("rows", f"{len(Z):,} -> {len(X):,} ({Z.shape[1]} dimensions)"), ("written", str(output))]
    )


def _read_pairs(paths: list[Path]) -> tuple[Array, dict[str, Any]]:
    arrays: dict[str, Array] = {}
    for path in paths:
        for name, array in read_arrays(path).items():
            if name in arrays:
                raise ValueError(f"{path}: there is an array {name!r} in a file before it too")
            arrays[name] = array
    views: dict[str, Any] = {
        name.removeprefix("Z_"): array for name, array in arrays.items() if name.startswith("Z_")
    }
    if "Z" not in arrays or not views:
        found = ", ".join(arrays) or "none"
        raise ValueError(
            f"{paths[0]}: arrays Z and Z_NAME are needed, such as Z_flip; found: {found}"
        )
    for name in [name for name in arrays if name.startswith("params_")]:
        of = name.removeprefix("params_")
        if of not in views:
            raise ValueError(f"{paths[0]}: {name} has no array Z_{of}")
        views[of] = (views[of], arrays[name])
    return arrays["Z"], views


def _read_rows(path: Path) -> tuple[Array, Array | None]:
    arrays = read_arrays(path)
    y = arrays.pop("y", None) if path.suffix == ".npz" else None
    rows = [arrays[name] for name in ("X", "Z") if name in arrays] or list(arrays.values())
    if len(rows) != 1:
        raise ValueError(f"{path}: one array X or Z is needed; arrays: {', '.join(arrays)}")
    if y is not None and (y.ndim != 1 or len(y) != len(rows[0])):
        raise ValueError(f"{path}: {len(rows[0])} rows and labels of shape {y.shape}")
    return rows[0], y
