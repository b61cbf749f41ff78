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
    TextErrors,
    VocabularyFile,
    reading_options,
)
from embcompress.cli._output import human_bytes, print_json
from embcompress.cli.store import StoreInput, export_to_store, is_url

if TYPE_CHECKING:
    from embcompress.compressed import CompressedVectors

__all__ = ["convert", "export"]

_STORE = "Into a store"


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
    file: Annotated[
        Path,
        typer.Argument(
            help="File made by `embcompress compress`; for a store also an .npy matrix of packed "
            "codes.",
            show_default=False,
        ),
    ],
    to: Annotated[
        str,
        typer.Option(
            help="A format: word2vec, word2vec-bin, glove or gensim (decoded float vectors), faiss "
            "(binary index of the codes, words beside it), npz (words and packed codes). Or a "
            "store: sqlite:///FILE, duckdb:///FILE, postgresql://USER@HOST/DB, lancedb:///FOLDER, "
            "faiss:///FILE, usearch:///FILE, with ?table=NAME behind it where there are tables.",
            metavar="FORMAT|URL",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="File to write, for a format.", show_default=False),
    ] = None,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace",
            help="Replace all that is there; else rows with the same ids.",
            rich_help_panel=_STORE,
        ),
    ] = False,
    n_bits: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Code length, for an .npy matrix.",
            metavar="N",
            show_default=False,
            rich_help_panel=_STORE,
        ),
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option(
            help="Texts of the rows, one a line, for an .npy matrix.",
            show_default=False,
            rich_help_panel=_STORE,
        ),
    ] = None,
    ids: Annotated[
        Path | None,
        typer.Option(
            help="Ids of the rows, an .npy array of whole numbers.",
            show_default="0, 1, 2 ...",
            rich_help_panel=_STORE,
        ),
    ] = None,
    batch_size: Annotated[
        int,
        typer.Option(
            min=1,
            help="Rows handed to the store at a time.",
            metavar="N",
            rich_help_panel=_STORE,
        ),
    ] = 10_000,
    json: JsonFlag = False,
) -> None:
    """Export a compressed file for other programs, or into a store.

    A store gets codes, words and the encoder in one step, whole or not at all, and
    `embcompress search --store URL` needs nothing else.
    """
    if is_url(to):
        if output is not None:
            raise ValueError(f"--output {output} has no use with a store: --to names the place")
        source = StoreInput(file, n_bits, keys, ids)
        export_to_store(source, to, replace=replace, batch_size=batch_size, json=json)
        return
    if to not in set(ExportFormat):
        raise ValueError(
            f"--to {to!r} is not known; allowed: {', '.join(ExportFormat)}, or the address of a "
            "store such as sqlite:///words.db"
        )
    if output is None:
        raise ValueError(f"--to {to} needs -o, the file to write")
    if replace or n_bits or keys or ids:
        raise ValueError("--replace, --n-bits, --keys and --ids are for stores (--to URL)")
    _export_file(file, ExportFormat(to), output, json=json)


def _export_file(file: Path, to: ExportFormat, output: Path, *, json: bool) -> None:
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
