"""Read and write the files in which word vectors come.

GloVe and word2vec text, fastText ``.vec``, word2vec ``.bin``, gensim's own files, ``.npz``, and
``.npy`` with a list of words; plain, gzip, bzip2, xz, or inside a zip file. What a file is, is
told from its content.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from embcompress.container import FormatError
from embcompress.formats.arrays import NpyReader, NpzReader, is_npz
from embcompress.formats.base import RowReader, fail
from embcompress.formats.detect import FORMATS, detect_layout
from embcompress.formats.reader import Chunk, VectorReader
from embcompress.formats.sources import Stream, open_stream, packing_of, zip_members
from embcompress.vectors import KeyedVectors, describe_path

__all__ = ["Chunk", "VectorReader", "load_vectors", "open_vectors", "save_vectors"]

_ERRORS = ("strict", "replace", "ignore")
_ENDINGS = {
    ".txt": "glove",
    ".glove": "glove",
    ".vec": "word2vec",
    ".bin": "word2vec-bin",
    ".npz": "npz",
    ".kv": "gensim",
    ".gensim": "gensim",
}
_PACKED_ENDINGS = (".gz", ".bz2", ".xz")
_SAVED_FORMATS = ("glove", "word2vec", "word2vec-bin", "gensim", "npz")


def load_vectors(
    path: str | os.PathLike[str],
    *,
    format: str | None = None,
    limit: int | None = None,
    member: str | None = None,
    skip_bad: bool = False,
    errors: str = "strict",
    vocabulary: str | os.PathLike[str] | None = None,
    n_threads: int | None = None,
    progress: bool = False,
) -> KeyedVectors:
    r"""Read a file of word vectors.

    Of rows with the same word the first counts. Every value equals ``np.float32(float(text))``.

    Parameters
    ----------
    path : path-like
        GloVe or word2vec text (fastText ``.vec``), word2vec ``.bin``, ``.npz`` with ``words`` and
        ``vectors``, ``.npy`` with a vocabulary, or a file that gensim saved. Text and ``.bin`` may
        be packed with gzip, bzip2, xz, or lie in a zip file.
    format : {"glove", "word2vec", "word2vec-bin", "gensim", "npz", "npy"}, optional
        Default: told from the content. ``"gensim"`` has to be asked for, because such a file is a
        pickle: reading it can run code that it brings.
    limit : int, optional
        Read the first `limit` distinct words, and nothing after them.
    member : str, optional
        Which file of a zip file. Default: the only one that holds vectors.
    skip_bad : bool
        Drop rows that cannot be read (their number is in ``.source.n_skipped``) instead of
        raising.
    errors : {"strict", "replace", "ignore"}
        What to do with words that are not UTF-8: raise, put U+FFFD for bad bytes, or leave bad
        bytes out.
    vocabulary : path-like, optional
        Text file with one word per line, for ``.npy``. Default: the file of the same name with
        ending ``.txt`` or ``.vocab``.
    n_threads : int, optional
        Threads that parse text. Default: as many as there are processors, at most 4.
    progress : bool
        Show a progress bar.

    Returns
    -------
    KeyedVectors
        With `source`, and `counts` where the file has them.

    Raises
    ------
    FormatError
        If the file is damaged or not a file of vectors; the message names the line.
    FileNotFoundError, IsADirectoryError
    MissingExtraError
        If gensim is needed and not installed.
    ValueError
        If an option has a value that is not allowed.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = pathlib.Path(folder.name, "tiny.txt")
    >>> _ = path.write_text("cat 0.5 -1\n. . . 0.25 1e-3\n")
    >>> vectors = load_vectors(path)
    >>> vectors.index_to_key[:], vectors["cat"], vectors.source.format
    (['cat', '. . .'], array([ 0.5, -1. ], dtype=float32), 'glove')
    >>> folder.cleanup()
    """
    with open_vectors(
        path, format=format, limit=limit, member=member, skip_bad=skip_bad, errors=errors,
        vocabulary=vocabulary, n_threads=n_threads, progress=progress,
    ) as reader:  # fmt: skip
        everything = reader.read_all()
        if len(everything.words) == 0:
            fail(reader.source.path, f"no usable rows; {reader.source.n_skipped} were skipped")
        return KeyedVectors(
            everything.words, everything.vectors, counts=everything.counts, source=reader.source
        )


def open_vectors(
    path: str | os.PathLike[str],
    *,
    format: str | None = None,
    limit: int | None = None,
    member: str | None = None,
    skip_bad: bool = False,
    errors: str = "strict",
    vocabulary: str | os.PathLike[str] | None = None,
    n_threads: int | None = None,
    progress: bool = False,
) -> VectorReader:
    r"""Open a file of word vectors to read it in chunks, in bounded memory.

    Parameters
    ----------
    path, format, limit, member, skip_bad, errors, vocabulary, n_threads, progress
        As for :func:`load_vectors`.

    Returns
    -------
    VectorReader
        A context manager.

    Raises
    ------
    FormatError, FileNotFoundError, IsADirectoryError, MissingExtraError, ValueError
        As for :func:`load_vectors`.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = pathlib.Path(folder.name, "tiny.txt")
    >>> _ = path.write_text("cat 0.5 -1\ndog 0.25 1e-3\ncat 3 4\n")
    >>> with open_vectors(path) as reader:
    ...     for chunk in reader.chunks(rows=1000):
    ...         print(chunk.words[:], chunk.vectors.shape, reader.source.n_duplicates)
    ['cat', 'dog'] (2, 2) 1
    >>> folder.cleanup()
    """
    _check_options(format, limit, errors, n_threads)
    path = Path(path)
    words = None if vocabulary is None else Path(vocabulary)
    rows = _open_rows(path, format, member, words, skip_bad, n_threads or _default_threads())
    return VectorReader(rows, path, limit=limit, errors=errors, progress=progress)


def save_vectors(
    vectors: KeyedVectors,
    path: str | os.PathLike[str],
    *,
    format: str | None = None,
    progress: bool = False,
) -> None:
    """Write a file of word vectors, whole or not at all.

    Numbers in text are the shortest decimals that give the same float32 back.

    Parameters
    ----------
    vectors : KeyedVectors
    path : path-like
        Replaced if it exists. An ending ``.gz``, ``.bz2`` or ``.xz`` packs text and ``.bin``.
    format : {"glove", "word2vec", "word2vec-bin", "gensim", "npz"}, optional
        Default: from the ending: ``.txt`` and ``.glove`` are GloVe text, ``.vec`` word2vec text,
        ``.bin`` word2vec binary, ``.kv`` and ``.gensim`` gensim, ``.npz`` NumPy. Only gensim and
        ``.npz`` keep the counts.
    progress : bool
        Show a progress bar.

    Raises
    ------
    ValueError
        If the format is not known, or it cannot hold one of the words.
    MissingExtraError
        If gensim is needed and not installed.
    OSError
        If the file cannot be written; what was there before is left as it was.
    """
    from embcompress.formats.writers import check_words, write_file

    path = Path(path)
    format = format or _format_of(path)
    if format not in _SAVED_FORMATS:
        raise ValueError(f"format={format!r} is not one of {', '.join(_SAVED_FORMATS)}")
    if format in ("gensim", "npz") and path.suffix in _PACKED_ENDINGS:
        raise ValueError(f"{path.name}: {format} files are not packed; leave {path.suffix} out")
    if len(vectors) == 0:
        raise ValueError("there are no vectors to write")
    check_words(vectors.index_to_key, format)
    if format == "gensim":
        from embcompress.formats.gensim import save_gensim

        save_gensim(vectors, path)
    else:
        write_file(vectors, path, format, progress)


def _format_of(path: Path) -> str:
    ending = path.suffix
    if ending in _PACKED_ENDINGS:
        ending = Path(path.stem).suffix
    try:
        return _ENDINGS[ending]
    except KeyError:
        raise ValueError(
            f"{path.name}: the ending {ending!r} does not tell the format; use "
            f"{', '.join(_ENDINGS)}, or format= one of {', '.join(_SAVED_FORMATS)}"
        ) from None


def _check_options(
    format_: str | None, limit: int | None, errors: str, n_threads: int | None
) -> None:
    if format_ is not None and format_ not in FORMATS:
        raise ValueError(f"format={format_!r} is not one of {', '.join(FORMATS)}")
    if errors not in _ERRORS:
        raise ValueError(f"errors={errors!r} is not one of {', '.join(_ERRORS)}")
    for name, value in (("limit", limit), ("n_threads", n_threads)):
        whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        if value is not None and (not whole or value < 1):
            raise ValueError(f"{name}={value!r} must be a whole number of at least 1, or None")


def _default_threads() -> int:
    if hasattr(os, "sched_getaffinity"):
        return max(1, min(4, len(os.sched_getaffinity(0))))
    return max(1, min(4, os.cpu_count() or 1))


def _open_rows(
    path: Path,
    format_: str | None,
    member: str | None,
    vocabulary: Path | None,
    skip_bad: bool,
    n_threads: int,
) -> RowReader:
    """Choose and open the reader for a file."""
    packing = packing_of(path)
    if member is not None and packing != "zip":
        raise ValueError(f"member={member!r} was given, but {path.name} is not a zip file")
    name = describe_path(path)
    if format_ == "gensim":
        from embcompress.formats.gensim import GensimReader

        return GensimReader(path, name, skip_bad=skip_bad)
    if packing == "zip":
        members = zip_members(path)
        if format_ == "npz" or (format_ is None and member is None and is_npz(members)):
            return NpzReader(path, name, skip_bad=skip_bad)
        member = member or _only_member(path, members, format_)
    elif format_ == "npz":
        fail(name, 'not a .npz file (no zip file); leave format="npz" out to have it recognized')
    stream = open_stream(path, packing, member)
    try:
        return _rows_of(stream, packing, format_, vocabulary, skip_bad, n_threads)
    except BaseException:
        stream.close()
        raise


def _rows_of(
    stream: Stream,
    packing: str,
    format_: str | None,
    vocabulary: Path | None,
    skip_bad: bool,
    n_threads: int,
) -> RowReader:
    from embcompress.formats.binary import BinaryReader
    from embcompress.formats.text import TextReader

    if format_ == "npy" or (format_ is None and stream.head.startswith(b"\x93NUMPY")):
        if packing != "plain":
            fail(stream.name, "a packed .npy file; unpack it first")
        stream.close()
        return NpyReader(stream.path, stream.name, vocabulary, skip_bad=skip_bad)
    if vocabulary is not None:
        raise ValueError(f"vocabulary= is for .npy files; {stream.name} has its own words")
    layout = detect_layout(stream.head, stream.is_whole, stream.name, format_)
    if layout.format == "word2vec-bin":
        return BinaryReader(stream, layout, skip_bad=skip_bad)
    return TextReader(stream, layout, skip_bad=skip_bad, n_threads=n_threads)


def _only_member(path: Path, members: list[str], format_: str | None) -> str:
    """Find the one file of a zip file that holds vectors."""
    found = [name for name in members if _holds_vectors(path, name, format_)]
    if len(found) == 1:
        return found[0]
    if found:
        fail(path.name, f"several files hold vectors; choose with member=: {', '.join(found)}")
    listed = ", ".join(members[:20]) or "none"
    fail(path.name, f"no file in this zip file holds vectors; found: {listed}")


def _holds_vectors(path: Path, member: str, format_: str | None) -> bool:
    try:
        stream = open_stream(path, "zip", member)
    except FormatError:
        return False
    try:
        detect_layout(stream.head, stream.is_whole, stream.name, format_)
    except FormatError:
        return False
    finally:
        stream.close()
    return True
