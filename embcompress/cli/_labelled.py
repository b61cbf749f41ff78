"""Rows with labels: read from files, and split."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

__all__ = ["read_arrays", "read_labelled", "read_labels", "split_rows"]


def read_arrays(path: Path) -> dict[str, Array]:
    """Arrays of an .npz file by name; that of an .npy file by the name of the file.

    Parameters
    ----------
    path : Path

    Returns
    -------
    dict of str to ndarray

    Raises
    ------
    ValueError
        If the file is neither.
    """
    import zipfile

    import numpy as np

    try:
        # opened here: numpy would leave a file open that is not an archive
        with path.open("rb") as stream:
            file = np.load(stream, allow_pickle=False)
            if isinstance(file, np.ndarray):
                return {path.stem: file}
            return {name: file[name] for name in file.files}
    except (ValueError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: not an .npy or .npz file of plain arrays ({error})") from error


def read_labels(path: Path) -> Array:
    """Labels of an .npy file, or one a line of any other.

    Parameters
    ----------
    path : Path

    Returns
    -------
    ndarray of shape (n,)

    Raises
    ------
    ValueError
        If there are none.
    """
    import numpy as np

    if path.suffix == ".npy":
        labels = next(iter(read_arrays(path).values()))
    else:
        labels = np.array(path.read_text(encoding="utf-8").split("\n"))
        if len(labels) and labels[-1] == "":
            labels = labels[:-1]
    if labels.ndim != 1 or len(labels) == 0:
        raise ValueError(f"{path}: labels have shape {labels.shape}; one for each row is needed")
    return labels


def read_labelled(path: Path) -> tuple[Array, Array]:
    """Read arrays X and y of an .npz file.

    Parameters
    ----------
    path : Path

    Returns
    -------
    X : ndarray of shape (n, ...)
    y : ndarray of shape (n,)

    Raises
    ------
    ValueError
        If the file holds something else.
    """
    import zipfile

    import numpy as np

    try:
        # opened here: numpy would leave a file open that is not an archive
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            missing = [name for name in ("X", "y") if name not in getattr(file, "files", ())]
            if missing:
                there = ", ".join(getattr(file, "files", ())) or "none"
                raise ValueError(f"{path}: no array {' and '.join(missing)}; arrays: {there}")
            X, y = file["X"], file["y"]
    except (ValueError, EOFError, TypeError, zipfile.BadZipFile) as error:
        if str(error).startswith(str(path)):
            raise
        raise ValueError(
            f"{path}: not an .npz file of plain arrays X and y ({error}); make it by "
            "numpy.savez(path, X=X, y=y)"
        ) from error
    if X.ndim < 2 or y.ndim != 1 or len(X) != len(y):
        raise ValueError(
            f"{path}: X has shape {X.shape} and y {y.shape}; rows of X and as many labels are "
            "needed"
        )
    return X, y


def split_rows(X: Array, y: Array, share: float, seed: int) -> dict[str, tuple[Array, Array]]:
    """Rows to train with, and rows kept aside: the same share of every class.

    Parameters
    ----------
    X : ndarray of shape (n, ...)
    y : ndarray of shape (n,)
    share : float
    seed : int

    Returns
    -------
    dict of str to (ndarray, ndarray)
        ``"train"`` and ``"aside"``, X and y of each.

    Raises
    ------
    ValueError
        If no row is kept aside.
    """
    import numpy as np

    order = np.random.default_rng(seed).permutation(len(y))
    _, classes = np.unique(y[order], return_inverse=True)
    aside = np.zeros(len(y), dtype=bool)
    for number in range(classes.max(initial=-1) + 1):
        rows = order[classes == number]
        # of every class at least one row is left to train with
        aside[rows[: min(len(rows) - 1, round(share * len(rows)))]] = True
    if not aside.any():
        raise ValueError(
            f"{len(y)} rows are too few to keep {share:g} of each class aside; give a larger "
            "--holdout or more rows"
        )
    return {"train": (X[~aside], y[~aside]), "aside": (X[aside], y[aside])}
