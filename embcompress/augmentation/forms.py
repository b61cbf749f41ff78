"""Operators by name, and what is fitted instead where there are too few pairs."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from sklearn.base import clone

from embcompress.augmentation.base import Operator
from embcompress.augmentation.conditioned import ParameterConditioned
from embcompress.augmentation.gains import GainRidge
from embcompress.augmentation.linear import LowRank, ResidualRidge
from embcompress.augmentation.mlp import ResidualMLP
from embcompress.augmentation.pairs import Pairs
from embcompress.augmentation.simple import Diagonal, DisplacementBank, Offset

__all__ = ["FORMS", "choose", "make_operator", "operator_class"]

FORMS: dict[str, type[Operator]] = {
    "gainridge": GainRidge,
    "ridge": ResidualRidge,
    "lowrank": LowRank,
    "diagonal": Diagonal,
    "offset": Offset,
    "bank": DisplacementBank,
    "mlp": ResidualMLP,
    "conditioned": ParameterConditioned,
}


def operator_class(name: str) -> type[Operator]:
    """Class of an operator by its short name, or the name of the class.

    Parameters
    ----------
    name : str

    Returns
    -------
    type

    Raises
    ------
    ValueError
        If there is none.
    """
    known = {**FORMS, **{form.__name__: form for form in FORMS.values()}}
    if name not in known:
        raise ValueError(f"unknown operator {name!r}; known are {', '.join(map(repr, FORMS))}")
    return known[name]


def make_operator(spec: Any) -> Operator:
    """Get an operator that is not fitted yet, of a name or another operator.

    Parameters
    ----------
    spec : str or Operator

    Returns
    -------
    Operator

    Raises
    ------
    TypeError, ValueError
        If it is neither.
    """
    if isinstance(spec, str):
        return operator_class(spec)()
    if not (hasattr(spec, "learn") and hasattr(spec, "get_params")):
        raise TypeError(
            f"operator={spec!r} is not an operator; give one of {', '.join(map(repr, FORMS))}, "
            "an operator such as LowRank(64), or a dict with one for each name"
        )
    return clone(spec)


def choose(spec: Any, pairs: Pairs) -> Operator:
    """Make the operator for these pairs: the one that is asked for, or one that fewer pairs fit.

    Parameters
    ----------
    spec : str, Operator or mapping of str to either
        A mapping has an entry for each name of augmentations.
    pairs : Pairs

    Returns
    -------
    Operator

    Raises
    ------
    ValueError
        If a mapping has no entry for the pairs, or the operator needs params that they lack.
    """
    if isinstance(spec, Mapping):
        if pairs.name not in spec:
            raise ValueError(f"operator has no entry for {pairs.name!r}: {', '.join(spec)}")
        spec = spec[pairs.name]
    elif pairs.params is not None and spec in ("gainridge", "ridge"):
        spec = "conditioned"  # the default form where strengths are known
    operator = make_operator(spec)
    while pairs.n < operator._needs:
        instead = make_operator(operator._instead)
        warnings.warn(
            f"{pairs.name!r} has {pairs.n} pairs, {type(operator).__name__} needs at least "
            f"{operator._needs}: {type(instead).__name__} is fitted instead",
            UserWarning,
            stacklevel=4,
        )
        operator = instead
    return operator
