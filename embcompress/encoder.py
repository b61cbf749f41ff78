"""The map from real vectors to codes and back, as plain arrays.

Every quantizer learns one of these. It is what a compressed file carries so that new vectors can
be encoded, and codes decoded, without the quantizer that made them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from embcompress.codes import check_codes, code_bytes, pack_bits, unpack_bits, unpack_signs
from embcompress.container import Container, FormatError
from embcompress.norms import lengths_and_unit_rows, plain_lengths, row_lengths, unit_rows

__all__ = ["Encoder", "cut_scores", "lengths_and_unit_rows", "row_lengths", "unit_rows"]

Floats = npt.NDArray[np.floating]

# Rows per step: the temporaries of a 300-d encoder stay in the caches.
_CHUNK_ROWS = 2_048


@dataclass(frozen=True, eq=False)
class Encoder:
    """Affine scores, cut to one or two bits each, and the way back.

    ``scores = prepare(x) @ projection - thresholds``. ``prepare`` scales rows to length 1 if
    `normalize`, then subtracts `mean`. Each score has a first bit, 1 where it is at least 0. The
    scores of the first ``n_bits - n_directions`` directions have a second bit too. A code stands
    for one whole number per direction, by which codes are compared:

    - one bit: -1 or 1 (-2 or 2 if other directions of the code have two bits);
    - two bits: -3, -1, 1 or 3, where 3 is for scores whose size is at least the root mean square
      of the scores of the row. The number is ``2 s + t`` with the signs s and t (-1 or 1) of the
      two bits, so every sum over numbers is a sum over bits.

    A code holds all first bits, then all second bits. To decode, each number is replaced by the
    mean score that stands behind it, and these are mapped back by `decoder`.

    Attributes
    ----------
    n_bits : int
    mean : ndarray of shape (n_features,)
        In the space of the prepared rows.
    projection : ndarray of shape (n_features, n_directions), or None
        None is the identity (n_directions = n_features).
    thresholds : ndarray of shape (n_directions,)
    levels : ndarray of shape (2, n_directions), or (4, n_directions) with second bits
        Mean of ``prepare(x) @ projection`` over the rows with each number, in ascending order.
    decoder : ndarray of shape (n_directions, n_features), or None
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
    def n_directions(self) -> int:
        """Number of scores of a row."""
        return len(self.thresholds)

    @property
    def n_second(self) -> int:
        """Number of directions, the first ones, that have a second bit."""
        return self.n_bits - self.n_directions

    @property
    def n_features(self) -> int:
        """Number of dimensions of the vectors."""
        return len(self.mean)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays as they are stored (float32)."""
        return sum(array.nbytes for array in self.to_tensors().values())

    @cached_property
    def offset(self) -> Floats:
        """Centring and thresholds in one vector: scores are ``x @ projection - offset``."""
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
        scores : ndarray of shape (n, n_directions), dtype of `X`
        """
        return self._project(X, np.empty((len(X), self.n_directions), dtype=X.dtype))

    def _project(self, X: Floats, out: Floats) -> Floats:
        """Scores of rows, in `out`."""
        lengths = plain_lengths(X) if self.normalize else None
        if self.normalize and lengths is None:
            X = unit_rows(X)
        if self.projection is None:
            out[:] = X
        else:
            np.matmul(X, self.projection.astype(X.dtype, copy=False), out=out)
        if lengths is not None:  # scaling the scores is cheaper than scaling a copy of the rows
            out *= (1 / lengths)[:, None]
        out -= self.offset.astype(X.dtype, copy=False)
        return out

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
        starts = range(0, len(X), _CHUNK_ROWS)
        pieces = (X[start : start + _CHUNK_ROWS] for start in starts)
        for start, part in zip(starts, self.encode_pieces(pieces), strict=True):
            codes[start : start + len(part)] = part
        return codes

    def encode_pieces(self, pieces: Iterable[Floats]) -> Iterator[npt.NDArray[np.uint8]]:
        """Packed codes of rows that come in pieces of a few thousand.

        Parameters
        ----------
        pieces : iterable of ndarray of shape (m, n_features)

        Yields
        ------
        codes : ndarray of uint8, shape (m, ceil(n_bits / 8))
        """
        # one piece of memory for all: a new one each time costs half as much as the product where
        # memory is given back at once, as on the workers of Dask
        scores = np.empty((0, self.n_directions))
        for X in pieces:
            if len(scores) < len(X) or scores.dtype != X.dtype:
                scores = np.empty((len(X), self.n_directions), dtype=X.dtype)
                signs = np.empty(scores.shape, dtype=np.bool_)
            found = self._project(X, scores[: len(X)])
            if self.n_second:
                yield self.cut(found)
            else:
                yield pack_bits(np.greater_equal(found, 0, out=signs[: len(X)]))

    def cut(self, scores: Floats) -> npt.NDArray[np.uint8]:
        """Packed codes of scores; a positive factor on a row of scores changes nothing.

        Parameters
        ----------
        scores : ndarray of shape (n, n_directions)

        Returns
        -------
        codes : ndarray of uint8, shape (n, ceil(n_bits / 8))
        """
        return cut_scores(scores, self.n_second)

    def values(self, codes: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Whole numbers that codes stand for, by which they are compared.

        Parameters
        ----------
        codes : array-like of uint8, shape (n, ceil(n_bits / 8))

        Returns
        -------
        values : ndarray of float32, shape (n, n_directions)
            -1 or 1; with second bits -3, -1, 1 or 3, and -2 or 2 in directions without one.
        """
        signs = unpack_signs(codes, self.n_bits)
        if not self.n_second:
            return signs
        values = 2 * signs[:, : self.n_directions]
        values[:, : self.n_second] += signs[:, self.n_directions :]
        return values

    def per_bit(self, queries: Floats) -> Floats:
        """Queries for functions that score single bits, such as ``codes.asymmetric_scores``.

        ``per_bit(queries) @ unpack_signs(codes).T`` is ``queries @ values(codes).T``.

        Parameters
        ----------
        queries : ndarray of shape (n, n_directions)

        Returns
        -------
        ndarray of shape (n, n_bits), dtype of `queries`
        """
        if not self.n_second:
            return queries
        return np.concatenate([2 * queries, queries[:, : self.n_second]], axis=1)

    def value_lengths(self, codes: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Euclidean lengths of :meth:`values`.

        Parameters
        ----------
        codes : array-like of uint8, shape (n, ceil(n_bits / 8))

        Returns
        -------
        ndarray of float32, shape (n,)
        """
        codes = check_codes(codes, self.n_bits)
        n_single = self.n_directions - self.n_second
        if not self.n_second:
            return np.full(len(codes), np.sqrt(np.float32(n_single)))
        # a number is large where its two bits are equal
        n_large = self.n_second - self._count_unequal(codes)
        return np.sqrt((self.n_second + 8 * n_large + 4 * n_single).astype(np.float32))

    def _count_unequal(self, codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        """Directions whose two bits differ, counted on whole bytes."""
        width = code_bytes(self.n_second)
        start, shift = divmod(self.n_directions, 8)
        # the second bits, moved to where the first bits are
        second = codes[:, start : start + width] << shift
        rest = codes[:, start + 1 : start + 1 + width] >> (8 - shift)
        second[:, : rest.shape[1]] |= rest
        unequal = codes[:, :width] ^ second
        unequal[:, -1] &= np.uint8(0xFF << (8 * width - self.n_second) & 0xFF)
        return np.bitwise_count(unequal).sum(axis=1, dtype=np.int64)

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
        ndarray of float32, shape (n, n_directions)
        """
        levels = self.levels.astype(np.float32)
        bits = unpack_bits(codes, self.n_bits).view(np.bool_)
        if not self.n_second:
            return np.where(bits, levels[1], levels[0])
        first, second = bits[:, : self.n_directions], np.zeros_like(bits[:, : self.n_directions])
        second[:, : self.n_second] = bits[:, self.n_directions :]
        return np.where(
            first,
            np.where(second, levels[3], levels[2]),
            np.where(second, levels[1], levels[0]),
        )

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
            **({"n_directions": str(self.n_directions)} if self.n_second else {}),
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
        n_directions = n_bits
        if "n_directions" in container.metadata:
            n_directions = container.integer("n_directions")
            if not n_directions < n_bits <= 2 * n_directions:
                raise FormatError(
                    f"{container.path}: n_directions={n_directions} with n_bits={n_bits}; each "
                    "direction has one bit or two, and one of them two"
                )
        shapes = {
            "encoder_mean": (n_features,),
            "encoder_projection": (n_features, n_directions),
            "encoder_thresholds": (n_directions,),
            "encoder_levels": (2 if n_directions == n_bits else 4, n_directions),
            "encoder_decoder": (n_directions, n_features),
        }
        optional = {"encoder_decoder"}
        if n_directions == n_features:
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


def cut_scores(scores: Floats, n_second: int = 0) -> npt.NDArray[np.uint8]:
    """Packed codes of scores, as :class:`Encoder` describes them.

    Parameters
    ----------
    scores : ndarray of shape (n, n_directions)
    n_second : int
        Number of directions, the first ones, that get a second bit.

    Returns
    -------
    codes : ndarray of uint8, shape (n, ceil((n_directions + n_second) / 8))
    """
    first = scores >= 0
    if not n_second:
        return pack_bits(first)
    mean_square = np.einsum("ij,ij->i", scores, scores) / scores.shape[1]
    large = np.abs(scores[:, :n_second]) >= np.sqrt(mean_square)[:, None]
    return pack_bits(np.concatenate([first, large == first[:, :n_second]], axis=1))
