"""What is known of a data set: its files, forms, terms and citation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from embcompress.evaluation.data import (
    AnalogyQuestions,
    Categories,
    LabelledTexts,
    SimilarityPairs,
)

__all__ = ["TASKS", "DataFile", "Dataset", "DatasetEntry", "Form"]

Dataset = SimilarityPairs | AnalogyQuestions | Categories | LabelledTexts
TASKS = ("similarity", "analogy", "categorization", "text", "embedding")


@dataclass(frozen=True)
class DataFile:
    """A file of a data set.

    Attributes
    ----------
    path : str
        Below the folder of ``EMBCOMPRESS_DATA``, and below the cache.
    addresses : tuple of str
        Where the public has these bytes, to be tried in turn; none, if nowhere.
    checksum : str or None
        ``"sha256:..."`` or ``"md5:..."``; None: no checksum recorded.
    """

    path: str
    addresses: tuple[str, ...] = ()
    checksum: str | None = None


@dataclass(frozen=True)
class Form:
    """One form in which a data set comes: its files, and how they are read.

    Attributes
    ----------
    files : tuple of DataFile
    read : callable, optional
        From name and paths to the record of the task. None for embeddings, which
        :func:`embcompress.load_vectors` reads.
    member : str, optional
        For embeddings: the file of the zip file.
    """

    files: tuple[DataFile, ...]
    read: Callable[[str, Sequence[Path]], Dataset] | None = None
    member: str | None = None


@dataclass(frozen=True)
class DatasetEntry:
    """What is known of a data set.

    Attributes
    ----------
    name : str
    task : {"similarity", "analogy", "categorization", "text", "embedding"}
    forms : tuple of Form
        The forms in which it comes, the preferred one first. The first that is at hand is read;
        where none is, the first with addresses for all of its files is fetched.
    licence, citation : str
    """

    name: str
    task: str
    forms: tuple[Form, ...]
    licence: str
    citation: str

    @property
    def files(self) -> tuple[DataFile, ...]:
        """All files of all forms."""
        return tuple(file for form in self.forms for file in form.files)

    @property
    def addresses(self) -> tuple[str, ...]:
        """All public addresses; none, if the data set is only read from EMBCOMPRESS_DATA."""
        return tuple(address for file in self.files for address in file.addresses)

    @property
    def can_be_fetched(self) -> bool:
        """Whether some form has a public address for each of its files."""
        return any(all(file.addresses for file in form.files) for form in self.forms)
