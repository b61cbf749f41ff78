"""Layers and forward functions give what PyTorch gives."""

from __future__ import annotations

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lowering_cases import Call, check, kinds, names  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from embcompress.lowering import lower  # noqa: E402
from embcompress.runtime.reference import evaluate  # noqa: E402

# -- layers alone ----------------------------------------------------------------------------------

ALONE = [
    (nn.Linear(5, 3), (5,), "Linear"),
    (nn.Linear(5, 3, bias=False), (5,), "Linear"),
    (nn.BatchNorm1d(5), (5,), "Affine"),
    (nn.BatchNorm1d(5, affine=False), (5,), "Affine"),
    (nn.BatchNorm2d(3), (3, 4, 5), "Affine"),
    (nn.ReLU(), (5,), "Activation"),
    (nn.ReLU(inplace=True), (3, 4, 4), "Activation"),
    (nn.GELU(), (5,), "Activation"),
    (nn.Tanh(), (5,), "Activation"),
    (nn.SiLU(), (5,), "Activation"),
    (nn.Sigmoid(), (5,), "Activation"),
    (nn.Identity(), (5,), "Activation"),
    (nn.Dropout(0.5), (5,), "Activation"),
    (nn.Conv2d(3, 4, 3), (3, 6, 5), "Conv2d"),
    (nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False), (3, 6, 5), "Conv2d"),
    (nn.Conv2d(3, 4, 5, padding="same"), (3, 6, 5), "Conv2d"),
    (nn.Conv2d(3, 4, 1, padding="valid"), (3, 6, 5), "Conv2d"),
    (nn.MaxPool2d(2), (3, 6, 5), "MaxPool2d"),
    (nn.MaxPool2d(3, stride=2), (3, 6, 5), "MaxPool2d"),
    (nn.MaxPool2d(3, 2, padding=1), (3, 6, 5), "MaxPool2d"),
    (nn.AvgPool2d((2, 2)), (3, 6, 5), "AveragePool2d"),
    (nn.AvgPool2d(3, 1, padding=1), (3, 6, 5), "AveragePool2d"),
    (nn.Flatten(), (3, 6, 5), "Flatten"),
    (nn.AdaptiveAvgPool2d(1), (3, 6, 5), "GlobalAverage"),
    (nn.AdaptiveAvgPool2d((1, 1)), (3, 6, 5), "GlobalAverage"),
]


@pytest.mark.parametrize(("module", "shape", "record"), ALONE, ids=lambda part: repr(part)[:40])
def test_a_layer_alone(module, shape, record):
    graph = check(module, shape)
    assert kinds(graph) == [record]
    assert graph.kind == ("maps" if len(shape) == 3 else "rows")
    assert graph.classes is None
    named = nn.Sequential()
    named.add_module("part", copy.deepcopy(module))
    # what does nothing has no node
    nothing = isinstance(module, (nn.Identity, nn.Dropout))
    assert names(check(named, shape)) == ["output" if nothing else "part"]


@pytest.mark.parametrize("both", [False, True], ids=["one way", "both ways"])
@pytest.mark.parametrize("n_layers", [1, 2, 3])
@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
def test_recurrent_layers(kind, n_layers, both):
    for bias in (True, False):
        module = kind(
            4, 3, n_layers, batch_first=True, bidirectional=both, bias=bias,
            dropout=0.5 if n_layers > 1 else 0,
        )  # fmt: skip
        graph = check(module, (4,), 6)
        assert graph.kind == "frames"
        base = kind.__name__.lower()
        ways = ("", ".reverse") if both else ("",)
        expected = [f"{base}.l{i}{way}" for i in range(n_layers) for way in ways]
        assert names(graph) == expected + ([f"{base}.both"] if both else [])
    inside = check(Call(lambda self, x: self.rnn(x)[0], rnn=module), (4,), 6)
    assert names(inside)[0] == "rnn.l0"


@pytest.mark.parametrize(("kind", "n_states"), [(nn.GRUCell, 1), (nn.LSTMCell, 2)])
@pytest.mark.parametrize("bias", [True, False])
def test_cells(kind, n_states, bias):
    module = kind(4, 3, bias=bias)
    graph = lower(module)
    assert (graph.kind, graph.shape, graph.nodes[0].inputs) == ("rows", (4,), ("input", "state"))
    x, states = torch.randn(5, 4), [torch.randn(5, 3) for _ in range(n_states)]
    with torch.no_grad():
        expected = module(x, states[0]) if n_states == 1 else torch.cat(module(x, states), dim=1)
    found = evaluate(graph, x, torch.cat(states, dim=1))[kind.__name__.lower()]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_subclasses_without_a_forward_pass_of_their_own_are_layers():
    class Mine(nn.Linear):
        pass

    class Other(nn.Linear):
        def forward(self, x):
            return super().forward(x) + 1

    assert names(check(nn.Sequential(Mine(4, 3)), (4,))) == ["0"]
    assert kinds(check(Other(4, 3), (4,))) == ["Linear", "Affine"]


# -- forward functions -----------------------------------------------------------------------------

OF_ROWS = {
    "activations": lambda m, x: F.relu(torch.tanh(F.silu(F.gelu(x).sigmoid()) + x)),
    "in place": lambda m, x: [y := m.layer(x), y.relu_(), y][-1],
    "in place, read again": lambda m, x: [y := m.layer(x), m.relu(y) + y][-1],
    "constants": lambda m, x: (2 - x) * m.gamma / 4 - 1 + torch.ones(5),
    "constants of parameters": lambda m, x: torch.exp(m.gamma) * x,
    "negative": lambda m, x: -x + 1 * x,
    "dropout": lambda m, x: F.dropout(m.layer(x), 0.5, training=m.training),
    "by shape": lambda m, x: m.layer(x) if x.shape[1] == 5 and x.dim() == 2 else x,
    "by type": lambda m, x: m.layer(x.float() / 255 if x.dtype == torch.uint8 else x),
    "view": lambda m, x: m.layer(x.view(x.size(0), -1).contiguous()),
    "flatten": lambda m, x: m.layer(torch.flatten(x, 1)),
    "sizes": lambda m, x: [sizes := [*x.shape], m.layer(x.view(*sizes)) * len(sizes)][-1],
    "twice": lambda m, x: m.layer(m.layer(x)),
    "dead": lambda m, x: [x * x, m.layer(x)][-1],
    "linear": lambda m, x: F.linear(x, m.layer.weight, m.layer.bias),
    "sum with itself": lambda m, x: x + x,
}  # fmt: skip


@pytest.mark.parametrize("name", OF_ROWS)
def test_forward_functions_of_rows(name):
    module = Call(OF_ROWS[name], layer=nn.Linear(5, 5), relu=nn.ReLU(inplace=True))
    module.gamma = nn.Parameter(torch.randn(5))
    graph = check(module, (5,))
    if name == "twice":
        assert names(graph) == ["layer", "layer_1"]
    if name == "constants":
        assert kinds(graph) == ["Affine"]
    if name == "dead":
        assert kinds(graph) == ["Linear"]


OF_MAPS = {
    "mean": lambda m, x: m.conv(x).mean((2, 3)),
    "mean of last axes": lambda m, x: torch.mean(x, dim=[-2, -1]),
    "mean, kept axes": lambda m, x: m.out(x.mean((2, 3), keepdim=True).flatten(1)),
    "flatten of places": lambda m, x: m.wide(F.max_pool2d(m.conv(x), 3).flatten(1)),
    "reshape": lambda m, x: m.wide(F.max_pool2d(m.conv(x), 3).reshape(len(x), -1)),
    "flatten": lambda m, x: m.out(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1)),
    "squeeze": lambda m, x: m.out(F.adaptive_avg_pool2d(x, (1, 1)).squeeze(-1).squeeze(-1)),
    "view": lambda m, x: m.out(F.adaptive_avg_pool2d(x, 1).view(x.shape[0], -1)),
    "index": lambda m, x: m.out(F.adaptive_avg_pool2d(x, 1)[:, :, 0, 0]),
    "average of all": lambda m, x: m.out(F.avg_pool2d(x, x.shape[-1]).flatten(1)),
    "pooling": lambda m, x: F.avg_pool2d(F.max_pool2d(x, 2, stride=1), 2),
    "places": lambda m, x: x[:, :, ::2, ::2],
    "places by ellipsis": lambda m, x: x[..., ::3, ::3],
    "channels": lambda m, x: F.pad(x, (0, 0, 0, 0, 1, 2)),
    "both": lambda m, x: F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2)),
    "places, read twice": lambda m, x: [
        y := x[:, :, ::2, ::2], F.pad(y, (0, 0, 0, 0, 1, 0)) + F.pad(y.relu(), [0] * 4 + [0, 1])
    ][-1],
    "sum": lambda m, x: m.conv(x) + x,
    "normalized": lambda m, x: m.conv((x - m.mean) / m.std),
    "after pooling": lambda m, x: m.out(F.adaptive_avg_pool2d(x, 1).sub(m.mean).flatten(1)),
}  # fmt: skip


@pytest.mark.parametrize("name", OF_MAPS)
def test_forward_functions_of_maps(name):
    module = Call(
        OF_MAPS[name],
        conv=nn.Conv2d(3, 3, 3, padding=1),
        out=nn.Linear(3, 2),
        wide=nn.Linear(12, 4),
    )
    module.register_buffer("mean", torch.randn(1, 3, 1, 1))
    module.std = torch.rand(3, 1, 1) + 0.5
    graph = check(module, (3, 6, 6))
    if name == "both":
        assert names(graph) == ["pad"]
    if name == "normalized":
        assert kinds(graph) == ["Affine", "Conv2d"]


OF_FRAMES = {
    "states": lambda m, x: m.out(m.gru(x)[0]),
    "last frame": lambda m, x: m.out(m.gru(x)[0][:, -1]),
    "last frame, both ways": lambda m, x: m.two(m.both(x)[0][:, -1, :]),
    "first frame": lambda m, x: m.two(m.both(x)[0][:, 0]),
    "last state": lambda m, x: m.out(m.gru(x)[1][-1]),
    "state of the first layer": lambda m, x: m.out(m.gru(x)[1][0]),
    "last states, both ways": lambda m, x: [
        h := m.both(x)[1], m.two(torch.cat([h[-2], h[-1]], dim=1))
    ][-1],
    "squeezed": lambda m, x: m.out(m.single(x)[1][0].squeeze(0)),
    "lstm": lambda m, x: m.out(m.single(x)[1][0][-1]),
    "mean": lambda m, x: m.two(m.both(x)[0].mean(dim=1)),
    "before": lambda m, x: m.gru(m.before(x).relu())[0].mean(1),
    "activation": lambda m, x: m.both(x)[0].tanh() + m.both(x)[0],
}  # fmt: skip


def unpacked(module, x):
    states, (_, _) = module.single(x)
    return module.out(states) + module.out(states)


OF_FRAMES["unpacked"] = unpacked


@pytest.mark.parametrize("name", OF_FRAMES)
def test_forward_functions_of_frames(name):
    options = {"batch_first": True}
    module = Call(
        OF_FRAMES[name],
        gru=nn.GRU(4, 3, 2, **options),
        both=nn.GRU(4, 3, 2, bidirectional=True, **options),
        single=nn.LSTM(4, 3, **options),
        out=nn.Linear(3, 2),
        two=nn.Linear(6, 2),
        before=nn.Linear(4, 4),
    )
    check(module, (4,), 5)


def test_parameters_of_the_forward_function_that_have_defaults():
    class Options(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, x, mask=None, *more, scale=1.0, **others):
            return self.layer(x if mask is None else x * mask) * scale

    check(Options(), (4,))
