"""The examples run end to end on little data; their transforms and counts are what they say."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch):
    """Import an example as when it is run from its folder, or skip without what it needs."""
    pytest.importorskip("torch")
    pytest.importorskip("PIL")
    monkeypatch.syspath_prepend(str(EXAMPLES))

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    yield load
    for name in [path.stem for path in EXAMPLES.glob("*.py")]:
        sys.modules.pop(name, None)


def picture(seed: int = 0):
    from PIL import Image

    values = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return Image.fromarray(np.kron(values, np.ones((20, 20, 1), dtype=np.uint8)))


@pytest.mark.parametrize("kind", ["FIXED", "RANDOM"])
def test_transforms_keep_the_size_and_follow_their_seed(example, kind: str) -> None:
    transforms, image = example("_transforms"), picture()
    before = np.asarray(image).copy()
    for name, each in getattr(transforms, kind).items():
        one, again = (each(image, transforms.generator_for(3, 5)) for _ in range(2))
        assert one.size == image.size, name
        assert np.array_equal(one, again), name
        assert not np.array_equal(one, before), name
    assert np.array_equal(np.asarray(image), before)


def test_random_transforms_differ_by_image(example) -> None:
    transforms, image = example("_transforms"), picture()
    for name in ("crop", "rotation", "brightness", "blur"):
        one, other = (
            transforms.RANDOM[name](image, transforms.generator_for(0, number)) for number in (0, 1)
        )
        assert not np.array_equal(one, other), name


def test_transforms_of_strength_zero_change_nothing(example) -> None:
    transforms, image = example("_transforms"), picture()
    for same in (
        transforms.flip(transforms.flip(image)),
        transforms.crop(image, 1.0),
        transforms.rotate(image, 0),
        transforms.brighten(image, 1, 1),
        transforms.blur(image, 0),
    ):
        assert np.array_equal(same, image)


def test_a_crop_shows_the_window_that_is_asked_for(example) -> None:
    crop = example("_transforms").crop(picture(), 0.5, x=1, y=0)
    part = np.asarray(picture())[:120, 160:]
    assert np.asarray(crop)[0, -1].tolist() == part[0, -1].tolist()
    assert np.asarray(crop)[-9, 9].tolist() == part[-5, 4].tolist()


def test_macs_are_those_of_the_convolutions(example) -> None:
    import torch

    backbones = example("_backbones")
    plain = torch.nn.functional.conv2d

    def embed(images):
        x = torch.as_tensor(images).permute(0, 3, 1, 2).float()
        F = torch.nn.functional
        x = F.conv2d(x, torch.ones(8, 3, 3, 3), stride=2, padding=1)
        return F.conv2d(x, torch.ones(8, 1, 3, 3), padding=1, groups=8)

    # 16 x 16 outputs of 8 channels: 3 x 3 x 3 products each, then 3 x 3
    assert backbones.count_macs(embed, 32) == 16 * 16 * 8 * (27 + 9)
    assert torch.nn.functional.conv2d is plain


@pytest.mark.real_data
def test_backbone_features_are_those_of_the_data(example, data_folder: Path) -> None:
    backbones, photographs = example("_backbones"), example("_photographs")
    flowers = photographs.load_flowers(data_folder)
    rows = [0, 700, 1359]
    network = backbones.load_backbone("mobilenet_v2", data_folder)
    assert backbones.count_macs(network, network.side) == 299_494_272
    with np.load(data_folder / "images" / "flowers17_features.npz") as file:
        assert np.array_equal(file["y"], flowers.labels)
        published = file["mobilenet_v2"][rows].astype(np.float32)
    found, backbone_s, image_s = photographs.embed(network, flowers.only(rows))
    assert np.linalg.norm(found - published) < 1e-3 * np.linalg.norm(published)
    assert backbone_s > 0
    assert image_s > 0


@pytest.mark.real_data
@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["mobilenet_v2", "squeezenet11"])
def test_photographs(example, data_folder: Path, tmp_path: Path, backbone: str) -> None:
    if backbone == "squeezenet11":
        pytest.importorskip("h5py")
    path = tmp_path / "report.html"
    results = example("transfer_images").main(
        ["--data", str(data_folder), "--backbone", backbone, "--classes", "3", "--images", "12",
         "--shots", "2", "--unlabelled", "15", "--draws", "1", "-o", str(path)]
    )  # fmt: skip
    found = {each.name: each for each in results}
    assert all(0 <= each.augmented <= 1 for each in results)
    assert found["raw augmentation"].macs == 6 * found["no augmentation"].macs
    html = path.read_text(encoding="utf-8")
    assert html.count('src="data:image/jpeg;base64,') == 18
    assert not re.search(r'(src|href)="(?!data:)', html)
    assert "Unexplained displacement" in html


@pytest.mark.real_data
@pytest.mark.slow
def test_sentences(example, data_folder: Path) -> None:
    found = example("transfer_text").main(
        ["--data", str(data_folder), "--sentences", "150", "--shots", "5", "--unlabelled", "80",
         "--test", "50", "--draws", "1"]
    )  # fmt: skip
    assert set(found) == {5}
    assert all(0 <= each["clean"] <= 1 for each in found[5].values())


class Vectors:
    """Four words; the last two are the nearest of each other."""

    index_to_key = ("a", "b", "c", "d")
    vectors = np.array([[1, 0, 0], [0, 1, 0], [0, 0.1, 1], [0, 0, 1]], dtype=np.float32)


def test_words(example) -> None:
    sentences = example("_sentences")
    vectors = sentences.WordVectors(Vectors(), ["c", "d", "unknown"], n_neighbours=1)
    assert vectors.neighbours == {"c": ["d"], "d": ["c"]}
    assert vectors.embed([["a", "b"], ["unknown"]]).tolist() == [[0.5, 0.5, 0], [0, 0, 0]]
    words, others = ["a", "c", "d", "unknown"], [["b", "b"]]

    def random() -> np.random.Generator:
        return np.random.default_rng(0)

    near = sentences.synonyms(words, others, vectors, random(), share=1)
    assert near == ["a", "d", "c", "unknown"]
    assert sentences.swap(words, others, vectors, random(), share=1) == ["b"] * 4
    assert len(sentences.drop(words, others, vectors, random(), share=1)) == 1
    for each in (sentences.synonyms, sentences.swap, sentences.drop):
        assert each(words, others, vectors, random(), share=0) == words
    transforms = [
        sentences.transform_all(sentences.swap, [words] * 3, vectors, seed) for seed in (1, 1, 2)
    ]
    assert transforms[0] == transforms[1] != transforms[2]
