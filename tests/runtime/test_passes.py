"""Passes make graphs smaller and leave what they compute."""

from __future__ import annotations

import numpy as np
import pytest

from embcompress import runtime as rt
from embcompress.runtime.passes import (
    drop_dead,
    fold_after,
    fold_before,
    fuse_activations,
    fuse_sums,
    simplify,
)

RNG = np.random.default_rng(0)


def linear(n_out: int, n_in: int, activation: str = "identity", density: float = 1.0) -> rt.Linear:
    values = RNG.normal(size=(n_out, n_in)) * (RNG.random((n_out, n_in)) < density)
    return rt.Linear(
        values.astype(np.float32), RNG.normal(size=n_out).astype(np.float32), activation
    )


def conv(n_out: int, n_in: int, activation: str = "identity") -> rt.Conv2d:
    values = RNG.normal(size=(n_out, n_in, 3, 3)).astype(np.float32) / n_in
    return rt.Conv2d(values, RNG.normal(size=n_out).astype(np.float32), 1, 1, activation)


def affine(n: int) -> rt.Affine:
    return rt.Affine(
        RNG.normal(size=n).astype("f4"), RNG.uniform(0.5, 2, n).astype("f4"),
        RNG.normal(size=n).astype("f4"),
    )  # fmt: skip


def ready(graph: rt.Graph) -> rt.Program:
    """The graph as it is, without passes."""
    from embcompress.runtime.compiler import _with_layouts

    return rt.Program(_with_layouts(graph, 1, False))


def unchanged(graph: rt.Graph, simpler: rt.Graph, rtol: float = 1e-4) -> None:
    x = RNG.normal(size=(9, *graph.shape)).astype(np.float32)
    np.testing.assert_allclose(ready(simpler)(x), ready(graph)(x), rtol=rtol, atol=1e-4)


def rows(*nodes: rt.Node, n: int = 12) -> rt.Graph:
    return rt.Graph(list(nodes), "rows", (n,))


def names(graph: rt.Graph) -> list[str]:
    return [node.name for node in graph.nodes]


def test_an_affine_map_goes_into_the_layer_before_it():
    graph = rows(
        rt.Node("a", linear(16, 12)), rt.Node("bn", affine(16), ("a",)),
        rt.Node("b", linear(4, 16), ("bn",)),
    )  # fmt: skip
    simpler = fold_after(graph)
    assert names(simpler) == ["a", "b"]
    unchanged(graph, simpler)


def test_an_affine_map_that_others_read_past_stays():
    graph = rows(
        rt.Node("a", linear(16, 12)), rt.Node("bn", affine(16), ("a",)),
        rt.Node("b", linear(16, 16), ("a",)),
    )  # fmt: skip
    assert names(fold_after(graph)) == ["a", "bn", "b"]


def test_standardization_goes_into_the_first_layer():
    graph = rows(rt.Node("s", affine(12)), rt.Node("a", linear(16, 12), ("s",)))
    simpler = fold_before(graph)
    assert names(simpler) == ["a"]
    unchanged(graph, simpler)


def test_standardization_of_frames_and_before_padding_stays():
    frames = rt.Graph(
        [
            rt.Node("s", affine(4)),
            rt.Node("g", rt.GRU(np.ones((9, 4), "f4"), np.ones((9, 3), "f4")), ("s",)),
        ],
        "frames", (4,),
    )  # fmt: skip
    maps = rt.Graph([rt.Node("s", affine(3)), rt.Node("c", conv(4, 3), ("s",))], "maps", (3, 8, 8))
    assert names(fold_before(frames)) == ["s", "g"]
    assert names(fold_before(maps)) == ["s", "c"]


def test_activations_go_into_the_layer_before_them():
    graph = rows(
        rt.Node("a", linear(16, 12)), rt.Node("act", rt.Activation("gelu"), ("a",)),
        rt.Node("b", linear(4, 16), ("act",)),
    )  # fmt: skip
    simpler = fuse_activations(graph)
    assert names(simpler) == ["a", "b"]
    assert simpler.nodes[0].record.activation == "gelu"
    unchanged(graph, simpler)


def test_convolutions_take_rectifiers_only():
    graph = rt.Graph(
        [rt.Node("c", conv(4, 3)), rt.Node("t", rt.Activation("tanh"), ("c",))], "maps", (3, 6, 6)
    )
    assert names(fuse_activations(graph)) == ["c", "t"]
    unchanged(graph, simplify(graph))


@pytest.mark.parametrize("order", [("c2", "c1"), ("c1", "c2")])
def test_shortcuts_are_added_by_the_later_convolution(order):
    graph = rt.Graph(
        [
            rt.Node("c1", conv(4, 3, "relu")), rt.Node("c2", conv(4, 4), ("c1",)),
            rt.Node("sum", rt.Add("relu"), order), rt.Node("c3", conv(4, 4), ("sum",)),
        ],
        "maps", (3, 7, 7),
    )  # fmt: skip
    simpler = fuse_sums(graph)
    assert names(simpler) == ["c1", "c2", "c3"]
    assert simpler.nodes[1].inputs == ("c1", "c1")
    unchanged(graph, simpler)


def test_outputs_that_nobody_reads_are_dropped():
    second = linear(4, 16)
    kept = np.ones((4, 16), bool)
    kept[:, [2, 5, 6]] = False
    second = rt.Linear(rt.Weight(second.weight.values, kept), second.bias)
    graph = rows(rt.Node("a", linear(16, 12, "relu")), rt.Node("b", second, ("a",)))
    simpler = drop_dead(graph)
    assert simpler.nodes[0].record.weight.shape == (13, 12)
    assert simpler.nodes[1].record.weight.shape == (4, 13)
    unchanged(graph, simpler)


@pytest.mark.parametrize("activation", ["identity", "relu", "gelu", "tanh", "silu", "sigmoid"])
def test_constant_outputs_become_biases(activation):
    first = linear(16, 12, activation)
    kept = np.ones((16, 12), bool)
    kept[[1, 7]] = False
    first = rt.Linear(rt.Weight(first.weight.values, kept), first.bias, activation)
    graph = rows(rt.Node("a", first), rt.Node("b", linear(4, 16), ("a",)))
    simpler = drop_dead(graph)
    assert simpler.nodes[1].record.weight.shape == (4, 14)
    unchanged(graph, simpler)


def test_what_is_dropped_in_one_layer_is_dropped_before_it_too():
    middle = linear(8, 16, "relu")
    kept = np.ones((8, 16), bool)
    kept[3] = False
    last = linear(4, 8)
    last_kept = np.ones((4, 8), bool)
    last_kept[:, 5] = False
    kept[[i for i in range(8) if i != 5], 9] = False  # input 9 is read by unit 5 only
    graph = rows(
        rt.Node("a", linear(16, 12, "relu")),
        rt.Node("b", rt.Linear(rt.Weight(middle.weight.values, kept), middle.bias, "relu"), ("a",)),
        rt.Node("c", rt.Linear(rt.Weight(last.weight.values, last_kept), last.bias), ("b",)),
    )
    simpler = drop_dead(graph)
    assert [n.record.weight.shape for n in simpler.nodes] == [(15, 12), (6, 15), (4, 6)]
    unchanged(graph, simpler)


@pytest.mark.parametrize(("bias", "left"), [(-1.0, 5), (1.0, 6)])
def test_constant_maps_are_dropped_only_where_they_are_zero(bias, left):
    first = conv(6, 3, "relu")
    kept = np.ones((6, 3, 3, 3), bool)
    kept[2] = False
    biases = first.bias.copy()
    biases[2] = bias
    graph = rt.Graph(
        [
            rt.Node("a", rt.Conv2d(rt.Weight(first.weight.values, kept), biases, 1, 1, "relu")),
            rt.Node("b", conv(4, 6), ("a",)),
        ],
        "maps", (3, 6, 6),
    )  # fmt: skip
    simpler = drop_dead(graph)
    assert len(simpler.nodes[0].record.bias) == left
    unchanged(graph, simpler)
