"""Connections to SQLite that can load sqlite-vec.

Many builds of Python leave loading of extensions out of their sqlite3 module. There the package
apsw, which brings an SQLite of its own, stands in; of both only what they share is used.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any

from embcompress._optional import MissingExtraError, require

__all__ = ["connect", "error_types"]

_FEATURE = "the SQLite store"
_WAIT_SECONDS = 10


def connect(path: Path, *, write: bool) -> Any:
    """Open a database and load sqlite-vec.

    Transactions are left to the caller: BEGIN, COMMIT and ROLLBACK are plain statements.

    Parameters
    ----------
    path : Path
    write : bool
        Make the file if it is not there. Without, it is opened for writing too where that is
        allowed, since SQLite may have to undo what a killed process has begun.

    Returns
    -------
    connection
        Of sqlite3 or apsw.

    Raises
    ------
    MissingExtraError
        If sqlite-vec is not installed, or nothing that can load it.
    """
    mode = "rwc" if write else "rw" if os.access(path, os.W_OK) else "ro"
    sqlite_vec = require("sqlite_vec", extra="stores", feature=_FEATURE)
    if hasattr(sqlite3.Connection, "enable_load_extension"):
        connection: Any = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}",
            uri=True,
            isolation_level=None,
            timeout=_WAIT_SECONDS,
            check_same_thread=False,
        )
    else:
        connection = _connect_apsw(path, mode)
    try:
        connection.enable_load_extension(True)
        connection.load_extension(sqlite_vec.loadable_path())
        connection.enable_load_extension(False)
    except BaseException:
        connection.close()
        raise
    return connection


def error_types() -> tuple[type[Exception], ...]:
    """What the clients raise."""
    types: list[type[Exception]] = [sqlite3.Error]
    with suppress(ImportError):
        types.append(require("apsw", extra="stores").Error)
    return tuple(types)


def _connect_apsw(path: Path, mode: str) -> Any:
    try:
        apsw = require("apsw", extra="stores", feature=_FEATURE)
    except MissingExtraError as error:
        raise MissingExtraError(
            "the sqlite3 module of this Python was built without loading of extensions, which "
            "sqlite-vec needs; the package apsw stands in for it: "
            'pip install "embcompress[stores]"'
        ) from error
    flags = {
        "ro": apsw.SQLITE_OPEN_READONLY,
        "rw": apsw.SQLITE_OPEN_READWRITE,
        "rwc": apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE,
    }
    connection = apsw.Connection(str(path), flags=flags[mode])
    connection.set_busy_timeout(1000 * _WAIT_SECONDS)
    return connection
