"""What FAISS offers at the same number of bytes: ITQ, product quantizers, RaBitQ and EDEN.

All of them see rows of length 1, as in a search by cosine, and give back decoded rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import process_time
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from embcompress.encoder import Encoder
from embcompress.quantizers._encoders import fit_encoder
from embcompress.quantizers._moments import moments, prepared_rows, principal_directions
from embcompress.quantizers.baselines import random_rotation
from embcompress.quantizers.itq import sample_rows
from embcompress.row_lengths import row_lengths, unit_rows

__all__ = ["Decoded", "FaissITQ", "product_codes", "rotated_index_codes"]

Matrix = npt.NDArray[np.float32]

_CENTROIDS = 256  # one byte names one of them
# Rows that levels and decoders are fitted on.
_FIT_ROWS = 20_000
# The rotation of OPQ is learned on fewer rows and in fewer steps than by default in FAISS (65,536
# rows, 50 steps after 40 of the first clustering), which would take minutes.
_OPQ_ROWS, _OPQ_STEPS = 4_096, 10


@dataclass(frozen=True, eq=False)
class Decoded:
    """Rows as their codes give them back, and what that cost.

    Attributes
    ----------
    rows : ndarray of float32, shape (n, d)
    bytes_per_vector : int
        Code and per-vector factors.
    overhead_bytes : int
        Codebooks, means and matrices.
    fit_seconds, encode_seconds : float
        CPU time of the process.
    """

    rows: Matrix
    bytes_per_vector: int
    overhead_bytes: int
    fit_seconds: float
    encode_seconds: float


class FaissITQ:
    """ITQ in the manner of FAISS: centre, scale rows to length 1, PCA, rotation.

    A row's length does not change the signs of its scores, so the encoder leaves it out.

    Parameters
    ----------
    n_bits : int
        At most the number of features.
    seed : int
        Of the first rotation.

    Attributes
    ----------
    encoder_ : Encoder
    """

    encoder_: Encoder

    def __init__(self, n_bits: int, seed: int) -> None:
        self.n_bits = n_bits
        self.seed = seed

    def fit(self, X: npt.ArrayLike) -> FaissITQ:
        """Learn from rows.

        Parameters
        ----------
        X : array-like of shape (n, d)

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If there are more bits than features.
        """
        rows = np.ascontiguousarray(X, dtype=np.float32)
        n_features = rows.shape[1]
        if self.n_bits > n_features:
            raise ValueError(
                f"faiss-itq makes at most one bit per feature: n_bits={self.n_bits} exceeds "
                f"the {n_features} features"
            )
        transform: Any = faiss.ITQTransform(n_features, self.n_bits, True)
        transform.itq.seed = self.seed
        transform.train(rows)
        mean = faiss.vector_to_array(transform.mean)
        matrix = faiss.vector_to_array(transform.pca_then_itq.A).reshape(self.n_bits, n_features)
        sample = rows[:: max(1, len(rows) // _FIT_ROWS)] - mean
        projection = np.ascontiguousarray(matrix.T)
        self.encoder_ = fit_encoder(sample, mean, projection, orthonormal=False)
        return self


def product_codes(X: Matrix, n_bytes: int, seed: int, *, rotate: bool) -> Decoded:
    """Product quantization, one byte per subvector, after an optimized rotation on request.

    Jegou et al., "Product quantization for nearest neighbor search", TPAMI 2011; Ge et al.,
    "Optimized product quantization", CVPR 2013. Zeros are appended where `n_bytes` does not
    divide the number of features.

    Parameters
    ----------
    X : ndarray of float32, shape (n, d)
    n_bytes : int
        Bytes of a code.
    seed : int
    rotate : bool
        Whether the rotation is learned (OPQ).

    Returns
    -------
    Decoded

    Raises
    ------
    ValueError
        If there are fewer rows than centroids.
    """
    if len(X) < _CENTROIDS:
        raise ValueError(
            f"a product quantizer learns {_CENTROIDS} centroids for each byte and needs as many "
            f"rows; there are {len(X)}"
        )
    d = X.shape[1]
    padded = n_bytes * -(-d // n_bytes)
    start = process_time()
    unit, length = unit_rows(X), float(row_lengths(X).mean())
    matrix = np.eye(d, padded, dtype=np.float32)
    if rotate:
        matrix = _optimized_rotation(unit, n_bytes, padded, seed)
    rows = np.ascontiguousarray(unit @ matrix)
    quantizer: Any = faiss.ProductQuantizer(padded, n_bytes, 8)
    _seed_clustering(quantizer.cp, seed)
    quantizer.train(rows)
    fitted = process_time()
    codes = quantizer.compute_codes(rows)
    encoded = process_time()
    stored = 4 * (_CENTROIDS * padded + (matrix.size if rotate else 0) + 1)
    decoded = length * (quantizer.decode(codes) @ matrix.T)
    return Decoded(decoded, codes.shape[1], stored, fitted - start, encoded - fitted)


def _optimized_rotation(unit: Matrix, n_bytes: int, padded: int, seed: int) -> Matrix:
    """Matrix of shape (d, padded) with orthonormal rows."""
    d = unit.shape[1]
    random = np.random.RandomState(seed)
    # FAISS starts from one fixed rotation; turning the rows first starts it elsewhere
    first = random_rotation(d, random).astype(np.float32)
    sample = unit[sample_rows(len(unit), _OPQ_ROWS, random)] @ first
    transform: Any = faiss.OPQMatrix(d, n_bytes, padded)
    transform.niter = transform.niter_pq_0 = _OPQ_STEPS
    pq: Any = faiss.ProductQuantizer(padded, n_bytes, 8)
    _seed_clustering(pq.cp, seed)
    transform.pq = pq
    transform.train(np.ascontiguousarray(sample))
    return first @ faiss.vector_to_array(transform.A).reshape(padded, d).T


def _seed_clustering(parameters: Any, seed: int) -> None:
    parameters.seed = seed + 1  # FAISS takes seeds from 1 on
    parameters.min_points_per_centroid = 1  # no warning on standard error for few rows


def rotated_index_codes(X: Matrix, n_bits: int, seed: int, factory: str) -> Decoded:
    """One bit per rotated direction with per-vector factors, by an index of FAISS.

    RaBitQ: Gao and Long, SIGMOD 2024. EDEN: Vargaftik et al., ICML 2022. FAISS rotates for
    neither, so the principal directions are rotated at random here: all of them, or the top
    `n_bits`; with more bits than features, zeros are appended first.

    Parameters
    ----------
    X : ndarray of float32, shape (n, d)
    n_bits : int
        Bits without the factors of 8 bytes.
    seed : int
    factory : str
        Index description of FAISS, such as ``"RaBitQ"``.

    Returns
    -------
    Decoded

    Raises
    ------
    ValueError
        If the installed FAISS does not know the index.
    """
    start = process_time()
    index = _make_index(n_bits, factory)
    found = moments(X, normalize=True)
    _, directions = principal_directions(found.covariance)
    turn = random_rotation(n_bits, np.random.RandomState(seed))[: min(n_bits, X.shape[1])]
    matrix = (directions[:n_bits].T @ turn).astype(np.float32)
    rows = np.ascontiguousarray(prepared_rows(X, found.mean, normalize=True) @ matrix)
    index.train(rows)
    fitted = process_time()
    codes = index.sa_encode(rows)
    encoded = process_time()
    decoded = index.sa_decode(codes) @ matrix.T + found.mean.astype(np.float32)
    decoded *= np.float32(found.mean_length)
    # the mean, the centre that the index subtracts, the matrix, the mean length
    stored = 4 * (X.shape[1] + n_bits + matrix.size + 1)
    return Decoded(decoded, codes.shape[1], stored, fitted - start, encoded - fitted)


def _make_index(n_dimensions: int, factory: str) -> Any:
    try:
        return faiss.index_factory(n_dimensions, factory, faiss.METRIC_L2)
    except RuntimeError as error:
        raise ValueError(
            f"FAISS {faiss.__version__} has no {factory} index; version 1.15 does"
        ) from error
