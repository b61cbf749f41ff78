"""Networks, lowered and compared with PyTorch."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from embcompress import runtime as rt
from embcompress.lowering import lower
from embcompress.runtime.passes import simplify
from embcompress.runtime.reference import evaluate


def output(graph: rt.Graph, x: np.ndarray) -> np.ndarray:
    return evaluate(graph, x)[graph.nodes[-1].name]


class Call(nn.Module):
    """Any function as a forward pass; may use the modules that it is given."""

    def __init__(self, function, **modules):
        super().__init__()
        self.function = function
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, x):
        return self.function(self, x)


def settled(module: nn.Module) -> nn.Module:
    """Batch normalization as after a training."""
    for part in module.modules():
        if isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d)):
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2)
            if part.affine:
                part.weight.data.uniform_(0.5, 2)
                part.bias.data.normal_()
    return module


def check(module: nn.Module, shape: tuple[int, ...], n_frames: int = 0, **options) -> rt.Graph:
    """Lower a module, compare it, and return the graph."""
    settled(module).train()
    state = {name: part.clone() for name, part in module.state_dict().items()}
    attributes = {id(part): set(vars(part)) for part in module.modules()}
    graph = lower(module, input_shape=shape, **options)
    assert all(part.training for part in module.modules())
    assert all(torch.equal(part, state[name]) for name, part in module.state_dict().items())
    assert {id(part): set(vars(part)) for part in module.modules()} == attributes
    module.eval()
    time = (n_frames,) if n_frames else ()
    x = torch.randn(5, *time, *shape)
    with torch.no_grad():
        found = module(x.clone())
    expected = (found[0] if isinstance(found, tuple) else found).numpy()
    found = output(graph, x.numpy())
    np.testing.assert_allclose(found, expected.reshape(found.shape), rtol=1e-5, atol=1e-5)
    smaller = output(simplify(graph), x.numpy())
    np.testing.assert_allclose(smaller, found, rtol=1e-5, atol=1e-5)
    if not any(weight.n_kept == 0 for weight in graph.weights().values()):
        compiled = rt.compile(module, input_shape=shape)(x.numpy())
        np.testing.assert_allclose(compiled, found, rtol=1e-4, atol=1e-4)
    return graph


def names(graph: rt.Graph) -> list[str]:
    return [node.name for node in graph.nodes]


def kinds(graph: rt.Graph) -> list[str]:
    return [type(node.record).__name__ for node in graph.nodes]
