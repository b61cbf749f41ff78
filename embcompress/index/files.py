"""Files of indexes: what FAISS writes, a footer behind it, and checks before anything is read."""

from __future__ import annotations

import errno
import json
import os
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import faiss

from embcompress._version import __version__
from embcompress.container import FormatError, atomic_write

__all__ = ["Found", "inspect_file", "map_flag", "map_index", "read_index", "write_index"]

_faiss: Any = faiss  # the type stubs of FAISS lack some of its names

_FORMAT_VERSION = 1
_MAGIC = b"EMBCIDX\n"
# First four bytes of a FAISS binary index file
_KIND_OF_FOURCC = {b"IBxF": "flat", b"IBwF": "ivf", b"IBHf": "hnsw"}
_FAISS_HEADER_BYTES = 33  # up to the codes of a flat index


@dataclass(frozen=True)
class Found:
    """What a file says about itself; the last three are None in a file that FAISS wrote."""

    kind: str
    payload_bytes: int
    n_codes: int
    n_bits: int | None = None
    payload_crc32: int | None = None
    created_with: str | None = None


def write_index(path: str | os.PathLike[str], index: Any, *, n_bits: int, kind: str) -> None:
    """Write FAISS's bytes and the footer."""
    size = checksum = 0
    with atomic_write(path) as file:

        def take(block: bytes) -> None:
            nonlocal size, checksum
            file.write(block)
            size, checksum = size + len(block), zlib.crc32(block, checksum)

        _faiss.write_index_binary(index, _faiss.PyCallbackIOWriter(take))
        found = Found(kind, size, int(index.ntotal), n_bits, checksum, f"embcompress {__version__}")
        entries = asdict(found) | {"format_version": _FORMAT_VERSION, "padded_bits": int(index.d)}
        text = json.dumps(entries, sort_keys=True, separators=(",", ":")).encode()
        file.write(text + b"".join(_uint32(n) for n in (len(text), zlib.crc32(text))) + _MAGIC)


def _uint32(number: int) -> bytes:
    return number.to_bytes(4, "little")


def inspect_file(path: Path) -> Found:
    """Read the first and the last bytes of a file, and check that nothing is missing between.

    FAISS may crash on a mapped file that is shorter than its header says, so this comes first.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder, not a file", str(path))
    with path.open("rb") as file:
        head = file.read(_FAISS_HEADER_BYTES)
        n_bytes = file.seek(0, os.SEEK_END)
        kind = _kind(path, head)
        if len(head) < _FAISS_HEADER_BYTES:
            raise _truncated(path, n_bytes, f"at least {_FAISS_HEADER_BYTES}")
        width, code_size = (int.from_bytes(head[i : i + 4], "little") for i in (4, 8))
        n_codes = int.from_bytes(head[12:20], "little")
        if width < 1 or width != 8 * code_size:
            raise FormatError(
                f"{path}: damaged header: codes of {width} bits in {code_size} bytes each"
            )
        file.seek(max(0, n_bytes - 16))
        tail = file.read()
        if len(tail) < 16 or tail[8:] != _MAGIC:
            found = Found(kind, n_bytes, n_codes)
        else:
            n_text, checksum = (int.from_bytes(tail[i : i + 4], "little") for i in (0, 4))
            if n_text > n_bytes - 16 - _FAISS_HEADER_BYTES:
                raise FormatError(f"{path}: damaged footer: {n_text} bytes in a file of {n_bytes}")
            file.seek(n_bytes - 16 - n_text)
            found = _parse_footer(path, file.read(n_text), checksum, width)
            if found.payload_bytes != n_bytes - 16 - n_text:
                raise _truncated(path, n_bytes, str(found.payload_bytes + n_text + 16))
    if (found.kind, found.n_codes) != (kind, n_codes):
        raise FormatError(
            f"{path}: damaged: the header says {n_codes} codes, {kind}; the footer says "
            f"{found.n_codes} codes, {found.kind}"
        )
    least = _FAISS_HEADER_BYTES + n_codes * code_size
    if found.payload_bytes < least or (kind == "flat" and found.payload_bytes != least):
        raise _truncated(path, found.payload_bytes, f"{'' if kind == 'flat' else 'over '}{least}")
    return found


def _kind(path: Path, head: bytes) -> str:
    fourcc = head[:4]
    if fourcc in _KIND_OF_FOURCC:
        return _KIND_OF_FOURCC[fourcc]
    name = fourcc.decode("latin-1")
    if fourcc[:2] == b"IB":
        raise FormatError(
            f"{path}: a FAISS binary index of a kind that is not read here ({name!r}); expected "
            f"flat, ivf or hnsw ({', '.join(repr(code.decode()) for code in _KIND_OF_FOURCC)})"
        )
    if fourcc[:1] == b"I" and name.isascii() and name.isalnum() and len(name) == 4:
        raise FormatError(
            f"{path}: a float FAISS index ({name!r}); expected a binary one "
            "(faiss.read_index opens this file)"
        )
    raise FormatError(f"{path}: not a FAISS binary index file (it starts with {fourcc!r})")


def _truncated(path: Path, found: int, expected: str) -> FormatError:
    return FormatError(
        f"{path}: {found} bytes found, {expected} expected; was the download or copy interrupted?"
    )


def _parse_footer(path: Path, text: bytes, checksum: int, width: int) -> Found:
    try:
        if zlib.crc32(text) != checksum:
            raise ValueError("the checksum is another")
        entries = json.loads(text)
        version = entries.pop("format_version")
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise FormatError(
            f"{path}: damaged footer: {text[:40]!r} is not what was written"
        ) from error
    if version != _FORMAT_VERSION:
        raise FormatError(
            f"{path}: format version {version!r}, this embcompress {__version__} reads version "
            f"{_FORMAT_VERSION}; the file was written by "
            f"{entries.get('created_with', 'an unknown version')}: please upgrade"
        )
    try:
        padded_bits = entries.pop("padded_bits")
        found = Found(**entries)
        numbers = (found.n_bits, found.n_codes, found.payload_bytes, found.payload_crc32)
        sound = all(type(number) is int and number >= 0 for number in numbers)
        sound = sound and padded_bits == width and 1 <= entries["n_bits"] <= width
    except (KeyError, TypeError):
        sound = False
    if not sound:
        raise FormatError(
            f"{path}: damaged footer: {text.decode(errors='replace')} in a file of "
            f"codes of {width} bits"
        )
    return found


def map_flag() -> int:
    """FAISS's flag for mapping a flat index; 0 in versions that have none."""
    return getattr(faiss, "IO_FLAG_MMAP_IFC", 0)


def map_index(path: Path) -> Any:
    """Open a flat index in memory-mapped mode; `inspect_file` must have passed it."""
    try:
        return _faiss.read_index_binary(os.fspath(path), map_flag())
    except (RuntimeError, MemoryError) as error:
        raise FormatError(f"{path}: FAISS cannot map this file: {_first_line(error)}") from error


def read_index(path: Path, found: Found) -> Any:
    """Read a file into memory, and compare what was read with its checksum."""
    checksum = 0
    with path.open("rb") as file:

        def give(n_bytes: int) -> bytes:
            nonlocal checksum
            block = file.read(min(n_bytes, found.payload_bytes - file.tell()))
            checksum = zlib.crc32(block, checksum)
            return block

        try:
            index = _faiss.read_index_binary(_faiss.PyCallbackIOReader(give))
        except (RuntimeError, MemoryError) as error:
            raise FormatError(
                f"{path}: FAISS cannot read this file: {_first_line(error)}"
            ) from error
        n_read = file.tell()
    if n_read != found.payload_bytes:
        raise _truncated(path, found.payload_bytes, str(n_read))
    if found.payload_crc32 is not None and checksum != found.payload_crc32:
        raise FormatError(
            f"{path}: damaged: checksum {checksum:08x} found, {found.payload_crc32:08x} expected"
        )
    return index


def _first_line(error: BaseException) -> str:
    """What FAISS says, without its place in the source."""
    return str(error).partition("\n")[0].rpartition(": ")[2] or type(error).__name__
