"""`embcompress bundle`: compressed vectors and a head in, one file out that classifies texts."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from embcompress.cli._arguments import JsonFlag, check_output
from embcompress.cli._output import human_bytes, print_json, print_pairs

if TYPE_CHECKING:
    from embcompress.bundle import BundleReport
    from embcompress.runtime import Report

__all__ = ["bundle", "describe_layers", "print_bundle", "tell_about_compiling"]


class Features(StrEnum):
    """What a text is the mean of."""

    decoded = "decoded"
    codes = "codes"


class Precision(StrEnum):
    """Numbers of a compiled head."""

    float32 = "float32"
    int8 = "int8"


_WHAT = {
    "vectors": "compressed vectors",
    "head": "a head",
    "program": "a compiled program",
    "bundle": "a bundle",
}


def bundle(
    vectors: Annotated[
        Path,
        typer.Argument(
            help="Vectors made by `embcompress compress`.", show_default=False, metavar="VECTORS"
        ),
    ],
    head: Annotated[
        Path,
        typer.Argument(
            help="Head made by `head.save(...)`, for which PyTorch is needed; or a program made "
            "by `program.save(...)`, for which it is not.",
            show_default=False,
            metavar="HEAD",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="File to write (.safetensors).", show_default=False),
    ],
    precision: Annotated[
        Precision | None,
        typer.Option(
            help="Numbers of the compiled head; a program has its own.", show_default="float32"
        ),
    ] = None,
    features: Annotated[
        Features,
        typer.Option(
            help="What the head was trained on: the mean of decoded vectors, or of the whole "
            "numbers that codes stand for."
        ),
    ] = Features.decoded,
    max_words: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Keep the first N words only, the frequent ones, for a smaller file.",
            show_default="all",
            metavar="N",
        ),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Put compressed vectors and a classifier head into one file.

    The head must have been trained on mean vectors of texts: those of
    `embcompress.TextVectors(vectors).transform(texts)`. What the file holds runs without PyTorch:
    see `embcompress predict`.
    """
    _check_kind(vectors, ("vectors",))
    kind = _check_kind(head, ("head", "program"))
    if kind == "program" and precision is not None:
        raise ValueError(f"{head}: a program has its precision; leave out --precision")
    for file in (vectors, head):
        check_output(output, file)
    tell_about_compiling()
    from embcompress.bundle import Bundle
    from embcompress.compressed import CompressedVectors

    made = Bundle.build(
        CompressedVectors.load(vectors),
        _read_head(head, kind),
        features=features.value,
        max_words=max_words,
        precision=None if precision is None else precision.value,
    )
    made.save(output)
    print_bundle(made.report(), made.classes_.tolist(), output, json=json)


def _check_kind(path: Path, allowed: tuple[str, ...]) -> str:
    """Kind of a file; says what to do if it is another."""
    from embcompress.container import FormatError, kind_of

    expected = " or ".join(_WHAT[kind] for kind in allowed)
    try:
        kind = kind_of(path)
    except FormatError as error:
        hint = " (embcompress compress makes them)" if "vectors" in allowed else ""
        raise FormatError(f"{error}; expected: {expected}{hint}") from error
    if kind not in allowed:
        raise ValueError(f"{path}: holds {_WHAT.get(kind, kind)}; expected: {expected}")
    return kind


def _read_head(path: Path, kind: str) -> Any:
    if kind == "program":
        from embcompress import runtime

        return runtime.load(path)
    from embcompress import heads  # says how to install torch, if it is not there

    return heads.load(path)


def print_bundle(report: BundleReport, classes: list[Any], file: Path, *, json: bool) -> None:
    """What a file of a bundle holds, and where its bytes go."""
    size = file.stat().st_size
    parts = {**report.parts, "header": size - report.nbytes}
    if json:
        print_json(
            {
                "file": str(file),
                "words": report.n_words,
                "bits": report.n_bits,
                "directions": report.n_directions,
                "features": report.features,
                "classes": classes,
                "file_bytes": size,
                "parts": parts,
                "layers": describe_layers(report.program),
            }
        )
        return
    of = {"decoded": "decoded vectors", "codes": "the numbers of codes"}[report.features]
    print_pairs(
        [
            ("words", f"{report.n_words:,}"),
            ("codes", f"{report.n_bits} bits; a text is the mean of {of}"),
            ("classes", ", ".join(map(str, classes))),
            ("bytes", human_bytes(size)),
            *((f"  {name}", human_bytes(part)) for name, part in parts.items()),
            ("file", str(file)),
        ]
    )
    typer.echo(f"\n{report.program}")


def describe_layers(report: Report) -> list[dict[str, Any]]:
    """Layers of a program, for JSON."""
    return [
        {
            "layer": layer.name,
            "shape": list(layer.shape),
            "n_weights": layer.n_weights,
            "n_kept": layer.n_kept,
            "precision": layer.precision,
            "layout": layer.layout,
            "bytes": layer.nbytes + layer.index_nbytes,
        }
        for layer in report.layers
    ]


def tell_about_compiling() -> None:
    """Explain the wait before the first program that runs after an installation."""
    kernels = Path(__file__).parents[1] / "runtime" / "kernels"
    compiled = any((kernels / "__pycache__").glob("machine.run*.nbi"))
    if sys.stderr.isatty() and not compiled and os.access(kernels, os.W_OK):
        sys.stderr.write("Compiling the kernels for this machine; this is done once ...\n")
