"""Readers of the files that data sets come in; a damaged line is named with its file.

Every reader takes the name of the data set and its files, in the order of the registry, and
returns one of the records of :mod:`embcompress.evaluation.data`.
"""

from __future__ import annotations

import csv
import json
import lzma
import math
import re
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn, TypeVar

import numpy as np

from embcompress.container import FormatError
from embcompress.evaluation.data import (
    AnalogyQuestions,
    Categories,
    LabelledTexts,
    SimilarityPairs,
)

__all__ = [
    "read_analogy_csv",
    "read_analogy_sections",
    "read_categories",
    "read_imdb_archive",
    "read_labelled_lines",
    "read_reviews",
    "read_similarity",
]

_Row = TypeVar("_Row")

_UNPACKING_ERRORS = (lzma.LZMAError, tarfile.TarError, zlib.error, EOFError)
_ANALOGY_HEADER = ["", "type", "word1", "word2", "word3", "target"]
_CATEGORY_HEADER = ["", "category", "word"]
_REVIEW_MEMBER = re.compile(r"aclImdb/(train|test)/(neg|pos)/(\d+)_\d+\.txt")


def read_similarity(name: str, paths: Sequence[Path]) -> SimilarityPairs:
    """Read lines of word, word, score, between tabs or blanks."""
    pairs, scores = [], []
    (path,) = paths
    for number, line in _lines(path):
        fields = line.split("\t") if "\t" in line else line.split()
        words = tuple(field.strip() for field in fields[:2])
        if len(fields) != 3 or not all(words):
            _fail(path, number, line, "two words and a score were expected")
        pairs.append((words[0], words[1]))
        scores.append(_score(path, number, fields[2]))
    return SimilarityPairs(name, _some(path, pairs), np.array(scores, dtype=np.float64))


def read_analogy_sections(name: str, paths: Sequence[Path]) -> AnalogyQuestions:
    """Read the form of word2vec: a line ``: section``, then four words a line."""
    questions: list[tuple[str, str, str, str]] = []
    sections: list[str] = []
    section = None
    (path,) = paths
    for number, line in _lines(path):
        if line.startswith(":"):
            section = line[1:].strip()
            continue
        if section is None:
            _fail(path, number, line, "a line ': section' was expected before the first question")
        words = line.split()
        if len(words) != 4:
            _fail(path, number, line, f"{len(words)} words; a question has four")
        questions.append((words[0], words[1], words[2], words[3]))
        sections.append(section)
    return AnalogyQuestions(name, _some(path, questions), sections)


def read_analogy_csv(name: str, paths: Sequence[Path]) -> AnalogyQuestions:
    """Read a table with the columns number, type, word1, word2, word3, target."""
    questions, sections = [], []
    (path,) = paths
    for number, row in _table(path, _ANALOGY_HEADER):
        if not all(row[1:]):
            _fail(path, number, ",".join(row), "an empty column")
        questions.append((row[2], row[3], row[4], row[5]))
        sections.append(row[1])
    return AnalogyQuestions(name, _some(path, questions), sections)


def read_categories(name: str, paths: Sequence[Path]) -> Categories:
    """Read a table with the columns number, category, word.

    Rows without a word are left out: the tables of AP and BLESS end each category with one.
    """
    words, labels = [], []
    (path,) = paths
    for number, row in _table(path, _CATEGORY_HEADER):
        if not row[1]:
            _fail(path, number, ",".join(row), "no category")
        if row[2]:
            words.append(row[2])
            labels.append(row[1])
    return Categories(name, _some(path, words), labels)


def read_labelled_lines(
    name: str,
    paths: Sequence[Path],
    *,
    label_names: Sequence[str],
    test_files: Sequence[bool] = (False,),
) -> LabelledTexts:
    """Read lines of label and text, from one file or from one for each part.

    Parameters
    ----------
    name : str
    paths : sequence of Path
    label_names : sequence of str
        What the labels 0, 1, ... mean.
    test_files : sequence of bool
        One for each file: whether it is the official test part. None is: no split.
    """
    texts: list[str] = []
    labels, is_test = [], []
    for path, test in zip(paths, test_files, strict=True):
        n_before = len(texts)
        for number, line in _lines(path):
            label, _, text = line.partition(" ")
            if not text.strip():
                _fail(path, number, line, "a label and a text were expected")
            labels.append(_label(path, number, label, len(label_names)))
            texts.append(text.strip())
        _some(path, texts[n_before:])
        is_test += [test] * (len(texts) - n_before)
    split = np.array(is_test) if any(test_files) else None
    return LabelledTexts(name, texts, np.array(labels), list(label_names), split)


def read_reviews(name: str, paths: Sequence[Path], *, label_names: Sequence[str]) -> LabelledTexts:
    """Read the train and the test part of IMDB as JSON lines with "y" and "text", xz-packed."""
    texts: list[str] = []
    labels, is_test = [], []
    for path, test in zip(paths, (False, True), strict=True):
        n_before = len(texts)
        for number, line in _unpacked_lines(path):
            label, text = _review(path, number, line, len(label_names))
            labels.append(label)
            texts.append(text)
        _some(path, texts[n_before:])
        is_test += [test] * (len(texts) - n_before)
    return LabelledTexts(name, texts, np.array(labels), list(label_names), np.array(is_test))


def read_imdb_archive(
    name: str, paths: Sequence[Path], *, label_names: Sequence[str]
) -> LabelledTexts:
    """Read IMDB's own archive: a file for each review, in folders train and test, neg and pos.

    The reviews are sorted by part, label and number, whatever their order in the archive.
    """
    (path,) = paths
    found: list[tuple[bool, int, int, str]] = []
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                match = _REVIEW_MEMBER.fullmatch(member.name)
                file = archive.extractfile(member) if match else None
                if match and file is not None:
                    part, label, number = match.groups()
                    text = _decode(file.read()).strip()
                    found.append((part == "test", int(label == "pos"), int(number), text))
    except _UNPACKING_ERRORS as error:
        raise FormatError(f"{path.name} is damaged: {error}") from error
    found.sort(key=lambda review: review[:3])
    _some(path, found)
    labels = np.array([label for _, label, _, _ in found])
    is_test = np.array([test for test, _, _, _ in found])
    texts = [text for _, _, _, text in found]
    return LabelledTexts(name, texts, labels, list(label_names), is_test)


def _decode(data: bytes) -> str:
    # The sentence files are older than UTF-8's victory: their dashes, dots and quotes are those of
    # Windows-1252. Latin-1 knows every byte, so nothing is refused.
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            pass
    return data.decode("latin-1")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield numbers, from 1, and stripped lines that are not empty."""
    # Only "\n" ends a line: str.splitlines would also cut at U+0085, which MR and SUBJ hold.
    for number, line in enumerate(_decode(path.read_bytes()).split("\n"), start=1):
        if line := line.strip(" \t\r\f"):
            yield number, line


def _unpacked_lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with lzma.open(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, _decode(line)
    except _UNPACKING_ERRORS as error:
        raise FormatError(f"{path.name} is damaged: {error}") from error


def _table(path: Path, header: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield line numbers and stripped rows of a table in CSV whose header is `header`."""
    rows = csv.reader(_decode(path.read_bytes()).split("\n"), strict=True)
    try:
        for row in rows:
            stripped = [field.strip() for field in row]
            if rows.line_num == 1 and stripped != header:
                _fail(path, 1, ",".join(row), f"the header {','.join(header)!r} was expected")
            elif len(row) not in (0, len(header)):
                _fail(path, rows.line_num, ",".join(row), f"{len(header)} columns were expected")
            elif row and rows.line_num > 1:
                yield rows.line_num, stripped
    except csv.Error as error:
        raise FormatError(f"{path.name}, line {rows.line_num}: {error}") from error


def _review(path: Path, number: int, line: str, n_classes: int) -> tuple[int, str]:
    try:
        row = json.loads(line)
        label, text = row["y"], row["text"]
    except (ValueError, KeyError, TypeError):
        _fail(path, number, line, 'an object with "y" and "text" was expected')
    if not isinstance(text, str):
        _fail(path, number, line, '"text" is not a string')
    return _label(path, number, str(label), n_classes), text


def _label(path: Path, number: int, text: str, n_classes: int) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) < n_classes):
        _fail(path, number, text, f"a label from 0 to {n_classes - 1} was expected")
    return int(text)


def _score(path: Path, number: int, text: str) -> float:
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        _fail(path, number, text, "the score is not a number")
    return score


def _some(path: Path, rows: list[_Row]) -> list[_Row]:
    if not rows:
        raise FormatError(f"{path.name} holds nothing that can be read")
    return rows


def _fail(path: Path, number: int, line: str, reason: str) -> NoReturn:
    shown = line if len(line) <= 60 else line[:57] + "..."
    raise FormatError(f"{path.name}, line {number}: {reason}, found {shown!r}")
