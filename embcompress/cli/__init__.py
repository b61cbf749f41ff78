"""The `embcompress` command."""

from __future__ import annotations

import os
import signal
import sys
from typing import Annotated, Any

import typer

from embcompress._version import __version__
from embcompress.cli import (
    augment,
    bundle,
    compress,
    convert,
    evaluate,
    explore,
    predict,
    prune,
    query,
    shard,
    train_head,
)

__all__ = ["app", "main"]

_OPTION_OF = {
    "skip_bad=True": "--skip-bad",
    'errors="replace"': "--errors replace",
    'format="gensim"': "--format gensim",
    "member=": "--member",
    "vocabulary=": "--vocabulary",
    "limit=": "--limit",
    "replace=True": "--replace",
    "rows_per_shard=": "--rows-per-shard ",
    "column=": "--column ",
    'features="codes"': "--features codes",
    'features="decoded"': "--features decoded",
}
_INTERRUPTED = 130  # what shells expect after Ctrl-C

app = typer.Typer(
    name="embcompress",
    help="Make embeddings small and fast: compress, open, search, classify.",
    epilog="Example: embcompress compress glove.6B.300d.txt -o glove.safetensors",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("compress")(compress.compress)
app.command("shard")(shard.shard)
app.command("info")(query.info)
app.command("search")(query.search)
app.command("analogy")(query.analogy)
app.command("explore")(explore.explore)
app.command("export")(convert.export)
app.command("convert")(convert.convert)
app.add_typer(augment.app, name="augment")
app.command("train-head")(train_head.train_head)
app.command("prune")(prune.prune)
app.command("bundle")(bundle.bundle)
app.command("predict")(predict.predict)
app.command("evaluate")(evaluate.evaluate)
app.command("benchmark")(evaluate.benchmark)


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"embcompress {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Make embeddings small and fast: compress, open, search, classify."""


def main() -> None:
    """Run the command; user errors end in one line and exit status 2."""
    # a polite kill ends as Ctrl-C does: temporary files are removed on the way out
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        status = _run()
    except (KeyboardInterrupt, typer.Abort):
        status = _INTERRUPTED
    except evaluate.Interrupted as stop:
        _stop(str(stop), _INTERRUPTED)
    except BrokenPipeError:
        # the reader of our output went away (| head): not an error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        if os.environ.get("EMBCOMPRESS_TRACEBACK"):
            raise
        message = _user_message(error)
        if message is None:
            raise
        _stop(message, 2)
    if status == _INTERRUPTED:
        _stop("interrupted; nothing was written", status)
    sys.exit(status)


def _run() -> int:
    """Run the command line; its exit status."""
    try:
        return app(prog_name="embcompress", standalone_mode=False) or 0
    except SystemExit as end:  # how the parser passes Ctrl-C on
        return end.code if isinstance(end.code, int) else 1


def _user_message(error: Exception) -> str | None:
    """One line for an error that the user can mend; None for our own mistakes."""
    from embcompress._optional import MissingExtraError
    from embcompress.vectors import UnknownWordError

    if hasattr(error, "format_message"):  # wrong usage, from the command-line parser
        return f"{error.format_message()} (see embcompress --help)"
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}"
    if isinstance(error, MemoryError):
        return "not enough memory; try --streaming, or --limit to read fewer words"
    known: tuple[Any, ...] = (
        ValueError, TypeError, UnknownWordError, MissingExtraError, EOFError,
        FloatingPointError,  # a loss that is not finite
    )  # fmt: skip
    if isinstance(error, known):
        return _in_options(str(error))
    return None


def _in_options(message: str) -> str:
    """Name options as they are typed, not as the arguments of a function."""
    for argument, option in _OPTION_OF.items():
        message = message.replace(argument, option)
    return message


def _stop(message: str, status: int) -> None:
    line = " ".join(message.split())
    print(f"embcompress: {line}", file=sys.stderr)  # noqa: T201
    sys.exit(status)
