"""Masks: counted, saved, sent, applied."""

from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from small_models import MODELS, gru, mlp  # noqa: E402
from torch import nn  # noqa: E402

from embcompress import FormatError  # noqa: E402
from embcompress.container import save_container  # noqa: E402
from embcompress.pruning import Masks, OneShot, Unstructured, prunable_weights  # noqa: E402


@given(
    shape=st.lists(st.integers(1, 7), min_size=1, max_size=4).map(tuple),
    seed=st.integers(0, 2**16),
)
def test_files_round_trip(shape, seed, tmp_path_factory):
    generator = torch.Generator().manual_seed(seed)
    masks = Masks({"a.weight": torch.rand(shape, generator=generator) < 0.5})
    path = tmp_path_factory.mktemp("masks") / "masks.safetensors"
    masks.save(path)
    assert Masks.load(path) == masks


@pytest.mark.parametrize("kind", MODELS)
def test_hand_over(kind, tmp_path):
    model = MODELS[kind]()
    result = OneShot().solve(model, Unstructured(0.75))
    result.masks.save(tmp_path / "masks.safetensors")
    assert (tmp_path / "masks.safetensors").stat().st_size < 1500
    masks = Masks.load(tmp_path / "masks.safetensors")
    masks.apply(model)
    for name, value in model.state_dict().items():
        assert torch.equal(value, result.model.state_dict()[name])


def test_of_reads_zeros():
    result = OneShot().solve(mlp(), Unstructured(0.5))
    assert Masks.of(result.model).n_kept == result.masks.n_kept
    assert Masks.of(mlp()).density == 1.0


def test_counts():
    masks = Masks({"a": torch.eye(4) > 0, "b": torch.zeros(2, 2) > 0, "bias": torch.ones(3) > 0})
    assert (masks.n_weights, masks.n_kept, masks.rate, masks.density) == (20, 4, 5.0, 0.2)
    assert masks.per_layer()["a"] == {"n_weights": 16, "n_kept": 4, "sparsity": 0.75, "rate": 4.0}
    assert masks.per_layer()["b"]["rate"] == float("inf")
    assert set(masks.per_layer()) == {"a", "b"}
    assert Masks({}).rate == 1.0
    assert repr(masks) == "Masks(3 parameters, 4 of 20 weights kept)"


def test_gates_are_put_together():
    model = gru()
    views = prunable_weights(model)
    masks = Masks.of_views(model, {views[1]: torch.zeros(views[1].shape) > 0})
    assert masks["rnn.weight_ih_l0"].sum() == 2 * views[1].numel
    assert not masks["rnn.weight_ih_l0"][9:18].any()


def test_infinite_weights_become_zero():
    model = nn.Linear(2, 1)
    with torch.no_grad():
        model.weight.fill_(float("inf"))
    Masks({"weight": torch.tensor([[False, True]])}).apply(model)
    assert model.weight[0, 0] == 0


def test_masks_are_copied():
    mask = torch.ones(2, 2) > 0
    masks = Masks({"a": mask})
    mask.zero_()
    assert masks["a"].all()


def test_masks_for_another_model():
    masks = OneShot().solve(mlp(), Unstructured(0.5)).masks
    with pytest.raises(ValueError, match=r"for another model: the model has no .*'0\.weight'"):
        masks.check(gru())
    with pytest.raises(ValueError, match=r"'0\.weight' has shape \(2, 2\), its mask \(12, 8\)"):
        masks.apply(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)))
    with pytest.raises(TypeError, match=r"mask 'a' is torch\.float32; a boolean tensor"):
        Masks({"a": torch.ones(2)})


def test_damaged_files(tmp_path):
    path = tmp_path / "masks.safetensors"
    bits = np.zeros(2, np.uint8)

    def write(arrays, shapes):
        text = shapes if isinstance(shapes, str) else json.dumps(shapes)
        save_container(path, arrays, kind="masks", metadata={"shapes": text})

    for arrays, shapes, message in [
        ({"a": bits}, {"a": [3, 3, 3]}, "has 2 bytes; the shape .* needs 4"),
        ({"a": bits}, {"a": [0]}, "do not belong"),
        ({"a": bits}, {"b": [9]}, "do not belong"),
        ({"a": bits}, "{", "not JSON"),
        ({"a": bits.astype(np.int64)}, {"a": [9]}, "expected uint8"),
    ]:
        write(arrays, shapes)
        with pytest.raises(FormatError, match=message):
            Masks.load(path)
    save_container(path, {}, kind="head")
    with pytest.raises(FormatError, match="holds 'head', expected 'masks'"):
        Masks.load(path)
