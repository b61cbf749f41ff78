"""Retraining: zeros stay zero, nothing else is special."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from small_models import MODELS, batches, gru, mlp, same_state, state_of  # noqa: E402

from embcompress.pruning import (  # noqa: E402
    Distillation,
    LayerwiseReconstruction,
    Masks,
    OneShot,
    TaskLoss,
    Unstructured,
    finetune,
)
from embcompress.training import NonFiniteLossError  # noqa: E402

OPTIONS = [
    {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.1, "learning_rate": 0.05},
    {"optimizer": "adam", "weight_decay": 0.1},
    {"optimizer": "adamw", "weight_decay": 0.1, "schedule": "cosine"},
    {"optimizer": "rmsprop"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: o["optimizer"])
@pytest.mark.parametrize("kind", MODELS)
def test_zeros_stay_zero(kind, options):
    model, data = MODELS[kind](), batches(kind)
    result = OneShot().solve(model, Unstructured(0.7))
    before = state_of(result.model)
    tuned = finetune(result.model, result.masks, TaskLoss(), data, epochs=3, **options)
    assert same_state(before, state_of(result.model))
    for name, mask in result.masks.items():
        assert not tuned.get_parameter(name)[~mask].any()
    assert not same_state(before, state_of(tuned))


def test_masks_are_applied_to_a_dense_model():
    masks = OneShot().solve(mlp(), Unstructured(0.7)).masks
    tuned = finetune(mlp(), masks, TaskLoss(), batches("linear"), epochs=0)
    assert Masks.of(tuned).n_kept == masks.n_kept


@pytest.mark.parametrize("objective", [Distillation, LayerwiseReconstruction])
def test_towards_the_dense_teacher(objective):
    dense, data = mlp(), batches("linear")
    x = next(iter(data))[0]
    result = OneShot().solve(dense, Unstructured(0.5))
    tuned = finetune(result.model, result.masks, objective(dense), data, epochs=30,
                     learning_rate=1e-2)  # fmt: skip
    errors = [(m(x) - dense(x)).detach().square().mean().item() for m in (tuned, result.model)]
    assert errors[0] < 0.5 * errors[1]
    assert Masks.of(tuned).n_kept == result.masks.n_kept


def test_refusals():
    masks = OneShot().solve(mlp(), Unstructured(0.5)).masks
    data = batches("linear")
    with pytest.raises(ValueError, match="masks for another model"):
        finetune(gru(), masks, TaskLoss(), data, epochs=1)
    with pytest.raises(ValueError, match="epochs=-1"):
        finetune(mlp(), masks, TaskLoss(), data, epochs=-1)
    with pytest.raises(ValueError, match="schedule='step'"):
        finetune(mlp(), masks, TaskLoss(), data, epochs=1, schedule="step")
    bad = [(torch.full((2, 8), float("nan")), torch.tensor([0, 1]))]
    with pytest.raises(NonFiniteLossError, match="step 0") as caught:
        finetune(mlp(), masks, TaskLoss(), bad, epochs=1)
    assert Masks.of(caught.value.model).n_kept <= masks.n_kept
