"""Heads as files: what is saved is what is loaded, and damage is named."""

from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors import safe_open  # noqa: E402
from torch import nn  # noqa: E402

import embcompress.container as container_module  # noqa: E402
from embcompress import FormatError, heads  # noqa: E402
from embcompress.codes import pack_bits  # noqa: E402
from embcompress.container import load_container, save_container  # noqa: E402
from embcompress.heads import ConvHead, GRUHead, LinearHead, MLPHead  # noqa: E402

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(60, 6))
BITS = pack_bits(RNG.integers(0, 2, size=(60, 11)))
FRAMES = [part[: 3 + i % 3] for i, part in enumerate(RNG.normal(size=(60, 5, 4)))]
MAPS = RNG.normal(size=(60, 2, 5, 5)).astype(np.float32)
CASES = [
    (LinearHead(max_epochs=1, random_state=3), ROWS),
    (MLPHead((5, 4), max_epochs=1, activation="gelu", class_weight={1: 2.0}), ROWS),
    (MLPHead((5,), max_epochs=1, standardize=False), ROWS),
    (MLPHead((5,), max_epochs=1, packed_bits=11), BITS),
    (GRUHead(6, max_epochs=1), FRAMES),
    (GRUHead(6, max_epochs=1, bidirectional=True, pooling="last"), FRAMES),
    (ConvHead((4, 6), max_epochs=1), MAPS),
]
IDS = [f"{type(head).__name__}-{i}" for i, (head, _) in enumerate(CASES)]
LABELS = np.arange(60) % 3


@pytest.fixture
def path(tmp_path):
    return tmp_path / "head.safetensors"


@pytest.mark.parametrize(("head", "X"), CASES, ids=IDS)
def test_round_trip(head, X, path):
    head.fit(X, LABELS).save(path)
    loaded = heads.load(path)
    assert type(loaded) is type(head)
    assert loaded.get_params() == head.get_params()
    np.testing.assert_array_equal(loaded.predict_proba(X), head.predict_proba(X))
    assert loaded.n_features_in_ == head.n_features_in_
    assert loaded.input_shape_ == head.input_shape_
    assert loaded.n_iter_ == head.n_iter_
    first = path.read_bytes()
    loaded.save(path)
    assert path.read_bytes() == first
    # it can go on from there
    loaded.partial_fit(X, LABELS)
    assert loaded.n_iter_ == head.n_iter_ + 1


@pytest.mark.parametrize(
    "classes",
    [
        np.array([3, 5]),
        np.array([0, 255], np.uint8),
        np.array([False, True]),
        np.array([1.0, 2.0], np.float32),
        np.array(["ä", "bee"]),
        np.array(["a", "bee"], dtype=object),
    ],
    ids=lambda classes: str(classes.dtype),
)
def test_classes_of_every_kind(classes, path):
    y = classes[np.arange(60) % 2]
    head = LinearHead(max_epochs=1).fit(ROWS, y)
    head.save(path)
    loaded = heads.load(path)
    np.testing.assert_array_equal(loaded.classes_, head.classes_)
    assert loaded.classes_.dtype == head.classes_.dtype
    np.testing.assert_array_equal(loaded.predict(ROWS), head.predict(ROWS))


def tiny():
    head = LinearHead(max_epochs=1, random_state=0).fit(
        np.array([[0.0, 1.0], [2.0, 5.0]]), ["no", "yes"]
    )
    with torch.no_grad():
        head.module_.layers[0].weight.copy_(torch.tensor([[1.0, -2.0], [0.5, 0.25]]))
        head.module_.layers[0].bias.copy_(torch.tensor([0.0, 1.0]))
    return head


def test_bytes_are_golden(path, monkeypatch):
    monkeypatch.setattr(container_module, "__version__", "0.0.0")
    tiny().save(path)
    raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    parameters = {
        "batch_size": "auto", "class_weight": None, "early_stopping": False,
        "learning_rate": 0.001, "max_epochs": 1, "n_jobs": None, "optimizer": "adam",
        "packed_bits": None, "patience": 10, "random_state": 0, "standardize": True,
        "validation_fraction": 0.1, "verbose": False, "weight_decay": 0.01,
    }  # fmt: skip
    assert header == {
        "__metadata__": {
            "classes": '{"dtype":"U3","values":["no","yes"]}',
            "created_with": "embcompress 0.0.0",
            "format": "embcompress",
            "format_version": "1",
            "head": "LinearHead",
            "input_shape": "[2]",
            "kind": "head",
            "n_epochs": "1",
            "n_features": "2",
            "parameters": json.dumps(parameters, separators=(",", ":")),
            "pruned": "no",
        },
        "input.mean": {"dtype": "F64", "shape": [2], "data_offsets": [0, 16]},
        "input.scale": {"dtype": "F64", "shape": [2], "data_offsets": [16, 32]},
        "layers.0.bias": {"dtype": "F32", "shape": [2], "data_offsets": [32, 40]},
        "layers.0.weight": {"dtype": "F32", "shape": [2, 2], "data_offsets": [40, 56]},
    }
    assert (8 + size) % 64 == 0
    assert raw[8 + size :].hex() == (
        "000000000000f03f0000000000000840"  # mean 1, 3
        "000000000000f03f0000000000000040"  # scale 1, 2
        "000000000000803f"  # bias 0, 1
        "0000803f000000c00000003f0000803e"  # weight 1, -2, 0.5, 0.25
    )


def test_the_file_is_enough_to_predict_without_torch(path):
    head, _ = CASES[0]
    head.fit(ROWS, LABELS).save(path)
    with safe_open(path, framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    scaled = (ROWS - arrays["input.mean"]) / arrays["input.scale"]
    logits = scaled @ arrays["layers.0.weight"].T + arrays["layers.0.bias"]
    np.testing.assert_allclose(logits, head.decision_function(ROWS), rtol=1e-6)


def test_damage_is_named(path):
    tiny().save(path)
    opened = load_container(path, kind="head")
    arrays = {name: np.array(array) for name, array in opened.tensors.items()}
    metadata = dict(opened.metadata)
    several = {
        "U3": ({"classes": '{"dtype":"V8","values":[1,2]}'}, {}, "data type of classes 'V8'"),
        "values": ({"classes": '{"dtype":"i8","values":["a","b"]}'}, {}, "do not fit their data"),
        "order": ({"classes": '{"dtype":"i8","values":[2,1]}'}, {}, "not in order"),
        "one": ({"classes": '{"dtype":"i8","values":[2]}'}, {}, "at least two"),
        "head": ({"head": "Tree"}, {}, "unknown head 'Tree'; known are ConvHead"),
        "function": ({"head": "load"}, {}, "unknown head 'load'"),
        "json": ({"parameters": "{"}, {}, "'parameters' is not JSON"),
        "unknown": ({"parameters": '{"depth":3}'}, {}, "parameters do not fit LinearHead"),
        "range": ({"parameters": '{"patience":0}'}, {}, "parameters do not fit LinearHead"),
        "shape": ({"input_shape": "[3]"}, {}, r"'layers.0.weight' has shape \(2, 2\).*\(2, 3\)"),
        "sizes": ({"input_shape": "[-3]"}, {}, "is not a list of sizes"),
        "huge": ({"input_shape": "[1000000000000]"}, {}, "has shape"),
        "missing": ({}, {"layers.0.bias": None}, "'layers.0.bias' is missing"),
        "mean": ({}, {"input.mean": np.zeros(3)}, r"'input.mean' has shape \(3,\)"),
        "mask": (
            {"pruned": "yes"}, {"masks.layers.0.weight": np.zeros(7, np.uint8)},
            "'masks.layers.0.weight' fits no parameter",
        ),
    }  # fmt: skip
    for entries, parts, message in several.values():
        changed = {k: v for k, v in {**arrays, **parts}.items() if v is not None}
        save_container(path, changed, kind="head", metadata={**metadata, **entries})
        with pytest.raises(FormatError, match=message):
            heads.load(path)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(FormatError, match="not a complete safetensors file"):
        heads.load(path)


def test_what_a_file_cannot_hold(path):
    head = tiny()
    head.classes_ = np.array([(1, 2), (3, 4)], dtype="i4,i4")
    with pytest.raises(TypeError, match="a file holds whole numbers"):
        head.save(path)
    assert not path.exists()
    head = LinearHead(max_epochs=1, random_state=np.random.RandomState(0)).fit(ROWS, LABELS)
    head.save(path)
    assert heads.load(path).random_state is None


def test_modules_are_plain_torch():
    head = GRUHead(6, max_epochs=1).fit(FRAMES, LABELS)
    assert isinstance(head.module_.gru, nn.GRU)
    assert "gru.weight_hh_l1" in head.module_.state_dict()
