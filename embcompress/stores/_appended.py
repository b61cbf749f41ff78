"""Files of other programs with words, ids and metadata behind what those programs read.

FAISS and usearch read an index file from its start and do not mind what follows. There a
safetensors file is appended, then its place and checksums, so that everything is one file, written
whole or not at all, which the other program still opens.
"""

from __future__ import annotations

import errno
import os
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from embcompress.container import (
    Container,
    FormatError,
    atomic_write,
    dump_container,
    parse_container,
)
from embcompress.stores._description import Description
from embcompress.stores._rows import Ids, Rows
from embcompress.vocabulary import Vocabulary, read_vocabulary

__all__ = ["Appended", "collect", "merged", "read_appended", "with_names", "write_appended"]

_KIND = "store"
_MAGIC = b"EMBCSTR\n"
# bytes of the payload and of what is appended, their checksums, magic
_FOOTER = struct.Struct("<QQII8s")
_BLOCK_BYTES = 1 << 24


@dataclass(frozen=True)
class Appended:
    """What is behind the payload of a file.

    Attributes
    ----------
    described : Description
    ids : ndarray of int64, shape (n,)
        Ascending.
    keys : Vocabulary or None
    missing : ndarray of bool, shape (n,), or None
        Rows without a key, if some have one.
    """

    described: Description
    ids: Ids
    keys: Vocabulary | None
    missing: npt.NDArray[np.bool_] | None

    def key(self, row: int) -> str | None:
        """Key of a row."""
        if self.keys is None or (self.missing is not None and self.missing[row]):
            return None
        return self.keys[row]

    def find(self, key: str) -> int | None:
        """Smallest id among the rows with a key."""
        if self.keys is None:
            return None
        if key == "" and self.missing is not None:  # rows without a key are stored as empty ones
            empty = np.diff(self.keys.offsets) == 0
            rows = np.flatnonzero(empty & ~self.missing)
            return int(self.ids[rows[0]]) if len(rows) else None
        row = self.keys.find(key)
        return None if row is None else int(self.ids[row])

    def rows_of(self, ids: Ids) -> npt.NDArray[np.int64]:
        """Rows of those of some ids that are there."""
        rows = np.searchsorted(self.ids, ids)
        inside = rows < len(self.ids)
        return rows[inside][self.ids[rows[inside]] == ids[inside]]


def write_appended(
    path: Path, write_payload: Callable[[Callable[[bytes], None]], None], appended: Appended
) -> None:
    """Write a file: what the other program reads, then ours.

    Parameters
    ----------
    path : Path
    write_payload : callable
        Called with a function that takes bytes.
    appended : Appended

    Raises
    ------
    OSError
        If the file cannot be written; nothing is left behind.
    """
    try:
        _write(path, write_payload, appended)
    except OSError as error:
        if error.filename is not None:
            raise
        message = f"{error.strerror or error}; nothing was written"
        raise OSError(error.errno, message, str(path)) from error


def _write(
    path: Path, write_payload: Callable[[Callable[[bytes], None]], None], appended: Appended
) -> None:
    size = checksum = 0
    extra = dump_container(_tensors(appended), kind=_KIND, metadata=appended.described.entries())
    with atomic_write(path) as file:

        def take(block: bytes) -> None:
            nonlocal size, checksum
            file.write(block)
            size, checksum = size + len(block), zlib.crc32(block, checksum)

        write_payload(take)
        file.write(extra)
        file.write(_FOOTER.pack(size, len(extra), checksum, zlib.crc32(extra), _MAGIC))


def read_appended(path: Path) -> Appended | None:
    """Read what is behind the payload, and check all of the file.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Appended
        None if there is no such file.

    Raises
    ------
    FormatError
        If the file is damaged.
    ValueError
        If it was not written by this package.
    """
    if not path.exists():
        return None
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder, not a file", str(path))
    with path.open("rb") as file:
        n_bytes = file.seek(0, os.SEEK_END)
        file.seek(max(0, n_bytes - _FOOTER.size))
        tail = file.read()
        if len(tail) < _FOOTER.size or not tail.endswith(_MAGIC):
            raise ValueError(
                f"{path} exists and was not written by embcompress as a store; name another file"
            )
        size, extra_size, checksum, extra_checksum, _ = _FOOTER.unpack(tail)
        if size + extra_size + _FOOTER.size != n_bytes:
            raise FormatError(
                f"{path}: {n_bytes} bytes found, {size + extra_size + _FOOTER.size} expected; "
                "was the download or copy interrupted?"
            )
        file.seek(0)
        if _checksum(file.read, size) != checksum:
            raise FormatError(f"{path}: damaged: the checksum of the index is another")
        extra = file.read(extra_size)
    if zlib.crc32(extra) != extra_checksum:
        raise FormatError(f"{path}: damaged: the checksum of the metadata is another")
    return _parse(parse_container(extra, path, kind=_KIND))


def collect(batches: list[Rows], width: int) -> Rows:
    """All batches as one, ordered by id."""
    ids = np.concatenate([batch.ids for batch in batches])
    codes = np.concatenate([batch.codes for batch in batches]).reshape(-1, width)
    keys = None
    if batches[0].keys is not None:
        keys = [key for batch in batches for key in batch.keys or ()]
    if (ids[1:] > ids[:-1]).all():
        return Rows(ids, codes, keys)
    order = np.argsort(ids)
    sorted_keys = None if keys is None else [keys[i] for i in order.tolist()]
    return Rows(ids[order], codes[order], sorted_keys)


def merged(old: Appended, new: Rows, described: Description) -> tuple[Appended, npt.NDArray]:
    """Words and ids of a file after new rows have taken the places of old ones.

    Parameters
    ----------
    old : Appended
    new : Rows
        Ordered by id.
    described : Description

    Returns
    -------
    appended : Appended
    sources : ndarray of int64, shape (n,)
        Where each row comes from: a row of `old`, or ``len(old.ids)`` more than a row of `new`.
    """
    n_old = len(old.ids)
    stays = np.flatnonzero(~np.isin(old.ids, new.ids))
    ids = np.concatenate([old.ids[stays], new.ids])
    sources = np.concatenate([stays, n_old + np.arange(len(new))])
    order = np.argsort(ids)
    sources = sources[order]
    if not described.has_keys:
        return Appended(described, ids[order], None, None), sources
    names = [
        old.key(i) if i < n_old else None if new.keys is None else new.keys[i - n_old]
        for i in sources.tolist()
    ]
    return with_names(described, ids[order], names), sources


def with_names(described: Description, ids: Ids, names: Sequence[str | None] | None) -> Appended:
    """Words and ids of a file, from the keys of its rows."""
    if names is None:
        return Appended(described, ids, None, None)
    missing = np.array([name is None for name in names], dtype=np.bool_)
    keys = Vocabulary.from_words(name or "" for name in names)
    return Appended(described, ids, keys, missing if missing.any() else None)


def _checksum(read: Callable[[int], bytes], size: int) -> int:
    checksum = 0
    while size:
        block = read(min(size, _BLOCK_BYTES))
        if not block:
            break
        checksum, size = zlib.crc32(block, checksum), size - len(block)
    return checksum


def _tensors(appended: Appended) -> Mapping[str, npt.NDArray]:
    tensors: dict[str, npt.NDArray] = {"ids": appended.ids}
    if appended.keys is not None:
        tensors |= {"vocab": appended.keys.blob, "vocab_offsets": appended.keys.offsets}
    if appended.missing is not None:
        tensors["vocab_missing"] = appended.missing.astype(np.uint8)
    if appended.described.encoder is not None:
        tensors["encoder"] = np.frombuffer(appended.described.encoder, dtype=np.uint8)
    return tensors


def _parse(container: Container) -> Appended:
    ids = container.tensor("ids", (np.int64,), 1)
    keys = missing = encoder = None
    if "vocab" in container.tensors:
        keys = read_vocabulary(container, len(ids))
    if "vocab_missing" in container.tensors:
        missing = container.tensor("vocab_missing", (np.uint8,), 1).astype(np.bool_)
    if "encoder" in container.tensors:
        encoder = container.tensor("encoder", (np.uint8,), 1).tobytes()
    described = Description.from_entries(container.metadata, encoder, str(container.path))
    return Appended(described, ids, keys, missing)
