"""Models in ONNX: what is refused, and how that is said."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
import pytest

from embcompress.runtime.onnx_export import to_onnx
from embcompress.runtime.records import (
    GRU,
    Add,
    Affine,
    Conv2d,
    GlobalAverage,
    Graph,
    GRUCell,
    Linear,
    MaxPool2d,
    Node,
    PoolFrames,
    Record,
)

onnx = pytest.importorskip("onnx", reason="onnx is not installed")


@dataclass(frozen=True, eq=False)
class Strange(Record):
    size: int = 1


def one(record, kind="rows", shape=(4,), inputs=("input",), classes=None):
    return Graph([Node("a", record, inputs)], kind, shape, classes)


LINEAR = Linear(np.ones((3, 4)))
CONV = Conv2d(np.ones((3, 4, 3, 3)))
CELL = GRUCell(np.ones((6, 4)), np.ones((6, 2)))
RNN = GRU(CELL.weight_input, CELL.weight_state)
REFUSED = [
    (one(Strange()), TypeError, "layer 'a' is a Strange, which has no form in ONNX; there are Act"),
    (one(LINEAR, shape=(5,)), ValueError, r"'a': its weights take 4 inputs; .* rows of \(5,\)"),
    (one(LINEAR, "maps", (2, 3, 3)), ValueError, r"take 4 inputs; .* maps of \(2, 3, 3\)"),
    (one(CONV), ValueError, "take maps of 4 channels; its input has rows"),
    (one(CONV, "maps", (4, 2, 5)), ValueError, "windows of 3 do not fit into maps of 2"),
    (one(CONV, "maps", (4, 5, 5), ("input",) * 3), ValueError, "has 3 inputs; it takes 1 or 2"),
    (one(CONV, "maps", (4, 5, 5), ("input",) * 2), ValueError, r"adds .*, 5, 5\) to .*\(3, 3, 3\)"),
    (one(MaxPool2d(2, 2)), ValueError, "it takes maps; its input has rows"),
    (one(RNN), ValueError, "it takes frames; its input has rows"),
    (one(RNN, "frames", (5,)), ValueError, "take 4 inputs"),
    (one(CELL), ValueError, "has 1 inputs; it takes 2"),
    (one(CELL, inputs=("input", "input")), ValueError, "a state of 2 numbers"),
    (one(CELL, shape=(5,), inputs=("input", "state")), ValueError, "take 4 inputs"),
    (one(LINEAR, inputs=("input", "state")), ValueError, "reads the state, and is no cell"),
    (one(PoolFrames("max", 2), "frames"), ValueError, "mode='max'.*'mean' or 'last'"),
    (one(PoolFrames("mean", 2)), ValueError, "of rows; 'mean' or 'last' of frames"),
    (one(Affine(np.zeros(3), np.ones(3))), ValueError, "has 3 features"),
    (one(Add()), ValueError, "has 1 inputs; it takes 2"),
    (one(LINEAR, "words"), ValueError, "kind 'words' and shape"),
    (one(LINEAR, "maps"), ValueError, "kind 'maps' and shape"),
    (one(LINEAR, classes=np.arange(2)), ValueError, r"2 classes for .* rows of \(3,\)"),
    (one(MaxPool2d(1, 1), "maps", (2, 2, 2), ("input",) * 2), ValueError, "maps side by side"),
]  # fmt: skip


@pytest.mark.parametrize(("graph", "error", "message"), REFUSED)
def test_refusals_say_what_came_and_what_is_allowed(graph, error, message):
    with pytest.raises(error, match=message):
        to_onnx(graph)


def test_refused_options(tmp_path, monkeypatch):
    graph = one(LINEAR)
    monkeypatch.setattr(onnx.defs, "onnx_opset_version", lambda: 21)
    with pytest.raises(ValueError, match=r"opset=23; the installed onnx .* knows 21"):
        to_onnx(graph, opset=23)
    with pytest.raises(ValueError, match="opset=17; 18 to 23 are supported"):
        to_onnx(graph, opset=17)
    with pytest.raises(FileNotFoundError, match="output folder does not exist"):
        to_onnx(graph, tmp_path / "none" / "model.onnx")
    two = [Node("a", CELL, ("input", "state")), Node("b", CELL, ("input", "state"))]
    with pytest.raises(ValueError, match="layers 'a', 'b' read the state; one cell can"):
        to_onnx(Graph(two, "rows", (4,)))
    sums = [Node("a", LINEAR), Node("b", Add(), ("a", "input"))]
    mixed = [Node("a", GlobalAverage()), Node("b", Add(), ("input", "a"))]
    with pytest.raises(ValueError, match="layer 'b': it adds rows to maps"):
        to_onnx(Graph(mixed, "maps", (4, 2, 2)))
    with pytest.raises(ValueError, match=r"layer 'b': it adds rows of \(4,\) to values of \(3,\)"):
        to_onnx(Graph(sums, "rows", (4,)))


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r'needs onnx.*pip install "embcompress\[onnx\]"'):
        to_onnx(one(LINEAR))


def test_models_beyond_the_limit_of_the_format(monkeypatch):
    monkeypatch.setattr("embcompress.runtime.onnx_export.writer._MOST_BYTES", 100)
    graph = Graph([Node("b", Linear(np.ones((5, 5)))), Node("c", LINEAR)], "rows", (5,))
    with pytest.raises(ValueError, match=r"layer 'b': with it the model has 120 bytes; .* 2 GB"):
        to_onnx(graph)


def test_classes_that_json_cannot_hold():
    with pytest.raises(TypeError, match=r"classes of \|S1 such as .*b'a'.*; a model holds numbers"):
        to_onnx(one(LINEAR, classes=np.array([b"a", b"b", b"c"])))
