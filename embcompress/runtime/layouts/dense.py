"""All weights, zeros as well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from embcompress.runtime.layouts.base import Layout

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Dense"]


@dataclass(frozen=True, eq=False)
class Dense(Layout):
    """The weight as it is, for layers that were not pruned or run faster dense.

    Attributes
    ----------
    weights : ndarray
        Of the shape of the weight.
    """

    name = "dense"
    fills = True

    @classmethod
    def _pack(cls, weight: npt.NDArray, kept: npt.NDArray[np.bool_]) -> Self:
        return cls(weight.shape, np.where(kept, weight, weight.dtype.type(0)))

    def _write(self, matrix: npt.NDArray, weights: npt.NDArray) -> None:
        matrix[:] = weights.reshape(matrix.shape)

    def _check(self) -> None:
        self._expect("weights", self.weights.dtype, self.shape)
