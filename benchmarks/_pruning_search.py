"""Search over rates per layer: blocks trained once, against every candidate from the dense weights.

A part of the training rows is held out: the floor, and what counts as good enough, are told on it.
The official test part is scored once, for the winners.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _pruning_cells import SEEDS, cell_at
from _pruning_data import Split, text_means
from _pruning_heads import with_network

__all__ = ["SearchExperiment"]

HIDDEN = (128, 64)
DENSE = {"max_epochs": 30, "weight_decay": 2.0, "batch_size": 128}
# of each layer: 30 candidates
RATES = {
    "layers.0": (3.0, 4.0, 6.0, 8.0, 12.0),
    "layers.3": (2.0, 4.0, 6.0),
    "layers.6": (1.0, 2.0),
}
# points below the dense model, on the validation part
BELOW = 1.0
FULL_EPOCHS, BLOCK_EPOCHS, TUNING_EPOCHS = 20, 6, 6
LEARNING_RATE = 2e-3


@dataclass(frozen=True)
class SearchExperiment:
    """Both searches on the mean word vectors of one text data set.

    Attributes
    ----------
    name : str
    texts : str
    """

    name: str
    texts: str

    @property
    def setting(self) -> str:
        """What would change the result."""
        epochs = (FULL_EPOCHS, BLOCK_EPOCHS, TUNING_EPOCHS)
        return f"{HIDDEN} {DENSE} {RATES} {BELOW} {epochs} {LEARNING_RATE}"

    def parts(self, n_seeds: int | None, names: Sequence[str]) -> list[tuple[int, list[str]]]:
        """One for each seed, unless only methods of other experiments are wanted."""
        return [] if names else [(seed, []) for seed in range(n_seeds or SEEDS)]

    def run(
        self, folder: Path, seed: int, names: Sequence[str], *, validate: bool, n_seeds: int | None
    ) -> None:
        """Run the cell of a seed unless it is there."""
        path, setting, cell = cell_at(folder, f"{self.name}.{seed}", self.setting)
        if cell is not None:
            return
        whole = text_means(self.texts)
        test = None if validate else (whole.X_test, whole.y_test)
        found = searched(whole.validation(), test, seed)
        path.write_text(json.dumps({**found, "setting": setting}, indent=1), encoding="utf-8")
        print(f"{path.stem:50}{found['search']['saving']:.2f}x less training", flush=True)

    def rows(self, folder: Path) -> list[dict[str, Any]]:
        """One row for each seed and way, and none where cells are missing."""
        rows = []
        for seed in range(SEEDS):
            cell = cell_at(folder, f"{self.name}.{seed}", self.setting)[2]
            for way in ("every candidate", "search") if cell else ():
                rows.append(
                    {"benchmark": "pruning_search", "experiment": self.name, "seed": seed,
                     "method": way, "dense_validation": cell["dense_validation"],
                     "dense_test": cell["dense_test"], **cell[way]}
                )  # fmt: skip
        return rows


def searched(split: Split, test: Any, seed: int) -> dict[str, Any]:
    """Both searches from one dense head.

    Parameters
    ----------
    split : Split
        The test part is the validation part.
    test : (ndarray, ndarray), optional
    seed : int

    Returns
    -------
    dict
    """
    from embcompress.heads import MLPHead
    from embcompress.pruning import TaskLoss, Unstructured
    from embcompress.pruning.search import composability_search, train_every_candidate

    head = MLPHead(HIDDEN, random_state=seed, **DENSE).fit(split.X_train, split.y_train)

    def validate(model: Any) -> float:
        return float(with_network(head, model).score(split.X_test, split.y_test))

    dense = validate(head.module_)
    common = {
        "scheme": Unstructured(0.5), "objective": TaskLoss(), "validate": validate,
        "data": head.batches(split.X_train, split.y_train), "floor": dense - BELOW / 100,
        "learning_rate": LEARNING_RATE, "random_state": seed,
    }  # fmt: skip
    start = time.process_time()
    every = train_every_candidate(head.module_, RATES, epochs=FULL_EPOCHS, **common)
    middle = time.process_time()
    found = composability_search(
        head.module_, RATES, pretrain_epochs=BLOCK_EPOCHS, finetune_epochs=TUNING_EPOCHS,
        full_epochs=FULL_EPOCHS, **common,
    )  # fmt: skip
    end = time.process_time()
    return {
        "seed": seed,
        "dense_validation": round(dense, 4),
        "dense_test": "" if test is None else round(float(head.score(*test)), 4),
        "every candidate": summary(head, every, test, middle - start),
        "search": summary(head, found, test, end - middle),
    }


def summary(head: Any, result: Any, test: Any, seconds: float) -> dict[str, Any]:
    """What a search found, and what it cost."""
    return {
        "rates": " ".join(f"{rate:g}" for rate in result.rates.values()),
        "n_kept": result.n_kept,
        "rate_reached": round(result.rate, 2),
        "validation": round(result.accuracy, 4),
        "meets_floor": result.meets_floor,
        "test": "" if test is None else round(with_network(head, result.model).score(*test), 4),
        "n_candidates": result.n_candidates,
        "n_tried": len(result.tried),
        "n_blocks": len(result.blocks),
        "saving": round(result.saving, 2),
        "saving_on_tried": round(result.saving_on_tried, 2),
        "cpu_s": round(seconds, 1),
    }
