"""The methods that the benchmark compares, each made for a number of bits and a seed.

All are given the same bytes: a method with `n_bits` stores ``ceil(n_bits / 8)`` bytes per word.
Where a method cannot be cut to size (float vectors; RaBitQ and EDEN with their factors),
:attr:`Compressed.bytes_per_vector` says what it really takes.

Examples
--------
>>> import numpy as np
>>> from embcompress import KeyedVectors
>>> from embcompress.evaluation.methods import METHODS
>>> words = [f"w{i}" for i in range(300)]
>>> kv = KeyedVectors(words, np.random.default_rng(0).normal(size=(300, 64)))
>>> made = METHODS["iiq"].make(kv, 64, 0)
>>> made.scorings, made.bytes_per_vector, made.decoded.shape
(('hamming', 'asymmetric'), 8.0, (300, 64))
>>> made.space("asymmetric").name
'iiq asymmetric'
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import process_time
from typing import Any

import numpy as np
import numpy.typing as npt

from embcompress.codes import code_bytes
from embcompress.compressed import CompressedVectors
from embcompress.evaluation.space import Space, space_of
from embcompress.fitted import Quantizer, learned
from embcompress.quantizers import IIQ, ITQ, LSH, PCASign, Sign
from embcompress.quantizers._moments import moments, prepared_rows, principal_directions
from embcompress.quantizers._spectrum import choose_n_remove
from embcompress.quantizers.itq import sample_rows
from embcompress.row_lengths import unit_rows
from embcompress.vectors import KeyedVectors

__all__ = ["METHODS", "Compressed", "MethodSpec", "find_methods"]

Matrix = npt.NDArray[np.float32]
Make = Callable[[KeyedVectors, int, int], "Compressed"]

_FIT_ROWS = 20_000


@dataclass(frozen=True, eq=False)
class Compressed:
    """Vectors that a method has compressed, and what it took.

    Attributes
    ----------
    name : str
        Name of the method.
    space : callable
        ``space(scoring) -> Space``, for each of `scorings`.
    scorings : tuple of str
        Ways in which words can be compared, the plainest first. ``"float"``: cosine of real
        values. ``"hamming"``: of codes. ``"decoded"``: cosine of decoded vectors.
        ``"asymmetric"``: float queries against what is stored.
    decoded : ndarray of float32, shape (n, d)
        The vectors that are stored, as real values.
    code_bytes : int
        Bytes of all words together: codes and whatever else is stored for each word.
    overhead_bytes : int
        Bytes that do not grow with the words: codebooks, matrices, means.
    fit_seconds, encode_seconds : float
        CPU time of the process.
    info : dict of str to float
        What else is worth a column, such as ``n_removed``.
    """

    name: str
    space: Callable[[str], Space]
    scorings: tuple[str, ...]
    decoded: Matrix
    code_bytes: int
    overhead_bytes: int
    fit_seconds: float
    encode_seconds: float
    info: dict[str, float] = field(default_factory=dict)

    @property
    def bytes_per_vector(self) -> float:
        """Bytes that one more word takes."""
        return self.code_bytes / max(len(self.decoded), 1)

    @property
    def total_bytes(self) -> int:
        """Bytes of everything."""
        return self.code_bytes + self.overhead_bytes


@dataclass(frozen=True)
class MethodSpec:
    """A method by name.

    Attributes
    ----------
    name : str
    describe : str
        One line for a table.
    make : callable
        ``make(vectors, n_bits, seed) -> Compressed``. Raises ValueError where the method has no
        form with so many bits, and MissingExtraError where a package is missing.
    randomized : bool
        Whether another seed gives another result.
    """

    name: str
    describe: str
    make: Make
    randomized: bool = True


def find_methods(names: Sequence[str]) -> list[MethodSpec]:
    """Methods by their names.

    Parameters
    ----------
    names : sequence of str

    Returns
    -------
    list of MethodSpec

    Raises
    ------
    ValueError
        If there is no such method; the message lists those that there are.
    """
    for name in names:
        if name not in METHODS:
            raise ValueError(f"there is no method {name!r}; allowed: {', '.join(METHODS)}")
    return [METHODS[name] for name in names]


def _from_quantizer(
    name: str,
    quantizer: Callable[[int, int], Quantizer],
    vectors: KeyedVectors,
    n_bits: int,
    seed: int,
) -> Compressed:
    """Compress with a quantizer: packed codes, compared by Hamming distance or asymmetrically."""
    made = quantizer(n_bits, seed)
    start = process_time()
    made.fit(vectors.vectors)
    fitted = process_time()
    small = CompressedVectors.encode(vectors, made)
    encoded = process_time()

    def space(scoring: str) -> Space:
        floats = vectors if scoring == "asymmetric" else None
        return space_of(small, scoring=scoring, floats=floats, name=f"{name} {scoring}")

    return Compressed(
        name=name,
        space=space,
        scorings=("hamming", "asymmetric"),
        decoded=small.encoder.decode(small.codes),
        code_bytes=small.codes.nbytes,
        overhead_bytes=small.encoder.nbytes,
        fit_seconds=fitted - start,
        encode_seconds=encoded - fitted,
        info=learned(made),
    )


def _sign(threshold: str, vectors: KeyedVectors, n_bits: int, seed: int) -> Compressed:
    name = "sign" if threshold == "zero" else f"sign-{threshold}"
    if n_bits != vectors.vector_size:
        raise ValueError(
            f"{name} makes one bit per feature: n_bits={n_bits} was asked for, "
            f"{vectors.vector_size} is possible"
        )
    return _from_quantizer(name, lambda n_bits, seed: Sign(threshold), vectors, n_bits, seed)


def _faiss_itq(n_bits: int, seed: int) -> Quantizer:
    from embcompress.evaluation.methods_faiss import FaissITQ

    return FaissITQ(n_bits, seed)


def _nlb(n_bits: int, seed: int) -> Quantizer:
    from embcompress.quantizers.nlb import NLB

    return NLB(n_bits, random_state=seed)


def _from_rows(
    name: str,
    vectors: KeyedVectors,
    decoded: Matrix,
    *,
    scorings: tuple[str, ...] = ("decoded", "asymmetric"),
    asking: Matrix | None = None,
    **cost: Any,
) -> Compressed:
    """Decoded rows, compared by cosine with one another or with the float vectors (`asking`)."""

    def space(scoring: str) -> Space:
        if scoring not in scorings:
            raise ValueError(f"scoring={scoring!r}; {name} allows: {', '.join(scorings)}")
        rows = unit_rows(decoded)
        floats = vectors.vectors if asking is None else asking
        queries = unit_rows(floats) if scoring == "asymmetric" else rows
        label = name if scoring == "float" else f"{name} {scoring}"
        return Space(vectors.index_to_key, rows, queries, label)

    return Compressed(name=name, space=space, scorings=scorings, decoded=decoded, **cost)


def _float(vectors: KeyedVectors, n_bits: int, seed: int) -> Compressed:
    rows = vectors.vectors.astype(np.float32, copy=False)
    return _from_rows(
        "float",
        vectors,
        rows,
        scorings=("float",),
        code_bytes=rows.nbytes,
        overhead_bytes=0,
        fit_seconds=0.0,
        encode_seconds=0.0,
    )


def _nulled(X: Matrix, seed: int) -> tuple[Matrix, int]:
    """Unit rows, centred, without the directions that IIQ removes; and how many these are."""
    random = np.random.RandomState(seed)
    found = moments(X, normalize=True)
    variances, directions = principal_directions(found.covariance)
    sample = prepared_rows(X[sample_rows(len(X), _FIT_ROWS, random)], found.mean, normalize=True)
    removed = choose_n_remove(variances, sample @ directions.T.astype(X.dtype), random)
    top = directions[:removed].astype(X.dtype)
    rows = prepared_rows(X, found.mean, normalize=True)
    rows -= rows @ top.T @ top
    return rows.astype(np.float32, copy=False), removed


def _without_top_directions(vectors: KeyedVectors, n_bits: int, seed: int) -> Compressed:
    """All-but-the-top (Mu and Viswanath, ICLR 2018) with as many directions as IIQ removes."""
    start = process_time()
    rows, removed = _nulled(vectors.vectors, seed)
    return _from_rows(
        "float-abtt",
        vectors,
        rows,
        scorings=("float",),
        code_bytes=4 * rows.size,
        overhead_bytes=4 * rows.shape[1] * (1 + removed),
        fit_seconds=process_time() - start,
        encode_seconds=0.0,
        info={"n_removed": float(removed)},
    )


def _pruned(vectors: KeyedVectors, n_bits: int, seed: int) -> Compressed:
    """The largest entries of the matrix as float16, with their columns; the rest is zero."""
    X = vectors.vectors
    n, d = X.shape
    column_bytes = 1 if d <= 256 else 2
    # each row says how many entries it has, in as many bytes as a column takes
    kept = (code_bytes(n_bits) - column_bytes) * n // (2 + column_bytes)
    if kept < 1:
        raise ValueError(
            f"pruned needs {2 + 2 * column_bytes} bytes per word to keep anything: "
            f"n_bits={n_bits} are {code_bytes(n_bits)}"
        )
    start = process_time()
    kept = min(kept, n * d)
    size = np.abs(X).ravel()
    largest = np.argpartition(size, n * d - kept)[n * d - kept :]
    # values are stored as shares of the largest, which no half-precision number overflows
    scale = float(size.max()) or 1.0
    rows = np.zeros(n * d, dtype=np.float32)
    rows[largest] = (X.ravel()[largest] / scale).astype(np.float16).astype(np.float32) * scale
    seconds = process_time() - start
    return _from_rows(
        "pruned",
        vectors,
        rows.reshape(n, d),
        code_bytes=kept * (2 + column_bytes) + n * column_bytes,
        overhead_bytes=4,
        fit_seconds=0.0,
        encode_seconds=seconds,
        info={"density": kept / (n * d)},
    )


def _product(name: str, rotate: bool, vectors: KeyedVectors, n_bits: int, seed: int) -> Compressed:
    from embcompress.evaluation.methods_faiss import product_codes

    X = vectors.vectors.astype(np.float32, copy=False)
    return _from_decoded(name, vectors, product_codes(X, code_bytes(n_bits), seed, rotate=rotate))


def _product_nulled(name: str, vectors: KeyedVectors, n_bits: int, seed: int) -> Compressed:
    """Product quantization of rows prepared as IIQ prepares them."""
    from embcompress.evaluation.methods_faiss import product_codes

    start = process_time()
    rows, removed = _nulled(vectors.vectors, seed)
    seconds = process_time() - start
    found = product_codes(rows, code_bytes(n_bits), seed, rotate=False)
    return _from_rows(
        name,
        vectors,
        found.rows,
        asking=rows,
        code_bytes=len(found.rows) * found.bytes_per_vector,
        overhead_bytes=found.overhead_bytes + 4 * rows.shape[1] * (1 + removed),
        fit_seconds=found.fit_seconds + seconds,
        encode_seconds=found.encode_seconds,
        info={"n_removed": float(removed)},
    )


def _rotated(name: str, factory: str, vectors: KeyedVectors, n_bits: int, seed: int) -> Compressed:
    from embcompress.evaluation.methods_faiss import rotated_index_codes

    X = vectors.vectors.astype(np.float32, copy=False)
    return _from_decoded(name, vectors, rotated_index_codes(X, n_bits, seed, factory))


def _from_decoded(name: str, vectors: KeyedVectors, found: Any) -> Compressed:
    return _from_rows(
        name,
        vectors,
        found.rows,
        code_bytes=len(found.rows) * found.bytes_per_vector,
        overhead_bytes=found.overhead_bytes,
        fit_seconds=found.fit_seconds,
        encode_seconds=found.encode_seconds,
    )


# name -> line for a table, quantizer of (n_bits, seed), whether the seed matters
_QUANTIZERS: dict[str, tuple[str, Callable[[int, int], Quantizer], bool]] = {
    "lsh": (
        "signs of random orthogonal directions, centred",
        lambda n_bits, seed: LSH(n_bits, random_state=seed),
        True,
    ),
    "lsh-uncentred": (
        "signs of random orthogonal directions",
        lambda n_bits, seed: LSH(n_bits, center=False, random_state=seed),
        True,
    ),
    "pcasign": ("signs of principal components", lambda n_bits, seed: PCASign(n_bits), False),
    "itq": (
        "iterative quantization",
        lambda n_bits, seed: ITQ(n_bits, random_state=seed),
        True,
    ),
    "faiss-itq": ("iterative quantization by FAISS, rows of length 1", _faiss_itq, True),
    "iiq": (
        "isotropic iterative quantization, signs",
        lambda n_bits, seed: IIQ(n_bits, random_state=seed),
        True,
    ),
    "iiq-2": (
        "the same with two bits for each of half as many directions",
        lambda n_bits, seed: IIQ(n_bits, bits_per_direction=2, random_state=seed),
        True,
    ),
    "iiq-1": (
        "iiq with one rotation of all directions, as in the paper",
        lambda n_bits, seed: IIQ(n_bits, n_rotations=1, random_state=seed),
        True,
    ),
    "iiq-d0": (
        "iiq with no direction removed",
        lambda n_bits, seed: IIQ(n_bits, n_remove=0, random_state=seed),
        True,
    ),
    "nlb": ("near-lossless binarization, an autoencoder (needs PyTorch)", _nlb, True),
}

_OTHERS = [
    MethodSpec("float", "the vectors as they are", _float, randomized=False),
    MethodSpec(
        "float-abtt",
        "rows of length 1, centred, without the directions that IIQ removes",
        _without_top_directions,
        randomized=False,  # the seed only draws the rows that are looked at
    ),
    MethodSpec("sign", "signs of the coordinates", partial(_sign, "zero"), randomized=False),
    MethodSpec(
        "sign-mean", "coordinates against their mean", partial(_sign, "mean"), randomized=False
    ),
    MethodSpec(
        "sign-median",
        "coordinates against their median",
        partial(_sign, "median"),
        randomized=False,
    ),
    *(
        MethodSpec(name, describe, partial(_from_quantizer, name, quantizer), randomized)
        for name, (describe, quantizer, randomized) in _QUANTIZERS.items()
    ),
    MethodSpec("pruned", "the largest entries in half precision", _pruned, randomized=False),
    MethodSpec("pq", "product quantization (FAISS)", partial(_product, "pq", False)),
    MethodSpec(
        "pq-abtt",
        "product quantization (FAISS) of float-abtt",
        partial(_product_nulled, "pq-abtt"),
    ),
    MethodSpec("opq", "optimized product quantization (FAISS)", partial(_product, "opq", True)),
    MethodSpec(
        "rabitq",
        "RaBitQ after a random rotation (FAISS), 8 bytes of factors more",
        partial(_rotated, "rabitq", "RaBitQ"),
    ),
    MethodSpec(
        "eden1",
        "1-bit EDEN after a random rotation (FAISS), 8 bytes of factors more",
        partial(_rotated, "eden1", "EDEN1BIASED"),
    ),
]

METHODS: dict[str, MethodSpec] = {spec.name: spec for spec in _OTHERS}
