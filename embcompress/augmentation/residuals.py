"""Noise in place of what an operator does not explain."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from embcompress.augmentation.base import cast
from embcompress.augmentation.simple import draw_rows
from embcompress.augmentation.spectrum import Spectrum

__all__ = ["NOISES", "ResidualNoise"]

Floats = npt.NDArray[np.floating]

NOISES = ("diagonal", "factors", "bank")


@dataclass(frozen=True, eq=False)
class ResidualNoise:
    """Random displacements distributed as the residuals of an operator.

    Attributes
    ----------
    kind : {"diagonal", "factors", "bank"}
        Independent normal noise with the standard deviation of each dimension; the strongest
        principal directions of the residuals, and the diagonal for the rest; or residuals of
        stored pairs as they are.
    deviations : ndarray of shape (d,), or None
    factors : ndarray of shape (q, d), or None
        Principal directions times their standard deviations.
    bank : ndarray of shape (views * m, d), or None
    keys : ndarray of shape (m, d), or None
        Inputs of the pairs: then a residual comes from a pair whose input is near.
    neighbors : int, optional
        Of how many.
    """

    kind: str
    deviations: Floats | None = None
    factors: Floats | None = None
    bank: Floats | None = None
    keys: Floats | None = None
    neighbors: int | None = None

    arrays: ClassVar[tuple[str, ...]] = ("deviations", "factors", "bank", "keys")

    @classmethod
    def of(
        cls,
        kind: str,
        residuals: Floats,
        *,
        rank: int = 32,
        variances: Floats | None = None,
        keys: Floats | None = None,
        neighbors: int | None = None,
    ) -> ResidualNoise:
        """Learn from residuals.

        Parameters
        ----------
        kind : {"diagonal", "factors", "bank"}
        residuals : ndarray of shape (views, m, d)
        rank : int
            Directions of ``"factors"``.
        variances : ndarray of shape (d,), optional
            What each dimension of the noise must have instead of the residuals' own.
        keys : ndarray of shape (m, d), optional
        neighbors : int, optional
            Only ``"bank"`` uses them.

        Returns
        -------
        ResidualNoise
        """
        rows = residuals.reshape(-1, residuals.shape[-1])
        rows = rows - rows.mean(axis=0, dtype=np.float64).astype(rows.dtype)
        own = np.square(rows, dtype=np.float64).mean(axis=0)
        if variances is not None:
            scale = np.sqrt(np.divide(variances, own, out=np.zeros_like(own), where=own > 0))
            rows, own = rows * scale.astype(rows.dtype), own * scale**2
        if kind == "diagonal":
            return cls(kind, deviations=np.sqrt(own).astype(rows.dtype))
        if kind == "bank":
            return cls(kind, bank=rows, keys=None if neighbors is None else keys,
                       neighbors=neighbors)  # fmt: skip
        spectrum = Spectrum.of(rows).top(rank)
        deviations = (spectrum.values / np.sqrt(len(rows))).astype(rows.dtype)
        factors = (spectrum.right * deviations).T
        rest = own - np.square(factors, dtype=np.float64).sum(axis=0)
        return cls(
            kind, np.sqrt(np.maximum(rest, 0)).astype(rows.dtype), np.ascontiguousarray(factors)
        )

    def draw(self, Z: Floats, random: np.random.Generator) -> Floats:
        """Noise for each embedding.

        Parameters
        ----------
        Z : ndarray of shape (n, d)
        random : numpy.random.Generator

        Returns
        -------
        ndarray of shape (n, d), dtype of `Z`
        """
        if self.bank is not None:
            rows = draw_rows(Z, len(self.bank), self.keys, self.neighbors, random)
            return cast(self.bank, Z)[rows]
        assert self.deviations is not None, "one of the two"
        out = random.standard_normal(Z.shape, dtype=Z.dtype.type)
        out *= cast(self.deviations, Z)
        if self.factors is not None:
            scores = random.standard_normal((len(Z), len(self.factors)), dtype=Z.dtype.type)
            out += scores @ cast(self.factors, Z)
        return out

    def times(self, factor: float) -> ResidualNoise:
        """The same, stronger by a factor."""
        names = ("deviations", "factors", "bank")
        arrays = {name: getattr(self, name) for name in names}
        changed = {name: a * a.dtype.type(factor) for name, a in arrays.items() if a is not None}
        return replace(self, **changed)

    @property
    def macs(self) -> int:
        """Multiply-accumulate steps for one embedding, without drawing the numbers."""
        sizes = [a.size for a in (self.deviations, self.factors, self.keys) if a is not None]
        return sum(sizes)
