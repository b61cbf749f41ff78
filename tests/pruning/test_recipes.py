"""Every recipe on every kind of layer it fits: rate, zeros, accuracy, seeds, refusals."""

from __future__ import annotations

import inspect

import pytest

torch = pytest.importorskip("torch")

from small_models import LastState, same_state, state_of  # noqa: E402
from torch import nn  # noqa: E402

from embcompress.heads import MLPHead  # noqa: E402
from embcompress.pruning import (  # noqa: E402
    FIXED_PATTERNS,
    LabelledBatches,
    Masks,
    RandomInputs,
    TaskLoss,
    Unstructured,
    finetune,
    prunable_weights,
    recipes,
)
from embcompress.pruning.recipes import RECIPES  # noqa: E402

QUICK = {"epochs": 4, "retrain_epochs": 8, "learning_rate": 0.01, "batch_size": 16}
SHAPES = {"linear": (16,), "conv": (2, 5, 5), "gru": (4, 8), "lstm": (4, 8)}
RATES = {"pcnn": 2.25, "pattern-connectivity": 3.0, "cocopie": 3.0}


def build(kind):
    torch.manual_seed(0)
    if kind == "linear":
        return nn.Sequential(nn.Linear(16, 24), nn.ReLU(), nn.Linear(24, 16), nn.ReLU(),
                             nn.Linear(16, 3))  # fmt: skip
    if kind == "conv":
        return nn.Sequential(
            nn.Conv2d(2, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 16, 1), nn.BatchNorm2d(16), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 3),
        )  # fmt: skip
    return LastState(nn.GRU if kind == "gru" else nn.LSTM, 8, 16)


def rows(kind, n=96):
    generator = torch.Generator().manual_seed(4)
    labels = torch.arange(n) % 3
    inputs = torch.randn(n, *SHAPES[kind], generator=generator)
    return inputs + 1.5 * (labels.reshape(-1, *[1] * (inputs.ndim - 1)) - 1.0), labels


def accuracy(model, X, y):
    with torch.no_grad():
        return float((model.eval()(X).argmax(1) == y).float().mean())


@pytest.fixture(scope="module")
def trained():
    models = {}
    for kind in SHAPES:
        data = LabelledBatches(*rows(kind), batch_size=16)
        model = build(kind).train()
        model = finetune(model, Masks({}), TaskLoss(), data, epochs=10, learning_rate=0.01)
        assert accuracy(model, *rows(kind)) > 0.95
        models[kind] = model
    return models


def options_for(name, kind):
    options = dict(QUICK)
    if name != "pcnn":
        options["rate"] = RATES.get(name, 4.0)
    if name == "privacy-preserving":
        options |= {"inputs": SHAPES[kind], "n_batches": 4}
    return options


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("name", RECIPES)
def test_rate_zeros_and_accuracy(trained, name, kind):
    model, (X, y) = trained[kind], rows(kind)
    before = state_of(model)
    if name == "ss-auto" and kind in ("gru", "lstm"):
        with pytest.raises(ValueError, match=r"ss_auto fits linear .* 'rnn': use rtmobile"):
            RECIPES[name](model, X, y)
        return
    result = RECIPES[name](model, X, y, **options_for(name, kind))

    assert same_state(before, state_of(model))
    # what scheme and shape give; the rest is whole groups of small layers
    assert result.rate == pytest.approx(RATES.get(name, 4.0), rel=0.2)
    if name in ("reweighted-unified", "privacy-preserving"):
        assert result.rate == pytest.approx(4.0, rel=0.01)
    result.masks.check(result.model)
    for parameter, mask in result.masks.items():
        assert not result.model.get_parameter(parameter)[~mask].any()
    assert accuracy(result.model, X, y) > 0.7
    assert "all" in result.summary()
    assert result.history or name == "cocopie"  # which cuts at once
    last = prunable_weights(model)[-1]
    if not isinstance(result.schemes.get(last.name), Unstructured):
        assert last.of(result.model).any(dim=1).all()  # no class is lost


@pytest.mark.parametrize("name", RECIPES)
def test_same_seed_same_result(trained, name):
    X, y = rows("linear", 48)
    options = options_for(name, "linear") | {"retrain_epochs": 1}
    first, again, other = (
        RECIPES[name](trained["linear"], X, y, random_state=seed, **options) for seed in (3, 3, 4)
    )
    assert same_state(state_of(first.model), state_of(again.model))
    assert first.masks == again.masks
    assert not same_state(state_of(first.model), state_of(other.model))


@pytest.mark.parametrize("name", RECIPES)
def test_signatures(name):
    function = RECIPES[name]
    assert function.__name__ == name.replace("-", "_")
    assert function.__name__ in recipes.__all__
    parameters = inspect.signature(function).parameters
    assert list(parameters)[:3] == ["model", "X", "y"]
    assert {"rate", "skip", "bar", "random_state", "training"} <= set(parameters)
    assert "arXiv" in function.__doc__


def test_reweighted_unified_takes_any_scheme(trained):
    X, y = rows("linear")
    run = {"rate": 2.0} | QUICK
    filters = recipes.reweighted_unified(trained["linear"], X, y, scheme="filter", **run)
    assert set(filters.schemes) == {"0.weight", "2.weight"}  # rows of the last are classes
    assert filters.masks["0.weight"].any(dim=1).sum() == 12
    everywhere = recipes.reweighted_unified(
        trained["linear"], X, y, scheme="filter", skip=(), **run
    )
    assert len(everywhere.schemes) == 3
    own = recipes.reweighted_unified(
        trained["linear"], X, y, scheme=Unstructured(0.1), skip=["0"], **run
    )
    assert set(own.schemes) == {"2.weight", "4.weight"}
    assert own.rate == pytest.approx(2.0)
    # a column of a recurrent matrix is a hidden unit: those stay dense
    X, y = rows("gru")
    columns = recipes.reweighted_unified(trained["gru"], X, y, scheme="column", **run)
    assert all("weight_hh" not in name for name in columns.schemes)


def test_rtmobile_prunes_gates_in_two_phases(trained):
    X, y = rows("gru")
    options = {"epochs": 8, "retrain_epochs": 1, "learning_rate": 0.01}
    rows_alone = recipes.rtmobile(trained["gru"], X, y, rate=4, n_blocks=2, **options)
    assert len(rows_alone.schemes) == 6  # three gates, inputs and states; no output layer
    gate = rows_alone.masks["rnn.weight_hh_l0"][:16]
    assert [int(block.any(dim=1).sum()) for block in gate.split(8, dim=1)] == [4, 4]
    both = recipes.rtmobile(trained["gru"], X, y, rate=6, column_rate=2, n_blocks=2, **options)
    gate = both.masks["rnn.weight_hh_l0"][:16]
    assert gate.any(dim=0).sum() <= 8
    assert both.rate == pytest.approx(6, rel=0.1)
    assert len(both.history) == 8
    with pytest.raises(ValueError, match=r"column_rate=7 must be from 1 to rate=6"):
        recipes.rtmobile(trained["gru"], X, y, rate=6, column_rate=7)


def test_patterns(trained):
    X, y = rows("conv")
    run = {"epochs": 4, "retrain_epochs": 1, "learning_rate": 0.01}
    result = recipes.pattern_connectivity(trained["conv"], X, y, rate=4, n_patterns=4, **run)
    weights = result.masks["3.weight"].flatten(2)
    counts = weights.sum(-1)
    assert set(counts.unique().tolist()) == {0, 4}
    assert len((counts > 0).sum(1).unique()) == 1  # as many kernels in every filter
    assert len(weights[counts > 0].unique(dim=0)) <= 4
    assert (result.masks["0.weight"].flatten(2).sum(-1) == 4).all()  # the first: patterns alone
    fixed = recipes.pattern_connectivity(
        trained["conv"], X, y, rate=4, library=FIXED_PATTERNS[:2], **run
    )
    assert len(fixed.masks["0.weight"].flatten(0, 1).unique(dim=0)) <= 2
    few = recipes.pcnn(trained["conv"], X, y, n={"0": 2, "*": 3}, n_patterns=4, **run)
    assert (few.masks["0.weight"].flatten(2).sum(-1) == 2).all()
    assert (few.masks["3.weight"].flatten(2).sum(-1) == 3).all()
    assert len(few.masks["3.weight"].flatten(2).flatten(0, 1).unique(dim=0)) <= 4
    assert "6.weight" not in few.masks  # a kernel of one weight


def test_blocks(trained):
    X, y = rows("linear")
    run = {"block": (8, 8), "epochs": 1, "retrain_epochs": 0}
    mask = recipes.blk_rew(trained["linear"], X, y, rate=4, **run).masks["0.weight"]
    for tile in (t for band in mask.split(8) for t in band.split(8, dim=1)):
        assert tile.any(dim=1).sum() == 2
        assert tile.all(dim=1).sum() == 2
    both = recipes.blk_rew(trained["linear"], X, y, rate=4, mode="both", **run)
    assert both.rate == pytest.approx(4, rel=0.1)
    free = recipes.blk_rew(trained["linear"], X, y, rate=12, balanced=False, **run)
    assert free.rate == pytest.approx(12, rel=0.1)
    with pytest.raises(ValueError, match=r"the counts give a rate of .* not 40: .* larger blocks"):
        recipes.blk_rew(trained["linear"], X, y, rate=40, **run)
    with pytest.raises(ValueError, match="mode='rows' is unknown; use row, column, both"):
        recipes.blk_rew(trained["linear"], X, y, mode="rows")


def test_privacy_preserving_never_lets_data_choose(trained):
    X, y = rows("linear")
    run = {"rate": 4.0, "n_batches": 4} | QUICK
    alone = recipes.privacy_preserving(trained["linear"], **run)
    shuffled = recipes.privacy_preserving(trained["linear"], X.flip(0), y, **run)
    assert alone.masks == shuffled.masks
    # the client's side, by hand
    client = finetune(
        trained["linear"], alone.masks, TaskLoss(), LabelledBatches(X, y, 16), epochs=10,
        learning_rate=0.01,
    )  # fmt: skip
    assert accuracy(client, X, y) > 0.9
    whole = recipes.privacy_preserving(trained["linear"], layerwise=False, **run)
    assert whole.masks != alone.masks
    drawn = RandomInputs((2, 5, 5), "uniform", n_batches=2)
    pattern = recipes.privacy_preserving(
        trained["conv"], scheme="pattern", inputs=drawn, rate=4.0, epochs=1, retrain_epochs=0
    )
    assert set(pattern.masks["3.weight"].flatten(2).sum(-1).unique().tolist()) == {0, 4}
    with pytest.raises(ValueError, match=r"give inputs=\(channels, height, width\)"):
        recipes.privacy_preserving(trained["conv"])
    with pytest.raises(ValueError, match="X and y together"):
        recipes.privacy_preserving(trained["linear"], X)


def test_retraining_with_the_dense_model(trained):
    X, y = rows("linear")
    run = {"rate": 4.0} | QUICK
    plain = recipes.reweighted_unified(trained["linear"], X, y, **run)
    taught = recipes.reweighted_unified(trained["linear"], X, y, distill=0.5, **run)
    assert plain.masks == taught.masks
    assert not same_state(state_of(plain.model), state_of(taught.model))


@pytest.mark.parametrize("name", [n for n in RECIPES if n != "privacy-preserving"])
def test_refusals(trained, name):
    recipe, (X, y) = RECIPES[name], rows("linear")
    with pytest.raises(ValueError, match="give X and y; privacy_preserving needs neither"):
        recipe(trained["linear"], X)
    with pytest.raises(ValueError, match="rate=1 removes nothing"):
        recipe(trained["linear"], X, y, rate=1)
    with pytest.raises(ValueError, match=r"rate=0.5 must be finite and at least 1"):
        recipe(trained["linear"], X, y, rate=0.5)
    with pytest.raises(TypeError, match="not MLPHead; fit it first"):
        recipe(MLPHead(), X, y)
    with pytest.raises(TypeError, match="not int"):
        recipe(3, X, y)
    with pytest.raises(TypeError, match="epoch_count"):
        recipe(trained["linear"], X, y, epoch_count=3)
    with pytest.raises(ValueError, match="epochs=0 must be at least 1"):
        recipe(trained["linear"], X, y, epochs=0)
    with pytest.raises(ValueError, match="no prunable weight is called 'head'"):
        recipe(trained["linear"], X, y, skip=["head"])
    with pytest.raises(ValueError, match="all others are skipped"):
        recipe(trained["linear"], X, y, skip=["*"])
    with pytest.raises(ValueError, match="no Linear, Conv2d, GRU or LSTM"):
        recipe(nn.Embedding(3, 3), X, y)


def test_more_refusals(trained):
    X, y = rows("linear")
    model = trained["linear"]
    with pytest.raises(ValueError, match=r"fits no layer of the model; 0\.weight: Connectivity"):
        recipes.reweighted_unified(model, X, y, scheme="connectivity")
    with pytest.raises(ValueError, match="no scheme 'rows'; there are: block,"):
        recipes.reweighted_unified(model, X, y, scheme="rows")
    with pytest.raises(ValueError, match="more parameters than its sparsity"):
        recipes.reweighted_unified(model, X, y, scheme="nm")
    with pytest.raises(ValueError, match=r"the only layer, weight, has the classes as its rows"):
        recipes.reweighted_unified(nn.Linear(16, 3), X, y, scheme="filter")
    with pytest.raises(ValueError, match="rate=2 is below that"):
        recipes.pattern_connectivity(trained["conv"], *rows("conv"), rate=2)
    with pytest.raises(ValueError, match="n=9 must be 1 to 8"):
        recipes.pcnn(model, X, y, n=9)
    prime = nn.Sequential(nn.Linear(17, 17), nn.ReLU(), nn.Linear(17, 2))
    for recipe in (recipes.pcnn, recipes.pattern_connectivity):
        with pytest.raises(ValueError, match="inputs are a multiple of 2 to 16"):
            recipe(prime, torch.zeros(4, 17), torch.tensor([0, 1, 0, 1]))
    with pytest.raises(ValueError, match="distill=2 must be in"):
        recipes.ss_auto(model, X, y, distill=2)


def test_rates_of_layers_are_chosen_for_single_weights(trained):
    X, y = rows("linear")
    run = {"rate": 8.0} | QUICK
    chosen = recipes.reweighted_unified(trained["linear"], X, y, **run)
    even = recipes.reweighted_unified(trained["linear"], X, y, rates="uniform", **run)
    by_layer = [
        [float(mask.sum()) / mask.numel() for name, mask in found.masks.items() if mask.ndim == 2]
        for found in (chosen, even)
    ]
    assert chosen.rate == pytest.approx(8, rel=0.02)
    assert max(by_layer[0]) - min(by_layer[0]) > 0.02
    assert max(by_layer[1]) - min(by_layer[1]) < 0.02
    with pytest.raises(ValueError, match='rates=\'even\'; allowed: "auto" and "uniform"'):
        recipes.reweighted_unified(trained["linear"], X, y, rates="even")
