"""What a fitted quantizer offers and tells."""

from __future__ import annotations

from typing import Any, Protocol

import numpy.typing as npt

from embcompress.encoder import Encoder

__all__ = ["Quantizer", "described", "learned"]

# what of a fit is written to the header, and how
_STORED = {
    "n_removed": ".6g",
    "n_iter": ".6g",
    "loss": ".6g",
    "isotropy_before": ".4f",
    "isotropy_after": ".4f",
}


class Quantizer(Protocol):
    """What :meth:`CompressedVectors.compress` needs of a quantizer."""

    encoder_: Encoder

    def fit(self, X: npt.ArrayLike) -> Any:
        """Learn from rows; sets ``encoder_``."""


def learned(quantizer: Quantizer) -> dict[str, float]:
    """What a fitted quantizer tells of its fit, by name.

    Parameters
    ----------
    quantizer : fitted quantizer

    Returns
    -------
    dict of str to float
        Those of ``n_removed``, ``n_rotations``, ``n_iter``, ``loss``, ``isotropy_before`` and
        ``isotropy_after`` that it has.
    """
    names = ("n_removed", "n_rotations", "n_iter", "loss")
    found = {
        name: float(getattr(quantizer, f"{name}_"))
        for name in names
        if hasattr(quantizer, f"{name}_")
    }
    if hasattr(quantizer, "isotropy_"):
        found["isotropy_before"], found["isotropy_after"] = quantizer.isotropy_
    return found


def described(quantizer: Quantizer) -> dict[str, str]:
    """What of a fit is written to the header of a file, by name."""
    return {
        name: format(value, _STORED[name])
        for name, value in learned(quantizer).items()
        if name in _STORED
    }
