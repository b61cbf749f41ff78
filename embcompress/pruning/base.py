"""What every scheme of zeros gives, and the arithmetic that groups of weights share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch

if TYPE_CHECKING:
    from typing import Self

__all__ = ["KINDS", "MCP_SHAPE", "Form", "GroupScheme", "Scheme", "keep_top", "kept_count"]

KINDS = ("linear", "conv", "gru_input", "gru_recurrent", "lstm_input", "lstm_recurrent")
Form = Literal["soft", "hard", "mcp"]

# The second parameter of the minimax concave penalty: groups above so many tau do not shrink.
MCP_SHAPE = 3.0


class Scheme(ABC):
    """Which zeros a weight may have.

    A scheme holds plain numbers and knows nothing of models. Weights come as tensors of shape
    (O, I), one gate of a recurrent layer at a time, or (O, I, kh, kw) for convolutions; as a
    matrix the latter are (O, I * kh * kw). A scheme is a frozen dataclass; its constructor
    checks ranges.

    Every scheme has ``mask``, ``project``, ``check``, ``parts`` and ``&``. Others exist only
    where they make sense, so ask with ``hasattr``:

    ``with_sparsity(sparsity)``
        The same scheme with another sparsity: the nearest that it can do.
    ``group_norms(weight)``
        One L2 norm per group, shape (n_groups,), differentiable; the gradient at a group of
        zeros is zero.
    ``group_sizes(shape)``
        Number of weights in each group, shape (n_groups,).
    ``expand(values, shape)``
        One value per group, spread over the weights of the group.
    ``prox(weight, tau, form="soft")``
        Proximal map of a penalty on the group norms; see `GroupScheme.prox`.

    Attributes
    ----------
    sparsity : float
        Fraction of the weights that are removed, in [0, 1), before rounding to whole groups.
    layout : str
        How the survivors are best stored: "csr", "compact" (dense rows and columns), "bspc",
        "fkw" or "spm".
    kinds : tuple of str
        Kinds of layers that it fits, of `KINDS`.
    fixed_ratio : bool
        Whether each kernel or vector keeps a number that the scheme names.
    """

    kinds: ClassVar[tuple[str, ...]] = KINDS
    # the number kept of each kernel or vector is part of the scheme, not of its sparsity
    fixed_ratio: ClassVar[bool] = False

    if TYPE_CHECKING:  # read-only for readers; fields or properties of the final classes

        @property
        def sparsity(self) -> float:
            """Fraction removed."""

        @property
        def layout(self) -> str:
            """How the survivors are stored."""

    @abstractmethod
    def mask(self, score: torch.Tensor) -> torch.Tensor:
        """Which weights stay.

        Parameters
        ----------
        score : torch.Tensor
            Not negative, shape of the weight: its absolute value, or another importance. The
            score of a group is the L2 norm of its scores.

        Returns
        -------
        torch.Tensor
            bool, same shape, True = kept. Counts are exact: `kept_count` groups stay; among
            equal scores those of lower position stay.

        Raises
        ------
        ValueError
            If a score is negative or NaN, or the shape does not fit.
        """

    def project(self, weight: torch.Tensor) -> torch.Tensor:
        """The nearest allowed weight in Euclidean distance: ``weight`` where kept, else zero.

        Dropping a group costs its squared norm, so the best is to keep the largest.

        Parameters
        ----------
        weight : torch.Tensor
            Not changed.

        Returns
        -------
        torch.Tensor
            Same shape and dtype.
        """
        return weight.masked_fill(~self.mask(weight.detach().abs()), 0)

    def check(self, shape: tuple[int, ...], kind: str) -> None:
        """Raise if weights of this shape in a layer of this kind cannot have such zeros.

        Parameters
        ----------
        shape : tuple of int
            (O, I), or (O, I, kh, kw) where ``kind`` is "conv".
        kind : str
            One of `KINDS`.

        Raises
        ------
        ValueError
            Saying the scheme, the kind of layer, and which schemes fit it.
        """
        if kind not in KINDS:
            raise ValueError(f"layer kind {kind!r} is none of {', '.join(KINDS)}")
        name = type(self).__name__
        if kind not in self.kinds:
            raise ValueError(
                f"{name} does not fit {kind} layers: it fits {', '.join(self.kinds)}; "
                f"{kind} layers can have {', '.join(fitting(kind))}"
            )
        dimensions = 4 if kind == "conv" else 2
        if len(shape) != dimensions or min(shape) < 1:
            wanted = "(O, I, kh, kw)" if kind == "conv" else "(O, I)"
            raise ValueError(f"{name}: weights of {kind} layers are {wanted}, not {tuple(shape)}")
        self._check_shape(tuple(shape))

    def _check_shape(self, shape: tuple[int, ...]) -> None:  # noqa: B027 - a hook
        """Raise if a shape of the right dimensions does not fit; by default all fit."""

    @property
    def parts(self) -> tuple[Scheme, ...]:
        """The constraints that hold together: the scheme itself, or those that ``&`` joined."""
        return (self,)

    def __and__(self, other: Scheme) -> Scheme:
        """Both at once: ``other`` is applied to what this one leaves."""
        if not isinstance(other, Scheme):
            return NotImplemented
        from embcompress.pruning.overlapping import (
            Both,
        )  # it is built from schemes, so it comes later

        return Both(self, other)


class GroupScheme(Scheme):
    """Weights fall into disjoint groups, and whole groups are removed.

    Final classes say how to sum over groups (`_sums`), how to spread values over them
    (`expand`), and, unless the largest of all stay, which are kept (`_keep`).
    """

    @abstractmethod
    def _sums(self, tensor: torch.Tensor) -> torch.Tensor:
        """Sum of the entries of each group, shape (n_groups,), groups by position."""

    @abstractmethod
    def expand(self, values: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        """Spread one value per group over the weights of the group.

        Parameters
        ----------
        values : torch.Tensor
            Shape (n_groups,), any dtype.
        shape : tuple of int
            Shape of the weight.

        Returns
        -------
        torch.Tensor
            Of this shape.
        """

    def _keep(self, norms: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        """Which groups stay, bool (n_groups,), from their (squared) norms."""
        return keep_top(norms, kept_count(norms.numel(), self.sparsity))

    def mask(self, score: torch.Tensor) -> torch.Tensor:  # noqa: D102 - inherited
        shape = checked_score(score)
        self._check_shape(shape)
        # In double precision, equal groups of small integers or halves tie exactly.
        squares = self._sums(score.double().square())
        return self.expand(self._keep(squares, shape), shape)

    def group_norms(self, weight: torch.Tensor) -> torch.Tensor:
        """L2 norm of each group.

        Parameters
        ----------
        weight : torch.Tensor
            The live weight: gradients flow through.

        Returns
        -------
        torch.Tensor
            Shape (n_groups,). Its gradient is zero, not NaN, where all weights are zero.
        """
        return safe_sqrt(self._sums(weight.square()))

    def group_sizes(self, shape: tuple[int, ...]) -> torch.Tensor:
        """Number of weights in each group, shape (n_groups,), float32."""
        return self._sums(torch.ones(shape))

    def with_sparsity(self, sparsity: float) -> Self:
        """The same scheme with another sparsity."""
        from dataclasses import replace

        changes: dict[str, Any] = {"sparsity": sparsity}
        return replace(self, **changes)  # type: ignore[type-var]

    def prox(
        self, weight: torch.Tensor, tau: float | torch.Tensor, form: Form = "soft"
    ) -> torch.Tensor:
        r"""Proximal map: argmin over X of ``|X - W|^2 / 2 + sum_g penalty(|X_g|)``.

        With n the norm of a group of W, the group is scaled to the norm

        - "soft", penalty ``tau |x|``: ``max(0, n - tau)``;
        - "hard", penalty ``tau [x != 0]``: n if ``n^2 > 2 tau``, else 0;
        - "mcp", the minimax concave penalty ``tau |x| - x^2 / (2 c)`` up to ``c tau``, constant
          beyond, c = 3: 0 up to tau, ``(n - tau) c / (c - 1)`` up to ``c tau``, n beyond.

        Parameters
        ----------
        weight : torch.Tensor
            Not changed.
        tau : float or torch.Tensor of shape (n_groups,)
            Not negative; one value for all groups, or one for each.
        form : {"soft", "hard", "mcp"}, default "soft"
            The penalty.

        Returns
        -------
        torch.Tensor
            Same shape and dtype as ``weight``.

        Raises
        ------
        ValueError
            If tau is negative or the form is unknown.
        """
        check_prox(tau, form)
        return self._scaled(weight, lambda norms: _SHRUNK[form](norms, tau))

    def _scaled(self, weight: torch.Tensor, shrunk: Any) -> torch.Tensor:
        """The weight with each group scaled from norm n to norm ``shrunk(n)``."""
        norms = self.group_norms(weight)
        factors = torch.where(norms > 0, shrunk(norms) / norms.clamp_min(_TINY), 0)
        return weight * self.expand(factors.to(weight.dtype), tuple(weight.shape))


_TINY = torch.finfo(torch.float32).tiny


def _soft(norms: torch.Tensor, tau: float | torch.Tensor) -> torch.Tensor:
    return (norms - tau).clamp_min(0)


def _hard(norms: torch.Tensor, tau: float | torch.Tensor) -> torch.Tensor:
    return torch.where(norms.square() > 2 * tau, norms, 0)


def _mcp(norms: torch.Tensor, tau: float | torch.Tensor) -> torch.Tensor:
    firm = (norms - tau).clamp_min(0) * (MCP_SHAPE / (MCP_SHAPE - 1))
    return torch.where(norms > MCP_SHAPE * tau, norms, firm)


_SHRUNK = {"soft": _soft, "hard": _hard, "mcp": _mcp}


def fitting(kind: str) -> list[str]:
    """Names of the final schemes that fit a kind of layer, sorted."""
    classes, names = [Scheme], set()
    while classes:
        below = classes.pop().__subclasses__()
        classes += below
        names |= {c.__name__ for c in below if kind in c.kinds and not c.__subclasses__()}
    return sorted(names - {"Both"})


def kept_count(n_groups: int, sparsity: float) -> int:
    """How many of so many groups stay: the nearest whole number, halves up, never none.

    >>> kept_count(1024, 0.9), kept_count(15, 0.9), kept_count(4, 0.99)
    (102, 2, 1)
    """
    # Rounded first, for 15 * (1 - 0.9) is a little less than 1.5.
    return max(1, math.floor(round(n_groups * (1 - sparsity), 6) + 0.5))


def keep_top(values: torch.Tensor, count: int) -> torch.Tensor:
    """Mark the largest along the last axis, ties by position.

    Parameters
    ----------
    values : torch.Tensor of shape (..., n)
        Without NaN.
    count : int
        How many of each row, up to n.

    Returns
    -------
    torch.Tensor of shape (..., n)
        bool, exactly ``count`` are True in each row.
    """
    n = values.shape[-1]
    if count >= n:
        return torch.ones_like(values, dtype=torch.bool)
    threshold = values.kthvalue(n - count + 1, dim=-1, keepdim=True).values
    above, equal = values > threshold, values == threshold
    missing = count - above.sum(-1, keepdim=True)
    return above | (equal & (equal.cumsum(-1) <= missing))


def safe_sqrt(squares: torch.Tensor) -> torch.Tensor:
    """Square root whose gradient at zero is zero."""
    positive = squares > 0
    return torch.where(positive, torch.where(positive, squares, 1).sqrt(), 0)


def check_sparsity(sparsity: Any, name: str = "sparsity") -> None:
    """Raise unless it is a number in [0, 1)."""
    if isinstance(sparsity, bool) or not isinstance(sparsity, Real):
        raise TypeError(f"{name} must be a number, not {type(sparsity).__name__}")
    if not 0 <= float(sparsity) < 1:
        raise ValueError(
            f"{name}={sparsity} is not in [0, 1): it is the fraction of weights removed; "
            "for r times fewer weights give 1 - 1/r"
        )


def check_count(count: Any, name: str, *, least: int = 1) -> None:
    """Raise unless it is an integer that is large enough."""
    if isinstance(count, bool) or not isinstance(count, Integral):
        raise TypeError(f"{name} must be an integer, not {type(count).__name__}")
    if int(count) < least:
        raise ValueError(f"{name}={count} must be at least {least}")


def check_prox(tau: float | torch.Tensor, form: str) -> None:
    """Raise unless a proximal map with these is defined."""
    if form not in _SHRUNK:
        raise ValueError(f"form={form!r} is none of {', '.join(_SHRUNK)}")
    if not bool((torch.as_tensor(tau) >= 0).all()):
        raise ValueError("tau must not be negative")


def as_matrix(weight: torch.Tensor) -> torch.Tensor:
    """(O, I) as it is, (O, I, kh, kw) as (O, I * kh * kw)."""
    return weight.reshape(weight.shape[0], -1)


def checked_score(score: torch.Tensor) -> tuple[int, ...]:
    """The shape of a score, after a check of its values and axes."""
    if score.ndim not in (2, 4):
        raise ValueError(
            f"weights are (O, I) or (O, I, kh, kw), not {tuple(score.shape)}; "
            "give the gates of recurrent layers one by one"
        )
    if not bool((score >= 0).all()):
        raise ValueError("scores must be numbers that are not negative; the weights may be NaN")
    return tuple(score.shape)
