"""What cannot be lowered is named."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lowering_cases import Call  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from embcompress.lowering import lower  # noqa: E402
from embcompress.runtime.reference import evaluate  # noqa: E402

REFUSED = [
    (nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)), (4,), r"layer '1' \(LayerNorm.*supported "),
    (nn.LayerNorm(4), (4,), r"LayerNorm\(\(4,\).* cannot be compiled; supported are Linear, Conv"),
    (nn.Sequential(nn.GELU("tanh")), (4,), r"GELU\(approximate='tanh'\)\) cannot"),
    (nn.Conv2d(4, 4, 3, groups=2), (4, 5, 5), "is not square or has groups, dilation"),
    (nn.Conv2d(4, 4, (3, 1)), (4, 5, 5), "is not square"),
    (nn.Conv2d(4, 4, 3, dilation=2), (4, 5, 5), "dilation"),
    (nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"), (4, 5, 5), "a padding that is not"),
    (nn.BatchNorm1d(4, track_running_stats=False), (4,), "without statistics of its own"),
    (nn.AvgPool2d(3, 2, padding=1, count_include_pad=False), (4, 5, 5), "that does not count"),
    (nn.MaxPool2d((2, 1)), (4, 5, 5), r"'kernel_size': \(2, 1\)"),
    (nn.MaxPool2d(2, ceil_mode=True), (4, 5, 5), "ceil_mode=True"),
    (nn.AdaptiveAvgPool2d(2), (4, 5, 5), r"AdaptiveAvgPool2d\(output_size=2\) on maps of 4 x 5"),
    (nn.Flatten(2), (4, 5, 5), r"Flatten\(start_dim=2, end_dim=-1\)"),
    (Call(lambda m, x: m.gru(x)[0].flatten(1), gru=nn.GRU(4, 3, batch_first=True)), (4,),
     r"flattening frames of 3"),
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
