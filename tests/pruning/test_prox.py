"""Proximal maps are the minima that they claim to be."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from embcompress.pruning import (  # noqa: E402
    NM,
    SPM,
    Block,
    BlockColumn,
    BlockRow,
    Channel,
    Column,
    Connectivity,
    Filter,
    KernelPattern,
    RowColumn,
    Unstructured,
)
from embcompress.pruning.base import MCP_SHAPE  # noqa: E402

torch.set_num_threads(1)

FORMS = ("soft", "hard", "mcp")
DISJOINT = [
    pytest.param(Unstructured(0.5), (3, 4), id="unstructured"),
    pytest.param(Filter(0.5), (4, 3), id="filter"),
    pytest.param(Column(0.5), (4, 2, 1, 2), id="column"),
    pytest.param(Channel(0.5), (2, 3, 1, 2), id="channel"),
    pytest.param(Block((2, 2), 0.5), (5, 4), id="block"),
    pytest.param(BlockRow(0.5, n_blocks=2), (3, 5), id="block-row"),
    pytest.param(BlockColumn(0.5, n_blocks=2), (5, 3), id="block-column"),
    pytest.param(Connectivity(0.5), (2, 2, 2, 2), id="connectivity"),
    pytest.param(NM(2, 4), (2, 4), id="nm"),
]
JOINT = [
    pytest.param(RowColumn(0.5), (4, 5), id="row-column"),
    pytest.param(Filter(0.5) & Column(0.5), (4, 3, 1, 2), id="filter-and-column"),
    pytest.param(
        BlockColumn(0.5, n_blocks=2) & BlockRow(0.5, n_blocks=2), (4, 4), id="block-row-and-column"
    ),
    pytest.param(Filter(0.5) & Unstructured(0.5), (3, 4), id="sparse-group"),
]


def penalty(norms, tau, form):
    """The sum over groups, from the formulas in the docstring."""
    norms = norms.double()
    if form == "soft":
        return (tau * norms).sum()
    if form == "hard":
        return (tau * (norms > 1e-12)).sum()
    rising = tau * norms - norms.square() / (2 * MCP_SHAPE)
    flat = MCP_SHAPE * tau**2 / 2
    return torch.where(norms > MCP_SHAPE * tau, flat, rising).sum()


def objective(scheme, x, weight, tau, form):
    return float(0.5 * (x - weight).square().sum() + penalty(scheme.group_norms(x), tau, form))


def neighbours(x, weight, generator):
    """Points at many distances, and those between x and the weight or zero."""
    for scale in (1e-3, 1e-2, 0.1, 0.5):
        for _ in range(40):
            step = scale * torch.randn(x.shape, generator=generator, dtype=x.dtype)
            yield x + step
            yield x + step * (x != 0)
    for share in np.linspace(0, 1, 11):
        yield x + share * (weight - x)
        yield (1 - share) * x


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("scheme", "shape"), DISJOINT)
def test_each_group_is_at_its_minimum(scheme, shape, form):
    """The penalty is radial, so the minimum over norms on a fine grid is the minimum."""
    torch.manual_seed(1)
    weight = torch.randn(shape, dtype=torch.float64)
    norms = scheme.group_norms(weight)
    tau = torch.linspace(0, 2, len(norms)).double()
    result = scheme.prox(weight, tau, form)
    # the same directions, so what follows is about norms only
    scaled = scheme.group_norms(result) / norms
    assert torch.allclose(result, weight * scheme.expand(scaled, shape))
    for norm, now, t in zip(norms, scheme.group_norms(result), tau, strict=True):
        grid = torch.linspace(0, float(norm) * 1.5, 20_001, dtype=torch.float64)
        grid = torch.cat([grid, norm[None]])
        costs = [
            0.5 * (points - norm).square() + torch.stack([penalty(p, t, form) for p in points])
            for points in (grid[::40], now[None])
        ]
        assert float(costs[1].min()) <= float(costs[0].min()) + 1e-12


@pytest.mark.parametrize("form", ["soft", "mcp"])
@pytest.mark.parametrize(("scheme", "shape"), JOINT)
@pytest.mark.parametrize("tau", [0.05, 0.3, 0.8])
def test_overlapping_groups_are_at_the_minimum(scheme, shape, form, tau):
    """The sum is convex in both forms, so no neighbour is lower than the minimum."""
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(shape, generator=generator, dtype=torch.float64)
    result = scheme.prox(weight, tau, form)
    low = objective(scheme, result, weight, tau, form)
    for other in neighbours(result, weight, generator):
        assert low <= objective(scheme, other, weight, tau, form) + 1e-4
    # and a descent from the weight itself does not end lower
    assert low <= descended(scheme, weight, tau, form) + 1e-4


def descended(scheme, weight, tau, form):
    x = weight.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([x], lr=0.5, max_iter=100, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        value = 0.5 * (x - weight).square().sum() + penalty(scheme.group_norms(x), tau, form)
        value.backward()
        return value

    optimizer.step(closure)
    return objective(scheme, x.detach(), weight, tau, form)


@pytest.mark.parametrize("seed", range(5))
def test_hard_rows_and_columns(seed):
    """What goes must go: every best choice of rows and columns lies inside what stays."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(4, 5, generator=generator, dtype=torch.float64)
    tau = torch.tensor([1.3] * 4 + [0.9] * 5, dtype=torch.float64)
    result = RowColumn(0.5).prox(weight, tau, "hard")
    rows, columns = (result != 0).any(1), (result != 0).any(0)
    assert torch.equal(result, weight * (rows[:, None] & columns))
    kept = RowColumn(0.5).group_norms(result).square() > 2 * tau
    assert torch.equal(kept, torch.cat([rows, columns]))  # a fixed point of both thresholds

    def gain(r, c):
        inside = weight[list(r)][:, list(c)].square().sum() / 2
        return float(inside) - float(tau[:4][list(r)].sum()) - float(tau[4:][list(c)].sum())

    choices = [
        (r, c)
        for n in range(1, 5)
        for r in itertools.combinations(range(4), n)
        for m in range(1, 6)
        for c in itertools.combinations(range(5), m)
    ]
    best = max(choices, key=lambda choice: gain(*choice))
    if gain(*best) > 0:
        assert rows[list(best[0])].all()
        assert columns[list(best[1])].all()


def test_soft_of_one_norm_is_the_formula():
    weight = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    shrunk = Filter(0.5).prox(weight, 1.0)
    assert torch.allclose(shrunk, torch.tensor([[2.4, 3.2], [0.0, 0.0], [0.0, 0.0]]))
    assert torch.equal(Filter(0.5).prox(weight, 12.5, "hard")[0], torch.zeros(2))  # 25 > 2 tau
    assert torch.equal(Filter(0.5).prox(weight, 12.4, "hard")[0], weight[0])
    assert torch.equal(Filter(0.5).prox(weight, 1.0, "mcp")[0], weight[0])  # 5 > 3 tau


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("scheme", "shape"), DISJOINT + JOINT)
def test_prox_leaves_its_argument_and_dtype(scheme, shape, form):
    weight = torch.randn(shape)
    before = weight.clone()
    result = scheme.prox(weight, 0.2, form)
    assert result.dtype == torch.float32
    assert torch.equal(weight, before)
    assert torch.allclose(scheme.prox(weight, 0.0, form), weight, atol=1e-5)
    assert not scheme.prox(weight, 100.0, form).any()


@pytest.mark.parametrize("form", FORMS)
def test_rows_and_columns_that_go_are_zero_and_not_nearly_so(form):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(64, 100, generator=generator)
    weight[::2] /= 20
    weight[:, ::4] /= 20
    result = RowColumn(0.5).prox(weight, 2.0, form)
    assert torch.equal((result != 0).any(1), torch.arange(64) % 2 == 1)
    assert torch.equal((result != 0).any(0), torch.arange(100) % 4 > 0)


def test_schemes_without_prox_have_none():
    for scheme in (KernelPattern(), SPM(4), KernelPattern() & Connectivity(0.5)):
        assert not hasattr(scheme, "prox")
        assert hasattr(scheme, "group_norms")
    assert hasattr(Filter(0.5) & Column(0.5), "prox")


def test_wrong_arguments():
    weight = torch.ones(3, 3)
    for scheme in (Filter(0.5), RowColumn(0.5), Filter(0.5) & Column(0.5)):
        with pytest.raises(ValueError, match="form='firm' is none of soft, hard, mcp"):
            scheme.prox(weight, 0.1, "firm")
        with pytest.raises(ValueError, match="tau must not be negative"):
            scheme.prox(weight, -0.1)
    three = RowColumn(0.5) & Unstructured(0.5)
    three.prox(weight, 0.1)
    with pytest.raises(ValueError, match=r"more than two penalties.*'soft' or form='hard'"):
        three.prox(weight, 0.1, "mcp")
