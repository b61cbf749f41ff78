"""What all heads share: the scikit-learn contract, training, pruning, files."""

from __future__ import annotations

import copy
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, _fit_context
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d
from torch import nn

from embcompress.heads.fitting import HeadBatches, batch_rows, predicted, run
from embcompress.heads.inputs import InputKind, Moments
from embcompress.heads.parameters import CONSTRAINTS
from embcompress.heads.streams import Stream
from embcompress.heads.targets import check_labels, encode, hold_out, row_weights
from embcompress.training import copy_model, deterministic, threads

if TYPE_CHECKING:
    from embcompress.runtime.records import Graph

__all__ = ["Head"]

Array = npt.NDArray[Any]


class Head(ClassifierMixin, BaseEstimator, ABC):
    """Base of the heads; a final class says what it takes and which network it is.

    Attributes
    ----------
    module_ : torch.nn.Module
        Takes standardized inputs (see :meth:`inputs`), gives logits of shape (n, n_classes).
    classes_ : ndarray of shape (n_classes,)
    n_features_in_ : int
        Columns of `X`; features per frame; channels.
    input_shape_ : tuple of int
        Shape of one input of the network; of one frame for sequences.
    mean_, scale_ : ndarray of float64, shape (n_features,), or None
        What inputs are standardized with; learned from the first data that the head sees.
    masks_ : mapping of str to bool tensor, or None
        What pruning left, by parameter of `module_`; None for a head that was not pruned.
    n_iter_ : int
        Epochs of training so far.
    loss_curve_ : list of float
        Mean loss of each of them.
    validation_scores_ : list of float or None
        Accuracy on the validation part after each epoch of the last fit, rows weighted as in
        training; None without early stopping.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = CONSTRAINTS
    # set by the constructors of the final classes
    max_epochs: int
    batch_size: int | str
    learning_rate: float
    weight_decay: float
    optimizer: str
    early_stopping: bool
    validation_fraction: float
    patience: int
    class_weight: Any
    standardize: bool
    random_state: Any
    n_jobs: int | None
    verbose: bool
    # learned
    module_: nn.Module
    classes_: Array
    masks_: Mapping[str, torch.Tensor] | None
    loss_curve_: list[float]
    validation_scores_: list[float] | None
    _optimizer: torch.optim.Optimizer | None

    @abstractmethod
    def _kind(self) -> InputKind:
        """What the head takes."""

    @abstractmethod
    def _build(self, shape: tuple[int, ...], n_classes: int) -> nn.Module:
        """A new network for inputs of this shape."""

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None) -> Head:
        """Train anew; a pruned head goes on from its weights instead, and its zeros stay zero.

        Parameters
        ----------
        X : array-like
            Inputs, see the class.
        y : array-like of shape (n_samples,)
            Labels: whole numbers, strings, booleans.
        sample_weight : array-like of shape (n_samples,), optional
            Not negative.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If `X` or `y` is not what the class takes, `y` has one class only, or a pruned head
            gets other features or classes than it has.
        NonFiniteLossError
            If the loss became infinite or NaN; the head holds its last good state.
        """
        kind, pruned = self._kind(), getattr(self, "masks_", None) is not None
        X, labels = self._labelled(X, y, reset=not pruned)
        if not pruned:
            self._start(np.unique(labels), kind.shape(X))
            self._learn_scale(kind, [X])
        self._optimizer = None
        rows, held = np.arange(len(X)), None
        if self.early_stopping:
            rows, held = hold_out(labels, self.validation_fraction, self._random)
        with self._running():
            batches = self._batches(X, labels, sample_weight)
            validation = None if held is None else batches.only(held, None)
            run(self, batches.only(rows, self._random), self.max_epochs, validation)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self,
        X: Any,
        y: npt.ArrayLike,
        classes: npt.ArrayLike | None = None,
        sample_weight: npt.ArrayLike | None = None,
    ) -> Head:
        """Train one epoch on these rows, going on from where the head is.

        Standardization is learned from the rows of the first call. There is no early stopping.

        Parameters
        ----------
        X : array-like
        y : array-like of shape (n_samples,)
        classes : array-like of shape (n_classes,), optional
            All classes that will come; needed in the first call.
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        self

        Raises
        ------
        ValueError
            As :meth:`fit`; if `classes` are missing or change; if ``class_weight="balanced"``,
            which needs all labels at once.
        """
        kind, first = self._kind(), not hasattr(self, "module_")
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight='balanced' needs all labels at once; for partial_fit give a dict"
            )
        X, labels = self._labelled(X, y, reset=first)
        if first:
            if classes is None:
                raise ValueError("classes must be given in the first call of partial_fit")
            self._start(np.unique(column_or_1d(classes)), kind.shape(X))
            self._learn_scale(kind, [X])
        elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise ValueError(f"classes={classes} are not those of the first call, {self.classes_}")
        with self._running():
            batches = self._batches(X, labels, sample_weight)
            run(self, batches.only(np.arange(len(X)), self._random), 1, None)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def fit_batches(
        self,
        batches: Iterable[Any],
        *,
        classes: npt.ArrayLike,
        n_features: int | None = None,
        validation: tuple[Any, npt.ArrayLike] | None = None,
    ) -> Head:
        """Train anew on batches that are made on the way; no more than one is held.

        Parameters
        ----------
        batches : iterable of (X, y) or (X, y, sample_weight)
            Gone through once per epoch, and once before for standardization or balanced classes:
            a list, or an object whose ``__iter__`` starts anew. Each batch is one step.
        classes : array-like of shape (n_classes,)
        n_features : int, optional
            What `n_features_in_` must become. Default: that of the first batch.
        validation : (X, y), optional
            Needed for early stopping.

        Returns
        -------
        self

        Raises
        ------
        TypeError
            If `batches` is a generator.
        ValueError
            As :meth:`fit`; if `batches` is empty, or early stopping has nothing to go by.
        """
        if self.early_stopping and validation is None:
            raise ValueError("early_stopping=True needs validation=(X, y) with batches")
        stream = Stream(self, batches)
        X = stream.first()
        if n_features is not None and self.n_features_in_ != n_features:
            raise ValueError(f"n_features={n_features}, but batches have {self.n_features_in_}")
        self._start(np.unique(column_or_1d(classes)), self._kind().shape(X))
        stream.learn()
        with self._running():
            held = None
            if self.early_stopping and validation is not None:
                held = self.batches(*validation, shuffle=False)
            run(self, stream, self.max_epochs, held)
        return self

    def predict(self, X: Any) -> Array:
        """Most probable class of each row.

        Parameters
        ----------
        X : array-like

        Returns
        -------
        labels : ndarray of shape (n_samples,)
        """
        scores = self._logits(X)
        return self.classes_[scores.argmax(axis=1)]

    def predict_proba(self, X: Any) -> Array:
        """Probability of each class.

        Parameters
        ----------
        X : array-like

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            Columns in the order of `classes_`.
        """
        scores = self._logits(X)
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        return scores / scores.sum(axis=1, keepdims=True)

    def decision_function(self, X: Any) -> Array:
        """Logits, before they become probabilities.

        Parameters
        ----------
        X : array-like

        Returns
        -------
        scores : ndarray of shape (n_samples, n_classes), or (n_samples,)
            With two classes the logit of the second minus that of the first.
        """
        scores = self._logits(X)
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    def inputs(self, X: Any) -> torch.Tensor:
        """What the network gets for `X`: checked, standardized, codes unpacked to -1 and 1.

        Parameters
        ----------
        X : array-like

        Returns
        -------
        inputs : tensor of float32
            All rows at once; :meth:`batches` makes them bit by bit.
        """
        check_is_fitted(self)
        kind = self._kind()
        X = kind.check(self, X, reset=False)
        stored = kind.prepare(X, self.mean_, self.scale_, np.float32)
        return kind.rows(stored, np.arange(len(X)))

    def batches(
        self,
        X: Any,
        y: npt.ArrayLike,
        sample_weight: npt.ArrayLike | None = None,
        *,
        shuffle: bool = True,
        random_state: Any = 0,
    ) -> HeadBatches:
        """Make training data for `module_`, as :func:`embcompress.training.train` takes it.

        Parameters
        ----------
        X : array-like
        y : array-like of shape (n_samples,)
        sample_weight : array-like of shape (n_samples,), optional
        shuffle : bool, default True
            A new order in every pass.
        random_state : int, RandomState or None, default 0

        Returns
        -------
        HeadBatches
            ``(inputs, labels)``, or ``(inputs, labels, weights)`` with weights of the mean 1
            where rows or classes are weighted; labels are positions in `classes_`.
        """
        check_is_fitted(self)
        X, labels = self._labelled(X, y, reset=False)
        random = check_random_state(random_state) if shuffle else None
        return self._batches(X, labels, sample_weight).only(np.arange(len(X)), random)

    def prune(
        self, how: Any, X: Any = None, y: Any = None, *, rate: float | None = None, **options: Any
    ) -> Head:
        """Make a pruned and retrained copy; see :func:`embcompress.heads.pruned.prune`.

        Parameters
        ----------
        how : str, Scheme or Masks
            Name of a recipe in `embcompress.pruning.recipes`, which zeros are allowed, or masks
            that somebody else has found, under which the head is retrained.
        X : array-like, optional
            Training data; some recipes do without.
        y : array-like of shape (n_samples,), optional
        rate : float, optional
            Original / kept weights, more than 1. Default: that of the recipe or scheme.
        **options
            For the recipe; for a scheme `solver` (default ADMM), `objective` (default
            TaskLoss), `data`, `finetune_epochs`, and what the solver's ``solve`` takes.

        Returns
        -------
        Head
            Of the same class, with `masks_`. Its own fit and partial_fit keep the zeros.
        """
        from embcompress.heads.pruned import prune

        check_is_fitted(self)
        with threads(self.n_jobs or 1):
            module, masks = prune(self, how, X, y, rate=rate, **options)
        return self._with_module(module, masks)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the head as one safetensors file; :func:`embcompress.heads.load` reads it.

        Parameters
        ----------
        path : path-like

        Raises
        ------
        TypeError
            If the classes are of a type that the file cannot hold.
        OSError
            If the file cannot be written; nothing is left behind.
        """
        from embcompress.heads.saving import save

        check_is_fitted(self)
        save(self, path)

    def layer_graph(self, masks: Mapping[str, Any] | None = None) -> Graph:
        """Describe the head as plain arrays; see :func:`embcompress.heads.lowered.layer_graph`."""
        from embcompress.heads.lowered import layer_graph

        check_is_fitted(self)
        return layer_graph(self, masks)

    def _labelled(self, X: Any, y: Any, *, reset: bool) -> tuple[Array, Array]:
        labels = check_labels(self, y)
        X = self._kind().check(self, X, reset=reset)
        check_consistent_length(X, labels)
        return X, labels

    def _start(self, classes: Array, shape: tuple[int, ...]) -> None:
        """Set everything learned to the beginning of a training."""
        if len(classes) < 2:
            raise ValueError(
                f"y has one class only, {classes[0]!r}; {type(self).__name__} needs at least 2 "
                "classes"
            )
        self.classes_, self.input_shape_ = classes, shape
        self._random = check_random_state(self.random_state)
        with deterministic(int(self._random.randint(2**31))):
            self.module_ = self._build(shape, len(classes)).eval()
        self.masks_ = None
        self._optimizer = None
        self.n_iter_, self.loss_curve_, self.validation_scores_ = 0, [], None

    def _learn_scale(self, kind: InputKind, parts: Iterable[Array]) -> None:
        self.mean_ = self.scale_ = None
        if self.standardize and kind.standardizes:
            moments = Moments(kind.feature_axis)
            for part in parts:
                moments.update(part)
            self.mean_, self.scale_ = moments.result()

    def _batches(self, X: Array, labels: Array, sample_weight: Any) -> HeadBatches:
        """Batches of checked rows, in their order."""
        kind = self._kind()
        targets = encode(labels, self.classes_)
        weights = row_weights(self.class_weight, sample_weight, targets, self.classes_)
        return HeadBatches(
            kind,
            kind.prepare(X, self.mean_, self.scale_, np.float32),
            torch.from_numpy(targets),
            None if weights is None else torch.from_numpy(weights),
            batch_size=batch_rows(self.batch_size, len(X)),
        )

    @contextmanager
    def _running(self) -> Iterator[None]:
        with threads(self.n_jobs or 1), deterministic(int(self._random.randint(2**31))):
            yield

    def _logits(self, X: Any) -> Array:
        check_is_fitted(self)
        with threads(self.n_jobs or 1):
            return predicted(self, self._kind().check(self, X, reset=False))

    def _with_module(self, module: nn.Module, masks: Mapping[str, torch.Tensor]) -> Head:
        """Copy of this head with another network of the same shape."""
        other = copy.copy(self)
        other.module_ = copy_model(module).eval()
        other.masks_ = masks
        return other._fresh()

    def _fresh(self) -> Head:
        """Forget what only a training that goes on has: the optimizer, the random numbers."""
        self._optimizer = None
        self._random = check_random_state(self.random_state)
        return self
