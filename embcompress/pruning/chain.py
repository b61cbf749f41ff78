"""The layers of a model in the order they run, and parts of it that can run alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from embcompress.pruning.layers import macs
from embcompress.pruning.tracing import Follower, followers
from embcompress.training import copy_model

__all__ = ["Chain"]


class Chain:
    """Layers of a trained model, to be rebuilt one by one or several in a row.

    Two layers in a row are linked if what runs between them is known: the modules between them in
    one `Sequential`, or one normalization and one activation. It is checked on inputs that this
    gives exactly what the second layer is given; sums of branches, pooling and reshaping by hand
    are no links.

    Parameters
    ----------
    model : Module
        Trained: the teacher; copied.
    names : sequence of str
        Modules `Linear` or `Conv2d`, in any order.
    inputs : Tensor of shape (n, ...)
        To try the model on.

    Attributes
    ----------
    teacher : Module
        Frozen copy in evaluation mode.
    names : list of str
        In the order in which they run.
    linked : list of bool
        Whether layer i and layer i + 1 can be in one block.
    macs : dict of str to float
        Multiply-accumulate operations of each prunable weight, for one sample.

    Raises
    ------
    ValueError
        If a layer is not called, or more than once.
    """

    def __init__(self, model: nn.Module, names: Sequence[str], inputs: Tensor) -> None:
        self.teacher = copy_model(model).eval().requires_grad_(False)
        self.macs = macs(self.teacher, inputs)
        found = self._calls(names, inputs)
        self.names = list(found)
        self._links: list[list[Follower] | None] = []
        for first, second in zip(self.names, self.names[1:], strict=False):
            ways = (
                _between(self.teacher, first, second),
                followers(self.teacher, first, inputs),
            )
            fitting = [w for w in ways if w is not None and self._leads(w, found, first, second)]
            self._links.append(fitting[0] if fitting else None)
        # what a block is compared behind; nothing follows the last layer
        self._tails = [followers(self.teacher, name, inputs) for name in self.names]

    @property
    def linked(self) -> list[bool]:  # noqa: D102 - see the class
        return [link is not None for link in self._links]

    def activations(self, inputs: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """Run the teacher.

        Parameters
        ----------
        inputs : Tensor of shape (n, ...)

        Returns
        -------
        dict of str to (Tensor, Tensor)
            Layer -> its input and its output, without gradients.
        """
        return self._calls(self.names, inputs)

    def run(self, model: nn.Module, first: int, last: int, inputs: Tensor) -> Tensor:
        """Run layers in a row, and what follows the last of them.

        Parameters
        ----------
        model : Module
            The teacher, or a student with the same modules.
        first, last : int
            Numbers of layers, both inclusive; all in between are linked.
        inputs : Tensor
            Of layer `first`.

        Returns
        -------
        Tensor
        """
        for i in range(first, last + 1):
            inputs = model.get_submodule(self.names[i])(inputs)
            for follow in (self._links[i] or ()) if i < last else ():
                inputs = follow(model, inputs)
        return self.after(model, last, inputs)

    def after(self, model: nn.Module, layer: int, output: Tensor) -> Tensor:
        """Apply the normalization and activation that follow a layer to its output."""
        for follow in self._tails[layer]:
            output = follow(model, output)
        return output

    def _calls(self, names: Sequence[str], inputs: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """Input and output of each layer, in the order of the calls."""
        found: dict[str, tuple[Tensor, Tensor]] = {}

        def hook_of(name: str) -> Any:
            def hook(module: nn.Module, arguments: tuple, output: Tensor) -> None:
                if name in found:
                    raise ValueError(
                        f"the model calls its layer {name!r} more than once; the search needs "
                        "layers that are called once: leave it out of the rates"
                    )
                # copied: what follows may work in place
                found[name] = (arguments[0].clone(), output.clone())

            return hook

        handles = [
            self.teacher.get_submodule(name).register_forward_hook(hook_of(name)) for name in names
        ]
        try:
            with torch.no_grad():
                self.teacher(inputs)
        finally:
            for handle in handles:
                handle.remove()
        missing = [name for name in names if name not in found]
        if missing:
            raise ValueError(
                f"the model does not call {', '.join(missing)} on these inputs; leave them out "
                "of the rates"
            )
        return found

    def _leads(self, way: list[Follower], found: dict, first: str, second: str) -> bool:
        """Whether the way from the output of one layer ends at the input of the other."""
        wanted, tensor = found[second][0], found[first][1].clone()
        with torch.no_grad():
            for follow in way:
                tensor = follow(self.teacher, tensor)
        return tensor.shape == wanted.shape and torch.allclose(tensor, wanted, atol=1e-6)


def _between(model: nn.Module, first: str, second: str) -> list[Follower] | None:
    """The modules between two layers of one `Sequential`."""
    parent, _, start = first.rpartition(".")
    other, _, stop = second.rpartition(".")
    sequence = model.get_submodule(parent)
    if parent != other or not isinstance(sequence, nn.Sequential):
        return None
    children = list(sequence._modules)
    names = children[children.index(start) + 1 : children.index(stop)]
    return [partial(_call, f"{parent}.{name}" if parent else name) for name in names]


def _call(name: str, model: nn.Module, tensor: Tensor) -> Tensor:
    output: Tensor = model.get_submodule(name)(tensor)
    return output
