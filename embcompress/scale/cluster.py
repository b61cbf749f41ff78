"""Dask arrays and data frames: fitted, encoded, written and searched where their parts lie.

A fit sends sums and sampled rows over the network, never rows. All tasks are pure, so a part whose
worker is lost is computed again.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils import check_random_state

from embcompress._optional import require
from embcompress.codes import code_bytes
from embcompress.encoder import Encoder
from embcompress.progress import ProgressBar
from embcompress.quantizers import BinaryQuantizer
from embcompress.quantizers._moments import MomentSums
from embcompress.quantizers._rows import ArrayRows, Needs, Rows, add_up, sample_rows
from embcompress.scale import shards
from embcompress.scale.collections import as_array, parts_of, pieces
from embcompress.scale.computing import as_completed, compute
from embcompress.scale.fitting import check_max_rows
from embcompress.scale.manifest import Manifest, Shard, write_manifest
from embcompress.scale.opened import ShardedCodes, open_shards
from embcompress.scale.sharded_index import search_part
from embcompress.scale.streams import Gathering

__all__ = ["DaskRows", "fit", "search", "transform", "write_shards"]

Positions = npt.NDArray[np.intp]
Function = Callable[[Any], Any]


def _dask() -> Any:
    return require("dask", extra="dask", feature="a Dask collection")


def fit(
    quantizer: BinaryQuantizer,
    collection: Any,
    *,
    column: str | list[str] | None = None,
    max_rows: int | None = None,
    progress: bool = False,
) -> BinaryQuantizer:
    """Fit on a Dask collection; see :func:`embcompress.scale.fit`."""
    rows = DaskRows(as_array(collection, column), progress=progress)
    if max_rows is None:
        return quantizer.fit_rows(rows)
    check_max_rows(max_rows)
    random = check_random_state(getattr(quantizer, "random_state", None))
    return quantizer.fit(rows.take(sample_rows(rows.n, max_rows, random)))


def transform(encoder: Encoder, collection: Any, *, column: str | list[str] | None = None) -> Any:
    """Codes of a Dask collection as a Dask array; nothing is computed."""
    array = _to_encode(encoder, collection, column)
    return array.map_blocks(
        _encode,
        # as one key of the graph, which every worker gets once
        encoder=_dask().delayed(encoder, traverse=False),
        dtype=np.uint8,
        chunks=(array.chunks[0], (code_bytes(encoder.n_bits),)),
        meta=np.empty((0, 0), dtype=np.uint8),
    )


def _to_encode(encoder: Encoder, collection: Any, column: str | list[str] | None) -> Any:
    """The rows as an array, of the width that was fitted."""
    array = as_array(collection, column, n_features=encoder.n_features)
    if array.shape[1] != encoder.n_features:
        raise ValueError(
            f"the Dask collection has {array.shape[1]} columns; this quantizer was fitted on "
            f"{encoder.n_features}"
        )
    return array


def _encode(part: Any, encoder: Encoder) -> npt.NDArray[np.uint8]:
    return np.concatenate([*encoder.encode_pieces(pieces(part))])


class DaskRows(Rows):
    """Rows of a Dask array.

    Parameters
    ----------
    array : dask.array.Array of shape (n, n_features)
        With known sizes of its blocks, each of all columns.
    functions : tuple of callable
        Applied to every block, one after the other.
    progress : bool
        Show progress bars.
    """

    def __init__(
        self, array: Any, functions: tuple[Function, ...] = (), *, progress: bool = False
    ) -> None:
        self._array = array
        self._functions = functions
        self._progress = progress
        self.dtype = array.dtype
        self.n_features = _chained(functions, np.ones((2, array.shape[1]), array.dtype)).shape[1]

    @property
    def n(self) -> int:
        """Number of rows."""
        return int(self._array.shape[0])

    def map(self, function: Function) -> DaskRows:
        """Rows that a function makes of these, wherever they are used."""
        return DaskRows(self._array, (*self._functions, function), progress=self._progress)

    def total(self, function: Function) -> tuple[Any, ...]:
        """Sums over blocks, merged on the workers."""
        task = _dask().delayed(_block_total)
        # as one key of the graph, which every worker gets once
        functions = _dask().delayed((self._functions, function), traverse=False)
        parts = [task(block, functions) for block in parts_of(self._array)]
        return compute(parts, _add_totals, "Summing up", progress=self._progress)

    def take(self, positions: Positions) -> npt.NDArray:
        """Rows by number."""
        order = np.argsort(positions, kind="stable")
        functions = _dask().delayed((self._functions,), traverse=False)
        task, splits = _dask().delayed(_block_rows), self._split(positions[order])
        parts = [
            task(part, functions, local)
            for part, local in zip(parts_of(self._array), splits, strict=True)
            if len(local)
        ]
        found = compute(parts, _concatenate, "Drawing rows", progress=self._progress)
        out = np.empty_like(found)
        out[order] = found
        return out

    def survey(self, needs: Needs, random: np.random.RandomState) -> tuple[MomentSums, Rows]:
        """Sums over all rows, and a sample of them, in one pass."""
        positions = needs.positions(self.n, random)
        if positions is None:
            positions = np.arange(self.n if needs.limit is not None else 0)
        blocks = parts_of(self._array)
        delayed = _dask().delayed
        # all sums are taken about one point: the order of merging hardly matters then
        started = delayed(_started)(blocks[0], needs)
        task = delayed(_surveyed)
        locals_ = self._split(positions)
        parts = [task(each, started, local) for each, local in zip(blocks, locals_, strict=True)]
        sums, sample = compute(parts, _merge_surveys, "Fitting", progress=self._progress)
        return sums, self if needs.limit is None else ArrayRows(sample)

    def _split(self, positions: Positions) -> list[Positions]:
        """Ascending row numbers by block, counted from the start of each."""
        starts = np.cumsum([0, *self._array.chunks[0]])
        cuts = np.searchsorted(positions, starts)
        return [
            positions[first:last] - start
            for first, last, start in zip(cuts[:-1], cuts[1:], starts[:-1], strict=True)
        ]


def _chained(functions: Sequence[Function], block: Any) -> Any:
    for function in functions:
        block = function(block)
    return block


def _block_total(part: Any, functions: tuple[tuple[Function, ...], Function]) -> tuple[Any, ...]:
    """Sums over a partition."""
    chain, function = functions
    return add_up(function(_chained(chain, piece)) for piece in pieces(part))


def _add_totals(parts: list[tuple[Any, ...]]) -> tuple[Any, ...]:
    return add_up(iter(parts))


def _block_rows(
    part: Any, functions: tuple[tuple[Function, ...]], positions: Positions
) -> npt.NDArray:
    gathering = Gathering(positions)
    for piece in pieces(part):
        gathering.add(piece)
    return _chained(functions[0], gathering.rows())


def _concatenate(parts: list[npt.NDArray]) -> npt.NDArray:
    return np.concatenate(parts)


def _started(part: Any, needs: Needs) -> MomentSums:
    first = next(pieces(part))
    sums = needs.sums(first.shape[1])
    if len(first):
        sums.start(first)
    return sums


def _surveyed(
    part: Any, started: MomentSums, positions: Positions
) -> tuple[MomentSums, npt.NDArray]:
    sums, gathering = copy.deepcopy(started), Gathering(positions)
    for piece in pieces(part):
        sums.add(piece)
        gathering.add(piece)
    sums.flush()
    return sums, gathering.rows()


def _merge_surveys(
    parts: list[tuple[MomentSums, npt.NDArray]],
) -> tuple[MomentSums, npt.NDArray]:
    merged = copy.deepcopy(parts[0][0])
    for sums, _ in parts[1:]:
        merged.merge(sums)
    return merged, np.concatenate([rows for _, rows in parts])


def search(
    codes: Any, queries: npt.NDArray[np.uint8], k: int, n_bits: int, *, progress: bool = False
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Search in a Dask array of codes; see :class:`embcompress.scale.ShardedIndex`."""
    if codes.dtype != np.uint8 or codes.ndim != 2 or codes.shape[1] != code_bytes(n_bits):
        raise ValueError(
            f"the Dask array is {codes.dtype} of shape {codes.shape}; codes of {n_bits} bits are "
            f"uint8 (n, {code_bytes(n_bits)})"
        )
    codes = as_array(codes, None, dtype=np.dtype(np.uint8))
    starts = np.cumsum([0, *codes.chunks[0]])[:-1]
    asked = _dask().delayed(queries)
    task = _dask().delayed(search_part)
    parts = [
        task(block, int(first), asked, k, n_bits)
        for block, first in zip(codes.to_delayed()[:, 0], starts, strict=True)
    ]
    return compute(parts, _Merge(k), "Searching", progress=progress)


class _Merge:
    """Merge neighbours of parts; an object, so that it travels by name."""

    def __init__(self, k: int) -> None:
        self.k = k

    def __call__(self, parts: list[Any]) -> Any:
        from embcompress.index.merging import merge_neighbors

        return merge_neighbors(parts, self.k)


def write_shards(
    quantizer: BinaryQuantizer | Encoder | None,
    collection: Any,
    folder: Path,
    *,
    column: str | list[str] | None = None,
    progress: bool = False,
) -> ShardedCodes:
    """One shard for every partition; see :func:`embcompress.scale.write_shards`."""
    with shards.locked(folder):
        token = {"kind": "dask", "token": collection.__dask_tokenize__(), "column": column}
        token = {**token, "token": _dask().base.tokenize(token["token"])}
        manifest, encoder = shards.begin(folder, quantizer, token, 0)
        manifest = shards.end_of_whole_shards(folder, manifest)
        if not manifest.complete:
            shared = _dask().delayed(encoder, traverse=False)
            encode = _dask().delayed(_encode)
            parts = parts_of(_to_encode(encoder, collection, column))
            _write_rest(folder, manifest, [encode(part, shared) for part in parts], progress)
    return open_shards(folder)


def _write_rest(folder: Path, manifest: Manifest, parts: Sequence[Any], progress: bool) -> None:
    save = _dask().delayed(shards.save_shard, pure=False)
    done = len(manifest.shards)
    tasks = [
        save(folder.absolute(), number, parts[number], manifest.n_bits)
        for number in range(done, len(parts))
    ]
    finished: dict[int, Shard] = {}
    with ProgressBar("Encoding", len(parts), unit="shards", enabled=progress) as bar:
        bar.advance(done)
        for place, shard in as_completed(tasks):
            finished[done + place] = shard
            bar.advance(1)
            if len(manifest.shards) in finished:  # the manifest grows in order
                while len(manifest.shards) in finished:
                    manifest = manifest.with_shard(finished[len(manifest.shards)])
                write_manifest(folder, manifest)
    write_manifest(folder, replace(manifest, complete=True))
