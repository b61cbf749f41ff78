"""How pruned matrices are cut into blocks for runtimes of dense products."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_cases import STRUCTURES, make_kept

from embcompress.runtime.onnx_export.blocks import cut_blocks, in_order, places


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("positions", [1, 9])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_blocks_cover_what_is_kept_and_add_up(structure, positions, rng):
    kept = make_kept(rng, structure, (1024, 512))
    blocks = cut_blocks(kept, positions)
    if blocks is None:
        assert structure in ("dense", "strips", "single")
        return
    covered, values = np.zeros_like(kept), np.arange(1024) * 1.0
    for block in blocks:
        covered[np.ix_(block.rows, block.columns)] = True
    assert (covered >= kept).all()
    assert sum(len(b.rows) * len(b.columns) for b in blocks) <= 0.75 * kept.size
    index, needs_zero = places(blocks, 1024)
    given = np.concatenate([np.zeros(0), *(values[block.rows] for block in blocks), [0.0]])
    counts = sum((np.bincount(b.rows, minlength=1024) for b in blocks), np.zeros(1024))
    np.testing.assert_array_equal(given[index].sum(axis=0), values * counts)
    assert needs_zero == bool((index == len(given) - 1).any())


def test_equal_rows_in_order_need_no_placing(rng):
    kept = np.zeros((512, 512), bool)
    kept[:256, ::20] = kept[256:, 7::20] = True
    blocks = cut_blocks(kept)
    assert [len(block.rows) for block in blocks] in ([256, 256], [512])
    assert in_order(places(blocks, 512)[0])
