"""How loops are compiled, for every module that has some."""

from __future__ import annotations

from typing import Any

from numba import njit

__all__ = ["compiled"]


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
        options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "inline": inline}
        try:
            return njit(signature, cache=True, **options)(function)
        except RuntimeError as error:
            if "cannot cache" not in str(error):
                raise
            return njit(signature, **options)(function)

    return decorate
