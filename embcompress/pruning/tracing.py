"""Look into a model as it runs: the output of a layer, and what directly follows it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

__all__ = ["Follower", "check_forward", "followers", "norms_after", "output_of"]

# applied to (model, tensor)
Follower: TypeAlias = Callable[[nn.Module, Tensor], Tensor]

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
ACTIVATIONS = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.ELU,
    nn.Hardswish, nn.Softplus,
)  # fmt: skip
FUNCTIONS = {
    functional.relu, functional.relu6, functional.leaky_relu, functional.gelu, functional.silu,
    functional.elu, functional.hardswish, functional.softplus, torch.relu, torch.tanh,
    torch.sigmoid, Tensor.relu, Tensor.tanh, Tensor.sigmoid,
}  # fmt: skip


class _Reached(Exception):
    """Ends a forward pass: what comes after the layer is not needed."""


def output_of(model: nn.Module, name: str, inputs: Tensor) -> Tensor:
    """Run a model up to one of its modules.

    Parameters
    ----------
    model : Module
    name : str
        Of the module.
    inputs : Tensor of shape (n, ...)

    Returns
    -------
    Tensor
        What the module gives: of recurrent layers the states of all steps.

    Raises
    ------
    ValueError
        If the model does not call the module.
    """
    caught: list[Tensor] = []

    def hook(module: nn.Module, arguments: tuple, output: Any) -> None:
        caught.append(_states(output))
        raise _Reached

    handle = model.get_submodule(name).register_forward_hook(hook)
    try:
        model(inputs)
    except _Reached:
        pass
    finally:
        handle.remove()
    if not caught:
        raise ValueError(f"the model does not call its module {name!r} on these inputs")
    return caught[0]


def followers(model: nn.Module, name: str, inputs: Tensor) -> list[Follower]:
    """Find the normalization and activation that directly follow a layer, by running the model.

    Modules and functions are recognized by the tensor that they are given, so the order of
    definition does not matter. A sum, as in residual networks, ends the chain.

    Parameters
    ----------
    model : Module
    name : str
        Of the layer.
    inputs : Tensor of shape (n, ...)

    Returns
    -------
    list of callable
        Each maps ``(model, tensor)`` to a tensor.
    """
    calls: list[tuple[Tensor, Follower, Tensor]] = []
    start: list[Tensor] = []

    def record(module_name: str) -> Any:
        def hook(module: nn.Module, arguments: tuple, output: Tensor) -> None:
            calls.append((arguments[0], partial(_call_module, module_name), output))

        return hook

    handles = [
        model.get_submodule(name).register_forward_hook(
            lambda module, arguments, output: start.append(_states(output))
        )
    ]
    for module_name, module in model.named_modules():
        if isinstance(module, (*NORMS, *ACTIVATIONS)) and not list(module.children()):
            handles.append(module.register_forward_hook(record(module_name)))
    training = model.training
    try:
        model.eval()
        with torch.no_grad(), _Functions(calls):
            model(inputs)
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    return _chain(start[0], calls) if start else []


class _Functions(TorchFunctionMode):
    """Note every call of an activation that is a function, not a module."""

    def __init__(self, calls: list[tuple[Tensor, Follower, Tensor]]) -> None:
        super().__init__()
        self.calls = calls

    def __torch_function__(
        self, func: Any, types: Iterable[type], args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        if func in FUNCTIONS and args:
            again = partial(_call_function, func, args[1:], kwargs or {})
            self.calls.append((args[0], again, output))
        return output


def _call_module(name: str, model: nn.Module, tensor: Tensor) -> Tensor:
    return model.get_submodule(name)(tensor)


def _call_function(func: Any, args: tuple, kwargs: dict, model: nn.Module, x: Tensor) -> Tensor:
    return func(x, *args, **kwargs)


def _chain(
    tensor: Tensor, calls: list[tuple[Tensor, Follower, Tensor]], longest: int = 2
) -> list[Follower]:
    """Follow a tensor through the calls; normalization and activation are two at most.

    A module of an activation calls its function, which ends first and is noted first; either of
    the two does.
    """
    chain: list[Follower] = []
    used: set[int] = set()
    while len(chain) < longest:
        following = (
            i for i, (given, _, _) in enumerate(calls) if given is tensor and i not in used
        )
        i = next(following, None)
        if i is None:
            break
        used |= {j for j, (given, _, _) in enumerate(calls) if given is tensor}
        chain.append(calls[i][1])
        tensor = calls[i][2]
    return chain


def norms_after(model: nn.Module) -> dict[str, str]:
    """Find the batch normalization that each layer feeds, by symbolic tracing.

    Parameters
    ----------
    model : Module

    Returns
    -------
    dict of str to str
        Name of a `Linear` or `Conv2d` -> name of the normalization that alone uses its output.
        Empty if the model cannot be traced, such as where its control flow depends on data.
    """
    if not any(isinstance(module, NORMS) for module in model.modules()):
        return {}
    try:
        graph = fx.Tracer().trace(model)
    except Exception:  # tracing runs foreign code, which may fail in any way
        return {}
    modules = dict(model.named_modules())
    found = {}
    for node in graph.nodes:
        if node.op != "call_module" or not isinstance(modules[node.target], NORMS):
            continue
        source = node.args[0]
        if (
            isinstance(source, fx.Node)
            and source.op == "call_module"
            and isinstance(modules[str(source.target)], (nn.Linear, nn.Conv2d))
            and len(source.users) == 1
        ):
            found[str(source.target)] = str(node.target)
    return found


def check_forward(model: nn.Module, inputs: Tensor) -> None:
    """Try a model on inputs.

    Parameters
    ----------
    model : Module
    inputs : Tensor of shape (n, ...)

    Raises
    ------
    ValueError
        If the forward pass fails; the message holds the shape of the inputs and the reason.
    """
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        with torch.no_grad():
            model(inputs)
    except Exception as error:
        raise ValueError(
            f"the forward pass of {type(model).__name__} fails on inputs of shape "
            f"{tuple(inputs.shape)} and type {inputs.dtype}: {error}"
        ) from error
    finally:
        for module, mode in modes:
            module.training = mode


def _states(output: Any) -> Tensor:
    if isinstance(output, nn.utils.rnn.PackedSequence):
        return output.data
    if isinstance(output, tuple):  # of recurrent layers: (states, last)
        return _states(output[0])
    return output
