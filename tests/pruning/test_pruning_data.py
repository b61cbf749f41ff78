"""Batches: complete, seeded, new in every pass."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from embcompress.pruning import LabelledBatches, RandomInputs  # noqa: E402
from embcompress.pruning.data import rewound  # noqa: E402


def passes(data, n=2):
    return [torch.cat([batch[0] for batch in data]) for _ in range(n)]


def test_labelled_batches():
    X = np.arange(20.0).reshape(10, 2)
    data = LabelledBatches(X, np.arange(10), batch_size=4, seed=3, sample_weight=np.ones(10))
    assert len(data) == 3
    first, second = passes(data)
    assert not torch.equal(first, second)
    for rows in (first, second):
        assert torch.equal(rows.sort(dim=0).values, torch.tensor(X, dtype=torch.float32))
    again = passes(LabelledBatches(X, np.arange(10), batch_size=4, seed=3))
    assert torch.equal(first, again[0])
    assert torch.equal(second, again[1])
    assert torch.equal(passes(data.rewound())[0], first)
    for inputs, labels, weights in data:
        assert torch.equal(inputs[:, 0], 2.0 * labels)
        assert weights.dtype == torch.float32
    in_order = LabelledBatches(X, np.arange(10), shuffle=False)
    assert torch.equal(passes(in_order, 1)[0], torch.tensor(X, dtype=torch.float32))


def test_labelled_batches_refuse():
    for arguments, error, message in [
        (([[1.0]], [0, 1]), ValueError, "X has 1 rows and y 2"),
        (([], []), ValueError, "X has shape"),
        (([1.0], [0]), ValueError, "rows of features"),
        (([[1.0]], ["a"]), TypeError, "encode class names"),
        (([[1.0]], [0], 0), ValueError, "batch_size=0"),
        (([[1.0]], [0], 1, True, 0, [-1.0]), ValueError, "not negative"),
    ]:
        with pytest.raises(error, match=message):
            LabelledBatches(*arguments)


def test_distributions():
    one = {"n_batches": 4, "batch_size": 500, "seed": 1}
    uniform = passes(RandomInputs(3, low=[0, 1, 2], high=[1, 3, 2], **one), 1)[0]
    assert (uniform.amin(0) >= torch.tensor([0.0, 1, 2])).all()
    assert (uniform.amax(0) <= torch.tensor([1.0, 3, 2])).all()
    torch.testing.assert_close(uniform.mean(0), torch.tensor([0.5, 2, 2]), atol=0.05, rtol=0)
    normal = passes(RandomInputs((2, 3), "gaussian", mean=1.0, scale=2.0, **one), 1)[0]
    assert normal.shape == (2000, 2, 3)
    assert abs(float(normal.mean()) - 1) < 0.1
    assert abs(float(normal.std()) - 2) < 0.1
    sphere = passes(RandomInputs(7, "unit_sphere", **one), 1)[0]
    torch.testing.assert_close(sphere.norm(dim=1), torch.ones(2000))
    signs = passes(RandomInputs(7, "signs", **one), 1)[0]
    assert set(signs.unique().tolist()) == {-1.0, 1.0}


def test_random_inputs_are_seeded_and_new():
    data = RandomInputs(4, n_batches=2, batch_size=3, seed=5)
    assert len(data) == 2
    first, second = passes(data)
    assert not torch.equal(first, second)
    assert torch.equal(first, passes(RandomInputs(4, n_batches=2, batch_size=3, seed=5))[0])
    assert torch.equal(first, passes(rewound(data))[0])
    assert not torch.equal(second, passes(RandomInputs(4, n_batches=2, batch_size=3, seed=6))[0])


def test_like():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(500, 4)) * [1, 2, 3, 0] + 5
    found = RandomInputs.like(rows)
    assert found.distribution == "gaussian"
    np.testing.assert_allclose(found.mean, rows.mean(0), rtol=1e-5)
    np.testing.assert_allclose(found.scale, rows.std(0, ddof=1), rtol=1e-4, atol=1e-6)
    assert RandomInputs.like(np.sign(rows - 5.01)).distribution == "signs"
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    assert RandomInputs.like(unit).distribution == "unit_sphere"
    images = RandomInputs.like(rng.normal(size=(9, 3, 5, 5)))
    assert images.mean.shape == (3, 1, 1)
    assert next(iter(images))[0].shape == (64, 3, 5, 5)
    sent = RandomInputs.like({"shape": (4,), "low": -1, "high": 1}, n_batches=2)
    assert (sent.distribution, sent.n_batches, sent.shape) == ("uniform", 2, (4,))
    assert RandomInputs.like({"shape": 4, "mean": 1}).distribution == "gaussian"


def test_random_inputs_refuse():
    for keywords, message in [
        ({"distribution": "cauchy"}, "distribution='cauchy' is unknown"),
        ({"n_batches": 0}, "at least 1"),
        ({"low": 2.0}, "high must not be below low"),
        ({"mean": [1.0, 2.0]}, r"mean has shape \(2,\)"),
        ({"scale": float("nan")}, "finite"),
    ]:
        with pytest.raises(ValueError, match=message):
            RandomInputs(3, **keywords)
    with pytest.raises(TypeError, match="only once"):
        rewound(iter([]))
