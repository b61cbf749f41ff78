"""Graphs of networks give what PyTorch gives."""

from __future__ import annotations

import copy
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from embcompress.heads import ConvHead, GRUHead, LinearHead, MLPHead, pad  # noqa: E402
from embcompress.lowering import lower  # noqa: E402
from embcompress.pruning import Masks, OneShot, Unstructured  # noqa: E402
from embcompress.runtime import compile  # noqa: E402
from embcompress.runtime import records as rt  # noqa: E402
from embcompress.runtime.passes import simplify  # noqa: E402
from embcompress.runtime.reference import evaluate  # noqa: E402


@pytest.fixture(autouse=True)
def one_thread():
    from embcompress.training import threads

    with threads(1):
        torch.manual_seed(0)
        yield


class Call(nn.Module):
    """Any function as a forward pass; may use the modules that it is given."""

    def __init__(self, function, **modules):
        super().__init__()
        self.function = function
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, x):
        return self.function(self, x)


def settled(module: nn.Module) -> nn.Module:
    """Batch normalization as after a training."""
    for part in module.modules():
        if isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d)):
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2)
            if part.affine:
                part.weight.data.uniform_(0.5, 2)
                part.bias.data.normal_()
    return module


def check(module: nn.Module, shape: tuple[int, ...], n_frames: int = 0, **options) -> rt.Graph:
    """Lower a module, compare it, and return the graph."""
    settled(module).train()
    state = {name: part.clone() for name, part in module.state_dict().items()}
    attributes = {id(part): set(vars(part)) for part in module.modules()}
    graph = lower(module, input_shape=shape, **options)
    assert all(part.training for part in module.modules())
    assert all(torch.equal(part, state[name]) for name, part in module.state_dict().items())
    assert {id(part): set(vars(part)) for part in module.modules()} == attributes
    module.eval()
    time = (n_frames,) if n_frames else ()
    x = torch.randn(5, *time, *shape)
    with torch.no_grad():
        found = module(x.clone())
    expected = (found[0] if isinstance(found, tuple) else found).numpy()
    values = evaluate(graph, x.numpy())
    output = values[graph.nodes[-1].name]
    np.testing.assert_allclose(output, expected.reshape(output.shape), rtol=1e-5, atol=1e-5)
    smaller = simplify(graph)
    found = evaluate(smaller, x.numpy())[smaller.nodes[-1].name]
    np.testing.assert_allclose(found, output, rtol=1e-5, atol=1e-5)
    return graph


def names(graph: rt.Graph) -> list[str]:
    return [node.name for node in graph.nodes]


def kinds(graph: rt.Graph) -> list[str]:
    return [type(node.record).__name__ for node in graph.nodes]


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
    (nn.AvgPool2d((2, 2)), (3, 6, 5), "AveragePool2d"),
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
    expected = "output" if isinstance(module, (nn.Identity, nn.Dropout)) else "part"
    assert names(check(named, shape)) == [expected]


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
    module = Call(OF_MAPS[name], conv=nn.Conv2d(3, 3, 3, padding=1), out=nn.Linear(3, 2))
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


# -- networks --------------------------------------------------------------------------------------


def test_residual_network_of_the_benchmarks(monkeypatch):
    benchmarks = Path(__file__).parent.parent / "benchmarks"
    monkeypatch.setattr(sys, "path", [str(benchmarks), *sys.path])
    models = pytest.importorskip("_pruning_models")
    graph = check(models.ResNet20(), (3, 32, 32))
    assert kinds(graph).count("Add") == 9
    assert kinds(graph).count("Conv2d") == 19 + 2
    first, pad = graph.nodes[0].record, next(n for n in graph.nodes if n.name == "pad").record
    np.testing.assert_allclose(first.mean, models.MEAN, rtol=1e-6)
    np.testing.assert_allclose(first.scale, 1 / np.array(models.STD), rtol=1e-6)
    assert (pad.stride, pad.weight.shape, pad.weight.n_kept) == (2, (32, 16, 1, 1), 16)
    assert {"layer1.0.conv1", "layer3.2.bn2", "linear"} <= set(names(graph))


RNG = np.random.default_rng(0)
Y = np.arange(48) % 3
ROWS = RNG.normal(size=(48, 7)) + 3
FRAMES = [RNG.normal(size=(2 + i % 5, 4)).astype(np.float32) * 2 + 5 for i in range(48)]
MAPS = RNG.normal(size=(48, 2, 9, 8)).astype(np.float32) + 1
FAST = {"max_epochs": 2, "random_state": 0}
HEADS = [
    (LinearHead(**FAST), ROWS, "rows"),
    (LinearHead(standardize=False, **FAST), ROWS, "rows"),
    (LinearHead(packed_bits=19, **FAST), RNG.integers(0, 256, (48, 3), np.uint8) & 0xE0, "codes"),
    *[(MLPHead((9, 6), activation=a, **FAST), ROWS, "rows") for a in ("relu", "gelu", "silu")],
    (MLPHead((9,), dropout=0.3, activation="tanh", **FAST), ROWS, "rows"),
    *[
        (GRUHead(5, n_layers=n, bidirectional=both, pooling=pooling, **FAST), FRAMES, "frames")
        for n in (1, 2, 3)
        for both in (False, True)
        for pooling in ("mean", "last")
    ],
    (ConvHead((4, 6, 5), **FAST), MAPS, "maps"),
    (ConvHead((4,), dropout=0.2, **FAST), MAPS, "maps"),
]


def logits(head, X) -> np.ndarray:
    with torch.no_grad():
        return head.module_(head.inputs(X)).numpy()


@pytest.mark.parametrize(("head", "X", "kind"), HEADS, ids=lambda part: repr(part)[:60])
def test_heads(head, X, kind):
    head.fit(X, np.array(list("abc"))[Y])
    graph = head.layer_graph()
    assert (graph.kind, graph.shape) == (kind, head.input_shape_)
    np.testing.assert_array_equal(graph.classes, ["a", "b", "c"])
    assert (graph.nodes[0].name == "standardize") == (head.mean_ is not None)
    x = pad(X) if isinstance(X, list) else X
    found = evaluate(graph, x)[graph.nodes[-1].name]
    np.testing.assert_allclose(found, logits(head, X), rtol=1e-5, atol=1e-5)
    pruned = head.prune(Unstructured(0.5), X, np.array(list("abc"))[Y], solver=OneShot(),
                        finetune_epochs=1)  # fmt: skip
    graph = pruned.layer_graph()
    found = evaluate(graph, x)[graph.nodes[-1].name]
    np.testing.assert_allclose(found, logits(pruned, X), rtol=1e-5, atol=1e-5)
    kept = sum(weight.n_kept for weight in graph.weights().values())
    assert kept == pruned.masks_.n_kept
    if kind != "maps":
        for trained in (head, pruned):
            program = compile(trained)
            np.testing.assert_allclose(program(x), logits(trained, X), rtol=1e-4, atol=2e-5)
            np.testing.assert_array_equal(program.predict(x), trained.predict(X))
    first = next(iter(pruned.masks_))
    other = {first: torch.ones_like(pruned.masks_[first])}
    again = pruned.layer_graph(other).weights()
    assert next(iter(again.values())).kept.all()


def test_an_offset_far_larger_than_the_spread():
    X = (ROWS + 3e5).astype(np.float32)
    head = MLPHead((8,), **FAST).fit(X, Y)
    values = evaluate(head.layer_graph(), X, dtype=np.float32)
    np.testing.assert_allclose(values["standardize"], head.inputs(X), atol=1e-5)


# -- masks -----------------------------------------------------------------------------------------


def test_masks_say_what_is_kept_whatever_the_weights_are():
    module = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2, bias=False))
    kept = torch.rand(3, 4) < 0.5
    kept[0] = True
    module[0].weight.data[0, 0] = 0
    vector = torch.tensor([True, False, True])
    masks = Masks({"0.weight": kept, "0.bias": vector, "1.weight": vector, "1.bias": vector})
    for given in (masks, {name: mask.numpy() for name, mask in masks.items()}):
        graph = lower(module, masks=given)
        weight = graph.weights()["0"]
        np.testing.assert_array_equal(weight.kept, kept)
        assert (weight.values[~kept.numpy()] == 0).all()
        assert [graph.nodes[0].record.bias[1], graph.nodes[1].record.scale[1]] == [0, 0]
    assert module[0].bias[1] != 0
    assert lower(module).weights()["0"].n_kept == 11


def test_masks_of_recurrent_layers_and_of_shared_parameters():
    gru = nn.GRU(4, 3, batch_first=True, bidirectional=True)
    mask = torch.rand(9, 3) < 0.5
    graph = lower(gru, masks={"weight_hh_l0_reverse": mask})
    weights = graph.weights()
    np.testing.assert_array_equal(weights["gru.l0.reverse.weight_state"].kept, mask)
    assert weights["gru.l0.weight_state"].kept.all()
    shared = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    shared[1].weight = shared[0].weight
    mask = torch.rand(4, 4) < 0.5
    for name in ("0.weight", "1.weight"):
        found = lower(shared, masks={name: mask}).weights()
        np.testing.assert_array_equal(found["0"].kept, mask)
        np.testing.assert_array_equal(found["1"].kept, mask)


def test_masks_that_do_not_fit():
    module = nn.Sequential(nn.Linear(4, 3))
    with pytest.raises(ValueError, match="masks for another model: the model has no parameter 'w'"):
        lower(module, masks={"w": torch.ones(3, 4, dtype=torch.bool)})
    with pytest.raises(ValueError, match=r"'0.weight' has shape \(3, 4\), its mask \(4, 3\)"):
        lower(module, masks={"0.weight": np.ones((4, 3), bool)})
    with pytest.raises(TypeError, match=r"mask '0.weight' is float32; booleans are needed"):
        lower(module, masks={"0.weight": torch.ones(3, 4)})


# -- what is refused -------------------------------------------------------------------------------

REFUSED = [
    (nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)), (4,), r"layer '1' \(LayerNorm.*supported "),
    (nn.LayerNorm(4), (4,), r"LayerNorm\(\(4,\).* cannot be compiled; supported are Linear, Conv"),
    (nn.Sequential(nn.GELU("tanh")), (4,), r"GELU\(approximate='tanh'\)\) cannot"),
    (nn.Conv2d(4, 4, 3, groups=2), (4, 5, 5), "is not square or has groups, dilation"),
    (nn.Conv2d(4, 4, (3, 1)), (4, 5, 5), "is not square"),
    (nn.Conv2d(4, 4, 3, dilation=2), (4, 5, 5), "dilation"),
    (nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"), (4, 5, 5), "a padding that is not"),
    (nn.BatchNorm1d(4, track_running_stats=False), (4,), "without statistics of its own"),
    (nn.MaxPool2d(3, 2, padding=1), (4, 5, 5), "padding=1"),
    (nn.MaxPool2d(2, ceil_mode=True), (4, 5, 5), "ceil_mode=True"),
    (nn.AdaptiveAvgPool2d(2), (4, 5, 5), r"AdaptiveAvgPool2d\(output_size=2\) on maps of 4 x 5"),
    (nn.Flatten(), (4, 5, 5), "flattening maps of 4 x 5 x 5 .*, which are not pooled to 1 x 1"),
    (nn.Linear(5, 2), (4, 5, 5), r"Linear.* on maps of 4 x 5 x 5"),
    (nn.GRU(4, 3), (4,), "without batch_first=True"),
    (nn.LSTM(4, 3, proj_size=2, batch_first=True), (4,), "projects its states"),
    (Call(lambda m, x: x * x), (4,), "the product 'mul' of two values"),
    (Call(lambda m, x: x - x), (4,), "the difference 'sub' of two values"),
    (Call(lambda m, x: 1 / x), (4,), "the quotient 'truediv'"),
    (Call(lambda m, x: torch.softmax(x, 1)), (4,), r"the call softmax\(\) \('softmax'\)"),
    (Call(lambda m, x: x.softmax(1)), (4,), r"the call softmax\(\) \('softmax'\)"),
    (Call(lambda m, x: F.dropout(x)), (4,), "dropout that is random in evaluation"),
    (Call(lambda m, x: x.mean()), (4,), r"mean\(dim=None"),
    (Call(lambda m, x: x[:, 1:]), (4,), "indexing rows of 4 by"),
    (Call(lambda m, x: x.reshape(-1, 2)), (4,), "would be expected"),
    (Call(lambda m, x: x.T), (4,), "getattr"),
    (Call(lambda m, x: x + torch.ones(2, 4)), (4,), r"arithmetic 'add' of rows of 4 with Tensor"),
    (Call(lambda m, x: torch.add(x, x, alpha=2)), (4,), r"add\(alpha=2\)"),
    (Call(lambda m, x: torch.cat([x, x], 1)), (4,), r"cat\(\) \('cat'\), except of"),
    (Call(lambda m, x: F.pad(x, (1, 1, 1, 1))), (4, 5, 5), r"pad\(\(1, 1, 1, 1\)"),
    (Call(lambda m, x: x[:, :, ::2]), (4, 5, 5), "indexing maps"),
    (Call(lambda m, x: x if x.sum() > 0 else -x), (4,), "depends on the numbers that it gets"),
    (Call(lambda m, x: sum(x)), (4,), "it runs through the rows of a tensor"),
    (Call(lambda m, x: x @ torch.ones(3, 3)), (4,), r"cannot be followed on inputs of .*\(2, 4\)"),
    (Call(lambda m, x: (x, x)), (4,), "gives tuple; one tensor is needed"),
]  # fmt: skip


@pytest.mark.parametrize(("module", "shape", "message"), REFUSED, ids=lambda part: repr(part)[:40])
def test_what_is_not_supported_is_named(module, shape, message):
    if isinstance(module, nn.Module):
        module.train()
    with pytest.raises(ValueError, match=message):
        lower(module, input_shape=shape)
    assert module.training


def test_one_direction_alone_and_cells_of_an_lstm():
    both = nn.LSTM(4, 3, batch_first=True, bidirectional=True)
    for function in (
        lambda m, x: m.rnn(x)[1][0][-1],
        lambda m, x: m.rnn(x)[1][1][-1],
        lambda m, x: [h := m.rnn(x)[1][0], torch.cat([h[-1], h[-2]], 1)][-1],
        lambda m, x: m.rnn(x, (torch.ones(2, 2, 3), torch.ones(2, 2, 3)))[0],
    ):
        with pytest.raises(ValueError, match="supported are Linear"):
            lower(Call(function, rnn=both))


def test_inputs_that_cannot_be_known_or_are_wrong():
    conv = nn.Sequential(nn.Conv2d(3, 4, 3))
    with pytest.raises(ValueError, match=r"input_shape=\(channels, height, width\) is needed"):
        lower(conv)
    with pytest.raises(ValueError, match=r"input_shape=\(features,\) is needed"):
        lower(nn.Sequential(nn.ReLU()))
    with pytest.raises(ValueError, match=r"input_shape=\(3, 4\) for kind='maps'"):
        lower(conv, input_shape=(3, 4))
    with pytest.raises(ValueError, match="kind='images' is unknown; there are rows, codes"):
        lower(conv, kind="images")
    with pytest.raises(ValueError, match="gets rows of 3, but takes 4"):
        lower(nn.Linear(4, 2), input_shape=(3,))
    with pytest.raises(ValueError, match="cannot be followed on inputs of shape"):
        lower(nn.Sequential(nn.Linear(4, 2)), input_shape=(3,))
    with pytest.raises(TypeError, match=r"int is no torch.nn.Module"):
        lower(3)
    broken = nn.Linear(2, 2)
    broken.weight.data[0, 0] = np.nan
    with pytest.raises(ValueError, match="weights hold NaN or infinite numbers"):
        lower(broken)


def test_models_in_double_precision_and_codes():
    module = nn.Sequential(nn.Linear(12, 3), nn.Tanh()).double()
    graph = lower(module, kind="codes")
    assert (graph.kind, graph.shape) == ("codes", (12,))
    codes = np.array([[0b10110011, 0b01010000]], np.uint8)
    signs = np.where(np.unpackbits(codes, axis=1, count=12), 1.0, -1.0)
    expected = module(torch.from_numpy(signs)).detach()
    np.testing.assert_allclose(evaluate(graph, codes)["1"], expected, atol=1e-6)
