"""What a removed unit takes with it: the weights that read it, and units that nothing reads."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from embcompress.pruning.links import Link, links
from embcompress.pruning.masks import Masks
from embcompress.training import copy_model

__all__ = ["propagate"]


def propagate(model: nn.Module, masks: Masks) -> tuple[nn.Module, Masks]:
    """Remove what removed units leave without effect; the answers of the model stay.

    Where a layer (`Linear` or `Conv2d`) feeds another one and nothing else, through batch
    normalization, activation, pooling or flattening:

    - a unit without any input gives a constant. That goes into the bias of the next layer, and
      the weights of the next layer that read the unit are removed;
    - a unit that no weight of the next layer reads is removed, with its bias and normalization;

    again and again, until nothing changes. A constant that is not zero cannot go into a layer
    without bias, nor into a convolution that pads; what reads it is then kept. So is everything
    at sums of branches, and in models that cannot be traced, such as recurrent heads.

    Parameters
    ----------
    model : Module
        Pruned; left as it is.
    masks : Masks
        Of its weights; applied to the copy.

    Returns
    -------
    model : Module
        Copy that answers the same in evaluation mode, to rounding.
    masks : Masks
        Nothing more is kept than before. Layers that had no mask have one if they lost weights,
        and count in `Masks.rate` from then on.

    Raises
    ------
    ValueError
        If the masks are for another model.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(4, 2), nn.ReLU(), nn.Linear(2, 3))
    >>> kept = torch.tensor([[True] * 4, [False] * 4])
    >>> smaller, masks = propagate(model, Masks({"0.weight": kept}))
    >>> masks["2.weight"].tolist()
    [[True, False], [True, False], [True, False]]
    """
    copied = copy_model(model)
    masks.apply(copied)
    work = _Work(copied, dict(Masks(masks)))
    found = links(copied)
    # a list: all of them, every time
    while any([work.forward(link) | work.backward(link) for link in found]):
        pass
    return copied, Masks(work.kept)


class _Work:
    """The model and its masks; what a mask removes is zero in the model at any time."""

    def __init__(self, model: nn.Module, kept: dict[str, Tensor]) -> None:
        self.model = model
        self.kept = kept

    def forward(self, link: Link) -> bool:
        """Remove what reads units without inputs; True if there was something."""
        second: Any = self.model.get_submodule(link.second)
        reading = self._reading(link)
        lost = ~self._mask(f"{link.first}.weight").flatten(1).any(dim=1)
        lost &= reading.any(dim=2).any(dim=0)
        constants = self._constants(link)
        if second.bias is None or any(_padding(second)):
            lost &= constants == 0
        if not lost.any():
            return False
        with torch.no_grad():
            weights = second.weight.reshape(reading.shape).sum(dim=2)
            moved = weights[:, lost] @ constants[lost]
            if moved.any():
                second.bias += moved
        reading[:, lost] = False
        self._keep(f"{link.second}.weight", reading.reshape(second.weight.shape))
        return True

    def backward(self, link: Link) -> bool:
        """Remove units that nothing reads; True if there was something."""
        unread = ~self._reading(link).any(dim=2).any(dim=0)
        changed = False
        for module in (link.first, *link.norms):
            for name in ("weight", "bias"):
                if getattr(self.model.get_submodule(module), name, None) is None:
                    continue
                mask = self._mask(f"{module}.{name}")
                if mask[unread].any():
                    mask[unread] = False
                    self._keep(f"{module}.{name}", mask)
                    changed = True
        return changed

    def _reading(self, link: Link) -> Tensor:
        """Mask of the second layer, shape (rows, units of the first, weights of each)."""
        mask = self._mask(f"{link.second}.weight")
        n_units = len(self.model.get_parameter(f"{link.first}.weight"))
        return mask.reshape(len(mask), n_units, -1)

    def _constants(self, link: Link) -> Tensor:
        """What each unit of the first layer would give without inputs."""
        first: Any = self.model.get_submodule(link.first)
        with torch.no_grad():
            values = first.weight.new_zeros(1, len(first.weight))
            if first.bias is not None:
                values = values + first.bias
            for step in link.steps:
                values = step(values)
        return values[0]

    def _mask(self, name: str) -> Tensor:
        if name in self.kept:
            return self.kept[name].clone()
        return torch.ones_like(self.model.get_parameter(name), dtype=torch.bool)

    def _keep(self, name: str, mask: Tensor) -> None:
        self.kept[name] = mask
        with torch.no_grad():
            self.model.get_parameter(name).masked_fill_(~mask, 0.0)


def _padding(layer: Any) -> tuple[Any, ...]:
    """Zeros around maps, where a constant is no longer one."""
    if not isinstance(layer, nn.Conv2d) or layer.padding_mode != "zeros":
        return (0,)
    # "same" pads unless kernels have one place
    named = (max(layer.kernel_size) - 1,) if layer.padding == "same" else (0,)
    return named if isinstance(layer.padding, str) else layer.padding
