"""Operators for several augmentations, fitted together and drawn at random."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data

from embcompress.augmentation.applying import mapped_labels, stack_views, strengths, view
from embcompress.augmentation.base import Operator, generator
from embcompress.augmentation.costs import compute_cost
from embcompress.augmentation.diagnostics import OperatorReport, warn_if_weak
from embcompress.augmentation.fitting import fit_all, held_out_report, to_held_out_size
from embcompress.augmentation.pairs import Pairs, Sources
from embcompress.augmentation.parameters import CONSTRAINTS
from embcompress.augmentation.residuals import ResidualNoise
from embcompress.augmentation.sampler import EmbeddingSampler
from embcompress.augmentation.streams import AugmentedBatches

__all__ = ["EmbeddingAugmenter"]

Floats = npt.NDArray[np.floating]
Array = npt.NDArray[Any]


class EmbeddingAugmenter(BaseEstimator):
    """Estimates the embeddings of augmented inputs from the embeddings of the inputs.

    Fitted once on pairs, embeddings of some inputs before and after each augmentation; labels are
    not needed. From then on every view of an input costs one small operator instead of a pass of
    the backbone: ``z + strength * (displacement(z) + noise)``. Fit on training folds only, and on
    inputs from the domain that the views are for. Follows the idea of arXiv:2002.04776,
    independently specified.

    Parameters
    ----------
    operator : str, Operator, or dict of name to either, default "gainridge"
        ``"gainridge"`` (:class:`GainRidge`; :class:`ParameterConditioned` where strengths are
        given), ``"ridge"``, ``"lowrank"``, ``"diagonal"``, ``"offset"``, ``"bank"``, ``"mlp"``.
    noise : {None, "diagonal", "factors", "bank"}, default None
        What stands for the displacement that an operator does not explain: nothing; normal
        noise, independent per dimension or along the `noise_rank` strongest directions of the
        residuals as well; or the residual of a random stored pair, each predicted by the fit to
        all the others.
    noise_scale : float, default 1
        1: as strong as the residuals; 0: none.
    noise_rank : int, default 32
        Directions of ``noise="factors"``.
    noise_match : {"residual", "moments"}, default "residual"
        Variance of the noise per dimension: that of the residuals, or what augmented embeddings
        have beyond the predicted ones, so that the variances of both match.
    noise_neighbors : int, optional
        ``noise="bank"`` draws among the residuals of so many nearest inputs. Default: of all.
    strength : float or (float, float), default 1
        Factor on the displacement; a range is drawn from for each embedding. 0 is the identity,
        exactly.
    nonnegative : bool, default False
        Clip at 0, for embedders that end in a ReLU.
    normalize : bool, default False
        Scale to length 1, for embedders that do.
    n_views : int, optional
        Views of each embedding in :meth:`fit_resample`, operators drawn at random. Default: one
        by each operator.
    holdout : float, default 0.2
        Share of the pairs that `report_` is measured on, by operators fitted to the others; the
        operators that stay are fitted to all. 0: measure by leaving out one at a time.
    label_maps : dict, optional
        Name of an augmentation -> {label: label of its views}, for those that change labels.
    random_state : int, Generator, RandomState or None, default None
        With an int, each call draws the same.
    verbose : bool, default False
        Show a progress bar.

    Attributes
    ----------
    operators_ : dict of str to Operator
    noises_ : dict of str to ResidualNoise or None
    names_ : list of str
    report_ : dict of str to OperatorReport
        ``rho``, ``rel``, ``cosine`` and more per operator, on pairs held out.
    n_pairs_ : int
    n_features_in_ : int

    Examples
    --------
    >>> import numpy as np
    >>> from embcompress.augmentation import EmbeddingAugmenter
    >>> Z = np.random.default_rng(0).normal(size=(300, 8)).astype("float32")
    >>> augmenter = EmbeddingAugmenter(random_state=0).fit(Z, {"mirror": Z[:, ::-1]})
    >>> augmenter.transform(Z[:2], name="mirror").dtype
    dtype('float32')
    >>> X, y = augmenter.fit_resample(Z, np.arange(300) % 2)
    >>> X.shape, y.shape
    ((600, 8), (600,))
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = CONSTRAINTS

    operators_: dict[str, Operator]
    noises_: dict[str, ResidualNoise | None]
    report_: dict[str, OperatorReport]

    def __init__(
        self,
        operator: Any = "gainridge",
        *,
        noise: str | None = None,
        noise_scale: float = 1.0,
        noise_rank: int = 32,
        noise_match: str = "residual",
        noise_neighbors: int | None = None,
        strength: float | tuple[float, float] = 1.0,
        nonnegative: bool = False,
        normalize: bool = False,
        n_views: int | None = None,
        holdout: float = 0.2,
        label_maps: Mapping[str, Mapping[Any, Any]] | None = None,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.operator = operator
        self.noise = noise
        self.noise_scale = noise_scale
        self.noise_rank = noise_rank
        self.noise_match = noise_match
        self.noise_neighbors = noise_neighbors
        self.strength = strength
        self.nonnegative = nonnegative
        self.normalize = normalize
        self.n_views = n_views
        self.holdout = holdout
        self.label_maps = label_maps
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, Z: npt.ArrayLike, views: Mapping[str, Any]) -> EmbeddingAugmenter:
        """Learn from embeddings of inputs and of their augmented views.

        Parameters
        ----------
        Z : array-like of shape (m, d)
        views : mapping of str to array-like
            Name of the augmentation -> embeddings, shape (m, d), row i of an augmented view of
            input i; or (v, m, d) for v views of each. A tuple ``(embeddings, params)`` says how
            strongly each was augmented, see :class:`ParameterConditioned`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If shapes do not fit, something is not finite, or there are no views.

        Warns
        -----
        UserWarning
            If an operator leaves more than half of the displacement of held-out pairs
            unexplained, there are fewer than d / 3 pairs, or too few for a form, which then falls
            back to a simpler one.
        """
        self._validate_params()
        strengths(self.strength, 1, np.random.default_rng(0))  # a bad range is refused here
        rows = self._rows(Z, reset=True)
        if not views:
            raise ValueError("views is empty; give {name: embeddings of the augmented inputs}")
        sources = Sources(rows)
        pairs = [Pairs.given(sources, str(name), view) for name, view in views.items()]
        random = generator(self.random_state)
        fitted = fit_all(self, pairs, random)
        self.report_ = held_out_report(self, pairs, fitted, random)
        if self.noise_match == "residual":
            fitted = to_held_out_size(pairs, fitted, self.report_, random)
        self.names_ = list(fitted)
        self.n_pairs_ = len(rows)
        self.operators_ = {name: fit.operator for name, fit in fitted.items()}
        self.noises_ = {name: fit.noise for name, fit in fitted.items()}
        warn_if_weak(self)
        return self

    def fit_pairs(
        self,
        embed: Callable[[Any], Any],
        raw_inputs: Sequence[Any],
        transforms: Mapping[str, Any],
        *,
        n_views: int = 1,
        batch_size: int = 64,
    ) -> EmbeddingAugmenter:
        """Embed raw inputs and their views, once each, and learn from them.

        Parameters
        ----------
        embed : callable
            Batch of raw inputs, or of views in the same form (array, tensor, list) -> embeddings
            (b, d). In evaluation mode, with the same preprocessing for both.
        raw_inputs : array, tensor or sequence
        transforms : mapping of str to callable
            Name -> function of one raw input that gives its augmented view; or a tuple
            ``(function, params)``, whose function also takes the strength ``params[i]``.
        n_views : int, default 1
            Views of each input, for transforms that draw.
        batch_size : int, default 64
            Raw inputs per call of `embed`.

        Returns
        -------
        self

        Warns
        -----
        UserWarning
            As :meth:`fit`; if `embed` is a network in training mode.
        """
        from embcompress.augmentation.views import embed_pairs

        Z, views = embed_pairs(
            embed, raw_inputs, transforms, n_views=n_views, batch_size=batch_size,
            verbose=self.verbose,
        )  # fmt: skip
        return self.fit(Z, views)

    def transform(
        self,
        Z: npt.ArrayLike,
        name: str | None = None,
        *,
        strength: Any = None,
        params: Any = None,
        random_state: Any = None,
    ) -> Floats:
        """One augmented view of each embedding.

        Parameters
        ----------
        Z : array-like of shape (n, d)
        name : str, optional
            Which operator. Default: one drawn at random for each row.
        strength : float, (low, high) or ndarray of shape (n,), optional
            Default: that of the constructor.
        params : float, array-like of shape (n,) or (n, p), optional
            Strengths in the unit of the raw transform, for :class:`ParameterConditioned`.
            Default: drawn from those that were fitted on.
        random_state : int, Generator or None
            Default: that of the constructor.

        Returns
        -------
        ndarray of shape (n, d)
            float32 if `Z` is float32 or float16, else float64.

        Raises
        ------
        ValueError
            If the name is unknown, or `Z` is not what was fitted on.
        """
        rows, random = self._check(Z), self._generator(random_state)
        if name is None:
            if params is not None:
                raise ValueError("params are those of one operator; give its name too")
            chosen = random.integers(0, len(self.names_), len(rows))
        else:
            chosen = np.full(len(rows), self._index(name))
        factors = strengths(self.strength if strength is None else strength, len(rows), random)
        return view(self, rows, chosen, factors, params, random)

    def augment(
        self, X: npt.ArrayLike, y: Any = None, *, random_state: Any = None
    ) -> tuple[Floats, Any]:
        """One view of each row by an operator drawn at random, with its label.

        Parameters
        ----------
        X : array-like of shape (n, d)
        y : array-like, optional
            Comes back as it is, but for `label_maps`.
        random_state : int, Generator or None

        Returns
        -------
        tuple of ndarray of shape (n, d), and y
        """
        rows, random = self._check(X), self._generator(random_state)
        chosen = random.integers(0, len(self.names_), len(rows))
        factors = strengths(self.strength, len(rows), random)
        return view(self, rows, chosen, factors, None, random), mapped_labels(self, y, chosen)

    def fit_resample(
        self,
        X: npt.ArrayLike,
        y: Any,
        *,
        n_views: int | None = None,
        include_original: bool = True,
        random_state: Any = None,
    ) -> tuple[Floats, Array]:
        """Stack embeddings and views of them, originals first.

        Learns nothing, whatever its name, which is that of imbalanced-learn; in a Pipeline of
        that package use :meth:`sampler`.

        Parameters
        ----------
        X : array-like of shape (n, d)
        y : array-like of shape (n,)
        n_views : int, optional
            Default: that of the constructor.
        include_original : bool, default True
        random_state : int, Generator or None

        Returns
        -------
        X : ndarray of shape (n * (1 + n_views), d)
            All originals, then all first views, and so on.
        y : ndarray of shape (n * (1 + n_views),)
        """
        rows, random = self._check(X), self._generator(random_state)
        labels = np.asarray(y)
        check_consistent_length(rows, labels)
        n_views = self.n_views if n_views is None else n_views
        return stack_views(self, rows, labels, n_views, random, include_original=include_original)

    def batches(
        self,
        Z: Any,
        y: npt.ArrayLike,
        batch_size: int = 64,
        *,
        n_views: int = 1,
        p_keep: float | None = None,
        shuffle: bool = True,
        random_state: Any = None,
    ) -> AugmentedBatches:
        """Batches for ``Head.fit_batches``, with fresh views in each pass.

        Parameters
        ----------
        Z : array of shape (n, d), or EmbeddingCache
        y, batch_size, n_views, shuffle, random_state
            As in :class:`AugmentedBatches`.
        p_keep : float, optional
            Probability that a row stays as it is. Default: ``1 / (1 + number of operators)``,
            the mixture of :meth:`fit_resample`.
        """
        check_is_fitted(self)
        return AugmentedBatches(
            self, Z, y, batch_size=batch_size, n_views=n_views, shuffle=shuffle,
            p_keep=1 / (1 + len(self.names_)) if p_keep is None else p_keep,
            random_state=self._generator(random_state),
        )  # fmt: skip

    def sampler(self, n_views: int | None = None) -> EmbeddingSampler:
        """Make a step for a Pipeline of imbalanced-learn, which augments in ``fit`` only.

        Parameters
        ----------
        n_views : int, optional
        """
        check_is_fitted(self)
        return EmbeddingSampler(self, n_views=n_views)

    def cost(
        self,
        backbone_macs: float,
        n: int,
        epochs: int = 1,
        *,
        n_views: int | None = None,
        n_fit: int = 0,
    ) -> dict[str, float]:
        """Computation against augmentation of raw inputs.

        Parameters
        ----------
        backbone_macs, n, epochs, n_fit
            As in :func:`compute_cost`.
        n_views : int, optional
            Default: as :meth:`fit_resample`.

        Returns
        -------
        dict of str to float
        """
        check_is_fitted(self)
        views = n_views or self.n_views or len(self.names_)
        macs = float(np.mean([self.report_[name]["macs"] for name in self.names_]))
        return compute_cost(
            backbone_macs, macs, n=n, n_views=views, epochs=epochs, n_fit=n_fit,
            n_operators=len(self.names_),
        )  # fmt: skip

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write operators, noise and report as one safetensors file; see :meth:`load`."""
        from embcompress.augmentation.saving import save

        check_is_fitted(self)
        save(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> EmbeddingAugmenter:
        """Read what :meth:`save` wrote; `FormatError` if the file is damaged or another."""
        from embcompress.augmentation.saving import load

        return load(path)

    def _check(self, Z: Any) -> Floats:
        check_is_fitted(self)
        return self._rows(Z, reset=False)

    def _rows(self, Z: Any, *, reset: bool) -> Floats:
        if getattr(Z, "dtype", None) == np.float16:
            Z = np.asarray(Z, dtype=np.float32)
        return validate_data(self, Z, dtype=[np.float64, np.float32], reset=reset)

    def _generator(self, random_state: Any) -> np.random.Generator:
        return generator(self.random_state if random_state is None else random_state)

    def _index(self, name: str) -> int:
        if name not in self.names_:
            raise ValueError(f"no operator is called {name!r}; fitted are {', '.join(self.names_)}")
        return self.names_.index(name)
