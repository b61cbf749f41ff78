"""Writing vectors: text, word2vec binary, NumPy archive."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from embcompress.container import atomic_write
from embcompress.formats.detect import NUMBER
from embcompress.progress import ProgressBar
from embcompress.vectors import KeyedVectors, describe_path
from embcompress.vocabulary import Vocabulary

__all__ = ["WRITERS", "check_words", "write_file"]

_ROOM = 4 << 20
_BLOCK_ROWS = 1 << 14
_LARGEST_UNICODE = 256 << 20

_SEPARATORS = (b" ", b"\t", b"\r")


@contextmanager
def _packed(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing, packed as its ending says; the same input gives the same bytes."""
    with atomic_write(path) as file:
        packer: AbstractContextManager[Any] = nullcontext(file)
        if path.suffix == ".gz":
            packer = gzip.GzipFile("", "wb", 6, file, mtime=0)
        elif path.suffix == ".bz2":
            packer = bz2.BZ2File(file, "wb")
        elif path.suffix == ".xz":
            packer = lzma.LZMAFile(file, "wb")  # noqa: SIM115 - entered below
        with packer as packed:
            yield packed


def write_file(vectors: KeyedVectors, path: Path, format_: str, progress: bool) -> None:
    """Write vectors in a format that this module knows."""
    bar = ProgressBar(f"Writing {describe_path(path)}", len(vectors), enabled=progress)
    with bar:
        WRITERS[format_](vectors, path, bar)


def _write_text(vectors: KeyedVectors, path: Path, bar: ProgressBar, header: bool) -> None:
    from embcompress.formats.kernel_write import write_rows

    matrix, words = _writable(vectors.vectors), vectors.index_to_key
    blob, offsets = _writable(words.blob), _writable(words.offsets.astype(np.int64))
    longest = int(np.diff(offsets).max(initial=0))
    out = np.empty(max(_ROOM, longest + 18 * matrix.shape[1] + 2), dtype=np.uint8)
    state = np.zeros(3, dtype=np.int64)
    with _packed(path) as file:
        if header:
            file.write(b"%d %d\n" % matrix.shape)
        row = 0
        while row < len(matrix):
            write_rows(blob, offsets, matrix, row, out, state)
            file.write(out.data[: state[1]])
            bar.advance(int(state[0]) - row)
            row = int(state[0])
            if state[2]:
                file.write(_text_row(words[row], matrix[row]))
                bar.advance(1)
                row += 1


def _text_row(word: str, numbers: npt.NDArray[np.float32]) -> bytes:
    # numpy knows the shortest digits, Python's float writes them as the compiled loop does
    text = " ".join(repr(float(str(number))) for number in numbers)
    return f"{word} {text}\n".encode("utf-8", "surrogateescape")


def _write_glove(vectors: KeyedVectors, path: Path, bar: ProgressBar) -> None:
    _write_text(vectors, path, bar, header=False)


def _write_word2vec(vectors: KeyedVectors, path: Path, bar: ProgressBar) -> None:
    _write_text(vectors, path, bar, header=True)


def _write_binary(vectors: KeyedVectors, path: Path, bar: ProgressBar) -> None:
    matrix = vectors.vectors
    with _packed(path) as file:
        file.write(b"%d %d\n" % matrix.shape)
        for start in range(0, len(matrix), _BLOCK_ROWS):
            rows = matrix[start : start + _BLOCK_ROWS].astype("<f4", copy=False)
            words = vectors.index_to_key[start : start + _BLOCK_ROWS]
            parts = []
            for word, row in zip(words, rows, strict=True):
                parts.append(word.encode("utf-8", "surrogateescape") + b" ")
                parts.append(row.tobytes() + b"\n")
            file.write(b"".join(parts))
            bar.advance(len(rows))


def _write_npz(vectors: KeyedVectors, path: Path, bar: ProgressBar) -> None:
    with atomic_write(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        _write_member(archive, "words", _word_array(vectors.index_to_key), zipfile.ZIP_DEFLATED)
        _write_member(archive, "vectors", np.ascontiguousarray(vectors.vectors))
        if vectors.counts is not None:
            _write_member(archive, "counts", vectors.counts)
        bar.advance(len(vectors))


def _write_member(
    archive: zipfile.ZipFile, name: str, array: npt.NDArray, compression: int = zipfile.ZIP_STORED
) -> None:
    info = zipfile.ZipInfo(f"{name}.npy")  # dated 1980: the same input gives the same bytes
    info.compress_type = compression
    with archive.open(info, "w", force_zip64=True) as member:
        np.lib.format.write_array(member, array, allow_pickle=False)


def _word_array(words: Vocabulary) -> npt.NDArray:
    """Words as text of equal width; as UTF-8 bytes where one long word would waste memory."""
    listed = list(words)
    longest = max(map(len, listed))
    if 4 * longest * len(listed) <= _LARGEST_UNICODE:
        return np.array(listed, dtype=f"U{longest}")
    encoded = [word.encode("utf-8", "surrogateescape") for word in listed]
    return np.array(encoded, dtype=bytes)


def check_words(words: Vocabulary, format_: str) -> None:
    """Refuse words that would not come back from a file of this format."""
    test = _TESTS.get(format_)
    if test is None:
        return
    for i, word in enumerate(words):
        reason = test(word.encode("utf-8", "surrogateescape"))
        if reason:
            raise ValueError(
                f"word {i}, {word!r}, {reason}, which {format_} cannot represent; "
                'format="npz" can hold it, or rename it'
                if format_ != "npz"
                else f"word {i}, {word!r}, {reason}, which {format_} cannot represent; rename it"
            )


def _unfit_for_text(word: bytes) -> str:
    if not word:
        return "is empty"
    if b"\n" in word:
        return "holds a line break"
    if word.strip(b" \t\r") != word:
        return "begins or ends with a space"
    last = word.replace(b"\t", b" ").replace(b"\r", b" ").rsplit(b" ", 1)
    if len(last) == 2 and NUMBER.fullmatch(last[1]) and not last[1].strip(b"+-").isdigit():
        return "ends in a part that reads as a value of its vector"
    return ""


def _unfit_for_binary(word: bytes) -> str:
    if not word:
        return "is empty"
    if b" " in word:
        return "holds a space"
    return "begins with a line break" if word.startswith(b"\n") else ""


def _unfit_for_npz(word: bytes) -> str:
    return "ends in a zero character" if word.endswith(b"\0") else "" if word else "is empty"


_TESTS: dict[str, Callable[[bytes], str]] = {
    "glove": _unfit_for_text,
    "word2vec": _unfit_for_text,
    "word2vec-bin": _unfit_for_binary,
    "npz": _unfit_for_npz,
}


def _writable(array: npt.NDArray) -> npt.NDArray:
    """Make an array that the compiled loops take: contiguous and not read-only."""
    array = np.ascontiguousarray(array)
    return array if array.flags.writeable else array.copy()


WRITERS: dict[str, Callable[[KeyedVectors, Path, ProgressBar], None]] = {
    "glove": _write_glove,
    "word2vec": _write_word2vec,
    "word2vec-bin": _write_binary,
    "npz": _write_npz,
}
