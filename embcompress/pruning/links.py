"""Which layer alone feeds which other one, read from the graph of a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, fx, nn

from embcompress.pruning.tracing import ACTIVATIONS, FUNCTIONS, NORMS

__all__ = ["Link", "links"]

# leave a channel that is constant as it is, in evaluation mode
_CONSTANT = (
    nn.Dropout, nn.Dropout2d, nn.Identity, nn.MaxPool2d, nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
)  # fmt: skip
_METHODS = {"relu": Tensor.relu, "tanh": Tensor.tanh, "sigmoid": Tensor.sigmoid}

Step: TypeAlias = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Link:
    """A layer, `Linear` or `Conv2d`, that feeds another one and nothing else.

    Attributes
    ----------
    first, second : str
        Names of the modules.
    norms : tuple of str
        Batch normalizations between the two.
    steps : tuple of callable
        Normalization and activation, as maps of one value per unit, shape (1, n_units).
    """

    first: str
    second: str
    norms: tuple[str, ...]
    steps: tuple[Step, ...]


def links(model: nn.Module) -> list[Link]:
    """Find the layers that alone feed another one.

    Parameters
    ----------
    model : Module

    Returns
    -------
    list of Link
        In the order in which they run. Empty if the model cannot be traced, such as where its
        control flow depends on data.
    """
    try:
        nodes = list(fx.Tracer().trace(model).nodes)
    except Exception:  # tracing runs foreign code, which may fail in any way
        return []
    modules = dict(model.named_modules())
    calls = Counter(node.target for node in nodes if node.op == "call_module")
    tied = _tied(model)
    found = []
    for node in nodes:
        if _is_layer(node, modules):
            link = _follow(node, modules)
            names = () if link is None else (link.first, *link.norms, link.second)
            if link and not tied & set(names) and all(calls[name] == 1 for name in names):
                found.append(link)
    return found


def _follow(node: fx.Node, modules: Mapping[str, nn.Module]) -> Link | None:
    """The link that begins with a layer, if all on the way is known and used once."""
    first: Any = modules[str(node.target)]
    at, is_flat = node, isinstance(first, nn.Linear)
    norms: list[str] = []
    steps: list[Step] = []
    while len(at.users) == 1:
        source, at = at, next(iter(at.users))
        if not at.args or at.args[0] is not source:
            return None
        module = modules.get(str(at.target)) if at.op == "call_module" else None
        if _is_layer(at, modules):
            fits = _fits(first, module, is_flat)
            return (
                Link(str(node.target), str(at.target), tuple(norms), tuple(steps)) if fits else None
            )
        if isinstance(module, NORMS) and module.running_mean is not None:
            norms.append(str(at.target))
            steps.append(partial(_normalized, module))
        elif isinstance(module, ACTIVATIONS):
            steps.append(module)
        elif at.op == "call_function" and at.target in FUNCTIONS:
            steps.append(partial(_called, at.target, at.args[1:], at.kwargs))
        elif at.op == "call_method" and at.target in _METHODS:
            steps.append(_METHODS[str(at.target)])
        elif _is_flatten(at, module):
            is_flat = True
        elif not isinstance(module, _CONSTANT):
            return None
    return None


def _is_layer(node: fx.Node, modules: Mapping[str, nn.Module]) -> bool:
    module = modules.get(str(node.target)) if node.op == "call_module" else None
    return isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1)


def _is_flatten(node: fx.Node, module: nn.Module | None) -> bool:
    """Whether all axes but the first become one: channels lie behind one another."""
    if isinstance(module, nn.Flatten):
        return module.start_dim == 1 and module.end_dim == -1
    called = node.target is torch.flatten or (node.op, node.target) == ("call_method", "flatten")
    return called and (*node.args[1:], *node.kwargs.values()) == (1,)


def _fits(first: nn.Module, second: Any, is_flat: bool) -> bool:
    """Whether the inputs of a layer are the units of another, each once or several times."""
    n_units = len(first.weight)  # type: ignore[arg-type]
    n_inputs = second.weight.shape[1]
    if isinstance(first, nn.Linear) or isinstance(second, nn.Conv2d):
        return n_inputs == n_units and isinstance(second, nn.Linear) == is_flat
    return is_flat and n_inputs % n_units == 0


def _tied(model: nn.Module) -> set[str]:
    """Modules that share a parameter with another one."""
    owners: dict[int, set[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        owners.setdefault(id(parameter), set()).add(name.rpartition(".")[0])
    return {name for names in owners.values() if len(names) > 1 for name in names}


def _normalized(norm: Any, values: Tensor) -> Tensor:
    """What batch normalization makes of one value per channel in evaluation mode."""
    result: Tensor = nn.functional.batch_norm(
        values, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
    )
    return result


def _called(func: Any, args: tuple, kwargs: dict, values: Tensor) -> Tensor:
    result: Tensor = func(values, *args, **kwargs)
    return result
