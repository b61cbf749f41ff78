"""Fit and encode more rows than memory holds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from embcompress.codes import code_bytes
from embcompress.container import atomic_write
from embcompress.encoder import Encoder
from embcompress.progress import ProgressBar
from embcompress.quantizers import BinaryQuantizer
from embcompress.quantizers._rows import sample_rows
from embcompress.scale.sources import BLOCK_ROWS, Source, blocks, open_source
from embcompress.scale.streams import OnceRows, StreamRows

__all__ = ["encoded_blocks", "encoder_of", "fit", "transform"]

Codes = npt.NDArray[np.uint8]


def fit(
    quantizer: BinaryQuantizer,
    source: Any,
    *,
    column: str | list[str] | None = None,
    max_rows: int | None = None,
    progress: bool = False,
) -> BinaryQuantizer:
    """Fit a quantizer on rows that need not fit in memory.

    Memory is that of a few blocks of rows and of the sample that the quantizer fits its rotation
    on. The result is that of ``quantizer.fit`` on the whole matrix, whatever the chunks: the same
    rows are drawn, and sums are taken over the same blocks. With ``fit_samples=None`` (`IIQ` and
    `ITQ`) every step of the rotation is a pass over all rows.

    Parameters
    ----------
    quantizer : BinaryQuantizer
        Fitted in place.
    source : path, array, Arrow table, iterable of matrices, Source, Dask array or data frame
        See :func:`open_source`. An iterator comes once: its moments are those of all rows, but
        the sample is drawn by hashed row numbers instead, because its length is not known.
    column : str or list of str, optional
        Column of lists, or columns of numbers, of a table.
    max_rows : int, optional
        Fit on so many rows, drawn at random and held in memory, instead of on all. It saves the
        covariance of the others, which is a small part of the time.
    progress : bool, default False
        Show a progress bar.

    Returns
    -------
    quantizer
        The same object, fitted.

    Raises
    ------
    ValueError
        If rows are not finite, of different widths, or cannot be read as often as needed, or a
        parameter does not fit.
    TypeError
        If the source cannot be read, or does not hold real numbers.
    RuntimeError
        If Dask workers were lost too often.

    Examples
    --------
    >>> import numpy as np
    >>> from embcompress import IIQ, scale
    >>> X = np.random.default_rng(0).normal(size=(1000, 32))
    >>> chunks = [X[:300], X[300:310], X[310:]]
    >>> quantizer = scale.fit(IIQ(random_state=0), chunks)
    >>> bool((scale.transform(quantizer, chunks) == IIQ(random_state=0).fit_transform(X)).all())
    True
    """
    if hasattr(source, "__dask_graph__"):
        from embcompress.scale import cluster

        return cluster.fit(quantizer, source, column=column, max_rows=max_rows, progress=progress)
    opened = open_source(source, column=column)
    if max_rows is not None:
        return _fit_on_sample(quantizer, opened, max_rows, progress)
    rows = StreamRows if opened.rereadable else OnceRows
    return quantizer.fit_rows(rows(opened, progress=progress))


def _fit_on_sample(
    quantizer: BinaryQuantizer, source: Source, max_rows: int, progress: bool
) -> BinaryQuantizer:
    check_max_rows(max_rows)
    if not source.rereadable:
        raise ValueError(
            f"max_rows={max_rows} draws from rows that are counted first, and {source.name} comes "
            "once; leave it out"
        )
    rows = StreamRows(source, progress=progress)
    random = check_random_state(getattr(quantizer, "random_state", None))
    return quantizer.fit(rows.take(sample_rows(rows.n, max_rows, random)))


def check_max_rows(max_rows: int) -> None:
    """Refuse a sample of no rows."""
    if isinstance(max_rows, bool) or max_rows < 1:
        raise ValueError(f"max_rows={max_rows!r} must be a whole number of at least 1")


def transform(
    quantizer: BinaryQuantizer | Encoder,
    source: Any,
    out: Any = None,
    *,
    column: str | list[str] | None = None,
    progress: bool = False,
) -> Any:
    """Packed codes of rows that need not fit in memory.

    Parameters
    ----------
    quantizer : fitted quantizer or Encoder
    source : path, array, Arrow table, iterable of matrices, Source, Dask array or data frame
        See :func:`open_source`.
    out : path-like or ndarray of uint8, optional
        ``.npy`` file to write, whole or not at all, or array of shape (n, bytes) to fill. By
        default a new array. For shards of codes with checksums, which resume after an
        interruption, see :func:`write_shards`.
    column : str or list of str, optional
        Column of lists, or columns of numbers, of a table.
    progress : bool, default False
        Show a progress bar.

    Returns
    -------
    codes : ndarray of uint8, shape (n, ceil(n_bits / 8))
        A memory map if `out` is a path. Of a Dask collection a Dask array, which nothing is
        computed for yet.

    Raises
    ------
    ValueError
        If rows are not finite or do not have the width that was fitted, or `out` does not fit.
    TypeError
        If the source cannot be read, or does not hold real numbers.
    """
    encoder = encoder_of(quantizer)
    if hasattr(source, "__dask_graph__"):
        from embcompress.scale import cluster

        if out is not None:
            raise ValueError("out= is not for Dask collections, which are encoded when computed")
        return cluster.transform(encoder, source, column=column)
    opened = open_source(source, column=column)
    parts = encoded_blocks(encoder, opened, progress=progress)
    if isinstance(out, str | os.PathLike):
        return _write(Path(out), parts, code_bytes(encoder.n_bits))
    if out is None:
        if opened.n_rows is None:
            found = [*parts]
            empty = np.empty((0, code_bytes(encoder.n_bits)), dtype=np.uint8)
            return np.concatenate(found) if found else empty
        out = np.empty((opened.n_rows, code_bytes(encoder.n_bits)), dtype=np.uint8)
    return _fill(out, parts, code_bytes(encoder.n_bits))


def _fill(out: Codes, parts: Iterator[Codes], width: int) -> Codes:
    if out.dtype != np.uint8 or out.ndim != 2 or out.shape[1] != width:
        raise ValueError(f"out is {out.dtype} of shape {out.shape}; uint8 (n, {width}) is needed")
    done = 0
    for codes in parts:
        if done + len(codes) > len(out):
            raise ValueError(f"out has {len(out)} rows, and the source has more")
        out[done : done + len(codes)] = codes
        done += len(codes)
    if done != len(out):
        raise ValueError(f"out has {len(out)} rows, and the source {done}")
    return out


def _write(path: Path, parts: Iterator[Codes], width: int) -> Codes:
    """Write codes behind a header that is filled in when their number is known."""
    with atomic_write(path) as file:
        file.write(b"\0" * len(_npy_header(0, width)))
        n = 0
        for codes in parts:
            file.write(codes.data)
            n += len(codes)
        file.seek(0)
        file.write(_npy_header(n, width))
    return np.load(path, mmap_mode="r")


def _npy_header(n: int, width: int) -> bytes:
    """The header of a .npy file of codes: 128 bytes for any number of rows."""
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({n}, {width}), }}"
    return b"\x93NUMPY\x01\x00\x76\x00" + text.ljust(117).encode() + b"\n"


def encoded_blocks(
    encoder: Encoder, source: Source, start: int = 0, *, progress: bool = False
) -> Iterator[Codes]:
    """Codes of a source, block by block.

    Parameters
    ----------
    encoder : Encoder
    source : Source
    start : int, default 0
        First row.
    progress : bool, default False
        Show a progress bar.

    Yields
    ------
    codes : ndarray of uint8, shape (m, ceil(n_bits / 8))

    Raises
    ------
    ValueError
        If the rows do not have the width of the encoder, or are not finite.
    """
    if source.n_features != encoder.n_features:
        raise ValueError(
            f"{source.name} has {source.n_features} columns; this quantizer was fitted on "
            f"{encoder.n_features}"
        )
    with ProgressBar("Encoding", source.n_rows, unit="rows", enabled=progress) as bar:
        extra = start % BLOCK_ROWS  # a block is encoded whole, so that it is rounded as always
        bar.advance(start - extra)
        for codes in encoder.encode_pieces(blocks(source, start - extra)):
            yield codes[extra:]
            extra = 0
            bar.advance(len(codes))


def encoder_of(quantizer: Any) -> Encoder:
    """The encoder itself, or that of a fitted quantizer."""
    if hasattr(quantizer, "fit"):
        check_is_fitted(quantizer)
        return quantizer.encoder_
    return quantizer
