"""The search over rates: repeated blocks, layers in a row, and the smallest model above a floor."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

torch = pytest.importorskip("torch")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from embcompress.pruning import (  # noqa: E402
    Distillation,
    Filter,
    KernelPattern,
    LabelledBatches,
    LayerwiseReconstruction,
    Masks,
    OneShot,
    Row,
    TaskLoss,
    Unstructured,
    composability_search,
    finetune,
    train_every_candidate,
)
from embcompress.pruning.candidates import Space  # noqa: E402
from embcompress.pruning.chain import Chain  # noqa: E402
from embcompress.pruning.grammar import repeated_blocks  # noqa: E402

torch.set_num_threads(1)


def words(cut):
    return [["".join(block) for block in blocks] for blocks in cut]


@pytest.mark.parametrize(
    ("strings", "options", "wanted"),
    [
        (["abcd", "abce", "fabc"], {}, [["abc", "d"], ["abc", "e"], ["f", "abc"]]),
        (["ab", "ab", "cb"], {}, [["ab"], ["ab"], ["c", "b"]]),
        (["ab", "cb", "ad"], {}, [["a", "b"], ["c", "b"], ["a", "d"]]),
        (["aaaa"], {}, [["aa", "aa"]]),
        (["aaa"], {}, [["a", "a", "a"]]),
        (["abab", "abab"], {}, [["abab"], ["abab"]]),
        (["abab", "abab"], {"longest": 3}, [["ab", "ab"], ["ab", "ab"]]),
        (["abab", "abab"], {"longest": 1}, [list("abab"), list("abab")]),
        (["abx", "aby"], {"min_repeats": 3}, [list("abx"), list("aby")]),
        (["abc", "abc"], {"joins": lambda a, b: (a, b) != ("b", "c")}, [["ab", "c"]] * 2),
        # "ab" comes four times, but three of them become "abc": the last is cut up again
        (["abc", "abc", "abc", "ab"], {}, [["abc"], ["abc"], ["abc"], ["a", "b"]]),
        ([], {}, []),
        (["", "a"], {}, [[], ["a"]]),
    ],
)
def test_repeated_blocks(strings, options, wanted):
    assert words(repeated_blocks(strings, **options)) == wanted


@given(
    st.lists(st.text("abc", max_size=8), max_size=8),
    st.integers(2, 4),
    st.none() | st.integers(1, 4),
)
def test_blocks_are_parts_of_the_sequences_and_frequent(strings, min_repeats, longest):
    cut = words(repeated_blocks(strings, min_repeats=min_repeats, longest=longest))
    assert ["".join(blocks) for blocks in cut] == strings
    counts = Counter(block for blocks in cut for block in blocks)
    for block, count in counts.items():
        assert len(block) <= (longest or 8)
        assert len(block) == 1 or count >= min_repeats


def test_repeated_blocks_refuse():
    with pytest.raises(ValueError, match="min_repeats=1"):
        repeated_blocks(["ab"], min_repeats=1)
    with pytest.raises(ValueError, match="longest=0"):
        repeated_blocks(["ab"], longest=0)


def mlp(seed=0, sizes=(8, 24, 16, 3)):
    torch.manual_seed(seed)
    layers = []
    for n_in, n_out in pairwise(sizes):
        layers += [nn.Linear(n_in, n_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class Residual(nn.Module):
    """Two convolutions in a row, a sum, a function as activation, pooling, a linear layer."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(2, 6, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(6)
        self.relu = nn.ReLU(inplace=True)
        self.second = nn.Conv2d(6, 6, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(6)
        self.third = nn.Conv2d(6, 6, 3, padding=1)
        # defined first, called last
        self.output = nn.Linear(6, 3)

    def forward(self, x):
        x = self.relu(self.norm1(self.first(x)))
        x = functional.relu(x + self.norm2(self.second(x)))
        return self.output(functional.relu(self.third(x)).mean((2, 3)))


def residual():
    torch.manual_seed(0)
    model = Residual()
    model(torch.randn(64, 2, 5, 5))  # moves the statistics of the normalization
    return model.eval()


def task(n=384, n_features=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(n, n_features, generator=generator)
    y = (X[:, 0] * X[:, 1] > 0).long() + (X[:, 2] > 0.5).long()
    return X, y


def trained(epochs=20):
    X, y = task()
    data = LabelledBatches(X, y, batch_size=64)
    model = finetune(mlp(), Masks({}), TaskLoss(), data, epochs=epochs, learning_rate=2e-2)
    return model, data, task(seed=1)


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def test_layers_in_a_row():
    inputs = torch.randn(9, 8)
    model = nn.Sequential(
        nn.Linear(8, 6), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Unflatten(1, (2, 3)),
        nn.Flatten(), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2),
    )  # fmt: skip
    chain = Chain(model, ["7", "0", "5"], inputs)
    assert chain.names == ["0", "5", "7"]
    assert chain.linked == [True, True]
    assert all(not parameter.requires_grad for parameter in chain.teacher.parameters())
    seen = chain.activations(inputs)
    torch.testing.assert_close(seen["0"][0], inputs)
    assert bool((seen["0"][1] < 0).any())  # before the activation that works in place
    logits = chain.run(chain.teacher, 0, 2, inputs)
    torch.testing.assert_close(logits, model.eval()(inputs))
    middle = chain.run(chain.teacher, 1, 1, seen["5"][0])
    torch.testing.assert_close(middle, seen["5"][1].tanh())
    assert chain.macs == {"0.weight": 48, "5.weight": 30, "7.weight": 10}


def test_links_end_at_sums_and_pooling():
    model, inputs = residual(), torch.randn(4, 2, 5, 5)
    chain = Chain(model, ["output", "third", "second", "first"], inputs)
    assert chain.names == ["first", "second", "third", "output"]
    assert chain.linked == [True, False, False]
    seen = chain.activations(inputs)
    found = chain.run(chain.teacher, 0, 1, inputs)
    torch.testing.assert_close(found, model.norm2(seen["second"][1]))
    torch.testing.assert_close(
        chain.run(chain.teacher, 2, 2, seen["third"][0]), seen["third"][1].relu()
    )


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.unused = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        return self.layer(self.layer(x).relu())


def test_chain_refuses():
    with pytest.raises(ValueError, match="'layer' more than once"):
        Chain(Twice(), ["layer"], torch.randn(2, 4))
    with pytest.raises(ValueError, match="does not call unused"):
        Chain(Twice(), ["unused"], torch.randn(2, 4))


def space(model, rates, scheme=None):
    return Space(model, Space.views_of(model, rates), scheme or Unstructured(sparsity=0.5))


def test_candidates():
    model = mlp()
    choices = space(model, {"0": [4, 2], "2": [2, 8], "*": [1, 2, 3]})
    every = choices.candidates(None, 0)
    assert len(every) == choices.n_possible == 12 == len(set(every))
    assert [c.n_kept for c in every] == sorted(c.n_kept for c in every)
    for candidate in every:
        rates = {choices.views[i].name: rate for i, rate in candidate.symbols}
        pruned = OneShot().solve(model, Unstructured(sparsity=0.5), rates=rates)
        assert candidate.n_kept == pruned.masks.n_kept
        for (i, rate), view in zip(candidate.symbols, choices.views, strict=True):
            assert torch.equal(choices.masks[i, rate], pruned.masks[view.parameter])
    some = choices.candidates(5, 3)
    assert some == choices.candidates(5, 3) != choices.candidates(5, 4)
    assert len(set(some)) == 5
    assert set(some) <= set(every)
    assert choices.candidates(99, 0) == every


def test_many_layers_are_drawn_from():
    choices = space(mlp(sizes=(4,) * 40), [1, 2, 3, 4])
    with pytest.raises(ValueError, match="give n_candidates"):
        choices.candidates(None, 0)
    assert len(set(choices.candidates(7, 0))) == 7


OPTIONS = {"scheme": Unstructured(sparsity=0.5), "objective": TaskLoss(), "learning_rate": 1e-2}


def test_search_finds_the_smallest_for_less_training():
    model, data, held = trained()
    before = state(model)
    kept = OPTIONS | {"data": data, "validate": held, "random_state": 1}
    rates = {"0": [2, 4], "2": [2, 4, 8], "4": [1, 4]}

    def accuracy(net):
        return float((net.eval()(held[0]).argmax(1) == held[1]).double().mean())

    floor = accuracy(model) - 0.02
    found = composability_search(model, rates, floor=floor, full_epochs=12, **kept)
    wanted = train_every_candidate(model, rates, floor=floor, epochs=12, **kept)
    assert same(before, state(model))
    assert found.meets_floor
    assert wanted.meets_floor
    assert floor <= found.accuracy == accuracy(found.model)
    # larger than the winner of the full training by no more than a few candidates
    sizes = [tried.n_kept for tried in wanted.tried]
    assert sizes.index(wanted.n_kept) <= sizes.index(found.n_kept) + 2
    assert found.n_kept <= 1.5 * wanted.n_kept
    assert found.saving >= 3
    assert wanted.cost == found.cost_of_each * 12 == wanted.cost_of_each * wanted.n_candidates
    assert wanted.cost / found.cost == pytest.approx(found.saving)
    assert len(wanted.tried) == found.n_candidates == 12
    assert [t.n_kept for t in found.tried] == sizes[: len(found.tried)]
    assert [t.meets_floor for t in found.tried] == [False] * (len(found.tried) - 1) + [True]
    assert Masks.of(found.model) == Masks({k: v for k, v in found.masks.items() if v.ndim > 1})
    assert found.masks.n_kept == found.n_kept
    assert found.rate == found.n_weights / found.n_kept
    again = composability_search(model, rates, floor=floor, full_epochs=12, **kept)
    assert same(state(again.model), state(found.model))
    assert [t.accuracy for t in again.tried] == [t.accuracy for t in found.tried]
    assert "12 candidates tried" in found.summary()
    assert len(found.summary().splitlines()) == len(found.tried) + 2


def test_each_block_is_trained_once_and_rebuilds_the_teacher():
    model, data, held = trained(5)
    found = composability_search(
        model, [2, 4], data=data, validate=held, floor=2.0, min_repeats=2, longest_block=2,
        finetune_epochs=0, pretrain_epochs=8, **OPTIONS,
    )  # fmt: skip
    assert not found.meets_floor
    assert found.accuracy == max(tried.accuracy for tried in found.tried)
    assert len(found.tried) == found.n_candidates == 8
    keys = [tuple(block.rates.items()) for block in found.blocks]
    assert len(keys) == len(set(keys))
    assert {len(key) for key in keys} == {1, 2}
    used = {(name, rate) for key in keys for name, rate in key}
    assert used == {(name, rate) for name in ("0", "2", "4") for rate in (2.0, 4.0)}
    for block in found.blocks:
        assert block.repeats >= 2
        assert block.error_after < 0.8 * block.error_before
    assert found.cost == pytest.approx(sum(block.cost for block in found.blocks))
    # single layers: teacher forward, and each layer at each rate three times
    alone = composability_search(
        model, [2, 4], data=data, validate=held, floor=2.0, longest_block=1, finetune_epochs=0,
        pretrain_epochs=2, **OPTIONS,
    )  # fmt: skip
    macs = 8 * 24 + 24 * 16 + 16 * 3
    passes_of_teacher = len({tried.cost for tried in alone.tried if tried.cost} or {0})
    assert len(alone.blocks) == 6
    teacher = alone.cost / (384 * 2) - 3 * 2 * macs
    assert teacher % macs == pytest.approx(0)
    assert teacher / macs >= passes_of_teacher


def test_blocks_do_not_depend_on_their_neighbours():
    model, data, held = trained(3)
    states = []
    for rates in ({"0": [2], "2": [4]}, {"0": [2], "2": [8], "4": [2]}):
        found = composability_search(
            model, rates, data=data, validate=held, floor=2.0, longest_block=1, finetune_epochs=0,
            **OPTIONS,
        )  # fmt: skip
        states.append(found.model[0].state_dict())
    assert same(*states)


def test_dense_layers_are_not_trained():
    model, data, held = trained(3)
    found = composability_search(model, [1], data=data, validate=held, floor=0.0, **OPTIONS)
    assert found.blocks == []
    assert found.cost == 0
    assert found.saving == float("inf")
    assert found.saving_in_seconds is None
    assert found.rate == 1
    assert same(state(found.model), state(model))


def test_early_exit():
    model, data, _ = trained(2)
    found = composability_search(
        model, [2], data=data, validate=lambda net: 0.0, floor=0.0, finetune_epochs=9, **OPTIONS
    )
    assert [tried.epochs for tried in found.tried] == [0]
    looks = iter([0.1, 0.2, 0.9, 1.0])
    found = composability_search(
        model, [2], data=data, validate=lambda net: next(looks), floor=0.8, finetune_epochs=9,
        **OPTIONS,
    )  # fmt: skip
    assert [(t.start_accuracy, t.accuracy, t.epochs) for t in found.tried] == [(0.1, 0.9, 2)]


def test_units_without_inputs_are_removed_whole():
    model, data, held = trained(5)
    found = composability_search(
        model, {"0": [2], "2": [2]}, data=data, validate=held, floor=2.0, finetune_epochs=1,
        **OPTIONS | {"scheme": Row(sparsity=0.5)},
    )  # fmt: skip
    dead = ~found.masks["0.weight"].any(dim=1)
    assert int(dead.sum()) == 12
    assert not found.model[0].bias[dead].any()


def test_convolutions_with_sums():
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(48, 2, 5, 5, generator=generator)
    data = LabelledBatches(X, torch.arange(48) % 3, batch_size=16)
    model = residual()
    before = state(model)
    found = composability_search(
        model, {"first": [1, 2], "second": [2, 3], "third": [2, 3]}, data=data,
        validate=(X, data.y), floor=2.0, min_repeats=2, longest_block=None, pretrain_epochs=6,
        finetune_epochs=1, learning_rate=1e-2, objective=Distillation(),
        scheme={"second": Filter(sparsity=0.5), "*": Unstructured(sparsity=0.5)},
    )  # fmt: skip
    assert same(before, state(model))
    assert len(found.tried) == 8
    for block in found.blocks:
        # the sum after the second layer ends every block
        assert set(block.rates) in ({"first", "second"}, {"second"}, {"third"})
        assert block.error_after < block.error_before
    removed = ~found.masks["second.weight"].flatten(1).any(dim=1)
    assert not found.model.norm2.bias[removed].any()


def test_search_refuses():
    model, data, held = trained(1)
    kept = OPTIONS | {"data": data, "validate": held, "floor": 0.5}
    with pytest.raises(ValueError, match=r"cannot handle weight_ih_l0\[r\] \(gru_input\)"):
        composability_search(nn.GRU(8, 4), [2], **kept)
    with pytest.raises(ValueError, match="no layer to search"):
        composability_search(nn.ReLU(), [2], **kept)
    with pytest.raises(ValueError, match=r"rate for '0'=0\.5 must be finite and at least 1"):
        composability_search(model, {"0": [0.5]}, **kept)
    with pytest.raises(ValueError, match="no rate is given for '0'"):
        composability_search(model, {"0": []}, **kept)
    with pytest.raises(ValueError, match="no prunable weight is called 'head'"):
        composability_search(model, {"head": [2]}, **kept)
    with pytest.raises(ValueError, match="LayerwiseReconstruction has 3 stages"):
        composability_search(model, [2], **kept | {"objective": LayerwiseReconstruction()})
    with pytest.raises(ValueError, match="KernelPattern does not fit linear"):
        composability_search(model, [2], **kept | {"scheme": KernelPattern(n_patterns=4)})
    partial = kept | {"scheme": {"0": Unstructured(sparsity=0.5)}}
    with pytest.raises(ValueError, match=r"no scheme for 2\.weight"):
        composability_search(model, {"0": [2], "2": [2]}, **partial)
    with pytest.raises(ValueError, match="384 rows and 3 classes"):
        composability_search(model, [2], **kept | {"validate": (held[0], [0, 1, 2])})
    with pytest.raises(ValueError, match="fails on inputs of shape"):
        composability_search(mlp(sizes=(5, 4, 3)), [2], **kept)
    with pytest.raises(ValueError, match="data is empty"):
        composability_search(model, [2], **kept | {"data": []})
    with pytest.raises(ValueError, match="n_candidates=0"):
        composability_search(model, [2], n_candidates=0, **kept)
    with pytest.raises(ValueError, match="epochs=0 must be"):
        composability_search(model, [2], pretrain_epochs=0, **kept)
