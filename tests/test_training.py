"""The training loop: what it returns, when hooks run, and what is left after a failure."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from embcompress.training import (  # noqa: E402
    Hooks,
    NonFiniteLossError,
    copy_model,
    deterministic,
    threads,
    train,
)


@pytest.fixture(autouse=True)
def one_thread():
    with threads(1):
        yield


def squared(model, batch):
    inputs, targets = batch
    return (model(inputs) - targets).square().mean()


@pytest.fixture
def problem():
    with deterministic(0):
        model = nn.Linear(3, 1)
        inputs = torch.randn(20, 3)
    return model, [(part, part.sum(1, keepdim=True)) for part in inputs.split(8)]


class Record(Hooks):
    def __init__(self, stop_after=None):
        self.seen = []
        self.stop_after = stop_after

    def on_start(self, model):
        self.seen.append("start")

    def on_step(self, model, step):
        self.seen.append(step)

    def on_epoch(self, model, epoch):
        self.seen.append(f"epoch {epoch}")
        return epoch == self.stop_after


def sgd(model, learning_rate=0.1):
    return torch.optim.SGD(model.parameters(), lr=learning_rate)


def test_losses_are_means_over_rows(problem):
    model, batches = problem
    whole = [torch.cat(parts) for parts in zip(*batches, strict=True)]
    expected = squared(model, whole).item()
    # with a step of 0 the batches of 8, 8 and 4 rows must add up to the mean over 20
    losses = train(model, squared, batches, epochs=2, optimizer=sgd(model, 0.0))
    assert losses == pytest.approx([expected, expected])
    losses = train(model, squared, batches, epochs=50, optimizer=sgd(model))
    assert len(losses) == 50
    assert losses[-1] < 1e-3 * losses[0]


def test_no_epochs_change_nothing(problem):
    model, batches = problem
    before = copy_model(model)
    assert train(model, squared, batches, epochs=0, optimizer=sgd(model)) == []
    assert torch.equal(model.weight, before.weight)


def test_hooks_run_in_order_and_may_stop(problem):
    model, batches = problem
    first, second = Record(), Record(stop_after=1)
    losses = train(
        model, squared, batches, epochs=9, optimizer=sgd(model), hooks=[first, Hooks(), second]
    )
    assert len(losses) == 2
    expected = ["start", 0, 1, 2, "epoch 0", 3, 4, 5, "epoch 1"]
    assert first.seen == second.seen == expected


def test_the_scheduler_steps_once_per_epoch(problem):
    model, batches = problem
    optimizer = sgd(model, 1.0)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    train(model, squared, batches, epochs=3, optimizer=optimizer, scheduler=scheduler)
    assert scheduler.get_last_lr() == [0.125]


def test_modes_are_restored_module_by_module(problem):
    _, batches = problem
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    model.eval()
    model[2].train()
    modes = []

    class Evaluate(Hooks):
        def on_step(self, model, step):
            modes.append(model[1].training)

        def on_epoch(self, model, epoch):
            model.eval()

    train(model, squared, batches, epochs=2, optimizer=sgd(model, 0.01), hooks=[Evaluate()])
    assert all(modes)
    assert [m.training for m in model] == [False, False, True]


def test_a_loss_that_is_not_finite_leaves_the_last_good_epoch(problem):
    model, batches = problem
    good = []

    class Keep(Hooks):
        def on_epoch(self, model, epoch):
            good.append(copy_model(model))

    calls = iter(range(100))

    def loss(model, batch):
        # steps 0 to 2 are the first epoch; the second breaks at its second step
        return squared(model, batch) * (float("nan") if next(calls) == 4 else 1.0)

    with pytest.raises(NonFiniteLossError, match=r"loss is nan at step 4 \(epoch 1\).*learning"):
        train(model, loss, batches, epochs=5, optimizer=sgd(model), hooks=[Keep()])
    assert len(good) == 1
    assert torch.equal(model.weight, good[0].weight)
    assert torch.equal(model.bias, good[0].bias)
    assert model.training


def test_a_first_epoch_that_fails_leaves_the_start(problem):
    model, batches = problem
    before = copy_model(model)
    with pytest.raises(NonFiniteLossError, match="epoch 0"):
        train(model, squared, batches, epochs=5, optimizer=sgd(model, 1e30))
    assert torch.equal(model.weight, before.weight)


def test_weights_that_are_not_finite_are_found_at_the_end(problem):
    model, batches = problem
    before = copy_model(model)

    def loss(model, batch):
        # finite value, infinite gradient
        return squared(model, batch) + (model.bias - model.bias.detach()).abs().sqrt().sum()

    with pytest.raises(NonFiniteLossError, match=r"bias is not finite after step 0 \(epoch 0\)"):
        train(model, loss, batches[:1], epochs=1, optimizer=sgd(model))
    assert torch.equal(model.bias, before.bias)


def test_bad_input(problem):
    model, batches = problem
    with pytest.raises(ValueError, match="epochs=-1 must be at least 0"):
        train(model, squared, batches, epochs=-1, optimizer=sgd(model))
    with pytest.raises(ValueError, match="batches is empty; at least one"):
        train(model, squared, [], epochs=1, optimizer=sgd(model))
    with pytest.raises(ValueError, match=r"empty in epoch 1.*not a generator"):
        train(model, squared, iter(batches), epochs=2, optimizer=sgd(model))
    with pytest.raises(ValueError, match="at least 1 is needed"), threads(0):
        pass


def test_seed_and_threads_are_restored():
    state = torch.random.get_rng_state()
    with deterministic(3):
        first = torch.rand(4)
    with deterministic(3):
        assert torch.equal(torch.rand(4), first)
    assert torch.equal(torch.random.get_rng_state(), state)
    with threads(2):
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == 1


def test_copies_share_nothing(problem):
    model, batches = problem
    squared(model, batches[0]).backward()
    model.bias.requires_grad_(False)
    copied = copy_model(model.eval())
    assert copied.weight.grad is None
    assert model.weight.grad is not None
    assert not copied.bias.requires_grad
    assert not copied.training
    with torch.no_grad():
        copied.weight.zero_()
    assert model.weight.abs().sum() > 0
