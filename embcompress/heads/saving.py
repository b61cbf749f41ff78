"""Heads as files: one safetensors file with arrays, and JSON strings for the rest."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from embcompress.codes import code_bytes
from embcompress.container import Container, FormatError, load_container, save_container
from embcompress.labels import labels_from_json, labels_to_json

if TYPE_CHECKING:
    from embcompress.heads.base import Head

__all__ = ["load", "save"]

Array = npt.NDArray[Any]

_KIND = "head"
_MASK = "masks."
_STORED = (np.float32, np.float64, np.int64)


def save(head: Head, path: str | os.PathLike[str]) -> None:
    """Write a trained head.

    Arrays are named as the parameters of ``module_``, such as ``layers.0.weight``; what inputs are
    standardized with is ``input.mean`` and ``input.scale``; masks are ``masks.`` and the name of
    the parameter, one bit per weight as :func:`numpy.packbits`.

    Parameters
    ----------
    head : Head
    path : path-like

    Raises
    ------
    TypeError
        If the classes are not whole numbers, real numbers, booleans or strings.
    OSError
        As :func:`embcompress.container.atomic_write`.
    """
    arrays = {name: part.cpu().numpy() for name, part in head.module_.state_dict().items()}
    if head.mean_ is not None and head.scale_ is not None:
        arrays["input.mean"], arrays["input.scale"] = head.mean_, head.scale_
    for name, mask in (head.masks_ or {}).items():
        arrays[_MASK + name] = np.packbits(mask.cpu().numpy().reshape(-1))
    metadata = {
        "head": type(head).__name__,
        "parameters": _to_json(_parameters(head)),
        "classes": _to_json(labels_to_json(head.classes_)),
        "input_shape": _to_json([int(size) for size in head.input_shape_]),
        "n_features": str(head.n_features_in_),
        "n_epochs": str(head.n_iter_),
        "pruned": "yes" if head.masks_ is not None else "no",
    }
    names = getattr(head, "feature_names_in_", None)
    if names is not None:
        metadata["feature_names"] = _to_json([str(name) for name in names])
    save_container(path, arrays, kind=_KIND, metadata=metadata)


def load(path: str | os.PathLike[str]) -> Head:
    """Read a head that :meth:`~embcompress.heads.LinearHead.save` wrote.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    Head
        Of the class that was saved; predicts as it did, and can be trained further.

    Raises
    ------
    FormatError
        If the file is damaged, or is not a head.
    OSError
        If the file cannot be read.
    """
    file = load_container(path, kind=_KIND)
    head = _blank(file)
    head.classes_ = _read_classes(file)
    head.input_shape_ = _read_shape(file)
    head.n_features_in_ = file.integer("n_features")
    head.n_iter_ = file.integer("n_epochs")
    head.loss_curve_, head.validation_scores_ = [], None
    if "feature_names" in file.metadata:
        head.feature_names_in_ = np.array(_json(file, "feature_names"), dtype=object)
    _read_module(file, head)
    _read_scale(file, head)
    _read_masks(file, head)
    return head._fresh()


def _parameters(head: Head) -> dict[str, Any]:
    """Constructor parameters that a file can hold."""
    parameters = head.get_params(deep=False)
    seed = parameters["random_state"]
    if not isinstance(seed, (int, np.integer)):
        parameters["random_state"] = None
    if isinstance(parameters["class_weight"], dict):
        # keys of a JSON object would all become strings
        pairs = [[_plain(key), float(value)] for key, value in parameters["class_weight"].items()]
        parameters["class_weight"] = {"pairs": pairs}
    return {name: _plain(value) for name, value in parameters.items()}


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _to_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _json(file: Container, name: str) -> Any:
    try:
        return json.loads(file.value(name))
    except json.JSONDecodeError as error:
        raise FormatError(f"{file.path}: metadata entry {name!r} is not JSON ({error})") from error


def _blank(file: Container) -> Head:
    from embcompress import heads

    name = file.value("head")
    known = {cls: getattr(heads, cls) for cls in heads.__all__ if cls.endswith("Head")}
    if name not in known:
        raise FormatError(f"{file.path}: unknown head {name!r}; known are {', '.join(known)}")
    parameters = _json(file, "parameters")
    if not isinstance(parameters, dict):
        raise FormatError(f"{file.path}: parameters are not a JSON object")
    weights = parameters.get("class_weight")
    try:
        if isinstance(weights, dict):
            parameters["class_weight"] = {key: value for key, value in weights["pairs"]}
        parameters = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in parameters.items()
        }
        head = known[name](**parameters)
        head._validate_params()
    except (TypeError, ValueError, KeyError) as error:
        raise FormatError(f"{file.path}: parameters do not fit {name}: {error}") from error
    return head


def _read_classes(file: Container) -> Array:
    try:
        return labels_from_json(_json(file, "classes"))
    except ValueError as error:
        message = str(error)
        raise FormatError(
            message if isinstance(error, FormatError) else f"{file.path}: {message}"
        ) from error


def _read_shape(file: Container) -> tuple[int, ...]:
    shape = _json(file, "input_shape")
    if not isinstance(shape, list) or not all(type(n) is int and n >= 1 for n in shape):
        raise FormatError(f"{file.path}: input_shape={shape!r} is not a list of sizes")
    return tuple(shape)


def _read_module(file: Container, head: Head) -> None:
    # without memory first: sizes in a damaged file may be anything
    try:
        with torch.device("meta"):
            module = head._build(head.input_shape_, len(head.classes_))
    except (TypeError, ValueError, IndexError, RuntimeError) as error:
        raise FormatError(f"{file.path}: input_shape and parameters do not fit: {error}") from error
    state = {}
    for name, part in module.state_dict().items():
        array = file.tensor(name, _STORED, part.ndim)
        if array.shape != tuple(part.shape):
            raise FormatError(
                f"{file.path}: array {name!r} has shape {array.shape}, expected {tuple(part.shape)}"
            )
        # a copy, for the file is mapped read-only
        state[name] = torch.from_numpy(array.copy()).to(part.dtype)
    module.load_state_dict(state, assign=True)
    for parameter in module.parameters():
        parameter.requires_grad_()
    head.module_ = module.eval()


def _read_scale(file: Container, head: Head) -> None:
    head.mean_ = head.scale_ = None
    if not (head.standardize and head._kind().standardizes):
        return
    for name in ("mean", "scale"):
        array = file.tensor(f"input.{name}", (np.float64,), 1)
        if array.shape != (head.n_features_in_,):
            raise FormatError(
                f"{file.path}: array 'input.{name}' has shape {array.shape}, expected "
                f"({head.n_features_in_},)"
            )
        setattr(head, f"{name}_", array.copy())


def _read_masks(file: Container, head: Head) -> None:
    head.masks_ = None
    if file.value("pruned") != "yes":
        return
    from embcompress.pruning.masks import Masks

    parameters = dict(head.module_.named_parameters())
    masks = {}
    for name in file.tensors:
        if not name.startswith(_MASK):
            continue
        parameter = parameters.get(name.removeprefix(_MASK))
        packed = file.tensor(name, (np.uint8,), 1)
        if parameter is None or len(packed) != code_bytes(parameter.numel()):
            raise FormatError(f"{file.path}: mask {name!r} fits no parameter of the head")
        bits = np.unpackbits(packed, count=parameter.numel()).astype(bool)
        masks[name.removeprefix(_MASK)] = torch.from_numpy(bits).reshape(parameter.shape)
    head.masks_ = Masks(masks)
