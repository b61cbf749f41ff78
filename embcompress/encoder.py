"""The map from real vectors to codes and back, as plain arrays.

Every quantizer learns one of these. It is what a compressed file carries so that new vectors can
be encoded, and codes decoded, without the quantizer that made them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from embcompress.codes import check_codes, code_bytes, pack_bits, unpack_bits, unpack_signs
from embcompress.container import Container, FormatError

__all__ = ["Encoder", "fit_decoder", "fit_encoder", "fit_levels", "row_lengths", "unit_rows"]

Floats = npt.NDArray[np.floating]

# Rows per step: the temporaries of a 300-d encoder stay near 20 MB.
_CHUNK_ROWS = 8_192


@dataclass(frozen=True, eq=False)
class Encoder:
    """Affine scores, their signs, and the way back.

    ``scores = prepare(x) @ projection - thresholds``; bit = 1 where a score is at least 0.
    ``prepare`` scales rows to length 1 if `normalize`, then subtracts `mean`. A code is decoded
    by the mean score of each bit's two sides, mapped back by `decoder`.

    Attributes
    ----------
    n_bits : int
    mean : ndarray of shape (n_features,)
        In the space of the prepared rows.
    projection : ndarray of shape (n_features, n_bits), or None
        None is the identity (n_bits = n_features).
    thresholds : ndarray of shape (n_bits,)
    levels : ndarray of shape (2, n_bits)
        Mean of ``prepare(x) @ projection`` over the rows whose bit is 0, and over those with 1.
    decoder : ndarray of shape (n_bits, n_features), or None
        None is the transposed projection, right where its columns are orthonormal.
    normalize : bool
        Whether rows are scaled to length 1 first.
    scale : float
        Typical length of the rows where they are normalized, else 1; decoding restores it.
    """

    n_bits: int
    mean: Floats
    projection: Floats | None
    thresholds: Floats
    levels: Floats
    decoder: Floats | None = None
    normalize: bool = False
    scale: float = 1.0

    @property
    def n_features(self) -> int:
        """Number of dimensions of the vectors."""
        return len(self.mean)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays as they are stored (float32)."""
        return sum(array.nbytes for array in self.to_tensors().values())

    @cached_property
    def _offset(self) -> Floats:
        # folds centring and thresholds into one vector: scores = x @ projection - offset
        centre = self.mean if self.projection is None else self.mean @ self.projection
        return centre + self.thresholds

    def project(self, X: Floats) -> Floats:
        """Scores of rows before they are cut to bits.

        Parameters
        ----------
        X : ndarray of shape (n, n_features)
            float32 or float64, finite.

        Returns
        -------
        scores : ndarray of shape (n, n_bits), dtype of `X`
        """
        lengths = _plain_lengths(X) if self.normalize else None
        if self.normalize and lengths is None:
            X = unit_rows(X)
        scores = X if self.projection is None else X @ self.projection.astype(X.dtype, copy=False)
        if lengths is not None:  # scaling the scores is cheaper than scaling a copy of the rows
            scores = scores * (1 / lengths)[:, None]
        return scores - self._offset.astype(X.dtype, copy=False)

    def encode(self, X: Floats) -> npt.NDArray[np.uint8]:
        """Packed codes of rows.

        Parameters
        ----------
        X : ndarray of shape (n, n_features)

        Returns
        -------
        codes : ndarray of uint8, shape (n, ceil(n_bits / 8))
        """
        codes = np.empty((len(X), code_bytes(self.n_bits)), dtype=np.uint8)
        for start in range(0, len(X), _CHUNK_ROWS):
            part = slice(start, start + _CHUNK_ROWS)
            codes[part] = pack_bits(self.project(X[part]) >= 0)
        return codes

    def decode(self, codes: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Vectors that codes stand for.

        Parameters
        ----------
        codes : array-like of uint8, shape (n, ceil(n_bits / 8))

        Returns
        -------
        X : ndarray of float32, shape (n, n_features)

        Raises
        ------
        TypeError, ValueError
            If `codes` are not codes of `n_bits` bits.
        """
        codes = check_codes(codes, self.n_bits)
        decoder = self._decoder
        out = np.empty((len(codes), self.n_features), dtype=np.float32)
        for start in range(0, len(codes), _CHUNK_ROWS):
            part = slice(start, start + _CHUNK_ROWS)
            values = self.decode_scores(codes[part])
            out[part] = values if decoder is None else values @ decoder
            out[part] += self.mean.astype(np.float32)
        if self.scale != 1:
            out *= np.float32(self.scale)
        return out

    def decode_scores(self, codes: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Projections that codes stand for, before they are mapped back.

        Parameters
        ----------
        codes : array-like of uint8, shape (n, ceil(n_bits / 8))

        Returns
        -------
        ndarray of float32, shape (n, n_bits)
        """
        low, high = self.levels.astype(np.float32)
        return np.where(unpack_bits(codes, self.n_bits).view(np.bool_), high, low)

    @property
    def _decoder(self) -> npt.NDArray[np.float32] | None:
        if self.decoder is not None:
            return self.decoder.astype(np.float32, copy=False)
        return None if self.projection is None else self.projection.T.astype(np.float32, copy=False)

    def to_tensors(self) -> dict[str, npt.NDArray]:
        """Arrays to store, named ``encoder_...``, in float32."""
        arrays = {
            "encoder_mean": self.mean,
            "encoder_projection": self.projection,
            "encoder_thresholds": self.thresholds,
            "encoder_levels": self.levels,
            "encoder_decoder": self.decoder,
        }
        return {
            name: array.astype(np.float32) for name, array in arrays.items() if array is not None
        }

    def to_metadata(self) -> dict[str, str]:
        """Header entries to store."""
        return {
            "n_bits": str(self.n_bits),
            "n_features": str(self.n_features),
            "encoder_normalize": "true" if self.normalize else "false",
            "encoder_scale": repr(float(self.scale)),
        }

    @classmethod
    def from_container(cls, container: Container) -> Encoder:
        """Read an encoder back from an opened file.

        Parameters
        ----------
        container : Container

        Returns
        -------
        Encoder

        Raises
        ------
        FormatError
            If an array is missing or its shape does not fit.
        """
        n_bits, n_features = container.integer("n_bits"), container.integer("n_features")
        if n_bits < 1 or n_features < 1:
            raise FormatError(
                f"{container.path}: n_bits={n_bits}, n_features={n_features}; both are at least 1"
            )
        shapes = {
            "encoder_mean": (n_features,),
            "encoder_projection": (n_features, n_bits),
            "encoder_thresholds": (n_bits,),
            "encoder_levels": (2, n_bits),
            "encoder_decoder": (n_bits, n_features),
        }
        optional = {"encoder_decoder"}
        if n_bits == n_features:
            optional.add("encoder_projection")
        arrays = _arrays(container, shapes, optional)
        try:
            scale = float(container.value("encoder_scale"))
        except ValueError as error:
            raise FormatError(f"{container.path}: encoder_scale is not a number") from error
        return cls(
            n_bits=n_bits,
            mean=arrays["encoder_mean"],
            projection=arrays.get("encoder_projection"),
            thresholds=arrays["encoder_thresholds"],
            levels=arrays["encoder_levels"],
            decoder=arrays.get("encoder_decoder"),
            normalize=container.value("encoder_normalize") == "true",
            scale=scale,
        )


def _arrays(
    container: Container, shapes: Mapping[str, tuple[int, ...]], optional: set[str]
) -> dict[str, npt.NDArray]:
    arrays = {}
    for name, shape in shapes.items():
        if name in optional and name not in container.tensors:
            continue
        array = container.tensor(name, (np.float32,), len(shape))
        if array.shape != shape:
            raise FormatError(
                f"{container.path}: array {name!r} has shape {array.shape}, expected {shape}"
            )
        arrays[name] = array
    return arrays


def unit_rows(X: Floats) -> Floats:
    """Rows scaled to length 1; rows of zeros stay zero.

    Parameters
    ----------
    X : ndarray of shape (n, d)

    Returns
    -------
    ndarray of shape (n, d), dtype of `X`
    """
    lengths = _plain_lengths(X)
    if lengths is not None:
        return X * (1 / lengths)[:, None]
    # dividing by the largest entry first keeps squares of huge and tiny values in range
    peak = np.abs(X).max(axis=1, keepdims=True, initial=0)
    scaled = X / np.where(peak > 0, peak, 1)
    norms = np.sqrt(np.einsum("ij,ij->i", scaled, scaled))[:, None]
    return scaled / np.where(norms > 0, norms, 1)


def row_lengths(X: Floats) -> Floats:
    """Euclidean lengths of rows, also where their squares are out of range.

    Parameters
    ----------
    X : ndarray of shape (n, d)

    Returns
    -------
    ndarray of shape (n,), dtype of `X`
    """
    lengths = _plain_lengths(X)
    if lengths is None:
        peak = np.abs(X).max(axis=1, keepdims=True, initial=0)
        scaled = X / np.where(peak > 0, peak, 1)
        lengths = np.sqrt(np.einsum("ij,ij->i", scaled, scaled)) * peak[:, 0]
    return lengths


def _plain_lengths(X: Floats) -> Floats | None:
    """Lengths of rows; None if a row is zero or a square is near the limits of the data type."""
    with np.errstate(over="ignore"):
        squares = np.einsum("ij,ij->i", X, X)
    limits = np.finfo(X.dtype)
    if len(X) and (squares.min() < limits.tiny / limits.eps or squares.max() > limits.max / 4):
        return None
    return np.sqrt(squares)


def fit_encoder(
    rows: Floats,
    mean: Floats,
    projection: Floats,
    *,
    orthonormal: bool,
    normalize: bool = False,
    scale: float = 1.0,
) -> Encoder:
    """Encoder of a linear map with thresholds 0: its levels, and its way back.

    Parameters
    ----------
    rows : ndarray of shape (n, n_features)
        Prepared (normalized, centred) rows to estimate from.
    mean : ndarray of shape (n_features,)
    projection : ndarray of shape (n_features, n_bits)
    orthonormal : bool
        Whether the columns of `projection` are: then its transpose decodes, and nothing more is
        stored. Otherwise a decoder is fitted by least squares.
    normalize, scale
        As in :class:`Encoder`.

    Returns
    -------
    Encoder
    """
    scores = rows @ projection
    codes = pack_bits(scores >= 0)
    levels = fit_levels(scores, codes)
    return Encoder(
        n_bits=projection.shape[1],
        mean=mean,
        projection=projection,
        thresholds=np.zeros(projection.shape[1]),
        levels=levels,
        decoder=None if orthonormal else fit_decoder(rows, codes, levels),
        normalize=normalize,
        scale=scale,
    )


def fit_levels(scores: Floats, codes: npt.NDArray[np.uint8]) -> Floats:
    """Mean score of the rows on each side of every bit (two-level Lloyd-Max).

    Parameters
    ----------
    scores : ndarray of shape (n, n_bits)
        ``prepare(x) @ projection``.
    codes : ndarray of uint8, shape (n, ceil(n_bits / 8))

    Returns
    -------
    levels : ndarray of shape (2, n_bits)
        A side without rows gets the mean of all rows.
    """
    bits = unpack_bits(codes, scores.shape[1]).view(np.bool_)
    n_high = bits.sum(axis=0)
    n_low = len(bits) - n_high
    total = scores.sum(axis=0, dtype=np.float64)
    high = np.where(bits, scores, 0).sum(axis=0, dtype=np.float64)
    mean = total / len(bits)
    return np.stack(
        [
            np.where(n_low > 0, (total - high) / np.maximum(n_low, 1), mean),
            np.where(n_high > 0, high / np.maximum(n_high, 1), mean),
        ]
    )


def fit_decoder(X: Floats, codes: npt.NDArray[np.uint8], levels: Floats) -> Floats:
    """Least-squares map from decoded scores back to rows.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
        Prepared (normalized, centred) rows.
    codes : ndarray of uint8, shape (n, ceil(n_bits / 8))
    levels : ndarray of shape (2, n_bits)

    Returns
    -------
    decoder : ndarray of shape (n_bits, n_features)
    """
    n_bits = levels.shape[1]
    half_gap = (levels[1] - levels[0]) / 2
    values = unpack_signs(codes, n_bits, X.dtype) * half_gap.astype(X.dtype)
    values += levels.mean(axis=0).astype(X.dtype)
    gram = (values.T @ values).astype(np.float64)
    # a ridge of 1e-3 of the mean energy: bits may repeat one another
    gram[np.diag_indices_from(gram)] += 1e-3 * max(np.trace(gram) / n_bits, 1e-30)
    return np.linalg.solve(gram, (values.T @ X).astype(np.float64))
