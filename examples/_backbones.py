"""Pretrained networks for images as frozen embedders, in plain torch, and what they cost.

Both read files of weights of the data folder: MobileNetV2 (``.npz``, made from a quantized TFLite
file) and SqueezeNet 1.1 (``.h5`` of Keras, which needs h5py). Images come as uint8 of shape
(n, side, side, 3).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

__all__ = ["BACKBONES", "MobileNetV2", "SqueezeNet", "count_macs", "load_backbone"]

Images = npt.NDArray[np.uint8]
# codes of the file of MobileNetV2
_RELU, _RELU6 = 1, 3
_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")


class MobileNetV2:
    """MobileNetV2 1.0 of ImageNet, its int8 weights as floats; 1,280 features.

    Parameters
    ----------
    path : Path
    """

    file = "tf2_mobilenet_v2_1.0_224_ptq.npz"
    side, n_features = 224, 1280

    def __init__(self, path: Path) -> None:
        self.weights: dict[int, torch.Tensor] = {}
        self.biases: dict[int, torch.Tensor] = {}
        with np.load(path) as file:
            operations = json.loads(file["meta"].tobytes())["ops"]
            # what follows the mean over the map is the classifier of ImageNet
            end = next(i for i, step in enumerate(operations) if step["kind"] == "MEAN")
            self.steps = operations[:end]
            for step in self.steps:
                if step["kind"] in _CONVOLUTIONS:
                    self._read(file, step)

    def _read(self, file: Any, step: dict[str, Any]) -> None:
        name, grouped = f"op{step['i']}", step["kind"] == "DEPTHWISE_CONV_2D"
        integers = file[f"{name}_w"].astype(np.float32)
        shape = [1] * 4
        shape[3 if grouped else 0] = -1
        zero, scale = (file[f"{name}_{key}"].astype(np.float32) for key in ("wz", "ws"))
        weight = (integers - zero.reshape(shape)) * scale.reshape(shape)
        # channels first: TFLite keeps (1, h, w, channels) and (out, h, w, in)
        weight = weight.transpose((3, 0, 1, 2) if grouped else (0, 3, 1, 2))
        self.weights[step["i"]] = torch.from_numpy(np.ascontiguousarray(weight))
        self.biases[step["i"]] = torch.from_numpy(file[f"{name}_b"].reshape(-1).copy())

    def maps(self, images: Images) -> torch.Tensor:
        """Feature maps before pooling, shape (n, 1280, 7, 7)."""
        x = torch.as_tensor(images).permute(0, 3, 1, 2).float() / 127.5 - 1
        values = {self.steps[0]["ins"][0]: x}
        for step in self.steps:
            inputs = [values[key] for key in step["ins"] if key in values]
            if step["kind"] in _CONVOLUTIONS:
                x = self._convolve(step, inputs[0])
            else:
                x = inputs[0] + inputs[1] if step["kind"] == "ADD" else inputs[0]
            values[step["out"]] = x
        return x

    def _convolve(self, step: dict[str, Any], x: torch.Tensor) -> torch.Tensor:
        weight, stride = self.weights[step["i"]], step["stride"]
        size, side = weight.shape[-1], x.shape[-1]
        # "same" padding of TensorFlow: the odd pixel goes right and below
        total = max((-(-side // stride) - 1) * stride + size - side, 0)
        x = F.pad(x, (total // 2, total - total // 2) * 2)
        groups = x.shape[1] if step["kind"] == "DEPTHWISE_CONV_2D" else 1
        x = F.conv2d(x, weight, self.biases[step["i"]], stride, groups=groups)
        low, high = step["range"]
        if step["act"] == _RELU6:
            low, high = max(low, 0.0), min(high, 6.0)
        elif step["act"] == _RELU:
            low = max(low, 0.0)
        return x.clamp(low, high)

    def __call__(self, images: Images) -> npt.NDArray[np.float32]:
        """Pooled features, shape (n, 1280)."""
        return _pooled(self.maps, images)


class SqueezeNet:
    """SqueezeNet 1.1 of ImageNet without its classifier; 512 features.

    Parameters
    ----------
    path : Path
    """

    file = "squeezenet_weights_tf_dim_ordering_tf_kernels_notop.h5"
    side, n_features = 227, 512
    _means = (103.939, 116.779, 123.68)  # blue, green, red
    _pool_before = (2, 4, 6)

    def __init__(self, path: Path) -> None:
        self.weights, self.biases = _read_keras(path)

    def maps(self, images: Images) -> torch.Tensor:
        """Feature maps before pooling, shape (n, 512, 13, 13)."""
        x = torch.as_tensor(images).permute(0, 3, 1, 2).float().flip(1)
        x = self._convolve("conv1", x - torch.tensor(self._means).view(1, 3, 1, 1), stride=2)
        for number in range(2, 10):
            if number in self._pool_before:
                x = F.max_pool2d(x, 3, 2)
            x = self._convolve(f"fire{number}/squeeze1x1", x)
            wide = self._convolve(f"fire{number}/expand3x3", x, padding=1)
            x = torch.cat([self._convolve(f"fire{number}/expand1x1", x), wide], 1)
        return x

    def _convolve(self, name: str, x: torch.Tensor, **options: int) -> torch.Tensor:
        return F.conv2d(x, self.weights[name], self.biases[name], **options).relu()

    def __call__(self, images: Images) -> npt.NDArray[np.float32]:
        """Pooled features, shape (n, 512)."""
        return _pooled(self.maps, images)


BACKBONES: dict[str, type] = {"mobilenet_v2": MobileNetV2, "squeezenet11": SqueezeNet}


def load_backbone(name: str, data: Path) -> Any:
    """A backbone by its name, with the weights of the data folder."""
    kind = BACKBONES[name]
    return kind(data / "cnn" / kind.file)


def _read_keras(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Weights and biases by layer; those of Keras are (h, w, in, out)."""
    import h5py

    weights: dict[str, torch.Tensor] = {}
    biases: dict[str, torch.Tensor] = {}

    def take(name: str, item: Any) -> None:
        if not isinstance(item, h5py.Dataset):
            return
        parts = name.split("/")
        layer = parts[0] if parts[0] == "conv1" else "/".join(parts[:2])
        array = np.asarray(item, dtype=np.float32)
        if array.ndim == 4:
            weights[layer] = torch.from_numpy(np.ascontiguousarray(array.transpose(3, 2, 0, 1)))
        else:
            biases[layer] = torch.from_numpy(array)

    with h5py.File(path, "r") as file:
        file.visititems(take)
    return weights, biases


def _pooled(maps: Callable[[Images], torch.Tensor], images: Images) -> npt.NDArray[np.float32]:
    with torch.inference_mode():
        return maps(images).mean((2, 3)).numpy()


def count_macs(embed: Callable[[Images], Any], side: int) -> int:
    """Multiplications and additions, as pairs, of the convolutions of one image.

    Parameters
    ----------
    embed : callable
        Takes uint8 of shape (n, side, side, 3), and convolves with ``torch.nn.functional``.
    side : int

    Returns
    -------
    int
    """
    with _counting() as counts:
        embed(np.zeros((1, side, side, 3), dtype=np.uint8))
    return sum(counts)


@contextmanager
def _counting() -> Iterator[list[int]]:
    counts: list[int] = []
    plain = F.conv2d

    def counted(x: torch.Tensor, weight: torch.Tensor, *rest: Any, **options: Any) -> torch.Tensor:
        out = plain(x, weight, *rest, **options)
        counts.append(out[0].numel() * weight[0].numel())
        return out

    F.conv2d = counted
    try:
        yield counts
    finally:
        F.conv2d = plain
