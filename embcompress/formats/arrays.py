"""NumPy files: .npz with words and vectors, .npy beside a list of words. Never pickle."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from embcompress.formats.base import Batch, RowReader, drop_non_finite, fail

__all__ = ["NpyReader", "NpzReader", "is_npz"]

WORD_KEYS = ("words", "vocab", "tokens", "index_to_key")
VECTOR_KEYS = ("vectors", "embeddings")
_BLOCK = 4 << 20
_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError, NotImplementedError)


def is_npz(members: Sequence[str]) -> bool:
    """Whether a zip file with these members is a .npz file."""
    return bool(members) and all(name.endswith(".npy") for name in members)


class _ArrayStream:
    """A .npy file that is read in steps of rows."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file = file
        self.name = name
        try:
            version = np.lib.format.read_magic(file)
            if version == (1, 0):
                header = np.lib.format.read_array_header_1_0(file)
            else:
                header = np.lib.format.read_array_header_2_0(file)
        except _ERRORS as error:
            fail(name, f"a damaged array ({error})", cause=error)
        self.shape, self.is_fortran, self.dtype = header
        if self.dtype.hasobject:
            fail(
                name,
                "an array of Python objects (pickled), which is not read for safety; store words "
                "as text: np.array(words, dtype=str)",
            )
        self._width = self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=np.int64))
        self._rest: npt.NDArray | None = None

    def rows(self, n: int) -> npt.NDArray:
        """Read the next `n` rows."""
        if self.is_fortran and len(self.shape) > 1:
            return self._rows_of_columns(n)
        data = self._bytes(n * self._width)
        return np.frombuffer(data, dtype=self.dtype).reshape(n, *self.shape[1:])

    def _rows_of_columns(self, n: int) -> npt.NDArray:
        if self._rest is None:  # column by column: it has to be read whole
            data = self._bytes(self._width * self.shape[0])
            self._rest = np.frombuffer(data, dtype=self.dtype).reshape(self.shape, order="F")
        rows, self._rest = self._rest[:n], self._rest[n:]
        return rows

    def _bytes(self, n: int) -> bytes:
        try:
            data = self._file.read(n)
        except (*_ERRORS, OSError) as error:
            fail(self.name, f"damaged or incomplete ({error})", cause=error)
        if len(data) != n:
            fail(self.name, f"ends after {len(data)} of {n} bytes; is the file complete?")
        return data

    def close(self) -> None:
        """Close the files."""
        self._file.close()


class NpzReader(RowReader):
    """Reads ``words`` and ``vectors`` (and ``counts``) of a .npz file, in steps."""

    def __init__(self, path: Path, name: str, *, skip_bad: bool) -> None:
        self._archive = zipfile.ZipFile(path)
        self._size = path.stat().st_size
        try:
            self._vectors = self._member(name, VECTOR_KEYS, "vectors")
            self._words = self._member(name, WORD_KEYS, "words")
            self._counts = self._optional("counts", name)
            n_rows, n_features = self._check(name)
        except BaseException:
            self._archive.close()
            raise
        super().__init__(name, "npz", n_features, n_rows, skip_bad=skip_bad)
        self._n_done = 0

    @property
    def position(self) -> int:
        """Bytes of the file on disk that are done."""
        assert self.n_rows is not None
        return self._size * self._n_done // max(self.n_rows, 1)

    def close(self) -> None:
        """Close the files."""
        for stream in (self._vectors, self._words, self._counts):
            if stream is not None:
                stream.close()
        self._archive.close()

    def read(self, out: npt.NDArray[np.float32]) -> Batch | None:
        """Fill the first rows of `out`; None at the end."""
        assert self.n_rows is not None
        while self._n_done < self.n_rows:
            step = max(1, _BLOCK // (4 * self.n_features))
            n = min(len(out), step, self.n_rows - self._n_done)
            with np.errstate(over="ignore"):
                out[:n] = self._vectors.rows(n)
            counts = None if self._counts is None else self._counts.rows(n).astype(np.int64)
            places = np.arange(self._n_done + 1, self._n_done + n + 1)
            blob, lengths = _flat_words(self._words.rows(n))
            self._n_done += n
            batch = drop_non_finite(self, out, Batch(blob, lengths, places, counts))
            if len(batch.lengths):
                return batch
        return None

    def _member(self, name: str, keys: tuple[str, ...], what: str) -> _ArrayStream:
        for key in keys:
            stream = self._optional(key, name)
            if stream is not None:
                return stream
        found = ", ".join(n.removesuffix(".npy") for n in self._archive.namelist()) or "none"
        fail(name, f"no array of {what}: looked for {', '.join(keys)}; found: {found}")

    def _optional(self, key: str, name: str) -> _ArrayStream | None:
        try:
            file = self._archive.open(f"{key}.npy")
        except KeyError:
            return None
        except _ERRORS as error:
            fail(name, f"array {key!r} is damaged ({error})", cause=error)
        return _ArrayStream(file, f"{name}: array {key!r}")

    def _check(self, name: str) -> tuple[int, int]:
        vectors, words, counts = self._vectors, self._words, self._counts
        check_matrix(name, vectors.shape, vectors.dtype)
        if len(words.shape) != 1 or words.dtype.kind not in "US":
            fail(name, f"words are {words.dtype} of shape {words.shape}; text (n,) is needed")
        if words.shape[0] != vectors.shape[0]:
            fail(name, f"{words.shape[0]} words, but {vectors.shape[0]} vectors")
        if counts is not None and (counts.shape != words.shape or counts.dtype.kind not in "iu"):
            fail(
                name,
                f"counts are {counts.dtype} of shape {counts.shape}; integers {words.shape} are "
                "needed",
            )
        return vectors.shape[0], vectors.shape[1]


class NpyReader(RowReader):
    """Reads a .npy matrix (memory-mapped) beside a text file with one word per line."""

    def __init__(self, path: Path, name: str, vocabulary: Path | None, *, skip_bad: bool) -> None:
        self._size = path.stat().st_size
        try:
            self._matrix = np.load(path, mmap_mode="r", allow_pickle=False)
        except (*_ERRORS, OSError) as error:
            fail(name, f"a damaged or unsafe .npy file ({error})", cause=error)
        check_matrix(name, self._matrix.shape, self._matrix.dtype)
        words_path = _find_vocabulary(path, name, vocabulary)
        self._blob, self._offsets = _read_lines(words_path)
        n_words = len(self._offsets) - 1
        if n_words != len(self._matrix):
            fail(
                name,
                f"{len(self._matrix)} rows, but {words_path.name} holds {n_words} words; "
                "one word per line is needed",
            )
        super().__init__(name, "npy", self._matrix.shape[1], n_words, skip_bad=skip_bad)
        self._n_done = 0

    @property
    def position(self) -> int:
        """Bytes of the file on disk that are done."""
        return self._size * self._n_done // max(len(self._matrix), 1)

    def close(self) -> None:
        """Close the files."""
        mapped: Any = getattr(self._matrix, "_mmap", None)
        self._matrix = np.empty((0, self.n_features), dtype=np.float32)
        if mapped is not None:
            mapped.close()

    def read(self, out: npt.NDArray[np.float32]) -> Batch | None:
        """Fill the first rows of `out`; None at the end."""
        while self._n_done < len(self._matrix):
            step = max(1, _BLOCK // (4 * self.n_features))
            lo, hi = self._n_done, min(self._n_done + min(step, len(out)), len(self._matrix))
            with np.errstate(over="ignore"):
                out[: hi - lo] = self._matrix[lo:hi]
            offsets = self._offsets[lo : hi + 1]
            blob = self._blob[offsets[0] : offsets[-1]]
            self._n_done = hi
            batch = Batch(blob, np.diff(offsets), np.arange(lo + 1, hi + 1))
            batch = drop_non_finite(self, out, batch)
            if len(batch.lengths):
                return batch
        return None


def check_matrix(name: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Refuse what is not a matrix of real numbers with rows and columns."""
    if len(shape) != 2 or dtype.kind not in "fiu" or 0 in shape:
        fail(
            name,
            f"vectors are {dtype} of shape {shape}; a matrix (n, d) of real numbers is needed",
        )


def _flat_words(words: npt.NDArray) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    encoded = [
        word if isinstance(word, bytes) else word.encode("utf-8", "surrogatepass")
        for word in words.tolist()
    ]
    lengths = np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded))
    return np.frombuffer(bytearray(b"".join(encoded)), dtype=np.uint8), lengths


def _find_vocabulary(path: Path, name: str, vocabulary: Path | None) -> Path:
    if vocabulary is not None:
        return vocabulary
    tried = [path.with_suffix(".txt"), path.with_suffix(".vocab")]
    for candidate in tried:
        if candidate.is_file():
            return candidate
    fail(
        name,
        "a .npy file holds no words; give a text file with one word per line as vocabulary=, or "
        f"put it beside as {tried[0].name} or {tried[1].name}",
    )


def _read_lines(path: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    data = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    lines = [line.removesuffix(b"\r") for line in data.split(b"\n")]
    while lines and not lines[-1]:
        lines.pop()
    offsets = np.zeros(len(lines) + 1, dtype=np.int64)
    np.cumsum([len(line) for line in lines], out=offsets[1:])
    return np.frombuffer(bytearray(b"".join(lines)), dtype=np.uint8), offsets
