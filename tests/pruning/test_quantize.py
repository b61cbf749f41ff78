"""Weights as int8 and as powers of two: what the codes stand for, exactly and optimally."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from hypothesis.extra.numpy import arrays  # noqa: E402
from torch import nn  # noqa: E402

from embcompress.pruning import (  # noqa: E402
    Block,
    BlockRow,
    Distillation,
    KernelPattern,
    LabelledBatches,
    LayerwiseReconstruction,
    Masks,
    OneShot,
    RandomInputs,
    Row,
    TaskLoss,
    Unstructured,
    power_of_two,
    quantize_int8,
)
from embcompress.pruning.levels import (  # noqa: E402
    best_scales,
    least_squares_scales,
    level_values,
    nearest_codes,
    power_levels,
)

torch.set_num_threads(1)

QUICK = {"rho": (1e-2, 1e-1), "epochs_per_rho": 2, "retrain_epochs": 1}


class Gated(nn.Module):
    def __init__(self, family=nn.GRU, **options):
        super().__init__()
        self.rnn = family(5, 6, 2, batch_first=True, **options)
        self.output = nn.Linear(options.get("proj_size", 6), 3)

    def forward(self, x):
        return self.output(self.rnn(x)[0].mean(1))


def mlp(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 3))


def convolutional(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(),
        nn.Conv2d(6, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 16, 3),
    )  # fmt: skip


def gated(seed=0):
    torch.manual_seed(seed)
    return Gated()


MODELS = {"mlp": (mlp, (12,)), "conv": (convolutional, (2, 6, 6)), "gru": (gated, (7, 5))}


def batches(shape, n=48):
    generator = torch.Generator().manual_seed(1)
    X = torch.randn(n, *shape, generator=generator)
    return LabelledBatches(X, torch.arange(n) % 3, batch_size=16)


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("scales", ["max", "output"])
def test_int8_is_near_and_keeps_zeros(kind, scales):
    make, shape = MODELS[kind]
    pruned = OneShot().solve(make(), Unstructured(sparsity=0.6))
    before = state(pruned.model)
    X = batches(shape).X
    weights = quantize_int8(pruned.model, pruned.masks, X, scales=scales)
    rounded = weights.apply(pruned.model)
    assert all(torch.equal(before[name], value) for name, value in state(pruned.model).items())
    for name, weight in weights.items():
        exact = pruned.model.get_parameter(name).detach()
        found = rounded.get_parameter(name).detach()
        assert weight.codes.dtype == np.int8
        assert weight.scales.dtype == weight.levels.dtype == np.float32
        assert weight.dequantize().dtype == np.float32
        assert bool((found[~pruned.masks[name]] == 0).all())
        assert not np.signbit(weight.dequantize()[weight.codes == 0]).any()
        assert weight.max_error == pytest.approx(float((found - exact).abs().max()), abs=1e-7)
        by_hand = weight.codes.reshape(len(exact), -1) * weight.scales[:, None]
        np.testing.assert_array_equal(by_hand, found.reshape(len(exact), -1).numpy())
        if scales == "max":
            largest = np.abs(weight.codes).reshape(len(exact), -1).max(axis=1)
            alive = pruned.masks[name].flatten(1).any(dim=1).numpy()
            np.testing.assert_array_equal(largest, np.where(alive, 127, 0))
            assert weight.max_error <= 0.5001 * weight.scales.max()
    assert weights.nbytes == sum(w.codes.size + 4 * len(w.scales) for w in weights.values())
    with torch.no_grad():
        distance = (rounded.eval()(X) - pruned.model.eval()(X)).abs().max()
    assert distance < 0.02


def test_scales_by_output_lose_less_at_the_output():
    torch.manual_seed(0)
    model = nn.Linear(40, 30)
    with torch.no_grad():
        model.weight[:, 0] *= 8  # one outlier in a feature that is almost never used
    X = torch.randn(400, 40) * torch.tensor([0.001] + [1.0] * 39)
    errors = {}
    for scales in ("max", "output"):
        rounded = quantize_int8(model, calibration=X, scales=scales).apply(model)
        errors[scales] = float((rounded(X) - model(X)).detach().square().mean())
    assert errors["output"] < 0.6 * errors["max"]


def test_activation_scales():
    X = batches((12,)).X
    model = mlp()
    full = quantize_int8(model, calibration=X)
    hidden = model[1](model[0](X)).detach()
    assert full["0.weight"].activation_scale == pytest.approx(float(X.abs().max()) / 127)
    assert full["2.weight"].activation_scale == pytest.approx(float(hidden.max()) / 127)
    part = quantize_int8(model, calibration=batches((12,)), percentile=90)
    wanted = np.quantile(X.abs().numpy(), 0.9) / 127
    assert part["0.weight"].activation_scale == pytest.approx(wanted, rel=0.03)
    assert part["0.weight"].codes.tobytes() == full["0.weight"].codes.tobytes()
    assert quantize_int8(model)["0.weight"].activation_scale is None


def test_states_of_recurrent_layers_lie_between_one_and_minus_one():
    X = batches((7, 5)).X
    weights = quantize_int8(gated(), calibration=X)
    of_inputs = weights["rnn.weight_ih_l0"].activation_scale
    assert of_inputs == pytest.approx(float(X.abs().max()) / 127)
    for name in ("rnn.weight_hh_l0", "rnn.weight_ih_l1", "rnn.weight_hh_l1"):
        assert weights[name].activation_scale == pytest.approx(1 / 127)


@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_projected_states_have_no_known_range():
    X = batches((7, 5)).X
    projected = quantize_int8(Gated(nn.LSTM, proj_size=4), calibration=X)
    assert projected["rnn.weight_ih_l0"].activation_scale is not None
    assert projected["rnn.weight_ih_l1"].activation_scale is None
    assert projected["rnn.weight_hh_l0"].activation_scale is None
    assert projected["rnn.weight_hr_l0"].activation_scale == pytest.approx(1 / 127)


def test_rows_of_zeros_and_names_of_arrays():
    model = nn.Linear(4, 3)
    masks = Masks({"weight": torch.tensor([[True] * 4, [False] * 4, [True] * 4])})
    tensors = quantize_int8(model, masks, torch.randn(5, 4)).to_tensors()
    assert {name: (value.dtype.name, value.shape) for name, value in tensors.items()} == {
        "weight.codes": ("int8", (3, 4)),
        "weight.scales": ("float32", (3,)),
        "weight.levels": ("float32", (128,)),
        "weight.activation_scale": ("float32", (1,)),
    }
    assert not tensors["weight.codes"][1].any()
    assert tensors["weight.scales"][1] == 1
    assert quantize_int8(nn.Sequential(model, nn.Linear(3, 2)), layers=["1"]).keys() == {"1.weight"}


def test_int8_refuses():
    model, X = mlp(), batches((12,)).X
    with pytest.raises(ValueError, match="percentile=0 must be"):
        quantize_int8(model, calibration=X, percentile=0)
    with pytest.raises(ValueError, match='use "max" or "output"'):
        quantize_int8(model, calibration=X, scales="best")
    with pytest.raises(ValueError, match="need a calibration"):
        quantize_int8(model, scales="output")
    with pytest.raises(ValueError, match=r"fails on inputs of shape \(5, 4\)"):
        quantize_int8(model, calibration=torch.randn(5, 4))
    with pytest.raises(ValueError, match="calibration is empty"):
        quantize_int8(model, calibration=X[:0])
    with pytest.raises(ValueError, match="not finite in the calibration"):
        quantize_int8(model, calibration=torch.full((5, 12), torch.nan))
    with pytest.raises(ValueError, match="no weight to quantize"):
        quantize_int8(nn.ReLU())
    with pytest.raises(ValueError, match="masks for another model"):
        quantize_int8(model, Masks({"weight": torch.ones(2, 2, dtype=torch.bool)}))
    with pytest.raises(ValueError, match=r"for another model: '0\.weight'"):
        quantize_int8(model).apply(nn.Sequential(nn.Linear(3, 3)))
    with torch.no_grad():
        model[0].weight[0, 0] = torch.inf
    with pytest.raises(ValueError, match=r"0\.weight holds weights that are not finite"):
        quantize_int8(model)


def test_levels():
    assert power_levels(1).tolist() == [1]
    assert power_levels(4).tolist() == [2.0**j for j in range(8)]
    for bits in (0, 6, 2.0, True):
        with pytest.raises(ValueError, match="from 1 to 5"):
            power_levels(bits)


small_weights = arrays(
    np.float64, st.integers(1, 5), elements=st.floats(-100, 100, allow_subnormal=False, width=32)
)


@given(small_weights, st.integers(1, 4), st.floats(0.01, 10))
def test_nearest_codes_against_all_levels(weights, bits, scale):
    rows = torch.from_numpy(weights)[None]
    kept = torch.arange(rows.shape[1])[None] % 4 != 3
    codes = nearest_codes(rows, kept, torch.tensor([scale], dtype=torch.float64), bits)
    assert not codes[~kept].any()
    found = (rows - level_values(codes) * scale).abs()[kept]
    levels = torch.cat([power_levels(bits), -power_levels(bits)]) * scale
    best = (rows[kept][:, None] - levels).abs().min(dim=1).values
    torch.testing.assert_close(found, best, atol=1e-9, rtol=1e-9)
    assert int(codes.abs().max()) <= 2 ** (bits - 1)
    assert bool((codes[kept] != 0).all())


@given(small_weights, st.integers(1, 3))
def test_scale_and_codes_together_against_all_codes(weights, bits):
    rows = torch.from_numpy(weights)[None]
    kept = torch.ones_like(rows, dtype=torch.bool)
    kept[:, 3:4] = False
    scales = best_scales(rows, kept, bits)
    codes = nearest_codes(rows, kept, scales, bits)
    found = float((rows - level_values(codes) * scales)[kept].square().sum())
    sizes = rows[kept].abs().numpy()
    choices = np.array(list(itertools.product(power_levels(bits).tolist(), repeat=len(sizes))))
    best_of_each = (choices @ sizes) / (choices**2).sum(axis=1)
    errors = ((sizes - best_of_each[:, None] * choices) ** 2).sum(axis=1)
    assert found == pytest.approx(errors.min(), rel=1e-9, abs=1e-9)


@given(small_weights)
def test_scale_of_given_codes_is_the_least_squares_solution(weights):
    rows = torch.from_numpy(weights)[None]
    codes = nearest_codes(rows, torch.ones_like(rows, dtype=torch.bool), torch.ones(1), 3)
    values = level_values(codes).numpy()[0]
    wanted = np.linalg.lstsq(values[:, None], weights, rcond=None)[0][0]
    assert float(least_squares_scales(rows, codes)) == pytest.approx(wanted, rel=1e-9, abs=1e-12)


def test_rows_have_their_own_scales():
    torch.manual_seed(0)
    rows, kept = torch.randn(6, 9), torch.rand(6, 9) > 0.4
    kept[2] = False
    together = best_scales(rows, kept, 3)
    alone = torch.cat([best_scales(rows[i : i + 1], kept[i : i + 1], 3) for i in range(6)])
    torch.testing.assert_close(together, alone)
    assert together[2] == 1


SCHEMES = {
    "mlp": [Unstructured(sparsity=0.7), Row(sparsity=0.5), Block((1, 4), sparsity=0.5)],
    "conv": [{"0": KernelPattern(n_patterns=4), "3": Unstructured(sparsity=0.5)}],
    "gru": [BlockRow(sparsity=0.5, n_blocks=2)],
}


@pytest.mark.parametrize(
    ("kind", "scheme"), [(kind, scheme) for kind, found in SCHEMES.items() for scheme in found]
)
@pytest.mark.parametrize("per_row", [False, True])
def test_powers_of_two_after_any_scheme(kind, scheme, per_row):
    make, shape = MODELS[kind]
    pruned = OneShot().solve(make(), scheme)
    before, data = state(pruned.model), batches(shape)
    found = power_of_two(
        pruned.model, TaskLoss(), data, pruned.masks, bits=3, per_row=per_row, **QUICK
    )
    assert all(torch.equal(before[name], value) for name, value in state(pruned.model).items())
    for name, weight in found.weights.items():
        live = found.model.get_parameter(name).detach().numpy()
        np.testing.assert_array_equal(weight.dequantize(), live)
        assert np.abs(weight.codes).max() <= 4
        assert weight.levels.tolist() == [0, 1, 2, 4, 8]
        if name in pruned.masks:
            np.testing.assert_array_equal(weight.codes != 0, pruned.masks[name].numpy())
        n_scales = len(set(weight.scales.tolist()))
        assert n_scales >= 3 if per_row else n_scales == (3 if "rnn" in name else 1)
    for name, mask in pruned.masks.items():  # also of biases of removed units
        assert not found.model.get_parameter(name)[~mask].any()
    assert [entry.get("rho") for entry in found.history] == [1e-2, 1e-2, 1e-1, 1e-1, None]
    assert 0 < found.residual < 0.2
    kept = sum(weight.n_nonzero for weight in found.weights.values())
    n_rows = sum(len(weight.scales) for weight in found.weights.values())
    assert abs(found.weights.nbytes_packed - (kept * 3 / 8 + 4 * n_rows)) < len(found.weights)


@pytest.mark.parametrize("update", ["exact", "alternating"])
def test_powers_of_two_without_labels_repeat(update):
    data = RandomInputs(12, "gaussian", n_batches=4, batch_size=16)
    runs = [
        power_of_two(mlp(), Distillation(), data, bits=4, update=update, **QUICK) for _ in range(2)
    ]
    first, second = (run.weights.to_tensors() for run in runs)
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_powers_of_two_layer_by_layer():
    found = power_of_two(mlp(), LayerwiseReconstruction(), batches((12,)), bits=4, **QUICK)
    assert {entry["stage"] for entry in found.history} == {"0", "2"}
    for name, values in found.weights.dequantize().items():
        np.testing.assert_array_equal(values, found.model.get_parameter(name).detach().numpy())


def test_training_finds_better_levels_than_rounding():
    torch.manual_seed(0)
    X = torch.randn(400, 12)
    y = (X[:, 0] > 0).long() + (X[:, 1] * X[:, 2] > 0).long()
    data = LabelledBatches(X, y, batch_size=32)
    from embcompress.pruning import finetune

    model = finetune(mlp(), Masks({}), TaskLoss(), data, epochs=15, learning_rate=1e-2)
    options = {"epochs_per_rho": 1, "retrain_epochs": 0, "learning_rate": 1e-9}
    rounded = power_of_two(model, TaskLoss(), data, bits=2, rho=(1e-4,), **options)
    trained = power_of_two(model, TaskLoss(), data, bits=2, learning_rate=5e-3)
    assert trained.residual < 0.6 * rounded.residual

    def loss(found):
        return float(nn.functional.cross_entropy(found.model(X), y).detach())

    assert loss(trained) < 0.9 * loss(rounded)


def test_powers_of_two_refuse():
    model, data = mlp(), batches((12,))
    with pytest.raises(ValueError, match="bits=9 must be"):
        power_of_two(model, TaskLoss(), data, bits=9)
    with pytest.raises(ValueError, match=r"rho=\(\) must hold"):
        power_of_two(model, TaskLoss(), data, rho=())
    with pytest.raises(ValueError, match='use "exact" or "alternating"'):
        power_of_two(model, TaskLoss(), data, update="quick")
    with pytest.raises(ValueError, match="masks for another model"):
        power_of_two(model, TaskLoss(), data, Masks({"x": torch.ones(2, dtype=torch.bool)}))
    with pytest.raises(ValueError, match="fails on inputs"):
        power_of_two(model, TaskLoss(), batches((5,)))
    with pytest.raises(ValueError, match="epochs=0"):
        power_of_two(model, TaskLoss(), data, epochs_per_rho=0)
