"""Every recipe through `head.prune`, on every kind of head."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from embcompress.heads import ConvHead, GRUHead, LinearHead, MLPHead  # noqa: E402
from embcompress.pruning.recipes import RECIPES  # noqa: E402

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def heads():
    rng = np.random.default_rng(0)
    y = np.array(["a", "b", "c"])[np.arange(90) % 3]
    shift = np.arange(90) % 3 - 1.0
    train = {"max_epochs": 12, "learning_rate": 0.01, "random_state": 0}
    dense = rng.normal(size=(90, 16)) + 1.5 * shift[:, None]
    ragged = [rng.normal(size=(3 + i % 3, 8)) + 1.5 * shift[i] for i in range(90)]
    maps = rng.normal(size=(90, 2, 5, 5)) + 1.5 * shift[:, None, None, None]
    bits = rng.random((90, 32)) < (0.5 + 0.4 * np.sign(np.sin(np.outer(shift + 2, np.arange(32)))))
    packed = np.packbits(bits, axis=1, bitorder="little")
    return {
        "linear": (LinearHead(**train).fit(dense, y), dense, y),
        "packed": (LinearHead(packed_bits=32, **train).fit(packed, y), packed, y),
        "mlp": (MLPHead((24,), **train).fit(dense, y), dense, y),
        "gru": (GRUHead(12, n_layers=1, **train).fit(ragged, y), ragged, y),
        "conv": (ConvHead((8, 8), **train).fit(maps, y), maps, y),
    }


@pytest.mark.parametrize("kind", ["linear", "packed", "mlp", "gru", "conv"])
@pytest.mark.parametrize("name", RECIPES)
def test_heads(heads, name, kind):
    head, X, y = heads[kind]
    assert head.score(X, y) > 0.85
    if name == "ss-auto" and kind == "gru":
        with pytest.raises(ValueError, match="use rtmobile"):
            head.prune(name, X, y)
        return
    rate = {"pcnn": 2.25}.get(name, 3.0)
    options = {"epochs": 4, "retrain_epochs": 6, "learning_rate": 0.01}
    if name == "privacy-preserving":
        options["n_batches"] = 4
    small = head.prune(name, X, y, rate=rate, **options)
    assert small.masks_.rate == pytest.approx(rate, rel=0.2)
    assert small.score(X, y) > 0.7
    assert head.masks_ is None


def test_heads_without_data_and_with_masks(heads):
    for kind in ("packed", "gru", "conv"):
        head, X, y = heads[kind]
        small = head.prune(
            "privacy_preserving", rate=2.5, n_batches=4, epochs=4, retrain_epochs=4,
            learning_rate=0.01,
        )  # fmt: skip
        client = head.prune(small.masks_, X, y, finetune_epochs=4)
        assert client.masks_ == small.masks_
        assert client.score(X, y) > 0.75
    with pytest.raises(ValueError, match="masks for another model"):
        heads["mlp"][0].prune(small.masks_, *heads["mlp"][1:])
    with pytest.raises(ValueError, match=r"no recipe 'ptmobile'; there are: blk-rew"):
        head.prune("ptmobile", X, y)


@pytest.mark.parametrize("name", RECIPES)
def test_heads_have_their_own_batch_size(heads, name):
    with pytest.raises(ValueError, match="batch_size is for torch modules"):
        RECIPES[name](*heads["mlp"], batch_size=3)
