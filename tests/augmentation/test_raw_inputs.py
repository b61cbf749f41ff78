"""fit_pairs: one pass of the embedder per view, batches, forms of input, messages."""

from __future__ import annotations

import numpy as np
import pytest

from embcompress.augmentation import EmbeddingAugmenter, embed_inputs


class Embedder:
    """A fixed linear map of images that counts what it saw."""

    def __init__(self, dtype=np.float32):
        self.matrix = np.random.default_rng(0).normal(size=(16, 6)).astype(dtype)
        self.sizes = []

    def __call__(self, batch):
        self.sizes.append(len(batch))
        return np.stack([np.ravel(one) @ self.matrix for one in batch])


def images(n=100):
    return np.random.default_rng(1).normal(size=(n, 4, 4)).astype(np.float32)


def flip(image):
    return image[:, ::-1]


def test_each_view_is_embedded_once_and_batched():
    embed, X = Embedder(), images()
    augmenter = EmbeddingAugmenter("offset", random_state=0, holdout=0)
    with pytest.warns(UserWarning, match="unexplained"):
        augmenter.fit_pairs(embed, X, {"flip": flip, "dim": lambda x: x / 2}, batch_size=32)
    assert embed.sizes == [32, 32, 32, 4] * 3
    Z, flipped = Embedder()(X), Embedder()(X[:, :, ::-1])
    with pytest.warns(UserWarning, match="unexplained"):
        other = EmbeddingAugmenter("offset", holdout=0).fit(Z, {"flip": flipped})
    np.testing.assert_allclose(
        augmenter.transform(Z, "flip"), other.transform(Z, "flip"), rtol=1e-5
    )
    np.testing.assert_allclose(embed_inputs(embed, X, batch_size=7), Z, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:operators leave")
def test_lists_and_several_random_views():
    rng = np.random.default_rng(0)
    seen = []

    def jitter(x):
        assert isinstance(x, np.ndarray)
        return x + 0.1 * rng.normal(size=x.shape)

    def embed(batch):
        seen.append(type(batch))
        return [np.ravel(one)[:5] for one in batch]

    augmenter = EmbeddingAugmenter(noise="bank", random_state=0)
    augmenter.fit_pairs(embed, list(images(30)), {"jitter": jitter}, n_views=3)
    assert set(seen) == {list}
    assert augmenter.noises_["jitter"].bank.shape == (90, 5)
    assert augmenter.noises_["jitter"].bank.std() == pytest.approx(0.1, rel=0.3)


@pytest.mark.filterwarnings("ignore:operators leave")
def test_strengths_reach_the_transform():
    embed, X = Embedder(), images()
    params = np.linspace(-1, 1, 100)
    augmenter = EmbeddingAugmenter(random_state=0)
    augmenter.fit_pairs(embed, X, {"dim": (lambda x, s: x * (1 + s / 2), params)})
    Z = Embedder()(X)
    out = augmenter.transform(Z, "dim", params=0.5)
    np.testing.assert_allclose(out, 1.25 * Z, atol=0.15)


@pytest.mark.filterwarnings("ignore:operators leave")
def test_a_network():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 5), torch.nn.Dropout(0.1))
    X = torch.from_numpy(images())

    def double(x):
        assert x.shape == (4, 4)
        return 2 * x

    with pytest.warns(UserWarning, match="embedder Sequential is in training mode"):
        EmbeddingAugmenter(random_state=0).fit_pairs(network, X, {"double": double})
    network.eval()
    augmenter = EmbeddingAugmenter(random_state=0).fit_pairs(network, X, {"double": double})
    Z = embed_inputs(network, X)
    assert Z.dtype == np.float32
    expected = embed_inputs(network, 2 * X)
    np.testing.assert_allclose(augmenter.transform(Z, "double"), expected, atol=0.02)


def test_errors():
    X = images(10)
    with pytest.raises(ValueError, match="0 inputs and 1 transforms; at least one of each"):
        EmbeddingAugmenter().fit_pairs(Embedder(), X[:0], {"flip": flip})
    with pytest.raises(ValueError, match="10 inputs and 0 transforms"):
        EmbeddingAugmenter().fit_pairs(Embedder(), X, {})
    with pytest.raises(TypeError, match="transform 'flip' is not callable: 3"):
        EmbeddingAugmenter().fit_pairs(Embedder(), X, {"flip": 3})
    with pytest.raises(ValueError, match="transform 'dim' has 2 params for 10 inputs"):
        EmbeddingAugmenter().fit_pairs(Embedder(), X, {"dim": (flip, [1, 2])})
    with pytest.raises(ValueError, match=r"gave shape \(10, 4, 4\) for 10 inputs; \(10, n_feat"):
        EmbeddingAugmenter().fit_pairs(lambda batch: batch, X, {"flip": flip})
