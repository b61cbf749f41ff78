"""Packed binary codes: the one definition of their layout, and distances between them.

A *code* is a row of ``n_bits`` bits packed into ``ceil(n_bits / 8)`` bytes, first bit in the most
significant place (as :func:`numpy.packbits`), pad bits zero. Every module of the package that
reads or writes codes goes through this one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = [
    "asymmetric_scores",
    "check_codes",
    "code_bytes",
    "hamming_distances",
    "pack_bits",
    "unpack_bits",
    "unpack_signs",
]

Codes = npt.NDArray[np.uint8]

# Rows per step of the chunked loops: the float32 temporaries stay within a few MB.
_CHUNK_ROWS = 16_384


def code_bytes(n_bits: int) -> int:
    """Bytes of one packed code.

    Parameters
    ----------
    n_bits : int
        Code length in bits, at least 1.

    Returns
    -------
    int
        ``ceil(n_bits / 8)``.

    Raises
    ------
    ValueError
        If `n_bits` is smaller than 1.
    """
    if n_bits < 1:
        raise ValueError(f"n_bits={n_bits} must be at least 1")
    return (n_bits + 7) // 8


def pack_bits(bits: npt.ArrayLike) -> Codes:
    """Pack a matrix of 0/1 into bytes, first bit most significant.

    Parameters
    ----------
    bits : array-like of shape (n, n_bits)
        Boolean, or integers that are 0 or 1.

    Returns
    -------
    codes : ndarray of uint8, shape (n, ceil(n_bits / 8))
        Packed rows; pad bits are 0.

    Raises
    ------
    ValueError
        If `bits` is not a matrix, has no column, or holds other values than 0 and 1.

    Examples
    --------
    >>> pack_bits([[1, 0, 1, 0, 0, 0, 0, 1, 1]])
    array([[161, 128]], dtype=uint8)
    """
    array = np.asarray(bits)
    if array.ndim != 2 or array.shape[1] == 0:
        raise ValueError(
            f"bits has shape {array.shape}; a matrix of shape (n, n_bits) with n_bits >= 1 "
            "is needed (for a single row use bits[None, :])"
        )
    if array.dtype != np.bool_:
        as_bool = array.astype(np.bool_)
        if not np.array_equal(as_bool, array):
            raise ValueError(
                "bits holds values other than 0 and 1; to take the signs of real numbers "
                "use pack_bits(X >= 0)"
            )
        array = as_bool
    return np.packbits(array, axis=1)


def unpack_bits(codes: npt.ArrayLike, n_bits: int) -> npt.NDArray[np.uint8]:
    """Unpack codes to a matrix of 0/1.

    Parameters
    ----------
    codes : array-like of uint8, shape (n, ceil(n_bits / 8))
    n_bits : int
        Code length in bits.

    Returns
    -------
    bits : ndarray of uint8, shape (n, n_bits)

    Raises
    ------
    ValueError, TypeError
        As :func:`check_codes`.

    Examples
    --------
    >>> unpack_bits(np.array([[161, 128]], dtype=np.uint8), n_bits=9)
    array([[1, 0, 1, 0, 0, 0, 0, 1, 1]], dtype=uint8)
    """
    return np.unpackbits(check_codes(codes, n_bits), axis=1, count=n_bits)


def unpack_signs(
    codes: npt.ArrayLike, n_bits: int, dtype: npt.DTypeLike = np.float32
) -> npt.NDArray[np.floating]:
    """Unpack codes to a matrix of -1/+1 (bit 1 is +1).

    Parameters
    ----------
    codes : array-like of uint8, shape (n, ceil(n_bits / 8))
    n_bits : int
    dtype : data type, default float32

    Returns
    -------
    signs : ndarray of shape (n, n_bits)
    """
    signs = unpack_bits(codes, n_bits).astype(dtype)
    signs *= 2
    signs -= 1
    return signs


def check_codes(codes: npt.ArrayLike, n_bits: int, *, name: str = "codes") -> Codes:
    """Check that `codes` is a matrix of packed codes of `n_bits` bits.

    Parameters
    ----------
    codes : array-like of uint8, shape (n, ceil(n_bits / 8))
    n_bits : int
    name : str
        What to call the array in a message.

    Returns
    -------
    codes : ndarray of uint8
        The same array, not copied.

    Raises
    ------
    TypeError
        If the data type is not uint8.
    ValueError
        If the array is not a matrix or has another number of bytes per row.
    """
    array = np.asarray(codes)
    width = code_bytes(n_bits)
    if array.dtype != np.uint8:
        raise TypeError(
            f"{name} has dtype {array.dtype}; packed codes are uint8, {width} bytes for "
            f"{n_bits} bits (make them with a quantizer or with pack_bits)"
        )
    if array.ndim != 2:
        raise ValueError(
            f"{name} has shape {array.shape}; packed codes are a matrix of shape (n, {width}) "
            "(for a single code use code[None, :])"
        )
    if array.shape[1] != width:
        raise ValueError(f"{name} has {array.shape[1]} bytes per row; {n_bits} bits need {width}")
    return array


def hamming_distances(a: npt.ArrayLike, b: npt.ArrayLike) -> npt.NDArray[np.int32]:
    """All pairwise Hamming distances between two sets of packed codes.

    The plain NumPy form: an oracle for the search engines, and handy for small sets. Pad bits
    must be equal on both sides, which holds for all codes of this package.

    Parameters
    ----------
    a : array-like of uint8, shape (n, n_bytes)
    b : array-like of uint8, shape (m, n_bytes)

    Returns
    -------
    distances : ndarray of int32, shape (n, m)
        Number of differing bits.

    Raises
    ------
    TypeError, ValueError
        If the arrays are not uint8 matrices of equal width.

    Examples
    --------
    >>> hamming_distances(pack_bits([[1, 1, 0]]), pack_bits([[1, 1, 0], [0, 1, 1]]))
    array([[0, 2]], dtype=int32)
    """
    a = np.asarray(a)
    width = a.shape[1] if a.ndim == 2 else 1
    a = check_codes(a, 8 * width, name="a")
    b = check_codes(b, 8 * width, name="b")
    distances = np.empty((len(a), len(b)), dtype=np.int32)
    for row, code in enumerate(a):
        for start in range(0, len(b), _CHUNK_ROWS):
            part = slice(start, start + _CHUNK_ROWS)
            np.bitwise_count(b[part] ^ code).sum(axis=1, dtype=np.int32, out=distances[row, part])
    return distances


def asymmetric_scores(
    projected: npt.ArrayLike, codes: npt.ArrayLike, n_bits: int
) -> npt.NDArray[np.float32]:
    """Dot products of real-valued queries with the -1/+1 vectors that codes stand for.

    One side keeps its real values, so near ties of the Hamming distance are told apart. Every
    byte of a code selects one of 256 partial sums that are computed once per query.

    Parameters
    ----------
    projected : array-like of shape (n_queries, n_bits)
        Queries in code space: the output of a quantizer's ``project``.
    codes : array-like of uint8, shape (n, ceil(n_bits / 8))
    n_bits : int

    Returns
    -------
    scores : ndarray of float32, shape (n_queries, n)
        ``projected @ unpack_signs(codes, n_bits).T``; larger is nearer.

    Raises
    ------
    ValueError
        If the shapes do not fit `n_bits`.
    """
    queries = np.asarray(projected, dtype=np.float32)
    codes = check_codes(codes, n_bits)
    if queries.ndim != 2 or queries.shape[1] != n_bits:
        raise ValueError(f"projected has shape {queries.shape}; (n_queries, {n_bits}) is needed")
    width = codes.shape[1]
    padded = np.zeros((len(queries), width * 8), dtype=np.float32)
    padded[:, :n_bits] = queries
    byte_signs = unpack_signs(np.arange(256, dtype=np.uint8)[:, None], 8)
    # tables[q, j, v]: what byte j with the value v adds to the score of query q
    tables = padded.reshape(len(queries), width, 8) @ byte_signs.T
    scores = np.zeros((len(queries), len(codes)), dtype=np.float32)
    for start in range(0, len(codes), _CHUNK_ROWS):
        part = slice(start, start + _CHUNK_ROWS)
        columns = np.ascontiguousarray(codes[part].T)
        for table, out in zip(tables, scores, strict=True):
            for j in range(width):
                out[part] += table[j].take(columns[j])
    return scores
