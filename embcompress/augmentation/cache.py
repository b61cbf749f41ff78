"""Embeddings kept for training, at the precision that is worth its bytes."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_consistent_length

from embcompress.augmentation.base import chunks
from embcompress.augmentation.pairs import checked_rows
from embcompress.container import FormatError, load_container, save_container
from embcompress.encoder import Encoder

__all__ = ["STORAGES", "EmbeddingCache", "storage_report"]

Floats = npt.NDArray[np.floating]
Array = npt.NDArray[Any]

_KIND = "embeddings"
STORAGES = ("float32", "float16", "int8", "iiq")


class EmbeddingCache:
    """Rows of embeddings, stored as float32, float16, int8 or codes, read as float32.

    Made by :meth:`encode`, opened by :meth:`load`, which maps the file: only rows that are asked
    for are read. ``cache[rows]`` decodes some, ``numpy.asarray(cache)`` all.

    Parameters
    ----------
    storage : {"float32", "float16", "int8", "iiq"}
    data : ndarray of shape (n, ...)
        Rows as they are stored.
    scales : ndarray of float32, shape (d,), optional
        Of int8: a stored number times the scale of its dimension is the value.
    encoder : Encoder, optional
        Of codes.

    Examples
    --------
    >>> import numpy as np
    >>> Z = np.random.default_rng(0).normal(size=(100, 16)).astype("float32")
    >>> cache = EmbeddingCache.encode(Z, "int8")
    >>> cache.shape, cache.nbytes, bool(np.abs(cache[:5] - Z[:5]).max() < 0.02)
    ((100, 16), 1664, True)
    """

    def __init__(
        self,
        storage: str,
        data: Array,
        *,
        scales: Floats | None = None,
        encoder: Encoder | None = None,
    ) -> None:
        self.storage = storage
        self.data = data
        self.scales = scales
        self.encoder = encoder

    @classmethod
    def encode(
        cls,
        Z: npt.ArrayLike,
        storage: str = "float16",
        *,
        n_bits: int | None = None,
        random_state: Any = 0,
    ) -> EmbeddingCache:
        """Store rows.

        Parameters
        ----------
        Z : array-like of shape (n, d)
        storage : {"float32", "float16", "int8", "iiq"}, default "float16"
            int8 has one scale per dimension, so that its largest entry is 127. ``"iiq"``: signs
            after a rotation, with magnitudes (see :class:`~embcompress.IIQ`).
        n_bits : int, optional
            Of ``"iiq"``. Default: 2 for each dimension.
        random_state : int or None, default 0
            Of ``"iiq"``.

        Returns
        -------
        EmbeddingCache

        Raises
        ------
        ValueError
            If `Z` is not finite, too large for float16, or the storage is unknown.
        """
        rows = checked_rows(Z)
        if storage == "float32":
            return cls(storage, rows.astype(np.float32))
        if storage == "float16":
            if np.abs(rows).max() > np.finfo(np.float16).max:
                raise ValueError('Z has entries too large for float16; use storage="float32"')
            return cls(storage, rows.astype(np.float16))
        if storage == "int8":
            peak = np.abs(rows).max(axis=0)
            scales = (np.where(peak > 0, peak, 1) / 127).astype(np.float32)
            return cls(storage, np.rint(rows / scales).astype(np.int8), scales=scales)
        if storage == "iiq":
            from embcompress.quantizers import IIQ

            bits = 2 * rows.shape[1] if n_bits is None else n_bits
            # nothing is nulled and lengths are kept: these codes are to be decoded
            quantizer = IIQ(
                bits, n_remove=0, bits_per_direction=2, normalize=False, random_state=random_state
            ).fit(rows)
            return cls(storage, quantizer.transform(rows), encoder=quantizer.encoder_)
        raise ValueError(f"storage={storage!r} is unknown; known are {', '.join(STORAGES)}")

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and dimensions."""
        d = self.data.shape[1] if self.encoder is None else self.encoder.n_features
        return len(self.data), d

    @property
    def dtype(self) -> np.dtype[np.float32]:
        """What rows are decoded to."""
        return np.dtype(np.float32)

    @property
    def nbytes(self) -> int:
        """Bytes stored, with scales or encoder."""
        extra = 0 if self.scales is None else self.scales.nbytes
        return self.data.nbytes + extra + (0 if self.encoder is None else self.encoder.nbytes)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, rows: Any) -> npt.NDArray[np.float32]:
        part = self.data[rows]
        single = part.ndim == 1
        part = np.atleast_2d(part)
        if self.encoder is not None:
            out = self.encoder.decode(part)
        else:
            out = part.astype(np.float32)
            if self.scales is not None:
                out *= self.scales
        return out[0] if single else out

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Floats:
        out = np.empty(self.shape, dtype=np.float32)
        for part in chunks(len(out)):
            out[part] = self[part]
        return out if dtype is None else out.astype(dtype)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one safetensors file.

        Parameters
        ----------
        path : path-like
        """
        arrays: dict[str, Array] = {"data": self.data}
        metadata = {"storage": self.storage}
        if self.scales is not None:
            arrays["scales"] = self.scales
        if self.encoder is not None:
            arrays.update(self.encoder.to_tensors())
            metadata.update(self.encoder.to_metadata())
        save_container(path, arrays, kind=_KIND, metadata=metadata)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> EmbeddingCache:
        """Open a file that :meth:`save` wrote, by memory map.

        Parameters
        ----------
        path : path-like

        Returns
        -------
        EmbeddingCache

        Raises
        ------
        FormatError
            If the file is damaged, or is something else.
        """
        file = load_container(path, kind=_KIND)
        storage = file.value("storage")
        types: dict[str, type] = {
            "float32": np.float32, "float16": np.float16, "int8": np.int8, "iiq": np.uint8,
        }  # fmt: skip
        if storage not in types:
            raise FormatError(f"{file.path}: unknown storage {storage!r}")
        data = file.tensor("data", (types[storage],), 2)
        scales = file.tensor("scales", (np.float32,), 1) if storage == "int8" else None
        if scales is not None and len(scales) != data.shape[1]:
            raise FormatError(f"{file.path}: {len(scales)} scales for {data.shape[1]} dimensions")
        encoder = Encoder.from_container(file) if storage == "iiq" else None
        if encoder is not None and data.shape[1] != -(-encoder.n_bits // 8):
            raise FormatError(f"{file.path}: {data.shape[1]} bytes a row, {encoder.n_bits} bits")
        return cls(storage, data, scales=scales, encoder=encoder)


def storage_report(
    Z: npt.ArrayLike,
    y: npt.ArrayLike | None = None,
    *,
    storages: tuple[str, ...] = STORAGES,
    cv: int = 3,
    random_state: Any = 0,
) -> list[dict[str, Any]]:
    """Measure what each storage of embeddings costs in accuracy, and saves in bytes.

    Parameters
    ----------
    Z : array-like of shape (n, d)
    y : array-like of shape (n,), optional
        Then a logistic regression is trained on decoded rows, and tested on exact ones.
    storages : tuple of str
    cv : int, default 3
        Folds.
    random_state : int or None, default 0

    Returns
    -------
    list of dict
        ``storage``, ``bytes_per_row`` (without what all rows share), ``error`` (squared error of
        decoded rows over their variance), ``cosine`` (mean with the exact rows), and with labels
        ``accuracy``.
    """
    rows = checked_rows(Z)
    centred = rows - rows.mean(axis=0)
    variance = float(np.square(centred, dtype=np.float64).sum()) or 1.0
    report = []
    for storage in storages:
        cache = EmbeddingCache.encode(rows, storage, random_state=random_state)
        decoded = np.asarray(cache)
        lengths = np.linalg.norm(decoded, axis=1) * np.linalg.norm(rows, axis=1)
        products = np.einsum("ij,ij->i", decoded, rows)
        entry: dict[str, Any] = {
            "storage": storage,
            "bytes_per_row": cache.data.nbytes / len(rows),
            "error": float(np.square(decoded - rows, dtype=np.float64).sum()) / variance,
            "cosine": float((products / np.where(lengths > 0, lengths, 1)).mean()),
        }
        if y is not None:
            entry["accuracy"] = _probe(rows, decoded, np.asarray(y), cv, random_state)
        report.append(entry)
    return report


def _probe(rows: Floats, decoded: Floats, y: Array, cv: int, random_state: Any) -> float:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    check_consistent_length(rows, y)
    folds = StratifiedKFold(cv, shuffle=True, random_state=random_state)
    scores = []
    for train, test in folds.split(rows, y):
        probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        scores.append(probe.fit(decoded[train], y[train]).score(rows[test], y[test]))
    return float(np.mean(scores))
