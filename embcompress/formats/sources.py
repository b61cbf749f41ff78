"""Bytes of a file, whatever it is packed in: plain, gzip, bzip2, xz, or a member of a zip file."""

from __future__ import annotations

import bz2
import errno
import io
import lzma
import os
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

from embcompress.formats.base import fail
from embcompress.vectors import describe_path

__all__ = ["HEAD_BYTES", "Stream", "open_stream", "packing_of", "zip_members"]

HEAD_BYTES = 1 << 20
_STEP = 1 << 20

_MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"PK\x03\x04": "zip"}
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, OSError)


def packing_of(path: Path) -> str:
    """How a file is packed, by its first bytes: "plain", "gzip", "bzip2", "xz" or "zip"."""
    if path.is_dir():
        raise IsADirectoryError(
            errno.EISDIR, "is a folder; give the file of vectors inside it", str(path)
        )
    with path.open("rb") as file:
        start = file.read(8)
    if start.startswith(b"PK\x05\x06"):
        return "zip"  # an empty one
    return next((kind for magic, kind in _MAGIC.items() if start.startswith(magic)), "plain")


class Stream:
    """Bytes of a file after unpacking, front to back, with a look ahead.

    Parameters
    ----------
    path : Path
    name : str
        For messages.
    raw : binary file
        Has ``readinto``; after unpacking.
    on_disk : binary file, optional
        Has ``tell``; where the packed file is being read. Default: `raw` itself.
    packed_size, size : int
        Bytes on disk, and bytes after unpacking (0 = not known).
    is_plain : bool
        Whether the bytes are those of the file itself, so that it may be mapped instead.
    """

    def __init__(
        self,
        path: Path,
        name: str,
        raw: Any,
        on_disk: Any = None,
        *,
        packed_size: int,
        size: int,
        is_plain: bool = False,
    ) -> None:
        self.path = path
        self.name = name
        self.packed_size = packed_size
        self.size = size
        self.is_plain = is_plain
        self._raw = raw
        self._on_disk = on_disk
        self._n_read = 0
        self._head = memoryview(b"")
        self._head = memoryview(self._read_head())

    @property
    def head(self) -> bytes:
        """The first bytes (1 MB, or all that there are)."""
        return bytes(self._kept)

    @property
    def is_whole(self) -> bool:
        """Whether `head` is the whole file."""
        return len(self._kept) < HEAD_BYTES

    @property
    def position(self) -> int:
        """Bytes of the packed file that have been used."""
        if self._on_disk is not None:
            return min(int(self._on_disk.tell()), self.packed_size)
        if self.size:
            return self.packed_size * min(self._n_read, self.size) // self.size
        return self.packed_size

    def readinto(self, view: memoryview) -> int:
        """Fill `view` as far as there are bytes; less than its length only at the end."""
        done = min(len(view), len(self._head))
        view[:done] = self._head[:done]
        self._head = self._head[done:]
        while done < len(view):
            n = self._read_raw(view[done:])
            if n == 0:
                break
            done += n
        self._n_read += done
        return done

    def close(self) -> None:
        """Close the file."""
        self._raw.close()
        if self._on_disk is not None:
            self._on_disk.close()

    def _read_raw(self, view: memoryview) -> int:
        try:
            return self._raw.readinto(view) or 0
        except (*_ZIP_ERRORS, ValueError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            self.close()
            fail(
                self.name,
                f"the compressed data is damaged or incomplete ({error}); "
                "was the download or copy interrupted?",
                cause=error,
            )

    def _read_head(self) -> bytes:
        buffer = bytearray(HEAD_BYTES)
        done = 0
        with memoryview(buffer) as view:
            while done < HEAD_BYTES:
                n = self._read_raw(view[done:])
                if n == 0:
                    break
                done += n
        self._kept = bytes(buffer[:done])
        return self._kept


class _Unpacker(io.RawIOBase):
    """Unpack gzip, bzip2 or xz in blocks; several streams one after the other are one file."""

    def __init__(self, file: IO[bytes], kind: str) -> None:
        self._file = file
        self._kind = kind
        self._decoder: Any = None
        self._input = b""
        self._started = False

    def readable(self) -> bool:
        return True

    def readinto(self, view: Any) -> int:
        """Unpack some bytes; 0 at the end."""
        while True:
            if not self._input and (self._decoder is None or self._needs_input()):
                self._input = self._file.read(_STEP)
                if not self._input:
                    return self._finish()
            if self._decoder is None and not self._next_stream():
                return 0
            data = self._decode(len(view))
            if self._decoder.eof:
                self._input = self._decoder.unused_data
                self._decoder = None
            if data:
                view[: len(data)] = data
                return len(data)

    def _needs_input(self) -> bool:
        return bool(getattr(self._decoder, "needs_input", True))

    def _next_stream(self) -> bool:
        if self._started:
            self._input = self._input.lstrip(b"\0")  # padding between streams
            if not self._input:
                return self._refill()
            if not self._looks_like_stream():
                return False  # other data after the end is left alone, as gzip(1) does
        self._decoder = _decoder(self._kind)
        self._started = True
        return True

    def _refill(self) -> bool:
        self._input = self._file.read(_STEP)
        return bool(self._input) and self._next_stream()

    def _looks_like_stream(self) -> bool:
        magic = next(m for m, kind in _MAGIC.items() if kind == self._kind)
        if len(self._input) < len(magic):
            self._input += self._file.read(len(magic))
        return self._input.startswith(magic)

    def _decode(self, room: int) -> bytes:
        data = self._decoder.decompress(self._input, room)
        self._input = self._decoder.unconsumed_tail if self._kind == "gzip" else b""
        return data

    def _finish(self) -> int:
        if self._decoder is not None:
            raise EOFError("it ends before its end mark")
        return 0


def _decoder(kind: str) -> Any:
    if kind == "gzip":
        return zlib.decompressobj(wbits=31)
    return bz2.BZ2Decompressor() if kind == "bzip2" else lzma.LZMADecompressor()


def open_stream(path: Path, packing: str, member: str | None = None) -> Stream:
    """Open a file, or a member of a zip file, for reading its unpacked bytes."""
    size = path.stat().st_size
    name = describe_path(path, member)
    if size == 0:
        fail(name, "the file is empty (0 bytes)")
    if packing == "zip":
        return _open_member(path, name, member or "")
    file = path.open("rb", buffering=0)
    try:
        if packing == "plain":
            return Stream(path, name, file, packed_size=size, size=size, is_plain=True)
        return Stream(path, name, _Unpacker(file, packing), file, packed_size=size, size=0)
    except BaseException:
        file.close()
        raise


def zip_members(path: Path) -> list[str]:
    """Names of the files in a zip file, without folders and hidden files."""
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except _ZIP_ERRORS as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        fail(
            path.name,
            f"a damaged or incomplete zip file ({error}); was the download or copy interrupted?",
            cause=error,
        )
    return [
        info.filename
        for info in infos
        if not info.is_dir()
        and not info.filename.startswith("__MACOSX/")
        and not os.path.basename(info.filename).startswith(".")
    ]


def _open_member(path: Path, name: str, member: str) -> Stream:
    archive = zipfile.ZipFile(path)
    try:
        info = archive.getinfo(member)
        raw = archive.open(info)
    except KeyError:
        archive.close()
        names = ", ".join(zip_members(path)) or "none"
        raise ValueError(f"{path.name}: there is no member {member!r}; found: {names}") from None
    except (*_ZIP_ERRORS, NotImplementedError) as error:
        archive.close()
        fail(name, f"the member cannot be unpacked ({error})", cause=error)
    if info.file_size == 0:
        archive.close()
        fail(name, "the file is empty (0 bytes)")
    try:
        return Stream(
            path, name, _Member(archive, raw), packed_size=info.compress_size, size=info.file_size
        )
    except BaseException:
        archive.close()
        raise


class _Member:
    """A member of a zip file that closes the archive with itself."""

    def __init__(self, archive: zipfile.ZipFile, raw: IO[bytes]) -> None:
        self._archive = archive
        self._raw = raw

    def readinto(self, view: memoryview) -> int:
        data = self._raw.read(min(len(view), _STEP))
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._raw.close()
        self._archive.close()
