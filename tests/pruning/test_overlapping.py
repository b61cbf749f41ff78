"""Rows with columns, and any two schemes at once."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from hypothesis.extra.numpy import arrays  # noqa: E402

from embcompress.pruning import (  # noqa: E402
    NM,
    SPM,
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

torch.set_num_threads(1)

SHAPE = (4, 6)
matrices = arrays(np.float32, SHAPE, elements=st.floats(-9, 9, width=32)) | arrays(
    np.float32, SHAPE, elements=st.integers(-2, 2)
)


@given(matrices)
def test_row_column_counts_and_no_better_rows_or_columns(weight):
    weight = torch.from_numpy(weight)
    scheme = RowColumn(row_sparsity=0.5, column_sparsity=0.5)
    mask = scheme.mask(weight.abs())
    rows, columns = mask.any(1), mask.any(0)
    assert rows.sum() == 2
    assert columns.sum() == 3
    assert torch.equal(mask, rows[:, None] & columns)
    squares = weight.double().square()
    held = float(squares[mask].sum())
    for pair in itertools.combinations(range(4), 2):
        assert held >= float(squares[list(pair)][:, columns].sum()) * (1 - 1e-12)
    for three in itertools.combinations(range(6), 3):
        assert held >= float(squares[rows][:, list(three)].sum()) * (1 - 1e-12)
    # never worse than one phase after the other
    for first, second in ((Filter(0.5), Column(0.5)), (Column(0.5), Filter(0.5))):
        assert held >= float(squares[(first & second).mask(weight.abs())].sum()) * (1 - 1e-12)
    projected = scheme.project(weight)
    assert torch.equal(scheme.project(projected), projected)


def test_row_column_is_mostly_the_best_of_all():
    generator = torch.Generator().manual_seed(0)
    scheme, found, short = RowColumn(0.75), 0, []
    for _ in range(100):
        weight = torch.randn(6, 6, generator=generator).double()
        squares = weight.square()
        held = float(squares[scheme.mask(weight.abs())].sum())
        best = max(
            float(squares[list(r)][:, list(c)].sum())
            for r in itertools.combinations(range(6), 3)
            for c in itertools.combinations(range(6), 3)
        )
        found += held >= best * (1 - 1e-9)
        short.append(1 - held / best)
    assert found >= 50
    assert max(short) < 0.3
    assert np.mean(short) < 0.05


def test_row_column_on_a_planted_matrix():
    weight = torch.zeros(5, 2, 2, 2)
    weight[1:3, 1] = 1.0
    mask = RowColumn(row_sparsity=0.6, column_sparsity=0.5).mask(weight)
    assert torch.equal(mask, weight.bool())


def test_row_column_sparsities():
    scheme = RowColumn(0.75)
    assert (scheme.row_sparsity, scheme.column_sparsity) == (0.5, 0.5)
    assert RowColumn(row_sparsity=0.5, column_sparsity=0.5) == scheme
    assert RowColumn(row_sparsity=0.5).sparsity == 0.5
    tall = RowColumn(row_sparsity=0.75, column_sparsity=0.5).with_sparsity(0.5)
    assert tall.sparsity == pytest.approx(0.5)
    assert 1 - tall.row_sparsity == pytest.approx((1 - tall.column_sparsity) ** 2)
    assert RowColumn(row_sparsity=0.5).with_sparsity(0.9).column_sparsity == 0
    assert RowColumn(0.0).with_sparsity(0.75) == scheme
    assert RowColumn(0.0).mask(torch.rand(3, 4)).all()


def test_row_column_groups():
    weight = torch.arange(6.0).reshape(2, 3)
    scheme = RowColumn(0.5)
    norms = scheme.group_norms(weight)
    assert torch.allclose(norms, torch.cat([weight.norm(dim=1), weight.norm(dim=0)]))
    assert scheme.group_sizes((2, 3)).tolist() == [3, 3, 2, 2, 2]
    kept = torch.tensor([True, False, True, False, True])
    assert scheme.expand(kept, (2, 3)).tolist() == [[True, False, True], [False, False, False]]


PAIRS = [
    (BlockColumn(0.5, n_blocks=1), BlockRow(0.5, n_blocks=2), (8, 8), 0.25),
    (Column(0.5), Filter(0.5), (8, 8), 0.25),
    (KernelPattern(), Connectivity(0.5), (4, 8, 3, 3), 2 / 9),
    (Connectivity(0.5), KernelPattern(), (4, 8, 3, 3), 2 / 9),
    (SPM(3), Connectivity(0.75), (4, 8, 3, 3), 1 / 12),
    (Channel(0.5), Connectivity(0.5), (4, 8, 3, 3), 0.5),  # the same kernels may leave
    (Filter(0.5), NM(2, 4), (8, 8), 0.25),
]


@pytest.mark.parametrize(("first", "second", "shape", "density"), PAIRS)
def test_both_is_the_second_on_what_the_first_leaves(first, second, shape, density):
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    both = first & second
    mask = both.mask(weight.abs())
    one = first.mask(weight.abs())
    assert torch.equal(mask, one & second.mask((weight * one).abs()))
    assert float(mask.double().mean()) == pytest.approx(density)
    once = both.project(weight)
    assert torch.equal(once, weight * mask)
    assert torch.equal(both.project(once), once)
    assert both.parts == (first, second)
    both.check(shape, "conv" if len(shape) == 4 else "linear")


def test_both_checks_both():
    with pytest.raises(ValueError, match="KernelPattern does not fit linear layers"):
        (Unstructured(0.5) & KernelPattern()).check((4, 4), "linear")
    with pytest.raises(ValueError, match="Filter does not fit gru_input"):
        (Filter(0.5) & Unstructured(0.5)).check((4, 4), "gru_input")


def test_both_nests():
    three = Filter(0.5) & Column(0.5) & Unstructured(0.5)
    assert three.parts == (Filter(0.5), Column(0.5), Unstructured(0.5))
    assert three.sparsity == pytest.approx(0.875)
    norms = three.group_norms(torch.ones(2, 3))
    assert norms.shape == (2 + 3 + 6,)
    assert three.group_sizes((2, 3)).tolist() == [3, 3, 2, 2, 2, *[1] * 6]
    assert three.expand(torch.ones(11), (2, 3)).tolist() == [[1.0] * 3] * 2


@pytest.mark.parametrize(
    ("scheme", "layout"),
    [
        (Filter(0.5) & Column(0.5), "compact"),
        (BlockRow(0.5) & BlockColumn(0.5), "bspc"),
        (BlockRow(0.5) & Column(0.5), "bspc"),
        (KernelPattern() & Connectivity(0.5), "fkw"),
        (SPM(4) & Connectivity(0.5), "fkw"),
        (Filter(0.5) & Unstructured(0.5), "csr"),
    ],
)
def test_layout_of_both(scheme, layout):
    assert scheme.layout == layout


def test_total_sparsity_of_patterns_and_connectivity():
    """The connectivity's ratio is r = 1 - (1 - R) 9/4."""
    for scheme in (KernelPattern() & Connectivity(0.1), Connectivity(0.1) & KernelPattern()):
        both = scheme.with_sparsity(0.8)
        assert both.sparsity == pytest.approx(0.8)
        connectivity = next(p for p in both.parts if isinstance(p, Connectivity))
        assert connectivity.sparsity == pytest.approx(1 - 0.2 * 9 / 4)
        assert scheme.with_sparsity(5 / 9).parts[0].sparsity in (0.0, pytest.approx(5 / 9))
        with pytest.raises(ValueError, match=r"KernelPattern alone removes 0\.5556.*0\.5 is below"):
            scheme.with_sparsity(0.5)
    assert (SPM(3) & Connectivity(0.0)).with_sparsity(0.9).first == SPM(3)


def test_total_sparsity_of_two_that_can_change():
    both = (BlockColumn(0.75) & BlockRow(0.5)).with_sparsity(1 - 1 / 64)
    assert both.first.sparsity == pytest.approx(1 - 1 / 16)
    assert both.second.sparsity == pytest.approx(1 - 1 / 4)
    even = (Filter(0.0) & Column(0.0)).with_sparsity(0.75)
    assert even == Filter(0.5) & Column(0.5)
    nested = (Filter(0.5) & Column(0.5) & NM(2, 4)).with_sparsity(1 - 1 / 32)
    assert nested.sparsity == pytest.approx(1 - 1 / 32)
    assert nested.second == NM(2, 4)


def test_what_neither_can_do_is_not_there():
    with pytest.raises(AttributeError, match="with_sparsity"):
        (KernelPattern() & NM(2, 4)).with_sparsity(0.5)
    assert not hasattr(KernelPattern() & KernelPattern(), "with_sparsity")
    with pytest.raises(AttributeError, match="Both of these schemes has no 'prox'"):
        (KernelPattern() & Connectivity(0.5)).prox(torch.ones(1, 1, 3, 3), 0.1)
