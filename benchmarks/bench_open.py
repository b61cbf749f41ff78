"""How soon a compressed file answers: open it and ask once, in a fresh process.

Beside it the same float vectors saved by gensim and opened by memory map. Also the processor time
of the two smallest commands, from the start of Python to its end. Every measurement is a process
of its own, and every file is in the page cache.

Run: ``python benchmarks/bench_open.py``
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import statistics
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from _rows import write_rows
from bench_compress import COMPRESSED, command_line, make_compressed, run_child, run_measured
from bench_parse import CACHE, WHOLE

ROUNDS = 5
GENSIM_FILE = CACHE / "glove_like.gensim"
# words of the large file, by their rows
ROWS = (1000, 2000)


def make_gensim_file() -> None:
    """Save the vectors of the large file as gensim does."""
    from gensim.models import KeyedVectors

    from embcompress import load_vectors

    vectors = load_vectors(WHOLE)
    saved = KeyedVectors(vectors.vector_size)
    saved.add_vectors(list(vectors.index_to_key), vectors.vectors)
    saved.save(str(GENSIM_FILE))


def open_ours() -> dict[str, float]:
    """Load, first and second query of ours."""
    started = time.process_time()
    import faiss  # noqa: F401
    import numpy as np  # noqa: F401

    from embcompress import CompressedVectors

    imported = time.process_time() - started
    return {"import": imported, **open_and_ask(lambda: CompressedVectors.load(COMPRESSED))}


def open_gensim() -> dict[str, float]:
    """Load, first and second query of gensim."""
    started = time.process_time()
    from gensim.models import KeyedVectors

    imported = time.process_time() - started
    return {
        "import": imported,
        **open_and_ask(lambda: KeyedVectors.load(str(GENSIM_FILE), mmap="r")),
    }


def open_and_ask(load: Callable[[], Any]) -> dict[str, float]:
    """Seconds of processor time to load, to answer once, and to answer again."""
    first, second = wanted_words()
    marks = [time.process_time()]
    vectors = load()
    marks.append(time.process_time())
    answers = [vectors.most_similar(first, topn=10)]
    marks.append(time.process_time())
    answers.append(vectors.most_similar(second, topn=10))
    marks.append(time.process_time())
    if len(vectors) < 400_000 or any(len(answer) != 10 for answer in answers):
        raise SystemExit("the answer is not whole")
    seconds = [end - start for start, end in pairwise(marks)]
    return dict(zip(("load", "first_query", "second_query"), seconds, strict=True))


def check() -> None:
    """Compare the first answer with all distances, counted one by one."""
    import numpy as np

    from embcompress import CompressedVectors
    from embcompress.codes import hamming_distances

    small, word = CompressedVectors.load(COMPRESSED), wanted_words()[0]
    row = small.get_index(word)
    distances = hamming_distances(small.codes[row : row + 1], small.codes)[0].astype(int)
    distances[row] = small.n_bits + 1
    expected = 1 - 2 * np.sort(distances)[:10] / small.n_bits
    answer = np.array([score for _, score in small.most_similar(word, topn=10)])
    np.testing.assert_allclose(answer, expected, atol=1e-6)


def wanted_words() -> list[str]:
    """Words to ask for, from the text."""
    words = []
    with WHOLE.open("rb") as file:
        for row, line in zip(range(max(ROWS) + 1), file, strict=False):
            if row in ROWS:
                words.append(line.partition(b" ")[0].decode())
    return words


CHILDREN: dict[str, Callable[[], Any]] = {
    "make-gensim-file": make_gensim_file,
    "check": check,
    "embcompress": open_ours,
    "gensim": open_gensim,
}
NAMES = {
    "embcompress": "CompressedVectors.load",
    "gensim": "gensim KeyedVectors.load(mmap='r')",
}


def open_row(method: str, results: list[dict[str, float]]) -> dict[str, Any]:
    """Medians over processes, in milliseconds."""
    totals = [result["load"] + result["first_query"] for result in results]
    medians = {
        f"{key}_ms": round(1000 * statistics.median(result[key] for result in results), 2)
        for key in results[0]
    }
    path = COMPRESSED if method == "embcompress" else GENSIM_FILE
    files = [path, *path.parent.glob(f"{path.name}.*")]
    return {
        "benchmark": "open",
        "method": NAMES[method],
        "load_and_first_query_ms": round(1000 * statistics.median(totals), 2),
        **medians,
        "file_MB": round(sum(file.stat().st_size for file in files) / 1e6, 1),
        "rounds": len(results),
        "method_version": importlib.metadata.version(method),
    }


def command_row(arguments: list[str], rounds: int) -> dict[str, Any]:
    """Processor seconds of one command."""
    runs = [run_measured(command_line(*arguments)) for _ in range(rounds + 1)][1:]
    shown = [Path(argument).name for argument in arguments]
    return {
        "benchmark": "open",
        "method": " ".join(["embcompress", *shown]),
        "cpu_s": round(statistics.median(done.cpu_s for done in runs), 3),
        "peak_rss_mb": round(statistics.median(done.peak_rss_mb for done in runs)),
        "rounds": rounds,
        "method_version": importlib.metadata.version("embcompress"),
    }


def run(rounds: int) -> list[dict[str, Any]]:
    """Interleaved rounds; one before is not counted."""
    found: dict[str, list[dict[str, float]]] = {method: [] for method in NAMES}
    for number in range(rounds + 1):
        for method, results in found.items():
            seconds = json.loads(run_child(method, script=__file__).stdout)
            if number:
                results.append(seconds)
    rows = [open_row(method, results) for method, results in found.items()]
    rows += [command_row(["--help"], rounds), command_row(["info", str(COMPRESSED)], rounds)]
    return rows


def main() -> None:
    """Make the files, measure, write the rows."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--child", choices=CHILDREN, help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    if options.child:
        sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
        print(json.dumps(CHILDREN[options.child]()))
        return
    make_compressed()
    if not GENSIM_FILE.exists():
        run_child("make-gensim-file", script=__file__)
    run_child("check", script=__file__)
    rows = run(options.rounds)
    for row in rows:
        print({key: value for key, value in row.items() if value != ""})
    print(write_rows("open", rows))


if __name__ == "__main__":
    main()
