"""Near-lossless binarization: what it learns, and that its files need no torch."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from embcompress import CompressedVectors
from embcompress._optional import MissingExtraError
from embcompress.codes import code_bytes, unpack_bits
from embcompress.quantizers.nlb import NLB

HAS_TORCH = importlib.util.find_spec("torch") is not None
needs_torch = pytest.mark.skipif(not HAS_TORCH, reason="torch is not installed")


@pytest.mark.skipif(HAS_TORCH, reason="torch is installed")
def test_without_torch_the_message_says_how_to_get_it(clusters):
    with pytest.raises(
        MissingExtraError, match=r'NLB needs torch.*pip install "embcompress\[torch\]"'
    ):
        NLB().fit(clusters)


@needs_torch
@parametrize_with_checks([NLB()])
def test_scikit_learn_contract(estimator, check):
    check(estimator)


@needs_torch
@pytest.mark.parametrize("n_bits", [1, 10, 24, 40])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_shapes_types_and_bits(n_bits, dtype, clusters):
    X = clusters.astype(dtype)
    quantizer = NLB(n_bits, random_state=0).fit(X)
    codes = quantizer.transform(X)
    assert codes.shape == (600, code_bytes(n_bits))
    np.testing.assert_array_equal(unpack_bits(codes, n_bits), X @ quantizer.components_.T >= 0)
    assert quantizer.components_.shape == (n_bits, 24)
    assert quantizer.bias_.shape == (24,)
    assert quantizer.inverse_transform(codes).shape == X.shape


@needs_torch
def test_loss_falls_and_the_matrix_becomes_orthogonal(clusters):
    quantizer = NLB(n_epochs=40, random_state=0).fit(clusters)
    losses = quantizer.loss_curve_
    assert len(losses) == 40
    assert losses[-1] < 0.8 * losses[0]
    assert quantizer.loss_ == losses[-1]
    W = quantizer.components_
    start = np.random.RandomState(0).uniform(-1, 1, size=(24, 24))
    start *= np.sqrt(24) / np.linalg.norm(start)
    unevenness = [np.linalg.norm(M.T @ M - np.eye(24)) for M in (start, W)]
    assert unevenness[1] < 0.3 * unevenness[0]


@needs_torch
def test_the_loss_is_that_of_the_formulas(clusters):
    # with a step of almost nothing, W is where it started and c is 0
    quantizer = NLB(n_epochs=1, learning_rate=1e-12, random_state=0).fit(clusters)
    W = quantizer.components_.astype(np.float64)
    x = np.clip(clusters / quantizer.input_scale_, -1, 1)
    y = np.tanh((x @ W.T >= 0) @ W)
    expected = ((x - y) ** 2).sum() / (x**2).sum()
    assert quantizer.loss_ == pytest.approx(expected, rel=1e-4)


@needs_torch
def test_decoding_beats_the_mean_and_scale_does_not_matter(clusters):
    quantizer = NLB(random_state=0)
    codes = quantizer.fit_transform(clusters)
    error = ((quantizer.inverse_transform(codes) - clusters) ** 2).sum()
    assert error < 0.9 * ((clusters - clusters.mean(axis=0)) ** 2).sum()
    np.testing.assert_array_equal(codes, quantizer.fit_transform(clusters * np.float32(2.0**20)))


@needs_torch
def test_same_seed_same_codes(clusters):
    first = NLB(random_state=1).fit_transform(clusters)
    np.testing.assert_array_equal(first, NLB(random_state=1).fit_transform(clusters))
    assert (first != NLB(random_state=2).fit_transform(clusters)).any()


@needs_torch
@pytest.mark.parametrize(
    "X", [np.zeros((5, 3)), np.ones((4, 3)), np.eye(3)[:1], np.array([[1.0], [2.0], [-1.0]])]
)
def test_degenerate_data(X):
    assert NLB(random_state=0).fit(X).transform(X).shape == (len(X), 1)


@needs_torch
def test_a_file_is_read_without_torch(tmp_path, sample):
    path = tmp_path / "nlb.safetensors"
    small = CompressedVectors.compress(sample, NLB(64, n_epochs=1, random_state=0))
    small.save(path)
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from embcompress import CompressedVectors\n"
        f"small = CompressedVectors.load({str(path)!r})\n"
        "print(small.similarity('king', 'queen'), small.decode().vectors.shape)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(small.similarity("king", "queen")), "(5000,", "100)"]


@needs_torch
def test_bad_parameters(clusters):
    with pytest.raises(ValueError, match="'learning_rate' parameter of NLB must be a float"):
        NLB(learning_rate=0).fit(clusters)
    with pytest.raises(ValueError, match="'n_epochs' parameter of NLB must be an int"):
        NLB(n_epochs=0).fit(clusters)
