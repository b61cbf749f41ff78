"""The manifest of a folder of shards: what is there, with checksums, and what it was made from."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from embcompress._version import __version__
from embcompress.container import FormatError, atomic_write

__all__ = ["MANIFEST", "Manifest", "Shard", "checksum", "read_manifest", "write_manifest"]

MANIFEST = "manifest.json"
_FORMAT, _VERSION = "embcompress-shards", 1
_READ_BYTES = 1 << 22


@dataclass(frozen=True)
class Shard:
    """A file of codes.

    Attributes
    ----------
    file : str
        Name in the folder.
    rows, bytes : int
        Number of codes, and size of the file.
    crc32 : int
        Checksum of the file.
    """

    file: str
    rows: int
    bytes: int
    crc32: int


@dataclass(frozen=True)
class Manifest:
    """What a folder of shards holds.

    Attributes
    ----------
    n_bits, n_features : int
    quantizer : str
        Name of the class that was fitted.
    parameters : dict
        Its parameters, as JSON values.
    encoder : Shard
        The file of the encoder; `rows` is 0.
    source : dict
        Fingerprint of what the codes were made from.
    rows_per_shard : int
    complete : bool
        Whether all rows of the source are there.
    shards : list of Shard
    """

    n_bits: int
    n_features: int
    quantizer: str
    parameters: dict[str, Any]
    encoder: Shard
    source: dict[str, Any]
    rows_per_shard: int
    complete: bool = False
    shards: list[Shard] = field(default_factory=list)

    @property
    def n_rows(self) -> int:
        """Number of codes in all shards."""
        return sum(shard.rows for shard in self.shards)

    def with_shard(self, shard: Shard) -> Manifest:
        """The manifest with one more shard."""
        return replace(self, shards=[*self.shards, shard])


def checksum(path: Path) -> int:
    """CRC-32 of a file."""
    value = 0
    with path.open("rb") as file:
        while block := file.read(_READ_BYTES):
            value = zlib.crc32(block, value)
    return value


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest, whole or not at all."""
    values = {
        "format": _FORMAT,
        "version": _VERSION,
        "created_with": f"embcompress {__version__}",
        **vars(manifest),
        "n_rows": manifest.n_rows,
        "encoder": vars(manifest.encoder),
        "shards": [vars(shard) for shard in manifest.shards],
    }
    with atomic_write(folder / MANIFEST) as file:
        file.write(json.dumps(values, indent=1).encode())


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a folder.

    Raises
    ------
    FormatError
        If it is damaged, of a newer version, or no manifest of shards.
    OSError
        If there is none.
    """
    path = folder / MANIFEST
    try:
        values = json.loads(path.read_bytes())
        if values["format"] != _FORMAT:
            raise FormatError(f"{path}: format {values['format']!r}, expected {_FORMAT!r}")
        if values["version"] != _VERSION:
            raise FormatError(
                f"{path}: version {values['version']!r}, this embcompress {__version__} reads "
                f"version {_VERSION}; please upgrade"
            )
        for name in ("format", "version", "created_with", "n_rows"):
            del values[name]
        values["encoder"] = Shard(**values["encoder"])
        values["shards"] = [Shard(**shard) for shard in values["shards"]]
        return Manifest(**values)
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise FormatError(f"{path}: not a manifest of shards ({error})") from error
