"""A PostgreSQL server for tests: made in a temporary folder, on loopback, gone afterwards.

As a script it runs a command with the server's address in EMBCOMPRESS_TEST_POSTGRES:
``python tests/postgres_server.py /usr/lib/postgresql/15/bin make test``. It needs nothing but
Python and the folder with the server's programs.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

USER = "embcompress"
VARIABLE = "EMBCOMPRESS_TEST_POSTGRES"
# who runs the server if we are root, which PostgreSQL refuses
_UNPRIVILEGED = ("postgres", "nobody")


@contextmanager
def running_server(programs: Path, *, fsync: bool = False) -> Iterator[str]:
    """Start a server; its address.

    Parameters
    ----------
    programs : Path
        Folder with initdb and pg_ctl.
    fsync : bool, default False
        Whether what is written has to be on the disk, as on a server that is in use.

    Yields
    ------
    str
        Of the form ``postgresql://user:password@127.0.0.1:port/postgres``.
    """
    folder = Path(tempfile.mkdtemp(prefix="embcompress-postgres-"))
    identity = _identity()
    if "user" in identity:
        os.chown(folder, identity["user"], identity["group"])
    data, password = folder / "data", secrets.token_hex(16)
    secret = folder / "password"
    secret.write_text(password)
    secret.chmod(0o644)  # inside a folder that only its owner enters
    port = _free_port()

    def run(*words: object) -> None:
        done = subprocess.run(
            [str(word) for word in words],
            cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **identity,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{words[0]} failed: {done.stdout[-2000:]}")

    options = (
        f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= "
        f"-c fsync={'on' if fsync else 'off'} -c max_connections=20 -c shared_buffers=64MB"
    )
    try:
        run(
            programs / "initdb", "-D", data, "-U", USER, "--pwfile", secret, "-E", "UTF8",
            "--locale=C", "-A", "scram-sha-256",
        )  # fmt: skip
        start = [programs / "pg_ctl", "-D", data, "-o", options, "-l", folder / "log", "-w"]
        try:
            run(*start, "-t", "60", "start")
            yield f"postgresql://{USER}:{password}@127.0.0.1:{port}/postgres"
        finally:
            if (data / "postmaster.pid").exists():
                run(programs / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _identity() -> dict:
    """Arguments of subprocess.run that give up the rights of root."""
    if os.geteuid() != 0:
        return {}
    for name in _UNPRIVILEGED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise RuntimeError(f"PostgreSQL refuses root, and none of {_UNPRIVILEGED} is a user here")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def main(programs: Path, command: list[str]) -> int:
    """Run a command beside a server, or without one if none can be started."""
    with ExitStack() as stack:
        variables = {}
        try:
            variables[VARIABLE] = stack.enter_context(running_server(programs))
        except (OSError, RuntimeError) as error:
            line = " ".join(str(error).split())
            sys.stderr.write(f"no PostgreSQL server, its tests are skipped: {line}\n")
        return subprocess.run(command, env=os.environ | variables).returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
