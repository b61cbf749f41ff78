"""Views of weights: complete, live, and named."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from small_models import MODELS, SHAPES, gru  # noqa: E402
from torch import nn  # noqa: E402

from embcompress.pruning import macs, prunable_weights  # noqa: E402
from embcompress.pruning.layers import select_views  # noqa: E402


@pytest.mark.parametrize("kind", MODELS)
def test_views_cover_each_weight_once(kind):
    model = MODELS[kind]()
    covered = {name: 0 for name, p in model.named_parameters() if p.ndim > 1}
    for view in prunable_weights(model):
        assert tuple(view.of(model).shape) == view.shape
        assert view.numel == view.of(model).numel()
        covered[view.parameter] += view.stop - view.start
    assert covered == {name: len(model.get_parameter(name)) for name in covered}


def test_gates_are_named_in_the_order_of_torch():
    names = [view.name for view in prunable_weights(gru())]
    assert names == [
        "rnn.weight_ih_l0[r]", "rnn.weight_ih_l0[z]", "rnn.weight_ih_l0[n]",
        "rnn.weight_hh_l0[r]", "rnn.weight_hh_l0[z]", "rnn.weight_hh_l0[n]",
        "output.weight",
    ]  # fmt: skip
    lstm = prunable_weights(nn.LSTM(3, 4, num_layers=2, bidirectional=True, proj_size=2))
    assert len(lstm) == 4 * (4 + 4 + 1)
    assert [view.name[-3:] for view in lstm[:4]] == ["[i]", "[f]", "[g]", "[o]"]
    assert {view.kind for view in lstm} == {"lstm_input", "lstm_recurrent", "linear"}


def test_views_are_live_and_differentiable():
    model = gru()
    view = prunable_weights(model)[1]
    view.of(model).sum().backward()
    gradient = model.rnn.weight_ih_l0.grad
    assert gradient[9:18].eq(1).all()
    assert gradient.sum() == view.numel
    with torch.no_grad():
        view.of(model).zero_()
    assert model.rnn.weight_ih_l0[9:18].eq(0).all()


def test_shared_and_grouped_weights():
    first = nn.Linear(4, 4)
    second = nn.Linear(4, 4)
    second.weight = first.weight
    model = nn.Sequential(first, second, nn.Conv2d(4, 4, 3, groups=2))
    assert [view.name for view in prunable_weights(model)] == ["0.weight"]
    assert [view.module for view in prunable_weights(nn.Linear(2, 2))] == [""]


def test_names_and_patterns():
    views = prunable_weights(gru())
    assert len(select_views(views, ["rnn"])) == 6
    assert len(select_views(views, ["rnn.weight_hh*"])) == 3
    assert [v.name for v in select_views(views, ["*_ih_*[z]"])] == ["rnn.weight_ih_l0[z]"]
    assert [v.name for v in prunable_weights(gru(), skip=["rnn"])] == ["output.weight"]
    with pytest.raises(ValueError, match=r"no prunable weight is called 'gru'; there are: rnn\."):
        prunable_weights(gru(), skip=["gru"])


def test_view_of_another_model():
    view = prunable_weights(gru())[0]
    with pytest.raises(ValueError, match=r"no parameter 'rnn\.weight_ih_l0'"):
        view.of(nn.Linear(2, 2))
    other = gru()
    other.rnn = nn.GRU(6, 2)
    with pytest.raises(ValueError, match="another model"):
        view.of(other)


def test_operations_per_sample():
    model = MODELS["conv"]()
    counts = macs(model, torch.zeros(3, *SHAPES["conv"]))
    assert counts == {"0.weight": 25 * 6 * 2 * 9, "3.weight": 25 * 4 * 6 * 9, "8.weight": 12}
    counts = macs(gru(), torch.zeros(2, 5, 6))
    assert counts["rnn.weight_ih_l0[r]"] == 5 * 9 * 6
    assert counts["rnn.weight_hh_l0[n]"] == 5 * 9 * 9
    assert counts["output.weight"] == 27
