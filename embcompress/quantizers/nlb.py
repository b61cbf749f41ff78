"""Near-lossless binarization: an autoencoder whose code is binary."""

from __future__ import annotations

from numbers import Integral, Real
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.utils._param_validation import Interval

from embcompress._optional import require
from embcompress.encoder import Encoder
from embcompress.progress import ProgressBar
from embcompress.quantizers._encoders import fit_encoder
from embcompress.quantizers._moments import Moments
from embcompress.quantizers._rows import Needs, Rows
from embcompress.quantizers.base import BinaryQuantizer

__all__ = ["NLB"]

Floats = npt.NDArray[np.floating]

# Entries are divided by so many root mean squares, which puts nearly all of them into [-1, 1].
_SPREAD = 3.0
# Step lengths shrink by this factor with every epoch.
_DECAY = 0.95
_DECODER_ROWS = 20_000


class NLB(BinaryQuantizer):
    """Near-lossless binarization (Tissier, Gravier and Habrard, AAAI 2019).

    Bits are ``b = (W x >= 0)``, and a row is rebuilt as ``y = tanh(W^T b + c)`` with the same
    matrix W. Stochastic gradient descent lowers ``|x - y|^2 / 2 + regularization
    |W^T W - I|^2 / 2``; the gradient flows through the decoder alone, for a bit has none. This
    is made from the formulas of the paper. Where they leave a choice: entries are divided by
    three times their root mean square and cut to [-1, 1] for training, W starts with the norm
    of an orthogonal matrix, and steps are as long as the curvature allows. Needs PyTorch to
    fit, and nothing but NumPy afterwards.

    Parameters
    ----------
    n_bits : int, optional
        Code length, any number. Default: the number of features.
    regularization : float, default 1.0
        Weight of the second term; the paper uses 1 to 4.
    n_epochs : int, default 5
        Passes over the rows; the paper uses 5 to 10.
    batch_size : int, default 75
        Rows per step.
    learning_rate : float, default 1.0
        In units of ``1 / (n_bits / 4 + 10 regularization)``, about the inverse of the strongest
        curvature: along the mean of the bits, and towards orthogonality at the start. From 2 on
        steps overshoot. Falls by 5 % per epoch.
    random_state : int, RandomState or None, default None
        For the start and for the order of the rows.
    verbose : bool, default False
        Show a progress bar.

    Attributes
    ----------
    components_ : ndarray of shape (n_bits, n_features)
        W, which encodes, and decodes in training.
    bias_ : ndarray of shape (n_features,)
        c, in units of `input_scale_`.
    input_scale_ : float
        What entries were divided by.
    loss_curve_ : list of float
        Share of the squares of the cut entries that is lost, mean over each epoch.
    loss_ : float
        The last of them.
    encoder_ : Encoder
        Decodes by least squares in place of the hyperbolic tangent, which keeps files plain.
    n_bits_ : int

    Examples
    --------
    >>> import numpy as np
    >>> from embcompress import NLB
    >>> X = np.random.default_rng(0).normal(size=(200, 32))
    >>> NLB(n_bits=64, random_state=0).fit_transform(X).shape  # doctest: +SKIP
    (200, 8)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_bits": [Interval(Integral, 1, None, closed="left"), None],
        "regularization": [Interval(Real, 0, None, closed="left")],
        "n_epochs": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "random_state": ["random_state"],
        "verbose": ["boolean"],
    }

    def __init__(
        self,
        n_bits: int | None = None,
        *,
        regularization: float = 1.0,
        n_epochs: int = 5,
        batch_size: int = 75,
        learning_rate: float = 1.0,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.n_bits = n_bits
        self.regularization = regularization
        self.n_epochs = n_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.random_state = random_state
        self.verbose = verbose

    def _needs(self, n_features: int, n_bits: int) -> Needs:
        return Needs(None, covariance=False)

    def _learn(
        self, found: Moments, sample: Rows, n_bits: int, random: np.random.RandomState
    ) -> Encoder:
        X = sample.whole("NLB, which trains on single rows,")
        torch = require("torch", extra="torch", feature="NLB")
        size = float(np.sqrt(np.mean(np.square(X, dtype=np.float64))))
        self.input_scale_ = _SPREAD * size if size > 0 else 1.0
        rows = np.clip(X / self.input_scale_, -1, 1).astype(np.float32)
        W, c = self._train(torch, torch.from_numpy(rows), n_bits, random)
        self.components_, self.bias_ = W.astype(X.dtype), c.astype(X.dtype)
        self.loss_ = self.loss_curve_[-1]

        few = X[:: max(1, len(X) // _DECODER_ROWS)]
        return fit_encoder(few, np.zeros(X.shape[1]), self.components_.T, orthonormal=False)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.array_api_support = False  # tensors are trained on as arrays in memory
        return tags

    def _train(
        self, torch: ModuleType, rows: Any, n_bits: int, random: np.random.RandomState
    ) -> tuple[Floats, Floats]:
        """Gradient descent on batches in random order; rows is a tensor of shape (n, d)."""
        n, d = rows.shape
        W = torch.from_numpy(_starting_matrix(n_bits, d, random)).requires_grad_()
        c = torch.zeros(d, requires_grad=True)
        curvature = n_bits / 4 + 10 * self.regularization
        descent = torch.optim.SGD([W, c], lr=self.learning_rate / curvature)
        decay = torch.optim.lr_scheduler.ExponentialLR(descent, _DECAY)
        energy = max(float(rows.square().sum()), 1e-30)
        self.loss_curve_ = []
        steps = self.n_epochs * -(-n // self.batch_size)
        with ProgressBar("Training", steps, unit="steps", enabled=self.verbose) as bar:
            for _ in range(self.n_epochs):
                lost = 0.0
                order = torch.from_numpy(random.permutation(n))
                for batch in order.split(self.batch_size):
                    x = rows[batch]
                    bits = (x @ W.detach().T >= 0).to(x.dtype)
                    squares = (x - torch.tanh(bits @ W + c)).square().sum()
                    loss = squares / (2 * len(x)) + self.regularization * _unevenness(torch, W)
                    descent.zero_grad()
                    loss.backward()
                    descent.step()
                    lost += float(squares.detach())
                    bar.advance(1)
                decay.step()
                self.loss_curve_.append(lost / energy)
        return W.detach().numpy(), c.detach().numpy()


def _starting_matrix(n_bits: int, d: int, random: np.random.RandomState) -> Floats:
    """Uniform entries, scaled to the Frobenius norm of an orthogonal matrix."""
    W = random.uniform(-1, 1, size=(n_bits, d))
    return (W * np.sqrt(min(n_bits, d)) / np.linalg.norm(W)).astype(np.float32)


def _unevenness(torch: ModuleType, W: Any) -> Any:
    """``|W^T W - I|^2 / 2`` up to a constant, by way of the smaller Gram matrix."""
    gram = W.T @ W if W.shape[0] >= W.shape[1] else W @ W.T
    return (gram - torch.eye(len(gram))).square().sum() / 2
