"""Whole networks, heads, masks."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lowering_cases import check, kinds, names, output  # noqa: E402
from torch import nn  # noqa: E402

from embcompress.heads import ConvHead, GRUHead, LinearHead, MLPHead, pad  # noqa: E402
from embcompress.lowering import lower  # noqa: E402
from embcompress.pruning import Masks, OneShot, Unstructured  # noqa: E402
from embcompress.runtime import compile  # noqa: E402
from embcompress.runtime.reference import evaluate  # noqa: E402


def test_residual_network_of_the_benchmarks(monkeypatch):
    benchmarks = Path(__file__).parents[2] / "benchmarks"
    monkeypatch.setattr(sys, "path", [str(benchmarks), *sys.path])
    models = pytest.importorskip("_pruning_models")
    graph = check(models.ResNet20(), (3, 32, 32))
    assert kinds(graph).count("Add") == 9
    assert kinds(graph).count("Conv2d") == 19 + 2
    first, pad = graph.nodes[0].record, next(n for n in graph.nodes if n.name == "pad").record
    np.testing.assert_allclose(first.mean, models.MEAN, rtol=1e-6)
    np.testing.assert_allclose(first.scale, 1 / np.array(models.STD), rtol=1e-6)
    assert (pad.stride, pad.weight.shape, pad.weight.n_kept) == (2, (32, 16, 1, 1), 16)
    assert {"layer1.0.conv1", "layer3.2.bn2", "linear"} <= set(names(graph))


RNG = np.random.default_rng(0)
Y = np.arange(48) % 3
ROWS = RNG.normal(size=(48, 7)) + 3
FRAMES = [RNG.normal(size=(2 + i % 5, 4)).astype(np.float32) * 2 + 5 for i in range(48)]
MAPS = RNG.normal(size=(48, 2, 9, 8)).astype(np.float32) + 1
FAST = {"max_epochs": 2, "random_state": 0}
HEADS = [
    (LinearHead(**FAST), ROWS, "rows"),
    (LinearHead(standardize=False, **FAST), ROWS, "rows"),
    (LinearHead(packed_bits=19, **FAST), RNG.integers(0, 256, (48, 3), np.uint8) & 0xE0, "codes"),
    *[(MLPHead((9, 6), activation=a, **FAST), ROWS, "rows") for a in ("relu", "gelu", "silu")],
    (MLPHead((9,), dropout=0.3, activation="tanh", **FAST), ROWS, "rows"),
    *[
        (GRUHead(5, n_layers=n, bidirectional=both, pooling=pooling, **FAST), FRAMES, "frames")
        for n in (1, 2, 3)
        for both in (False, True)
        for pooling in ("mean", "last")
    ],
    (ConvHead((4, 6, 5), **FAST), MAPS, "maps"),
    (ConvHead((4,), dropout=0.2, **FAST), MAPS, "maps"),
]


def logits(head, X) -> np.ndarray:
    with torch.no_grad():
        return head.module_(head.inputs(X)).numpy()


@pytest.mark.parametrize(("head", "X", "kind"), HEADS, ids=lambda part: repr(part)[:60])
def test_heads(head, X, kind):
    head.fit(X, np.array(list("abc"))[Y])
    graph = head.layer_graph()
    assert (graph.kind, graph.shape) == (kind, head.input_shape_)
    np.testing.assert_array_equal(graph.classes, ["a", "b", "c"])
    assert (graph.nodes[0].name == "standardize") == (head.mean_ is not None)
    x = pad(X) if isinstance(X, list) else X
    np.testing.assert_allclose(output(graph, x), logits(head, X), rtol=1e-5, atol=1e-5)
    pruned = head.prune(Unstructured(0.5), X, np.array(list("abc"))[Y], solver=OneShot(),
                        finetune_epochs=1)  # fmt: skip
    graph = pruned.layer_graph()
    np.testing.assert_allclose(output(graph, x), logits(pruned, X), rtol=1e-5, atol=1e-5)
    kept = sum(weight.n_kept for weight in graph.weights().values())
    assert kept == pruned.masks_.n_kept
    for trained in (head, pruned):
        program = compile(trained)
        np.testing.assert_allclose(program(x), logits(trained, X), rtol=1e-4, atol=2e-5)
        np.testing.assert_array_equal(program.predict(x), trained.predict(X))
    first = next(iter(pruned.masks_))
    other = {first: torch.ones_like(pruned.masks_[first])}
    again = pruned.layer_graph(other).weights()
    assert next(iter(again.values())).kept.all()


def test_an_offset_far_larger_than_the_spread():
    X = (ROWS + 3e5).astype(np.float32)
    head = MLPHead((8,), **FAST).fit(X, Y)
    values = evaluate(head.layer_graph(), X, dtype=np.float32)
    np.testing.assert_allclose(values["standardize"], head.inputs(X), atol=1e-5)


# -- masks -----------------------------------------------------------------------------------------


def test_masks_say_what_is_kept_whatever_the_weights_are():
    module = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2, bias=False))
    kept = torch.rand(3, 4) < 0.5
    kept[0] = True
    module[0].weight.data[0, 0] = 0
    vector = torch.tensor([True, False, True])
    masks = Masks({"0.weight": kept, "0.bias": vector, "1.weight": vector, "1.bias": vector})
    for given in (masks, {name: mask.numpy() for name, mask in masks.items()}):
        graph = lower(module, masks=given)
        weight = graph.weights()["0"]
        np.testing.assert_array_equal(weight.kept, kept)
        assert (weight.values[~kept.numpy()] == 0).all()
        assert [graph.nodes[0].record.bias[1], graph.nodes[1].record.scale[1]] == [0, 0]
    assert module[0].bias[1] != 0
    assert lower(module).weights()["0"].n_kept == 11


def test_masks_of_recurrent_layers_and_of_shared_parameters():
    gru = nn.GRU(4, 3, batch_first=True, bidirectional=True)
    mask = torch.rand(9, 3) < 0.5
    graph = lower(gru, masks={"weight_hh_l0_reverse": mask})
    weights = graph.weights()
    np.testing.assert_array_equal(weights["gru.l0.reverse.weight_state"].kept, mask)
    assert weights["gru.l0.weight_state"].kept.all()
    shared = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    shared[1].weight = shared[0].weight
    mask = torch.rand(4, 4) < 0.5
    for name in ("0.weight", "1.weight"):
        found = lower(shared, masks={name: mask}).weights()
        np.testing.assert_array_equal(found["0"].kept, mask)
        np.testing.assert_array_equal(found["1"].kept, mask)


def test_masks_that_do_not_fit():
    module = nn.Sequential(nn.Linear(4, 3))
    with pytest.raises(ValueError, match="masks for another model: the model has no parameter 'w'"):
        lower(module, masks={"w": torch.ones(3, 4, dtype=torch.bool)})
    with pytest.raises(ValueError, match=r"'0.weight' has shape \(3, 4\), its mask \(4, 3\)"):
        lower(module, masks={"0.weight": np.ones((4, 3), bool)})
    with pytest.raises(TypeError, match=r"mask '0.weight' is float32; booleans are needed"):
        lower(module, masks={"0.weight": torch.ones(3, 4)})
