"""Sentiment of IMDB from one file: bytes, accuracy and speed beside float vectors and PyTorch.

Float vectors with a dense head, and bundles of codes with a pruned int8 head, all with the same
settings of the head. Speed and loading are measured in processes of their own.

Run: ``EMBCOMPRESS_DATA=... python benchmarks/bench_bundle.py [--seeds 3]``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _data import CACHE, data_folder
from _pruning_data import VECTORS
from _rows import write_rows

FOLDER = CACHE / "bundle"
# as the perceptron of bench_pruning.py on IMDB
HEAD = {"batch_size": 128, "max_epochs": 10, "weight_decay": 0.1}
RECIPE = {"epochs": 9, "retrain_epochs": 10, "retrain_learning_rate": 2e-3}
# bits, bits per direction, what a text is the mean of, original / kept weights of the head
CODES = {
    "1 bit per direction": (300, 1, "decoded", 20.0),
    "1 bit per direction, numbers of codes": (300, 1, "codes", 20.0),
    "1 bit per direction, numbers of codes, 8x": (300, 1, "codes", 8.0),
    "1 bit per direction, numbers of codes, 372 bits": (372, 1, "codes", 20.0),
    "2 bits per direction": (300, 2, "decoded", 20.0),
}
SPEED_TEXTS = 5000
ROUNDS = 5


def file_of(name: str, seed: int, ending: str) -> Path:
    """Where something of a way lies."""
    return FOLDER / f"{name.replace(' ', '-').replace(',', '')}-{seed}.{ending}"


def texts_of_imdb() -> tuple[list[str], np.ndarray, np.ndarray]:
    """Texts, labels, and which belong to the official test part."""
    from embcompress.evaluation.datasets import load_dataset

    data = load_dataset("imdb", quiet=True)
    return data.texts, data.labels, data.is_test


def train(vectors: Any, features: str, seed: int, rate: float) -> tuple[Any, float]:
    """A head on mean vectors, pruned where the rate is not 1, and its accuracy on the test part."""
    from embcompress.heads import MLPHead
    from embcompress.texts import TextVectors

    texts, y, test = texts_of_imdb()
    X = TextVectors(vectors, features).transform(texts)
    head = MLPHead((256,), random_state=seed, **HEAD).fit(X[~test], y[~test])
    if rate != 1:
        head = head.prune(
            "reweighted-unified", X[~test], y[~test], rate=rate, random_state=seed, **RECIPE
        )
    return head, float(head.score(X[test], y[test]))


def make(n_seeds: int) -> dict[str, list[dict[str, Any]]]:
    """Train what is not there; files lie in the cache. Name -> a cell for each seed."""
    from embcompress import IIQ, Bundle, CompressedVectors, load_vectors

    FOLDER.mkdir(parents=True, exist_ok=True)
    vectors = load_vectors(data_folder() / "embeddings" / VECTORS)
    texts, y, test = texts_of_imdb()
    held = [text for text, is_test in zip(texts, test, strict=True) if is_test]
    found: dict[str, list[dict[str, Any]]] = {}
    ways = {"float32": (0, 0, "decoded", 1.0), **CODES}
    for name, (n_bits, bits, features, rate) in ways.items():
        small = vectors
        if n_bits:
            quantizer = IIQ(n_bits=n_bits, bits_per_direction=bits, random_state=0)
            small = CompressedVectors.compress(vectors, quantizer)
        for seed in range(n_seeds):
            cell = file_of(name, seed, "json")
            head_file, bundle_file = (file_of(name, seed, x) for x in ("head", "bundle"))
            if not cell.exists():
                head, accuracy = train(small, features, seed, rate)
                head.save(head_file)
                row = {"head_accuracy": accuracy, "accuracy": accuracy}
                if n_bits:
                    program = head.compile(precision="int8")
                    bundle = Bundle.build(small, program, features=features)
                    bundle.save(bundle_file)
                    report = bundle.report()
                    row["accuracy"] = float((bundle.predict(held) == y[test]).mean())
                    row["bytes"] = bundle_file.stat().st_size
                    row |= {f"{part}_bytes": size for part, size in report.parts.items()}
                    row["rate"] = round(head.masks_.rate, 2)
                else:
                    # what such a pipeline ships: float32 vectors, words, the dense head
                    row["bytes"] = vectors.vectors.nbytes + vectors.index_to_key.blob.nbytes
                    row["bytes"] += head_file.stat().st_size
                cell.write_text(json.dumps(row), encoding="utf-8")
                print(cell.stem, row, flush=True)
            found.setdefault(name, []).append(json.loads(cell.read_text(encoding="utf-8")))
    return found


def pipelines() -> dict[str, Callable[[list[str]], Any]]:
    """Name -> texts to labels, for the speed; heads of seed 0."""
    from embcompress import Bundle, heads, load_vectors
    from embcompress.texts import TextVectors, tokenize

    vectors = load_vectors(data_folder() / "embeddings" / VECTORS)
    head, means = heads.load(file_of("float32", 0, "head")), TextVectors(vectors)
    rows, table = vectors.vectors, vectors.index_to_key.key_to_index()

    def by_hand(texts: list[str]) -> Any:
        X = np.zeros((len(texts), rows.shape[1]), np.float32)
        for i, text in enumerate(texts):
            known = [table[token] for token in tokenize(text) if token in table]
            if known:
                X[i] = rows[known].mean(axis=0)
        return head.predict(X)

    found: dict[str, Callable[[list[str]], Any]] = {
        "float32": by_hand,
        "float32, compiled means": lambda texts: head.predict(means.transform(texts)),
    }
    for name in CODES:
        found[name] = Bundle.load(file_of(name, 0, "bundle")).predict
    return found


def speed() -> dict[str, dict[str, float]]:
    """Texts per second of processor time, all at once and one by one; medians of rounds."""
    import torch

    torch.set_num_threads(1)
    texts, y, test = texts_of_imdb()
    chosen = np.random.default_rng(0).permutation(np.flatnonzero(test))[:SPEED_TEXTS]
    some, labels = [texts[i] for i in chosen], y[chosen]
    ways = pipelines()
    taken: dict[str, dict[str, list[float]]] = {name: {"all": [], "single": []} for name in ways}
    for name, way in ways.items():
        accuracy = (way(some) == labels).mean()
        assert accuracy > 0.75, (name, accuracy)
    for _ in range(ROUNDS):
        for name, way in ways.items():
            start = time.process_time()
            way(some)
            taken[name]["all"].append(time.process_time() - start)
            start = time.process_time()
            for text in some[:500]:
                way([text])
            taken[name]["single"].append(time.process_time() - start)
    return {
        name: {
            "texts_per_s": round(len(some) / float(np.median(times["all"]))),
            "texts_per_s_single": round(500 / float(np.median(times["single"]))),
        }
        for name, times in taken.items()
    }


_FIRST = """
import sys, time
from embcompress.bundle import Bundle
start = time.process_time()
bundle = Bundle.load(sys.argv[1])
bundle.predict(["What a wonderful film, I loved every minute of it."])
print(time.process_time() - start)
"""


def first_prediction(path: Path) -> float:
    """Processor seconds from a closed file to the first class, after imports; kernels cached."""
    times = [
        float(subprocess.run(
            [sys.executable, "-c", _FIRST, str(path)], capture_output=True, text=True, check=True
        ).stdout)
        for _ in range(ROUNDS + 1)
    ]  # fmt: skip
    return round(float(np.median(times[1:])), 3)


def rows_of(cells: dict[str, list[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    """Means over seeds, and the speeds."""
    speeds = speed()
    dense = np.mean([cell["accuracy"] for cell in cells["float32"]])
    for name, times in speeds.items():
        group = cells[name.partition(", compiled")[0]]
        accuracy = np.array([cell["accuracy"] for cell in group])
        row = {
            "benchmark": "bundle",
            "method": name,
            "file_bytes": group[0]["bytes"],
            **{f"{part}_bytes": group[0].get(f"{part}_bytes", "")
               for part in ("codes", "words", "decoder", "program")},
            "rate": group[0].get("rate", 1.0),
            "n_seeds": len(group),
            "accuracy": round(float(accuracy.mean()), 4),
            "accuracy_sd": round(float(accuracy.std(ddof=1)), 4) if len(group) > 1 else "",
            "loss_points": round(100 * float(dense - accuracy.mean()), 2),
            "head_accuracy": round(float(np.mean([cell["head_accuracy"] for cell in group])), 4),
            **times,
            "first_s": "",
        }  # fmt: skip
        if name in CODES:
            row["first_s"] = first_prediction(file_of(name, 0, "bundle"))
        yield row


def main() -> int:
    """Train, measure, write the rows."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    rows = list(rows_of(make(options.seeds)))
    for row in rows:
        print(row)
    print(write_rows("bundle", rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
