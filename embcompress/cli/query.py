"""`embcompress info`, `search` and `analogy`: ask a compressed file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from embcompress.cli._arguments import (
    Engine,
    EngineOption,
    JsonFlag,
    Scoring,
    ScoringOption,
    SmallFile,
    TopN,
    model_path,
)
from embcompress.cli._output import (
    describe_codes,
    describe_fit,
    human_bytes,
    print_json,
    print_pairs,
    print_table,
)
from embcompress.cli.bundle import print_bundle
from embcompress.cli.shard import print_shards
from embcompress.cli.store import Neighbours, is_url, search_store

if TYPE_CHECKING:
    from embcompress.compressed import CompressedVectors

__all__ = ["analogy", "info", "search"]


def info(file: SmallFile, json: JsonFlag = False) -> None:
    """Show what a compressed file, a bundle or a folder of shards holds."""
    if file.is_dir():
        from embcompress.scale import open_shards

        print_shards(open_shards(file, partial=True), json=json)
        return
    from embcompress.compressed import CompressedVectors
    from embcompress.container import kind_of

    if kind_of(file) == "bundle":
        from embcompress.bundle import Bundle

        made = Bundle.load(file)
        print_bundle(made.report(), made.classes_.tolist(), file, json=json)
        return
    small = CompressedVectors.load(file)
    described = _describe(small, file.stat().st_size)
    if json:
        print_json(described)
        return
    pairs = [
        ("words", f"{described['words']:,}"),
        ("codes", describe_codes(small.n_bits, small.encoder.n_directions, small.quantizer)),
        ("decoded", f"{described['dimensions']} dimensions"),
    ]
    pairs += describe_fit(described["info"])
    pairs += [
        ("bytes", human_bytes(described["file_bytes"])),
        *((f"  {name}", human_bytes(size)) for name, size in described["parts"].items()),
        (
            "ratio",
            f"{described['ratio_codes']:.1f}x codes alone, {described['ratio_file']:.1f}x "
            "whole file, against float32",
        ),
    ]
    if small.source is not None:
        pairs.append(("made from", f"{small.source.path} ({small.source.format})"))
    pairs.append(("first words", " ".join(small.index_to_key[:8])))
    print_pairs(pairs)


def search(
    arguments: Annotated[
        list[str],
        typer.Argument(
            help="File made by `embcompress compress`, then words to look up; with --store words "
            "only.",
            metavar="FILE WORD",
            show_default=False,
        ),
    ],
    topn: TopN = 10,
    scoring: ScoringOption = Scoring.hamming,
    engine: EngineOption = Engine.auto,
    store: Annotated[
        str | None,
        typer.Option(
            help="Search in a store that `export --to URL` wrote, instead of in a file.",
            metavar="URL",
            show_default=False,
        ),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Show the nearest neighbours of words."""
    if store is None:
        found = _search_file(arguments, topn, str(scoring), str(engine))
    else:
        found = search_store(store, arguments, topn, str(scoring))
    if json:
        print_json({word: _as_dicts(neighbours) for word, neighbours in found.items()})
        return
    for number, (word, neighbours) in enumerate(found.items()):
        if number:
            typer.echo()
        print_table([word, "similarity"], _as_rows(neighbours))


def analogy(
    file: SmallFile,
    a: Annotated[str, typer.Argument(help="a is to b ...", show_default=False)],
    b: Annotated[str, typer.Argument(help="a is to b ...", show_default=False)],
    c: Annotated[str, typer.Argument(help="... as c is to what?", show_default=False)],
    topn: TopN = 5,
    scoring: ScoringOption = Scoring.asymmetric,
    engine: EngineOption = Engine.auto,
    json: JsonFlag = False,
) -> None:
    """Complete an analogy: a is to b as c is to ... (3CosAdd: b - a + c)."""
    from embcompress.compressed import CompressedVectors

    small = CompressedVectors.load(file, engine=str(engine))
    found = small.most_similar(positive=[b, c], negative=[a], topn=topn, scoring=str(scoring))
    if json:
        print_json({"a": a, "b": b, "c": c, "answers": _as_dicts(found)})
        return
    print_table([f"{a} : {b} = {c} :", "similarity"], _as_rows(found))


def _search_file(arguments: list[str], topn: int, scoring: str, engine: str) -> Neighbours:
    from embcompress.compressed import CompressedVectors

    if is_url(arguments[0]):
        raise ValueError(f"{arguments[0]} is a store; write --store {arguments[0]} WORD...")
    file, *words = arguments
    if not words:
        raise ValueError(f"name words to look up behind the file {file}")
    small = CompressedVectors.load(model_path(Path(file)), engine=engine)
    return {
        word: small.most_similar(word, topn=topn, scoring=scoring) for word in dict.fromkeys(words)
    }


def _describe(small: CompressedVectors, file_bytes: int) -> dict[str, Any]:
    parts = {
        "codes": small.codes.nbytes,
        "words": small.index_to_key.blob.nbytes + small.index_to_key.offsets.nbytes,
        "encoder": small.encoder.nbytes,
    }
    parts["header"] = file_bytes - sum(parts.values())
    float_bytes = len(small) * small.vector_size * 4
    return {
        "words": len(small),
        "bits": small.n_bits,
        "directions": small.encoder.n_directions,
        "dimensions": small.vector_size,
        "quantizer": small.quantizer,
        "info": small.info,
        "file_bytes": file_bytes,
        "parts": parts,
        "ratio_codes": float_bytes / max(small.codes.nbytes, 1),
        "ratio_file": float_bytes / file_bytes,
        "source": None if small.source is None else small.source.path,
    }


def _as_dicts(neighbours: list[tuple[str, float]]) -> list[dict[str, Any]]:
    return [{"word": word, "similarity": round(score, 6)} for word, score in neighbours]


def _as_rows(neighbours: list[tuple[str, float]]) -> list[list[str]]:
    return [[word, f"{score:.3f}"] for word, score in neighbours]
