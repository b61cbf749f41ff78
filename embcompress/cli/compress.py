"""`embcompress compress`: a file of float vectors in, a file of codes out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    check_output,
    reading_options,
)
from embcompress.cli._output import (
    describe_codes,
    describe_fit,
    human_bytes,
    print_json,
    print_pairs,
)

if TYPE_CHECKING:
    from embcompress.compressed import CompressedVectors
    from embcompress.quantizers import BinaryQuantizer
    from embcompress.vectors import KeyedVectors

__all__ = ["BitsPerDirection", "Phases", "QuantizerName", "compress", "make_quantizer"]


_TABLES = {".parquet", ".pq", ".arrow", ".feather", ".ipc"}


class QuantizerName(StrEnum):
    """Quantizers by the name they have on the command line."""

    iiq = "iiq"
    itq = "itq"
    pcasign = "pcasign"
    lsh = "lsh"
    sign = "sign"


class BitsPerDirection(StrEnum):
    """Bits for each direction that iiq keeps."""

    one = "1"
    two = "2"
    auto = "auto"


@dataclass
class Phases:
    """Wall seconds of each phase, in order."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time what is done in the block."""
        started = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started


def compress(
    input: InputFile,
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="File to write (.safetensors).", show_default=False),
    ],
    bits: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Bits per word. More bits, better neighbours.",
            show_default="as many as dimensions",
            metavar="N",
        ),
    ] = None,
    quantizer: Annotated[
        QuantizerName, typer.Option(help="How bits are chosen; iiq keeps most.")
    ] = QuantizerName.iiq,
    n_remove: Annotated[
        str,
        typer.Option(
            help="Dominant directions that iiq removes: a number, or auto to choose it from "
            "the vectors.",
            metavar="N|auto",
        ),
    ] = "auto",
    bits_per_direction: Annotated[
        BitsPerDirection,
        typer.Option(
            help="1: signs, for any Hamming index. 2: half as many directions with sign and "
            "magnitude, which keep more. auto: 2 from 256 dimensions on. Only for iiq.",
        ),
    ] = BitsPerDirection.auto,
    limit: Limit = None,
    quality: Annotated[
        bool,
        typer.Option("--quality", help="Measure how many of the 10 float neighbours remain."),
    ] = False,
    streaming: Annotated[
        bool,
        typer.Option(
            "--streaming",
            help="Read the file twice and never hold all float vectors; fits on a sample.",
        ),
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Random seed.", metavar="N")] = 0,
    format: FormatOption = None,
    member: Member = None,
    vocabulary: VocabularyFile = None,
    skip_bad: SkipBad = False,
    errors: Errors = TextErrors.STRICT,
    json: JsonFlag = False,
) -> None:
    """Compress a file of vectors to packed binary codes.

    The output is one safetensors file with words, codes and encoder; it opens by memory map.
    """
    check_output(output, input)
    if input.suffix in _TABLES:
        raise ValueError(
            f"{input.name}: a table of vectors without words; use embcompress shard for it"
        )
    model = make_quantizer(quantizer, bits, n_remove, bits_per_direction, seed)
    options = reading_options(format, limit, member, vocabulary, skip_bad, errors)
    phases = Phases()
    if streaming:
        if quality:
            raise ValueError("--quality needs all float vectors; leave out --streaming")
        small = _compress_streaming(input, model, options, seed, phases)
        vectors = None
    else:
        small, vectors = _compress_in_memory(input, model, options, phases)
    with phases("write"):
        small.save(output)
    recall = None
    if quality and vectors is not None:
        from embcompress.quality import neighbour_recalls

        with phases("quality"):
            recall = neighbour_recalls(vectors, small, progress=True)
    summary = _summary(small, output, phases, recall)
    if json:
        print_json(summary)
    else:
        print_pairs(_lines(small, summary))


def _compress_in_memory(
    path: Path, model: BinaryQuantizer, options: dict[str, Any], phases: Phases
) -> tuple[CompressedVectors, KeyedVectors]:
    from embcompress.compressed import CompressedVectors
    from embcompress.formats import load_vectors

    with phases("read"):
        vectors = load_vectors(path, progress=True, **options)
    with phases("fit"):
        model.fit(vectors.vectors)
    with phases("encode"):
        small = CompressedVectors.encode(vectors, model, progress=True)
    return small, vectors


def _compress_streaming(
    path: Path, model: BinaryQuantizer, options: dict[str, Any], seed: int, phases: Phases
) -> CompressedVectors:
    from embcompress.compressed import CompressedVectors
    from embcompress.formats import open_vectors
    from embcompress.sampling import sample_rows

    with phases("read"), open_vectors(path, progress=True, **options) as reader:
        sample = sample_rows((chunk.vectors for chunk in reader.chunks()), random_state=seed)
    with phases("fit"):
        model.fit(sample)
    with phases("encode"), open_vectors(path, progress=True, **options) as reader:
        chunks = ((chunk.words, chunk.vectors) for chunk in reader.chunks())
        small = CompressedVectors.encode_chunks(chunks, model)
        small.source = reader.source
    return small


def make_quantizer(
    name: QuantizerName,
    bits: int | None,
    n_remove: str,
    bits_per_direction: BitsPerDirection,
    seed: int,
) -> BinaryQuantizer:
    """The quantizer that the options of a command ask for.

    Raises
    ------
    ValueError
        If an option does not go with the quantizer.
    """
    from embcompress import quantizers

    if name is QuantizerName.sign:
        if bits is not None:
            raise ValueError("--bits: sign makes one bit per dimension; leave it out or use iiq")
        return quantizers.Sign()
    if n_remove != "auto" and name is not QuantizerName.iiq:
        raise ValueError(f"--n-remove is for iiq; {name} removes no directions")
    if bits_per_direction is BitsPerDirection.two and name is not QuantizerName.iiq:
        raise ValueError(f"--bits-per-direction 2 is for iiq; {name} makes signs")
    if name is QuantizerName.pcasign:
        return quantizers.PCASign(n_bits=bits)
    if name is QuantizerName.lsh:
        return quantizers.LSH(n_bits=bits, random_state=seed)
    if name is QuantizerName.itq:
        return quantizers.ITQ(n_bits=bits, random_state=seed, verbose=True)
    if n_remove != "auto" and not n_remove.isdecimal():
        raise ValueError(f"--n-remove {n_remove}: a whole number or auto is needed")
    chosen = "auto" if n_remove == "auto" else int(n_remove)
    per_direction = "auto" if bits_per_direction == "auto" else int(bits_per_direction)
    return quantizers.IIQ(
        n_bits=bits,
        n_remove=chosen,
        bits_per_direction=per_direction,
        random_state=seed,
        verbose=True,
    )


def _summary(
    small: CompressedVectors, output: Path, phases: Phases, recall: dict[str, float] | None
) -> dict[str, Any]:
    float_bytes = len(small) * small.vector_size * 4
    file_bytes = output.stat().st_size
    source = small.source
    summary: dict[str, Any] = {
        "output": str(output),
        "words": len(small),
        "dimensions": small.vector_size,
        "bits": small.n_bits,
        "directions": small.encoder.n_directions,
        "quantizer": small.quantizer,
        "code_bytes": small.codes.nbytes,
        "file_bytes": file_bytes,
        "float_bytes": float_bytes,
        "input_bytes": source.n_bytes if source else None,
        "ratio_codes": float_bytes / max(small.codes.nbytes, 1),
        "ratio_file": float_bytes / file_bytes,
        "duplicates": source.n_duplicates if source else 0,
        "skipped": source.n_skipped if source else 0,
        "seconds": {name: round(value, 3) for name, value in phases.seconds.items()},
        **{name: float(value) for name, value in small.info.items()},
    }
    if recall is not None:
        summary["recall_at_10"] = recall
    return summary


def _lines(small: CompressedVectors, summary: dict[str, Any]) -> list[tuple[str, str]]:
    lines = [
        ("words", f"{summary['words']:,} x {summary['dimensions']} dimensions"),
        ("codes", describe_codes(small.n_bits, small.encoder.n_directions, small.quantizer)),
    ]
    dropped = [(summary["duplicates"], "duplicate words"), (summary["skipped"], "bad rows")]
    if any(count for count, _ in dropped):
        lines.append(("dropped", ", ".join(f"{n:,} {what}" for n, what in dropped if n)))
    lines += describe_fit(small.info)
    input_bytes = summary["input_bytes"]
    against_input = (
        f", {input_bytes / summary['file_bytes']:.1f}x smaller than the input"
        if input_bytes
        else ""
    )
    lines += [
        (
            "codes alone",
            f"{human_bytes(summary['code_bytes'])}, {summary['ratio_codes']:.1f}x smaller "
            "than float32",
        ),
        (
            "whole file",
            f"{human_bytes(summary['file_bytes'])}, {summary['ratio_file']:.1f}x smaller "
            f"than float32{against_input}",
        ),
    ]
    if "recall_at_10" in summary:
        found = ", ".join(f"{value:.3f} {name}" for name, value in summary["recall_at_10"].items())
        lines.append(("recall@10", f"{found} (share of the float neighbours kept)"))
    phases = ", ".join(f"{name} {value:.1f}" for name, value in summary["seconds"].items())
    lines += [("seconds", phases), ("written", summary["output"])]
    return lines
