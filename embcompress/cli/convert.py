"""`embcompress export` and `convert`: into the formats of other programs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from embcompress.cli._arguments import (
    Errors,
    FormatOption,
    InputFile,
    JsonFlag,
    Limit,
    Member,
    SkipBad,
    SmallFile,
    TextErrors,
    VocabularyFile,
    reading_options,
)
from embcompress.cli._output import human_bytes, print_json

if TYPE_CHECKING:
    from embcompress.compressed import CompressedVectors

__all__ = ["convert", "export"]


class ExportFormat(StrEnum):
    """What a compressed file can be exported to."""

    word2vec = "word2vec"
    word2vec_bin = "word2vec-bin"
    glove = "glove"
    gensim = "gensim"
    faiss = "faiss"
    npz = "npz"


class FloatFormat(StrEnum):
    """Formats of float vectors that can be written."""

    glove = "glove"
    word2vec = "word2vec"
    word2vec_bin = "word2vec-bin"
    gensim = "gensim"
    npz = "npz"


def export(
    file: SmallFile,
    to: Annotated[
        ExportFormat,
        typer.Option(
            help="faiss: binary index of the codes, words beside it; npz: words and packed codes; "
            "the others: decoded float vectors.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="File to write.", show_default=False)
    ],
    json: JsonFlag = False,
) -> None:
    """Export a compressed file for other programs."""
    from embcompress.compressed import CompressedVectors
    from embcompress.formats import save_vectors

    small = CompressedVectors.load(file)
    if to is ExportFormat.faiss:
        written = _export_faiss(small, output)
    elif to is ExportFormat.npz:
        written = [_export_npz(small, output)]
    else:
        save_vectors(small.decode(), output, format=str(to), progress=True)
        written = [output]
    if json:
        print_json({"written": [{"path": str(p), "bytes": p.stat().st_size} for p in written]})
        return
    for path in written:
        typer.echo(f"{path}  {human_bytes(path.stat().st_size)}")


def convert(
    input: InputFile,
    output: Annotated[Path, typer.Argument(help="File to write.", show_default=False)],
    to: Annotated[
        FloatFormat | None,
        typer.Option(help="Output format.", show_default="from the file name"),
    ] = None,
    limit: Limit = None,
    format: FormatOption = None,
    member: Member = None,
    vocabulary: VocabularyFile = None,
    skip_bad: SkipBad = False,
    errors: Errors = TextErrors.STRICT,
    json: JsonFlag = False,
) -> None:
    """Convert float vectors from one format to another.

    The output format follows the file name: .txt GloVe, .vec word2vec text, .bin word2vec binary,
    .kv gensim, .npz NumPy; .gz, .bz2 or .xz behind it compresses.
    """
    from embcompress.formats import load_vectors, save_vectors

    options = reading_options(format, limit, member, vocabulary, skip_bad, errors)
    vectors = load_vectors(input, progress=True, **options)
    save_vectors(vectors, output, format=None if to is None else str(to), progress=True)
    n_bytes = output.stat().st_size
    if json:
        shape = {"words": len(vectors), "dimensions": vectors.vector_size}
        print_json({"written": [{"path": str(output), "bytes": n_bytes}], **shape})
        return
    size = human_bytes(n_bytes)
    typer.echo(f"{output}  {len(vectors):,} words x {vectors.vector_size}, {size}")


def _export_faiss(small: CompressedVectors, output: Path) -> list[Path]:
    from embcompress.container import atomic_write

    words = output.with_name(output.name + ".words.txt")
    small.index.save(output)
    with atomic_write(words) as file:
        file.writelines(
            word.encode("utf-8", "surrogateescape") + b"\n" for word in small.index_to_key
        )
    return [output, words]


def _export_npz(small: CompressedVectors, output: Path) -> Path:
    import numpy as np

    from embcompress.container import atomic_write

    with atomic_write(output) as file:
        np.savez(
            file,
            words=np.array(list(small.index_to_key), dtype=np.str_),
            codes=small.codes,
            n_bits=np.int64(small.n_bits),
            n_directions=np.int64(small.encoder.n_directions),
        )
    return output
