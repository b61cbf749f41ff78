"""What removed units take with them: the answers of the model stay."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from small_models import LastState, convolutional, mlp  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from embcompress.pruning import (  # noqa: E402
    Column,
    Filter,
    LabelledBatches,
    Masks,
    OneShot,
    PrimalProximal,
    RowColumn,
    TaskLoss,
    Unstructured,
    finetune,
    propagate,
)


class Branches(nn.Module):
    """A residual block: only what is inside the branch is linked."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(4, 6, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(6)
        self.conv2 = nn.Conv2d(6, 4, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(4)
        self.output = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        return self.output(x.relu().mean((2, 3)))


def with_statistics(model: nn.Module) -> nn.Module:
    """Norms as after training, and biases that are not zero."""
    torch.manual_seed(5)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            nn.init.normal_(module.weight, 1)
            nn.init.normal_(module.bias)
    return model.eval()


def random_masks(model: nn.Module, seed: int, sparsity: float) -> Masks:
    """Whole rows and columns and single weights are gone, and some layers left out."""
    generator = torch.Generator().manual_seed(seed)
    masks = {}
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1 and torch.rand((), generator=generator) < 0.8:
            matrix = torch.rand(parameter.shape, generator=generator) > 0.2
            matrix &= (torch.rand(len(matrix), generator=generator) > sparsity).view(
                -1, *[1] * (matrix.ndim - 1)
            )
            matrix &= (torch.rand(matrix.shape[1], generator=generator) > sparsity).view(
                1, -1, *[1] * (matrix.ndim - 2)
            )
            masks[name] = matrix
    return Masks(masks)


def same_answers(model: nn.Module, masks: Masks, inputs: torch.Tensor) -> Masks:
    """Propagate, compare, and check that nothing came back."""
    before = {name: value.clone() for name, value in model.state_dict().items()}
    smaller, found = propagate(model, masks)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    masks.apply(model)
    with torch.no_grad():
        assert torch.allclose(model.eval()(inputs), smaller.eval()(inputs), atol=1e-5)
    assert set(found) >= set(masks)
    assert all(not (found[name] & ~masks[name]).any() for name in masks)
    for name, mask in found.items():
        assert not smaller.get_parameter(name)[~mask].any()
    assert propagate(smaller, found)[1] == found
    return found


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), sparsity=st.sampled_from([0.2, 0.5, 0.8]))
@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.Sigmoid, nn.GELU])
def test_any_masks_of_a_perceptron(activation, seed, sparsity):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(8, 12), activation(), nn.Dropout(0.5), nn.Linear(12, 9), activation(),
        nn.Linear(9, 3),
    ).eval()  # fmt: skip
    same_answers(model, random_masks(model, seed, sparsity), torch.randn(20, 8))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), sparsity=st.sampled_from([0.2, 0.5, 0.8]))
@pytest.mark.parametrize("make", [convolutional, Branches])
def test_any_masks_of_convolutions(make, seed, sparsity):
    model = with_statistics(make())
    n_in = next(model.parameters()).shape[1]
    same_answers(model, random_masks(model, seed, sparsity), torch.randn(4, n_in, 5, 5))


def test_columns_that_read_removed_rows_go():
    model = mlp()
    result = OneShot().solve(model, Filter(0.5), layers=["0", "2"])
    masks = same_answers(result.model, result.masks, torch.randn(5, 8))
    gone = ~masks["0.weight"].any(dim=1)
    assert gone.sum() == 6
    assert not masks["2.weight"][:, gone].any()
    # the last layer had no mask
    gone = ~masks["2.weight"].any(dim=1)
    assert torch.equal(masks["4.weight"], (~gone).expand(3, -1))
    assert masks.n_kept < result.masks.n_kept + model[4].weight.numel()


def test_rows_that_feed_nothing_go_with_bias_and_normalization():
    model = with_statistics(convolutional())
    result = OneShot().solve(model, Column(0.5), layers=["3"])
    mask = result.masks["3.weight"].clone()
    mask[:, 2] = False
    masks = same_answers(result.model, Masks({"3.weight": mask}), torch.randn(3, 2, 5, 5))
    assert not masks["0.weight"][2].any()
    assert not masks["1.weight"][2]
    assert not masks["1.bias"][2]
    assert masks["0.weight"][[0, 1, 3, 4, 5]].all()


def test_a_constant_moves_into_the_next_bias():
    model = mlp()
    with torch.no_grad():
        model[0].bias.fill_(0.5)
    kept = torch.ones(12, 8, dtype=torch.bool)
    kept[[1, 7]] = False
    smaller, masks = propagate(model, Masks({"0.weight": kept}))
    moved = 0.5 * model[2].weight[:, [1, 7]].sum(dim=1)
    assert torch.allclose(smaller[2].bias, model[2].bias + moved)
    assert not masks["2.weight"][:, [1, 7]].any()
    assert not masks["0.bias"][[1, 7]].any()


def test_what_cannot_take_a_constant_keeps_its_columns():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.Sigmoid(), nn.Linear(3, 2, bias=False))
    kept = torch.tensor([[False] * 4, [True] * 4, [True] * 4])
    masks = same_answers(model, Masks({"0.weight": kept}), torch.randn(5, 4))
    assert "2.weight" not in masks
    # padding with zeros: at the border the constant is another one
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Conv2d(2, 2, 3, padding=1))
    with torch.no_grad():
        model[0].bias.fill_(1.0)
    kept = torch.ones(2, 1, 1, 1, dtype=torch.bool)
    kept[0] = False
    masks = same_answers(model, Masks({"0.weight": kept}), torch.randn(2, 1, 5, 5))
    assert "2.weight" not in masks
    model[2].padding = (0, 0)
    masks = same_answers(model, Masks({"0.weight": kept}), torch.randn(2, 1, 5, 5))
    assert not masks["2.weight"][:, 0].any()


def test_several_places_of_a_channel_after_flattening():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 2)
    )
    kept = torch.ones(3, 2, 3, 3, dtype=torch.bool)
    kept[1] = False
    masks = same_answers(model, Masks({"0.weight": kept}), torch.randn(4, 2, 6, 6))
    assert masks["4.weight"][0].tolist() == [True] * 4 + [False] * 4 + [True] * 4


def test_only_what_is_inside_a_branch_is_linked():
    model = with_statistics(Branches())
    kept = {name: torch.ones_like(p, dtype=torch.bool) for name, p in model.named_parameters()}
    first, second = kept["conv1.weight"], kept["conv2.weight"]
    first[0] = second[0] = False
    with torch.no_grad():
        model.bn1.bias[0] = -5.0  # as if removed: the unit gives zero
        model.bn1.running_mean[0] = 0.0
    masks = same_answers(
        model, Masks({"conv1.weight": first, "conv2.weight": second}), torch.randn(3, 4, 5, 5)
    )
    assert not masks["conv2.weight"][:, 0].any()
    assert "output.weight" not in masks


@pytest.mark.parametrize(
    "model",
    [LastState(nn.GRU), nn.Sequential(nn.Linear(6, 6), nn.Unflatten(1, (2, 3)))],
    ids=["recurrent", "no link"],
)
def test_nothing_to_do(model):
    result = OneShot().solve(model, Unstructured(0.5))
    smaller, masks = propagate(result.model, result.masks)
    assert masks == result.masks
    assert all(
        torch.equal(value, smaller.state_dict()[name])
        for name, value in result.model.state_dict().items()
    )


def test_a_layer_that_is_used_twice_is_left_alone():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.second(self.first(self.second(x)))

    model = Twice()
    kept = torch.ones(4, 4, dtype=torch.bool)
    kept[0] = False
    masks = same_answers(model, Masks({"first.weight": kept}), torch.randn(3, 4))
    assert list(masks) == ["first.weight"]


def test_retraining_keeps_what_is_gone():
    model = mlp()
    X = torch.randn(40, 8)
    data = LabelledBatches(X, (X[:, 0] > 0).long(), batch_size=8)
    result = PrimalProximal(target_rate=4, epochs=2).solve(
        model, RowColumn(0.5), TaskLoss(), data, layers=["0", "2"]
    )
    smaller, masks = propagate(result.model, result.masks)
    assert masks["2.weight"].sum() <= result.masks["2.weight"].sum()
    trained = finetune(smaller, masks, TaskLoss(), data, epochs=2)
    same_answers(trained, masks, X)


def test_masks_for_another_model():
    with pytest.raises(ValueError, match="masks for another model: the model has no parameter"):
        propagate(mlp(), Masks({"9.weight": torch.ones(2, 2, dtype=torch.bool)}))
