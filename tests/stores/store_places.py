"""Where stores of each kind may be, and what they need to be installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

# packages that a scheme needs
CLIENTS = {
    "sqlite": ["sqlite_vec"],
    "duckdb": ["duckdb", "pyarrow"],
    "postgresql": ["psycopg"],
    "lancedb": ["lancedb", "pyarrow"],
    "faiss": ["faiss"],
    "usearch": ["usearch"],
}
ENDINGS = {"sqlite": ".db", "duckdb": ".duckdb", "faiss": ".faiss", "usearch": ".usearch"}


def need(scheme: str) -> None:
    """Skip where the client of a store is not installed."""
    for package in CLIENTS[scheme]:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")


def file_url(scheme: str, folder: Path) -> str:
    """Address of a store in a file or folder."""
    return f"{scheme}:///{folder}/store{ENDINGS.get(scheme, '')}"
