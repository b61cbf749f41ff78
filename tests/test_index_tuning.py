"""The effort that an approximate index needs for a recall."""

from __future__ import annotations

import numpy as np
import pytest

from embcompress.codes import pack_bits
from embcompress.index import HammingIndex

N_BITS = 96


def clustered(n: int, seed: int) -> np.ndarray:
    centres = np.random.default_rng(0).random((60, N_BITS)) < 0.5
    rng = np.random.default_rng(seed)
    noise = rng.random((n, N_BITS)) < 0.15
    return pack_bits(centres[rng.integers(60, size=n)] ^ noise)


@pytest.fixture(scope="module")
def codes() -> np.ndarray:
    return clustered(6000, 1)


@pytest.fixture(scope="module")
def exact(codes: np.ndarray) -> HammingIndex:
    index = HammingIndex(N_BITS)
    index.add(codes)
    return index


def made(kind: str, codes: np.ndarray) -> HammingIndex:
    index = HammingIndex(N_BITS, kind=kind, n_neighbors=8, n_threads=1, random_state=0)
    index.add(codes)
    return index


@pytest.mark.parametrize(("kind", "name"), [("ivf", "n_probe"), ("hnsw", "ef_search")])
def test_the_least_effort_that_reaches_the_recall_is_set(kind, name, codes, exact):
    index, queries = made(kind, codes), clustered(100, 2)
    tuning = index.tune(queries, exact, recall=0.9)
    assert tuning.name == name
    assert getattr(index, name) == tuning.chosen.effort
    efforts = [trial.effort for trial in tuning.trials]
    assert efforts == sorted(set(efforts))
    recalls = {trial.effort: trial.recall for trial in tuning.trials}
    assert recalls[tuning.chosen.effort] >= 0.9
    assert all(recall < 0.9 for effort, recall in recalls.items() if effort < tuning.chosen.effort)
    # the recall that it tells is that of a search with the effort
    right = exact.search(queries, 10)[0][:, -1:]
    assert (index.search(queries, 10)[0] <= right).mean() == pytest.approx(tuning.chosen.recall)
    assert f"{tuning.chosen.effort}" in str(tuning)
    assert str(tuning).count("<- chosen") == 1


def test_every_list_gives_everything(codes, exact):
    index = made("ivf", codes)
    tuning = index.tune(clustered(50, 3), exact, recall=1.0)
    assert tuning.chosen.recall == 1
    assert tuning.chosen.effort <= index.n_lists


def test_a_recall_that_a_graph_does_not_reach_is_told():
    rng = np.random.default_rng(0)
    # two links per code do not hold many far groups together
    codes = pack_bits(np.repeat(rng.random((300, N_BITS)) < 0.5, 5, axis=0))
    index = HammingIndex(N_BITS, kind="hnsw", n_neighbors=2, n_threads=1, random_state=0)
    exact = HammingIndex(N_BITS)
    index.add(codes)
    exact.add(codes)
    with pytest.warns(UserWarning, match=r"recall 1.0 was not reached: 0\.\d+ at ef_search=1500"):
        tuning = index.tune(codes[::7], exact, recall=1.0)
    assert tuning.chosen.effort == index.ef_search == 1500


def test_messages(codes, exact):
    index = made("ivf", codes)
    with pytest.raises(ValueError, match="a flat index is exact; tune one of kind='ivf'"):
        exact.tune(codes[:5], exact)
    with pytest.raises(ValueError, match=r"recall=1\.5 must be above 0 and at most 1"):
        index.tune(codes[:5], exact, recall=1.5)
    other = HammingIndex(N_BITS)
    other.add(codes[:10])
    with pytest.raises(ValueError, match="exact holds 10 codes, this index 6000"):
        index.tune(codes[:5], other)
    with pytest.raises(ValueError, match="queries is empty"):
        index.tune(codes[:0], exact)
