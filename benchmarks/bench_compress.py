"""What it costs to compress a GloVe text file of 400,000 x 300 to 300 bits a word.

Ours is the command ``embcompress compress``, whole, as a process of its own: start of Python and
imports count. Beside it stands the script that one writes without it: gensim reads the file,
faiss fits an ITQ transform, numpy packs the signs. Measured is the processor time of the process
(user and system, all threads), with the file in the page cache, and its peak memory. Before
anything is timed, the compressed file is opened and compared with the text.

Run: ``python benchmarks/bench_compress.py``
"""

from __future__ import annotations

import argparse
import csv
import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _rows import RESULTS, write_rows
from bench_parse import CACHE, N_FEATURES, N_ROWS, PLAIN, WHOLE, make_files

N_BITS = 300
ROUNDS = 3
COMPRESSED = CACHE / "glove_like.safetensors"
PHASES = ("read", "fit", "encode", "write")
ONE_THREAD = {
    name: "1" for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS")
}
OURS, STREAMING = "embcompress compress", "embcompress compress --streaming"
BY_HAND = "gensim + faiss ITQ + packbits"


@dataclass(frozen=True)
class Finished:
    """A process that ended well: what it printed and what it used."""

    stdout: str
    user_s: float
    sys_s: float
    wall_s: float
    peak_rss_mb: float

    @property
    def cpu_s(self) -> float:
        """Processor seconds, of the process and of the kernel for it."""
        return self.user_s + self.sys_s


def run_measured(command: list[str]) -> Finished:
    """Run a command and read the resources of this one process when it ends.

    Linux starts the peak memory of a child at that of its parent, so the parent has to stay small:
    whatever loads vectors here is a child itself.
    """
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        started = time.perf_counter()
        child = subprocess.Popen(
            command, stdout=stdout, stderr=stderr, env={**os.environ, **ONE_THREAD}
        )
        _, status, used = os.wait4(child.pid, 0)
        wall = time.perf_counter() - started
        child.returncode = os.waitstatus_to_exitcode(status)
        stdout.seek(0)
        stderr.seek(0)
        if child.returncode:
            raise SystemExit(f"{' '.join(command)}: {stderr.read().decode()}")
        printed = stdout.read().decode()
    return Finished(printed, used.ru_utime, used.ru_stime, wall, used.ru_maxrss / 1024)


def run_child(name: str, *arguments: str, script: str = __file__) -> Finished:
    """Run one of the functions in `CHILDREN` of a script as a process of its own."""
    return run_measured([sys.executable, script, "--child", name, *arguments])


def command_line(*arguments: str) -> list[str]:
    """The command ``embcompress``."""
    return [sys.executable, "-m", "embcompress", *arguments]


def compress_command(output: Path, *options: str) -> list[str]:
    """The command that is timed."""
    return command_line(
        "compress", str(WHOLE), "-o", str(output), "--bits", str(N_BITS), "--json", *options
    )


def make_compressed() -> None:
    """Compress the large file unless it is there."""
    make_files()
    if not COMPRESSED.exists():
        run_measured(compress_command(COMPRESSED))


def check(path: str) -> None:
    """Compare a compressed file with the text it came from."""
    import numpy as np

    from embcompress import CompressedVectors, load_vectors

    small, vectors = CompressedVectors.load(path), load_vectors(WHOLE)
    if len(small) != len(vectors) or len(small) != N_ROWS:
        raise SystemExit(f"{path}: {len(small)} words, {N_ROWS} were expected")
    with WHOLE.open("rb") as file:
        first = file.readline()
        file.seek(-20 * N_FEATURES, os.SEEK_END)
        last = file.readlines()[-1]
    for row, line in ((0, first), (N_ROWS - 1, last)):
        word = line.rsplit(b" ", N_FEATURES)[0].decode()
        if small.index_to_key[row] != word:
            raise SystemExit(f"{path}: word {row} is {small.index_to_key[row]!r}, not {word!r}")
    rows = np.linspace(0, N_ROWS - 1, 1000).astype(int)
    decoded, given = small.encoder.decode(small.codes[rows]), vectors.vectors[rows]
    correlation = np.corrcoef(decoded.ravel(), given.ravel())[0, 1]
    # the coordinates are independent, so two stacked rotations of half of the directions keep about
    # 0.63 of them; rows in a wrong order would give 0
    if correlation < 0.55:
        raise SystemExit(f"{path}: decoded rows correlate with the text by {correlation:.3f} only")
    print(f"{N_ROWS} words; 1000 decoded rows correlate with the text by {correlation:.3f}")


def compress_by_hand(output: str) -> None:
    """gensim, faiss, numpy: the script that one writes today."""
    import faiss
    import numpy as np
    from gensim.models import KeyedVectors

    marks = [time.perf_counter()]
    vectors = KeyedVectors.load_word2vec_format(str(PLAIN), no_header=True)
    marks.append(time.perf_counter())
    transform = faiss.ITQTransform(N_FEATURES, N_BITS, True)
    transform.train(vectors.vectors)
    marks.append(time.perf_counter())
    codes = np.packbits(transform.apply(vectors.vectors) >= 0, axis=1)
    marks.append(time.perf_counter())
    np.save(output, codes)
    Path(output).with_suffix(".txt").write_text("\n".join(vectors.index_to_key), encoding="utf-8")
    marks.append(time.perf_counter())
    seconds = [end - start for start, end in pairwise(marks)]
    print(json.dumps({"words": len(codes), "seconds": dict(zip(PHASES, seconds, strict=True))}))


CHILDREN = {"check": check, "by-hand": compress_by_hand}


def warm_page_cache(path: Path) -> None:
    """Read a file once, a block at a time."""
    block = bytearray(1 << 22)
    with path.open("rb", buffering=0) as file:
        while file.readinto(block):
            pass


def measure(method: str, folder: Path) -> dict[str, float]:
    """Run one method once."""
    commands = {
        OURS: lambda: run_measured(compress_command(folder / "ours.safetensors")),
        STREAMING: lambda: run_measured(
            compress_command(folder / "streaming.safetensors", "--streaming")
        ),
        BY_HAND: lambda: run_child("by-hand", str(folder / "codes.npy")),
    }
    warm_page_cache(PLAIN if method == BY_HAND else WHOLE)
    done = commands[method]()
    printed = json.loads(done.stdout)
    seconds = {f"{phase}_s": printed["seconds"][phase] for phase in PHASES}
    used = {
        "cpu_s": done.cpu_s, "user_s": done.user_s, "sys_s": done.sys_s, "wall_s": done.wall_s,
        "peak_rss_mb": done.peak_rss_mb,
    }  # fmt: skip
    return {"rows": printed["words"], **used, **seconds}


def row_of(method: str, results: list[dict[str, float]]) -> dict[str, Any]:
    """Medians over rounds as a row."""
    median = {key: statistics.median(result[key] for result in results) for key in results[0]}
    path = PLAIN if method == BY_HAND else WHOLE
    versions = {"embcompress": importlib.metadata.version("embcompress")}
    note = "BLAS on one thread; seconds of phases are wall time"
    if method == BY_HAND:
        versions = {name: importlib.metadata.version(name) for name in ("gensim", "faiss-cpu")}
        note += "; without the last 8 rows, whose words hold spaces"
    return {
        "benchmark": "compress", "method": method, "rows": int(median.pop("rows")),
        "n_bits": N_BITS, "MB": round(path.stat().st_size / 1e6, 1),
        **{key: round(value, 3) for key, value in median.items()},
        "peak_rss_mb": round(median["peak_rss_mb"]), "rounds": len(results),
        "method_version": ", ".join(f"{name} {number}" for name, number in versions.items()),
        "note": note,
    }  # fmt: skip


def row_by_hand() -> dict[str, Any]:
    """The row of the script by hand from an earlier run."""
    path = RESULTS / "compress.csv"
    with path.open(newline="", encoding="utf-8") as file:
        row = next(row for row in csv.DictReader(file) if row["method"] == BY_HAND)
    when = "" if "measured" in row["note"] else f"; measured {row['date']}"
    return {**row, "cpu_s": float(row["cpu_s"]), "note": row["note"] + when}


def run(rounds: int, *, by_hand: bool = True) -> list[dict[str, Any]]:
    """Interleaved rounds of ours, and at the end one of the script by hand."""
    methods = [OURS, STREAMING, BY_HAND] if by_hand else [OURS, STREAMING]
    found: dict[str, list[dict[str, float]]] = {method: [] for method in methods}
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        for number in range(rounds):
            for method, results in found.items():
                if method != BY_HAND or number == rounds - 1:
                    results.append(measure(method, Path(folder)))
                    rounded = {key: round(value, 2) for key, value in results[-1].items()}
                    print(method, rounded, flush=True)
    rows = [row_of(method, results) for method, results in found.items()]
    if not by_hand:
        rows.append(row_by_hand())
    for row in rows:
        row["cpu_ratio_to_gensim"] = round(rows[-1]["cpu_s"] / row["cpu_s"], 1)
    return rows


def main() -> None:
    """Make the file, check, measure, write the rows."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument(
        "--ours", action="store_true", help="keep the row of the script by hand (five minutes)"
    )
    options = parser.parse_args()
    if options.child:
        CHILDREN[options.child[0]](*options.child[1:])
        return
    make_files()
    COMPRESSED.unlink(missing_ok=True)
    make_compressed()
    print(run_child("check", str(COMPRESSED)).stdout, end="")
    print(write_rows("compress", run(options.rounds, by_hand=not options.ours)))


if __name__ == "__main__":
    main()
