"""The one conversion between the bit order of this package and that of a store."""

from __future__ import annotations

import numpy as np

from embcompress.codes import Codes

__all__ = ["BIT_ORDERS", "reorder_bits"]

# as numpy.packbits names them: which bit of a byte is the first
BIT_ORDERS = ("big", "little")

# byte -> the same bits in the opposite order
_MIRRORED = np.packbits(np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)[:, ::-1])


def reorder_bits(codes: Codes, order: str) -> Codes:
    """Packed codes with their bits in another order, or back.

    Codes of this package have the first bit in the most significant place of the first byte
    (``"big"``). The conversion is its own inverse.

    Parameters
    ----------
    codes : ndarray of uint8
        In order ``"big"``, or in order `order` to bring them back.
    order : {"big", "little"}
        ``"big"`` changes nothing.

    Returns
    -------
    ndarray of uint8, same shape

    Raises
    ------
    ValueError
        If `order` is something else.

    Examples
    --------
    >>> reorder_bits(np.array([0b00101011], dtype=np.uint8), "little")
    array([212], dtype=uint8)
    """
    if order not in BIT_ORDERS:
        raise ValueError(f"bit order {order!r}; allowed: {' or '.join(map(repr, BIT_ORDERS))}")
    return codes if order == "big" else _MIRRORED[codes]
