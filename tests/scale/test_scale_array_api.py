"""Tensors in, tensors out, with the codes of NumPy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from embcompress import IIQ, Sign

torch = pytest.importorskip("torch")

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
FOLDER = Path(__file__).parent


@pytest.fixture(scope="module", params=DEVICES)
def found(request):
    """What tests/scale/array_api_cases.py prints."""
    done = subprocess.run(
        [sys.executable, str(FOLDER / "array_api_cases.py"), request.param],
        env={**os.environ, "SCIPY_ARRAY_API": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return request.param, json.loads(done.stdout)


def test_codes_of_tensors_are_those_of_arrays(found):
    device, result = found
    assert len(result["cases"]) == 18
    for case in result["cases"]:
        assert case["same codes"], case
        assert case["bits are signs"], case
        assert case["numpy after a fit"], case
        assert case["decoded"] == 0, case
        assert case["devices"] == [device], case
        assert case["types"][:2] == ["torch.uint8", "torch.uint8"], case
    assert {case["types"][2] for case in result["cases"]} == {"torch.float32", "torch.float64"}


def test_fits_on_tensors_are_those_on_arrays(found):
    # sums are rounded otherwise: a score of almost 0 may turn, and with it the rotation a little
    for case in found[1]["cases"]:
        exact = case["types"][2] == "torch.float64"
        assert case["same after a fit"] >= (0.999 if exact else 0.9), case
        assert case["same in parts"] >= (0.999 if exact else 0.9), case


def test_checks_hold_for_tensors(found):
    assert "NaN" in found[1]["error"]
    assert found[1]["nlb"] == 24  # NLB copies tensors into memory


def test_without_dispatch_a_tensor_is_an_array():
    rows = np.random.default_rng(0).normal(size=(100, 8)).astype(np.float32)
    codes = Sign().fit(rows).transform(torch.from_numpy(rows))
    assert isinstance(codes, np.ndarray)
    np.testing.assert_array_equal(codes, Sign().fit_transform(rows))


def test_the_tag_says_so():
    from sklearn.utils import get_tags

    from embcompress import NLB

    assert get_tags(IIQ()).array_api_support
    assert not get_tags(NLB()).array_api_support
