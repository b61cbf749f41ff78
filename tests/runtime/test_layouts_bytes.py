"""The bytes of layouts, and what they mean."""

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

from embcompress.runtime.layouts import LAYOUTS, Layout


def hexes(layout: Layout) -> dict[str, str]:
    return {
        name: f"{array.dtype.str[1:]} {array.shape} {array.tobytes().hex()}"
        for name, array in layout.arrays().items()
    }


# Type, shape and bytes of the arrays of the golden weight of each layout. A change here is a
# change of the format: files that were written before could not be read any more.
GOLDEN: dict[str, dict[str, str]] = {
    "dense int8": {
        "weights": (
            "i1 (18, 6) "
            "00000000000001020300000000000000040500000000060700000000000000000000000000000000"
            "00000000000000000000000000000000000000000000000000000000000000000000000000000000"
            "0000000000000000000000000000000000000000000008090a000b0c"
        ),
    },
    "compact int8": {
        "weights": "i1 (4, 5) 01020300000000000405000000060708090a0b0c",
        "rows": "u1 (4,) 01020311",
        "columns": "u1 (5,) 0001020405",
    },
    "strips float32": {
        "weights": (
            "f4 (2, 16) "
            "0000803f0000004000004040000080400000a0400000c0400000e040000000410000104100002041"
            "00003041000040410000504100006041000070410000804100008841000090410000000000000000"
            "00000000000000000000000000000000000000000000000000000000000000000000000000000000"
            "0000000000000000"
        ),
        "rows": "u1 (0,) ",
        "strip_ptr": "u1 (3,) 000102",
        "units": "u1 (2,) 0205",
    },
    "strips int8": {
        "weights": (
            "i1 (2, 16, 4) "
            "01020300000000000000000008090a00000000000000000000000000000000000000000000000000"
            "0000000000000000000000000000000000000000000000000000000004050000060700000b0c0000"
            "00000000000000000000000000000000000000000000000000000000000000000000000000000000"
            "0000000000000000"
        ),
        "rows": "u1 (4,) 01020311",
        "strip_ptr": "u1 (2,) 0002",
        "units": "u1 (2,) 0001",
    },
    "bspc int8": {
        "weights": "i1 (12,) 01020308090a040506070b0c",
        "reorder": "u1 (5,) 0111020311",
        "filter_offset": "u1 (3,) 00060c",
        "stride": "u1 (2,) 0302",
        "column_index": "u1 (2,) 0004",
        "register_load": "u1 (2,) 0101",
        "row_runs": "u1 (1,) 00",
        "column_runs": "u1 (1,) c0",
    },
    "fkw int8": {
        "weights": "i1 (6,) 050601020304",
        "patterns": "u2 (2,) 03003000",
        "reorder": "u1 (2,) 0200",
        "offset": "u1 (3,) 000103",
        "stride": "u1 (2, 3) 000001000102",
        "index": "u1 (3,) 000001",
    },
    "spm int8": {
        "weights": "i1 (3, 2) 010203040506",
        "length": "u1 (1,) 09",
        "patterns": "u2 (2,) 03003000",
        "codes": "u1 (1,) 60",
        "present": "u1 (1,) c8",
    },
    "csr float32": {
        "weights": (
            "f4 (12,) "
            "0000803f0000004000004040000080400000a0400000c0400000e040000000410000104100002041"
            "0000304100004041"
        ),
        "rowptr": (
            "u4 (19,) "
            "00000000000000000300000005000000070000000700000007000000070000000700000007000000"
            "07000000070000000700000007000000070000000700000007000000070000000c000000"
        ),
        "columns": "u2 (12,) 000001000200040005000400050000000100020004000500",
    },
}


@pytest.mark.parametrize("key", GOLDEN)
def test_bytes_are_those_of_the_format(key):
    name, dtype = key.split()
    assert (
        hexes(LAYOUTS[name].from_dense(*golden_weight(name, np.dtype(dtype).type))) == GOLDEN[key]
    )


def test_every_layout_has_golden_bytes():
    assert {key.split()[0] for key in GOLDEN} == set(LAYOUTS)


# Readers by loops, written from docs/runtime-layouts.md: what the arrays mean.
def bits_of(array: np.ndarray) -> list[int]:
    return [byte >> 7 - i & 1 for byte in array.tolist() for i in range(8)]


def read_strips(layout: Layout, matrix: np.ndarray) -> None:
    a = {name: array.tolist() for name, array in layout.arrays().items()}
    width = 4 if layout.weights.ndim == 3 else 1
    rows = a["rows"] or range(len(matrix))
    for strip in range(len(a["strip_ptr"]) - 1):
        for block in range(a["strip_ptr"][strip], a["strip_ptr"][strip + 1]):
            for r, row in enumerate(rows[16 * strip : 16 * strip + 16]):
                for c in range(width):
                    column = a["units"][block] * width + c
                    if column < matrix.shape[1]:
                        matrix[row, column] = layout.weights[block].reshape(16, width)[r, c]


def read_bspc(layout: Layout, matrix: np.ndarray) -> None:
    a = {name: array.tolist() for name, array in layout.arrays().items()}
    row_runs, column_runs = bits_of(layout.row_runs), bits_of(layout.column_runs)
    at_row = at_column = at_weight = 0
    for group, stride in enumerate(a["stride"]):
        n_rows = (a["filter_offset"][group + 1] - a["filter_offset"][group]) // stride
        if row_runs[group]:
            rows = range(a["reorder"][at_row], a["reorder"][at_row] + n_rows)
        else:
            rows = a["reorder"][at_row : at_row + n_rows]
        if column_runs[group]:
            columns = range(a["column_index"][at_column], a["column_index"][at_column] + stride)
        else:
            columns = a["column_index"][at_column : at_column + stride]
        at_row += 1 if row_runs[group] else n_rows
        at_column += 1 if column_runs[group] else stride
        for row in rows:
            for column in columns:
                matrix[row, column] = layout.weights[at_weight]
                at_weight += 1


def read_fkw(layout: Layout, matrix: np.ndarray) -> None:
    a = {name: array.tolist() for name, array in layout.arrays().items()}
    length = layout.shape[2] * layout.shape[3]
    at = 0
    for f, filter_ in enumerate(a["reorder"]):
        for p, pattern in enumerate(a["patterns"]):
            start, stop = (a["offset"][f] + s for s in a["stride"][f][p : p + 2])
            for channel in a["index"][start:stop]:
                for place in range(length):
                    if pattern >> place & 1:
                        matrix[filter_, channel * length + place] = layout.weights[at]
                        at += 1


def read_spm(layout: Layout, matrix: np.ndarray) -> None:
    length = int(layout.length[0])
    table, codes = layout.patterns.tolist(), bits_of(layout.codes)
    width = (len(table) - 1).bit_length()
    vectors = matrix.reshape(-1, length)
    present = bits_of(layout.present) or [1] * len(vectors)
    stored = [v for v in range(len(vectors)) if present[v]]
    for at, v in enumerate(stored):
        code = int("0" + "".join(map(str, codes[at * width : at * width + width])), 2)
        places = [i for i in range(length) if table[code] >> i & 1]
        for n, place in enumerate(places):
            vectors[v, place] = layout.weights[at, n]


READERS = {"strips": read_strips, "bspc": read_bspc, "fkw": read_fkw, "spm": read_spm}


@pytest.mark.parametrize("name", READERS)
@given(
    shape=st.sampled_from([(17, 36), (5, 16), (40, 7), (18, 7, 3, 3), (3, 2, 5, 5)]),
    structure=st.sampled_from([*STRUCTURES, "kernels"]),
    dtype=st.sampled_from(["float32", "int8"]),
    seed=st.integers(0, 2**16),
)
def test_arrays_mean_what_the_page_says(name, shape, structure, dtype, seed):
    weight, mask = make_weight(shape, dtype, seed), make_mask(structure, shape, seed)
    layout = make(name, weight, mask)
    if layout is not None:
        matrix = np.zeros((shape[0], int(np.prod(shape[1:]))), dtype)
        READERS[name](layout, matrix)
        np.testing.assert_array_equal(matrix.reshape(shape), layout.to_dense())
