"""The networks inside the heads, as plain torch modules."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import nn

__all__ = ["ACTIVATIONS", "Convolutional", "Feedforward", "Recurrent"]

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
    "silu": nn.SiLU,
}


class Feedforward(nn.Module):
    """Linear layers with activations between them; one layer makes a linear classifier.

    Parameters
    ----------
    sizes : sequence of int
        Inputs, hidden units, outputs.
    activation : str
        A key of `ACTIVATIONS`.
    dropout : float
        Share of hidden units set to 0 in training.
    """

    def __init__(
        self, sizes: Sequence[int], activation: str = "relu", dropout: float = 0.0
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise(sizes[:-1]):
            layers += [nn.Linear(n_in, n_out), ACTIVATIONS[activation]()]
            if dropout > 0:
                layers.append(nn.Dropout(dropout))
        layers.append(nn.Linear(sizes[-2], sizes[-1]))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of shape (n, outputs) of rows (n, inputs)."""
        return self.layers(x)


class Recurrent(nn.Module):
    """Gated recurrent units over frames, pooled over time, and a linear layer.

    Frames that are NaN come after the end of a sequence and count for nothing.

    Parameters
    ----------
    n_features, hidden_size, n_layers, n_outputs : int
    bidirectional : bool
    pooling : {"mean", "last"}
        Mean of the hidden states of all frames, or the state after the last frame.
    dropout : float
        Share of units set to 0 in training, between layers and before the linear layer.
    """

    def __init__(
        self,
        n_features: int,
        hidden_size: int,
        n_layers: int,
        n_outputs: int,
        bidirectional: bool = False,
        pooling: str = "mean",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.gru = nn.GRU(
            n_features, hidden_size, n_layers, batch_first=True, bidirectional=bidirectional,
            dropout=dropout if n_layers > 1 else 0.0,
        )  # fmt: skip
        self.pooling = pooling
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden_size * (2 if bidirectional else 1), n_outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of shape (n, outputs) of frames (n, time, features)."""
        present = ~torch.isnan(x[:, :, 0])
        whole = bool(present.all())
        if whole:
            states, last = self.gru(x)
        else:
            x = torch.where(present[:, :, None], x, 0)
            states, last = self._ragged(x, present)
        if self.pooling == "mean":
            weights = present.to(states.dtype)[:, :, None]
            pooled = (states * weights).sum(dim=1) / weights.sum(dim=1)
        elif self.gru.bidirectional:
            pooled = torch.cat([last[-2], last[-1]], dim=1)
        else:
            # right of the end a one-way network has run on: take the state at the end
            ends = present.sum(dim=1) - 1
            pooled = states[torch.arange(len(x), device=x.device), ends]
        return self.output(self.dropout(pooled))

    def lowered(self, parts: Any, frames: Any) -> Any:
        """Layers, for :mod:`embcompress.lowering`, which cannot trace what depends on NaN."""
        states, _ = parts.child("gru", frames)
        pooled = parts.pool_frames(states, self.pooling, self.gru.hidden_size)
        return parts.child("output", pooled)

    def _ragged(self, x: torch.Tensor, present: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.gru.bidirectional:
            # what comes after the end cannot reach the frames before it; packing would only cost
            return self.gru(x)
        packed = nn.utils.rnn.pack_padded_sequence(
            x, present.sum(dim=1).cpu(), batch_first=True, enforce_sorted=False
        )
        states, last = self.gru(packed)
        padded, _ = nn.utils.rnn.pad_packed_sequence(
            states, batch_first=True, total_length=x.shape[1]
        )
        return padded, last


class Convolutional(nn.Module):
    """Convolutions with batch normalization, pooling over space, and a linear layer.

    Each convolution but the last is followed by 2 x 2 maximum pooling while the map is at least
    4 x 4; at the end comes the mean over space.

    Parameters
    ----------
    shape : (int, int, int)
        Channels, height and width of the input.
    channels : sequence of int
        Outputs of each convolution.
    kernel_size : int
        Odd, so that a map keeps its size.
    n_outputs : int
    dropout : float
        Before the linear layer.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        channels: Sequence[int],
        kernel_size: int,
        n_outputs: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        n_in, height, width = shape
        layers: list[nn.Module] = []
        for i, n_out in enumerate(channels):
            layers += [
                nn.Conv2d(n_in, n_out, kernel_size, padding=kernel_size // 2, bias=False),
                nn.BatchNorm2d(n_out),
                nn.ReLU(),
            ]
            if i < len(channels) - 1 and min(height, width) >= 4:
                layers.append(nn.MaxPool2d(2))
                height, width = height // 2, width // 2
            n_in = n_out
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        if dropout > 0:
            layers.append(nn.Dropout(dropout))
        layers.append(nn.Linear(n_in, n_outputs))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of shape (n, outputs) of maps (n, channels, height, width)."""
        return self.layers(x)
