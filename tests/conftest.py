"""Shared fixtures: the project's own sample, and the real data where it is at hand."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from embcompress import KeyedVectors

settings.register_profile("default", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("default")

SAMPLE = Path(__file__).parent.parent / "data" / "enwiki_sample_5k_100d.txt"


@pytest.fixture(scope="session")
def sample_path() -> Path:
    """The project's own sample in GloVe text."""
    return SAMPLE


@pytest.fixture(scope="session")
def sample() -> KeyedVectors:
    """The project's own sample, read."""
    from embcompress import load_vectors

    return load_vectors(SAMPLE)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real data, or a skip."""
    folder = os.environ.get("EMBCOMPRESS_DATA")
    if not folder:
        pytest.skip("EMBCOMPRESS_DATA does not name the data folder")
    path = Path(folder)
    if not path.is_dir():
        pytest.fail(f"EMBCOMPRESS_DATA={folder} is not a folder")
    return path


@pytest.fixture
def clusters() -> np.ndarray:
    """600 rows x 24 in 30 clusters with a decaying spectrum and a common offset."""
    rng = np.random.default_rng(0)
    spectrum = 1 / np.sqrt(np.arange(1, 25))
    centres = rng.normal(size=(30, 24)) * spectrum
    rows = centres[np.arange(600) % 30] + 0.3 * rng.normal(size=(600, 24)) * spectrum
    return (rows + 0.5).astype(np.float32)
