"""The head on sequences."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar

from sklearn.utils._param_validation import Interval, StrOptions
from torch import nn

from embcompress.heads.base import Head
from embcompress.heads.inputs import InputKind, Sequences
from embcompress.heads.networks import Recurrent
from embcompress.heads.parameters import CONSTRAINTS

__all__ = ["GRUHead"]


class GRUHead(Head):
    """Classifier of sequences: gated recurrent units, pooled over time, and a linear layer.

    `X` is a list of arrays (time, features), or one array (n, time, features) in which the frames
    after the end of a sequence are NaN, as :func:`embcompress.heads.pad` makes it. Predictions
    of a sequence do not depend on how far it is padded.

    Parameters
    ----------
    hidden_size : int, default 128
        Units of each layer, and direction.
    n_layers : int, default 2
    bidirectional : bool, default False
    pooling : {"mean", "last"}, default "mean"
        What goes into the linear layer: the mean of the hidden states of all frames, or the
        state after the last one.
    dropout : float, default 0.2
        Share of units that are 0 in a training step, between layers and before the linear layer.
    max_epochs, batch_size, learning_rate, weight_decay, optimizer, early_stopping, \
validation_fraction, patience, class_weight, standardize, random_state, n_jobs, verbose
        As in :class:`LinearHead`; features are standardized over all frames.

    Attributes
    ----------
    module_ : torch.nn.Module
        ``gru`` is a ``torch.nn.GRU``, ``output`` a ``torch.nn.Linear``; takes standardized
        frames (n, time, features), NaN after the end, gives logits.
    classes_, n_features_in_, input_shape_, mean_, scale_, masks_, n_iter_, loss_curve_, \
validation_scores_
        As in :class:`LinearHead`.

    Examples
    --------
    >>> import numpy as np
    >>> from embcompress.heads import GRUHead
    >>> rng = np.random.default_rng(0)
    >>> X = [rng.normal(size=(4 + i % 3, 2)) + i % 2 for i in range(100)]
    >>> head = GRUHead(8, max_epochs=10, learning_rate=0.01, random_state=0)
    >>> head.fit(X, np.arange(100) % 2).score(X, np.arange(100) % 2) > 0.8
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **CONSTRAINTS,
        "hidden_size": [Interval(Integral, 1, None, closed="left")],
        "n_layers": [Interval(Integral, 1, None, closed="left")],
        "bidirectional": ["boolean"],
        "pooling": [StrOptions({"mean", "last"})],
        "dropout": [Interval(Real, 0, 1, closed="left")],
    }

    def __init__(
        self,
        hidden_size: int = 128,
        *,
        n_layers: int = 2,
        bidirectional: bool = False,
        pooling: str = "mean",
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
        self.hidden_size = hidden_size
        self.n_layers = n_layers
        self.bidirectional = bidirectional
        self.pooling = pooling
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
        return Sequences()

    def _build(self, shape: tuple[int, ...], n_classes: int) -> nn.Module:
        (n_features,) = shape
        return Recurrent(
            n_features,
            self.hidden_size,
            self.n_layers,
            n_classes,
            bidirectional=self.bidirectional,
            pooling=self.pooling,
            dropout=self.dropout,
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = True
        return tags
