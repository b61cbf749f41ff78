"""Which scheme a weight gets, and at what rate."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from small_models import batches, convolutional, gru, mlp  # noqa: E402
from torch import nn  # noqa: E402

from embcompress.pruning import (  # noqa: E402
    NM,
    BlockRow,
    Filter,
    KernelPattern,
    OneShot,
    TaskLoss,
    Unstructured,
    auto_rates,
    macs,
    prunable_weights,
)
from embcompress.pruning.rates import sparsity_of_rate  # noqa: E402


def solve(model, scheme, **keywords):
    return OneShot().solve(model, scheme, **keywords)


def test_rates_replace_the_sparsity():
    result = solve(mlp(), Unstructured(0.5), rates=4)
    assert result.rate == pytest.approx(4, rel=0.02)
    assert solve(mlp(), Unstructured(0.5)).rate == pytest.approx(2, rel=0.02)
    uniform = solve(mlp(), Unstructured(0.5), rates="uniform", target_rate=4)
    assert uniform.masks == result.masks
    by_name = solve(mlp(), Unstructured(0.5), rates={"0": 8, "*": 2}).masks.per_layer()
    assert by_name["0.weight"]["rate"] == 8
    assert by_name["2.weight"]["rate"] == 2


def test_schemes_by_name():
    table = {"rnn.weight_ih*[r]": Unstructured(0.9), "rnn": BlockRow(0.5, n_blocks=2)}
    result = solve(gru(), table)
    assert set(result.masks) == {"rnn.weight_ih_l0", "rnn.weight_hh_l0"}
    assert isinstance(result.schemes["rnn.weight_ih_l0[r]"], Unstructured)
    assert isinstance(result.schemes["rnn.weight_ih_l0[z]"], BlockRow)
    assert result.masks["rnn.weight_ih_l0"][:9].sum() == 5


@pytest.mark.parametrize("scheme", [Unstructured(0.5), BlockRow(0.5, n_blocks=2), Filter(0.5)])
def test_automatic_rates_meet_the_budget(scheme):
    model = nn.Sequential(nn.Linear(40, 60), nn.ReLU(), nn.Linear(60, 40), nn.ReLU())
    plan = dict.fromkeys(prunable_weights(model), scheme)
    rates = auto_rates(model, plan, target_rate=4)
    kept = sum(view.numel / rate for view, rate in rates.items())
    total = sum(view.numel for view in plan)
    largest_group = {Unstructured: 1, BlockRow: 30, Filter: 60}[type(scheme)]
    assert 0 <= total / 4 - kept <= largest_group
    result = solve(model, scheme, rates="auto", target_rate=4)
    assert result.rate == pytest.approx(4, rel=0.05)


def test_automatic_rates_spare_what_matters():
    model = nn.Sequential(nn.Linear(50, 50), nn.Linear(50, 50))
    with torch.no_grad():
        # the energy of the second layer sits in few weights: the rest costs nothing
        model[1].weight[5:] *= 1e-3
        model[0].weight.fill_(1.0)
    first, second = auto_rates(
        model, dict.fromkeys(prunable_weights(model), Unstructured(0.5)), target_rate=1.8
    ).values()
    assert first < 1.01
    assert second > 5


def test_budget_of_operations():
    model, data = convolutional(), batches("conv")
    inputs = next(iter(data))[0]
    dense = macs(model, inputs)
    target = sum(dense.values()) / 3
    result = OneShot().solve(
        model, Unstructured(0.5), TaskLoss(), data, rates="auto", target_macs=target
    )
    counts = {name: dense[name] / layer["rate"] for name, layer in result.masks.per_layer().items()}
    assert 0.97 * target <= sum(counts.values()) <= 1.01 * target


def test_range_of_rates():
    assert sparsity_of_rate(1) == 0
    for rate in (0.5, 0, -1, float("inf"), float("nan")):
        with pytest.raises(ValueError, match=r"must be finite and at least 1.*1 / \(1 - s\)"):
            solve(mlp(), Unstructured(0.5), rates=rate)
    with pytest.raises(TypeError, match="must be a number, not str"):
        solve(mlp(), Unstructured(0.5), rates={"*": "4"})


@pytest.mark.parametrize(
    ("scheme", "keywords", "message"),
    [
        (Unstructured(0.5), {"rates": "auto"}, "either target_rate or target_macs"),
        (Unstructured(0.5), {"rates": "uniform"}, "needs target_rate"),
        (Unstructured(0.5), {"rates": "best"}, "neither a number"),
        (Unstructured(0.5), {"target_rate": 2}, 'go with rates="auto"'),
        (Unstructured(0.5), {"rates": {"7": 2}}, "no prunable weight is called '7'"),
        (Unstructured(0.5), {"rates": "auto", "target_macs": 10}, "target_macs needs data"),
        (KernelPattern(), {}, r"0\.weight: KernelPattern does not fit linear.*leave it out"),
        ({"0": Unstructured(0.5), "9": NM(1, 2)}, {}, "no prunable weight is called '9'"),
    ],
)
def test_refusals(scheme, keywords, message):
    with pytest.raises(ValueError, match=message):
        solve(mlp(), scheme, **keywords)


def test_more_refusals():
    with pytest.raises(ValueError, match="KernelPattern has a fixed sparsity"):
        solve(convolutional(), KernelPattern(), layers=["0", "3"], rates=4)
    with pytest.raises(TypeError, match="a scheme is needed, such as Unstructured"):
        solve(mlp(), {"*": 0.9})
    with pytest.raises(ValueError, match="no prunable weight: no Linear"):
        solve(nn.ReLU(), Unstructured(0.5))
    with pytest.raises(ValueError, match="must be above 0 and at most the"):
        OneShot().solve(
            mlp(), Unstructured(0.5), data=batches("linear"), rates="auto", target_macs=1e9
        )
