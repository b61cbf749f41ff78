"""Arrays from files that are damaged."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layout_cases import (
    STRUCTURES,
    golden_weight,
    make,
    make_mask,
    make_weight,
)

from embcompress import FormatError
from embcompress.runtime.layouts import LAYOUTS


# Damaged arrays: what is changed in the golden weights, and what is said about it.
def put(name: str, at: int | tuple[int, ...], value: int):
    def damage(arrays: dict) -> None:
        arrays[name] = arrays[name].copy()
        arrays[name][at] = value

    return damage


def change(name: str, function):
    def damage(arrays: dict) -> None:
        arrays[name] = function(arrays[name])

    return damage


DAMAGES = [
    ("csr", lambda a: a.pop("rowptr"), r"'rowptr' is missing \(found: columns, weights\)"),
    ("csr", lambda a: a.update(more=a["columns"]), "arrays columns, more, rowptr, weights, exp"),
    ("csr", change("weights", np.float64), "'weights' is float64, expected float32 or int8"),
    ("csr", change("columns", np.int64), r"'columns' is int64 of shape \(12,\), expected uint16"),
    ("csr", change("columns", lambda a: a[1:]), r"shape \(11,\), expected uint16 of shape \(12,\)"),
    ("csr", change("rowptr", lambda a: a[:9]), r"shape \(9,\), expected uint32 of shape \(19,\)"),
    ("csr", put("rowptr", -1, 13), "goes from 0 to 13, expected 0 to 12"),
    ("csr", put("rowptr", 0, 1), "goes from 1 to 12, expected 0 to 12"),
    ("csr", put("rowptr", 3, 9), "'rowptr' is out of order at entry 4: 7 after 9"),
    ("csr", put("columns", 3, 6), "'columns' holds 6 at entry 3, expected below 6"),
    ("csr", put("columns", 1, 0), "'columns' is out of order at entry 1: 0 after 0"),
    ("dense", change("weights", lambda a: a[1:]), r"\(17, 6\), expected int8 of shape \(18, 6\)"),
    ("compact", put("rows", 0, 18), "'rows' holds 18 at entry 0, expected below 18"),
    ("compact", put("columns", 0, 2), "'columns' is out of order at entry 1: 1 after 2"),
    ("compact", change("rows", lambda a: a[:0]), r"shape \(0,\), expected uint8 of shape \(4,\)"),
    ("compact", change("weights", np.ravel), r"\(20,\), expected int8 of shape \(any, any\)"),
    ("strips", put("rows", 0, 2), "'rows' is out of order at entry 1"),
    ("strips", put("units", 1, 2), "'units' holds 2 at entry 1, expected below 2"),
    ("strips", put("units", 1, 0), "'units' is out of order at entry 1: 0 after 0"),
    ("strips", put("strip_ptr", 1, 1), "'strip_ptr' goes from 0 to 1, expected 0 to 2"),
    ("strips", change("weights", lambda a: a[..., 0]), r"expected int8 of shape \(any, 16, 4\)"),
    ("strips", put("weights", (0, 4, 0), 1), "'weights' has numbers beyond the last row or col"),
    ("strips", put("weights", (1, 0, 2), 1), "'weights' has numbers beyond the last row or col"),
    ("bspc", put("stride", 0, 0), "'stride' holds 0 to 2, expected 1 to 6"),
    ("bspc", put("stride", 0, 7), "'stride' holds 2 to 7, expected 1 to 6"),
    ("bspc", put("stride", 0, 4), "group 0 .* has 6 weights, expected a multiple of its stride 4"),
    ("bspc", put("filter_offset", 1, 12), "out of order at entry 2: 12 after 12, expected at le"),
    ("bspc", put("register_load", 0, 2), r"'register_load' is not ceil\(stride / 16\)"),
    ("bspc", put("row_runs", 0, 1), "'row_runs' has bits set after the last of 2"),
    ("bspc", put("column_runs", 0, 0), r"'column_index' is uint8 of shape \(2,\), .*\(5,\)"),
    ("bspc", put("column_index", 1, 5), "'column_index' holds 6 at entry 4, expected below 6"),
    ("bspc", put("column_index", 1, 2), "groups overlap: a place of the matrix has several"),
    ("bspc", put("reorder", 0, 17), "'reorder' is out of order at entry 1: 17 after 17"),
    ("fkw", put("patterns", 0, 0), "'patterns' holds 0x0 at entry 0, expected bits among the low"),
    ("fkw", put("patterns", 1, 512), "'patterns' holds 0x200 at entry 1, .* lowest 9"),
    ("fkw", put("patterns", 1, 3), "'patterns' is out of order at entry 1: 0x3 after 0x3"),
    ("fkw", put("patterns", 1, 0x70), r"'weights' is int8 of shape \(6,\), .*\(8,\)"),
    ("fkw", put("reorder", 0, 3), "'reorder' holds 3 at entry 0, expected below 3"),
    ("fkw", put("reorder", 0, 0), "'reorder' names a filter twice"),
    ("fkw", put("offset", 1, 0), "'offset' is out of order at entry 1: 0 after 0, expected at le"),
    ("fkw", put("stride", (1, 2), 1), r"row 1 of array 'stride' is \[0, 1, 1\], .* to 2"),
    ("fkw", put("index", 0, 2), "'index' holds 2 at entry 0, expected below 2"),
    ("fkw", put("index", 1, 1), "'index' names a channel twice in a filter"),
    ("spm", put("length", 0, 4), "'length' holds 4, expected one of 9"),
    ("spm", put("patterns", 1, 0x70), r"'patterns' keeps \[2, 3\] places, expected the same num"),
    ("spm", change("patterns", lambda a: a[:0]), "'patterns' is empty, expected .* 3 vectors"),
    ("spm", put("present", 0, 0xE8), r"'weights' is int8 of shape \(3, 2\), .*\(4, 2\)"),
    ("spm", put("present", 0, 0xC1), "'present' has bits set after the last of 6"),
    ("spm", put("codes", 0, 0x61), "'codes' has bits set after the last of 3"),
    ("spm", change("codes", lambda a: np.append(a, a)), r"'codes' is uint8 of shape \(2,\)"),
]


@pytest.mark.parametrize(("name", "damage", "message"), DAMAGES)
def test_damaged_arrays_are_refused(name, damage, message):
    dtype = np.float32 if name == "csr" else np.int8
    layout = LAYOUTS[name].from_dense(*golden_weight(name, dtype))
    arrays = layout.arrays()
    damage(arrays)
    with pytest.raises(FormatError, match=f"^{name}: .*{message}"):
        LAYOUTS[name].from_arrays(arrays, layout.shape)


def test_codes_beyond_the_table_are_refused():
    mask = np.zeros((1, 4, 3, 3), bool)
    for i in range(4):
        mask[0, i, 0, i % 3] = True
    arrays = LAYOUTS["spm"].from_dense(mask.astype(np.int8)).arrays()
    arrays["codes"] = np.array([0b11_00_01_10], np.uint8)
    with pytest.raises(FormatError, match="spm: array 'codes' holds 3 at entry 0, expected below"):
        LAYOUTS["spm"].from_arrays(arrays, (1, 4, 3, 3))


@pytest.mark.parametrize("shape", [(2,), (0, 2), (2, 2, 2)])
def test_shapes_that_no_weight_has(shape):
    arrays = LAYOUTS["dense"].from_dense(np.ones((2, 2), np.int8)).arrays()
    with pytest.raises(FormatError, match=r"dense: shape \(.*, expected \(O, I\) or"):
        LAYOUTS["dense"].from_arrays(arrays, shape)


def test_shapes_that_do_not_fit_the_layout():
    for name, shape, message in [
        ("fkw", (3, 18), r"fkw: shape \(3, 18\), expected \(O, I, kh, kw\)"),
        ("fkw", (3, 2, 9, 9), "fkw: kernels of 9x9"),
        ("spm", (3, 17), "17 inputs are no multiple"),
    ]:
        arrays = LAYOUTS[name].from_dense(*golden_weight(name, np.int8)).arrays()
        with pytest.raises(FormatError, match=message):
            LAYOUTS[name].from_arrays(arrays, shape)


@pytest.mark.parametrize("name", LAYOUTS)
@given(
    data=st.data(),
    structure=st.sampled_from([*STRUCTURES, "kernels"]),
    seed=st.integers(0, 2**16),
)
def test_any_damage_is_found_or_harmless(name, data, structure, seed):
    """Arrays with random changes are refused, or are a layout that can be read."""
    shape = data.draw(st.sampled_from([(19, 8), (5, 3, 3, 3)]))
    weight, mask = make_weight(shape, "int8", seed), make_mask(structure, shape, seed)
    layout = make(name, weight, mask)
    if layout is None:
        return
    arrays = {key: array.copy() for key, array in layout.arrays().items()}
    key = data.draw(st.sampled_from(sorted(arrays)))
    flat = arrays[key].view(np.uint8).reshape(-1)
    if len(flat) and data.draw(st.booleans()):
        flat[data.draw(st.integers(0, len(flat) - 1))] = data.draw(st.integers(0, 255))
    else:
        arrays[key] = data.draw(st.sampled_from([arrays[key][:-1], arrays[key][:0], np.int64(3)]))
    try:
        changed = LAYOUTS[name].from_arrays(arrays, shape)
    except FormatError:
        return
    assert changed.to_dense().shape == changed.mask().shape == shape
    if not changed.fills:
        assert changed.mask().sum() == changed.weights.size
