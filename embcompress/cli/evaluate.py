"""`embcompress evaluate` and `embcompress benchmark`: what compression costs in quality."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from embcompress.cli._arguments import FormatOption, InputFile, JsonFlag, Limit, Member
from embcompress.cli._output import print_json, print_table

if TYPE_CHECKING:
    from embcompress.compressed import CompressedVectors
    from embcompress.evaluation import Result
    from embcompress.vectors import KeyedVectors

__all__ = ["Interrupted", "benchmark", "evaluate"]

_TASKS = "similarity, analogy, categorization, text, retrieval"

Tasks = Annotated[
    str | None,
    typer.Option(
        help=f"Tasks ({_TASKS}) or names of data sets, separated by commas.",
        show_default="all",
        metavar="NAME,...",
    ),
]
Fetch = Annotated[
    bool, typer.Option("--fetch", help="Fetch data sets that are not at hand, where they can be.")
]


class MissingRule(StrEnum):
    """What becomes of items with a word that is not there."""

    skip = "skip"
    mean = "mean"


Missing = Annotated[
    MissingRule,
    typer.Option(
        help="Items with a word that is not there: skip leaves them out, mean takes the mean "
        "vector for the word."
    ),
]
_RESTRICT_HELP = "Analogies use the first N words of the file, questions and answers alike; 0: all."


class Interrupted(Exception):
    """Ctrl-C came where something was left to resume; the message says how."""


def evaluate(
    file: Annotated[
        Path,
        typer.Argument(
            help="Compressed file, or float vectors in any format that can be read.",
            show_default=False,
        ),
    ],
    against: Annotated[
        Path | None,
        typer.Option(
            help="Float vectors that FILE was made from: adds differences, retrieval, and float "
            "queries for asymmetric scoring.",
            show_default=False,
        ),
    ] = None,
    tasks: Tasks = None,
    fetch: Fetch = False,
    missing: Missing = MissingRule.skip,
    restrict: Annotated[
        int, typer.Option(min=0, help=_RESTRICT_HELP, metavar="N", show_default="all")
    ] = 0,
    limit: Limit = None,
    json: JsonFlag = False,
) -> None:
    """Measure vectors or codes on the data sets that are at hand.

    Data sets are found in the folder that EMBCOMPRESS_DATA names, or in the cache.
    """
    from embcompress.evaluation.suite import evaluate as run_tasks
    from embcompress.evaluation.suite_tasks import load_sets

    sets = load_sets(
        _names(tasks),
        fetch=fetch,
        missing=str(missing),
        methods=("add", "mul"),
        restrict=restrict or None,
    )
    vectors = _open(file, limit)
    floats = None if against is None else _reference(against, vectors, limit)
    reference: list[Result] = []
    with _in_options():
        results = run_tasks(vectors, floats=floats, sets=sets, progress=True)
        if floats is not None and any(sets.sets.values()):
            reference = run_tasks(floats, sets=sets, progress=True)
    rows = _compared(results, reference)
    if json:
        print_json({"file": str(file), "against": against and str(against), "results": rows})
    else:
        _print_results(rows, with_differences=floats is not None)


def benchmark(
    vectors: InputFile,
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="Folder for the results.", show_default=False),
    ],
    bits: Annotated[
        str | None,
        typer.Option(
            help="Bits a word, separated by commas.",
            show_default="1, 1/2 and 1/4 of the dimensions",
            metavar="N,...",
        ),
    ] = None,
    methods: Annotated[
        str, typer.Option(help="Methods, separated by commas.", metavar="NAME,...")
    ] = "iiq,itq,sign",
    seeds: Annotated[
        int, typer.Option(min=1, help="Random seeds of each method that has any.", metavar="N")
    ] = 3,
    tasks: Tasks = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Cells that are run at a time, each in a process on one core; each takes memory "
            "of its own.",
            show_default="the usable cores, at most the number of cells",
            metavar="N",
        ),
    ] = None,
    fetch: Fetch = False,
    missing: Missing = MissingRule.skip,
    restrict: Annotated[
        int | None, typer.Option(min=0, help=_RESTRICT_HELP, metavar="N", show_default="30000")
    ] = None,
    limit: Limit = None,
    format: FormatOption = None,
    member: Member = None,
    json: JsonFlag = False,
) -> None:
    """Compare methods on your own vectors: tables, rows and a page with plots.

    Can be interrupted: finished cells stay in DIR, and the same command goes on from there.
    """
    from embcompress.evaluation.methods import METHODS, find_methods
    from embcompress.evaluation.suite import RESTRICT, run_benchmark
    from embcompress.evaluation.suite_jobs import usable_cores
    from embcompress.evaluation.suite_tasks import load_sets
    from embcompress.formats import load_vectors
    from embcompress.report import save_report

    names = [spec.name for spec in find_methods(_names(methods) or list(METHODS))]
    asked = _numbers(bits)
    first = RESTRICT if restrict is None else restrict or None
    sets = load_sets(_names(tasks), fetch=fetch, missing=str(missing), restrict=first)
    _check_folder(output)
    _tell_absent(sets.absent)
    given = None if format is None else str(format)
    kv = load_vectors(vectors, format=given, limit=limit, member=member, progress=True)
    try:
        with _in_options():
            found = run_benchmark(
                kv,
                n_bits=asked or _default_bits(kv.vector_size),
                methods=names,
                seeds=seeds,
                folder=output,
                sets=sets,
                progress=True,
                report=lambda line: typer.echo(line, err=True),
                n_jobs=jobs or usable_cores(),
            )
    except KeyboardInterrupt as stop:
        done = len(list((output / "cells").glob("*.json")))
        raise Interrupted(
            f"interrupted; {done} finished cells are in {output / 'cells'}, "
            "the same command goes on from there"
        ) from stop
    paths = save_report(found, output, title=f"Compressing {vectors.name}")
    if json:
        print_json({"rows": found.rows, "files": [str(path) for path in paths]})
    else:
        _print_summary(found, paths)


def _names(text: str | None) -> list[str] | None:
    if text is None:
        return None
    return [name.strip() for name in text.split(",") if name.strip()]


def _numbers(text: str | None) -> list[int] | None:
    names = _names(text)
    if names is None:
        return None
    for name in names:
        if not name.isdecimal() or int(name) < 1:
            raise ValueError(f"--bits {text}: {name!r} is not a whole number of at least 1")
    if not names:
        raise ValueError("--bits: no number is given, such as 300,150,75")
    return [int(name) for name in names]


def _default_bits(n_features: int) -> list[int]:
    return [max(n_features // part, 1) for part in (1, 2, 4)]


def _check_folder(folder: Path) -> None:
    """Find out before the long work that results can be written."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: the output is a file; name a folder")
    folder.mkdir(parents=True, exist_ok=True)


def _tell_absent(absent: Sequence[tuple[str, str, str]]) -> None:
    if not absent:
        return
    names = ", ".join(name for _, name, _ in absent)
    typer.echo(
        f"not at hand and left out: {names}; set EMBCOMPRESS_DATA to a folder that has them, or "
        "add --fetch",
        err=True,
    )


def _open(path: Path, limit: int | None) -> KeyedVectors | CompressedVectors:
    """Open codes or float vectors, whichever the file holds."""
    from embcompress.compressed import CompressedVectors
    from embcompress.formats import load_vectors

    if _is_safetensors(path):
        if limit is not None:
            raise ValueError("--limit is for float vectors; a compressed file is used whole")
        return CompressedVectors.load(path)
    return load_vectors(path, limit=limit, progress=True)


def _is_safetensors(path: Path) -> bool:
    """Whether a file begins as safetensors does: length of the header, then its brace."""
    if path.is_dir():
        return False
    with path.open("rb") as file:
        head = file.read(9)
    length = int.from_bytes(head[:8], "little")
    return head[8:] == b"{" and length <= path.stat().st_size - 8


def _reference(
    path: Path, vectors: KeyedVectors | CompressedVectors, limit: int | None
) -> KeyedVectors:
    """Float vectors of the same words."""
    from embcompress.formats import load_vectors

    if _is_safetensors(path):
        raise ValueError(f"{path}: --against needs float vectors, and these are compressed")
    floats = load_vectors(path, limit=limit or len(vectors), progress=True)
    if floats.index_to_key != vectors.index_to_key:
        raise ValueError(
            f"{path}: its first {len(floats):,} words are not the {len(vectors):,} words of FILE; "
            "--against needs the vectors that FILE was made from"
        )
    return floats


@contextmanager
def _in_options() -> Iterator[None]:
    """Name options as they are typed where no data set is at hand."""
    try:
        yield
    except FileNotFoundError as error:
        if error.filename is not None:
            raise
        message = (
            str(error).replace("(fetch=True)", "(--fetch)").replace("(floats=)", "(--against)")
        )
        raise ValueError(message) from error


def _compared(results: Sequence[Result], reference: Sequence[Result]) -> list[dict[str, Any]]:
    """Rows with the paired difference to float, where there is one."""
    from embcompress.evaluation import compare

    known = {result.key: result for result in reference if not result.skipped}
    rows = []
    for result in results:
        row: dict[str, Any] = result.to_row()
        if known and not result.skipped and result.key in known:
            found = compare(result, known[result.key])
            row |= {
                "difference": found.value,
                "difference_low": found.low,
                "difference_high": found.high,
                "retention": found.retention,
            }
        rows.append(row)
    return rows


def _print_results(rows: Sequence[dict[str, Any]], *, with_differences: bool) -> None:
    from embcompress.report.tables import difference, score

    header = ["data set", "task", "metric", "scoring", "score", "covered"]
    header += ["difference to float"] if with_differences else []
    cells = []
    for row in rows:
        if row["skipped"]:
            continue
        cell = [row["dataset"], row["task"], row["metric"], row["space"], score(row)]
        cell.append(f"{row['n_covered']:,} of {row['n_items']:,}")
        cells.append(cell + ([difference(row)] if with_differences else []))
    if cells:
        print_table(header, cells)
    reasons = dict.fromkeys(row["note"] for row in rows if row["skipped"])
    if reasons:
        typer.echo("\nskipped:" if cells else "skipped:")
        for reason in reasons:
            typer.echo(f"  {reason}")


def _print_summary(found: Any, paths: Sequence[Path]) -> None:
    from embcompress.report.tables import brief_table, lines_of

    print_table(*brief_table(lines_of(found.rows)))
    typer.echo("* differs from float by more than the choice of items explains (95 %, paired)\n")
    skipped = {row["note"]: None for row in found.rows if row["value"] is None}
    absent = {name for name, why in found.skipped if why.endswith(": not at hand")}
    named = [f"{what}: {why}" for what, why in found.skipped if what not in absent]
    for reason in [*skipped, *named]:
        typer.echo(f"skipped  {reason}")
    typer.echo(f"cells    {found.n_run} run, {found.n_kept} finished before")
    for path in paths:
        typer.echo(f"written  {path}")
