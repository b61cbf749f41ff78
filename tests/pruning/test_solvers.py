"""Laws of the solvers, and pairs that are refused before any work."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from small_models import batches, convolutional, gru, lstm, mlp, same_state, state_of  # noqa: E402
from torch import nn  # noqa: E402

from embcompress.pruning import (  # noqa: E402
    ADMM,
    SOLVERS,
    BlockRow,
    Column,
    Connectivity,
    Distillation,
    Filter,
    GradualMagnitude,
    KernelPattern,
    LabelledBatches,
    Masks,
    OneShot,
    PrimalProximal,
    Reweighted,
    RowColumn,
    Stage,
    TaskLoss,
    Unstructured,
    finetune,
    prunable_weights,
)
from embcompress.pruning.solvers.admm import pull  # noqa: E402
from embcompress.pruning.solvers.base import live_weights  # noqa: E402
from embcompress.training import NonFiniteLossError  # noqa: E402

TRAINING = {
    "admm": ADMM(rho=(1e-3, 1e-1), epochs_per_rho=2),
    "gradual": GradualMagnitude(epochs=3, update_every=2),
    "primal-proximal": PrimalProximal(epochs=3),
    "reweighted": Reweighted(epochs=3),
}


def task(n=240, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 8, generator=generator)
    return LabelledBatches(x, x[:, :3].argmax(1), batch_size=24)


def trained():
    return finetune(mlp(), Masks({}), TaskLoss(), task(), epochs=15, learning_rate=1e-2)


@pytest.mark.parametrize("name", TRAINING)
def test_same_arguments_same_result(name):
    model = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Dropout(0.3), nn.Linear(6, 3))
    data = task(48)
    state = torch.random.get_rng_state()
    first, second = (
        TRAINING[name].solve(model, Unstructured(0.5), TaskLoss(), data) for _ in range(2)
    )
    assert same_state(state_of(first.model), state_of(second.model))
    assert first.history == second.history
    assert torch.equal(state, torch.random.get_rng_state())
    other = TRAINING[name].solve(model, Unstructured(0.5), TaskLoss(), data, random_state=1)
    assert not same_state(state_of(first.model), state_of(other.model))


@pytest.mark.parametrize("model", [gru(), lstm()], ids=["gru", "lstm"])
def test_live_weights_have_the_gradients_of_the_views(model):
    for views in (prunable_weights(model), prunable_weights(model)[1:]):
        gradients = []
        for weights in (live_weights(model, views), [view.of(model) for view in views]):
            model.zero_grad()
            sum(i * w.square().sum() for i, w in enumerate(weights)).backward()
            gradients.append([p.grad for p in model.parameters() if p.ndim > 1])
        assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_pull_is_half_the_squared_distance():
    weight = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    target = torch.randn(3, 4, dtype=torch.float64)
    torch.testing.assert_close(pull(weight, target), (weight - target).square().sum() / 2)
    (0.3 * pull(weight, target)).backward()
    torch.testing.assert_close(weight.grad, 0.3 * (weight - target).detach())


def test_admm_brings_the_weights_to_the_scheme():
    model = trained()
    for scheme in (Unstructured(0.7), RowColumn(0.5), BlockRow(0.5, n_blocks=2)):
        shot = OneShot().solve(model, scheme).residual
        solver = ADMM(rho=(1e-2, 1e-1, 1.0), epochs_per_rho=8, learning_rate=3e-3)
        result = solver.solve(model, scheme, TaskLoss(), task())
        assert result.residual < 0.5 * shot
        assert [entry["rho"] for entry in result.history[::8]] == [1e-2, 1e-1, 1.0]
        assert 0 <= result.history[-1]["residual"] < 1


def test_weights_that_do_not_follow_leave_z_near():
    """U would add up to many times the weights, and what is kept would follow U, not them."""
    solver = ADMM(rho=(1e-4,), epochs_per_rho=8, learning_rate=1e-5)
    result = solver.solve(trained(), Unstructured(0.8), TaskLoss(), task())
    found = [entry["residual"] for entry in result.history]
    assert max(found) < 1.05 * found[0]
    assert found[0] < 1


def test_admm_has_a_pair_for_each_part():
    scheme = KernelPattern() & Connectivity(0.5)
    solver = ADMM(rho=(0.1,), epochs_per_rho=1)
    result = solver.solve(convolutional(), scheme, TaskLoss(), batches("conv"), layers=["0", "3"])
    kernels = result.masks["3.weight"].sum(dim=(2, 3))
    assert set(kernels.unique().tolist()) == {0, 4}
    assert (kernels > 0).sum() == 12


@pytest.mark.parametrize("form", ["A", "B", "C"])
def test_reweighting_separates_large_groups_from_small_ones(form):
    # only the first 3 of 8 inputs matter
    model = nn.Sequential(nn.Linear(8, 3))
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(240, 8, generator=generator)
    data = LabelledBatches(x, x[:, :3].argmax(1), batch_size=24)
    model = finetune(model, Masks({}), TaskLoss(), data, epochs=20, learning_rate=1e-2)
    before = Column(0.5).group_norms(model[0].weight.detach())
    solver = Reweighted(form, penalty=0.1, epochs=20, learning_rate=1e-2)
    result = solver.solve(model, Column(0.5), TaskLoss(), data)
    assert result.masks["0.weight"].any(0)[:3].all()
    assert result.residual < OneShot().solve(model, Column(0.5)).residual
    after = Column(0.5).group_norms(result.model[0].weight.detach())
    assert (after[:3] > 0.5 * before[:3]).all()
    assert len(result.history) == 20
    assert all(math.isfinite(entry["penalty"]) for entry in result.history)


def test_reweighted_penalty_reaches_the_weights():
    # with a loss that says nothing, only the penalty moves the weights (its gradient is there)
    model = nn.Linear(6, 4)
    silent = LabelledBatches(torch.zeros(8, 6), torch.zeros(8, dtype=torch.long), batch_size=4)
    result = Reweighted(epochs=4).solve(model, Unstructured(0.25), TaskLoss(), silent)
    kept = result.masks["weight"]
    assert (result.model.weight.abs() < model.weight.abs())[kept].all()


def test_gradual_sparsity_follows_the_cubic():
    solver = GradualMagnitude(epochs=8, end=0.5, update_every=1)
    result = solver.solve(trained(), Unstructured(0.8), TaskLoss(), task())
    found = [entry["sparsity"] for entry in result.history]
    expected = [0.8 * (1 - (1 - min(1, (e + 1) / 4)) ** 3) for e in range(8)]
    assert found == pytest.approx(expected, abs=0.02)
    assert result.residual == 0


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("form", ["hard", "soft", "mcp"])
@pytest.mark.parametrize("scheme", [Unstructured(0.5), RowColumn(0.5)], ids=["single", "overlap"])
def test_one_penalty_for_all_layers(form, scheme, normalize):
    model = trained()
    solver = PrimalProximal(
        target_rate=3, form=form, normalize=normalize, epochs=6, learning_rate=3e-3
    )
    result = solver.solve(model, scheme, TaskLoss(), task())
    assert result.rate == pytest.approx(3, rel=0.1)
    rates = [layer["rate"] for layer in result.masks.per_layer().values()]
    assert max(rates) > 1.1 * min(rates)  # nobody gave rates by layer
    assert result.residual < 1
    densities = [entry["density"] for entry in result.history]
    assert densities[0] >= densities[-1]


def test_small_layers_keep_their_weights():
    """The energy of its layer decides over a single weight, not its size."""
    model = trained()
    with torch.no_grad():
        model[4].weight.mul_(0.05)
    kept = {}
    for normalize in (None, False):
        solver = PrimalProximal(target_rate=4, normalize=normalize, epochs=1, learning_rate=1e-5)
        result = solver.solve(model, Unstructured(0.5), TaskLoss(), task())
        kept[normalize] = result.masks.per_layer()["4.weight"]["n_kept"]
        assert result.rate == pytest.approx(4, rel=0.02)
    assert kept[False] == 1  # min_density
    assert kept[None] > 9
    # rows and columns are judged by their size
    solver = PrimalProximal(target_rate=4, epochs=1, learning_rate=1e-5)
    given = replace(solver, normalize=False)
    first, second = (
        s.solve(model, RowColumn(0.5), TaskLoss(), task(), layers=["0", "2"]).masks
        for s in (solver, given)
    )
    assert first == second


def test_a_given_penalty_decides_the_rate():
    model = trained()
    rates = [
        PrimalProximal(penalty=penalty, epochs=5)
        .solve(model, Unstructured(0.5), TaskLoss(), task())
        .rate
        for penalty in (1e-4, 1e-3, 1e-2)
    ]
    assert 1 <= rates[0] < rates[1] < rates[2]


def test_no_layer_is_lost():
    solver = PrimalProximal(penalty=1e3, epochs=1, min_density=0.1)
    result = solver.solve(mlp(), Unstructured(0.5), TaskLoss(), task())
    assert all(8.9 < layer["rate"] <= 10.7 for layer in result.masks.per_layer().values())


def test_removed_units_give_nothing():
    model = convolutional()
    with torch.no_grad():
        model[1].bias.fill_(1.0)
        model[3].bias.fill_(1.0)
    result = OneShot().solve(model, Filter(0.5), layers=["0", "3"])
    pruned = result.model.eval()
    gone = ~result.masks["0.weight"].flatten(1).any(1)
    assert gone.sum() == 3
    assert torch.equal(result.masks["1.bias"], ~gone)
    assert torch.equal(result.masks["1.weight"], ~gone)
    assert not pruned[:3](torch.randn(2, 2, 5, 5))[:, gone].any()
    gone = ~result.masks["3.weight"].flatten(1).any(1)
    assert not pruned[:6](torch.randn(2, 2, 5, 5))[:, gone].any()
    assert result.rate == 2  # vectors do not count
    classes = OneShot().solve(mlp(), Filter(0.5))
    assert "4.bias" not in classes.masks
    assert "0.bias" in classes.masks


def test_summary():
    text = OneShot().solve(gru(), {"rnn": BlockRow(0.5, n_blocks=2)}).summary()
    lines = text.splitlines()
    assert len(lines) == 8
    assert lines[0].split() == ["weight", "shape", "scheme", "kept", "sparsity", "rate"]
    assert lines[1].split()[:3] == ["rnn.weight_ih_l0[r]", "9x6", "BlockRow"]
    assert lines[-1].startswith("all")


@pytest.mark.parametrize(
    ("solver", "arguments", "message"),
    [
        (
            PrimalProximal(),
            (KernelPattern(), TaskLoss(), batches("conv")),
            "PrimalProximal needs a scheme with `prox`; KernelPattern has none; use ADMM",
        ),
        (
            GradualMagnitude(),
            (KernelPattern(), TaskLoss(), batches("conv")),
            "GradualMagnitude needs a scheme with `with_sparsity`; KernelPattern has none",
        ),
        (ADMM(), (Unstructured(0.5),), "ADMM trains, so it needs an objective and data"),
        (ADMM(), (Unstructured(0.5), TaskLoss()), "ADMM trains, so it needs data"),
        (
            ADMM(),
            (Unstructured(0.5), TaskLoss(), batches("linear")),
            r"forward pass of Sequential fails on inputs of shape \(6, 8\)",
        ),
        (ADMM(), (Unstructured(0.5), Distillation(), []), "batches is empty"),
    ],
)
def test_what_cannot_work_fails_before_any_work(solver, arguments, message):
    model = convolutional()
    before = state_of(model)
    with pytest.raises(ValueError, match=message):
        solver.solve(model, *arguments, layers=["0", "3"])
    assert same_state(before, state_of(model))


def test_stages_that_leave_a_weight_out():
    class FirstLayer:
        def stages(self, model):
            (whole,) = TaskLoss().stages(model)
            yield Stage("first", whole.loss, ("0.weight",), ("0.weight",))

    solver = ADMM(rho=(0.1,), epochs_per_rho=1)
    with pytest.raises(ValueError, match=r"no stage of FirstLayer covers 2\.weight, 4\.weight"):
        solver.solve(mlp(), Unstructured(0.5), FirstLayer(), task())
    model = mlp()
    result = solver.solve(model, Unstructured(0.5), FirstLayer(), task(), layers=["0"])
    for name, parameter in model.named_parameters():
        assert (name != "0.weight") == torch.equal(parameter, result.model.get_parameter(name))
    assert all(parameter.requires_grad for parameter in result.model.parameters())


def test_wrong_kinds_of_arguments():
    with pytest.raises(TypeError, match=r"needs an objective with `stages`.*got function"):
        ADMM().solve(mlp(), Unstructured(0.5), nn.functional.cross_entropy, task())
    with pytest.raises(TypeError, match="gone through only once"):
        ADMM().solve(mlp(), Unstructured(0.5), TaskLoss(), iter(task()))
    with pytest.raises(TypeError, match="data must give tuples of tensors"):
        ADMM().solve(mlp(), Unstructured(0.5), TaskLoss(), [torch.zeros(2, 8)])


@pytest.mark.parametrize("name", TRAINING)
def test_a_loss_that_is_not_finite(name):
    data = list(task(48))
    data[1] = (data[1][0] * float("inf"), data[1][1])
    with pytest.raises(NonFiniteLossError, match=r"step 1 \(epoch 0\)") as caught:
        TRAINING[name].solve(mlp(), Unstructured(0.5), TaskLoss(), data)
    assert same_state(state_of(caught.value.model), state_of(mlp()))


@pytest.mark.parametrize(
    ("solver", "keywords", "message"),
    [
        ("admm", {"rho": ()}, "rho"),
        ("admm", {"rho": (0.0,)}, "rho"),
        ("admm", {"update_every": 0}, "update_every=0"),
        ("admm", {"optimizer": "lion"}, "use adam, adamw, rmsprop, sgd"),
        ("gradual", {"end": 0}, "end=0"),
        ("gradual", {"learning_rate": 0}, "learning_rate=0"),
        ("primal-proximal", {"form": "l1"}, "use soft, hard, mcp"),
        ("primal-proximal", {"target_rate": 0.5}, "target_rate=0.5"),
        ("primal-proximal", {"penalty": -1}, "penalty=-1"),
        ("primal-proximal", {"min_density": 0}, "min_density=0"),
        ("reweighted", {"form": "D"}, "use A, B, C"),
        ("reweighted", {"milestones": (1.5,)}, "milestones"),
        ("reweighted", {"epsilon": 0}, "epsilon=0"),
        ("reweighted", {"epochs": 0}, "epochs=0"),
    ],
)
def test_ranges(solver, keywords, message):
    with pytest.raises(ValueError, match=message):
        SOLVERS[solver](**keywords)
