"""Stores on the command line: what `export --to URL` and `search --store URL` do."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from embcompress.cli._output import print_json

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["Neighbours", "StoreInput", "export_to_store", "is_url", "search_store"]

# word -> words near it, and their similarities
Neighbours = dict[str, list[tuple[str, float]]]


@dataclass(frozen=True)
class StoreInput:
    """What is to be written to a store.

    Attributes
    ----------
    file : Path
        A compressed file, or an ``.npy`` matrix of codes.
    n_bits : int or None
    keys, ids : Path or None
    """

    file: Path
    n_bits: int | None
    keys: Path | None
    ids: Path | None

    def read(self) -> dict[str, Any]:
        """Arguments of ``Store.write``.

        Raises
        ------
        ValueError
            If the options do not fit the file.
        OSError
            If a file cannot be read.
        """
        ids = None if self.ids is None else _load_array(self.ids)
        return (self._matrix() if self.file.suffix == ".npy" else self._compressed()) | {"ids": ids}

    def _matrix(self) -> dict[str, Any]:
        if self.n_bits is None:
            raise ValueError(f"{self.file}: a matrix of codes needs --n-bits, their length in bits")
        keys = None
        if self.keys is not None:
            keys = self.keys.read_text("utf-8", "surrogateescape").split("\n")
            if keys[-1] == "":
                keys.pop()
        metadata = {"source": _as_text(str(self.file))}
        codes = _load_array(self.file)
        return {"codes": codes, "n_bits": self.n_bits, "keys": keys, "metadata": metadata}

    def _compressed(self) -> dict[str, Any]:
        from embcompress.compressed import CompressedVectors

        if self.n_bits is not None or self.keys is not None:
            raise ValueError(
                f"--n-bits and --keys are for an .npy matrix; {self.file} says itself what it holds"
            )
        small = CompressedVectors.load(self.file)
        metadata = {"quantizer": small.quantizer, **small.info}
        if small.source is not None:
            metadata["source"] = _as_text(small.source.path)
        return {
            "codes": small.codes,
            "n_bits": small.n_bits,
            "keys": small.index_to_key,
            "encoder": small.encoder,
            "metadata": metadata,
        }


def is_url(text: str) -> bool:
    """Whether a text is the address of a store; looks at nothing but the text."""
    return "://" in text


def export_to_store(
    source: StoreInput, url: str, *, replace: bool, batch_size: int, json: bool
) -> None:
    """Write codes to a store, and say how many, where and how fast."""
    from embcompress.stores import open_store

    with open_store(url) as store:
        arguments = source.read()
        started = time.perf_counter()
        n_rows = store.write(**arguments, replace=replace, batch_size=batch_size, progress=True)
        seconds = time.perf_counter() - started
        info = store.info()
    if json:
        counts = {"rows": n_rows, "rows_in_store": info.n_codes, "bits": info.n_bits}
        print_json({"store": info.place, **counts, "seconds": round(seconds, 3)})
        return
    there = "" if info.n_codes == n_rows else f" ({info.n_codes:,} there now)"
    typer.echo(
        f"{info.place}  {n_rows:,} rows x {info.n_bits} bits{there}, {seconds:.1f} s, "
        f"{n_rows / max(seconds, 1e-9):,.0f} rows/s"
    )


def search_store(url: str, words: list[str], topn: int, scoring: str) -> Neighbours:
    """Neighbours of words in a store."""
    from embcompress.stores import open_store

    if scoring != "hamming":
        raise ValueError(f"--scoring {scoring} needs the file; stores compare bits with bits")
    if words[0].endswith(".safetensors"):
        raise ValueError(f"{words[0]}: with --store no file is named, words only")
    with open_store(url) as store:
        return {word: store.most_similar(word, topn) for word in dict.fromkeys(words)}


def _as_text(path: str) -> str:
    """A file's name as UTF-8, also where the name on disk is not."""
    return path.encode("utf-8", "replace").decode()


def _load_array(path: Path) -> npt.NDArray[np.generic]:
    import numpy as np

    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path}: not a NumPy file of numbers: {error}") from error
