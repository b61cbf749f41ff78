"""Forward functions written in Python, followed by symbolic tracing with an example beside it.

torch.fx notes the calls. What depends on shapes, data types or on whether the model is in training
is decided by the example that runs along; what depends on numbers of the input is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from torch import Tensor, fx, nn
from torch.fx.node import map_arg

from embcompress.lowering.builder import (
    Builder,
    Direction,
    Picked,
    Refused,
    States,
    Value,
    unsupported,
)
from embcompress.lowering.calls import lower_call, name_of
from embcompress.lowering.layers import described, layer_of, lower_module

__all__ = ["lower_forward"]


class _Proxy(fx.Proxy):
    """A proxy that knows its shape, data type and the like."""

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.tracer.examples.get(self.node), name)  # type: ignore[attr-defined]
        if isinstance(found, Tensor) or callable(found):
            return super().__getattr__(name)
        return found

    def __len__(self) -> int:
        return len(self.tracer.examples[self.node])  # type: ignore[attr-defined]


class _Tracer(fx.Tracer):
    """Notes calls, and runs them on an example.

    Attributes
    ----------
    examples : dict of Node to object
        What each node gives on the example.
    """

    def __init__(self, example: Tensor) -> None:
        super().__init__()
        self.examples: dict[fx.Node, Any] = {}
        self._example: Tensor | None = example
        self._running = False

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return layer_of(m) is not None or super().is_leaf_module(m, module_qualified_name)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)

    def create_proxy(self, kind: str, target: Any, *args: Any, **kwargs: Any) -> Any:
        proxy = super().create_proxy(kind, target, *args, **kwargs)
        if kind == "placeholder":
            if self._example is None:
                return self._default(target, args[0])
            self.examples[proxy.node], self._example = self._example, None
            return proxy
        self._running = True
        try:
            found = self.examples[proxy.node] = self._run(proxy.node)
        finally:
            self._running = False
        # sizes and the like go on as what they are
        return proxy if _holds_tensors(found) else found

    def _default(self, name: str, default: tuple) -> Any:
        """Value of a further parameter of the forward function."""
        if name.startswith("*"):
            return {} if name.startswith("**") else ()
        if not default:
            raise ValueError(f"its forward function needs {name!r} too; one input is supported")
        return default[0]

    def _run(self, node: fx.Node) -> Any:
        args = map_arg(node.args, self.examples.__getitem__)
        kwargs = map_arg(node.kwargs, self.examples.__getitem__)
        if node.op == "call_module":
            return self.root.get_submodule(str(node.target))(*args, **kwargs)
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        assert callable(node.target)
        return node.target(*args, **kwargs)

    def call_module(self, m: nn.Module, forward: Any, args: tuple, kwargs: dict) -> Any:
        if self._running:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict) -> Any:
        """Parameters stay tensors: what is computed from them alone is a constant."""
        return attr_val

    def create_arg(self, a: Any) -> Any:
        """Tensors become nodes; unlike in the base class, the model gets no attributes."""
        if isinstance(a, Tensor):
            node = self.create_node("get_attr", f"constant_{len(self.examples)}", (), {})
            self.examples[node] = a
            return node
        return super().create_arg(a)

    def to_bool(self, obj: Any) -> bool:
        found = self.examples[obj.node]
        if _holds_tensors(found):
            raise ValueError("what it runs depends on the numbers that it gets")
        return bool(found)

    def iter(self, obj: Any) -> Iterator:
        found = self.examples[obj.node]
        if isinstance(found, Tensor):
            raise ValueError("it runs through the rows of a tensor")
        return iter([obj[i] for i in range(len(found))])


def _holds_tensors(thing: Any) -> bool:
    if isinstance(thing, (tuple, list)):
        return any(map(_holds_tensors, thing))
    return isinstance(thing, Tensor)


def lower_forward(build: Builder, model: nn.Module, value: Value, example: Tensor) -> Any:
    """Add the nodes of a forward function.

    Parameters
    ----------
    build : Builder
    model : Module
        In evaluation mode.
    value : Value
        Its input.
    example : Tensor of shape (n, ...)
        An input; numbers do not matter.

    Returns
    -------
    Value, or something that becomes one (`Builder.settle`)

    Raises
    ------
    ValueError
        If the function cannot be traced, or calls what is not supported.
    """
    tracer = _Tracer(example)
    if tracer.is_leaf_module(model, ""):
        raise unsupported(described(model, ""))
    try:
        graph = tracer.trace(model)
    except Exception as error:  # foreign code runs here, which may fail in any way
        raise ValueError(
            f"{type(model).__name__} cannot be followed on inputs of shape "
            f"{tuple(example.shape)}: {error}"
        ) from error
    return _Interpreter(build, model, tracer.examples).run(graph, value)


class _Interpreter:
    """Goes through the calls that the output needs."""

    def __init__(self, build: Builder, model: nn.Module, examples: dict[fx.Node, Any]) -> None:
        self.build, self.model, self.examples = build, model, examples
        self.values: dict[fx.Node, Any] = {}

    def run(self, graph: fx.Graph, value: Value) -> Any:
        needed = self._needed(graph)
        output: Any = None
        for node in graph.nodes:
            if node not in needed:
                continue
            args = map_arg(node.args, self.values.__getitem__)
            kwargs = map_arg(node.kwargs, self.values.__getitem__)
            if node.op == "placeholder":
                found: Any = value
            elif node.op == "output":
                output = found = args[0]
                if isinstance(found, list) and len(found) == 1:  # of a function with *args
                    output = found[0]
            elif node.op == "get_attr" or not _holds_values((args, kwargs)):
                found = self.examples[node]
            else:
                found = self._call(node, args, kwargs)
            self.values[node] = found
            if self._in_place(node):
                self.values[node.args[0]] = found
        return output

    def _needed(self, graph: fx.Graph) -> set[fx.Node]:
        needed: set[fx.Node] = set()
        for node in reversed(graph.nodes):
            if node.op == "output" or node in needed or self._in_place(node):
                needed |= {node, *node.all_input_nodes}
        return needed

    def _in_place(self, node: fx.Node) -> bool:
        """Whether a call changes its first argument, which may be read again."""
        if not node.args or not isinstance(node.args[0], fx.Node):
            return False
        if node.op == "call_module":
            return bool(getattr(self.model.get_submodule(str(node.target)), "inplace", False))
        if node.op == "call_method":
            return str(node.target).endswith("_") and not str(node.target).endswith("__")
        return node.op == "call_function" and bool(node.kwargs.get("inplace", False))

    def _call(self, node: fx.Node, args: Any, kwargs: Any) -> Any:
        if node.op == "call_module":
            found = self._module(str(node.target), args, kwargs)
        else:
            found = lower_call(self.build, node.target, node.name, args, kwargs)
        example = self.examples[node]
        if isinstance(found, Value) and isinstance(example, Tensor):
            found = _fitting(found, example, name_of(node.target))
        return found

    def _module(self, name: str, args: Any, kwargs: Any) -> Any:
        module = self.model.get_submodule(name)
        given = [part for part in (*args, *kwargs.values()) if part is not None]
        if len(given) != 1:
            raise unsupported(f"{described(module, name)} with {len(given)} inputs")
        return lower_module(self.build, module, name, self.build.settle(given[0]))


def _holds_values(thing: Any) -> bool:
    if isinstance(thing, dict):
        return any(map(_holds_values, thing.values()))
    if isinstance(thing, (tuple, list)):
        return any(map(_holds_values, thing))
    return isinstance(thing, (Value, Picked, States, Direction, Refused))


def _fitting(value: Value, example: Tensor, name: str) -> Value:
    """The value, if it has the shape that the model gives."""
    if value.is_pooled and example.ndim == 2:
        value = replace(value, is_pooled=False)
    n_axes = {"rows": 2, "frames": 3, "maps": 4}[value.kind]
    shape = tuple(example.shape[2 if value.kind == "frames" else 1 :])
    right = shape == value.shape and example.ndim == n_axes
    if value.is_pooled:
        right = example.ndim in (3, 4) and shape[0] == value.shape[0] == example[0].numel()
    if not right:
        shape = tuple(example.shape)
        raise unsupported(f"{name}, which gives {shape} where {value} would be expected,")
    return value
