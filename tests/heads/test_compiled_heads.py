"""`Head.compile`: the program predicts as the head does."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from sklearn.exceptions import NotFittedError

from embcompress import runtime
from embcompress.heads import LinearHead, MLPHead
from embcompress.pruning import Unstructured

# Head.layer_graph comes with the translation of networks to layers
translated = pytest.mark.skipif(
    not hasattr(MLPHead, "layer_graph"), reason="heads are not translated to layers yet"
)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = (5 + rng.normal(size=(120, 20))).astype(np.float32)
    return X, np.where(X[:, 0] > X[:, 1], "left", "right")


@translated
@pytest.mark.parametrize("head", [LinearHead(random_state=0), MLPHead((16,), random_state=0)])
def test_float32_is_the_head(head, data):
    head.fit(*data)
    program = head.compile()
    assert program.classes_.tolist() == ["left", "right"]
    expected = head.predict_proba(data[0])
    np.testing.assert_allclose(program.predict_proba(data[0]), expected, atol=1e-5)


@translated
def test_int8_of_a_pruned_head(data, tmp_path):
    head = MLPHead((32,), max_epochs=30, random_state=0).fit(*data)
    small = head.prune(Unstructured(0.75), *data, finetune_epochs=5)
    program = small.compile(precision="int8", calibration=data[0])
    program.save(tmp_path / "p.safetensors")
    loaded = runtime.load(tmp_path / "p.safetensors")
    assert np.mean(loaded.predict(data[0]) == small.predict(data[0])) > 0.95
    report = loaded.report(measure=False)
    assert {layer.precision for layer in report.layers} == {"int8"}
    # fewer, where all that a unit feeds is gone
    assert 0 < sum(layer.n_kept for layer in report.layers) <= small.masks_.n_kept


def test_a_graph_of_the_head_is_compiled(data, monkeypatch):
    """What `compile` asks of a head is its graph and nothing else."""
    head = LinearHead(random_state=0).fit(*data)
    layer = runtime.Linear(next(head.module_.parameters()).detach().numpy())
    graph = runtime.Graph([runtime.Node("out", layer)], "rows", (20,), head.classes_)
    monkeypatch.setattr(LinearHead, "layer_graph", lambda self: graph, raising=False)
    program = head.compile(precision="int8", batch_size=8)
    assert program.graph.classes is head.classes_
    assert program(data[0]).shape == (120, 2)
    with pytest.raises(ValueError, match='calibration is for precision="int8"'):
        head.compile(calibration=data[0])


def test_what_cannot_be_compiled():
    with pytest.raises(NotFittedError):
        MLPHead().compile()
