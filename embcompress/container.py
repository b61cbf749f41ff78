"""The one file format: safetensors, opened by memory map, written whole or not at all.

A file is a plain ``.safetensors`` file (8 bytes of header length, a JSON header, the raw arrays),
so any safetensors reader in any language opens it. What this module adds: the metadata that says
which kind of file it is, checks that name what was found and what was expected, arrays as views
into a memory map (opening does not grow with the size), reproducible bytes, and atomic writing.
"""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from embcompress._version import __version__

__all__ = [
    "FORMAT_VERSION",
    "Container",
    "FormatError",
    "atomic_write",
    "dump_container",
    "kind_of",
    "load_container",
    "parse_container",
    "save_container",
]

FORMAT_VERSION = 1
_FORMAT_NAME = "embcompress"
# the limit of the safetensors library
_LONGEST_HEADER = 100_000_000

# safetensors names of the data types that we store
_DTYPE_NAMES = {
    "uint8": "U8", "int8": "I8", "bool": "BOOL", "uint16": "U16", "int16": "I16", "float16": "F16",
    "uint32": "U32", "int32": "I32", "float32": "F32", "uint64": "U64", "int64": "I64",
    "float64": "F64",
}  # fmt: skip
_DTYPES = {name: np.dtype(dtype) for dtype, name in _DTYPE_NAMES.items()}


class FormatError(ValueError):
    """A file is damaged, or is not what it was opened as."""


@dataclass(frozen=True)
class Container:
    """An opened file.

    Attributes
    ----------
    path : Path
    tensors : mapping of str to ndarray
        Read-only views into the memory map.
    metadata : mapping of str to str
        ``format``, ``format_version``, ``kind``, ``created_with`` and what the kind adds.
    """

    path: Path
    tensors: Mapping[str, npt.NDArray]
    metadata: Mapping[str, str]

    def tensor(self, name: str, dtypes: tuple[type, ...], ndim: int) -> npt.NDArray:
        """Get an array and check its data type and number of axes.

        Parameters
        ----------
        name : str
        dtypes : tuple of numpy scalar types
            What is allowed.
        ndim : int

        Returns
        -------
        ndarray

        Raises
        ------
        FormatError
            If the array is missing or has another type or number of axes.
        """
        array = self.tensors.get(name)
        if array is None:
            found = ", ".join(sorted(self.tensors)) or "none"
            raise FormatError(f"{self.path}: array {name!r} is missing (found: {found})")
        if array.dtype.type not in dtypes or array.ndim != ndim:
            allowed = " or ".join(np.dtype(t).name for t in dtypes)
            raise FormatError(
                f"{self.path}: array {name!r} is {array.dtype} with {array.ndim} axes, "
                f"expected {allowed} with {ndim}"
            )
        return array

    def value(self, name: str) -> str:
        """Get a metadata entry; `FormatError` if it is missing."""
        try:
            return self.metadata[name]
        except KeyError:
            raise FormatError(f"{self.path}: metadata entry {name!r} is missing") from None

    def integer(self, name: str) -> int:
        """Get a metadata entry that is a non-negative integer; `FormatError` if it is not."""
        text = self.value(name)
        if not (text.isascii() and text.isdigit()):
            raise FormatError(f"{self.path}: metadata entry {name}={text!r} is not a whole number")
        return int(text)


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Write a file whole or not at all.

    The bytes go to a temporary file in the same folder, which is fsynced and renamed when the
    block ends, and removed when the block raises, Ctrl-C included.

    Parameters
    ----------
    path : path-like
        The file to write; replaced if it exists.

    Yields
    ------
    file : binary file object

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    IsADirectoryError
        If `path` is a folder.
    OSError
        If the folder is not writable or the disk is full; nothing is left behind.
    """
    path = Path(path)
    folder = path.parent
    if not folder.is_dir():
        raise FileNotFoundError(errno.ENOENT, "the output folder does not exist", str(folder))
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "the output is a folder, not a file", str(path))
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, _default_mode(path))
        os.replace(temporary, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    _fsync_folder(folder)


def save_container(
    path: str | os.PathLike[str],
    tensors: Mapping[str, npt.NDArray],
    *,
    kind: str,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write arrays and metadata as one safetensors file.

    The same input gives the same bytes: header entries are sorted, which the safetensors library
    itself does not do for metadata.

    Parameters
    ----------
    path : path-like
    tensors : mapping of str to ndarray
        Data types: unsigned and signed integers, float16/32/64, bool.
    kind : str
        What the file holds, such as ``"vectors"``.
    metadata : mapping of str to str, optional

    Raises
    ------
    TypeError
        If an array has a data type that the format does not know.
    OSError
        As :func:`atomic_write`.
    """
    with atomic_write(path) as file:
        for block in _blocks(tensors, kind, metadata):
            file.write(block)


def dump_container(
    tensors: Mapping[str, npt.NDArray],
    *,
    kind: str,
    metadata: Mapping[str, str] | None = None,
) -> bytes:
    """The bytes that :func:`save_container` would write.

    Parameters
    ----------
    tensors : mapping of str to ndarray
    kind : str
    metadata : mapping of str to str, optional

    Returns
    -------
    bytes

    Raises
    ------
    TypeError
        As :func:`save_container`.
    """
    return b"".join(_blocks(tensors, kind, metadata))


def _blocks(
    tensors: Mapping[str, npt.NDArray], kind: str, metadata: Mapping[str, str] | None
) -> Iterator[bytes | memoryview]:
    arrays = {name: _little_endian(name, array) for name, array in tensors.items()}
    # No holes are allowed between arrays, so the widest items go first and stay aligned.
    order = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))
    header: dict[str, object] = {
        "__metadata__": dict(
            sorted(
                {
                    **(metadata or {}),
                    "format": _FORMAT_NAME,
                    "format_version": str(FORMAT_VERSION),
                    "kind": kind,
                    "created_with": f"embcompress {__version__}",
                }.items()
            )
        )
    }
    position = 0
    for name in order:
        array = arrays[name]
        header[name] = {
            "dtype": _DTYPE_NAMES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [position, position + array.nbytes],
        }
        position += array.nbytes
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + 8) % 64)
    yield len(text).to_bytes(8, "little") + text
    for name in order:
        yield np.ascontiguousarray(arrays[name]).data


def load_container(path: str | os.PathLike[str], *, kind: str) -> Container:
    """Open a file by memory map.

    Parameters
    ----------
    path : path-like
    kind : str
        What the file must hold.

    Returns
    -------
    Container

    Raises
    ------
    FormatError
        If the file is not a safetensors file, is truncated, was not written by embcompress, has a
        newer format version, or holds something else.
    OSError
        If the file cannot be read.
    """
    path = Path(path)
    header, start = _read_header(path)
    metadata = header.pop("__metadata__", {})
    _check_identity(path, metadata, kind)
    if not header:
        return Container(path, {}, metadata)
    data = np.memmap(path, dtype=np.uint8, mode="r", offset=0)
    return Container(path, _views(path, data, start, header), metadata)


def parse_container(data: bytes, path: str | os.PathLike[str], *, kind: str) -> Container:
    """Read what :func:`dump_container` made.

    Parameters
    ----------
    data : bytes
    path : path-like
        Where the bytes come from, for messages.
    kind : str
        What they must hold.

    Returns
    -------
    Container

    Raises
    ------
    FormatError
        As :func:`load_container`.
    """
    from safetensors import SafetensorError, deserialize

    path = Path(path)
    try:
        deserialize(data)  # checks lengths, offsets and shapes
    except SafetensorError as error:
        raise FormatError(f"{path}: {len(data)} bytes that are not safetensors: {error}") from error
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    metadata = header.pop("__metadata__", {})
    _check_identity(path, metadata, kind)
    array = np.frombuffer(data, dtype=np.uint8)
    return Container(path, _views(path, array, start, header), metadata)


def _views(
    path: Path, data: npt.NDArray[np.uint8], start: int, header: Mapping[str, dict]
) -> dict[str, npt.NDArray]:
    """Arrays of a checked header, as views."""
    tensors = {}
    for name, entry in header.items():
        dtype = _DTYPES.get(entry["dtype"])
        if dtype is None:
            raise FormatError(f"{path}: array {name!r} has unknown data type {entry['dtype']!r}")
        first, last = entry["data_offsets"]
        flat = data[start + first : start + last].view(np.ndarray)
        tensors[name] = flat.view(dtype.newbyteorder("<")).reshape(entry["shape"])
    return tensors


def kind_of(path: str | os.PathLike[str]) -> str:
    """What a file holds, from its header.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    str
        Such as ``"vectors"``.

    Raises
    ------
    FormatError
        If the file is not a safetensors file, is truncated, was not written by embcompress, or
        has a newer format version.
    OSError
        If the file cannot be read.
    """
    path = Path(path)
    metadata = _read_header(path)[0].get("__metadata__", {})
    _check_identity(path, metadata, None)
    return str(metadata.get("kind"))


def _read_header(path: Path) -> tuple[dict, int]:
    from safetensors import SafetensorError, safe_open

    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder, not a file", str(path))
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size > _LONGEST_HEADER:  # the first 8 bytes of some other kind of file
            raise FormatError(f"{path}: not a safetensors file ({_size(path)})")
        try:
            # The library checks lengths, offsets and shapes; we only take the positions.
            with safe_open(path, framework="numpy"):
                pass
        except SafetensorError as error:
            reason = str(error).removeprefix("Error while deserializing header: ")
            raise FormatError(
                f"{path}: not a complete safetensors file ({reason}; {_size(path)}); "
                "was the download or copy interrupted?"
            ) from error
        return json.loads(file.read(size)), 8 + size


def _size(path: Path) -> str:
    return f"{path.stat().st_size} bytes found"


def _check_identity(path: Path, metadata: Mapping[str, str], kind: str | None) -> None:
    if metadata.get("format") != _FORMAT_NAME:
        raise FormatError(
            f"{path}: a safetensors file, but not one of embcompress "
            f"(metadata format={metadata.get('format')!r}, expected {_FORMAT_NAME!r})"
        )
    version = metadata.get("format_version", "")
    if not version.isdigit() or not 1 <= int(version) <= FORMAT_VERSION:
        raise FormatError(
            f"{path}: format version {version!r}, this embcompress {__version__} reads versions "
            f"1 to {FORMAT_VERSION}; the file was written by "
            f"{metadata.get('created_with', 'an unknown version')}: please upgrade"
        )
    if kind is not None and metadata.get("kind") != kind:
        raise FormatError(f"{path}: holds {metadata.get('kind')!r}, expected {kind!r}")


def _little_endian(name: str, array: npt.NDArray) -> npt.NDArray:
    array = np.asarray(array)
    if array.dtype.name not in _DTYPE_NAMES:
        raise TypeError(
            f"array {name!r} has dtype {array.dtype}; allowed: {', '.join(_DTYPE_NAMES)}"
        )
    return array.astype(array.dtype.newbyteorder("<"), copy=False)


def _default_mode(path: Path) -> int:
    """Permissions of the file that is replaced, or those that open() would give a new one."""
    with suppress(FileNotFoundError):
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def _fsync_folder(folder: Path) -> None:
    # Makes the rename itself durable; not every system can open a folder.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
