"""Tiny models of every kind of layer, with data that they can learn."""

from __future__ import annotations

import torch
from torch import nn

from embcompress.pruning import LabelledBatches

torch.set_num_threads(1)


class LastState(nn.Module):
    """A recurrent layer, and a linear one on its last state."""

    def __init__(self, kind: type[nn.Module], n_in: int = 6, hidden: int = 9, n_out: int = 3):
        super().__init__()
        self.rnn = kind(n_in, hidden, batch_first=True)
        self.output = nn.Linear(hidden, n_out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.output(self.rnn(x)[0][:, -1])


def mlp() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, 3))


def convolutional() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(),
        nn.Conv2d(6, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3),
    )  # fmt: skip


def gru() -> nn.Module:
    torch.manual_seed(2)
    return LastState(nn.GRU)


def lstm() -> nn.Module:
    torch.manual_seed(3)
    return LastState(nn.LSTM)


SHAPES = {"linear": (8,), "conv": (2, 5, 5), "gru": (4, 6), "lstm": (4, 6)}
MODELS = {"linear": mlp, "conv": convolutional, "gru": gru, "lstm": lstm}


def batches(name: str, n: int = 12) -> LabelledBatches:
    """Rows of three classes that differ in their mean."""
    generator = torch.Generator().manual_seed(4)
    labels = torch.arange(n) % 3
    inputs = torch.randn(n, *SHAPES[name], generator=generator)
    inputs += labels.reshape(-1, *[1] * (inputs.ndim - 1)) - 1.0
    return LabelledBatches(inputs, labels, batch_size=6)


def state_of(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same_state(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)
