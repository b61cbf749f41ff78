"""Augmenters as files: one safetensors file with arrays, and JSON strings for the rest."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from embcompress.augmentation.base import Operator
from embcompress.augmentation.forms import make_operator, operator_class
from embcompress.augmentation.residuals import NOISES, ResidualNoise
from embcompress.container import Container, FormatError, load_container, save_container

if TYPE_CHECKING:
    from embcompress.augmentation.augmenter import EmbeddingAugmenter

__all__ = ["load", "save"]

_KIND = "augmenter"
_FLOATS = (np.float32, np.float64)


def save(augmenter: EmbeddingAugmenter, path: str | os.PathLike[str]) -> None:
    """Write a fitted augmenter.

    Arrays of operator number i are named ``operator.i.`` and ``noise.i.``, and their attribute.

    Parameters
    ----------
    augmenter : EmbeddingAugmenter
    path : path-like

    Raises
    ------
    TypeError
        If `label_maps` hold what JSON does not.
    OSError
        If the file cannot be written.
    """
    arrays, entries = {}, []
    for i, name in enumerate(augmenter.names_):
        operator, noise = augmenter.operators_[name], augmenter.noises_[name]
        for attribute in operator._arrays:
            if getattr(operator, attribute) is not None:
                arrays[f"operator.{i}.{attribute}"] = getattr(operator, attribute)
        for attribute in ResidualNoise.arrays if noise is not None else ():
            if getattr(noise, attribute) is not None:
                arrays[f"noise.{i}.{attribute}"] = getattr(noise, attribute)
        entries.append(
            {
                "name": name,
                "operator": _described(operator),
                "noise": None if noise is None else [noise.kind, noise.neighbors],
            }
        )
    metadata = {
        "parameters": _to_json(_parameters(augmenter)),
        "operators": _to_json(entries),
        "report": _to_json(augmenter.report_),
        "n_features": str(augmenter.n_features_in_),
        "n_pairs": str(augmenter.n_pairs_),
    }
    save_container(path, arrays, kind=_KIND, metadata=metadata)


def load(path: str | os.PathLike[str]) -> EmbeddingAugmenter:
    """Read what :func:`save` wrote.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    EmbeddingAugmenter

    Raises
    ------
    FormatError
        If the file is damaged, or is not an augmenter.
    """
    from embcompress.augmentation.augmenter import EmbeddingAugmenter

    file = load_container(path, kind=_KIND)
    n_features = file.integer("n_features")
    parameters, entries = _json(file, "parameters"), _json(file, "operators")
    try:
        if isinstance(parameters["strength"], list):
            parameters["strength"] = tuple(parameters["strength"])
        if parameters["label_maps"] is not None:
            parameters["label_maps"] = {k: dict(v) for k, v in parameters["label_maps"].items()}
        parameters["operator"] = _spec_of(parameters["operator"])
        augmenter = EmbeddingAugmenter(**parameters)
        augmenter._validate_params()
        augmenter.names_ = [str(entry["name"]) for entry in entries]
        report = _json(file, "report")
        augmenter.report_ = {name: report[name] for name in augmenter.names_}
        augmenter.operators_, augmenter.noises_ = {}, {}
        for i, entry in enumerate(entries):
            operator = _read_operator(file, i, entry["operator"], n_features)
            augmenter.operators_[entry["name"]] = operator
            augmenter.noises_[entry["name"]] = _read_noise(file, i, entry["noise"], n_features)
    except FormatError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FormatError(f"{file.path}: entries do not fit an augmenter: {error}") from error
    augmenter.n_features_in_, augmenter.n_pairs_ = n_features, file.integer("n_pairs")
    return augmenter


def _described(operator: Operator) -> dict[str, Any]:
    learned = {
        name: value
        for name, value in vars(operator).items()
        if name.endswith("_") and name not in operator._arrays and name != "n_features_in_"
    }
    return {
        "class": type(operator).__name__,
        "parameters": operator.get_params(deep=False),
        "learned": learned,
    }


def _parameters(augmenter: EmbeddingAugmenter) -> dict[str, Any]:
    parameters = augmenter.get_params(deep=False)
    if not isinstance(parameters["random_state"], (int, np.integer)):
        parameters["random_state"] = None
    if parameters["label_maps"] is not None:
        # keys of a JSON object would all become strings
        parameters["label_maps"] = {
            name: [[old, new] for old, new in changed.items()]
            for name, changed in parameters["label_maps"].items()
        }
    spec = parameters["operator"]
    if isinstance(spec, Mapping):
        spec = {name: _plain_spec(one) for name, one in spec.items()}
    else:
        spec = _plain_spec(spec)
    return {**parameters, "operator": spec}


def _plain_spec(spec: Any) -> Any:
    if isinstance(spec, str):
        return spec
    return {"class": type(spec).__name__, "parameters": spec.get_params(deep=False)}


def _spec_of(spec: Any) -> Any:
    if isinstance(spec, str):
        return make_operator(spec) and spec
    if "class" in spec:
        return _blank(spec)
    return {name: _spec_of(one) for name, one in spec.items()}


def _blank(entry: Mapping[str, Any]) -> Operator:
    parameters = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in entry["parameters"].items()
    }
    operator = operator_class(entry["class"])(**parameters)
    operator._validate_params()
    return operator


def _read_operator(file: Container, i: int, entry: Mapping[str, Any], n_features: int) -> Operator:
    operator = _blank(entry)
    for attribute in operator._arrays:
        setattr(operator, attribute, _array(file, f"operator.{i}.{attribute}"))
    for attribute, value in entry["learned"].items():
        setattr(operator, attribute, np.asarray(value) if isinstance(value, list) else value)
    operator.n_features_in_ = n_features
    # a damaged file shows here rather than in the middle of a training
    operator.displacement(np.zeros((1, n_features), dtype=np.float32), random_state=0)
    return operator


def _read_noise(file: Container, i: int, entry: Any, n_features: int) -> ResidualNoise | None:
    if entry is None:
        return None
    kind, neighbors = entry
    if kind not in NOISES:
        raise ValueError(f"unknown noise {kind!r}")
    arrays = {name: _array(file, f"noise.{i}.{name}") for name in ResidualNoise.arrays}
    noise = ResidualNoise(kind, neighbors=neighbors, **arrays)
    noise.draw(np.zeros((1, n_features), dtype=np.float32), np.random.default_rng(0))
    return noise


def _array(file: Container, name: str) -> Any:
    if name not in file.tensors:
        return None
    return file.tensor(name, _FLOATS, file.tensors[name].ndim)


def _to_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    raise TypeError(f"{value!r} cannot be stored in a file")


def _json(file: Container, name: str) -> Any:
    try:
        return json.loads(file.value(name))
    except json.JSONDecodeError as error:
        raise FormatError(f"{file.path}: metadata entry {name!r} is not JSON ({error})") from error
