"""Features of the photographs and of their views, made once: ``cache/augmentation``."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
sys.path.insert(0, str(EXAMPLES))

from _backbones import BACKBONES, load_backbone  # noqa: E402
from _photographs import embed, load_flowers  # noqa: E402
from _transforms import FIXED, RANDOM, Transform  # noqa: E402

CACHE = Path(__file__).resolve().parent / "cache" / "augmentation"
KINDS: dict[str, dict[str, Transform]] = {"fixed": FIXED, "random": RANDOM}
Array = npt.NDArray[Any]


def data_folder() -> Path:
    """The folder of the data."""
    return Path(os.environ["EMBCOMPRESS_DATA"])


def cached(name: str, make: Callable[[], dict[str, Array]]) -> dict[str, Array]:
    """Arrays from the cache, made once."""
    path = CACHE / f"{name}.npz"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{name}.part.npz")
        np.savez(partial, **make())
        partial.replace(path)
    with np.load(path) as file:
        return {key: file[key] for key in file.files}


def view_features(backbone: str, kind: str = "clean", name: str = "") -> dict[str, Array]:
    """Features of one view of all photographs.

    Parameters
    ----------
    backbone : {"mobilenet_v2", "squeezenet11"}
    kind : {"clean", "fixed", "random"}
    name : str
        Name of the transform; nothing for "clean".

    Returns
    -------
    dict
        ``features`` (n, d); ``backbone_s`` and ``image_s``, CPU seconds of all of them.
    """

    def make() -> dict[str, Array]:
        import torch

        torch.set_num_threads(1)
        transform = None if kind == "clean" else KINDS[kind][name]
        found = embed(
            load_backbone(backbone, data_folder()), load_flowers(data_folder()), transform
        )
        return dict(zip(("features", "backbone_s", "image_s"), map(np.asarray, found), strict=True))

    return cached("-".join(filter(None, (backbone, kind, name))), make)


@cache
def labels() -> npt.NDArray[np.int64]:
    """Class of every image."""
    return load_flowers(data_folder()).labels


def check_features() -> None:
    """Stop if clean features are not those that the data folder has of the same images."""
    with np.load(data_folder() / "images" / "flowers17_features.npz") as file:
        for backbone in BACKBONES:
            published = file[backbone].astype(np.float32)
            ours = view_features(backbone)["features"]
            error = np.linalg.norm(ours - published) / np.linalg.norm(published)
            if error > 1e-3:
                raise RuntimeError(f"features of {backbone} are {error:.1e} off those of the data")


def make_all() -> None:
    """All features that the benchmark uses."""
    for kind, transforms in KINDS.items():
        for backbone in BACKBONES:
            for name in ["", *transforms]:
                start = time.process_time()
                view_features(backbone, kind if name else "clean", name)
                print(f"{backbone} {kind} {name or 'clean'}: {time.process_time() - start:.0f} s")


if __name__ == "__main__":
    make_all()
    check_features()
