"""Tell what a file holds by looking at its first bytes."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import NoReturn

from embcompress.formats.base import fail, shortened

__all__ = ["FORMATS", "NUMBER", "Layout", "detect_layout"]

FORMATS = ("glove", "word2vec", "word2vec-bin", "gensim", "npz", "npy")

NUMBER = re.compile(rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_NOT_FINITE = re.compile(rb"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)
_HEADER = re.compile(rb"[ \t]*([0-9]{1,18})[ \t]+([0-9]{1,18})[ \t\r]*(?:\n|$)")
_BOM = b"\xef\xbb\xbf"
_MAX_LINES = 40
# bytes that no text holds, and that float32 values are full of
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1b]")


@dataclass(frozen=True)
class Layout:
    """What the start of a file says.

    Attributes
    ----------
    format : str
    n_features : int
    n_rows : int or None
        What the header promises.
    start : int
        Where the first row begins, in bytes.
    """

    format: str
    n_features: int
    n_rows: int | None = None
    start: int = 0


def detect_layout(head: bytes, is_whole: bool, name: str, wanted: str | None = None) -> Layout:
    """Find format, number of dimensions and header of a text or word2vec binary file.

    Parameters
    ----------
    head : bytes
        The first bytes of the file.
    is_whole : bool
        Whether they are all of it.
    name : str
        For messages.
    wanted : {"glove", "word2vec", "word2vec-bin"}, optional
        What the caller says it is.

    Returns
    -------
    Layout

    Raises
    ------
    FormatError
        If it is none of them, or not what the caller says.
    """
    _refuse_known(head, name)
    bom = len(_BOM) if head.startswith(_BOM) else 0
    header = _HEADER.match(head, bom)
    if header is None and wanted in ("word2vec", "word2vec-bin"):
        first = head[bom:].split(b"\n", 1)[0]
        fail(
            name,
            f"line 1 is {shortened(first)}; a {wanted} file starts with a header of two integers "
            '"rows dimensions"; for text without one pass format="glove"',
        )
    if wanted == "word2vec-bin" or (wanted is None and header and _is_binary(head, header)):
        assert header is not None
        return _with_header("word2vec-bin", header, name)
    if header and wanted != "glove" and _is_header(head, header, is_whole, wanted, name):
        return _with_header("word2vec", header, name)
    widths = _widths(head[bom:], is_whole)
    if not widths:
        _refuse_unknown(head, name)
    return Layout("glove", _most_common(widths), start=bom)


def _with_header(format_: str, header: re.Match[bytes], name: str) -> Layout:
    n_rows, n_features = int(header[1]), int(header[2])
    if n_features == 0 or n_rows == 0:
        fail(name, f"line 1: the header promises {n_rows} rows of {n_features} dimensions")
    return Layout(format_, n_features, n_rows, header.end())


def _is_header(
    head: bytes, header: re.Match[bytes], is_whole: bool, wanted: str | None, name: str
) -> bool:
    """Whether a first line of two integers is a header, not a word with one number."""
    rest = head[header.end() :]
    widths = _widths(rest, is_whole)
    if not rest.strip() or wanted == "word2vec":
        return True
    if not widths:
        return False
    width, promised = _most_common(widths), int(header[2])
    if width == 1:
        if promised != 1:
            return False
        n_lines = sum(1 for line in rest.split(b"\n") if line.strip())
        return n_lines == int(header[1]) if is_whole else n_lines <= int(header[1])
    if width != promised:
        fail(
            name,
            f"line 1: the header promises {promised} dimensions, but the rows hold {width} numbers",
        )
    return True


def _is_binary(head: bytes, header: re.Match[bytes]) -> bool:
    """Whether what follows the header is no text, and reads as word, space, 4-byte numbers."""
    n_rows, width = int(header[1]), 4 * int(header[2])
    if _CONTROL.search(head, header.end(), header.end() + (1 << 16)):
        return True
    if _widths(head[header.end() :], True):
        return False
    place, row = header.end(), 0
    while row < min(n_rows, 50):
        space = head.find(b" ", place, place + 4096)
        if space < 0 or space + 1 + width > len(head):
            break
        place, row = space + 1 + width, row + 1
        place += head[place : place + 1] == b"\n"
    return row > 0


def _widths(text: bytes, is_whole: bool) -> Counter[int]:
    """Count how many numbers the first lines hold after their word."""
    lines = text.split(b"\n", _MAX_LINES)
    if not is_whole or len(lines) > _MAX_LINES:
        lines = lines[:-1]  # it may be cut
    found: Counter[int] = Counter()
    for line in lines:
        fields = [field for field in re.split(rb"[ \t\r]+", line) if field]
        n_numbers = 0
        for field in reversed(fields):
            if not (NUMBER.fullmatch(field) or _NOT_FINITE.fullmatch(field)):
                break
            n_numbers += 1
        # a word that is a number itself does not count
        width = min(n_numbers, len(fields) - 1)
        if width > 0:
            found[width] += 1
    return found


def _most_common(widths: Counter[int]) -> int:
    return min(widths, key=lambda width: (-widths[width], width))


def _refuse_known(head: bytes, name: str) -> None:
    if head.startswith(b"\x80") and head[1:2] in b"\x02\x03\x04\x05" and len(head) > 1:
        fail(
            name,
            "a Python pickle, as gensim's KeyedVectors.save writes; unpickling can run code that "
            'the file brings, so say that you trust it: format="gensim"',
        )
    if head.startswith(b"\xba\x16\x4f\x2f"):
        fail(name, "a fastText model; its vectors are in the .vec file that belongs to it")
    if head.startswith(b"PAR1"):
        fail(name, "a Parquet file; read it with pyarrow and make a KeyedVectors of its columns")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        fail(name, "UTF-16 text; convert it first: iconv -f UTF-16 -t UTF-8")


def _refuse_unknown(head: bytes, name: str) -> NoReturn:
    if not head.strip():
        fail(name, "the file holds only blank lines")
    first = head.split(b"\n", 1)[0]
    fail(
        name,
        f"not a known format: it starts with {shortened(first)}; lines of a word and numbers "
        f"were expected. Formats: {', '.join(FORMATS)}",
    )
