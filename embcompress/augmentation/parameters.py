"""What the parameters of an augmenter may be; scikit-learn checks them in fit."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

from sklearn.utils._param_validation import Interval, StrOptions

from embcompress.augmentation.residuals import NOISES

__all__ = ["CONSTRAINTS"]

CONSTRAINTS: dict[str, list[Any]] = {
    "noise": [StrOptions(set(NOISES)), None],
    "noise_scale": [Interval(Real, 0, None, closed="left")],
    "noise_rank": [Interval(Integral, 1, None, closed="left")],
    "noise_match": [StrOptions({"residual", "moments"})],
    "noise_neighbors": [Interval(Integral, 1, None, closed="left"), None],
    "nonnegative": ["boolean"],
    "normalize": ["boolean"],
    "n_views": [Interval(Integral, 1, None, closed="left"), None],
    "holdout": [Interval(Real, 0, 1, closed="left")],
    "label_maps": [dict, None],
    "verbose": ["boolean"],
}
