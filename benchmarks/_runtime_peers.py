"""Dense and sparse products of the libraries in use today, each as a call without arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import scipy.sparse
import torch
from onnx import TensorProto, helper, numpy_helper

Calls = dict[str, Callable[[], Any]]


def single_thread() -> None:
    """One thread and no gradients for PyTorch."""
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)


def session(nodes: list, arrays: dict[str, np.ndarray], x: np.ndarray) -> Callable[[], Any]:
    """ONNX Runtime on one thread for nodes that make ``y`` of ``x``."""
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(x.shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    running = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda: running.run(None, {"x": x})[0]


def dense_float32(weight: np.ndarray, x: np.ndarray) -> Calls:
    """Dense products in float32 of `weight` (O, I) with rows `x` (n, I)."""
    single_thread()
    matrix, rows = torch.from_numpy(weight), torch.from_numpy(x)
    prepacked = torch.ops.mkldnn._reorder_linear_weight(matrix, len(x))
    transposed = np.ascontiguousarray(weight.T)
    return {
        "torch F.linear": lambda: torch.nn.functional.linear(rows, matrix),
        "torch, oneDNN prepacked": lambda: torch.ops.mkldnn._linear_pointwise(
            rows, prepacked, None, "none", [], ""
        ),
        "NumPy": lambda: x @ weight.T,
        "ONNX Runtime": session(
            [helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": transposed}, x
        ),
    }


def dense_int8(weight: np.ndarray, x: np.ndarray) -> Calls:
    """Dense products in int8, inputs rounded on the way."""
    single_thread()
    linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    linear.weight.copy_(torch.from_numpy(weight))
    from torch.ao.quantization import quantize_dynamic

    quantized = quantize_dynamic(torch.nn.Sequential(linear), {torch.nn.Linear})
    rows = torch.from_numpy(x)
    scale = np.abs(weight).max(axis=1) / 127
    codes = np.rint(weight / scale[:, None]).astype(np.int8)
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["xq", "xs", "xz"]),
        helper.make_node("MatMulInteger", ["xq", "w", "xz"], ["i"]),
        helper.make_node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["xs", "ws"], ["s"]),
        helper.make_node("Mul", ["f", "s"], ["y"]),
    ]
    arrays = {"w": np.ascontiguousarray(codes.T), "ws": scale.astype(np.float32)}
    return {
        "torch int8, dynamic": lambda: quantized(rows),
        "ONNX Runtime int8, dynamic": session(nodes, arrays, x),
    }


def sparse_float32(weight: np.ndarray, x: np.ndarray) -> Calls:
    """Sparse products of the libraries."""
    csr = scipy.sparse.csr_array(weight)
    # scipy multiplies columns: laid out beforehand, which is its best case
    columns = np.ascontiguousarray(x.T)
    return {"SciPy CSR": lambda: csr @ columns}


def dense_convolutions(weight: np.ndarray, x: np.ndarray, n: int) -> Calls:
    """`n` times the same dense 3x3 convolution in a row, of one map, with padding 1."""
    from torch.utils import mkldnn

    single_thread()

    def module() -> torch.nn.Module:
        layers = []
        for _ in range(n):
            conv = torch.nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1, bias=False)
            conv.weight.copy_(torch.from_numpy(weight))
            layers.append(conv)
        return torch.nn.Sequential(*layers).eval()

    image = torch.from_numpy(x)
    last = module().to(memory_format=torch.channels_last)
    packed, plain = mkldnn.to_mkldnn(module()), module()
    names = ["x", *(f"h{i}" for i in range(n - 1)), "y"]
    nodes = [
        helper.make_node("Conv", [names[i], "w"], [names[i + 1]], pads=[1, 1, 1, 1])
        for i in range(n)
    ]
    return {
        "torch conv2d": lambda: plain(image),
        "torch, channels last": lambda: last(image.to(memory_format=torch.channels_last)),
        "torch, oneDNN prepacked": lambda: packed(image.to_mkldnn()).to_dense(),
        "ONNX Runtime": session(nodes, {"w": weight}, x),
    }
