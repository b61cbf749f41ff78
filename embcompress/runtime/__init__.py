"""Speed from the zeros: compiled sparse inference. Needs no PyTorch."""

from embcompress.runtime.compiler import compile
from embcompress.runtime.model import Program
from embcompress.runtime.records import (
    GRU,
    LSTM,
    Activation,
    Add,
    Affine,
    AveragePool2d,
    Conv2d,
    Flatten,
    GlobalAverage,
    Graph,
    GRUCell,
    Linear,
    LSTMCell,
    MaxPool2d,
    Node,
    PoolFrames,
    Record,
    Weight,
)
from embcompress.runtime.report import LayerReport, Report

load = Program.load

__all__ = [
    "GRU",
    "LSTM",
    "Activation",
    "Add",
    "Affine",
    "AveragePool2d",
    "Conv2d",
    "Flatten",
    "GRUCell",
    "GlobalAverage",
    "Graph",
    "LSTMCell",
    "LayerReport",
    "Linear",
    "MaxPool2d",
    "Node",
    "PoolFrames",
    "Program",
    "Record",
    "Report",
    "Weight",
    "compile",
    "load",
]
