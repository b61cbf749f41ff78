"""Heads on rows of numbers or packed codes: linear, and with hidden layers."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar

from sklearn.utils._param_validation import Interval, StrOptions
from torch import nn

from embcompress.heads.base import Head
from embcompress.heads.inputs import InputKind, PackedCodes, Rows
from embcompress.heads.networks import ACTIVATIONS, Feedforward
from embcompress.heads.parameters import CONSTRAINTS

__all__ = ["LinearHead", "MLPHead"]

_PACKED: dict[str, list[Any]] = {"packed_bits": [Interval(Integral, 1, None, closed="left"), None]}


class LinearHead(Head):
    """Linear classifier: logistic regression, trained by gradient descent.

    Parameters
    ----------
    max_epochs : int, default 100
        Passes over the data.
    batch_size : int or "auto", default "auto"
        Rows per step; "auto" is 64, and down to 8 for few rows.
    learning_rate : float, default 0.001
    weight_decay : float, default 0.01
        Pulls weights, not biases, to 0: decoupled from the gradient with Adam, a penalty of
        ``weight_decay / 2`` times their squares with SGD.
    optimizer : {"adam", "sgd"}, default "adam"
        SGD has a momentum of 0.9.
    early_stopping : bool, default False
        Hold a part out, stop when accuracy there has not improved for `patience` epochs, and
        keep the best state.
    validation_fraction : float, default 0.1
    patience : int, default 10
    class_weight : None, "balanced" or dict, default None
        Class -> weight; "balanced" makes classes count alike, whatever their size.
    packed_bits : int, optional
        Then `X` is packed codes of so many bits, uint8 of shape (n, ceil(packed_bits / 8)),
        which become -1 and 1 batch by batch. Default: `X` is a matrix of numbers.
    standardize : bool, default True
        Subtract the mean and divide by the standard deviation of each feature; not for codes.
    random_state : int, RandomState or None, default None
        For the start, the order of the rows, and what is held out.
    n_jobs : int, optional
        Threads of torch. Default: 1.
    verbose : bool, default False
        Show a progress bar.

    Attributes
    ----------
    module_ : torch.nn.Module
        ``layers`` is a ``torch.nn.Sequential``; takes standardized rows, gives logits.
    classes_ : ndarray of shape (n_classes,)
    n_features_in_ : int
    input_shape_ : (int,)
    mean_, scale_ : ndarray of shape (n_features,) or None
    masks_ : mapping or None
        What pruning left, by parameter of `module_`.
    n_iter_ : int
    loss_curve_ : list of float
    validation_scores_ : list of float or None

    Examples
    --------
    >>> import numpy as np
    >>> from embcompress.heads import LinearHead
    >>> X = np.random.default_rng(0).normal(size=(200, 8))
    >>> head = LinearHead(random_state=0).fit(X, X[:, 0] > 0)
    >>> head.score(X, X[:, 0] > 0) > 0.9
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {**CONSTRAINTS, **_PACKED}

    def __init__(
        self,
        *,
        max_epochs: int = 100,
        batch_size: int | str = "auto",
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-2,
        optimizer: str = "adam",
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        patience: int = 10,
        class_weight: Any = None,
        packed_bits: int | None = None,
        standardize: bool = True,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: bool = False,
    ) -> None:
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.optimizer = optimizer
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.class_weight = class_weight
        self.packed_bits = packed_bits
        self.standardize = standardize
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def _kind(self) -> InputKind:
        return Rows() if self.packed_bits is None else PackedCodes(int(self.packed_bits))

    def _build(self, shape: tuple[int, ...], n_classes: int) -> nn.Module:
        return Feedforward([shape[0], n_classes])


class MLPHead(Head):
    """Classifier with hidden layers.

    Parameters
    ----------
    hidden : tuple of int, default (256,)
        Units of each hidden layer.
    dropout : float, default 0.5
        Share of hidden units that are 0 in a training step.
    activation : {"relu", "gelu", "tanh", "silu"}, default "relu"
    max_epochs, batch_size, learning_rate, weight_decay, optimizer, early_stopping, \
validation_fraction, patience, class_weight, packed_bits, standardize, random_state, n_jobs, \
verbose
        As in :class:`LinearHead`.

    Attributes
    ----------
    module_, classes_, n_features_in_, input_shape_, mean_, scale_, masks_, n_iter_, \
loss_curve_, validation_scores_
        As in :class:`LinearHead`.

    Examples
    --------
    >>> import numpy as np
    >>> from embcompress.heads import MLPHead
    >>> X = np.random.default_rng(0).normal(size=(200, 8))
    >>> head = MLPHead((64,), dropout=0, random_state=0).fit(X, X[:, 0] * X[:, 1] > 0)
    >>> head.score(X, X[:, 0] * X[:, 1] > 0) > 0.8
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **CONSTRAINTS,
        **_PACKED,
        "hidden": [tuple, list],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS))],
    }

    def __init__(
        self,
        hidden: Sequence[int] = (256,),
        *,
        dropout: float = 0.5,
        activation: str = "relu",
        max_epochs: int = 30,
        batch_size: int | str = "auto",
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-2,
        optimizer: str = "adam",
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        patience: int = 10,
        class_weight: Any = None,
        packed_bits: int | None = None,
        standardize: bool = True,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: bool = False,
    ) -> None:
        self.hidden = hidden
        self.dropout = dropout
        self.activation = activation
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.optimizer = optimizer
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.class_weight = class_weight
        self.packed_bits = packed_bits
        self.standardize = standardize
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def _kind(self) -> InputKind:
        return Rows() if self.packed_bits is None else PackedCodes(int(self.packed_bits))

    def _build(self, shape: tuple[int, ...], n_classes: int) -> nn.Module:
        sizes = [shape[0], *check_sizes(self, "hidden", self.hidden), n_classes]
        return Feedforward(sizes, self.activation, self.dropout)


def check_sizes(head: Head, name: str, sizes: Sequence[Any]) -> list[int]:
    """Layer sizes as a list; `ValueError` if one is not a whole number of at least 1."""
    for size in sizes:
        if not isinstance(size, Integral) or size < 1:
            raise ValueError(
                f"{type(head).__name__}({name}={sizes!r}) must hold whole numbers of at least 1"
            )
    return [int(size) for size in sizes]
