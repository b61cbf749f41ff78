"""Transfer learning on sentences: augment mean word vectors instead of words.

Reviews of one sentence are embedded as the mean of their word vectors. Raw augmentation drops
words, exchanges them for words of other sentences, or replaces them by near words; operators are
fitted on unlabelled sentences, and compared with raw augmentation, noise, mixup and SMOTE.

Run: ``EMBCOMPRESS_DATA=... python examples/transfer_text.py``
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from _comparison import Task, classical, fit_augmenter, fitted, make_task, none, raw, score, train
from _sentences import TRANSFORMS, WordVectors, load_sentences, transform_all

from embcompress import load_vectors

VECTORS = "enwiki_sgns300_50k.npz"
# of heads on mean vectors, whose dimensions are many for few sentences
PENALTY = 0.03
METHODS = {
    "no augmentation": none,
    "raw augmentation": raw,
    "fitted operators": fitted(),
    "fitted operators, residual bank": fitted(noise="bank"),
    "fitted offsets": fitted(operator="offset"),
    "displacement bank": fitted(operator="bank"),
    "matched noise": classical("noise"),
    "within-class mixup": classical("within-class mixup"),
    "SMOTE": classical("smote"),
}


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def split(
    labels: npt.NDArray[np.int64], shots: int, n_unlabelled: int, n_test: int, seed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Training, unlabelled and test sentences, of which no two share one."""
    order = np.random.default_rng(seed).permutation(len(labels))
    training = np.concatenate([order[labels[order] == c][:shots] for c in np.unique(labels)])
    others = order[~np.isin(order, training)]
    if n_unlabelled + n_test > len(others):
        raise SystemExit(f"{n_unlabelled} + {n_test} sentences are wanted of {len(others)}")
    return training, others[:n_unlabelled], others[n_unlabelled : n_unlabelled + n_test]


def compare(tasks: Sequence[Task]) -> dict[str, dict[str, float]]:
    """Mean accuracy of each method on clean and on augmented test sentences."""
    found = {}
    for name, way in METHODS.items():
        scores = []
        for task in tasks:
            rows, labels, weights = way(task)
            # all rows together weigh as much as those that are not augmented
            weights = np.ones(len(rows)) if weights is None else weights
            weights = weights * len(task.X) / weights.sum()
            scores.append(score(train((rows, labels, weights), C=PENALTY), task))
        found[name] = {key: float(np.mean([s[key] for s in scores])) for key in scores[0]}
        say(f"{name:32} clean {found[name]['clean']:.3f}, augmented {found[name]['augmented']:.3f}")
    return found


def arguments_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("EMBCOMPRESS_DATA"))
    parser.add_argument("--file", default="stsa.binary.train", help="in text/sentences")
    parser.add_argument("--sentences", type=int, default=6000, help="of the file, at random")
    parser.add_argument("--shots", type=int, nargs="+", default=[10, 50, 250])
    parser.add_argument("--unlabelled", type=int, default=1000, help="to fit operators on")
    parser.add_argument("--test", type=int, default=2000)
    parser.add_argument("--draws", type=int, default=10)
    options = parser.parse_args(arguments)
    if options.data is None:
        parser.error("give --data, or set EMBCOMPRESS_DATA to the folder of the data")
    return options


def main(arguments: Sequence[str] | None = None) -> dict[int, dict[str, dict[str, float]]]:
    """Run the example; accuracies by sentences a class and method."""
    options = arguments_of(arguments)
    sentences, labels = load_sentences(options.data, options.file, options.sentences)
    vectors = WordVectors(
        load_vectors(options.data / "embeddings" / VECTORS), [w for s in sentences for w in s]
    )
    features = vectors.embed(sentences)
    views = {
        name: vectors.embed(transform_all(each, sentences, vectors, seed=0))
        for name, each in TRANSFORMS.items()
    }
    found = {}
    for shots in options.shots:
        say(f"{shots} sentences a class")
        rows = [
            split(labels, shots, options.unlabelled, options.test, seed)
            for seed in range(options.draws)
        ]
        tasks = [
            make_task(features, views, labels, part, seed=seed) for seed, part in enumerate(rows)
        ]
        found[shots] = compare(tasks)
    for name, entry in fit_augmenter(tasks[0]).report_.items():
        say(f"{name}: {entry['rho']:.2f} of the displacement unexplained, {entry['rel']:.2f} large")
    return found


if __name__ == "__main__":
    main()
