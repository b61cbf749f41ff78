"""`embcompress predict`: classes of texts from a bundle, or of rows from a program."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from embcompress.cli._arguments import JsonFlag, model_path
from embcompress.cli._output import print_json
from embcompress.cli.bundle import tell_about_compiling

if TYPE_CHECKING:
    import numpy.typing as npt

    from embcompress.runtime import Program

    Array = npt.NDArray[Any]

__all__ = ["predict"]

# texts that are read, and predicted, at a time
_TEXTS = 1024


def predict(
    model: Annotated[
        Path,
        typer.Argument(
            help="File made by `embcompress bundle` or `program.save(...)`, or a folder made by "
            "`bundle.save_pretrained(...)`.",
            show_default=False,
            metavar="MODEL",
            callback=model_path,
        ),
    ],
    texts: Annotated[
        list[str] | None,
        typer.Argument(help="Texts, each in quotes.", show_default=False, metavar="[TEXT]..."),
    ] = None,
    input: Annotated[
        Path | None,
        typer.Option(
            "--input",
            "-i",
            help="Instead of texts: a file with one on each line, UTF-8, or - for standard input. "
            "For a program: .npy, or .npz with an array X.",
            show_default=False,
            metavar="FILE",
        ),
    ] = None,
    proba: Annotated[
        bool, typer.Option("--proba", help="Also the probability of each class.")
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Classify texts with a bundle; PyTorch is not needed.

    Prints one class a line; with --proba columns with tabs between them, under a header.
    """
    from embcompress.container import kind_of

    kind = kind_of(model)
    if kind not in ("bundle", "program"):
        raise ValueError(
            f"{model}: holds {kind!r}; predict takes what embcompress bundle or program.save "
            "has made"
        )
    if kind == "program":
        if texts or input is None:
            raise ValueError(
                f"{model}: a program without words, which takes arrays; give --input X.npy. To "
                "classify texts, add compressed vectors: embcompress bundle"
            )
        rows = _read_rows(input)
        tell_about_compiling()
        from embcompress import runtime

        _print_rows(runtime.load(model), rows, proba, json)
        return
    if texts and input is not None:
        raise ValueError("texts came as arguments and by --input; give one of them")
    if not texts and input is None:
        raise ValueError(
            "no text was given; write it after the file, in quotes, or use --input FILE with a "
            "text on each line (--input - for standard input)"
        )
    lines = _lines(input) if input is not None else iter(texts or ())
    tell_about_compiling()
    _print_texts(model, lines, proba, json)


def _lines(path: Path) -> Iterator[str]:
    """Texts of a file, a line each; an empty line is an empty text."""
    if str(path) == "-":
        stream = typer.get_text_stream("stdin", encoding="utf-8", errors="replace")
        yield from (line.rstrip("\r\n") for line in stream)
        return
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        yield from (line.rstrip("\r\n") for line in file)


def _print_texts(model: Path, lines: Iterator[str], proba: bool, json: bool) -> None:
    from embcompress.bundle import Bundle

    bundle = Bundle.load(model)
    found, n_texts, n_unknown = [], 0, 0
    if proba and not json:
        _print_line(["class", *bundle.classes_.tolist()])
    while chunk := list(islice(lines, _TEXTS)):
        vectors, n_known = bundle.texts.with_counts(chunk)
        n_texts, n_unknown = n_texts + len(chunk), n_unknown + int((n_known == 0).sum())
        rows = _described(bundle.program, vectors, proba)
        if json:
            found += [
                {"text": text, **row, "known_words": n}
                for text, row, n in zip(chunk, rows, n_known.tolist(), strict=True)
            ]
        else:
            _print_rows_of(rows)
    if json:
        print_json(found)
    if n_unknown:
        typer.echo(
            f"embcompress: {n_unknown} of {n_texts} texts have no word that the model knows; "
            "their class is that of no words",
            err=True,
        )


def _print_rows(program: Program, rows: Array, proba: bool, json: bool) -> None:
    found = _described(program, rows, proba)
    if json:
        print_json(list(found))
        return
    if proba:
        assert program.classes_ is not None, "it has predicted classes"
        _print_line(["class", *program.classes_.tolist()])
    _print_rows_of(found)


def _described(program: Program, rows: Array, proba: bool) -> list[dict[str, Any]]:
    """Class, and probabilities if they were asked for, of each row."""
    if program.classes_ is None or not proba:
        return [{"class": label} for label in program.predict(rows).tolist()]
    names = [str(label) for label in program.classes_.tolist()]
    shares = program.predict_proba(rows)
    labels = program.classes_[shares.argmax(axis=1)].tolist()
    return [
        {"class": label, "probabilities": dict(zip(names, share, strict=True))}
        for label, share in zip(labels, shares.astype(float).round(6).tolist(), strict=True)
    ]


def _print_rows_of(rows: Iterable[dict[str, Any]]) -> None:
    for row in rows:
        shares = row.get("probabilities", {}).values()
        _print_line([row["class"], *(f"{share:.4f}" for share in shares)])


def _print_line(cells: Iterable[Any]) -> None:
    typer.echo("\t".join(map(str, cells)))


def _read_rows(path: Path) -> Array:
    import zipfile

    import numpy as np

    try:
        # opened here: numpy would leave a file open that is not an archive
        with path.open("rb") as stream:
            loaded = np.load(stream, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return loaded
            arrays = dict(loaded)
    except (ValueError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path}: not an .npy or .npz file of plain numbers ({error}); make it by "
            "numpy.save(path, X)"
        ) from error
    if len(arrays) != 1 and "X" not in arrays:
        raise ValueError(f"{path}: no array X; arrays: {', '.join(arrays) or 'none'}")
    return arrays.get("X", next(iter(arrays.values())))
