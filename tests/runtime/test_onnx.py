"""Models in ONNX: valid, and onnxruntime gives what plain NumPy gives."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from onnx_cases import STRUCTURES, evaluate, make_kept, make_weight

from embcompress.codes import pack_bits
from embcompress.runtime.kernels.activations import ACTIVATIONS
from embcompress.runtime.onnx_export import to_onnx
from embcompress.runtime.records import (
    GRU,
    LSTM,
    Activation,
    Add,
    Affine,
    AveragePool2d,
    Conv2d,
    GlobalAverage,
    Graph,
    GRUCell,
    Linear,
    LSTMCell,
    MaxPool2d,
    Node,
    PoolFrames,
    Weight,
)  # fmt: skip

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

TOLERANCE = 1e-4
OPSETS = (18, 20, 23)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def run(model, **inputs):
    """Outputs of onnxruntime by name, after the checker has seen the model."""
    onnx.checker.check_model(onnx.load_from_string(model), full_check=True)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))


def check(graph, x, opset=18, model=None):
    """Compare with the plain computation for several numbers of samples."""
    model = model or to_onnx(graph, opset=opset)
    expected = np.array([evaluate(graph, row) for row in x])
    for n in (1, len(x)):
        found = run(model, input=x[:n])["logits"]
        assert found.shape == expected[:n].shape
        np.testing.assert_allclose(found, expected[:n], atol=TOLERANCE)
    assert len(run(model, input=x[:0])["logits"]) == 0
    return model


def check_frames(graph, lengths, rng, opset=18):
    """The same for sequences, with NaN after their ends."""
    x = rng.standard_normal((len(lengths), max(lengths), graph.shape[0])).astype(np.float32)
    for row, length in zip(x, lengths, strict=True):
        row[length:] = np.nan
    model = to_onnx(graph, opset=opset)
    found = run(model, input=x, lengths=np.array(lengths))["logits"]
    assert np.isfinite(found).all()
    for i, length in enumerate(lengths):
        expected = evaluate(graph, x[i, :length])
        one = found[i, :length] if found.ndim == 3 else found[i]
        np.testing.assert_allclose(one, expected, atol=TOLERANCE)
    return model


def rows(rng, n, width):
    return rng.standard_normal((n, width)).astype(np.float32)


def gated(kind, rng, n_in, hidden, *, density=1.0, int8=False, **options):
    gates = kind.gates
    shapes = {"weight_input": (gates * hidden, n_in), "weight_state": (gates * hidden, hidden)}
    weights = {
        name: make_weight(rng, shape, rng.random(shape) < density, int8=int8)
        for name, shape in shapes.items()
    }
    biases = {
        name: rng.standard_normal(gates * hidden).astype(np.float32)
        for name in ("bias_input", "bias_state")
    }
    return kind(**weights, **biases, **options)


# -- records --------------------------------------------------------------------------------------


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(activation, opset, rng):
    nodes = [
        Node("first", Linear(make_weight(rng, (7, 5)), rows(rng, 1, 7)[0], activation)),
        Node("second", Activation(activation), ("first",)),
    ]
    check(Graph(nodes, "rows", (5,)), 2 * rows(rng, 6, 5), opset)


@pytest.mark.parametrize("int8", [False, True], ids=["float32", "int8"])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_pruned_linear(structure, int8, rng):
    shape = (512, 640)
    weight = make_weight(rng, shape, make_kept(rng, structure, shape), int8=int8)
    record = Linear(weight, rows(rng, 1, 512)[0], "relu")
    model = check(Graph([Node("a", record)], "rows", (640,)), rows(rng, 5, 640))
    operators = [node.op_type for node in onnx.load_from_string(model).graph.node]
    in_blocks = structure in ("blocks", "shuffled", "rows", "both", "nothing")
    assert ("MatMul" in operators) == in_blocks
    frames = Graph([Node("a", record)], "frames", (640,))
    check_frames(frames, [3, 1, 2], rng)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_integers_where_inputs_have_a_step(structure, rng):
    shape = (64, 256)
    kept = make_kept(rng, structure, shape)
    weight = make_weight(rng, shape, kept, int8=True, input_scale=0.03)
    graph = Graph([Node("a", Linear(weight, rows(rng, 1, 64)[0]))], "rows", (256,))
    model = check(graph, rows(rng, 5, 256))
    operators = [node.op_type for node in onnx.load_from_string(model).graph.node]
    assert operators.count("QuantizeLinear") == 1
    assert operators.count("DequantizeLinear") == 2


@pytest.mark.parametrize("int8", [False, True], ids=["float32", "int8"])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_pruned_conv(structure, int8, rng):
    shape = (256, 160, 3, 3)
    kept = make_kept(rng, structure, shape)
    kept[:, :, ::2, ::2] &= structure == "dense"  # patterns inside the kernels
    record = Conv2d(make_weight(rng, shape, kept, int8=int8), rows(rng, 1, 256)[0], 1, 1, "relu")
    x = rng.standard_normal((2, 160, 5, 4)).astype(np.float32)
    check(Graph([Node("a", record)], "maps", (160, 5, 4)), x)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(1, 1, 0), (1, 2, 0), (3, 2, 1), (2, 3, 2)]
)
def test_conv_geometry_and_shortcut(kernel, stride, padding, rng):
    shape = (6, 4, kernel, kernel)
    record = Conv2d(make_weight(rng, shape), rows(rng, 1, 6)[0], stride, padding, "relu")
    nodes = [
        Node("way", replace(record, activation="identity")),
        Node("sum", record, ("input", "way")),
    ]
    x = rng.standard_normal((3, 4, 9, 7)).astype(np.float32)
    check(Graph(nodes, "maps", (4, 9, 7)), x)


@pytest.mark.parametrize(
    "record",
    [MaxPool2d(2, 2), MaxPool2d(3, 2), AveragePool2d(2, 2), AveragePool2d(3, 1), GlobalAverage()],
    ids=lambda record: "-".join([type(record).__name__, *map(str, record.plain().values())]),
)
def test_pools(record, rng):
    x = rng.standard_normal((3, 4, 7, 6)).astype(np.float32)
    for opset in OPSETS:
        check(Graph([Node("a", record)], "maps", (4, 7, 6)), x, opset)


def test_affine_and_add(rng):
    record = Affine(*rows(rng, 3, 4))
    nodes = [
        Node("norm", record),
        Node("nothing", Affine(np.zeros(4), np.ones(4)), ("norm",)),
        Node("sum", Add("relu"), ("input", "nothing")),
    ]
    check(Graph(nodes, "rows", (4,)), rows(rng, 5, 4))
    check(Graph(nodes, "maps", (4, 2, 3)), rng.standard_normal((5, 4, 2, 3)).astype(np.float32))
    check_frames(Graph(nodes, "frames", (4,)), [2, 3], rng)


@pytest.mark.parametrize("int8", [False, True], ids=["float32", "int8"])
@pytest.mark.parametrize("density", [1.0, 0.1])
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("kind", [GRU, LSTM])
def test_recurrent_layers(kind, reverse, density, int8, rng):
    record = gated(kind, rng, 5, 24, reverse=reverse, density=density, int8=int8)
    check_frames(Graph([Node("a", record)], "frames", (5,)), [4, 1, 6, 2], rng)


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("kind", [GRUCell, LSTMCell])
def test_cells(kind, opset, rng):
    record = gated(kind, rng, 5, 8)
    width = 8 * (2 if kind is LSTMCell else 1)
    nodes = [Node("cell", record, ("input", "state"))]
    x, state = rows(rng, 3, 5), rows(rng, 3, width)
    graph = Graph(nodes, "rows", (5,))
    expected = [evaluate(graph, a, b) for a, b in zip(x, state, strict=True)]
    found = run(to_onnx(graph, opset=opset), input=x, state=state)
    assert list(found) == ["logits"]
    np.testing.assert_allclose(found["logits"], expected, atol=TOLERANCE)
    head = Node("head", Linear(make_weight(rng, (2, width))), ("cell",))
    found = run(to_onnx(Graph([*nodes, head], "rows", (5,))), input=x, state=state)
    np.testing.assert_allclose(found["new_state"], expected, atol=TOLERANCE)
    assert found["logits"].shape == (3, 2)


@pytest.mark.parametrize("n_forward", [0, 3, 5])
@pytest.mark.parametrize("mode", ["mean", "last"])
def test_pooling_over_frames(mode, n_forward, rng):
    graph = Graph([Node("a", PoolFrames(mode, n_forward))], "frames", (5,))
    check_frames(graph, [3, 1, 4], rng)


# -- whole graphs ---------------------------------------------------------------------------------


def two_layers(kind, rng, **options):
    """Two bidirectional layers, the mean over time, a head."""
    nodes = [Node("norm", Affine(rows(rng, 1, 6)[0], np.full(6, 0.5)))]
    before, width = ("norm",), 6
    for k in range(2):
        nodes += [
            Node(f"rnn.{k}", gated(kind, rng, width, 8, **options), before),
            Node(f"rnn.{k}.back", gated(kind, rng, width, 8, reverse=True, **options), before),
        ]
        before, width = (f"rnn.{k}", f"rnn.{k}.back"), 16
    nodes.append(Node("pool", PoolFrames("mean", 8), before))
    nodes.append(Node("head", Linear(make_weight(rng, (3, 16))), ("pool",)))
    return nodes


@pytest.mark.parametrize("mode", ["mean", "last"])
@pytest.mark.parametrize("kind", [GRU, LSTM])
def test_two_bidirectional_layers(kind, mode, rng):
    nodes = two_layers(kind, rng)
    pool = next(i for i, node in enumerate(nodes) if node.name == "pool")
    nodes[pool] = replace(nodes[pool], record=PoolFrames(mode, 8))
    model = check_frames(Graph(nodes, "frames", (6,)), [5, 9, 1, 9, 3], rng)
    names = [node.name for node in onnx.load_from_string(model).graph.node]
    assert {node.name for node in nodes} <= set(names)
    assert len(set(names)) == len(names)


def test_compiled_program_gives_the_same(rng):
    from embcompress.runtime.model import Program

    nodes = [
        replace(node, record=replace(node.record, **{
            name: replace(weight, layout="csr") for name, weight in node.record.matrices().items()
        }))
        for node in two_layers(GRU, rng, density=0.3)
    ]  # fmt: skip
    graph = Graph(nodes, "frames", (6,), np.array(["a", "b", "c"]))
    lengths = np.array([5, 9, 1])
    x = rng.standard_normal((3, 9, 6)).astype(np.float32)
    x[np.arange(9) >= lengths[:, None]] = np.nan
    found, program = run(to_onnx(graph), input=x, lengths=lengths), Program(graph)
    np.testing.assert_allclose(found["logits"], program(x), atol=TOLERANCE)
    np.testing.assert_allclose(found["probabilities"], program.predict_proba(x), atol=TOLERANCE)
    np.testing.assert_array_equal(graph.classes[found["label"]], program.predict(x))


def mlp(rng, n_in, **options):
    return [
        Node("fc1", Linear(make_weight(rng, (32, n_in), **options), activation="gelu")),
        Node("fc2", Linear(make_weight(rng, (16, 32), **options), activation="relu"), ("fc1",)),
        Node("logits", Linear(make_weight(rng, (4, 16), **options), rows(rng, 1, 4)[0]), ("fc2",)),
    ]


@pytest.mark.parametrize(
    "options", [{}, {"int8": True}, {"int8": True, "input_scale": 0.04}], ids=str
)
def test_mlp(options, rng):
    check(Graph(mlp(rng, 20, **options), "rows", (20,)), rows(rng, 9, 20))


@pytest.mark.parametrize("n_bits", [16, 30, 37])
def test_codes(n_bits, rng):
    graph = Graph(mlp(rng, n_bits), "codes", (n_bits,))
    bits = rng.random((6, n_bits)) < 0.5
    found = run(to_onnx(graph), input=pack_bits(bits))["logits"]
    expected = [evaluate(graph, row) for row in np.where(bits, 1.0, -1.0)]
    np.testing.assert_allclose(found, expected, atol=TOLERANCE)


def test_residual_network(rng):
    def conv(shape, **options):
        kept = rng.random(shape) < 0.5
        return Conv2d(make_weight(rng, shape, kept), rows(rng, 1, shape[0])[0], **options)

    nodes = [
        Node("stem", conv((8, 3, 3, 3), padding=1, activation="relu")),
        Node("a", conv((16, 8, 3, 3), stride=2, padding=1, activation="relu"), ("stem",)),
        Node("way", conv((16, 8, 1, 1), stride=2), ("stem",)),
        Node("b", conv((16, 16, 3, 3), padding=1, activation="relu"), ("a", "way")),
        Node("max", MaxPool2d(2, 2), ("b",)),
        Node("fc", Linear(make_weight(rng, (8, 64)), activation="relu"), ("max",)),
        Node("mean", GlobalAverage(), ("b",)),
        Node("head", Linear(make_weight(rng, (5, 24))), ("mean", "fc")),
    ]
    graph = Graph(nodes, "maps", (3, 8, 8), np.arange(5))
    x = rng.standard_normal((4, 3, 8, 8)).astype(np.float32)
    expected = np.array([evaluate(graph, row) for row in x])
    found = run(to_onnx(graph), input=x)
    np.testing.assert_allclose(found["logits"], expected, atol=TOLERANCE)
    np.testing.assert_array_equal(found["label"], expected.argmax(axis=1))
    np.testing.assert_allclose(found["probabilities"].sum(axis=1), 1, atol=1e-6)


# -- the file -------------------------------------------------------------------------------------


@pytest.mark.parametrize("structure", ["strips", "single", "blocks"])
def test_the_file_follows_the_rate(structure, rng):
    shape = (1024, 1024)
    kept = make_kept(rng, structure, shape)
    sizes = {}
    for int8 in (False, True):
        weight = make_weight(rng, shape, kept, int8=int8)
        sizes[int8] = len(to_onnx(Graph([Node("a", Linear(weight))], "rows", (1024,))))
    index = kept.size // 8 // (1 if structure == "single" else 16)
    around = 4 * 1024 * 2 + 25_000  # bias, scales, nodes
    assert sizes[True] <= kept.sum() + index + around
    assert sizes[False] <= 4 * kept.sum() + index + around


def test_recurrent_and_conv_files_follow_the_rate(rng):
    record = gated(GRU, rng, 256, 256, density=0.1, int8=True)
    n_kept = record.weight_input.n_kept + record.weight_state.n_kept
    size = len(to_onnx(Graph([Node("a", record)], "frames", (256,))))
    assert size <= n_kept + 2 * 3 * 256 * 256 // 8 + 25_000
    kept = rng.random((128, 128, 3, 3)) < 0.1
    record = Conv2d(make_weight(rng, kept.shape, kept, int8=True), padding=1)
    size = len(to_onnx(Graph([Node("a", record)], "maps", (128, 8, 8))))
    assert size <= kept.sum() + kept.size // 8 + 10_000


def test_metadata_and_bytes(rng, tmp_path):
    graph = Graph(mlp(rng, 20), "rows", (20,), np.array(["ja", "nein", "ö", "d"]))
    model = to_onnx(graph, tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").read_bytes() == model == to_onnx(graph)
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    loaded = onnx.load_from_string(model)
    assert loaded.producer_name == "embcompress"
    about = {entry.key: entry.value for entry in loaded.metadata_props}
    assert json.loads(about["classes"]) == ["ja", "nein", "ö", "d"]
    assert about["kind"] == "rows"
    found = run(model, input=rows(rng, 3, 20))
    assert list(found) == ["logits", "probabilities", "label"]
    assert found["label"].dtype == np.int64


def test_names_of_layers_may_be_any(rng):
    names = ("label", "lengths", "probabilities/Softmax", "MatMul", "label/Gemm")
    nodes, before = [], "input"
    for name in names:
        nodes.append(Node(name, Linear(make_weight(rng, (4, 4))), (before,)))
        before = name
    check(Graph(nodes, "rows", (4,), np.arange(4)), rows(rng, 3, 4))


def test_int8_without_scales_counts_as_it_is(rng):
    weight = Weight(rng.integers(-2, 3, (3, 4)).astype(np.int8))
    check(Graph([Node("a", Linear(weight))], "rows", (4,)), rows(rng, 3, 4))
