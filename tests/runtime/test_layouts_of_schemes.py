"""The layout that each scheme of pruning names holds its masks; the page's example runs."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from embcompress.runtime.layouts import LAYOUTS, smallest

PAGE = Path(__file__).parents[2] / "docs" / "runtime-layouts.md"


def test_the_example_of_the_page_runs():
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    weight = np.random.default_rng(0).standard_normal((32, 16)).astype(np.float32)
    exec(example, {"weight": weight, "mask": weight > 0})


def test_the_page_has_every_array():
    page = PAGE.read_text("utf-8")
    weight = np.ones((2, 2, 3, 3), np.int8)
    for name, layout in LAYOUTS.items():
        (section,) = re.findall(rf"^## {name}\b(.*?)^## ", page, re.DOTALL | re.MULTILINE)
        for array in layout.from_dense(weight).arrays():
            assert f"`{array}`" in section


@pytest.mark.parametrize(
    ("scheme", "shape"),
    [
        ("Unstructured(0.9)", (40, 36)),
        ("NM(2, 4)", (40, 36)),
        ("Filter(0.5)", (40, 36)),
        ("Filter(0.5)", (8, 4, 3, 3)),
        ("Column(0.5)", (40, 36)),
        ("Channel(0.5)", (8, 4, 3, 3)),
        ("Block((8, 4), 0.7)", (40, 36)),
        ("BlockRow(0.7)", (40, 39)),
        ("BlockColumn(0.7)", (40, 39)),
        ("BlockRow(0.5) & BlockColumn(0.5)", (40, 39)),
        ("KernelPattern()", (8, 4, 3, 3)),
        ("Connectivity(0.7)", (8, 4, 3, 3)),
        ("Connectivity(0.7)", (8, 4, 1, 1)),
        ("KernelPattern() & Connectivity(0.7)", (8, 4, 3, 3)),
        ("SPM(4, n_patterns=16)", (8, 4, 3, 3)),
        ("SPM(2, length=9)", (40, 36)),
    ],
)
def test_the_layout_of_a_scheme_holds_its_mask(scheme, shape):
    torch = pytest.importorskip("torch")
    from embcompress import pruning

    made = eval(scheme, vars(pruning))
    weight = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    mask = made.mask(torch.from_numpy(np.abs(weight))).numpy()
    layout = LAYOUTS[made.layout].from_dense(weight, mask)
    np.testing.assert_array_equal(layout.mask(), mask)
    np.testing.assert_array_equal(layout.to_dense(), weight * mask)
    best = smallest(weight, mask)
    assert best.nbytes + best.index_nbytes <= layout.nbytes + layout.index_nbytes
