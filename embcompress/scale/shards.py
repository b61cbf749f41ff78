"""Write codes as shards, and go on after an interruption."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embcompress.container import load_container, save_container
from embcompress.encoder import Encoder
from embcompress.quantizers import BinaryQuantizer
from embcompress.scale.fitting import encoded_blocks, encoder_of
from embcompress.scale.manifest import (
    MANIFEST,
    Manifest,
    Shard,
    checksum,
    read_manifest,
    write_manifest,
)
from embcompress.scale.opened import ENCODER_KIND, SHARD_KIND, ShardedCodes, open_shards
from embcompress.scale.sources import Source, open_source

__all__ = [
    "begin",
    "check_parameters",
    "end_of_whole_shards",
    "locked",
    "save_shard",
    "write_shards",
]

Codes = npt.NDArray[np.uint8]

_ENCODER_FILE = "encoder.safetensors"
_LOCK = ".lock"


def write_shards(
    quantizer: BinaryQuantizer | Encoder | None,
    source: Any,
    folder: str | os.PathLike[str],
    *,
    column: str | list[str] | None = None,
    rows_per_shard: int = 1 << 20,
    progress: bool = False,
) -> ShardedCodes:
    """Encode rows into a folder of shards, or finish a folder where that was interrupted.

    The folder holds ``codes-00000.safetensors`` and so on, the encoder, and ``manifest.json``
    with the rows, bytes and CRC-32 of every file. Each file is written whole or not at all. If
    the folder is there already its shards are compared with their checksums, and writing goes on
    after the last that is whole: an interrupted job is run again as it was.

    Parameters
    ----------
    quantizer : fitted quantizer, Encoder or None
        None takes the encoder of the folder, to finish it without another fit.
    source : path, array, Arrow table, iterable of matrices, Source, Dask array or data frame
        See :func:`open_source`. Of a Dask collection every partition becomes a shard, which the
        worker writes; all have to see the folder under the same path.
    folder : path-like
        Made if it is not there; its parent has to be.
    column : str or list of str, optional
        Column of lists, or columns of numbers, of a table.
    rows_per_shard : int, default 1048576
    progress : bool, default False
        Show a progress bar.

    Returns
    -------
    ShardedCodes

    Raises
    ------
    ValueError
        If the folder holds shards of another source, quantizer or size, or other files; or if
        rows are not finite or do not have the width that was fitted.
    BlockingIOError
        If another process is writing to the folder.
    OSError
        If it cannot be written.
    """
    folder = Path(folder)
    if isinstance(rows_per_shard, bool) or rows_per_shard < 1:
        raise ValueError(f"rows_per_shard={rows_per_shard!r} must be a whole number of at least 1")
    if hasattr(source, "__dask_graph__"):
        from embcompress.scale import cluster

        return cluster.write_shards(quantizer, source, folder, column=column, progress=progress)
    opened = open_source(source, column=column)
    fingerprint = opened.fingerprint() if opened.rereadable else {"kind": "iterator"}
    with locked(folder):
        manifest, encoder = begin(folder, quantizer, fingerprint, rows_per_shard)
        manifest = end_of_whole_shards(folder, manifest)
        if not manifest.complete:
            if manifest.shards and not opened.rereadable:
                raise ValueError(
                    f"{folder}: {manifest.n_rows} rows are there, and an iterator cannot be told "
                    "to go on after them; give a source that can be read again, or another folder"
                )
            _write_rest(folder, manifest, encoder, opened, progress)
    return open_shards(folder)


def _write_rest(
    folder: Path, manifest: Manifest, encoder: Encoder, source: Source, progress: bool
) -> None:
    for codes in _in_shards(
        encoded_blocks(encoder, source, manifest.n_rows, progress=progress),
        manifest.rows_per_shard,
    ):
        shard = save_shard(folder, len(manifest.shards), codes, manifest.n_bits)
        manifest = manifest.with_shard(shard)
        write_manifest(folder, manifest)
    write_manifest(folder, replace(manifest, complete=True))


def _in_shards(parts: Iterator[Codes], rows_per_shard: int) -> Iterator[Codes]:
    """Codes in parts of equal numbers of rows, the last one shorter."""
    waiting: list[Codes] = []
    n_waiting = 0
    for codes in parts:
        while n_waiting + len(codes) >= rows_per_shard:
            split = rows_per_shard - n_waiting
            yield np.concatenate([*waiting, codes[:split]])
            waiting, n_waiting, codes = [], 0, codes[split:]
        if len(codes):
            waiting.append(codes)
            n_waiting += len(codes)
    if waiting:
        yield np.concatenate(waiting)


def save_shard(folder: Path, number: int, codes: Codes, n_bits: int) -> Shard:
    """Write one file of codes; what the manifest has to say of it."""
    path = folder / f"codes-{number:05d}.safetensors"
    metadata = {"n_bits": str(n_bits), "bitorder": "big"}
    save_container(path, {"codes": codes}, kind=SHARD_KIND, metadata=metadata)
    return Shard(path.name, len(codes), path.stat().st_size, checksum(path))


def begin(
    folder: Path,
    quantizer: BinaryQuantizer | Encoder | None,
    fingerprint: dict[str, Any],
    rows_per_shard: int,
) -> tuple[Manifest, Encoder]:
    """The manifest to go on from, and the encoder as it is stored.

    Raises
    ------
    ValueError
        If the folder holds something else.
    """
    if (folder / MANIFEST).exists():
        manifest = read_manifest(folder)
        _check_same(folder, manifest, quantizer, fingerprint, rows_per_shard)
    elif quantizer is None:
        raise ValueError(f"{folder}: there are no shards to finish; give a fitted quantizer")
    else:
        others = sorted(path.name for path in folder.iterdir() if _is_foreign(path))
        if others:
            raise ValueError(
                f"{folder}: holds other files ({', '.join(others[:3])}); give an empty folder"
            )
        manifest = _first_manifest(folder, quantizer, fingerprint, rows_per_shard)
        write_manifest(folder, manifest)
    # as it is stored, in float32: the codes of a second run are those of the first
    encoder = Encoder.from_container(load_container(folder / _ENCODER_FILE, kind=ENCODER_KIND))
    return manifest, encoder


def _is_foreign(path: Path) -> bool:
    # an interrupted start leaves these behind
    return path.name not in (_LOCK, _ENCODER_FILE) and not path.name.endswith(".tmp")


def _first_manifest(
    folder: Path,
    quantizer: BinaryQuantizer | Encoder,
    fingerprint: dict[str, Any],
    rows_per_shard: int,
) -> Manifest:
    encoder = encoder_of(quantizer)
    path = folder / _ENCODER_FILE
    save_container(path, encoder.to_tensors(), kind=ENCODER_KIND, metadata=encoder.to_metadata())
    return Manifest(
        n_bits=encoder.n_bits,
        n_features=encoder.n_features,
        quantizer=type(quantizer).__name__,
        parameters=parameters_of(quantizer),
        encoder=Shard(path.name, 0, path.stat().st_size, checksum(path)),
        source=fingerprint,
        rows_per_shard=rows_per_shard,
    )


def check_parameters(folder: Path, quantizer: BinaryQuantizer) -> bool:
    """Whether a folder has shards to go on with, made by a quantizer with these parameters.

    Raises
    ------
    ValueError
        If it has some of another quantizer.
    FormatError
        If its manifest is damaged.
    """
    if not (folder / MANIFEST).exists():
        return False
    manifest = read_manifest(folder)
    asked = {"quantizer": type(quantizer).__name__, **parameters_of(quantizer)}
    found = {"quantizer": manifest.quantizer, **manifest.parameters}
    if asked != found:
        changed = [key for key in asked if asked[key] != found.get(key)]
        described = ", ".join(f"{key} was {found.get(key)!r}" for key in changed)
        raise ValueError(
            f"{folder}: the shards were made with other options ({described}); give another "
            "folder, or delete this one"
        )
    return True


def parameters_of(quantizer: BinaryQuantizer | Encoder) -> dict[str, Any]:
    """Parameters of a quantizer as JSON values."""
    if not hasattr(quantizer, "get_params"):
        return {}
    return {
        name: value if isinstance(value, int | float | str | None) else repr(value)
        for name, value in quantizer.get_params().items()
        if name != "verbose"
    }


def _check_same(
    folder: Path,
    manifest: Manifest,
    quantizer: BinaryQuantizer | Encoder | None,
    fingerprint: dict[str, Any],
    rows_per_shard: int,
) -> None:
    """Refuse to go on with another source, quantizer or size of shards."""
    advice = "give another folder, or delete this one"
    if manifest.source != fingerprint:
        keys = sorted({*manifest.source, *fingerprint})
        changed = [key for key in keys if manifest.source.get(key) != fingerprint.get(key)]
        raise ValueError(
            f"{folder}: the shards were made from another source ({', '.join(changed)} differ); "
            f"{advice}"
        )
    if manifest.rows_per_shard != rows_per_shard:
        raise ValueError(
            f"{folder}: the shards have {manifest.rows_per_shard} rows, rows_per_shard="
            f"{rows_per_shard} was asked for; {advice}"
        )
    path = folder / manifest.encoder.file
    if not path.is_file() or checksum(path) != manifest.encoder.crc32:
        raise ValueError(f"{path}: missing or damaged; {advice}")
    if quantizer is None:
        return
    encoder = encoder_of(quantizer)
    stored = load_container(path, kind=ENCODER_KIND)
    tensors = encoder.to_tensors()
    same = encoder.to_metadata().items() <= dict(stored.metadata).items() and (
        tensors.keys() == stored.tensors.keys()
        and all(np.array_equal(array, stored.tensors[name]) for name, array in tensors.items())
    )
    if not same:
        raise ValueError(
            f"{folder}: the shards were made with another fit of {manifest.quantizer}; {advice}, "
            "or finish it with its own encoder (quantizer=None)"
        )


def end_of_whole_shards(folder: Path, manifest: Manifest) -> Manifest:
    """The manifest up to the first shard that is not what was written; complete if all are."""
    whole = []
    for shard in manifest.shards:
        path = folder / shard.file
        if not path.is_file() or checksum(path) != shard.crc32:
            break
        whole.append(shard)
    complete = manifest.complete and len(whole) == len(manifest.shards)
    return replace(manifest, shards=whole, complete=complete)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make the folder if need be, and keep other writers out.

    Raises
    ------
    BlockingIOError
        If another process is writing to it.
    OSError
        If it cannot be made.
    """
    if not folder.parent.is_dir():
        raise FileNotFoundError(
            errno.ENOENT, "the output folder does not exist", str(folder.parent)
        )
    folder.mkdir(exist_ok=True)
    with (folder / _LOCK).open("w") as lock:
        _lock(lock.fileno(), folder)
        for left in folder.glob(".*.tmp"):  # of a process that was killed
            left.unlink()
        yield
    with suppress(FileNotFoundError):
        (folder / _LOCK).unlink()


def _lock(descriptor: int, folder: Path) -> None:
    try:
        import fcntl
    except ImportError:  # not a POSIX system: writers have to keep apart by themselves
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BlockingIOError(
            errno.EAGAIN, "another process is writing to this folder", str(folder)
        ) from None
