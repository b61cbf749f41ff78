"""What compile takes and refuses, files, and reports."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from embcompress import runtime as rt
from embcompress.container import FormatError, load_container, save_container
from embcompress.runtime.layout_choice import choose

RNG = np.random.default_rng(0)


def weight(n_out: int, n_in: int, density: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(n_out + 1000 * n_in)
    kept = rng.random((n_out, n_in)) < density
    kept[np.arange(n_out), np.arange(n_out) % n_in] = True  # no row and no column is empty
    kept[np.arange(n_in) % n_out, np.arange(n_in)] = True
    return (rng.normal(size=(n_out, n_in)) * kept / np.sqrt(n_in)).astype(np.float32)


def classifier(density: float = 0.1) -> rt.Graph:
    return rt.Graph(
        [
            rt.Node("scale", rt.Affine(np.ones(40, "f4"), np.full(40, 0.5, "f4"))),
            rt.Node("hidden", rt.Linear(weight(64, 40, density), np.ones(64, "f4")), ("scale",)),
            rt.Node("relu", rt.Activation("relu"), ("hidden",)),
            rt.Node("out", rt.Linear(weight(3, 64)), ("relu",)),
        ],
        "rows", (40,), np.array(["a", "b", "c"]),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("model", "options", "error", "message"),
    [
        (object(), {}, TypeError, "cannot compile a object; a head, a torch module"),
        ([rt.Linear(weight(4, 4)), "x"], {}, TypeError, "cannot compile a str"),
        (rt.Linear(weight(4, 4)), {"precision": "int4"}, ValueError, "precision='int4'"),
        (rt.Linear(weight(4, 4)), {"batch_size": 0}, ValueError, "batch_size=0"),
        (
            rt.Linear(weight(4, 4)), {"calibration": np.ones((1, 4))}, ValueError,
            'calibration is for precision="int8"',
        ),
        (
            rt.Linear(weight(4, 4)), {"precision": "int8", "calibration": np.ones((0, 4))},
            ValueError, "calibration is empty",
        ),
        (rt.Linear(np.zeros((4, 4), "f4")), {}, ValueError, "nothing is kept of 0"),
        (
            rt.Linear(weight(4, 4)), {"masks": {"1": np.ones((4, 4))}}, ValueError,
            "masks for 1; the layers are 0",
        ),
        (
            rt.Linear(weight(4, 4)), {"masks": {"0": np.ones((4, 3))}}, ValueError,
            r"a mask of shape \(4, 3\) for weights of \(4, 4\)",
        ),
        (
            rt.Linear(weight(4, 4)), {"masks": {"0": np.zeros((4, 4))}}, ValueError,
            "nothing is kept of 0",
        ),
        (
            rt.Conv2d(np.ones((2, 3, 3, 3), "f4")), {}, ValueError,
            r"give input_shape=\(channels, height, width\)",
        ),
        (
            rt.Conv2d(np.ones((2, 3, 3, 3), "f4")), {"input_shape": (4, 8, 8)}, ValueError,
            "takes 3 channels; 4 come",
        ),
        (rt.GlobalAverage(), {}, ValueError, "cannot be the first layer"),
    ],
)  # fmt: skip
def test_what_cannot_be_compiled(model, options, error, message):
    with pytest.raises(error, match=message):
        rt.compile(model, **options)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rt.Linear(np.ones((3, 0))), r"shape \(3, 0\)"),
        (lambda: rt.Linear(np.ones((3, 2, 2))), r"shape \(3, 2, 2\)"),
        (lambda: rt.Linear(np.full((3, 2), np.nan)), "NaN or infinite"),
        (lambda: rt.Linear(np.ones((3, 2)), np.ones(2)), r"bias has shape \(2,\)"),
        (lambda: rt.Linear(np.ones((3, 2)), np.full(3, np.inf)), "bias holds NaN"),
        (lambda: rt.Linear(np.ones((3, 2)), activation="relu6"), "activation='relu6'"),
        (lambda: rt.GRUCell(np.ones((9, 4)), np.ones((9, 4))), "GRUCell with weights of"),
        (lambda: rt.Conv2d(np.ones((2, 2, 3, 3)), stride=0), "stride=0"),
        (lambda: rt.Graph([], "rows", (2,)), "without layers"),
        (
            lambda: rt.Graph([rt.Node("a", rt.Activation("relu"), ("b",))], "rows", (2,)),
            "layer 'a' reads b",
        ),
    ],
)
def test_layers_that_are_none(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_masks_say_what_is_kept():
    values = weight(32, 16)
    kept = RNG.random((32, 16)) < 0.3
    program = rt.compile(rt.Linear(values), {"0": kept})
    x = RNG.normal(size=(5, 16)).astype(np.float32)
    np.testing.assert_allclose(program(x), x @ np.where(kept, values, 0).T, rtol=1e-4, atol=1e-5)
    assert program.report(measure=False).layers[0].n_kept == kept.sum()


def test_int8_is_near_float32_and_a_calibration_fixes_the_scales():
    graph = classifier(0.5)
    x = RNG.normal(size=(200, 40)).astype(np.float32)
    exact = rt.compile(graph)(x)
    free = rt.compile(graph, precision="int8")
    fixed = rt.compile(graph, precision="int8", calibration=x)
    spread = exact.std()
    assert np.abs(free(x) - exact).max() < 0.05 * spread
    assert np.abs(fixed(x) - exact).max() < 0.1 * spread
    assert all(w.input_scale is None for w in free.graph.weights().values())
    assert all(w.input_scale > 0 for w in fixed.graph.weights().values())
    # what is far beyond the calibration is cut, not wrapped around
    assert np.abs(fixed(1e6 * x)).max() < 100 * np.abs(exact).max()


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_saved_program_gives_the_same_bits(precision, tmp_path):
    program = rt.compile(classifier(), precision=precision)
    path = tmp_path / "head.safetensors"
    program.save(path)
    again = rt.load(path)
    x = RNG.normal(size=(70, 40)).astype(np.float32)
    np.testing.assert_array_equal(again(x), program(x))
    np.testing.assert_array_equal(again.predict(x), program.predict(x))
    np.testing.assert_allclose(again.predict_proba(x).sum(axis=1), 1, rtol=1e-5)
    assert again.classes_.tolist() == ["a", "b", "c"]
    again.save(tmp_path / "second")
    assert path.read_bytes() == (tmp_path / "second").read_bytes()


def test_a_file_is_small(tmp_path):
    dense, sparse = tmp_path / "dense", tmp_path / "sparse"
    rt.compile(rt.Linear(weight(512, 512))).save(dense)
    rt.compile(rt.Linear(weight(512, 512, 0.05)), precision="int8").save(sparse)
    assert dense.stat().st_size < 1.01 * 4 * 512 * 512 + 4096
    # a byte for each weight and two for its index
    assert sparse.stat().st_size < 3.2 * 0.05 * 512 * 512 + 8192


def damaged(path, change) -> None:
    file = load_container(path, kind="program")
    tensors = {name: array.copy() for name, array in file.tensors.items()}
    description = json.loads(file.value("graph"))
    change(tensors, description)
    save_container(path, tensors, kind="program", metadata={"graph": json.dumps(description)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, d: t.pop("1.bias"), None),
        (lambda t, d: t.pop("1.weight.weights"), "array 'weights' is missing"),
        (
            lambda t, d: d["nodes"][1]["weights"]["weight"].update(runs="y"),
            "unknown layout .*, 'y'",
        ),
        (lambda t, d: d["nodes"][1].update(record="Nothing"), "unknown layer 'Nothing'"),
        (
            lambda t, d: d["nodes"][1]["weights"]["weight"].update(layout="x"),
            "unknown layout 'x', ",
        ),
        (lambda t, d: d["nodes"][1]["weights"]["weight"].update(shape=[3, 5]), "weight"),
        (lambda t, d: d["nodes"][1].update(inputs=["later"]), "reads later"),
        (lambda t, d: d.update(input="pictures"), "an input 'pictures'"),
        (lambda t, d: d.update(shape=[0]), "of shape"),
        (lambda t, d: d.pop("nodes"), "does not fit together"),
        (lambda t, d: d.update(classes={"dtype": "U1", "values": ["b", "a"]}), "not in order"),
        (lambda t, d: t.update({"1.bias": np.ones(3, "f4")}), r"bias has shape \(3,\)"),
    ],
)
def test_damaged_files(change, message, tmp_path):
    path = tmp_path / "p.safetensors"
    rt.compile(classifier(), precision="int8").save(path)
    damaged(path, change)
    if message is None:  # biases that are missing are zeros
        rt.load(path)
        return
    with pytest.raises(FormatError, match=message):
        rt.load(path)


def test_a_file_of_another_kind_and_a_cut_one(tmp_path):
    path = tmp_path / "p.safetensors"
    save_container(path, {"a": np.ones(3)}, kind="vectors")
    with pytest.raises(FormatError, match="holds 'vectors', expected 'program'"):
        rt.load(path)
    rt.compile(classifier()).save(path)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(FormatError, match="not a complete safetensors file"):
        rt.load(path)


def test_a_report_says_what_became_of_each_layer():
    report = rt.compile(classifier(), precision="int8").report()
    hidden, out = report.layers
    assert (hidden.name, hidden.kind, hidden.shape) == ("hidden", "Linear", (64, 40))
    assert hidden.n_kept < 0.25 * hidden.n_weights
    assert hidden.precision == "int8"
    assert out.layout == "dense"
    assert hidden.microseconds > 0
    assert hidden.speedup > 0
    assert report.nbytes < 64 * 40 + 3 * 64 * 4
    text = str(report)
    assert "hidden" in text.splitlines()[1]
    assert text.splitlines()[-1].endswith("bytes")
    assert "-" in str(rt.compile(classifier()).report(measure=False))


@pytest.mark.parametrize(
    ("kept", "batch_size", "layout"),
    [
        (np.ones((64, 64), bool), 1, "dense"),
        (np.repeat(RNG.random((4, 64)) < 0.2, 16, axis=0), 1, "strips"),
        (np.outer(np.arange(64) % 3 == 0, np.arange(64) % 2 == 0), 1, "compact"),
        (RNG.random((1024, 1024)) < 0.02, 1, "csr"),
        (RNG.random((64, 64)) < 0.3, 1, "dense"),
        (RNG.random((64, 64)) < 0.3, 64, "csr"),
        (np.repeat(RNG.random((256, 4)) < 0.2, 64, axis=1), 1, "bspc"),
    ],
)
def test_layouts_by_rule(kept, batch_size, layout):
    values = np.where(kept, 1.0, 0.0).astype(np.float32)
    assert choose(rt.Weight(values, kept), batch_size) == layout


def test_a_classifier_with_two_classes_has_one_decision():
    graph = classifier()
    graph = rt.Graph(
        [*graph.nodes[:3], rt.Node("out", rt.Linear(weight(2, 64)), ("relu",))],
        "rows", (40,), np.array([False, True]),
    )  # fmt: skip
    program = rt.compile(graph)
    x = RNG.normal(size=(5, 40)).astype(np.float32)
    logits = program(x)
    np.testing.assert_array_equal(program.decision_function(x), logits[:, 1] - logits[:, 0])
    np.testing.assert_array_equal(program.predict(x), logits.argmax(axis=1).astype(bool))
    with pytest.raises(ValueError, match="no classifier"):
        rt.compile(rt.Linear(weight(2, 40))).predict(x)


def test_the_runtime_needs_no_torch(tmp_path):
    path = tmp_path / "p.safetensors"
    rt.compile(classifier(), precision="int8").save(path)
    code = (
        "import sys, numpy as np\nfrom embcompress import runtime\n"
        f"print(runtime.load({str(path)!r}).predict(np.ones((1, 40))))\n"
        "heavy = {'torch', 'sklearn', 'faiss', 'pandas', 'gensim'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("['")
