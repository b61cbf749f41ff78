"""`embcompress shard`: vectors without words, any number of them, to a folder of codes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from embcompress.cli._arguments import JsonFlag
from embcompress.cli._output import describe_codes, human_bytes, print_json, print_pairs
from embcompress.cli.compress import BitsPerDirection, Phases, QuantizerName, make_quantizer
from embcompress.cli.evaluate import Interrupted

if TYPE_CHECKING:
    from embcompress.quantizers import BinaryQuantizer
    from embcompress.scale import ShardedCodes

__all__ = ["print_shards", "shard"]


def shard(
    input: Annotated[
        Path,
        typer.Argument(
            help="Vectors: a Parquet file or a folder of them, an Arrow (Feather) file, an .npy "
            "matrix, or a file of words and vectors, whose words are left out.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", help="Folder to write, or to go on with.", show_default=False
        ),
    ],
    column: Annotated[
        str | None,
        typer.Option(
            help="Column of lists, or columns of numbers with commas between them.",
            show_default="the only one of lists, else all of floats",
            metavar="NAME",
        ),
    ] = None,
    bits: Annotated[
        int | None,
        typer.Option(
            min=1, help="Bits per vector.", show_default="as many as dimensions", metavar="N"
        ),
    ] = None,
    quantizer: Annotated[
        QuantizerName, typer.Option(help="How bits are chosen; iiq keeps most.")
    ] = QuantizerName.iiq,
    n_remove: Annotated[
        str,
        typer.Option(help="Dominant directions that iiq removes.", metavar="N|auto"),
    ] = "auto",
    bits_per_direction: Annotated[
        BitsPerDirection,
        typer.Option(help="1: signs, which Hamming search compares. 2 keeps more. Only for iiq."),
    ] = BitsPerDirection.one,
    fit_rows: Annotated[
        int | None,
        typer.Option(
            min=1, help="Fit on N rows, drawn at random.", show_default="all", metavar="N"
        ),
    ] = None,
    rows_per_shard: Annotated[
        int, typer.Option(min=1, help="Vectors in one file.", metavar="N")
    ] = 1 << 20,
    seed: Annotated[int, typer.Option(min=0, help="Random seed.", metavar="N")] = 0,
    json: JsonFlag = False,
) -> None:
    """Compress any number of vectors to a folder of shards, in bounded memory.

    Run it again after an interruption: it goes on after the last whole shard.
    """
    model = make_quantizer(quantizer, bits, n_remove, bits_per_direction, seed)
    phases = Phases()
    columns = None if column is None else column.split(",") if "," in column else column
    try:
        written = _write(input, output, columns, model, fit_rows, rows_per_shard, phases)
    except KeyboardInterrupt as stop:
        raise Interrupted(
            f"interrupted; whole shards stay in {output}, the same command goes on from there"
        ) from stop
    print_shards(written, json=json, seconds=phases.seconds)


def _write(
    input: Path,
    output: Path,
    column: str | list[str] | None,
    model: BinaryQuantizer,
    fit_rows: int | None,
    rows_per_shard: int,
    phases: Phases,
) -> ShardedCodes:
    from embcompress import scale
    from embcompress.scale.shards import check_parameters

    if not output.parent.is_dir():  # before the long work
        raise ValueError(f"{output.parent}: the output folder does not exist")
    source = scale.open_source(input, column=column)
    fitted: BinaryQuantizer | None = None
    if not check_parameters(output, model):
        with phases("fit"):
            fitted = scale.fit(model, source, max_rows=fit_rows, progress=True)
    with phases("encode"):
        return scale.write_shards(
            fitted, source, output, rows_per_shard=rows_per_shard, progress=True
        )


def print_shards(
    written: ShardedCodes, *, json: bool, seconds: dict[str, float] | None = None
) -> None:
    """Say what a folder of shards holds, as JSON or for people."""
    manifest, encoder = written.manifest, written.encoder
    file_bytes = sum(file.bytes for file in [manifest.encoder, *manifest.shards])
    float_bytes = len(written) * encoder.n_features * 4
    summary: dict[str, Any] = {
        "folder": str(written.folder),
        "vectors": len(written),
        "dimensions": encoder.n_features,
        "bits": encoder.n_bits,
        "directions": encoder.n_directions,
        "quantizer": manifest.quantizer,
        "shards": written.n_shards,
        "complete": manifest.complete,
        "code_bytes": written.nbytes,
        "file_bytes": file_bytes,
        "ratio_codes": float_bytes / max(written.nbytes, 1),
        "ratio_file": float_bytes / max(file_bytes, 1),
        "source": manifest.source,
    }
    if seconds is not None:
        summary["seconds"] = {name: round(value, 3) for name, value in seconds.items()}
    if json:
        print_json(summary)
        return
    state = "" if manifest.complete else ", not complete: run the command again to go on"
    lines = [
        ("vectors", f"{len(written):,} x {encoder.n_features} dimensions"),
        ("codes", describe_codes(encoder.n_bits, encoder.n_directions, manifest.quantizer)),
        ("shards", f"{written.n_shards}{state}"),
        (
            "bytes",
            f"{human_bytes(file_bytes)}, {summary['ratio_file']:.1f}x smaller than float32",
        ),
    ]
    if seconds:
        phases = ", ".join(f"{name} {value:.1f}" for name, value in summary["seconds"].items())
        lines.append(("seconds", phases))
    print_pairs([*lines, ("folder", str(written.folder))])
