"""Programs give what the dense arithmetic gives, whatever the layout, mask and number of rows."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import erf, expit

from embcompress import runtime as rt
from embcompress.runtime.rounding import round_weight

ACTIVATIONS = {
    "identity": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "gelu": lambda x: x * 0.5 * (1 + erf(x / np.sqrt(2))),
    "tanh": np.tanh,
    "silu": lambda x: x * expit(x),
    "sigmoid": expit,
}
LAYOUTS = ["dense", "strips", "compact", "bspc", "csr"]


def mask_of(kind: str, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    rows, columns = shape
    if kind == "single":
        return rng.random(shape) < 0.2
    if kind == "strips":
        return np.repeat(rng.random((-(-rows // 16), columns)) < 0.3, 16, axis=0)[:rows]
    if kind == "rows and columns":
        return np.outer(rng.random(rows) < 0.5, rng.random(columns) < 0.5)
    if kind == "rows in blocks":
        return np.repeat(rng.random((rows, 4)) < 0.3, -(-columns // 4), axis=1)[:, :columns]
    if kind == "columns in blocks":
        return np.repeat(rng.random((3, columns)) < 0.4, -(-rows // 3), axis=0)[:rows]
    return np.ones(shape, bool)


MASKS = ["single", "strips", "rows and columns", "rows in blocks", "columns in blocks", "all"]


@settings(max_examples=120)
@given(
    st.sampled_from(LAYOUTS), st.sampled_from(MASKS), st.sampled_from(sorted(ACTIVATIONS)),
    st.integers(1, 70), st.integers(1, 90), st.integers(1, 70), st.integers(0, 10**6),
)  # fmt: skip
def test_a_layer_in_float32(layout, kind, activation, n_out, n_in, n, seed):
    rng = np.random.default_rng(seed)
    kept = mask_of(kind, (n_out, n_in), rng)
    values = np.where(kept, rng.normal(size=kept.shape), 0).astype(np.float32)
    bias = rng.normal(size=n_out).astype(np.float32)
    x = rng.normal(size=(n, n_in)).astype(np.float32)
    graph = rt.Graph(
        [rt.Node("0", rt.Linear(rt.Weight(values, kept, layout=layout), bias, activation))],
        "rows", (n_in,),
    )  # fmt: skip
    expected = ACTIVATIONS[activation](x.astype(np.float64) @ values.T + bias)
    np.testing.assert_allclose(rt.Program(graph)(x), expected, rtol=1e-4, atol=1e-4)


@settings(max_examples=80)
@given(
    st.sampled_from(["dense", "strips", "compact", "bspc"]), st.sampled_from(MASKS),
    st.booleans(), st.integers(1, 70), st.integers(1, 90), st.integers(1, 40),
    st.integers(0, 10**6),
)  # fmt: skip
def test_a_layer_in_int8_is_exact_on_the_rounded_numbers(layout, kind, fixed, n_out, n_in, n, seed):
    rng = np.random.default_rng(seed)
    kept = mask_of(kind, (n_out, n_in), rng)
    values = np.where(kept, rng.normal(size=kept.shape), 0).astype(np.float32)
    weight = round_weight(rt.Weight(values, kept, layout=layout), 0.02 if fixed else None)
    bias = rng.normal(size=n_out).astype(np.float32)
    x = rng.normal(size=(n, n_in)).astype(np.float32)
    graph = rt.Graph([rt.Node("0", rt.Linear(weight, bias))], "rows", (n_in,))
    step = np.float32(0.02) if fixed else np.abs(x).max(axis=1, keepdims=True) / np.float32(127)
    steps = np.clip(np.rint(x * (1 / step)), -127, 127)
    expected = (steps @ weight.values.T.astype(np.float64)) * step * weight.scales + bias
    np.testing.assert_allclose(rt.Program(graph)(x), expected, rtol=1e-4, atol=1e-4)


def chain(rng: np.random.Generator, sizes: list[int], density: float) -> list[rt.Linear]:
    records = []
    for n_in, n_out in pairwise(sizes):
        values = rng.normal(size=(n_out, n_in)) * (rng.random((n_out, n_in)) < density)
        bias = rng.normal(size=n_out).astype(np.float32)
        records.append(rt.Linear(values.astype(np.float32) / np.sqrt(n_in), bias, "relu"))
    return records


def dense(records: list[rt.Linear], x: np.ndarray) -> np.ndarray:
    for record in records:
        x = np.maximum(x @ record.weight.dense().T.astype(np.float64) + record.bias, 0)
    return x


@pytest.mark.parametrize("batch_size", [1, 64])
@pytest.mark.parametrize("density", [0.05, 0.5, 1.0])
@pytest.mark.parametrize("tune", [False, True])
def test_layers_in_a_row(density, batch_size, tune):
    rng = np.random.default_rng(0)
    records = chain(rng, [100, 64, 33, 7], density)
    program = rt.compile(records, batch_size=batch_size, tune=tune)
    x = rng.normal(size=(150, 100)).astype(np.float32)
    np.testing.assert_allclose(program(x), dense(records, x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("n", [0, 1, 2, 63, 64, 65, 1000])
def test_any_number_of_rows(n):
    rng = np.random.default_rng(0)
    records = chain(rng, [40, 32, 16], 0.5)
    x = rng.normal(size=(n, 40)).astype(np.float32)
    found = rt.compile(records)(x)
    assert found.shape == (n, 16)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, dense(records, x), rtol=1e-4, atol=1e-4)


def test_threads_share_the_rows_and_the_program():
    rng = np.random.default_rng(0)
    records = chain(rng, [40, 32, 16], 0.5)
    program = rt.compile(records)
    x = rng.normal(size=(500, 40)).astype(np.float32)
    expected = program(x)
    np.testing.assert_array_equal(program(x, n_jobs=2), expected)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: program(x), range(16)):
            np.testing.assert_array_equal(found, expected)


def test_inputs_of_other_types_become_float32():
    rng = np.random.default_rng(0)
    program = rt.compile(chain(rng, [8, 16], 1.0))
    x = rng.integers(-3, 4, (6, 8))
    expected = program(x.astype(np.float32))
    for other in (x, x.astype(np.float64), np.asfortranarray(x, np.float32), x.tolist()):
        np.testing.assert_array_equal(program(other), expected)
    wide = np.zeros((6, 16), np.float32)
    wide[:, ::2] = x
    np.testing.assert_array_equal(program(wide[:, ::2]), expected)


def test_inputs_that_cannot_be_written_to_need_no_kernels_of_their_own():
    from embcompress.runtime.kernels.machine import run

    program = rt.compile(chain(np.random.default_rng(0), [8, 16], 1.0))
    x = np.ones((3, 8), np.float32)
    expected = program(x)
    x.flags.writeable = False
    np.testing.assert_array_equal(program(x), expected)
    np.testing.assert_array_equal(program(np.frombuffer(x.tobytes(), "f4").reshape(3, 8)), expected)
    assert len(run.signatures) == 1


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.zeros((2, 7), np.float32), ValueError, r"shape \(2, 7\); the program takes \(n, 8\)"),
        (np.zeros(8, np.float32), ValueError, r"shape \(8,\); the program takes \(n, 8\)"),
        (np.zeros((2, 8, 1)), ValueError, r"the program takes \(n, 8\)"),
        (np.zeros((2, 8), complex), TypeError, "array of complex128; real numbers"),
        ([["a"] * 8], TypeError, "real numbers are needed"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(x, error, message):
    program = rt.compile(chain(np.random.default_rng(0), [8, 16], 1.0))
    with pytest.raises(error, match=message):
        program(x)


def test_a_state_for_a_program_without_a_cell_is_refused():
    program = rt.compile(chain(np.random.default_rng(0), [8, 16], 1.0))
    with pytest.raises(ValueError, match="no cell that takes a state"):
        program(np.zeros((1, 8)), np.zeros((1, 8)))


CHECK = """
import numpy as np
from embcompress import runtime as rt
from embcompress import simd
assert simd.TILE == {tile}, simd.host_features()
rng = np.random.default_rng(0)
kept = rng.random((40, 50)) < 0.3
w = (rng.normal(size=(40, 50)) * kept).astype(np.float32)
x = rng.normal(size=(21, 50)).astype(np.float32)
def close(a, b, tolerance=1e-4):
    assert np.abs(a - b).max() < tolerance, np.abs(a - b).max()
for layout in ("dense", "bspc", "csr"):
    record = rt.Linear(rt.Weight(w, layout=layout), activation="tanh")
    for n in (1, 2, 21):
        close(rt.compile(record)(x[:n]), np.tanh(x[:n] @ w.T))
        close(rt.compile(record, precision="int8")(x[:n]), np.tanh(x[:n] @ w.T), 0.2)
print("fine")
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("environment", "tile"),
    [
        ({"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma,+ssse3,+sse4.2"}, 4),
        ({"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": ""}, 4),
    ],
    ids=["AVX2", "no AVX"],
)
def test_other_processors(environment, tile, tmp_path):
    import platform

    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("names of x86 processors")
    done = subprocess.run(
        [sys.executable, "-c", CHECK.format(tile=tile)], capture_output=True, text=True,
        env={**os.environ, **environment, "NUMBA_CACHE_DIR": str(tmp_path)},
    )  # fmt: skip
    assert done.stdout == "fine\n", done.stderr[-2000:]


def test_the_kernels_run_as_python(tmp_path):
    """The twins in NumPy take the place of the vectors, so that kernels can be looked into."""
    code = CHECK.replace("assert simd.TILE == {tile}, simd.host_features()", "")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
    )  # fmt: skip
    assert done.stdout == "fine\n", done.stderr[-2000:]
