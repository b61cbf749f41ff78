"""Labels of classifiers as JSON, with their data type."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["labels_from_json", "labels_to_json"]

# what labels may be, by the letter of their data type
_KINDS = {"i": int, "u": int, "f": (int, float), "b": bool, "U": str, "o": str}


def labels_to_json(classes: npt.NDArray[Any]) -> dict[str, Any]:
    """Say what a file must hold of the classes.

    Parameters
    ----------
    classes : ndarray of shape (n_classes,)

    Returns
    -------
    dict
        ``dtype`` and ``values``, of types that JSON has.

    Raises
    ------
    TypeError
        If the classes are not whole numbers, real numbers, booleans or strings.
    """
    values = classes.tolist()
    if classes.dtype.kind in "iufbU":
        return {"dtype": classes.dtype.str.lstrip("<>|="), "values": values}
    if all(isinstance(value, str) for value in values):
        return {"dtype": "object", "values": values}
    raise TypeError(
        f"classes are {classes.dtype} ({values[0]!r}, ...); a file holds whole numbers, real "
        "numbers, booleans and strings"
    )


def labels_from_json(entry: Any) -> npt.NDArray[Any]:
    """Read what :func:`labels_to_json` made.

    Parameters
    ----------
    entry : dict

    Returns
    -------
    ndarray of shape (n_classes,)

    Raises
    ------
    ValueError
        If it is something else: the message goes on from the name of the file.
    """
    values = entry.get("values") if isinstance(entry, dict) else None
    if not isinstance(values, list) or len(values) < 2:
        raise ValueError("classes are not a list of at least two")
    text = str(entry.get("dtype"))
    kind = _KINDS.get(text[0])
    try:
        dtype = np.dtype(text)
    except TypeError:
        dtype = None
    if kind is None or dtype is None or dtype.kind not in "iufbUO":
        raise ValueError(f"unknown data type of classes {text!r}")
    if not all(isinstance(value, kind) for value in values):  # type: ignore[arg-type]
        raise ValueError(f"classes do not fit their data type {text!r}")
    classes = np.array(values, dtype=dtype)
    if not (classes[1:] > classes[:-1]).all():
        raise ValueError("classes are not in order")
    return classes
