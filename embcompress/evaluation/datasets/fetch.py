"""Where the file of a data set comes from: EMBCOMPRESS_DATA, the user's cache, its address."""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from embcompress._optional import MissingExtraError, require
from embcompress.container import FormatError
from embcompress.evaluation.datasets.entries import DataFile, DatasetEntry, Form
from embcompress.progress import ProgressBar

__all__ = ["announce", "cache_folder", "data_folder", "locate"]

_FEATURE = "fetching data sets"
_CHUNK_BYTES = 1 << 18
# data sets whose terms this process has shown, for where the cache cannot remember it
_shown: set[str] = set()


def data_folder() -> Path | None:
    """The folder that ``EMBCOMPRESS_DATA`` names, or None where it is not set.

    Raises
    ------
    NotADirectoryError
        If it is set to something else than a folder.
    """
    value = os.environ.get("EMBCOMPRESS_DATA")
    if not value:
        return None
    folder = Path(value).expanduser()
    if not folder.is_dir():
        raise NotADirectoryError(f"EMBCOMPRESS_DATA={value} is not a folder; correct or unset it")
    return folder


def cache_folder() -> Path:
    """The folder of fetched files: ``EMBCOMPRESS_CACHE``, or the user's cache.

    Raises
    ------
    MissingExtraError
        If pooch, which knows where the user's cache is, is needed and not installed.
    """
    value = os.environ.get("EMBCOMPRESS_CACHE")
    if value:
        return Path(value).expanduser()
    return Path(require("pooch", extra="datasets", feature=_FEATURE).os_cache("embcompress"))


def locate(entry: DatasetEntry, *, progress: bool = True) -> tuple[Form, tuple[Path, ...]]:
    """Find the files of a data set, or fetch them.

    Parameters
    ----------
    entry : DatasetEntry
    progress : bool
        Show a progress bar, if standard error is a terminal.

    Returns
    -------
    form : Form
        The form in which it was found.
    paths : tuple of Path
        The files of the form, in its order, their checksums found right.
    """
    roots = [root for root in (data_folder(), _cache_or_none()) if root is not None]
    for root in roots:
        for form in entry.forms:
            paths = tuple(root / file.path for file in form.files)
            if all(path.is_file() for path in paths):
                for file, path in zip(form.files, paths, strict=True):
                    _check(file, path)
                return form, paths
    public = next((f for f in entry.forms if all(file.addresses for file in f.files)), None)
    if public is None:
        raise FileNotFoundError(_not_found(entry))
    return public, tuple(_fetch(entry, file, progress) for file in public.files)


def announce(entry: DatasetEntry) -> None:
    """Write licence and citation to standard error, once for each user and data set.

    A file in the cache remembers it; where that cannot be written, once for each process.
    """
    cache = _cache_or_none()
    marker = cache / "shown" / f"{entry.name}.txt" if cache else None
    if entry.name in _shown or (marker and marker.exists()):
        return
    notice = f"{entry.name}\n  licence: {entry.licence}\n  cite: {entry.citation}\n"
    sys.stderr.write(notice)
    _shown.add(entry.name)
    if marker:
        with suppress(OSError):
            marker.parent.mkdir(parents=True, exist_ok=True)
            marker.write_text(notice, encoding="utf-8")


def _cache_or_none() -> Path | None:
    try:
        return cache_folder()
    except MissingExtraError:
        return None


def _not_found(entry: DatasetEntry) -> str:
    wanted = " and ".join(file.path for file in entry.forms[0].files)
    data = data_folder()
    where = "which is not set" if data is None else f"{data}, and is not there"
    return (
        f"{entry.name} has no public address to fetch it from: it is read from {wanted} below "
        f"the folder that EMBCOMPRESS_DATA names ({where})"
    )


def _check(file: DataFile, path: Path) -> None:
    """Raise if the file does not have the recorded checksum."""
    if file.checksum is None:
        return
    algorithm, _, expected = file.checksum.partition(":")
    state = path.stat()
    found = _digest(path, algorithm, state.st_size, state.st_mtime_ns)
    if found == expected:
        return
    data = data_folder()
    given = data is not None and path.is_relative_to(data)
    advice = "replace it, or unset EMBCOMPRESS_DATA" if given else "delete it to fetch it again"
    raise FormatError(
        f"{path} has a wrong checksum: {algorithm} {found}, expected {expected}; {advice}"
    )


@functools.lru_cache(maxsize=256)
def _digest(path: Path, algorithm: str, size: int, modified: int) -> str:
    """Hash a file; its size and time are there to notice that it has changed."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _fetch(entry: DatasetEntry, file: DataFile, progress: bool) -> Path:
    cache = cache_folder()
    path = cache / file.path
    if path.is_file():
        _check(file, path)
        return path
    pooch = require("pooch", extra="datasets", feature=_FEATURE)
    problems = []
    for address in file.addresses:
        try:
            with _quiet_pooch(pooch):
                _retrieve(pooch, file, address, path, progress)
            return path
        except (OSError, ValueError) as error:
            problems.append(_explain(error, file, address, cache))
    raise ConnectionError(
        f"{entry.name} could not be fetched: {'; '.join(problems)}. Download it by hand and put "
        f"it to {path}, or set EMBCOMPRESS_DATA to a folder that has {file.path}"
    )


def _retrieve(pooch: Any, file: DataFile, address: str, path: Path, progress: bool) -> None:
    # pooch writes to a temporary file beside the target, compares checksums, and only then renames
    with ProgressBar(f"Fetching {path.name}", unit="B", enabled=progress) as bar:
        pooch.retrieve(
            address,
            known_hash=file.checksum,
            fname=path.name,
            path=path.parent,
            downloader=pooch.HTTPDownloader(progressbar=_Meter(bar), chunk_size=_CHUNK_BYTES),
        )


def _explain(error: Exception, file: DataFile, address: str, cache: Path) -> str:
    """Say in a few words why an address gave nothing; raise what is no matter of the network."""
    exceptions = require("requests.exceptions", extra="datasets", feature=_FEATURE)
    host = urlsplit(address).hostname
    if isinstance(error, exceptions.HTTPError):
        return f"{address} answered {error.response.status_code}"
    if isinstance(error, exceptions.Timeout):
        return f"{host} did not answer in time ({address})"
    if isinstance(error, exceptions.ChunkedEncodingError):
        return f"the connection to {host} broke off ({address})"
    if isinstance(error, exceptions.RequestException):
        return f"cannot reach {host} ({address})"
    if isinstance(error, ValueError) and "does not match the known hash" in str(error):
        got = re.search(r"but got (\w+)", str(error))
        found = got.group(1) if got else "another"
        return f"what {address} sent has the checksum {found}, expected {file.checksum}"
    if isinstance(error, OSError):
        raise OSError(
            f"cannot write into the cache {cache} ({error}); set EMBCOMPRESS_CACHE to a folder "
            "that can be written"
        ) from error
    raise error


@contextmanager
def _quiet_pooch(pooch: Any) -> Iterator[None]:
    """Keep pooch's log of every download to itself; the caller says what matters."""
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


class _Meter:
    """What pooch wants of a progress bar, on ours."""

    def __init__(self, bar: ProgressBar) -> None:
        self._bar = bar
        self._done = 0

    @property
    def total(self) -> int:
        return self._bar.total or 0

    @total.setter
    def total(self, value: int) -> None:
        self._bar.total = value or None

    def update(self, n_bytes: int) -> None:
        # pooch reports whole chunks, also for the last one, and everything again at the end
        if self._bar.total:
            n_bytes = max(0, min(n_bytes, self._bar.total - self._done))
        self._done += n_bytes
        self._bar.advance(n_bytes)

    def reset(self) -> None:
        """Do nothing: the amount done stays."""

    def close(self) -> None:
        """Do nothing: the bar is closed by its owner."""
