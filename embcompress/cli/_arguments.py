"""Arguments and options that several commands share."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = [
    "Engine",
    "EngineOption",
    "Errors",
    "InputFile",
    "InputFormat",
    "JsonFlag",
    "Limit",
    "Member",
    "Scoring",
    "ScoringOption",
    "SkipBad",
    "SmallFile",
    "TextErrors",
    "TopN",
    "VocabularyFile",
    "check_output",
    "model_path",
    "reading_options",
]


_READING = "Reading the input"


class InputFormat(StrEnum):
    """Formats of float vectors that can be read."""

    glove = "glove"
    word2vec = "word2vec"
    word2vec_bin = "word2vec-bin"
    gensim = "gensim"
    npz = "npz"
    npy = "npy"


class TextErrors(StrEnum):
    """What to do about words that are not valid UTF-8."""

    STRICT = "strict"
    REPLACE = "replace"
    IGNORE = "ignore"


class Scoring(StrEnum):
    """How a query meets the codes."""

    hamming = "hamming"
    asymmetric = "asymmetric"


InputFile = Annotated[
    Path,
    typer.Argument(
        help="Vectors: GloVe or word2vec text, fastText .vec, word2vec .bin, gensim, .npz, .npy; "
        "plain, .gz, .bz2, .xz or in a .zip.",
        show_default=False,
    ),
]


def model_path(path: Path) -> Path:
    """The file of a folder as the Hugging Face hub has them, or the path itself."""
    if not path.is_dir() or (path / "manifest.json").is_file():  # a folder of shards
        return path
    from embcompress.pretrained import model_file

    return model_file(path)


SmallFile = Annotated[
    Path,
    typer.Argument(
        help="File made by `embcompress compress`, or a folder made by `save_pretrained`.",
        show_default=False,
        callback=model_path,
    ),
]
FormatOption = Annotated[
    InputFormat | None,
    typer.Option(
        "--format",
        help="Input format.",
        show_default="found by looking",
        rich_help_panel=_READING,
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Read only the first N words.",
        show_default="all",
        metavar="N",
        rich_help_panel=_READING,
    ),
]
Member = Annotated[
    str | None,
    typer.Option(
        help="File to read from a .zip.",
        show_default="the only one",
        metavar="NAME",
        rich_help_panel=_READING,
    ),
]
SkipBad = Annotated[
    bool,
    typer.Option(
        "--skip-bad",
        help="Skip and count bad rows instead of stopping.",
        rich_help_panel=_READING,
    ),
]
Errors = Annotated[
    TextErrors,
    typer.Option(
        "--errors",
        help="What to do about words that are not UTF-8.",
        rich_help_panel=_READING,
    ),
]
VocabularyFile = Annotated[
    Path | None,
    typer.Option(
        "--vocabulary",
        help="Words of an .npy matrix, one a line.",
        show_default="beside it",
        rich_help_panel=_READING,
    ),
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
TopN = Annotated[int, typer.Option("--topn", "-n", min=1, help="How many words.", metavar="N")]
ScoringOption = Annotated[
    Scoring,
    typer.Option(help="hamming: bits against bits; asymmetric: real values against bits, finer."),
]


class Engine(StrEnum):
    """What searches."""

    auto = "auto"
    native = "native"
    numpy = "numpy"
    faiss = "faiss"


EngineOption = Annotated[
    Engine,
    typer.Option(
        help="What searches; the results are the same. native: compiled for this processor; auto: "
        "that, unless the search is over before it is loaded."
    ),
]


def reading_options(
    format: InputFormat | None,
    limit: int | None,
    member: str | None,
    vocabulary: Path | None,
    skip_bad: bool,
    errors: TextErrors,
) -> dict[str, Any]:
    """Options of the command line as arguments of ``load_vectors`` and ``open_vectors``."""
    return {
        "format": None if format is None else str(format),
        "limit": limit,
        "member": member,
        "vocabulary": vocabulary,
        "skip_bad": skip_bad,
        "errors": str(errors),
    }


def check_output(output: Path, input: Path) -> None:
    """Find out before the long work that the result can be written.

    Parameters
    ----------
    output : Path
        File to write.
    input : Path
        File to read, which must be another.

    Raises
    ------
    ValueError
        If it cannot.
    """
    folder = output.parent
    if not folder.is_dir():
        raise ValueError(f"{folder}: the output folder does not exist")
    if output.is_dir():
        raise ValueError(f"{output}: the output is a folder; name a file in it")
    if not os.access(folder, os.W_OK):
        raise ValueError(f"{folder}: the output folder is not writable")
    if output.exists() and input.exists() and output.samefile(input):
        raise ValueError(f"{output}: input and output are the same file")
