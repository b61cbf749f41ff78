"""The head on feature maps."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar

from sklearn.utils._param_validation import Interval
from torch import nn

from embcompress.heads.base import Head
from embcompress.heads.dense import check_sizes
from embcompress.heads.inputs import FeatureMaps, InputKind
from embcompress.heads.networks import Convolutional
from embcompress.heads.parameters import CONSTRAINTS

__all__ = ["ConvHead"]


class ConvHead(Head):
    """Classifier of feature maps or small images: convolutions, mean over space, a linear layer.

    `X` is an array (n, channels, height, width), float or uint8. Each convolution is followed by
    batch normalization and a rectifier, and each but the last by 2 x 2 maximum pooling while
    the map is at least 4 x 4.

    Parameters
    ----------
    channels : tuple of int, default (32, 64)
        Outputs of each convolution.
    kernel_size : int, default 3
        Odd; a map keeps its size.
    dropout : float, default 0.2
        Share of channels that are 0 in a training step, before the linear layer.
    max_epochs, batch_size, learning_rate, weight_decay, optimizer, early_stopping, \
validation_fraction, patience, class_weight, standardize, random_state, n_jobs, verbose
        As in :class:`LinearHead`; channels are standardized over space.

    Attributes
    ----------
    module_ : torch.nn.Module
        ``layers`` is a ``torch.nn.Sequential``; takes standardized maps, gives logits.
    classes_, n_features_in_, input_shape_, mean_, scale_, masks_, n_iter_, loss_curve_, \
validation_scores_
        As in :class:`LinearHead`; `n_features_in_` is the number of channels.

    Examples
    --------
    >>> import numpy as np
    >>> from embcompress.heads import ConvHead
    >>> X = np.random.default_rng(0).normal(size=(60, 2, 6, 6)).astype(np.float32)
    >>> X[::2, 0, ::2] += 2
    >>> head = ConvHead((8,), max_epochs=20, learning_rate=0.01, random_state=0)
    >>> head.fit(X, np.arange(60) % 2).score(X, np.arange(60) % 2) > 0.8
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **CONSTRAINTS,
        "channels": [tuple, list],
        "kernel_size": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
    }

    def __init__(
        self,
        channels: Sequence[int] = (32, 64),
        *,
        kernel_size: int = 3,
        dropout: float = 0.2,
        max_epochs: int = 30,
        batch_size: int | str = "auto",
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-2,
        optimizer: str = "adam",
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        patience: int = 10,
        class_weight: Any = None,
        standardize: bool = True,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: bool = False,
    ) -> None:
        self.channels = channels
        self.kernel_size = kernel_size
        self.dropout = dropout
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.optimizer = optimizer
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.class_weight = class_weight
        self.standardize = standardize
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def _kind(self) -> InputKind:
        return FeatureMaps()

    def _build(self, shape: tuple[int, ...], n_classes: int) -> nn.Module:
        if self.kernel_size % 2 == 0:
            raise ValueError(f"ConvHead(kernel_size={self.kernel_size}) must be odd")
        channels = check_sizes(self, "channels", self.channels)
        if not channels:
            raise ValueError("ConvHead(channels=()) needs at least one convolution")
        return Convolutional(shape, channels, self.kernel_size, n_classes, self.dropout)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        return tags
