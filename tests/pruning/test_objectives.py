"""Losses of the objectives against their formulas, and what each stage may touch."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from small_models import MODELS, batches, convolutional, gru, mlp, same_state, state_of  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from embcompress.pruning import (  # noqa: E402
    ADMM,
    Distillation,
    LayerwiseReconstruction,
    OneShot,
    RandomInputs,
    TaskLoss,
    Unstructured,
    finetune,
    prunable_weights,
)
from embcompress.pruning.tracing import followers, norms_after, output_of  # noqa: E402


def only_stage(objective, model):
    (stage,) = objective.stages(model)
    return stage


def test_task_loss():
    model = mlp()
    x, y = torch.randn(6, 8), torch.arange(6) % 3
    logits = model(x)

    def loss(*batch, **options):
        return only_stage(TaskLoss(**options), model).loss(model, batch)

    torch.testing.assert_close(loss(x, y), functional.cross_entropy(logits, y))
    torch.testing.assert_close(loss(x, y, torch.full((6,), 2.0)), loss(x, y))
    only = torch.tensor([1.0, 0, 0, 0, 0, 0])
    torch.testing.assert_close(loss(x, y, only), loss(x[:1], y[:1]))
    torch.testing.assert_close(
        loss(x, y, class_weight={1: 3.0}),
        functional.cross_entropy(logits, y, weight=torch.tensor([1.0, 3, 1])),
    )
    torch.testing.assert_close(
        loss(x, y, torch.full((6,), 2.0), class_weight={1: 3.0}), loss(x, y, class_weight={1: 3.0})
    )
    torch.testing.assert_close(
        loss(x, y, label_smoothing=0.1),
        functional.cross_entropy(logits, y, label_smoothing=0.1),
    )
    with pytest.raises(ValueError, match="batches hold inputs only; use LabelledBatches"):
        loss(x)


@pytest.mark.parametrize("temperature", [None, 3.0])
def test_a_copy_of_the_teacher_has_no_distance(temperature):
    model = convolutional()
    stage = only_stage(Distillation(temperature=temperature), model)
    x = torch.randn(5, 2, 5, 5)
    assert abs(float(stage.loss(model, (x,)).detach())) < 1e-6
    with torch.no_grad():
        model[0].weight.mul_(0.5)  # the teacher is a copy: it does not follow
    assert float(stage.loss(model, (x,)).detach()) > 1e-6


def test_distillation_formulas():
    student, teacher = mlp(), nn.Linear(8, 3)
    x, y = torch.randn(5, 8), torch.arange(5) % 3
    s, t = student(x), teacher(x)
    found = only_stage(Distillation(teacher), student).loss(student, (x,))
    torch.testing.assert_close(found, (s - t).square().mean())
    found = only_stage(Distillation(teacher, 2.0), student).loss(student, (x,))
    p = (t / 2).softmax(1)
    expected = 4 * (p * ((t / 2).log_softmax(1) - (s / 2).log_softmax(1))).sum(1).mean()
    torch.testing.assert_close(found, expected)
    found = only_stage(Distillation(teacher, label_weight=1.0), student).loss(student, (x, y))
    torch.testing.assert_close(found, functional.cross_entropy(s, y))


def test_real_inputs_give_the_student_its_own_statistics():
    model = convolutional()
    result = OneShot().solve(model, Unstructured(0.5))
    before = result.model[1].running_mean.clone()
    objective = Distillation(model, 3.0, label_weight=0.5)
    tuned = finetune(result.model, result.masks, objective, batches("conv"), epochs=2)
    assert not torch.equal(tuned[1].running_mean, before)
    assert torch.equal(result.model[1].running_mean, before)


def test_random_inputs_leave_the_statistics_alone():
    model = convolutional()
    data = RandomInputs((2, 5, 5), "gaussian", mean=9.0, n_batches=2, batch_size=4)
    solver = ADMM(rho=(1e-2,), epochs_per_rho=1)
    for objective in (Distillation(), LayerwiseReconstruction()):
        result = solver.solve(model, Unstructured(0.5), objective, data)
        assert torch.equal(result.model[1].running_mean, model[1].running_mean)
        assert result.model.training == model.training


@pytest.mark.parametrize("kind", MODELS)
def test_layerwise_stages(kind):
    model = MODELS[kind]()
    stages = list(LayerwiseReconstruction().stages(model))
    assert [stage.name for stage in stages] == list(
        dict.fromkeys(view.module for view in prunable_weights(model))
    )
    (x, _) = next(iter(batches(kind)))
    for stage in stages:
        value = stage.loss(model, (x,))
        assert float(value.detach()) < 1e-12
        value.backward()
        trained = {name for name, p in model.named_parameters() if p.grad is not None}
        assert set(stage.parameters) <= trained


def test_layerwise_is_after_the_activation_and_on_the_pruned_prefix():
    teacher = mlp()
    pruned = OneShot().solve(teacher, Unstructured(0.5)).model
    stages = {s.name: s for s in LayerwiseReconstruction(teacher).stages(pruned)}
    x = torch.randn(7, 8)
    teacher.eval()
    expected = (pruned[:4](x) - teacher[:4](x)).square().mean()
    torch.testing.assert_close(stages["2"].loss(pruned, (x,)), expected)
    expected = (pruned(x) - teacher(x)).square().mean()
    torch.testing.assert_close(stages["4"].loss(pruned, (x,)), expected)


class Functional(nn.Module):
    """Activations as functions, and a shortcut around the second layer."""

    def __init__(self):
        super().__init__()
        self.second = nn.Linear(4, 4)
        self.first = nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4)

    def forward(self, x):
        x = functional.relu(self.norm(self.first(x)), inplace=True)
        return torch.tanh(self.second(x) + x)


def test_followers_are_found_by_tensors():
    model = Functional().eval()
    x = torch.randn(3, 4)
    value = output_of(model, "first", x)
    torch.testing.assert_close(value, model.first(x))
    for follow in followers(model, "first", x):
        value = follow(model, value)
    torch.testing.assert_close(value, model.norm(model.first(x)).relu())
    assert followers(model, "second", x) == []
    assert len(followers(convolutional(), "3", torch.randn(1, 2, 5, 5))) == 2
    assert norms_after(model) == {"first": "norm"}
    assert norms_after(convolutional()) == {"0": "1", "3": "4"}
    assert norms_after(gru()) == {}
    model.unused = nn.Linear(1, 1)
    with pytest.raises(ValueError, match="does not call its module 'unused'"):
        output_of(model, "unused", x)


def test_layerwise_recovers_a_layer():
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    data = RandomInputs(8, "gaussian", n_batches=20)
    before = state_of(model)
    solver = ADMM(rho=(1e-2, 1e-1), epochs_per_rho=5, learning_rate=1e-2)
    result = solver.solve(model, Unstructured(0.5), LayerwiseReconstruction(), data)
    shot = OneShot().solve(model, Unstructured(0.5)).model
    assert same_state(before, state_of(model))
    x = torch.randn(1000, 8)
    errors = [(m(x) - model(x)).detach().square().mean().item() for m in (result.model, shot)]
    assert errors[0] < 0.7 * errors[1]
    assert {entry["stage"] for entry in result.history} == {"0", "2"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TaskLoss(label_smoothing=1), "label_smoothing=1"),
        (lambda: TaskLoss(class_weight={0: -1.0}), "not be negative"),
        (lambda: Distillation(temperature=0), "temperature=0"),
        (lambda: Distillation(label_weight=2), "label_weight=2"),
    ],
)
def test_ranges(make, message):
    with pytest.raises(ValueError, match=message):
        make()
