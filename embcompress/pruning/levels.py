"""Signed powers of two times a scale: nearest codes, best scales."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = [
    "best_scales",
    "least_squares_scales",
    "level_values",
    "nearest_codes",
    "power_levels",
]

_MOST_BITS = 5


def power_levels(bits: int) -> Tensor:
    """Sizes of the levels in units of the scale: 1, 2, 4, ..., ``2^(2^(bits-1) - 1)``.

    Parameters
    ----------
    bits : int
        1 to 5, sign included; 1 leaves the sign alone.

    Returns
    -------
    Tensor of float64, shape (2^(bits-1),)

    Raises
    ------
    ValueError
        If the bits are out of range.

    Examples
    --------
    >>> power_levels(3).tolist()
    [1.0, 2.0, 4.0, 8.0]
    """
    if isinstance(bits, bool) or not isinstance(bits, int) or not 1 <= bits <= _MOST_BITS:
        raise ValueError(f"bits={bits!r} must be a whole number from 1 to {_MOST_BITS}")
    return 2.0 ** torch.arange(2 ** (bits - 1), dtype=torch.float64)


def nearest_codes(rows: Tensor, kept: Tensor, scales: Tensor, bits: int) -> Tensor:
    """Nearest level of every weight at a given scale: exact, element by element.

    Parameters
    ----------
    rows : Tensor of shape (rows, n)
    kept : Tensor of bool, shape (rows, n)
        Removed weights get the code 0.
    scales : Tensor of shape (rows,)
    bits : int

    Returns
    -------
    Tensor of int8, shape (rows, n)
        ``sign * (j + 1)`` for the level ``sign * 2^j``. Half-way weights get the smaller level,
        zeros the positive sign.
    """
    levels = power_levels(bits)
    sizes = rows.double().abs()
    # halfway between 2^j and 2^(j+1)
    halves = 1.5 * levels[:-1]
    ratios = torch.where(scales[:, None] > 0, sizes / scales.double()[:, None], 0.0)
    exponents = torch.bucketize(ratios, halves)
    signs = torch.where(rows < 0, -1, 1)
    return torch.where(kept, signs * (exponents + 1), 0).to(torch.int8)


def least_squares_scales(rows: Tensor, codes: Tensor) -> Tensor:
    """Best scale for given codes: ``<W, Q> / <Q, Q>`` of each row.

    Parameters
    ----------
    rows : Tensor of shape (rows, n)
    codes : Tensor of int8, shape (rows, n)
        As of :func:`nearest_codes`.

    Returns
    -------
    Tensor of float64, shape (rows,)
        Not negative; 1 for rows without any code.
    """
    values = level_values(codes)
    squares = values.square().sum(dim=1)
    scales = (rows.double() * values).sum(dim=1) / squares.clamp_min(1)
    return torch.where(squares > 0, scales.clamp_min(0), 1.0)


def best_scales(rows: Tensor, kept: Tensor, bits: int) -> Tensor:
    """Scale of the best levels of all, scale and codes together: a global optimum.

    The best codes change with the scale only where a weight lies halfway between two levels:
    ``|w| = 1.5 * 2^j * scale``. Between two such points the codes Q are fixed, and the best error
    that they allow is ``|W|^2 - <W, Q>^2 / <Q, Q>``. Going through all points from large scales
    to small ones, with running sums, finds the least. Our derivation; alternating between codes
    and scale, as published code does, stops at a local optimum.

    Parameters
    ----------
    rows : Tensor of shape (rows, n)
        Each row gets a scale of its own.
    kept : Tensor of bool, shape (rows, n)
    bits : int

    Returns
    -------
    Tensor of float64, shape (rows,)
        1 for rows without any weight.
    """
    levels = power_levels(bits)
    if len(rows) == 1:  # the removed weights need no sorting
        rows, kept = rows[kept][None], kept[kept][None]
    sizes = torch.where(kept, rows.double().abs(), 0.0)
    # one column per step of a weight from 2^j to 2^(j+1); the product grows by |w| 2^j, the
    # square by 4^(j+1) - 4^j
    steps = levels[:-1]
    points = (sizes[:, :, None] / (1.5 * steps)).flatten(1)
    order = points.argsort(dim=1, descending=True, stable=True)
    more_product = (sizes[:, :, None] * steps).flatten(1).gather(1, order)
    more_square = (kept[:, :, None] * 3.0 * steps.square()).flatten(1).gather(1, order)
    product = torch.cat([sizes.sum(1, keepdim=True), more_product], dim=1).cumsum(dim=1)
    square = torch.cat([kept.double().sum(1, keepdim=True), more_square], dim=1).cumsum(dim=1)
    best = (product.square() / square.clamp_min(1)).argmax(dim=1, keepdim=True)
    product, square = product.gather(1, best)[:, 0], square.gather(1, best)[:, 0]
    return torch.where(square > 0, product / square.clamp_min(1), 1.0)


def level_values(codes: Tensor) -> Tensor:
    """What codes stand for in units of their scale, float64."""
    codes = codes.double()
    return torch.where(codes == 0, 0.0, codes.sign() * 2.0 ** (codes.abs() - 1))
