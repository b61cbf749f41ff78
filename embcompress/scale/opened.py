"""A folder of shards, opened as one memory-mapped matrix of codes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embcompress.codes import code_bytes
from embcompress.container import FormatError, load_container
from embcompress.encoder import Encoder
from embcompress.progress import ProgressBar
from embcompress.scale.manifest import Manifest, Shard, checksum, read_manifest

__all__ = ["ENCODER_KIND", "SHARD_KIND", "ShardedCodes", "open_shards", "read_shard"]

Codes = npt.NDArray[np.uint8]
SHARD_KIND, ENCODER_KIND = "codes", "encoder"


class ShardedCodes:
    """Codes in shards, used like one array: slices, row numbers, ``numpy.asarray``.

    Opened by :func:`open_shards`. A shard is mapped into memory when it is first touched.

    Attributes
    ----------
    folder : Path
    manifest : Manifest
    encoder : Encoder
        What the codes were made with.
    """

    dtype = np.dtype(np.uint8)
    ndim = 2

    def __init__(self, folder: Path, manifest: Manifest, encoder: Encoder) -> None:
        self.folder = folder
        self.manifest = manifest
        self.encoder = encoder
        self.starts = np.cumsum([0, *(shard.rows for shard in manifest.shards)])
        self._mapped: dict[int, Codes] = {}

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __repr__(self) -> str:
        return (
            f"ShardedCodes({len(self):,} codes of {self.n_bits} bits in "
            f"{self.n_shards} shards, {self.manifest.quantizer})"
        )

    @property
    def n_bits(self) -> int:
        """Code length in bits."""
        return self.encoder.n_bits

    @property
    def n_shards(self) -> int:
        """Number of files of codes."""
        return len(self.manifest.shards)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of codes, and bytes of each."""
        return len(self), code_bytes(self.n_bits)

    @property
    def nbytes(self) -> int:
        """Bytes of all codes."""
        return self.shape[0] * self.shape[1]

    def shard(self, number: int) -> Codes:
        """Codes of one shard, as a memory map."""
        if number not in self._mapped:
            found = self.manifest.shards[number]
            self._mapped[number] = read_shard(self.folder, found, self.n_bits)
        return self._mapped[number]

    def __getitem__(self, rows: Any) -> Codes:
        """Codes by row number, slice, or array of row numbers or of booleans."""
        if isinstance(rows, tuple):
            return self[rows[0]][..., *rows[1:]]
        if isinstance(rows, slice):
            first, last, step = rows.indices(len(self))
            if step == 1:
                return self._between(first, max(first, last))
            return self[np.arange(first, last, step)]
        numbers = np.asarray(rows)
        if numbers.dtype == np.bool_:
            numbers = np.flatnonzero(numbers)
        if numbers.size and (numbers.min() < -len(self) or numbers.max() >= len(self)):
            raise IndexError(f"row {numbers.max()} of {len(self)} codes")
        numbers = numbers.astype(np.int64) % max(len(self), 1)
        out = np.empty((*numbers.shape, self.shape[1]), dtype=np.uint8)
        places = np.searchsorted(self.starts, numbers, side="right") - 1
        for number in np.unique(places):
            here = places == number
            out[here] = self.shard(int(number))[numbers[here] - self.starts[number]]
        return out

    def _between(self, first: int, last: int) -> Codes:
        shards = range(self.n_shards)
        parts = [
            self.shard(k)[max(first - self.starts[k], 0) : last - self.starts[k]]
            for k in shards
            if self.starts[k] < last and self.starts[k + 1] > first
        ]
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if parts else np.empty((0, self.shape[1]), dtype=np.uint8)

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Codes:
        if copy is False and self.n_shards != 1:
            raise ValueError("codes of several shards become one array only by copying")
        return self[:].astype(dtype or np.uint8, copy=bool(copy))

    def verify(self, *, progress: bool = False) -> None:
        """Compare all files with their checksums.

        Parameters
        ----------
        progress : bool, default False
            Show a progress bar.

        Raises
        ------
        FormatError
            If a file is not what was written, with the names of all that are not.
        """
        files = [self.manifest.encoder, *self.manifest.shards]
        with ProgressBar("Verifying", len(files), unit="shards", enabled=progress) as bar:
            damaged = []
            for file in files:
                if checksum(self.folder / file.file) != file.crc32:
                    damaged.append(file.file)
                bar.advance(1)
        if damaged:
            raise FormatError(
                f"{self.folder}: checksum mismatch in {', '.join(damaged)}; write_shards makes "
                "damaged shards anew"
            )


def open_shards(folder: str | os.PathLike[str], *, partial: bool = False) -> ShardedCodes:
    """Open a folder that :func:`write_shards` wrote; nothing but the manifest is read.

    Parameters
    ----------
    folder : path-like
    partial : bool, default False
        Open what is there even if writing was interrupted.

    Returns
    -------
    ShardedCodes

    Raises
    ------
    FormatError
        If a file is missing or has another size, or writing did not end.
    OSError
        If the folder cannot be read.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    if not manifest.complete and not partial:
        raise FormatError(
            f"{folder}: writing was interrupted after {manifest.n_rows} rows; write the shards "
            "again to go on from there, or open with partial=True"
        )
    for shard in [manifest.encoder, *manifest.shards]:
        path = folder / shard.file
        size = path.stat().st_size if path.is_file() else None
        if size != shard.bytes:
            found = "missing" if size is None else f"{size} bytes"
            raise FormatError(f"{path}: {found}, expected {shard.bytes} bytes")
    encoder = Encoder.from_container(
        load_container(folder / manifest.encoder.file, kind=ENCODER_KIND)
    )
    return ShardedCodes(folder, manifest, encoder)


def read_shard(folder: Path, shard: Shard, n_bits: int) -> Codes:
    """Codes of a shard as a memory map, compared with what the manifest says of them."""
    container = load_container(folder / shard.file, kind=SHARD_KIND)
    codes = container.tensor("codes", (np.uint8,), 2)
    expected = (shard.rows, code_bytes(n_bits))
    if codes.shape != expected:
        raise FormatError(f"{container.path}: codes of shape {codes.shape}, expected {expected}")
    return codes
