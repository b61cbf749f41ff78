"""One message for every optional package that is missing."""

from __future__ import annotations

import importlib
from types import ModuleType

__all__ = ["MissingExtraError", "require"]


class MissingExtraError(ImportError):
    """An optional package that this feature needs is not installed."""


def require(module: str, *, extra: str, feature: str | None = None) -> ModuleType:
    """Import an optional package, or say how to install it.

    Parameters
    ----------
    module : str
        Name to import, such as ``"torch"`` or ``"gensim.models"``.
    extra : str
        The extra of embcompress that brings it.
    feature : str, optional
        What needs it, for the message. Default: "this feature".

    Returns
    -------
    module
        The imported module.

    Raises
    ------
    MissingExtraError
        If the package is not installed.

    Examples
    --------
    >>> from embcompress._optional import require
    >>> require("json", extra="none").__name__
    'json'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise  # the package is there, but something that it needs is broken: show that
        raise MissingExtraError(
            f"{feature or 'this feature'} needs {module.split('.')[0]}, which is not installed: "
            f'pip install "embcompress[{extra}]"'
        ) from error
