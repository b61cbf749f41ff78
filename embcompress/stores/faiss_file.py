"""A FAISS index file: a flat binary index, with ids of its own where they are not 0, 1, 2 ...

FAISS compares bytes and has no bit order of its own for codes that are handed to it. The order is
that of :func:`numpy.packbits` and of :meth:`HammingIndex.save <embcompress.HammingIndex.save>`;
only ``IndexLSH`` and ``fvec2bitvec`` of FAISS fill bytes from the other end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import faiss
import numpy as np

from embcompress.codes import Codes, code_bytes
from embcompress.container import FormatError
from embcompress.index import HammingIndex
from embcompress.stores._appended import (
    collect,
    merged,
    with_names,
    write_appended,
)
from embcompress.stores._description import Description
from embcompress.stores._index_file import IndexFile
from embcompress.stores._rows import Ids, Rows
from embcompress.stores._urls import StoreURL
from embcompress.stores.base import Change, Found, Store

__all__ = ["FaissStore"]

_faiss: Any = faiss  # the type stubs of FAISS lack some of its names


class FaissStore(IndexFile, Store):
    """Codes in a FAISS index file: ``faiss:///words.faiss``.

    ``faiss.read_index_binary`` opens the file; searches here are those of
    :class:`~embcompress.HammingIndex` over its codes.
    """

    bit_order = "big"

    def __init__(self, url: StoreURL) -> None:
        super().__init__(url)
        url.allow(())
        self._path = url.file
        self._stored: Codes | None = None
        self._index: HammingIndex | None = None

    def close(self) -> None:
        """Forget the codes."""
        self._appended = self._stored = self._index = self._known = None

    def _load(self, batches: Iterator[Rows], described: Description, change: Change) -> None:
        new = collect(list(batches), code_bytes(described.n_bits))
        if change == "merge":
            appended, sources = merged(self._words(), new, described)
            codes = np.concatenate([self._all_codes(), new.codes])[sources]
        else:
            appended, codes = with_names(described, new.ids, new.keys), new.codes
        write_appended(self._path, _payload(codes, appended.ids), appended)
        self.close()

    def _nearest(self, queries: Codes, k: int) -> Sequence[Found]:
        words = self._words()
        if self._index is None:
            self._index = HammingIndex(words.described.n_bits)
            self._index.add(self._all_codes())
        # rows are ordered by id, so their order among equal distances is that of the ids
        distances, rows = self._index.search(queries, min(k, len(words.ids)))
        return list(zip(distances, words.ids[rows], strict=True))

    def _all_codes(self) -> Codes:
        if self._stored is None:
            try:
                outer = _faiss.read_index_binary(str(self._path))
                flat = _faiss.downcast_IndexBinary(getattr(outer, "index", outer))
                # a copy, made while the outer index, which owns the flat one, is still there
                self._stored = flat.reconstruct_n(0, outer.ntotal)
            except RuntimeError as error:
                raise FormatError(f"{self._path}: FAISS cannot read this file: {error}") from error
        return self._stored

    def _codes(self, ids: Ids) -> dict[int, bytes]:
        rows = self._words().rows_of(ids)
        codes = map(bytes, self._all_codes()[rows])
        return dict(zip(self._words().ids[rows].tolist(), codes, strict=True))


def _payload(codes: Codes, ids: Ids) -> Callable[[Callable[[bytes], None]], None]:
    index = _faiss.IndexBinaryFlat(8 * codes.shape[1])
    if np.array_equal(ids, np.arange(len(ids))):
        index.add(codes)
    else:
        flat, index = index, _faiss.IndexBinaryIDMap2(index)
        index.add_with_ids(codes, ids)
        index.referenced_objects = [flat]
    return lambda take: _faiss.write_index_binary(index, _faiss.PyCallbackIOWriter(take))
