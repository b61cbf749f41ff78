"""ResNet-20 of the CIFAR experiments, from the published weights; needs PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from _data import CACHE, data_folder
from _pruning_data import Split
from torch import Tensor, nn
from torch.nn import functional

from embcompress.pruning import Distillation, Masks, TaskLoss, finetune
from embcompress.training import copy_model

__all__ = ["Parts", "ResNet20", "accuracy", "published_resnet20", "trained", "tuned_resnet20"]

BATCH = 128
# steps of the cosine, in every training
N_PARTS = 20
TUNING_RATE, WEIGHT_DECAY, TEMPERATURE = 0.02, 1e-4, 6.0
# of the published weights
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut without weights (option A of the paper)."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.relu2 = nn.ReLU()
        self.stride, self.extra = stride, (n_out - n_in) // 2

    def forward(self, x: Tensor) -> Tensor:
        """Maps of `n_out` channels."""
        z = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        if self.extra:
            x = x[:, :, :: self.stride, :: self.stride]
            x = functional.pad(x, (0, 0, 0, 0, self.extra, self.extra))
        return self.relu2(z + x)


class ResNet20(nn.Module):
    """ResNet-20 for images of 32 x 32 (He et al., 2016): uint8, or floats in [0, 1].

    Where the processor can, it computes in bfloat16 (weights and their updates stay float32),
    which takes about half of the time; :func:`accuracy` is of float32.
    """

    def __init__(self) -> None:
        super().__init__()
        self.short = has_bfloat16()
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        n_in = 16
        for i, n_out in enumerate((16, 32, 64), 1):
            strides = (1 if i == 1 else 2, 1, 1)
            blocks = [
                BasicBlock(n, n_out, s) for n, s in zip((n_in, n_out, n_out), strides, strict=True)
            ]
            setattr(self, f"layer{i}", nn.Sequential(*blocks))
            n_in = n_out
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of shape (n, 10)."""
        x = x.float() / 255 if x.dtype == torch.uint8 else x
        x = ((x - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.short):
            x = self.relu(self.bn1(self.conv1(x)))
            x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.float().mean((2, 3)))


@cache
def has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16; without, it is slower than float32."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    except OSError:
        return False
    return "avx512_bf16" in flags


def augmented(images: Tensor) -> Tensor:
    """Half of the images mirrored, and all shifted by up to four places.

    One shift for all images of a batch is much cheaper than one for each.
    """
    mirrored = torch.rand(len(images), 1, 1, 1) < 0.5
    images = torch.where(mirrored, images.flip(3), images)
    x, y = torch.randint(0, 9, (2,)).tolist()
    return functional.pad(images, (4, 4, 4, 4))[:, :, y : y + 32, x : x + 32]


def published_resnet20(path: Path) -> ResNet20:
    """Read the published weights."""
    stored = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    model = ResNet20()
    model.load_state_dict({name.removeprefix("module."): part for name, part in stored.items()})
    return model.eval()


class Parts:
    """Images and labels by parts: every epoch has the next `n_rows` of one long shuffled order.

    So few epochs see many different rows, and a rate that changes by epoch falls smoothly.
    The images of a batch are augmented before student and teacher see them.

    Parameters
    ----------
    X : ndarray of shape (n, ...)
    y : ndarray of int64, shape (n,)
    n_rows : int
        Of an epoch.
    seed : int
    """

    def __init__(self, X: npt.NDArray, y: npt.NDArray, n_rows: int, seed: int) -> None:
        self.X, self.y, self.n_rows, self.seed = X, y, n_rows, seed
        self._order: Iterator[int] | None = None

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        if self._order is None:
            self._order = self._rows()
        rows = np.fromiter(islice(self._order, self.n_rows), np.int64, self.n_rows)
        for part in np.array_split(rows, -(-self.n_rows // BATCH)):
            yield augmented(torch.from_numpy(self.X[part])), torch.from_numpy(self.y[part])

    def rewound(self) -> Parts:
        """Copy that begins at the start of the order."""
        return Parts(self.X, self.y, self.n_rows, self.seed)

    def _rows(self) -> Iterator[int]:
        generator = np.random.default_rng(self.seed)
        while True:
            yield from generator.permutation(len(self.X))


def tuned_resnet20(split: Split, *, n_images: int) -> ResNet20:
    """The published weights, tuned to the JPEG images; from the cache after the first time.

    Parameters
    ----------
    split : Split
    n_images : int
        So many are trained on in all.

    Returns
    -------
    ResNet20
    """
    name = f"resnet20-{len(split.X_train)}-{n_images}.pt"
    model = published_resnet20(data_folder() / "cnn" / "resnet20-12fca82f.th")
    path = CACHE / "pruning" / name
    if path.exists():
        model.load_state_dict(torch.load(path, weights_only=True))
        return model
    model = trained(model, Masks({}), split, n_images=n_images, rate=TUNING_RATE)
    torch.save(model.state_dict(), path)
    return model


def trained(
    model: nn.Module,
    masks: Masks,
    split: Split,
    *,
    n_images: int,
    rate: float,
    teacher: nn.Module | None = None,
    seed: int = 0,
) -> Any:
    """Copy that was trained under masks, by SGD with a rate that falls as a cosine.

    Parameters
    ----------
    model : Module
    masks : Masks
    split : Split
    n_images : int
        So many are trained on in all; different ones as far as there are enough.
    rate : float
    teacher : Module, optional
        Answer as it does, instead of by the labels.
    seed : int

    Returns
    -------
    Module
    """
    objective = TaskLoss() if teacher is None else Distillation(teacher, TEMPERATURE)
    data = Parts(split.X_train, split.y_train, n_images // N_PARTS, seed)
    return finetune(
        model, masks, objective, data, epochs=N_PARTS, learning_rate=rate, optimizer="sgd",
        weight_decay=WEIGHT_DECAY, schedule="cosine", random_state=seed,
    ).eval()  # fmt: skip


@torch.no_grad()
def accuracy(model: nn.Module, X: npt.NDArray, y: npt.NDArray) -> float:
    """Share of the images that are put in their class."""
    model = copy_model(model).eval()
    model.short = False  # type: ignore[assignment]
    right = 0
    for rows in np.array_split(np.arange(len(X)), -(-len(X) // 500)):
        logits = model(torch.from_numpy(X[rows]))
        right += int((logits.argmax(dim=1).numpy() == y[rows]).sum())
    return right / len(X)
