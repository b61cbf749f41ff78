"""Files of indexes: what FAISS writes, a footer behind it, and checks before anything is read.

A flat index is written and read without FAISS, byte for byte as FAISS does it. Ids and scales lie
between the bytes of FAISS and the footer, where FAISS does not look.
"""

from __future__ import annotations

import errno
import json
import os
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embcompress._version import __version__
from embcompress.codes import Codes
from embcompress.container import FormatError, atomic_write

__all__ = [
    "Found",
    "inspect_file",
    "map_rows",
    "read_index",
    "read_rows",
    "read_sections",
    "write_flat",
    "write_index",
]

# version 2 has sections; a file without any is written as version 1
_FORMAT_VERSIONS = (1, 2)
_SECTIONS: dict[str, np.dtype] = {"ids": np.dtype("<i8"), "scales": np.dtype("<f4")}
_MAGIC = b"EMBCIDX\n"
# First four bytes of a FAISS binary index file
_KIND_OF_FOURCC = {b"IBxF": "flat", b"IBwF": "ivf", b"IBHf": "hnsw"}
_FAISS_HEADER_BYTES = 33  # up to the codes of a flat index


@dataclass(frozen=True)
class Found:
    """What a file says about itself; all from `n_bits` on is missing in a file of FAISS."""

    kind: str
    payload_bytes: int
    n_codes: int
    padded_bits: int
    n_bits: int | None = None
    payload_crc32: int | None = None
    created_with: str | None = None
    sections: Mapping[str, Any] = field(default_factory=dict)

    @property
    def section_bytes(self) -> int:
        """Bytes between those of FAISS and the footer."""
        return sum(section["bytes"] for section in self.sections.values())


def write_index(
    path: str | os.PathLike[str],
    index: Any,
    *,
    n_bits: int,
    kind: str,
    sections: Mapping[str, npt.NDArray],
) -> None:
    """Write the bytes of FAISS for one of its indexes, sections and the footer."""
    import faiss

    def give(take: Callable[[bytes], None]) -> None:
        faiss.write_index_binary(index, faiss.PyCallbackIOWriter(take))  # type: ignore[attr-defined]

    found = Found(kind, 0, int(index.ntotal), int(index.d), n_bits)
    _write(path, found, give, sections)


def write_flat(
    path: str | os.PathLike[str],
    parts: Iterable[Codes],
    n_codes: int,
    *,
    n_bits: int,
    padded_bits: int,
    sections: Mapping[str, npt.NDArray],
) -> None:
    """Write what FAISS would for a flat index, sections and the footer.

    Parameters
    ----------
    path : path-like
    parts : iterable of ndarray of uint8
        The codes, some rows at a time.
    n_codes, n_bits, padded_bits : int
    sections : mapping of str to ndarray
    """

    def give(take: Callable[[bytes], None]) -> None:
        code_size = padded_bits // 8
        take(b"IBxF" + _uint32(padded_bits) + _uint32(code_size) + n_codes.to_bytes(8, "little"))
        # trained; metric 1; then the codes as a vector, its length first
        take(b"\x01" + _uint32(1) + (n_codes * code_size).to_bytes(8, "little"))
        for part in parts:
            rows = np.zeros((len(part), code_size), dtype=np.uint8)
            rows[:, : part.shape[1]] = part
            take(rows.tobytes())

    _write(path, Found("flat", 0, n_codes, padded_bits, n_bits), give, sections)


def _write(
    path: str | os.PathLike[str],
    found: Found,
    give: Callable[[Callable[[bytes], None]], None],
    sections: Mapping[str, npt.NDArray],
) -> None:
    size = checksum = 0
    with atomic_write(path) as file:

        def take(block: bytes) -> None:
            nonlocal size, checksum
            file.write(block)
            size, checksum = size + len(block), zlib.crc32(block, checksum)

        give(take)
        described = {}
        for name, array in sections.items():
            block = np.ascontiguousarray(array, dtype=_SECTIONS[name]).tobytes()
            file.write(block)
            described[name] = {"bytes": len(block), "crc32": zlib.crc32(block)}
        entries = asdict(found) | {
            "payload_bytes": size,
            "payload_crc32": checksum,
            "created_with": f"embcompress {__version__}",
            "sections": described,
            "format_version": 2 if described else 1,
        }
        if not described:
            del entries["sections"]
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
            found = Found(kind, n_bytes, n_codes, width)
        else:
            n_text, checksum = (int.from_bytes(tail[i : i + 4], "little") for i in (0, 4))
            if n_text > n_bytes - 16 - _FAISS_HEADER_BYTES:
                raise FormatError(f"{path}: damaged footer: {n_text} bytes in a file of {n_bytes}")
            file.seek(n_bytes - 16 - n_text)
            found = _parse_footer(path, file.read(n_text), checksum, width)
            expected = found.payload_bytes + found.section_bytes + n_text + 16
            if n_bytes != expected:
                raise _truncated(path, n_bytes, str(expected))
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
    if version not in _FORMAT_VERSIONS:
        raise FormatError(
            f"{path}: format version {version!r}, this embcompress {__version__} reads versions "
            f"{' and '.join(map(str, _FORMAT_VERSIONS))}; the file was written by "
            f"{entries.get('created_with', 'an unknown version')}: please upgrade"
        )
    try:
        found = Found(**entries)
        numbers = [found.n_bits, found.n_codes, found.payload_bytes, found.payload_crc32]
        for name, section in found.sections.items():
            numbers += [section["bytes"], section["crc32"]]
            if section["bytes"] != found.n_codes * _SECTIONS[name].itemsize:
                raise KeyError(name)
        sound = all(type(number) is int and number >= 0 for number in numbers)
        sound = sound and found.padded_bits == width and 1 <= entries["n_bits"] <= width
    except (KeyError, TypeError, AttributeError):
        sound = False
    if not sound:
        raise FormatError(
            f"{path}: damaged footer: {text.decode(errors='replace')} in a file of "
            f"codes of {width} bits"
        )
    return found


def map_rows(path: Path, found: Found) -> Codes:
    """Map the codes of a flat index into memory; `inspect_file` must have passed the file."""
    shape = (found.n_codes, found.padded_bits // 8)
    if not found.n_codes:
        return np.empty(shape, dtype=np.uint8)
    return np.memmap(path, dtype=np.uint8, mode="r", offset=_FAISS_HEADER_BYTES, shape=shape)


def read_rows(path: Path, found: Found) -> Codes:
    """Read the codes of a flat index, and compare the file with its checksum."""
    rows = np.empty((found.n_codes, found.padded_bits // 8), dtype=np.uint8)
    with path.open("rb") as file:
        checksum = zlib.crc32(file.read(_FAISS_HEADER_BYTES))
        n_read = _FAISS_HEADER_BYTES
        if rows.size:
            n_read += file.readinto(rows.data.cast("B"))
    if n_read != found.payload_bytes:
        raise _truncated(path, n_read, str(found.payload_bytes))
    _compare(path, zlib.crc32(rows.data, checksum), found.payload_crc32)
    return rows


def read_sections(path: Path, found: Found) -> dict[str, npt.NDArray]:
    """Read ids and scales, and compare them with their checksums."""
    arrays = {}
    with path.open("rb") as file:
        file.seek(found.payload_bytes)
        for name, section in found.sections.items():
            block = file.read(section["bytes"])
            _compare(path, zlib.crc32(block), section["crc32"])
            arrays[name] = np.frombuffer(block, _SECTIONS[name]).astype(_SECTIONS[name].type)
    return arrays


def _compare(path: Path, checksum: int, expected: int | None) -> None:
    if expected is not None and checksum != expected:
        raise FormatError(
            f"{path}: damaged: checksum {checksum:08x} found, {expected:08x} expected"
        )


def read_index(path: Path, found: Found) -> Any:
    """Read an index of FAISS into memory, and compare what was read with its checksum."""
    import faiss

    checksum = 0
    with path.open("rb") as file:

        def give(n_bytes: int) -> bytes:
            nonlocal checksum
            block = file.read(min(n_bytes, found.payload_bytes - file.tell()))
            checksum = zlib.crc32(block, checksum)
            return block

        try:
            index = faiss.read_index_binary(faiss.PyCallbackIOReader(give))  # type: ignore[attr-defined]
        except (RuntimeError, MemoryError) as error:
            raise FormatError(
                f"{path}: FAISS cannot read this file: {_first_line(error)}"
            ) from error
        n_read = file.tell()
    if n_read != found.payload_bytes:
        raise _truncated(path, found.payload_bytes, str(n_read))
    _compare(path, checksum, found.payload_crc32)
    return index


def _first_line(error: BaseException) -> str:
    """What FAISS says, without its place in the source."""
    return str(error).partition("\n")[0].rpartition(": ")[2] or type(error).__name__
