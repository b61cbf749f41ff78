"""How fast a GloVe text file of 400,000 x 300 becomes a float32 matrix.

Each measurement is a process of its own. Measured is the processor time of the one call that reads
the file (user and system, all threads), after imports and after a tiny file was read, with the
file in the page cache; and the peak memory of the whole process. The quick readers then read the
file once more: that time has less of the system's work of finding fresh memory, which differs
much from one machine to the next. Readers that split at every space
get the file without its last rows, whose words hold spaces; slow ones get a prefix, said in the
column ``note``. Before anything is timed, our values are compared with Python's ``float``.

Run: ``python benchmarks/bench_parse.py``
"""

import argparse
import importlib.metadata
import json
import operator
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _rows import write_rows

import embcompress

CACHE = Path(__file__).parent / "cache"
N_ROWS, N_FEATURES = 400_000, 300
SPACED = [". . .", ". .", "at name@domain.com", "to name@domain.com", ". . . .", "in mylot.com",
          "contact name@domain.com", "by name@domain.com"]  # fmt: skip
WHOLE, PLAIN = CACHE / "glove_like.txt", CACHE / "glove_like_plain.txt"
PREFIXES = {20_000: CACHE / "glove_like_20k.txt", 40_000: CACHE / "glove_like_40k.txt"}
TINY = CACHE / "tiny.txt"
ROUNDS = 3


def make_words() -> list[bytes]:
    """Words of growing length, as in a list by frequency."""
    rng = random.Random(0)
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    weights = [1 / (i + 1) for i in range(len(letters))]
    words: dict[str, None] = dict.fromkeys([",", ".", '"', "'s", "<unk>", "café", "北京"])
    while len(words) < N_ROWS - len(SPACED):
        length = 2 + int(len(words) ** 0.17 * rng.uniform(0.5, 1.5))
        words["".join(rng.choices(letters, weights, k=length))] = None
    return [word.encode() for word in [*words, *SPACED]]


def make_files() -> None:
    """Write the files unless they are there."""
    if WHOLE.exists() and PLAIN.exists():
        return
    CACHE.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    pool = [b"%.5g" % value for value in (rng.standard_normal(1 << 20) * 0.4).tolist()]
    words = make_words()
    end_of_plain = 0
    temporary = WHOLE.with_suffix(".tmp")
    with temporary.open("wb") as file:
        for start in range(0, N_ROWS, 1000):
            picks = rng.integers(0, len(pool), (1000, N_FEATURES)).tolist()
            for word, row in zip(words[start : start + 1000], picks, strict=True):
                if word == SPACED[0].encode():
                    end_of_plain = file.tell()
                file.write(b"%b %b\n" % (word, b" ".join(operator.itemgetter(*row)(pool))))
    temporary.replace(WHOLE)
    shutil.copyfile(WHOLE, PLAIN)
    os.truncate(PLAIN, end_of_plain)
    for n, path in PREFIXES.items():
        with PLAIN.open("rb") as source, path.open("wb") as target:
            target.writelines(next(source) for _ in range(n))
    TINY.write_bytes(b"".join(b"w%d %b\n" % (i, b" ".join(pool[:300])) for i in range(50)))


def check_values() -> int:
    """Compare lines spread over the file with Python's float; how many were compared."""
    from embcompress import load_vectors

    vectors = load_vectors(WHOLE)
    if len(vectors) != N_ROWS:
        raise SystemExit(f"{len(vectors)} rows instead of {N_ROWS}")
    wanted = {*range(0, N_ROWS, 1600), *range(N_ROWS - len(SPACED), N_ROWS)}
    with WHOLE.open("rb") as file:
        for row, line in enumerate(file):
            if row not in wanted:
                continue
            word, *numbers = line[:-1].rsplit(b" ", N_FEATURES)
            expected = np.array([float(number) for number in numbers]).astype(np.float32)
            if vectors.index_to_key[row] != word.decode() or not np.array_equal(
                vectors.vectors[row].view(np.uint32), expected.view(np.uint32)
            ):
                raise SystemExit(f"row {row} differs")
    return len(wanted)


def read_ours(path: Path, threads: int) -> int:
    """Whole: words, matrix, duplicates."""
    from embcompress import load_vectors

    return len(load_vectors(path, n_threads=threads))


def read_polars(path: Path, threads: int) -> int:
    """Columns of float32."""
    import polars

    kinds = [polars.String] + [polars.Float32] * N_FEATURES
    frame = polars.read_csv(
        path, separator=" ", has_header=False, quote_char=None, schema_overrides=kinds
    )
    return len(frame)


def read_pyarrow(path: Path, threads: int) -> int:
    """Columns of float32."""
    import pyarrow as pa
    from pyarrow import csv

    pa.set_cpu_count(threads)
    names = [f"f{i}" for i in range(N_FEATURES + 1)]
    table = csv.read_csv(
        path,
        read_options=csv.ReadOptions(column_names=names, use_threads=threads > 1),
        parse_options=csv.ParseOptions(delimiter=" ", quote_char=False),
        convert_options=csv.ConvertOptions(
            column_types={name: pa.float32() for name in names[1:]} | {"f0": pa.string()}
        ),
    )
    return len(table)


def read_pandas(path: Path, threads: int) -> int:
    """Columns of float32, C engine."""
    import pandas

    kinds: dict = dict.fromkeys(range(1, N_FEATURES + 1), np.float32)
    frame = pandas.read_csv(
        path, sep=" ", header=None, quoting=3, engine="c", dtype={0: str, **kinds}, na_filter=False
    )
    return len(frame)


def read_loadtxt(path: Path, threads: int) -> int:
    """The numbers only."""
    columns = range(1, N_FEATURES + 1)
    return len(
        np.loadtxt(path, np.float32, comments=None, delimiter=" ", usecols=columns, encoding="utf8")
    )


def read_gensim(path: Path, threads: int) -> int:
    """Words and matrix."""
    from gensim.models import KeyedVectors

    return len(KeyedVectors.load_word2vec_format(str(path), no_header=True))


READERS = {
    "embcompress": read_ours,
    "polars.read_csv": read_polars,
    "pyarrow.csv": read_pyarrow,
    "pandas C engine": read_pandas,
    "np.loadtxt": read_loadtxt,
    "gensim load_word2vec_format": read_gensim,
}
READ_TWICE = {"embcompress", "polars.read_csv", "pyarrow.csv"}
# method, threads, file, rounds
PLAN = [
    ("embcompress", 1, WHOLE, ROUNDS),
    ("embcompress", 2, WHOLE, ROUNDS),
    ("polars.read_csv", 1, PLAIN, ROUNDS),
    ("polars.read_csv", 2, PLAIN, ROUNDS),
    ("pyarrow.csv", 1, PLAIN, ROUNDS),
    ("pandas C engine", 1, PLAIN, 1),
    ("np.loadtxt", 1, PREFIXES[20_000], 1),
    ("gensim load_word2vec_format", 1, PREFIXES[40_000], 1),
]


def measure_here(method: str, threads: int, path: Path) -> dict:
    """Read once in this process."""
    read = READERS[method]
    read(TINY, threads)
    with path.open("rb", buffering=0) as file:  # into the page cache
        block = bytearray(1 << 22)
        while file.readinto(block):
            pass
    before = os.times()
    wall, cpu = time.perf_counter(), time.process_time()
    n_rows = read(path, threads)
    found = {
        "rows": n_rows,
        "cpu_s": time.process_time() - cpu,
        "user_s": os.times().user - before.user,  # without the clearing of fresh memory pages
        "wall_s": time.perf_counter() - wall,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    if method in READ_TWICE:
        cpu = time.process_time()
        read(path, threads)
        found["again_cpu_s"] = time.process_time() - cpu
    return found


def measure(method: str, threads: int, path: Path) -> dict:
    """Read once in a fresh process."""
    environment = {**os.environ, "POLARS_MAX_THREADS": str(threads), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--child", method, str(threads), str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{method}: {done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def version_of(method: str) -> str:
    """Version of the library that a method belongs to."""
    library = {"np": "numpy"}.get(name := method.replace(".", " ").split()[0], name)
    if library == "embcompress":
        return embcompress.__version__
    return importlib.metadata.version(library)


def check_in_child() -> int:
    """Compare in a process of its own: a child starts with the peak memory of its parent."""
    command = [sys.executable, __file__, "--check"]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def run() -> list[dict]:
    """All measurements in interleaved rounds, medians as rows."""
    found: dict[tuple, list[dict]] = {}
    for round_ in range(ROUNDS):
        for method, threads, path, rounds in PLAN:
            if round_ < rounds:
                result = measure(method, threads, path)
                print(method, threads, {key: round(v, 2) for key, v in result.items()}, flush=True)
                found.setdefault((method, threads, path), []).append(result)
    rows = []
    for (method, threads, path), results in found.items():
        median = {key: statistics.median(r[key] for r in results) for key in results[0]}
        megabytes = path.stat().st_size / 1e6
        n_rows = int(median["rows"])
        rows.append({
            "benchmark": "parse", "method": method, "threads": threads, "rows": n_rows,
            "MB": round(megabytes, 1), "cpu_s": round(median["cpu_s"], 3),
            "user_s": round(median["user_s"], 3), "wall_s": round(median["wall_s"], 3),
            "mb_per_s": round(megabytes / median["cpu_s"], 1),
            "mb_per_s_again": round(megabytes / median["again_cpu_s"], 1)
            if "again_cpu_s" in median else "",
            "mb_per_s_wall": round(megabytes / median["wall_s"], 1),
            "peak_rss_mb": round(median["peak_rss_mb"]), "rounds": len(results),
            "method_version": version_of(method),
            "note": "" if n_rows > 100_000 else f"prefix of {n_rows} rows; peak_rss_mb is for it",
        })  # fmt: skip
    slowest = next(row for row in rows if row["method"].startswith("gensim"))
    for row in rows:
        row["speed_ratio_to_gensim"] = round(row["mb_per_s"] / slowest["mb_per_s"], 1)
    return rows


def main() -> None:
    """Make the files, check, measure, write the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--check", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    child = options.child
    if options.check:
        print(check_values())
        return
    if child:
        print(json.dumps(measure_here(child[0], int(child[1]), Path(child[2]))))
        return
    make_files()
    n_checked = check_in_child()
    print(f"{n_checked} lines equal Python's float in every bit")
    rows = run()
    for row in rows:
        row["lines_checked"] = n_checked
    print(write_rows("parse", rows))


if __name__ == "__main__":
    main()
