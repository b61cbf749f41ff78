"""Schemes of groups: exact, optimal, and refused where they do not fit."""

from __future__ import annotations

import copy
import itertools
import pickle
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from hypothesis.extra.numpy import arrays  # noqa: E402

from embcompress import pruning  # noqa: E402
from embcompress.pruning import (  # noqa: E402
    KINDS,
    NM,
    SCHEMES,
    SPM,
    Block,
    BlockColumn,
    BlockRow,
    Both,
    Channel,
    Column,
    Connectivity,
    Filter,
    KernelPattern,
    Row,
    RowColumn,
    Unstructured,
)
from embcompress.pruning.base import keep_top, kept_count  # noqa: E402

torch.set_num_threads(1)


def pieces(length, width, n_blocks):
    """Block of each position along an axis, by counting; the last takes the remainder."""
    width = width or length // n_blocks
    last = length // width - 1 if n_blocks is None else n_blocks - 1
    return [min(i // width, last) for i in range(length)]


def by_row(rows, columns, key):
    return [[key(r, c) for c in range(columns)] for r in range(rows)]


def block_rows(rows, columns, *, width=None, n_blocks=None, height=None, balanced=True):
    """Group and unit of balance of each weight: row inside a column block."""
    block = pieces(columns, width, n_blocks)
    tile = pieces(rows, height or rows, None)
    groups = by_row(rows, columns, lambda r, c: (r, block[c]))
    units = by_row(rows, columns, lambda r, c: (tile[r], block[c]) if balanced else 0)
    return groups, units


def block_columns(rows, columns, *, height=None, n_blocks=None, width=None, balanced=True):
    groups, units = block_rows(
        columns, rows, width=height, n_blocks=n_blocks, height=width, balanced=balanced
    )
    flip = [list(line) for line in zip(*groups, strict=True)]
    return [[(b, c) for c, b in line] for line in flip], list(zip(*units, strict=True))


def alike(rows, columns, key):
    return by_row(rows, columns, key), by_row(rows, columns, lambda r, c: 0)


# scheme, shape, then the group of each weight of the matrix and the unit inside which counts hold
CASES = {
    "unstructured": (Unstructured(0.6), (3, 4), alike(3, 4, lambda r, c: (r, c))),
    "unstructured-conv": (Unstructured(0.7), (2, 1, 2, 3), alike(2, 6, lambda r, c: (r, c))),
    "filter": (Filter(0.5), (5, 3), alike(5, 3, lambda r, c: r)),
    "filter-conv": (Filter(0.4), (5, 2, 1, 2), alike(5, 4, lambda r, c: r)),
    "column": (Column(0.7), (3, 6), alike(3, 6, lambda r, c: c)),
    "column-conv": (Column(0.5), (3, 2, 1, 3), alike(3, 6, lambda r, c: c)),
    "channel": (Channel(0.5), (2, 5, 2, 1), alike(2, 10, lambda r, c: c // 2)),
    "block": (
        Block((2, 2), 0.5),
        (5, 7),
        alike(5, 7, lambda r, c: (min(r // 2, 1), min(c // 2, 2))),
    ),
    "block-row": (BlockRow(0.5, n_blocks=3), (5, 8), block_rows(5, 8, n_blocks=3)),
    "block-row-width": (BlockRow(0.4, width=3), (4, 8), block_rows(4, 8, width=3)),
    "block-row-tiles": (
        BlockRow(0.5, width=2, height=2),
        (5, 4),
        block_rows(5, 4, width=2, height=2),
    ),
    "block-row-free": (
        BlockRow(0.5, n_blocks=2, balanced=False),
        (4, 5),
        block_rows(4, 5, n_blocks=2, balanced=False),
    ),
    "block-row-conv": (BlockRow(0.5, n_blocks=2), (4, 3, 1, 2), block_rows(4, 6, n_blocks=2)),
    "block-column": (BlockColumn(0.5, n_blocks=3), (8, 5), block_columns(8, 5, n_blocks=3)),
    "block-column-tiles": (
        BlockColumn(0.5, height=3, width=2),
        (7, 5),
        block_columns(7, 5, height=3, width=2),
    ),
    "block-column-free": (
        BlockColumn(0.6, n_blocks=2, balanced=False),
        (5, 4),
        block_columns(5, 4, n_blocks=2, balanced=False),
    ),
    "connectivity": (
        Connectivity(0.5),
        (2, 5, 1, 2),
        (
            by_row(2, 10, lambda r, c: (r, c // 2)),
            by_row(2, 10, lambda r, c: r),
        ),
    ),
    "connectivity-free": (
        Connectivity(0.6, balanced=False),
        (2, 5, 2, 1),
        alike(2, 10, lambda r, c: (r, c // 2)),
    ),
}
NUMBERED = {
    "nm": (NM(2, 4), (2, 8), lambda r, c: (r, c // 4)),
    "nm-rest": (NM(2, 4), (2, 7), lambda r, c: (r, c // 4)),
    "nm-rest-of-one": (NM(2, 3), (3, 4), lambda r, c: (r, c // 3)),
    "nm-few-inputs": (NM(2, 4), (3, 3), lambda r, c: (r, c // 4)),
    "nm-conv": (NM(1, 2), (2, 4, 1, 2), lambda r, c: (r, c // 2 // 2, c % 2)),
}
GROUPED = [pytest.param(*case, id=name) for name, case in CASES.items()]


def weights(shape):
    """Small whole numbers, so that many groups tie, or any numbers."""
    whole = arrays(np.float32, shape, elements=st.integers(-2, 2))
    real = arrays(np.float32, shape, elements=st.floats(-9, 9, width=32))
    return st.one_of(whole, real)


def draw(data, shape):
    return torch.from_numpy(data.draw(weights(shape)))


def listed(groups, units):
    """{unit: {group: flat positions}} in order of position."""
    found = {}
    flat = zip(itertools.chain(*groups), itertools.chain(*units), strict=True)
    for position, (group, unit) in enumerate(flat):
        found.setdefault(unit, {}).setdefault(group, []).append(position)
    return found


def most_energy(squares, members, count):
    """Largest sum that so many groups can hold, of all choices."""
    sums = [squares[positions].sum() for positions in members.values()]
    return max(sum(choice) for choice in itertools.combinations(sums, count))


@pytest.mark.parametrize(("scheme", "shape", "labels"), GROUPED)
@given(data=st.data())
def test_projection_is_the_best_of_all(scheme, shape, labels, data):
    weight = draw(data, shape)
    projected = scheme.project(weight)
    mask = scheme.mask(weight.abs())
    assert torch.equal(projected, torch.where(mask, weight, 0))
    squares = weight.numpy().astype(np.float64).reshape(-1) ** 2
    kept = mask.numpy().reshape(-1)
    for members in listed(*labels).values():
        count = kept_count(len(members), scheme.sparsity)
        stays = [kept[positions] for positions in members.values()]
        assert all(s.all() or not s.any() for s in stays)  # whole groups
        assert sum(s.all() for s in stays) == count  # exactly so many
        held = sum(squares[p].sum() for p in members.values() if kept[p].all())
        assert held == pytest.approx(most_energy(squares, members, count), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(("scheme", "shape", "labels"), GROUPED)
@given(data=st.data())
def test_equal_groups_stay_by_position(scheme, shape, labels, data):
    weight = torch.from_numpy(data.draw(arrays(np.float32, shape, elements=st.integers(-1, 1))))
    squares = weight.numpy().reshape(-1) ** 2
    kept = scheme.mask(weight.abs()).numpy().reshape(-1)
    for members in listed(*labels).values():
        order = sorted(members, key=lambda g: (-squares[members[g]].sum(), g))
        count = kept_count(len(members), scheme.sparsity)
        assert {g for g in members if kept[members[g]].all()} == set(order[:count])


@pytest.mark.parametrize(
    ("scheme", "shape", "vector"), [pytest.param(*c, id=n) for n, c in NUMBERED.items()]
)
@given(data=st.data())
def test_n_of_m(scheme, shape, vector, data):
    weight = draw(data, shape)
    kept = scheme.mask(weight.abs()).numpy().reshape(shape[0], -1)
    size = np.abs(weight.numpy().reshape(shape[0], -1))
    found = {}
    for r, c in np.ndindex(kept.shape):
        found.setdefault(vector(r, c), []).append((r, c))
    for positions in found.values():
        order = sorted(positions, key=lambda p: (-size[p], p))
        expected = set(order[: min(scheme.n, len(positions))])
        assert {p for p in positions if kept[p]} == expected


ALL = GROUPED + [pytest.param(s, shape, None, id=n) for n, (s, shape, _) in NUMBERED.items()]


@pytest.mark.parametrize(("scheme", "shape", "labels"), ALL)
@given(data=st.data())
def test_projection_twice_is_once_and_leaves_its_argument(scheme, shape, labels, data):
    weight = draw(data, shape)
    before = weight.clone()
    once = scheme.project(weight)
    assert torch.equal(weight, before)
    assert torch.equal(scheme.project(once), once)
    assert once.dtype == weight.dtype


@pytest.mark.parametrize(("scheme", "shape", "labels"), ALL)
def test_norms_and_expand_agree(scheme, shape, labels):
    torch.manual_seed(0)
    weight = torch.randn(shape, dtype=torch.float64)
    norms = scheme.group_norms(weight)
    sizes = scheme.group_sizes(shape)
    assert norms.shape == sizes.shape == (len(norms),)
    assert float(norms.square().sum()) == pytest.approx(float(weight.square().sum()))
    assert sizes.sum() == weight.numel()
    numbers = scheme.expand(torch.arange(len(norms)), shape)
    assert numbers.shape == shape
    for group, norm in enumerate(norms):
        inside = weight[numbers == group]
        assert inside.numel() == sizes[group]
        assert float(inside.norm()) == pytest.approx(float(norm))


ZERO_SAFE = [
    *(s for s, shape, _ in CASES.values() if len(shape) == 4),
    KernelPattern(),
    SPM(4),
    NM(2, 4),
    RowColumn(0.5),
    KernelPattern() & Connectivity(0.5),
]


@pytest.mark.parametrize("scheme", ZERO_SAFE, ids=lambda s: type(s).__name__)
def test_gradient_of_norms_is_finite_at_zero_and_right_elsewhere(scheme):
    zero = torch.zeros(4, 4, 3, 3, requires_grad=True)
    scheme.group_norms(zero).sum().backward()
    assert torch.equal(zero.grad, torch.zeros_like(zero))
    torch.manual_seed(0)
    weight = torch.randn(4, 4, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(scheme.group_norms, weight)


def test_keep_top_counts_and_ties():
    values = torch.tensor([[1.0, 3.0, 1.0, 1.0], [0.0, 0.0, 0.0, torch.inf]])
    assert keep_top(values, 2).tolist() == [
        [True, True, False, False],
        [True, False, False, True],
    ]
    assert keep_top(values, 4).all()


def test_counts_are_those_asked_not_those_of_percentiles():
    assert int(Filter(0.9).mask(torch.rand(1024, 1)).sum()) == 102
    assert kept_count(10, 0.9) == 1
    assert kept_count(5, 0.99) == 1
    assert kept_count(25, 0.9) == 3  # 2.5, whatever 1 - 0.9 is in binary
    assert int(Unstructured(0.9).mask(torch.zeros(100, 10)).sum()) == 100


def test_blocks_give_the_remainder_to_the_last():
    spread = BlockRow(0.5).expand(torch.arange(4), (1, 39))
    assert torch.bincount(spread.reshape(-1)).tolist() == [9, 9, 9, 12]
    assert BlockRow(0.0, width=12).group_norms(torch.ones(1, 39)).square().tolist() == [
        pytest.approx(12),
        pytest.approx(12),
        pytest.approx(15),
    ]


def test_tiny_scores_keep_their_order():
    score = torch.tensor([[1e-30, 3e-30], [2e-30, 2e-30]])
    assert Filter(0.5).mask(score).tolist() == [[True, True], [False, False]]


@pytest.mark.parametrize("name", sorted(SCHEMES))
def test_every_scheme_refuses_what_it_does_not_fit(name):
    required = {"nm": {"n": 2, "m": 4}, "spm": {"n": 2, "length": 4}, "kernel-pattern": {}}
    arguments = required.get(name, {"sparsity": 0.5})
    if name == "block":
        arguments["shape"] = (2, 2)
    scheme = SCHEMES[name](**arguments)
    shapes = {kind: (8, 8, 2, 2) if kind == "conv" else (8, 8) for kind in KINDS}
    if name == "kernel-pattern":
        shapes["conv"] = (8, 8, 3, 3)
    for kind, shape in shapes.items():
        if kind in scheme.kinds:
            scheme.check(shape, kind)
            assert scheme.mask(torch.rand(shape)).shape == shape
        else:
            with pytest.raises(ValueError, match=rf"{type(scheme).__name__} does not fit {kind}"):
                scheme.check(shape, kind)
    with pytest.raises(ValueError, match="none of linear, conv"):
        scheme.check((8, 8), "embedding")
    assert scheme.layout in {"csr", "compact", "bspc", "fkw", "spm"}
    assert 0 < scheme.sparsity < 1


def test_refusal_says_what_fits():
    with pytest.raises(
        ValueError,
        match=r"Filter does not fit gru_recurrent layers: it fits linear, conv; "
        r"gru_recurrent layers can have .*BlockColumn, BlockRow, NM",
    ):
        Filter(0.5).check((4, 4), "gru_recurrent")
    with pytest.raises(ValueError, match=r"weights of conv layers are \(O, I, kh, kw\), not"):
        Filter(0.5).check((4, 4), "conv")
    with pytest.raises(ValueError, match=r"4 blocks do not fit along an axis of 3"):
        BlockRow(0.5).check((8, 3), "linear")
    with pytest.raises(ValueError, match=r"block of 16 does not fit along an axis of 8"):
        Block((16, 1), 0.5).check((8, 32), "linear")
    with pytest.raises(ValueError, match=r"Channel needs weights \(O, I, kh, kw\)"):
        Channel(0.5).mask(torch.ones(3, 3))


@pytest.mark.parametrize("bad", [1.0, -0.1, 2, float("nan")])
def test_sparsity_outside_its_range(bad):
    for make in (Unstructured, Filter, Column, Channel, BlockRow, BlockColumn, Connectivity):
        with pytest.raises(ValueError, match=r"not in \[0, 1\).*give 1 - 1/r"):
            make(bad)
    with pytest.raises(ValueError, match=r"not in \[0, 1\)"):
        Block((2, 2), bad)
    if bad == bad:
        with pytest.raises(ValueError, match=r"not in \[0, 1\)"):
            RowColumn(bad)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Unstructured("0.5"), TypeError, "must be a number, not str"),
        (lambda: Unstructured(True), TypeError, "must be a number, not bool"),
        (lambda: NM(3, 2), ValueError, "n=3 is more than m=2"),
        (lambda: NM(0, 2), ValueError, "n=0 must be at least 1"),
        (lambda: NM(1.0, 2), TypeError, "n must be an integer, not float"),
        (lambda: BlockRow(0.5, n_blocks=0), ValueError, "n_blocks=0 must be at least 1"),
        (lambda: BlockRow(0.5, width=0), ValueError, "width=0 must be at least 1"),
        (lambda: Block((2,), 0.5), ValueError, "must be two numbers"),
        (lambda: RowColumn(), ValueError, "needs sparsity, or row_sparsity and column_sparsity"),
        (lambda: RowColumn(0.5, row_sparsity=0.4), ValueError, "give one or the others"),
    ],
)
def test_wrong_parameters(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("score", "message"),
    [
        (-torch.ones(2, 2), "not negative"),
        (torch.full((2, 2), torch.nan), "may be NaN"),
        (torch.ones(4), "one by one"),
    ],
)
def test_wrong_scores(score, message):
    for scheme in (Unstructured(0.5), NM(1, 2), RowColumn(0.5), SPM(1, length=2)):
        with pytest.raises(ValueError, match=message):
            scheme.mask(score)


def test_with_sparsity():
    assert BlockRow(0.5, width=3, height=2).with_sparsity(0.8) == BlockRow(0.8, width=3, height=2)
    assert Block((2, 3), 0.5).with_sparsity(0.25) == Block((2, 3), 0.25)
    assert NM(2, 4).with_sparsity(0.75) == NM(1, 4)
    assert NM(2, 4).with_sparsity(0.7) == NM(2, 4)  # not sparser than asked
    assert NM(1, 10).with_sparsity(0.9) == NM(1, 10)
    assert NM(2, 4).with_sparsity(0.99) == NM(1, 4)
    assert Connectivity(0.5, balanced=False).with_sparsity(0.1) == Connectivity(0.1, balanced=False)
    with pytest.raises(ValueError, match=r"not in \[0, 1\)"):
        NM(2, 4).with_sparsity(1.0)
    with pytest.raises(ValueError, match=r"not in \[0, 1\)"):
        Filter(0.5).with_sparsity(1.0)


def test_schemes_are_values():
    assert Row is Filter
    assert list(SCHEMES) == sorted(SCHEMES)
    assert set(pruning.__all__) <= set(dir(pruning))
    pair = Filter(0.5) & NM(2, 4)
    for scheme in (Unstructured(0.5), RowColumn(0.75), BlockRow(0.5), KernelPattern(), pair):
        assert copy.deepcopy(scheme) == scheme == pickle.loads(pickle.dumps(scheme))
        assert hash(scheme) == hash(copy.copy(scheme))
        assert eval(repr(scheme)) == scheme
        with pytest.raises(AttributeError):
            scheme.sparsity = 0.1
    assert isinstance(pair, Both)
    with pytest.raises(TypeError):
        Filter(0.5) & 3


def test_without_torch_the_message_says_how_to_get_it():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import embcompress\n"
        "try:\n    import embcompress.pruning\n"
        "except ImportError as error:\n    print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'pip install "embcompress[torch]"' in run.stdout
