"""Isotropic iterative quantization: null the dominant directions, then rotate to signs."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.utils._param_validation import Interval, StrOptions

from embcompress.codes import pack_bits
from embcompress.encoder import Encoder, fit_decoder, fit_levels, unit_rows
from embcompress.progress import ProgressBar
from embcompress.quantizers._moments import moments, prepared_rows, principal_directions
from embcompress.quantizers.base import BinaryQuantizer
from embcompress.quantizers.itq import Rotation, best_rotation, sample_rows

__all__ = ["IIQ", "isotropy"]

Floats = npt.NDArray[np.floating]


class IIQ(BinaryQuantizer):
    pass


def isotropy(X: Floats, directions: Floats) -> float:
    """Evenness of the spread of vectors over directions, from 0 to 1 (1: isotropic).

    ``min Z(v) / max Z(v)`` with the partition function ``Z(v) = sum_i exp(v^T x_i)``, over the
    given unit directions and their opposites, on rows scaled to length 1 (Arora et al., TACL
    2016; Mu and Viswanath, ICLR 2018, eq. 7). Equal row lengths make values comparable: short
    rows alone would push it to 1.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    directions : ndarray of shape (m, d)
        Unit rows; usually the eigenvectors of ``X^T X``.

    Returns
    -------
    float
    """
    projections = unit_rows(X) @ directions.T.astype(X.dtype)
    partition = np.concatenate(
        [np.exp(sign * projections).sum(axis=0, dtype=np.float64) for sign in (1, -1)]
    )
    return float(partition.min() / partition.max())
