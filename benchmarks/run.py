"""Run the benchmarks, one after the other, each in a process of its own.

Run: ``EMBCOMPRESS_DATA=... python benchmarks/run.py [name ...]``; without names all of them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
# linear algebra on one thread: processor time is measured, and waiting threads would count
_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def benchmarks() -> dict[str, Path]:
    """Name -> script."""
    return {path.stem.removeprefix("bench_"): path for path in sorted(FOLDER.glob("bench_*.py"))}


def first_line(path: Path) -> str:
    """What a script says of itself."""
    return path.read_text(encoding="utf-8").split("\n", 1)[0].removeprefix('"""')


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; the exit status is 1 if any of it failed."""
    known = benchmarks()
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(known))
    parser.add_argument("--list", action="store_true", help="say which there are")
    options = parser.parse_args(arguments)
    if options.list:
        for name, path in known.items():
            print(f"{name:16}{first_line(path)}")
        return 0
    unknown = [name for name in options.names if name not in known]
    if unknown:
        parser.error(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(known)}")
    data = os.environ.get("EMBCOMPRESS_DATA")
    if not data:
        parser.error("EMBCOMPRESS_DATA is not set; it has to name the folder of the data")
    if not Path(data).is_dir():
        parser.error(f"EMBCOMPRESS_DATA={data} is not a folder")
    environment = {**os.environ, **dict.fromkeys(_THREADS, "1")}
    failed = []
    for name in options.names or known:
        print(f"== {name}", flush=True)
        command = [sys.executable, str(known[name])]
        if subprocess.run(command, env=environment, check=False).returncode:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    print("Tables of the documents: python benchmarks/tables.py")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
