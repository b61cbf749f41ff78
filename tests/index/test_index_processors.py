"""The compiled search on other processors and as plain Python, and when it is loaded at all."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

COMPARE = """
import numpy as np
from embcompress import simd
from embcompress.index import HammingIndex

def same(call):
    for a, b in zip(call(native), call(plain), strict=True):
        np.testing.assert_array_equal(a, b)

assert {condition}, (simd.TILE, simd.LOOKUP, simd.host_features())
for n_bits in {widths}:
    rng = np.random.default_rng(n_bits)
    bits = rng.random(({n}, n_bits)) < 0.5
    bits[::5] = bits[0]  # ties, and complements
    bits[3::9] = ~bits[0]
    codes = np.packbits(bits, axis=1)
    weights = rng.integers(-9, 10, (9, n_bits))
    for scales in (None, 2.0 ** rng.integers(-3, 4, len(codes))):
        native, plain = (HammingIndex(n_bits, engine=engine) for engine in ("native", "numpy"))
        native.add(codes[:70], scales=None if scales is None else scales[:70])
        native.add(codes[70:], scales=None if scales is None else scales[70:])
        plain.add(codes, scales=scales)
        for n in (1, 9):
            for k in (1, 20, 64, 65):
                same(lambda index: index.search(codes[:n], k))
                same(lambda index: index.search_asymmetric(weights[:n], k))
            for radius in (0, n_bits // 2, n_bits):
                same(lambda index: index.range_search(codes[:n], radius))
            same(lambda index: index.search(codes[:n], 9, subset=range(3, len(codes), 4)))
    np.testing.assert_array_equal(native.codes, codes)
print("fine")
"""


def run_python(code, **environment):
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", code], capture_output=True, text=True,
        env=os.environ | environment, timeout=300,
    )  # fmt: skip
    assert done.stdout == "fine\n", done.stderr[-3000:]


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names of x86 processors")
@pytest.mark.parametrize(
    ("environment", "condition"),
    [
        (
            {
                "NUMBA_CPU_NAME": "haswell",
                "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma,+ssse3,+sse4.2",
            },
            "simd.TILE == 4 and simd.LOOKUP[1] == 32",
        ),
        (
            {"NUMBA_CPU_NAME": "nehalem", "NUMBA_CPU_FEATURES": "+ssse3,+sse4.2"},
            "simd.TILE == 4 and simd.LOOKUP[1] == 16",
        ),
        (
            {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": ""},
            "simd.TILE == 4 and simd.LOOKUP is None",
        ),
    ],
    ids=["AVX2", "SSSE3", "SSE2"],
)
def test_other_processors(environment, condition, tmp_path):
    code = COMPARE.format(widths=(1, 8, 31, 255, 256, 257, 600), n=400, condition=condition)
    run_python(code, **environment, NUMBA_CACHE_DIR=str(tmp_path))


def test_the_search_runs_as_python():
    code = COMPARE.format(widths=(5, 40), n=90, condition="True")
    run_python(code, NUMBA_DISABLE_JIT="1")


LAZY = """
import sys
import numpy as np
from embcompress.index import HammingIndex, engines
engines._PATIENCE = 2000 * 32 * 10
index = HammingIndex(256, engine={engine!r})
codes = np.random.default_rng(0).integers(0, 256, (2000, 32), np.uint8)
loaded = lambda: ("numba" in sys.modules, "embcompress.index.native" in sys.modules)
index.add(codes)
assert loaded() == (False, False)
first = index.search(codes[:5], 7)
first_scores = index.search_asymmetric(np.ones((2, 256)), 7)
assert loaded() == (False, False)
many = index.range_search(codes[:2], 100)
assert loaded() == (False, False)
last = index.search(codes[:5], 7)
assert loaded() == ({later}, {later}), loaded()
same = [*zip(first, last), *zip(first_scores, index.search_asymmetric(np.ones((2, 256)), 7))]
same += zip(many, index.range_search(codes[:2], 100))
assert all((a == b).all() for a, b in same)
assert index.search(codes[7:8], 1)[1].tolist() == [[7]]
index.add(codes)
index.remove(range(2000))
assert index.search(codes[7:8], 1)[1].tolist() == [[2007]]
assert loaded() == ({later}, {later})
assert "faiss" not in sys.modules
print("fine")
"""


@pytest.mark.parametrize(("engine", "later"), [("auto", True), ("numpy", False)])
def test_the_compiled_search_is_loaded_when_it_pays(engine, later):
    run_python(LAZY.format(engine=engine, later=later))


def test_a_small_search_of_a_file_loads_nothing_heavy(tmp_path):
    code = f"""
import sys
import numpy as np
from embcompress.index import HammingIndex
path = {str(tmp_path / "x")!r}
codes = np.random.default_rng(0).integers(0, 256, (500, 32), np.uint8)
index = HammingIndex(256)
index.add(codes, np.arange(500) * 2)
index.save(path)
for mmap in (True, False):
    assert HammingIndex.load(path, mmap=mmap).search(codes[3:4], 1)[1].tolist() == [[6]]
assert not {{"numba", "llvmlite", "faiss", "torch"}} & set(sys.modules)
print("fine")
"""
    run_python(code)
