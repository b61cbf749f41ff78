"""Write the rows of a benchmark, with what they were measured on."""

from __future__ import annotations

import csv
import datetime
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
_PACKAGES = {"numpy": "numpy", "faiss": "faiss-cpu", "numba": "numba", "torch": "torch"}


def write_rows(name: str, rows: list[dict]) -> Path:
    """Write ``results/<name>.csv``; replaces what an earlier run wrote.

    Parameters
    ----------
    name : str
    rows : list of dict
        Columns are the keys, in the order in which they first appear.

    Returns
    -------
    Path
    """
    machine = {
        "cpu": _cpu(),
        **{package: _version(project) for package, project in _PACKAGES.items()},
        "python": platform.python_version(),
        "date": datetime.date.today().isoformat(),
    }
    columns = list(dict.fromkeys(key for row in [*rows, machine] for key in row))
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, **machine} for row in rows)
    return path


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _version(project: str) -> str:
    try:
        return version(project)
    except PackageNotFoundError:
        return ""
