"""A small network that moves embeddings; PyTorch trains it, numpy runs it."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.utils._param_validation import Interval

from embcompress._optional import require
from embcompress.augmentation.base import Operator, cast
from embcompress.augmentation.pairs import Pairs

__all__ = ["ResidualMLP"]

Floats = npt.NDArray[np.floating]

_BATCH_ROWS = 64


class ResidualMLP(Operator):
    """One hidden layer on top of the mean displacement; needs PyTorch to fit, not to use.

    ``A(z) = z + offset + s W2 relu(W1 (z - mean) / s + b1)``, s the root mean square of
    ``z - mean``, W2 zero at the start, so that training begins at the offset. Rows of a part held
    out say when to stop. It can explain more than a linear operator on inputs like those of the
    fit, and tends to explain less on others.

    Parameters
    ----------
    hidden : int, default 256
    max_epochs : int, default 200
    learning_rate : float, default 0.001
    weight_decay : float, default 0.01
    validation_fraction : float, default 0.2
    patience : int, default 20
        Epochs without a better validation error before training stops.
    random_state : int, Generator or None, default None
        Only for :meth:`fit`; an augmenter passes its own.

    Attributes
    ----------
    mean_, offset_ : ndarray of shape (d,)
    scale_ : float
    inner_ : ndarray of shape (d, hidden)
    bias_ : ndarray of shape (hidden,)
    outer_ : ndarray of shape (hidden, d)
    n_iter_ : int
        Epochs.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "hidden": [Interval(Integral, 1, None, closed="left")],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "patience": [Interval(Integral, 1, None, closed="left")],
    }
    _arrays: ClassVar[tuple[str, ...]] = ("mean_", "offset_", "inner_", "bias_", "outer_")
    _needs: ClassVar[int] = 20
    _instead: ClassVar[str] = "ridge"

    def __init__(
        self,
        hidden: int = 256,
        *,
        max_epochs: int = 200,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-2,
        validation_fraction: float = 0.2,
        patience: int = 20,
        random_state: Any = None,
    ) -> None:
        self.hidden = hidden
        self.max_epochs = max_epochs
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.random_state = random_state

    def _learn(self, pairs: Pairs, random: np.random.Generator) -> None:
        require("torch", extra="torch", feature="ResidualMLP")
        from embcompress.training import deterministic, threads

        self.mean_, self.offset_ = pairs.sources.mean, pairs.offset
        spread = float(np.sqrt(np.square(pairs.sources.centred, dtype=np.float64).mean()))
        self.scale_ = spread if spread > 0 else 1.0
        X = (pairs.sources.centred / self.scale_).astype(np.float32)
        R = (pairs.centred / self.scale_).astype(np.float32)
        with threads(1), deterministic(int(random.integers(2**31))):
            weights, self.n_iter_ = _train(self, X, R, random)
        dtype = pairs.sources.Z.dtype
        self.inner_, self.bias_, self.outer_ = (part.astype(dtype) for part in weights)

    def _displace(self, Z: Floats, random: np.random.Generator, params: Any) -> Floats:
        hidden = (Z - cast(self.mean_, Z)) / Z.dtype.type(self.scale_) @ cast(self.inner_, Z)
        hidden += cast(self.bias_, Z)
        np.maximum(hidden, 0, out=hidden)
        out = hidden @ cast(self.outer_, Z)
        out *= Z.dtype.type(self.scale_)
        out += cast(self.offset_, Z)
        return out

    @property
    def macs(self) -> int:
        """Multiply-accumulate steps for one embedding."""
        return self.inner_.size + self.outer_.size


def _train(
    options: ResidualMLP, X: Floats, R: Floats, random: np.random.Generator
) -> tuple[list[Floats], int]:
    """Weights (d, hidden), (hidden,), (hidden, d) with the best validation error, and epochs."""
    import torch

    n, d = X.shape
    order = random.permutation(n)
    aside = max(1, round(options.validation_fraction * n))
    inputs, targets = torch.from_numpy(X), torch.from_numpy(R)
    held, used = torch.from_numpy(order[:aside]), torch.from_numpy(order[aside:])
    inner, outer = (
        torch.nn.Linear(d, options.hidden),
        torch.nn.Linear(options.hidden, d, bias=False),
    )
    torch.nn.init.zeros_(outer.weight)
    model = torch.nn.Sequential(inner, torch.nn.ReLU(), outer)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay
    )

    def kept() -> list[Floats]:
        tensors = (inner.weight.T, inner.bias, outer.weight.T)
        return [tensor.detach().numpy().copy() for tensor in tensors]

    best, weights, since, n_epochs = float(targets[held].square().mean()), kept(), 0, 0
    while n_epochs < options.max_epochs and since < options.patience:
        n_epochs, since = n_epochs + 1, since + 1
        for rows in used[torch.randperm(len(used))].split(_BATCH_ROWS):
            optimizer.zero_grad()
            (model(inputs[rows]) - targets[rows]).square().mean().backward()
            optimizer.step()
        with torch.no_grad():
            error = float((model(inputs[held]) - targets[held]).square().mean())
        if error < best:
            best, weights, since = error, kept(), 0
    return weights, n_epochs
