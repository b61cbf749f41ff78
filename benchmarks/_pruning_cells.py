"""Experiments of the benchmark of pruning, and their cells: one way to prune, one seed.

A finished cell is a JSON file that is not run again; one whose setting changed is.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from _pruning_data import Split
from _pruning_storage import stored_bytes

SEEDS = 3


@dataclass(frozen=True)
class Method:
    """One way to prune.

    Attributes
    ----------
    name : str
    rate : float
        Original / kept weights that are asked for; 1 where the dense model is trained on.
    run : callable
        ``run(dense, split, seed)`` gives the pruned model and its masks.
    setting : str
        What would change the result; a cell with another setting is run again.
    seeds : int
        By default.
    layout : str
        How the zeros are stored, see :func:`stored_bytes`; empty if bytes are not counted.
    """

    name: str
    rate: float
    run: Callable[[Any, Split, int], tuple[Any, Any]]
    setting: str
    seeds: int = SEEDS
    layout: str = ""


@dataclass(frozen=True)
class Experiment:
    """A head, its data, and how it is pruned.

    Attributes
    ----------
    name : str
    model : str
        For the table.
    data : callable
    dense : callable
        ``dense(split, seed)`` gives the trained model.
    score : callable
        ``score(model, split)`` gives the accuracy on the test part.
    setting : str
        Of the dense model.
    methods : list of Method
    stored : bool
        Whether the dense model is kept in a file, so that methods can run apart.
    """

    name: str
    model: str
    data: Callable[[], Split]
    dense: Callable[[Split, int], Any]
    score: Callable[[Any, Split], float]
    setting: str
    methods: list[Method] = field(default_factory=list)
    stored: bool = False

    def parts(self, n_seeds: int | None, names: Sequence[str]) -> list[tuple[int, list[str]]]:
        """What can run apart: seeds and the names of the methods; no name is the dense model.

        Parameters
        ----------
        n_seeds : int, optional
            Of every method; default: its own number.
        names : sequence of str
            Only these methods; all if empty.

        Returns
        -------
        list of (int, list of str)
        """
        wanted = {
            method.name: method.seeds if n_seeds is None else n_seeds
            for method in self.methods
            if not names or method.name in names
        }
        found: list[tuple[int, list[str]]] = []
        for seed in range(max(wanted.values(), default=0)):
            ways = [name for name, n in wanted.items() if seed < n]
            found += [(seed, [])] if self.stored else [(seed, ways)]
            found += [(seed, [way]) for way in ways] if self.stored else []
        return found

    def run(
        self, folder: Path, seed: int, names: Sequence[str], *, validate: bool, n_seeds: int | None
    ) -> None:
        """Run the missing cells of a part; the dense model is trained when a cell needs it.

        Parameters
        ----------
        folder : Path
        seed : int
        names : sequence of str
        validate : bool
            Score on a part of the training rows, which is left out of training.
        n_seeds : int, optional
            As in :meth:`parts`.
        """

        @cache
        def split() -> Split:
            return self.data().validation() if validate else self.data()

        @cache
        def dense() -> Any:
            return self.dense(split(), seed)

        self._run_cell(folder, None, seed, lambda: (dense(), None, split()))
        for method in self.methods:
            if method.name in names and seed < (method.seeds if n_seeds is None else n_seeds):

                def make(method: Method = method) -> tuple[Any, Any, Split]:
                    return *method.run(dense(), split(), seed), split()

                self._run_cell(folder, method, seed, make)

    def rows(self, folder: Path) -> list[dict[str, Any]]:
        """Rows of the cells that are there, also of earlier runs."""
        cells = [
            self._cell_at(folder, method, seed)[2]
            for method in (None, *self.methods)
            for seed in range(SEEDS)
        ]
        return rows_of(self, [cell for cell in cells if cell is not None])

    def _cell_at(
        self, folder: Path, method: Method | None, seed: int
    ) -> tuple[Path, str, dict[str, Any] | None]:
        """Where a cell lies, its setting, and what it holds; None if missing or outdated."""
        label = "dense" if method is None else f"{method.name} {method.rate:g}x"
        setting = self.setting + ("" if method is None else f" | {method.setting}")
        return cell_at(folder, f"{self.name}.{label}.{seed}", setting)

    def _run_cell(self, folder: Path, method: Method | None, seed: int, make: Any) -> None:
        """Run a cell unless it is there; `make` gives the model, its masks and the data."""
        path, setting, cell = self._cell_at(folder, method, seed)
        if cell is not None:
            return
        start = time.process_time()
        model, masks, split = make()
        cell = {
            "experiment": self.name,
            "method": "dense" if method is None else method.name,
            "rate": 1.0 if method is None else method.rate,
            "seed": seed,
            "accuracy": self.score(model, split),
            "n_weights": 0 if not masks else masks.n_weights,
            "n_kept": 0 if not masks else masks.n_kept,
            **stored_bytes(masks or {}, "" if method is None else method.layout),
            "cpu_s": round(time.process_time() - start, 1),
            "setting": setting,
        }
        path.write_text(json.dumps(cell, indent=1), encoding="utf-8")
        print(f"{path.stem:50}{cell['accuracy']:.4f}  {cell['cpu_s']} s", flush=True)


def cell_at(folder: Path, label: str, setting: str) -> tuple[Path, str, dict[str, Any] | None]:
    """Where a cell lies, its setting, and what it holds; None if it is missing or outdated."""
    path = folder / ("".join(c if c.isalnum() or c in "-.=" else "_" for c in label) + ".json")
    if path.exists():
        cell = json.loads(path.read_text(encoding="utf-8"))
        if cell["setting"] == setting:
            return path, setting, cell
    return path, setting, None


def rows_of(experiment: Experiment, cells: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over seeds; the loss is to the dense model of the same seed."""
    dense = {cell["seed"]: cell["accuracy"] for cell in cells if cell["method"] == "dense"}
    groups: dict[tuple[str, float], list[dict[str, Any]]] = {}
    for cell in cells:
        groups.setdefault((cell["method"], cell["rate"]), []).append(cell)
    rows = []
    for (method, rate), group in sorted(groups.items(), key=lambda item: item[0][1]):
        accuracy = np.array([cell["accuracy"] for cell in group])
        loss = np.array([dense[cell["seed"]] - cell["accuracy"] for cell in group])
        kept = np.mean([cell["n_kept"] for cell in group])
        rows.append(
            {
                "benchmark": "pruning",
                "experiment": experiment.name,
                "model": experiment.model,
                "method": method,
                "rate": rate,
                "n_seeds": len(group),
                "accuracy": round(float(accuracy.mean()), 4),
                "accuracy_sd": round(float(accuracy.std(ddof=1)), 4) if len(group) > 1 else "",
                "loss_points": round(100 * float(loss.mean()), 2),
                "n_weights": group[0]["n_weights"] or "",
                "n_kept": round(kept) if kept else "",
                "rate_reached": round(group[0]["n_weights"] / kept, 2) if kept else "",
                "weight_bytes": group[0].get("weight_bytes", ""),
                "index_bytes": group[0].get("index_bytes", ""),
                "cpu_s": round(float(np.mean([cell["cpu_s"] for cell in group])), 1),
            }
        )
    return rows
