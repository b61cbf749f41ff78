"""Features of the photographs and of their views, made once: ``cache/augmentation``."""

from __future__ import annotations

import sys
import time
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from _data import Array, cached, data_folder

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
sys.path.insert(0, str(EXAMPLES))

from _backbones import BACKBONES, load_backbone  # noqa: E402
from _photographs import embed, load_flowers  # noqa: E402
from _transforms import FIXED, RANDOM, Transform  # noqa: E402

KINDS: dict[str, dict[str, Transform]] = {"fixed": FIXED, "random": RANDOM}


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

    return cached("augmentation", "-".join(filter(None, (backbone, kind, name))), make)


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
