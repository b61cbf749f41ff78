"""Schemes whose groups overlap: rows with columns, and any two at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch

from embcompress.pruning.base import (
    MCP_SHAPE,
    Form,
    Scheme,
    as_matrix,
    check_prox,
    check_sparsity,
    checked_score,
    keep_top,
    kept_count,
)
from embcompress.pruning.schemes import Column, Filter

__all__ = ["Both", "RowColumn"]

# Dykstra's alternation ends when a round moves the point by less, relative to the weight.
_TOLERANCE = 1e-5
_ROUNDS = 200


@dataclass(frozen=True)
class RowColumn(Scheme):
    """Whole rows and whole columns at once, so that a smaller dense matrix remains (SS-Auto).

    Which rows and which columns to keep is chosen together, by turns until nothing improves,
    from both starts (rows first, columns first). No single exchange of all rows or all columns
    is better, but the best pair is a hard problem, so `project` may miss it.

    Parameters
    ----------
    sparsity : float, optional
        Fraction of the weights removed, in [0, 1); rows and columns are thinned alike, each by
        ``1 - sqrt(1 - sparsity)``, unless their own are given.
    row_sparsity, column_sparsity : float, optional
        Fractions of the rows and of the columns removed. If one is given, the other is 0.

    Notes
    -----
    The groups of `group_norms` and `expand` are all rows, then all columns. `expand` multiplies
    the value of the row and that of the column (True where both are, for bool).
    """

    sparsity: float = math.nan  # computed below where it is not given
    row_sparsity: float | None = None
    column_sparsity: float | None = None
    layout = "compact"
    kinds: ClassVar[tuple[str, ...]] = ("linear", "conv")

    def __post_init__(self) -> None:
        rows, columns = self.row_sparsity, self.column_sparsity
        if rows is None and columns is None:
            if isinstance(self.sparsity, float) and math.isnan(self.sparsity):
                raise ValueError("RowColumn needs sparsity, or row_sparsity and column_sparsity")
            check_sparsity(self.sparsity)
            rows = columns = 1 - math.sqrt(1 - self.sparsity)
        rows, columns = rows or 0.0, columns or 0.0
        check_sparsity(rows, "row_sparsity")
        check_sparsity(columns, "column_sparsity")
        total = 1 - (1 - rows) * (1 - columns)
        if abs(self.sparsity - total) > 1e-6:  # false for NaN, so for one not given
            raise ValueError(
                f"sparsity={self.sparsity} is not that of row_sparsity={rows} and "
                f"column_sparsity={columns}, {total:.6g}: give one or the others"
            )
        for name, value in (("row", rows), ("column", columns)):
            object.__setattr__(self, f"{name}_sparsity", value)
        if math.isnan(self.sparsity):
            object.__setattr__(self, "sparsity", total)

    @property
    def leaves(self) -> tuple[Filter, Column]:
        """The two schemes of disjoint groups."""
        return Filter(self.row_sparsity or 0.0), Column(self.column_sparsity or 0.0)

    def with_sparsity(self, sparsity: float) -> RowColumn:
        """Another sparsity, shared by rows and columns in proportion to their rates."""
        check_sparsity(sparsity)
        rows, columns = split_sparsity(sparsity, [leaf.sparsity for leaf in self.leaves])
        return RowColumn(row_sparsity=rows, column_sparsity=columns)

    def mask(self, score: torch.Tensor) -> torch.Tensor:
        """The crossings of the kept rows and columns, bool of the same shape."""
        shape = checked_score(score)
        squares = as_matrix(score).double().square()
        found = [self._pick(squares, rows_first=first) for first in (True, False)]
        rows, columns, _ = max(found, key=lambda pick: pick[2])
        return (rows[:, None] & columns).reshape(shape)

    def _pick(
        self, squares: torch.Tensor, *, rows_first: bool
    ) -> tuple[torch.Tensor, torch.Tensor, float]:
        """Rows, columns and what they hold, by turns until that grows no more."""
        filters, positions = self.leaves
        n_rows = kept_count(squares.shape[0], filters.sparsity)
        n_columns = kept_count(squares.shape[1], positions.sparsity)
        rows = torch.ones(squares.shape[0], dtype=torch.bool, device=squares.device)
        if rows_first:
            rows = keep_top(squares.sum(1), n_rows)
        held = -1.0
        while True:
            columns = keep_top(squares[rows].sum(0), n_columns)
            rows = keep_top(squares[:, columns].sum(1), n_rows)
            now = float(squares[rows][:, columns].sum())
            if now <= held:  # not only equal: a tie may lead through other rows for ever
                return rows, columns, now
            held = now

    def group_norms(self, weight: torch.Tensor) -> torch.Tensor:
        """L2 norms of all rows, then of all columns, differentiable."""
        return joint_norms(self.leaves, weight)

    def group_sizes(self, shape: tuple[int, ...]) -> torch.Tensor:
        """Number of weights in each row, then in each column, float32."""
        return joint_sizes(self.leaves, shape)

    def expand(self, values: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        """Value of the row times value of the column, at each weight."""
        return joint_expand(self.leaves, values, shape)

    def prox(
        self, weight: torch.Tensor, tau: float | torch.Tensor, form: Form = "soft"
    ) -> torch.Tensor:
        """Proximal map of the penalties on all rows and all columns together.

        Parameters
        ----------
        weight : torch.Tensor
            Not changed.
        tau : float or torch.Tensor of shape (n_rows + n_columns,)
            Not negative.
        form : {"soft", "hard", "mcp"}, default "soft"
            The penalty; see `GroupScheme.prox`.

        Returns
        -------
        torch.Tensor
            For "soft" and "mcp" the minimum up to 1e-5 of the norm, by at most 200 rounds of
            Dykstra's alternation (the sum with mcp is still convex). For "hard", rows and
            columns below their thresholds are removed by turns until none is: each that goes
            must go, but a smaller matrix may be better.
        """
        return joint_prox(self.leaves, weight, tau, form)


@dataclass(frozen=True)
class Both(Scheme):
    """Two schemes at once; write ``first & second``.

    The second is applied to what the first leaves. Norms, penalties and `with_sparsity` exist
    if both have them; groups are those of the first, then those of the second.

    Parameters
    ----------
    first : Scheme
        Applied to the weight.
    second : Scheme
        Applied to what the first leaves: its counts are over all its groups, so that those of
        which the first left nothing go first.
    """

    first: Scheme
    second: Scheme

    @property
    def sparsity(self) -> float:
        """Of both, as if each removed its fraction of what the other leaves."""
        return 1 - (1 - self.first.sparsity) * (1 - self.second.sparsity)

    @property
    def layout(self) -> str:
        """That of both; blocks with rows or columns are blocks; kernels with patterns fkw."""
        layouts = {self.first.layout, self.second.layout}
        if len(layouts) == 1:
            return self.first.layout
        for pair, common in (({"compact", "bspc"}, "bspc"), ({"fkw", "spm"}, "fkw")):
            if layouts == pair:
                return common
        return "csr"

    @property
    def parts(self) -> tuple[Scheme, ...]:
        """All constraints, from left to right."""
        return (*self.first.parts, *self.second.parts)

    def check(self, shape: tuple[int, ...], kind: str) -> None:
        """Raise unless both fit; see `Scheme.check`."""
        self.first.check(shape, kind)
        self.second.check(shape, kind)

    def mask(self, score: torch.Tensor) -> torch.Tensor:
        """What the second keeps of what the first keeps, bool of the same shape."""
        kept = self.first.mask(score)
        return kept & self.second.mask(score * kept)

    def __getattr__(self, name: str) -> Any:
        # Methods that exist only where both parts have them, so that hasattr tells.
        function = _OF_BOTH.get(name)
        if function is not None and all(hasattr(part, name) for part in self.parts):
            return partial(function, self.parts)
        if name == "with_sparsity" and _adjustable(self):
            return partial(_with_sparsity, self)
        raise AttributeError(f"{type(self).__name__} of these schemes has no {name!r}")


def _adjustable(scheme: Scheme) -> bool:
    """Whether another part than one of fixed ratio can change its sparsity."""
    return any(hasattr(part, "with_sparsity") and not part.fixed_ratio for part in scheme.parts)


def _with_sparsity(both: Both, sparsity: float) -> Both:
    """Both with another total; parts of fixed ratio stay, and the others make up the rest.

    For four of nine weights per kernel, the connectivity's r = 1 - (1 - R) 9/4.
    """
    check_sparsity(sparsity)
    pair = (both.first, both.second)
    if not all(_adjustable(scheme) for scheme in pair):
        fixed = both.second if _adjustable(both.first) else both.first
        rest = 1 - (1 - sparsity) / (1 - fixed.sparsity)
        if rest < -1e-9:
            raise ValueError(
                f"{type(fixed).__name__} alone removes {fixed.sparsity:.4g} of the weights; "
                f"a sparsity of {sparsity:.4g} is below that"
            )
        shares = [scheme.sparsity if scheme is fixed else max(0.0, rest) for scheme in pair]
    else:
        fixed = None
        shares = split_sparsity(sparsity, [scheme.sparsity for scheme in pair])
    return Both(
        *(
            scheme if scheme is fixed else scheme.with_sparsity(share)  # type: ignore[attr-defined]
            for scheme, share in zip(pair, shares, strict=True)
        )
    )


def split_sparsity(sparsity: float, old: Sequence[float]) -> list[float]:
    """Shares of a total whose rates, as logarithms, are in the proportion of the old ones."""
    logs = [-math.log(1 - share) for share in old]
    total = sum(logs)
    weights = [log / total if total else 1 / len(logs) for log in logs]
    return [1 - (1 - sparsity) ** weight for weight in weights]


def joint_norms(schemes: Sequence[Any], weight: torch.Tensor) -> torch.Tensor:
    """Norms of the groups of all schemes, one after another."""
    return torch.cat([scheme.group_norms(weight) for scheme in schemes])


def joint_sizes(schemes: Sequence[Any], shape: tuple[int, ...]) -> torch.Tensor:
    """Sizes of the groups of all schemes, one after another."""
    return torch.cat([scheme.group_sizes(shape) for scheme in schemes])


def joint_expand(
    schemes: Sequence[Any], values: torch.Tensor, shape: tuple[int, ...]
) -> torch.Tensor:
    """Product over the schemes of the values of the groups that hold a weight."""
    counts = [scheme.group_sizes(shape).numel() for scheme in schemes]
    pieces = values.split(counts)
    spread = [scheme.expand(v, shape) for scheme, v in zip(schemes, pieces, strict=True)]
    return math.prod(spread[1:], start=spread[0])


def joint_prox(
    schemes: Sequence[Any],
    weight: torch.Tensor,
    tau: float | torch.Tensor,
    form: Form = "soft",
) -> torch.Tensor:
    """Proximal map of the sum of the penalties of several schemes of disjoint groups."""
    check_prox(tau, form)
    leaves = [leaf for scheme in schemes for leaf in getattr(scheme, "leaves", (scheme,))]
    taus: list[Any] = [tau] * len(leaves)
    if isinstance(tau, torch.Tensor) and tau.ndim:
        taus = list(tau.split([leaf.group_sizes(tuple(weight.shape)).numel() for leaf in leaves]))
    if form == "hard":
        return _alternate_hard(leaves, taus, weight)
    curvature = 1.0 if form == "soft" else 1 - len(leaves) / MCP_SHAPE
    if curvature <= 0:
        raise ValueError(
            "the sum of more than two penalties of the form 'mcp' has no unique proximal map; "
            "use form='soft' or form='hard'"
        )
    return _dykstra(leaves, taus, weight, form, curvature)


def _alternate_hard(leaves: list[Any], taus: list[Any], weight: torch.Tensor) -> torch.Tensor:
    """Remove groups below their thresholds until none is; each round removes one at least."""
    while True:
        smaller = weight
        for leaf, tau in zip(leaves, taus, strict=True):
            smaller = leaf.prox(smaller, tau, "hard")
        if torch.equal(smaller, weight):
            return smaller
        weight = smaller


def _dykstra(
    leaves: list[Any], taus: list[Any], weight: torch.Tensor, form: Form, curvature: float
) -> torch.Tensor:
    r"""Minimum of ``|X - W|^2 / 2 + sum_k f_k(X)`` by cyclic proximal maps with corrections.

    Bauschke and Combettes (2008) for convex f. The penalty mcp becomes convex when
    ``|X|^2 / (2 c)`` is added to each of K, with c its shape; taken out of the first term, that
    leaves ``curvature = 1 - K / c`` of it, so W and tau are divided by the curvature.
    """
    point = weight.double() / curvature
    points = [point] * len(leaves)
    corrections = [torch.zeros_like(point) for _ in leaves]
    limit = _TOLERANCE * float(weight.norm()) / curvature
    for _ in range(_ROUNDS):
        change = 0.0
        for k, (leaf, tau) in enumerate(zip(leaves, taus, strict=True)):
            shifted = point + corrections[k]
            new = leaf._scaled(shifted, partial(_convex, tau=tau, form=form, curvature=curvature))
            # Not that of the point, which can stand still while the corrections still grow.
            change = max(change, float((new - point).norm()))
            points[k], corrections[k] = new, shifted - new
            point = new
        if change <= limit:
            break
    # In the limit all points are one; groups that one of them lacks are zero, not nearly so.
    gone = torch.stack([each == 0 for each in points]).any(0)
    return point.masked_fill(gone, 0).to(weight.dtype)


def _convex(
    norms: torch.Tensor, *, tau: float | torch.Tensor, form: Form, curvature: float
) -> torch.Tensor:
    """Norm after the proximal map of a penalty that was made convex."""
    shrunk = (norms - tau / curvature).clamp_min(0)
    if form == "soft":
        return shrunk
    flat = norms / (1 + 1 / (MCP_SHAPE * curvature))
    return torch.where(flat > MCP_SHAPE * tau, flat, shrunk)


_OF_BOTH: dict[str, Callable[..., Any]] = {
    "expand": joint_expand,
    "group_norms": joint_norms,
    "group_sizes": joint_sizes,
    "prox": joint_prox,
}
