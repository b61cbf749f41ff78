"""Codes in the stores that other programs use, written there and searched there.

:func:`open_store` gives a :class:`Store` for an address: ``sqlite:///words.db``,
``duckdb:///words.duckdb``, ``postgresql://user@host/database``, ``lancedb:///folder``,
``faiss:///words.faiss``, ``usearch:///words.usearch``. Every one takes codes, ids, keys and the
encoder in a single step, whole or not at all, and returns the neighbours that a flat
:class:`~embcompress.HammingIndex` returns, in the same order.
"""

from __future__ import annotations

import importlib

from embcompress.stores._urls import parse_url
from embcompress.stores.base import Neighbors, Store, StoreInfo

__all__ = ["SCHEMES", "Neighbors", "Store", "StoreInfo", "open_store"]

# scheme -> module and class; a new store is its module and a line here
_STORES = {
    "sqlite": ("embcompress.stores.sqlite", "SqliteStore"),
    "duckdb": ("embcompress.stores.duck", "DuckStore"),
    "postgresql": ("embcompress.stores.postgres", "PostgresStore"),
    "lancedb": ("embcompress.stores.lance", "LanceStore"),
    "faiss": ("embcompress.stores.faiss_file", "FaissStore"),
    "usearch": ("embcompress.stores.usearch_file", "UsearchStore"),
}
SCHEMES = tuple(_STORES)


def open_store(url: str) -> Store:
    """Open the store behind an address.

    Nothing is created or connected before it is needed, and reading creates nothing.

    Parameters
    ----------
    url : str
        ``scheme:///path?option=value``. Three slashes start a path from the present folder, four
        an absolute one. The stores with tables take ``table=NAME`` (default ``codes``);
        ``postgresql`` takes every option of its own client too.

    Returns
    -------
    Store

    Raises
    ------
    ValueError
        If the scheme or an option is not known.
    MissingExtraError
        If the client of the store is not installed; for some stores with the first use only.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> from embcompress.codes import pack_bits
    >>> from embcompress.stores import open_store
    >>> codes = pack_bits(np.eye(8, dtype=bool))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with open_store(f"faiss:///{folder}/codes.faiss") as store:
    ...         n = store.write(codes, n_bits=8, keys=list("abcdefgh"))
    ...         found = store.search(codes[2:3], k=3)
    >>> n, found.distances, found.keys
    (8, array([[0, 2, 2]], dtype=int32), [['c', 'a', 'b']])
    """
    parsed = parse_url(url)
    if parsed.scheme not in _STORES:
        raise ValueError(
            f"{parsed.shown}: no store is called {parsed.scheme!r}; there are {', '.join(SCHEMES)}"
        )
    module, name = _STORES[parsed.scheme]
    store: type[Store] = getattr(importlib.import_module(module), name)
    return store(parsed)
