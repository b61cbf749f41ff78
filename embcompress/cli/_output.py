"""What the commands print: JSON for scripts, plain tables for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import typer

from embcompress.sizes import human_bytes

__all__ = [
    "describe_codes",
    "describe_fit",
    "human_bytes",
    "print_json",
    "print_pairs",
    "print_table",
]


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))


def print_pairs(pairs: Sequence[tuple[str, str]]) -> None:
    """Two columns: what, and its value."""
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        typer.echo(f"{name:<{width}}  {value}")


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns under a header; the first is set left, the others right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in [header, *rows]:
        first, *others = row
        cells = [f"{first:<{widths[0]}}"]
        cells += [f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True)]
        typer.echo("  ".join(cells).rstrip())


def describe_codes(n_bits: int, n_directions: int, quantizer: str) -> str:
    """Code length and what it is made of, as in ``300 bits, IIQ, 2 for each of 150 directions``.

    Parameters
    ----------
    n_bits, n_directions : int
    quantizer : str

    Returns
    -------
    str
    """
    if n_bits == n_directions:
        return f"{n_bits} bits, {quantizer}"
    exactly = "" if n_bits == 2 * n_directions else "up to "
    return f"{n_bits} bits, {quantizer}, {exactly}2 for each of {n_directions} directions"


def describe_fit(info: Mapping[str, str]) -> list[tuple[str, str]]:
    """Lines on how a quantizer was fitted, from what the file's header says.

    Parameters
    ----------
    info : mapping of str to str
        ``CompressedVectors.info``.

    Returns
    -------
    list of (str, str)
        Empty for quantizers that learn nothing worth telling.
    """
    lines = []
    if "n_removed" in info:
        lines.append(("directions removed", info["n_removed"]))
    if "isotropy_before" in info and "isotropy_after" in info:
        before, after = float(info["isotropy_before"]), float(info["isotropy_after"])
        lines.append(("isotropy", f"{before:.3f} before, {after:.3f} after"))
    if "loss" in info and "n_iter" in info:
        loss = f"{float(info['loss']):.3f} after {info['n_iter']} steps"
        lines.append(("quantization loss", loss))
    return lines
