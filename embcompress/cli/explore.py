"""`embcompress explore`: a compressed vocabulary as one page that searches itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from embcompress.cli._arguments import JsonFlag, SmallFile, check_output
from embcompress.cli._output import human_bytes, print_json

__all__ = ["explore"]

# from here on a page takes seconds to open on a phone
_LARGE_PAGE = 16_000_000


def explore(
    file: SmallFile,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Page to write (.html).", show_default=False)
    ],
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Show the first N words only, in most files the frequent ones.",
            show_default="all",
            metavar="N",
        ),
    ] = None,
    title: Annotated[
        str | None,
        typer.Option(help="Heading of the page.", show_default="name of the source"),
    ] = None,
    open: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    json: JsonFlag = False,
) -> None:
    """Make one HTML page that holds the words and searches them: neighbours, analogies, a map.

    The page works without a server and without a network, from a disk or a mail.
    """
    check_output(output, file)
    from embcompress.compressed import CompressedVectors
    from embcompress.explore import save_page

    small = CompressedVectors.load(file)
    n_bytes = save_page(small, output, title=title, limit=limit)
    n_words = len(small) if limit is None else min(limit, len(small))
    if json:
        written = {"path": str(output), "bytes": n_bytes}
        print_json({"written": [written], "words": n_words, "bits": small.n_bits})
    else:
        size = human_bytes(n_bytes)
        typer.echo(f"{output}  {n_words:,} words x {small.n_bits} bits, {size}")
        if n_bytes > _LARGE_PAGE:
            typer.echo("The page is slow to load; --limit 50000 takes the first words only.")
    if open:
        typer.launch(output.resolve().as_uri())
