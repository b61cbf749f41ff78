"""A usearch index file: a graph over packed bits, whose keys are the ids.

usearch compares bytes and has no bit order of its own; its documents fill them with
:func:`numpy.packbits`, and so do we. Searches compare with every row, since the graph finds most
neighbours and not all; ``hnsw=1`` in the address asks the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from embcompress._optional import require
from embcompress.codes import Codes, code_bytes
from embcompress.container import FormatError
from embcompress.stores._appended import (
    collect,
    merged,
    with_names,
    write_appended,
)
from embcompress.stores._description import Description
from embcompress.stores._index_file import IndexFile
from embcompress.stores._rows import Ids, Rows
from embcompress.stores._ties import nearest_with_ties
from embcompress.stores._urls import StoreURL
from embcompress.stores.base import Change, Found, Store

__all__ = ["UsearchStore"]

_FEATURE = "the usearch store"


class UsearchStore(IndexFile, Store):
    """Codes in a usearch index file: ``usearch:///words.usearch``."""

    bit_order = "big"

    def __init__(self, url: StoreURL) -> None:
        super().__init__(url)
        url.allow({"hnsw"})
        self._path = url.file
        self._hnsw = url.flag("hnsw")
        self._client = require("usearch.index", extra="stores", feature=_FEATURE)
        self._index: Any = None

    def close(self) -> None:
        """Let go of the file."""
        self._appended = self._index = self._known = None

    def _load(self, batches: Iterator[Rows], described: Description, change: Change) -> None:
        index = self._restore(view=False) if change == "merge" else self._empty(described.n_bits)
        parts = []
        for batch in batches:  # the graph grows here, which is where the time goes
            ids = batch.ids.astype(np.uint64)
            if change == "merge":
                index.remove(ids[index.contains(ids)])
            index.add(ids, np.ascontiguousarray(batch.codes))
            parts.append(batch)
        new = collect(parts, code_bytes(described.n_bits))
        if change == "merge":
            appended, _ = merged(self._words(), new, described)
        else:
            appended = with_names(described, new.ids, new.keys)
        write_appended(self._path, _payload(index), appended)
        self.close()

    def _empty(self, n_bits: int) -> Any:
        client = self._client
        return client.Index(
            ndim=n_bits, metric=client.MetricKind.Hamming, dtype=client.ScalarKind.B1
        )

    def _restore(self, *, view: bool) -> Any:
        try:
            index = self._client.Index.restore(str(self._path), view=view)
        except (RuntimeError, ValueError) as error:
            raise FormatError(f"{self._path}: usearch cannot read this file: {error}") from error
        if index is None or len(index) != len(self._words().ids):
            raise FormatError(f"{self._path}: usearch cannot read this file")
        return index

    def _opened(self) -> Any:
        if self._index is None:
            self._index = self._restore(view=True)
        return self._index

    def _nearest(self, queries: Codes, k: int) -> Iterator[Found]:
        index, n_rows = self._opened(), len(self._words().ids)
        for query in queries:

            def fetch(size: int, query: Codes = query) -> Found:
                found = index.search(query, min(size, n_rows), exact=not self._hnsw)
                return found.distances.astype(np.int32), found.keys.astype(np.int64)

            found = nearest_with_ties(fetch, k)
            assert found is not None  # there is no largest number of rows
            yield found

    def _codes(self, ids: Ids) -> dict[int, bytes]:
        words, index = self._words(), self._opened()
        there = words.ids[words.rows_of(ids)]
        return {i: bytes(index.get(i)) for i in there.tolist()}


def _payload(index: Any) -> Callable[[Callable[[bytes], None]], None]:
    return lambda take: take(index.save())
