"""Flowers of 17 kinds: the photographs, their views, and the features of a backbone."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from _transforms import Transform, generator_for
from PIL import Image

__all__ = ["Flowers", "embed", "load_flowers", "view", "views"]

_BATCH = 20


@dataclass(frozen=True, eq=False)
class Flowers:
    """Paths and labels, ordered by class and name.

    Attributes
    ----------
    paths : list of Path
    labels : ndarray of int64, shape (n,)
    """

    paths: list[Path]
    labels: npt.NDArray[np.int64]

    def only(self, rows: Sequence[int] | npt.NDArray[np.int64]) -> Flowers:
        """Some of them."""
        return Flowers([self.paths[i] for i in rows], self.labels[rows])


def load_flowers(data: Path) -> Flowers:
    """All 1,360 photographs of the data folder."""
    folders = sorted((data / "images" / "flowers17").iterdir(), key=lambda path: int(path.name))
    found = [(path, int(folder.name)) for folder in folders for path in sorted(folder.iterdir())]
    return Flowers([path for path, _ in found], np.array([label for _, label in found]))


def view(
    path: Path, side: int, transform: Transform | None = None, seed: int = 0, number: int = 0
) -> Image.Image:
    """The middle of a photograph, transformed before it is cut out.

    Parameters
    ----------
    path : Path
    side : int
        Pixels; the shorter side of the photographs is 256.
    transform : Transform, optional
        Default: none.
    seed, number : int
        What a random transform depends on: the seed, and the number of the photograph.

    Returns
    -------
    PIL.Image.Image
        RGB, `side` x `side`.
    """
    with Image.open(path) as file:
        image = file.convert("RGB")
    if transform is not None:
        image = transform(image, generator_for(seed, number))
    width, height = image.size
    left, top = (width - side) // 2, (height - side) // 2
    return image.crop((left, top, left + side, top + side))


def views(
    flowers: Flowers, side: int, transform: Transform | None = None, seed: int = 0
) -> Iterator[npt.NDArray[np.uint8]]:
    """Batches of views, uint8 of shape (rows, side, side, 3)."""
    for start in range(0, len(flowers.paths), _BATCH):
        numbers = range(start, min(start + _BATCH, len(flowers.paths)))
        images = [view(flowers.paths[i], side, transform, seed, i) for i in numbers]
        yield np.stack([np.asarray(image) for image in images])


def embed(
    backbone: Any, flowers: Flowers, transform: Transform | None = None, seed: int = 0
) -> tuple[npt.NDArray[np.float32], float, float]:
    """Features of a view of every photograph.

    Returns
    -------
    features : ndarray of float32, shape (n, d)
    backbone_seconds, image_seconds : float
        CPU time of the backbone, and of reading and transforming.
    """
    features, backbone_seconds = [], 0.0
    began = time.process_time()
    for images in views(flowers, backbone.side, transform, seed):
        start = time.process_time()
        features.append(backbone(images))
        backbone_seconds += time.process_time() - start
    total = time.process_time() - began
    return np.concatenate(features), backbone_seconds, total - backbone_seconds
