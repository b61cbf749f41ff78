"""Checks of what an index is given."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from embcompress.codes import Codes, check_codes

__all__ = [
    "PRECISIONS",
    "checked_codes",
    "checked_ids",
    "checked_scales",
    "checked_weights",
    "choice_of",
    "count_of",
    "seed_of",
    "subset_mask",
]

#: Precisions of queries, and the largest whole number that a weight is rounded to.
PRECISIONS = {"float32": None, "int8": 127, "int4": 7}

Ids = npt.NDArray[np.int64]


def count_of(name: str, value: Any, least: int = 1) -> int:
    """Check a whole number of at least `least`."""
    if type(value) is int and value >= least:
        return value
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{name}={value!r} must be a whole number of at least {least}")
    return int(value)


def seed_of(value: Any) -> int | None:
    """Check a seed: FAISS takes 31 bits."""
    if value is None:
        return None
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or not 0 <= value < 2**31:
        raise ValueError(f"random_state={value!r} must be None or a whole number from 0 to 2**31-1")
    return int(value)


def choice_of(name: str, value: str, allowed: Iterable[str]) -> str:
    """Check a name."""
    if value not in allowed:
        raise ValueError(f"{name}={value!r} is not known; allowed: {', '.join(map(repr, allowed))}")
    return value


def checked_codes(codes: npt.ArrayLike, n_bits: int, name: str) -> Codes:
    """Check that these are codes of `n_bits` bits, and say how to make them where they are not."""
    array = np.asarray(codes)
    if array.dtype == np.uint8 and array.ndim == 2 and array.shape[1] == n_bits > 1:
        raise ValueError(
            f"{name} has {n_bits} bytes per row, as many as there are bits: if each byte is one "
            f"bit, pack them with embcompress.codes.pack_bits({name}); codes of {n_bits} bits "
            f"have {-(-n_bits // 8)} bytes"
        )
    if array.dtype.kind in "fb" and array.ndim == 2:
        call = f"pack_bits({name})" if array.dtype.kind == "b" else f"pack_bits({name} >= 0)"
        raise TypeError(
            f"{name} has dtype {array.dtype}, shape {array.shape}; packed codes are uint8 of shape "
            f"(n, {-(-n_bits // 8)}): a quantizer makes them, or embcompress.codes.{call}"
        )
    array = check_codes(array, n_bits, name=name)
    n_pad = -n_bits % 8
    if n_pad and _last_bytes(array) & ((1 << n_pad) - 1):
        raise ValueError(
            f"{name} has bits set behind bit {n_bits}; pad bits must be 0: is "
            f"n_bits={n_bits} right, and the first bit the most significant?"
        )
    return array


def _last_bytes(codes: Codes) -> int:
    """All last bytes, ORed."""
    if len(codes) == 1:  # after a scan every NumPy call is cold; this is the cheapest one
        return int(codes.item(-1))
    return int(np.bitwise_or.reduce(codes[:, -1]))


def checked_ids(ids: npt.ArrayLike, n: int | None = None, name: str = "ids") -> Ids:
    """Check ids: whole numbers of at least 0, none of them twice."""
    array = np.asarray(ids)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise ValueError(
            f"{name} has shape {array.shape}, dtype {array.dtype}; whole numbers of shape (n,) "
            "are needed"
        )
    if n is not None and len(array) != n:
        raise ValueError(f"{len(array)} ids came with {n} codes")
    if array.size and not 0 <= int(array.min()) <= int(array.max()) < 2**63:
        bad = int(array.min()) if array.min() < 0 else int(array.max())
        raise ValueError(f"{name} holds {bad}; ids are from 0 to 2**63 - 1")
    array = array.astype(np.int64, copy=False)
    ordered = np.sort(array)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(twice):
        raise ValueError(f"{name} holds {twice[0]} more than once")
    return array


def subset_mask(
    subset: npt.ArrayLike, n: int, find: Any, name: str = "subset"
) -> npt.NDArray[np.bool_]:
    """Rows that a subset stands for.

    Parameters
    ----------
    subset : array-like of bool, shape (n,), or of ids
    n : int
        Number of rows.
    find : callable
        Gives the rows of ids, -1 for those that are not there.
    name : str
    """
    array = np.asarray(subset)
    if array.dtype == np.bool_:
        if array.shape != (n,):
            raise ValueError(
                f"{name} has shape {array.shape}; one truth per code is needed, shape ({n},), or "
                "whole numbers that are ids"
            )
        return array
    if array.size == 0:
        return np.zeros(n, dtype=np.bool_)
    ids = checked_ids(np.unique(array) if array.ndim == 1 else array, name=name)
    rows = find(ids)
    if (rows < 0).any():
        raise ValueError(f"{name} holds id {ids[rows < 0][0]}, which is not in the index")
    mask = np.zeros(n, dtype=np.bool_)
    mask[rows] = True
    return mask


def checked_scales(scales: npt.ArrayLike, n: int) -> npt.NDArray[np.float32]:
    """Check factors of scores: one positive number for each code."""
    array = np.asarray(scales)
    if array.dtype.kind not in "fiu" or array.shape != (n,):
        raise ValueError(
            f"scales has shape {array.shape}, dtype {array.dtype}; real numbers of shape ({n},) "
            "are needed, one for each code"
        )
    array = array.astype(np.float32)
    if not (np.isfinite(array) & (array > 0)).all():
        bad = array[~(np.isfinite(array) & (array > 0))][0]
        raise ValueError(f"scales holds {bad}; finite numbers above 0 are needed")
    return array


def checked_weights(queries: npt.ArrayLike, n_bits: int, precision: str) -> npt.NDArray[np.float64]:
    """Check real-valued queries, and round them to a precision."""
    array = np.asarray(queries)
    if array.dtype.kind not in "fiu" or array.ndim != 2 or array.shape[1] != n_bits:
        hint = ""
        if array.dtype == np.uint8 and array.ndim == 2 and array.shape[1] == -(-n_bits // 8):
            hint = "; these look like codes, which search takes"
        elif array.ndim == 1:
            hint = "; for a single query use query[None, :]"
        raise ValueError(
            f"queries has shape {array.shape}, dtype {array.dtype}; real numbers of shape "
            f"(n_queries, {n_bits}) are needed, as a quantizer's project gives them{hint}"
        )
    weights = array.astype(np.float32).astype(np.float64)
    if not np.isfinite(weights).all():
        raise ValueError("queries holds NaN or infinity")
    levels = PRECISIONS[choice_of("precision", precision, PRECISIONS)]
    if levels is not None:
        step = np.abs(weights).max(axis=1, keepdims=True, initial=0) / levels
        step[step == 0] = 1
        weights = np.rint(weights / step) * step
    return weights
