"""Batches to prune with: labelled rows, or random inputs where the real ones are private.

Any object that can be iterated again and again and gives tuples of tensors will do: a list, or a
`DataLoader`. The two classes here are seeded, so that the same call gives the same result.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor

from embcompress.training import Batch

__all__ = ["LabelledBatches", "RandomInputs"]

Distribution = Literal["uniform", "gaussian", "unit_sphere", "signs"]
_DISTRIBUTIONS = ("uniform", "gaussian", "unit_sphere", "signs")

# how far the norms of rows may be from 1 for the rows to count as unit vectors
_UNIT_TOLERANCE = 1e-3


class LabelledBatches:
    """Rows and labels in shuffled batches.

    Every pass has a new order; the sequence of orders follows from the seed. A pass belongs to
    the object, so two passes differ; solvers begin with :meth:`rewound` copies.

    Parameters
    ----------
    X : array-like or Tensor of shape (n, ...)
        Floating point is made float32; other types stay.
    y : array-like or Tensor of shape (n,)
        Classes, 0 to n_classes - 1 (made int64), or real targets (made float32).
    batch_size : int, default 64
        The last batch of a pass may be smaller.
    shuffle : bool, default True
    seed : int, default 0
    sample_weight : array-like of shape (n,), optional
        Not negative; given as the third tensor of each batch.

    Raises
    ------
    ValueError
        If the lengths differ, there is no row, or a number is out of range.
    TypeError
        If `y` is not numeric: encode class names first.

    Examples
    --------
    >>> data = LabelledBatches(np.eye(3), [0, 1, 2], batch_size=2, shuffle=False)
    >>> [tuple(inputs.shape) for inputs, labels in data]
    [(2, 3), (1, 3)]
    """

    def __init__(
        self,
        X: Any,
        y: Any,
        batch_size: int = 64,
        shuffle: bool = True,
        seed: int = 0,
        sample_weight: Any = None,
    ) -> None:
        self.X = _tensor(X, "X")
        self.y = _tensor(y, "y")
        if self.X.ndim < 2:
            raise ValueError(f"X has shape {tuple(self.X.shape)}; rows of features are needed")
        if len(self.X) != len(self.y) or len(self.X) == 0:
            raise ValueError(
                f"X has {len(self.X)} rows and y {len(self.y)}; as many, and at least one, "
                "are needed"
            )
        self.y = self.y.float() if self.y.is_floating_point() else self.y.long()
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size} must be at least 1")
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.sample_weight = None if sample_weight is None else _weights(sample_weight, len(self.X))
        self._passes = 0

    def __len__(self) -> int:
        """Number of batches of a pass."""
        return -(-len(self.X) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        generator = _generator(self.seed, self._passes)
        self._passes += 1
        n = len(self.X)
        order = torch.randperm(n, generator=generator) if self.shuffle else torch.arange(n)
        columns = [self.X, self.y]
        if self.sample_weight is not None:
            columns.append(self.sample_weight)
        for rows in order.split(self.batch_size):
            yield tuple(column[rows] for column in columns)

    def rewound(self) -> Self:
        """Copy that begins with the first pass; the rows are shared."""
        twin = copy.copy(self)
        twin._passes = 0
        return twin


class RandomInputs:
    """Batches of random inputs, for pruning without data.

    Privacy-preserving pruning (Zhan et al., arXiv 2003.06513) distills a model from random pixels.
    Embeddings are no pixels, so the distribution can be chosen; this choice is our specification.

    Parameters
    ----------
    shape : int or tuple of int
        Of one input, without the axis of the batch.
    distribution : {"uniform", "gaussian", "unit_sphere", "signs"}, default "uniform"
        Uniform from `low` to `high`; normal with `mean` and `scale`; directions, uniform on the
        sphere over the last axis; or -1 and +1 with equal chance, as unpacked codes.
    n_batches : int, default 32
        Batches of a pass; every pass has new inputs.
    batch_size : int, default 64
    seed : int, default 0
    low, high : float or array-like, default 0 and 1
        Anything that broadcasts against `shape`.
    mean, scale : float or array-like, default 0 and 1

    Raises
    ------
    ValueError
        If a number is out of range or the distribution unknown.

    Examples
    --------
    >>> data = RandomInputs(5, "unit_sphere", n_batches=1, batch_size=2)
    >>> [(round(float(x[0].norm()), 4), tuple(x.shape)) for (x,) in data]
    [(1.0, (2, 5))]
    """

    def __init__(
        self,
        shape: int | tuple[int, ...],
        distribution: Distribution = "uniform",
        n_batches: int = 32,
        batch_size: int = 64,
        seed: int = 0,
        *,
        low: Any = 0.0,
        high: Any = 1.0,
        mean: Any = 0.0,
        scale: Any = 1.0,
    ) -> None:
        self.shape = (shape,) if isinstance(shape, int) else tuple(shape)
        if distribution not in _DISTRIBUTIONS:
            raise ValueError(
                f"distribution={distribution!r} is unknown; use {', '.join(_DISTRIBUTIONS)}"
            )
        if min(n_batches, batch_size, *self.shape) < 1:
            raise ValueError(
                f"n_batches={n_batches}, batch_size={batch_size} and shape={self.shape} must "
                "all be at least 1"
            )
        self.distribution = distribution
        self.n_batches = n_batches
        self.batch_size = batch_size
        self.seed = seed
        self.low, self.high = self._bounds(low, "low"), self._bounds(high, "high")
        self.mean, self.scale = self._bounds(mean, "mean"), self._bounds(scale, "scale")
        if (self.high < self.low).any() or (self.scale < 0).any():
            raise ValueError("high must not be below low, and scale not negative")
        self._passes = 0

    @classmethod
    def like(
        cls, inputs: Any, *, n_batches: int = 32, batch_size: int = 64, seed: int = 0
    ) -> RandomInputs:
        """Match the kind and scale of given inputs, or of statistics that somebody sent.

        Inputs that are all -1 and +1 give signs, unit vectors give directions, all others normal
        numbers with the mean and scale of each feature (of each channel, for images).

        Parameters
        ----------
        inputs : array-like of shape (n, ...), or mapping
            A mapping holds ``shape`` and any of ``distribution``, ``low``, ``high``, ``mean``,
            ``scale``: enough to prune without a single input.
        n_batches, batch_size, seed : int

        Returns
        -------
        RandomInputs
        """
        sizes: dict[str, Any] = {"n_batches": n_batches, "batch_size": batch_size, "seed": seed}
        if isinstance(inputs, Mapping):
            default = "uniform" if {"low", "high"} & set(inputs) else "gaussian"
            return cls(**{"distribution": default, **inputs, **sizes})
        rows = _tensor(inputs, "inputs").float()
        if rows.ndim < 2 or len(rows) == 0:
            raise ValueError(f"inputs has shape {tuple(rows.shape)}; rows of features are needed")
        shape = tuple(rows.shape[1:])
        if bool((rows.abs() == 1).all()):
            return cls(shape, "signs", **sizes)
        if rows.ndim == 2 and bool(((rows.norm(dim=-1) - 1).abs() < _UNIT_TOLERANCE).all()):
            return cls(shape, "unit_sphere", **sizes)
        # features are the last axis of rows and sequences, channels the first of images
        axis = 1 if rows.ndim == 4 else rows.ndim - 1
        others = [i for i in range(rows.ndim) if i != axis]
        mean, scale = rows.mean(others, keepdim=True)[0], rows.std(others, keepdim=True)[0]
        return cls(shape, "gaussian", mean=mean, scale=scale.nan_to_num(0.0), **sizes)

    def __len__(self) -> int:
        """Number of batches of a pass."""
        return self.n_batches

    def __iter__(self) -> Iterator[Batch]:
        generator = _generator(self.seed, self._passes)
        self._passes += 1
        for _ in range(self.n_batches):
            yield (self._draw(generator),)

    def rewound(self) -> Self:
        """Copy that begins with the first pass."""
        twin = copy.copy(self)
        twin._passes = 0
        return twin

    def _draw(self, generator: torch.Generator) -> Tensor:
        size = (self.batch_size, *self.shape)
        if self.distribution == "uniform":
            return self.low + (self.high - self.low) * torch.rand(size, generator=generator)
        if self.distribution == "signs":
            return torch.randint(0, 2, size, generator=generator).float() * 2 - 1
        normal = torch.randn(size, generator=generator)
        if self.distribution == "gaussian":
            return self.mean + self.scale * normal
        return normal / normal.norm(dim=-1, keepdim=True)

    def _bounds(self, value: Any, name: str) -> Tensor:
        tensor = torch.as_tensor(value, dtype=torch.float32)
        try:
            fits = torch.broadcast_shapes(tensor.shape, self.shape) == self.shape
        except RuntimeError:
            fits = False
        if not fits or not bool(torch.isfinite(tensor).all()):
            raise ValueError(
                f"{name} has shape {tuple(tensor.shape)}; a finite number, or an array that "
                f"broadcasts to {self.shape}, is needed"
            )
        return tensor


def rewound(data: Iterable[Batch]) -> Iterable[Batch]:
    """A copy of the batches that starts from the first pass, where they know how to."""
    if iter(data) is data:
        raise TypeError(
            "data can be gone through only once; give a list of batches, LabelledBatches, "
            "RandomInputs, or another object whose __iter__ starts anew"
        )
    return data.rewound() if hasattr(data, "rewound") else data


def _generator(seed: int, passes: int) -> torch.Generator:
    # two numbers into one well mixed seed: neighbouring seeds share no pass
    state = np.random.SeedSequence((seed, passes)).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))


def _tensor(values: Any, name: str) -> Tensor:
    if isinstance(values, Tensor):
        tensor = values.detach()
    else:
        array = np.asarray(values)
        if array.dtype.kind not in "biuf":
            raise TypeError(
                f"{name} has dtype {array.dtype}; numbers are needed (encode class names as "
                "0 to n_classes - 1 first)"
            )
        # copied: torch warns about read-only arrays, and callers may change theirs
        tensor = torch.from_numpy(np.array(array, order="C"))
    return tensor.float() if tensor.is_floating_point() else tensor


def _weights(values: Any, n: int) -> Tensor:
    weights = _tensor(values, "sample_weight").float()
    if weights.shape != (n,) or not bool((weights >= 0).all()):
        raise ValueError(
            f"sample_weight has shape {tuple(weights.shape)}; {n} numbers that are not negative "
            "are needed"
        )
    return weights
