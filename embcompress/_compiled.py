"""How loops are compiled, for every module that has some."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

__all__ = ["compiled", "tell_about_compiling"]


def compiled(signature: Any = None, *, inline: str = "never") -> Any:
    """Compile a function that holds no Python objects, for all threads, and keep it on disk.

    numba keeps it beside the package or in the user's cache folder; where neither can be written
    it is compiled anew in each process.

    Parameters
    ----------
    signature : numba signature, optional
        Compile for these types only. Default: for those of the callers.
    inline : {"never", "always"}

    Returns
    -------
    decorator
    """

    def decorate(function: Any) -> Any:
        from numba import njit  # not before there is something to compile

        options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "inline": inline}
        try:
            return njit(signature, cache=True, **options)(function)
        except RuntimeError as error:
            if "cannot cache" not in str(error):
                raise
            return njit(signature, **options)(function)

    return decorate


def tell_about_compiling(module: str, function: str, what: str) -> None:
    """Explain the wait before the first call after an installation, on a terminal.

    Parameters
    ----------
    module : str
        ``__file__`` of the module of the function.
    function : str
        That is compiled last.
    what : str
        As in "Compiling the reader for this machine".
    """
    path = Path(module)
    compiled_before = any((path.parent / "__pycache__").glob(f"{path.stem}.{function}*.nbi"))
    if sys.stderr.isatty() and not compiled_before and os.access(path.parent, os.W_OK):
        sys.stderr.write(f"Compiling {what} for this machine; this is done once ...\n")
