"""The data sets of the evaluation: found, fetched, checked and read by their names.

A file is taken from the folder that ``EMBCOMPRESS_DATA`` names; otherwise from the user's cache
(or the folder that ``EMBCOMPRESS_CACHE`` names); otherwise it is fetched from its public address
into the cache. Checksums are compared in all three cases, where one is recorded. Licence and
citation are written to standard error on first use.
"""

from __future__ import annotations

from pathlib import Path

from embcompress.evaluation.datasets.entries import (
    TASKS,
    DataFile,
    Dataset,
    DatasetEntry,
    Form,
)
from embcompress.evaluation.datasets.fetch import announce, cache_folder, locate
from embcompress.evaluation.datasets.registry import REGISTRY, find_entry
from embcompress.formats import load_vectors
from embcompress.vectors import KeyedVectors

__all__ = [
    "TASKS",
    "DataFile",
    "DatasetEntry",
    "Form",
    "cache_folder",
    "dataset_path",
    "dataset_paths",
    "find_entry",
    "list_datasets",
    "load_dataset",
    "load_embedding",
]


def list_datasets(task: str | None = None) -> list[DatasetEntry]:
    """List the data sets that are known.

    Parameters
    ----------
    task : {"similarity", "analogy", "categorization", "text", "embedding"}, optional
        Default: all.

    Returns
    -------
    list of DatasetEntry

    Examples
    --------
    >>> [entry.name for entry in list_datasets("analogy")]
    ['google', 'msr', 'semeval-2012']
    """
    if task is not None and task not in TASKS:
        raise ValueError(f"task={task!r} is not one of {', '.join(TASKS)}")
    return [entry for entry in REGISTRY.values() if task in (None, entry.task)]


def load_dataset(name: str, *, quiet: bool = False, progress: bool = True) -> Dataset:
    """Read a data set of a task, fetching it where it is not at hand.

    Parameters
    ----------
    name : str
        As :func:`list_datasets` gives it, in any case.
    quiet : bool
        Do not show licence and citation.
    progress : bool
        Show a progress bar while fetching, if standard error is a terminal.

    Returns
    -------
    SimilarityPairs, AnalogyQuestions, Categories or LabelledTexts

    Raises
    ------
    ValueError
        If no data set, or an embedding, has this name.
    FormatError
        If a file is damaged, or has another checksum than recorded.
    FileNotFoundError
        If the data set has no public address and is not in the folder of EMBCOMPRESS_DATA.
    ConnectionError
        If it cannot be fetched; the message says where to put it by hand.
    MissingExtraError
        If pooch is needed to fetch it and not installed.
    """
    entry = find_entry(name)
    if entry.task == "embedding":
        raise ValueError(f"{entry.name} is an embedding; use load_embedding({entry.name!r})")
    form, paths = locate(entry, progress=progress)
    if form.read is None:
        raise TypeError(f"{entry.name} has no reader")
    if not quiet:
        announce(entry)
    return form.read(entry.name, paths)


def load_embedding(
    name: str, limit: int | None = None, progress: bool = True, *, quiet: bool = False
) -> KeyedVectors:
    """Read word vectors, fetching them where they are not at hand.

    Of a zip file with several, the one of this name is read, without unpacking it to disk.

    Parameters
    ----------
    name : str
        Such as ``"glove.6B.300d"``; :func:`list_datasets` with ``"embedding"`` gives all.
    limit : int, optional
        Read the first `limit` distinct words.
    progress : bool
        Show progress bars while fetching and reading, if standard error is a terminal.
    quiet : bool
        Do not show licence and citation.

    Returns
    -------
    KeyedVectors

    Raises
    ------
    ValueError
        If no embedding has this name.
    FormatError, FileNotFoundError, ConnectionError, MissingExtraError
        As for :func:`load_dataset`.
    """
    entry = find_entry(name)
    if entry.task != "embedding":
        raise ValueError(f"{entry.name} is a set for {entry.task}; use load_dataset")
    form, paths = locate(entry, progress=progress)
    if not quiet:
        announce(entry)
    return load_vectors(paths[0], member=form.member, limit=limit, progress=progress)


def dataset_paths(name: str, *, progress: bool = True) -> tuple[Path, ...]:
    """Find the files of a data set, fetching them where they are not at hand.

    Raises as :func:`load_dataset`.
    """
    return locate(find_entry(name), progress=progress)[1]


def dataset_path(name: str, *, progress: bool = True) -> Path:
    """Find the file of a data set, fetching it where it is not at hand.

    Raises
    ------
    ValueError
        If the data set lies in several files: :func:`dataset_paths` gives them. Otherwise as
        :func:`load_dataset`.
    """
    paths = dataset_paths(name, progress=progress)
    if len(paths) != 1:
        listed = ", ".join(path.name for path in paths)
        raise ValueError(f"{name} lies in {len(paths)} files ({listed}); use dataset_paths")
    return paths[0]
