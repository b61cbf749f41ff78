"""ResNet-20 of the CIFAR experiments, from the published weights; needs PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Images", "ResNet20", "accuracy", "published_resnet20"]

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
    """ResNet-20 for images of 32 x 32 with values in [0, 1] (He et al., 2016)."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        n_in = 16
        for i, n_out in enumerate((16, 32, 64), 1):
            strides = (1 if i == 1 else 2, 1, 1)
            blocks = [BasicBlock(n, n_out, s) for n, s in zip((n_in, n_out, n_out), strides)]
            setattr(self, f"layer{i}", nn.Sequential(*blocks))
            n_in = n_out
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of shape (n, 10)."""
        x = self.relu(self.bn1(self.conv1((x - self.mean) / self.std)))
        return self.linear(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))


def published_resnet20(path: Path) -> ResNet20:
    """Read the published weights."""
    stored = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    model = ResNet20()
    model.load_state_dict({name.removeprefix("module."): part for name, part in stored.items()})
    return model.eval()


class Images:
    """Batches of images: a new part of the training images in every pass, mirrored and shifted.

    Parameters
    ----------
    X : ndarray of uint8, shape (n, 3, 32, 32)
    y : ndarray of int64, shape (n,)
    n_rows : int
        Images of a pass; passes go through all images before any comes again.
    batch_size : int
    seed : int
    augment : bool
    """

    def __init__(
        self,
        X: npt.NDArray,
        y: npt.NDArray,
        *,
        n_rows: int,
        batch_size: int = 128,
        seed: int = 0,
        augment: bool = True,
    ) -> None:
        self.X, self.y = torch.from_numpy(X), torch.from_numpy(y)
        self.n_rows, self.batch_size, self.augment = min(n_rows, len(X)), batch_size, augment
        self.seed = seed
        self._random = torch.Generator().manual_seed(seed)
        self._order = torch.empty(0, dtype=torch.int64)

    def rewound(self) -> Images:
        """Copy that begins with the first pass."""
        sizes = {"n_rows": self.n_rows, "batch_size": self.batch_size}
        return Images(
            self.X.numpy(), self.y.numpy(), **sizes, seed=self.seed, augment=self.augment
        )

    def __len__(self) -> int:
        return -(-self.n_rows // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        if len(self._order) < self.n_rows:
            more = torch.randperm(len(self.X), generator=self._random)
            self._order = torch.cat([self._order, more])
        rows, self._order = self._order[: self.n_rows], self._order[self.n_rows :]
        for part in rows.split(self.batch_size):
            inputs = self.X[part].float() / 255
            yield (self._augmented(inputs) if self.augment else inputs), self.y[part]

    def _augmented(self, inputs: Tensor) -> Tensor:
        mirrored = torch.rand(len(inputs), generator=self._random) < 0.5
        inputs[mirrored] = inputs[mirrored].flip(3)
        # one shift for all images of a batch is much cheaper than one for each
        x, y = torch.randint(0, 9, (2,), generator=self._random).tolist()
        return functional.pad(inputs, (4, 4, 4, 4))[:, :, y : y + 32, x : x + 32]


@torch.no_grad()
def accuracy(model: nn.Module, X: npt.NDArray, y: npt.NDArray) -> float:
    """Share of the images that are put in their class."""
    training = model.training
    model.eval()
    right = 0
    for rows in np.array_split(np.arange(len(X)), -(-len(X) // 500)):
        logits = model(torch.from_numpy(X[rows]).float() / 255)
        right += int((logits.argmax(dim=1).numpy() == y[rows]).sum())
    model.train(training)
    return right / len(X)
