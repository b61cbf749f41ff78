"""Accuracy of pruned heads on real data: dense, one-shot and solvers at equal density.

Each experiment is a head, data, and the ways it is pruned; all ways of one rate end in the same
retraining. Settings were chosen on a part of the training data (``--validate`` scores there).
Finished cells lie in ``cache/pruning`` and are not run again; a cell whose setting changed is.

Run: ``EMBCOMPRESS_DATA=... python benchmarks/bench_pruning.py [--jobs 2] [--only mlp-trec]``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _data import CACHE
from _pruning_cells import SEEDS
from _pruning_heads import gru, mlp
from _pruning_resnet import resnet
from _pruning_search import SearchExperiment
from _rows import write_rows


def experiments(*, long: bool = False) -> dict[str, Callable[[], Any]]:
    """Name -> maker; the ones that take longest first."""
    factor = 3 if long else 1
    trec = {"max_epochs": 30, "weight_decay": 2.0}
    imdb = {"max_epochs": 10, "weight_decay": 0.1}
    return {
        "resnet-cifar10": lambda: resnet(long=long),
        "gru-digits": lambda: gru(8 * factor, 25 * factor),
        "mlp-imdb": lambda: mlp("imdb", 256, imdb, 9 * factor, 10 * factor, (1e-3, 1e-2, 1e-1)),
        "mlp-trec": lambda: mlp("trec", 512, trec, 21 * factor, 20 * factor, (1e-2, 1e-1, 1.0)),
        "search-trec": lambda: SearchExperiment("search-trec", "trec"),
    }


# in the tables
ORDER = ("mlp-trec", "mlp-imdb", "gru-digits", "resnet-cifar10")


@dataclass(frozen=True)
class Task:
    """A part of an experiment, as a process runs it."""

    experiment: str
    seed: int
    methods: tuple[str, ...]
    folder: Path
    long: bool
    validate: bool
    n_seeds: int | None

    def run(self) -> None:
        """Run what is missing; called in a process of its own, or in this one."""
        import torch

        torch.set_num_threads(1)
        torch.set_flush_denormal(True)
        experiment = experiments(long=self.long)[self.experiment]()
        experiment.run(
            self.folder, self.seed, self.methods, validate=self.validate, n_seeds=self.n_seeds
        )


def tasks(options: argparse.Namespace, folder: Path) -> list[Task]:
    """What is to be run, stored dense models first."""
    shared = (folder, options.long, options.validate, options.seeds)
    found = [
        Task(name, seed, tuple(methods), *shared)
        for name, make in experiments(long=options.long).items()
        if name in (options.only or (name,))
        for seed, methods in make().parts(options.seeds, options.method)
    ]
    # sorted is stable: a part without methods makes the dense model that others wait for
    return sorted(found, key=lambda task: bool(task.methods) and task.experiment.startswith("res"))


def run_all(found: list[Task], n_jobs: int) -> None:
    """Run tasks, one after the other or in several processes."""
    if n_jobs == 1:
        for task in found:
            task.run()
        return
    with ProcessPoolExecutor(n_jobs, mp_context=get_context("spawn")) as pool:
        for future in [pool.submit(task.run) for task in found]:
            future.result()


def parsed() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    known = experiments()
    parser.add_argument("--only", action="append", default=[], metavar="EXPERIMENT")
    parser.add_argument("--method", action="append", default=[], help="only these")
    parser.add_argument(
        "--seeds", type=int, choices=range(1, SEEDS + 1),
        help="of every method; default: three, and one where a cell takes minutes",
    )  # fmt: skip
    parser.add_argument("--jobs", type=int, default=1, help="processes of one thread each")
    parser.add_argument("--long", action="store_true", help="more training, see the README")
    parser.add_argument("--validate", action="store_true", help="score on held out training data")
    parser.add_argument("--cache", type=Path, default=CACHE / "pruning", help="folder of the cells")
    options = parser.parse_args()
    unknown = set(options.only) - set(known)
    if unknown:
        parser.error(f"no experiment {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    if options.jobs < 1:
        parser.error(f"--jobs {options.jobs} must be at least 1")
    return options


def main() -> int:
    """Run what is missing, write the rows."""
    options = parsed()
    folder = options.cache / ("validation" if options.validate else "long" if options.long else "")
    folder.mkdir(parents=True, exist_ok=True)
    run_all(tasks(options, folder), options.jobs)
    known = experiments(long=options.long)
    rows = [row for name in ORDER for row in known[name]().rows(folder)]
    for row in rows:
        print(*(row[key] for key in ("experiment", "method", "rate", "accuracy", "loss_points")))
    found = known["search-trec"]().rows(folder)
    for row in found:
        print(*row.values())
    if not options.validate:
        length = "_long" if options.long else ""
        print(write_rows("pruning" + length, rows))
        print(write_rows("pruning_search" + length, found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
