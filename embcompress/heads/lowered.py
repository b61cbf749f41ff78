"""Heads as layers of plain arrays, from what inputs are standardized with to the logits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from embcompress.lowering import lower
from embcompress.runtime.records import Affine, Graph, Node

if TYPE_CHECKING:
    from embcompress.heads.base import Head

__all__ = ["layer_graph"]

_SCALING = "standardize"


def layer_graph(head: Head, masks: Mapping[str, Any] | None = None) -> Graph:
    """Describe a trained head as plain arrays.

    Parameters
    ----------
    head : Head
        Pruned or not.
    masks : mapping of str to bool tensor or ndarray, optional
        Name of a parameter of ``module_`` -> True where it is kept. Default: `masks_`.

    Returns
    -------
    Graph
        Takes what the head takes and gives logits. The first node, ``"standardize"``, is there
        where the head standardizes; the others are named as the modules in ``module_``;
        `classes` are those of the head.
    """
    kind = head._kind().name
    masks = head.masks_ if masks is None else masks
    graph = lower(head.module_, input_shape=head.input_shape_, kind=kind, masks=masks)
    nodes = list(graph.nodes)
    if head.mean_ is not None and head.scale_ is not None:
        mean = head.mean_.astype(np.float32)
        # what rounding the mean loses, which may be much where it is larger than the spread
        shift = (mean - head.mean_) / head.scale_
        record = Affine(mean, (1 / head.scale_).astype(np.float32), shift.astype(np.float32))
        renamed = {"input": _SCALING}
        nodes = [
            Node(_SCALING, record),
            *[
                replace(node, inputs=tuple(renamed.get(name, name) for name in node.inputs))
                for node in nodes
            ],
        ]
    return Graph(nodes, graph.kind, graph.shape, head.classes_)
