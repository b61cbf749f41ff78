"""The interpreter in NumPy: small cases by hand, loops, and compiled programs against it."""

from __future__ import annotations

import numpy as np
import pytest

from embcompress import runtime as rt
from embcompress.runtime.kernels.activations import ACTIVATIONS as NUMBERS
from embcompress.runtime.records import RECORDS
from embcompress.runtime.reference import _LAYERS, ACTIVATIONS, evaluate


def last(graph: rt.Graph, *args, **options) -> np.ndarray:
    return evaluate(graph, *args, **options)[graph.nodes[-1].name]


def one(record: rt.Record, kind: str, shape: tuple[int, ...], *, inputs=("input",)) -> rt.Graph:
    return rt.Graph([rt.Node("0", record, inputs)], kind, shape)


def test_every_record_and_activation_is_there():
    assert set(_LAYERS) == set(RECORDS.values())
    assert set(ACTIVATIONS) == set(NUMBERS)


def test_linear_by_hand():
    graph = one(rt.Linear([[1.0, 2.0], [0.0, -1.0]], [0.5, 0.0]), "rows", (2,))
    values = evaluate(graph, [[3, 4]])
    np.testing.assert_array_equal(values["0"], [[11.5, -4.0]])
    np.testing.assert_array_equal(values["input"], [[3.0, 4.0]])
    assert set(values) == {"input", "0"}


def test_codes_are_signs():
    graph = one(rt.Linear(np.ones((1, 10), np.float32)), "codes", (10,))
    codes = np.array([[0b11110000, 0b11000000]], np.uint8)
    np.testing.assert_array_equal(last(graph, codes), [[2.0]])


def test_int8_counts_as_the_numbers_it_stands_for():
    weight = rt.Weight(np.array([[2, -4]], np.int8), scales=np.array([0.5], np.float32))
    np.testing.assert_array_equal(last(one(rt.Linear(weight), "rows", (2,)), [[3.0, 1.0]]), [[1.0]])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("identity", [-1.0, 0.0, 2.0]),
        ("relu", [0.0, 0.0, 2.0]),
        ("gelu", [-0.158655, 0.0, 1.954500]),
        ("tanh", [-0.761594, 0.0, 0.964028]),
        ("silu", [-0.268941, 0.0, 1.761594]),
        ("sigmoid", [0.268941, 0.5, 0.880797]),
    ],
)
def test_activations_by_hand(name, expected):
    found = last(one(rt.Activation(name), "rows", (3,)), [[-1.0, 0.0, 2.0]])
    np.testing.assert_allclose(found, [expected], atol=1e-6)
    with np.errstate(all="raise", under="ignore"):
        ends = ACTIVATIONS[name](np.array([-1e4, 1e4]))
    assert np.isfinite(ends).all()


def test_affine_by_hand():
    record = rt.Affine([1.0, 2.0], [2.0, -1.0], [0.0, 10.0])
    np.testing.assert_array_equal(last(one(record, "rows", (2,)), [[3, 3]]), [[4.0, 9.0]])
    maps = np.arange(8.0).reshape(1, 2, 2, 2)
    found = last(one(record, "maps", (2, 2, 2)), maps)
    np.testing.assert_array_equal(
        found[0], [(maps[0, 0] - 1) * 2, 10 - (maps[0, 1] - 2)]
    )  # fmt: skip


def test_convolution_by_loops_with_a_shortcut():
    rng = np.random.default_rng(0)
    x, w, b = rng.normal(size=(3, 2, 5, 6)), rng.normal(size=(4, 2, 3, 3)), rng.normal(size=4)
    record = rt.Conv2d(w, b, stride=2, padding=1, activation="relu")
    w, b = record.weight.values.astype(float), record.bias.astype(float)
    padded = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)])
    expected = np.empty((3, 4, 3, 3))
    for o in range(4):
        for i in range(3):
            for j in range(3):
                part = padded[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
                expected[:, o, i, j] = (part * w[o]).sum(axis=(1, 2, 3)) + b[o]
    graph = one(record, "maps", (2, 5, 6))
    np.testing.assert_allclose(last(graph, x), np.maximum(expected, 0), atol=1e-12)
    side = rt.Node("side", rt.Conv2d(np.ones((4, 2, 1, 1), np.float32), stride=2))
    both = rt.Graph([side, rt.Node("0", record, ("input", "side"))], "maps", (2, 5, 6))
    shortcut = x[:, :, ::2, ::2].sum(axis=1, keepdims=True)
    np.testing.assert_allclose(last(both, x), np.maximum(expected + shortcut, 0), atol=1e-12)


def test_many_maps_go_in_parts(monkeypatch):
    rng = np.random.default_rng(0)
    graph = one(rt.Conv2d(rng.normal(size=(3, 2, 3, 3)), padding=1), "maps", (2, 6, 6))
    x = rng.normal(size=(7, 2, 6, 6))
    whole = last(graph, x)
    monkeypatch.setattr("embcompress.runtime.reference._WINDOWS", 1500)
    np.testing.assert_array_equal(last(graph, x), whole)
    assert last(graph, x[:0]).shape == (0, 3, 6, 6)


def test_pooling_of_maps_by_hand():
    x = np.arange(16.0).reshape(1, 1, 4, 4)
    found = last(one(rt.MaxPool2d(2, 2), "maps", (1, 4, 4)), x)
    np.testing.assert_array_equal(found[0, 0], [[5, 7], [13, 15]])
    found = last(one(rt.AveragePool2d(3, 1), "maps", (1, 4, 4)), x)
    np.testing.assert_array_equal(found[0, 0], [[5, 6], [9, 10]])
    found = last(one(rt.MaxPool2d(2, 3, padding=1), "maps", (1, 4, 4)), -1 - x)
    np.testing.assert_array_equal(found[0, 0], [[-1, -3], [-9, -11]])
    found = last(one(rt.AveragePool2d(2, 3, padding=1), "maps", (1, 4, 4)), x)
    np.testing.assert_array_equal(found[0, 0], [[0, 1.25], [5, 12.5]])
    found = last(one(rt.Flatten(), "maps", (1, 4, 4)), x)
    np.testing.assert_array_equal(found, np.arange(16.0)[None])
    found = last(one(rt.GlobalAverage(), "maps", (1, 4, 4)), x)
    np.testing.assert_array_equal(found, [[7.5]])


def test_sum_by_hand():
    nodes = [
        rt.Node("a", rt.Linear([[1.0]])),
        rt.Node("b", rt.Add("relu"), ("a", "input")),
    ]
    np.testing.assert_array_equal(
        last(rt.Graph(nodes, "rows", (1,)), [[-3.0], [3.0]]), [[0.0], [6.0]]
    )


def test_pooling_of_frames_by_hand():
    x = np.array([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [np.nan, np.nan]]])
    for record, expected in [
        (rt.PoolFrames("mean", 2), [[2.0, 3.0], [5.0, 6.0]]),
        (rt.PoolFrames("last", 2), [[3.0, 4.0], [5.0, 6.0]]),
        (rt.PoolFrames("last", 1), [[3.0, 2.0], [5.0, 6.0]]),
    ]:
        np.testing.assert_array_equal(last(one(record, "frames", (2,)), x), expected)


def gates(rng, n_gates: int, n_in: int, hidden: int) -> list:
    shapes = [(n_gates * hidden, n_in), (n_gates * hidden, hidden), *[(n_gates * hidden,)] * 2]
    parts = [rng.normal(size=shape).astype(np.float32) / 2 for shape in shapes]
    return [*[rt.Weight(part, layout="dense") for part in parts[:2]], *parts[2:]]


def test_layers_over_frames_are_their_cells_in_a_row():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 5, 4))
    x[1, 3:] = x[2, 1:] = np.nan
    for layer, cell, n_gates in [(rt.GRU, rt.GRUCell, 3), (rt.LSTM, rt.LSTMCell, 4)]:
        parts = gates(rng, n_gates, 4, 6)
        step = one(cell(*parts), "rows", (4,), inputs=("input", "state"))
        for reverse in (False, True):
            found = last(one(layer(*parts, reverse=reverse), "frames", (4,)), x)
            for row, length in zip(range(3), (5, 3, 1), strict=True):
                state = np.zeros((1, 6 if n_gates == 3 else 12))
                for t in range(length)[:: -1 if reverse else 1]:
                    state = last(step, x[row, t][None], state)
                    np.testing.assert_allclose(found[row, t], state[0, :6], atol=1e-12)
                assert np.isnan(found[row, length:]).all()


def test_a_state_of_zeros_is_the_default():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 4))
    for cell, n_gates in [(rt.GRUCell, 3), (rt.LSTMCell, 4)]:
        graph = one(cell(*gates(rng, n_gates, 4, 5)), "rows", (4,), inputs=("input", "state"))
        zeros = np.zeros((3, 5 * (n_gates - 2)))
        np.testing.assert_array_equal(last(graph, x), last(graph, x, zeros))
        assert set(evaluate(graph, x, zeros)) == {"input", "0"}
        with pytest.raises(ValueError, match=r"state has shape \(3, 3\)"):
            evaluate(graph, x, np.zeros((3, 3)))
        with pytest.raises(ValueError, match=r"state has shape \(2, 5\), not \(3, units\)"):
            evaluate(graph, x, np.zeros((2, 5)))


@pytest.mark.parametrize(
    ("kind", "shape", "x", "message"),
    [
        ("rows", (3,), (2, 4), r"x has shape \(2, 4\); the graph takes \(n, 3\)"),
        ("frames", (3,), (2, 3), r"takes \(n, time, 3\)"),
        ("maps", (1, 2, 2), (2, 1, 2, 3), r"takes \(n, 1, 2, 2\)"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(kind, shape, x, message):
    with pytest.raises(ValueError, match=message):
        evaluate(one(rt.Activation("relu"), kind, shape), np.zeros(x))


# -- compiled programs against it ------------------------------------------------------------------

ROWS = [1, 2, 3, 4, 5, 8, 15, 16, 17, 33, 63, 64, 65, 70]


def dense(rng, n_out: int, n_in: int, activation: str = "identity") -> rt.Linear:
    weight = rng.normal(size=(n_out, n_in)).astype(np.float32) / np.sqrt(n_in)
    bias = rng.normal(size=n_out).astype(np.float32)
    return rt.Linear(rt.Weight(weight, layout="dense"), bias, activation)


def affine(rng, size: int) -> rt.Affine:
    mean, scale, shift = rng.normal(size=(3, size)).astype(np.float32)
    return rt.Affine(mean, scale, shift)


def check(graph: rt.Graph, x: np.ndarray, state: np.ndarray | None = None) -> None:
    expected = last(graph, x, state)
    found = rt.Program(graph)(x, state)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-5)
    single = last(graph, x, state, dtype=np.float32)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_programs_of_rows(activation):
    rng = np.random.default_rng(0)
    nodes = [
        rt.Node("scale", affine(rng, 19)),
        rt.Node("0", dense(rng, 37, 19), ("scale",)),
        rt.Node("1", rt.Activation(activation), ("0",)),
        rt.Node("2", dense(rng, 16, 37, activation), ("1",)),
        rt.Node("3", dense(rng, 5, 16), ("2",)),
    ]
    for n in ROWS:
        check(rt.Graph(nodes, "rows", (19,)), rng.normal(size=(n, 19)).astype(np.float32))
    codes = rng.integers(0, 256, (20, 3), np.uint8)
    codes[:, -1] &= 0b11100000
    check(rt.Graph(nodes, "codes", (19,)), codes)


@pytest.mark.parametrize("hidden", [5, 16, 21])
@pytest.mark.parametrize(("cell", "n_gates"), [(rt.GRUCell, 3), (rt.LSTMCell, 4)])
def test_programs_of_cells(cell, n_gates, hidden):
    rng = np.random.default_rng(0)
    graph = one(cell(*gates(rng, n_gates, 7, hidden)), "rows", (7,), inputs=("input", "state"))
    for n in ROWS:
        x = rng.normal(size=(n, 7)).astype(np.float32)
        check(graph, x)
        check(graph, x, rng.normal(size=(n, (n_gates - 2) * hidden)).astype(np.float32))


def ragged(rng, n: int, n_frames: int, size: int) -> np.ndarray:
    x = rng.normal(size=(n, n_frames, size)).astype(np.float32)
    lengths = rng.integers(1, n_frames + 1, n)
    x[np.arange(n_frames) >= lengths[:, None]] = np.nan
    return x


def stack(rng, layer, n_layers: int, both: bool, n_in: int, hidden: int) -> list[rt.Node]:
    n_gates = 3 if layer is rt.GRU else 4
    nodes, inputs = [rt.Node("scale", affine(rng, n_in))], ("scale",)
    for i in range(n_layers):
        made = [
            rt.Node(f"{i}{way}", layer(*gates(rng, n_gates, n_in, hidden), reverse=way), inputs)
            for way in ((False, True) if both else (False,))
        ]
        nodes += made
        inputs, n_in = tuple(node.name for node in made), hidden * len(made)
    return nodes


@pytest.mark.parametrize("both", [False, True], ids=["one way", "both ways"])
@pytest.mark.parametrize("n_layers", [1, 2])
@pytest.mark.parametrize("layer", [rt.GRU, rt.LSTM])
def test_programs_of_frames(layer, n_layers, both):
    rng = np.random.default_rng(0)
    hidden = 9
    nodes = stack(rng, layer, n_layers, both, 6, hidden)
    inputs = tuple(node.name for node in nodes[-2 if both else -1 :])
    width = hidden * len(inputs)
    endings = [
        [rt.Node("pool", rt.PoolFrames("last", hidden), inputs)],
        [
            rt.Node("pool", rt.PoolFrames("mean", hidden), inputs),
            rt.Node("out", dense(rng, 4, width), ("pool",)),
        ],
        [rt.Node("out", dense(rng, 4, width, "tanh"), inputs)],
        [rt.Node("both", rt.Activation("relu"), inputs)],
        [rt.Node("norm", affine(rng, width), inputs)],
    ]
    for ending in endings:
        graph = rt.Graph([*nodes, *ending], "frames", (6,))
        for n, n_frames in [(1, 1), (1, 7), (3, 5), (16, 4), (17, 6), (70, 3)]:
            check(graph, ragged(rng, n, n_frames, 6))


@pytest.mark.parametrize("activation", ["identity", "gelu"])
def test_programs_of_sums(activation):
    rng = np.random.default_rng(0)
    nodes = [
        rt.Node("a", dense(rng, 19, 19)),
        rt.Node("b", rt.Add(activation), ("input", "a")),
        rt.Node("c", rt.Add(activation), ("b", "input")),
        rt.Node("d", rt.Add("relu"), ("c", "b")),
        rt.Node("e", rt.Add(), ("d", "d")),
    ]
    for n in (1, 5, 70):
        check(rt.Graph(nodes, "rows", (19,)), rng.normal(size=(n, 19)).astype(np.float32))
        check(rt.Graph(nodes, "frames", (19,)), ragged(rng, n, 3, 19))


def test_programs_of_maps():
    rng = np.random.default_rng(0)

    def conv(n_out: int, n_in: int, size: int, **options) -> rt.Conv2d:
        values = rng.normal(size=(n_out, n_in, size, size)).astype(np.float32) / size
        return rt.Conv2d(
            rt.Weight(values, layout="dense"), rng.normal(size=n_out).astype(np.float32), **options
        )

    nodes = [
        rt.Node("scale", affine(rng, 3)),
        rt.Node("0", conv(6, 3, 3, padding=1, activation="relu"), ("scale",)),
        rt.Node("1", conv(6, 6, 3, padding=1), ("0",)),
        rt.Node("2", rt.Add("relu"), ("1", "0")),
        rt.Node("3", rt.MaxPool2d(3, 2, 1), ("2",)),
        rt.Node("4", conv(20, 6, 1, stride=2), ("3",)),
        rt.Node("5", conv(20, 6, 3, stride=2, padding=1, activation="relu"), ("3", "4")),
        rt.Node("6", rt.AveragePool2d(2, 1), ("5",)),
    ]
    endings = [
        [rt.Node("7", rt.GlobalAverage(), ("6",)), rt.Node("8", dense(rng, 4, 20), ("7",))],
        [rt.Node("7", rt.Flatten(), ("6",)), rt.Node("8", dense(rng, 4, 80), ("7",))],
        [rt.Node("7", rt.Activation("silu"), ("6",))],
    ]
    for ending in endings:
        for n in (1, 3, 9):
            x = rng.normal(size=(n, 3, 9, 11)).astype(np.float32)
            check(rt.Graph([*nodes, *ending], "maps", (3, 9, 11)), x)


def test_an_input_that_is_scaled_and_also_read_as_it_is():
    rng = np.random.default_rng(0)
    nodes = [
        rt.Node("scale", affine(rng, 6)),
        rt.Node("a", rt.GRU(*gates(rng, 3, 6, 4)), ("input",)),
    ]
    check(rt.Graph(nodes, "frames", (6,)), ragged(rng, 5, 4, 6))


def test_calibration_of_a_cell():
    rng = np.random.default_rng(0)
    graph = one(rt.GRUCell(*gates(rng, 3, 16, 16)), "rows", (16,), inputs=("input", "state"))
    x = rng.normal(size=(50, 16)).astype(np.float32)
    program = rt.compile(graph, precision="int8", calibration=x)
    np.testing.assert_allclose(program(x), last(graph, x), atol=0.05)
