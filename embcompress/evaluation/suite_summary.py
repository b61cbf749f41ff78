"""From cells to rows: means over seeds and data sets, intervals, paired differences to float."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from embcompress.evaluation.suite_cells import Cell, Scored

__all__ = ["COLUMNS", "MEAN", "Row", "summarize"]

Row = dict[str, Any]
Samples = npt.NDArray[np.float64]
Key = tuple[str, str, str]

MEAN = "mean"
_PERCENTILES = (2.5, 97.5)
_COSTS = (
    "bytes_per_vector",
    "code_bytes",
    "overhead_bytes",
    "stored_bytes",
    "float_bytes",
    "fit_seconds",
    "encode_seconds",
    "task_seconds",
)
COLUMNS = (
    "method",
    "n_bits",
    "scoring",
    "task",
    "dataset",
    "metric",
    "n_seeds",
    "value",
    "low",
    "high",
    "seed_sd",
    "difference",
    "difference_low",
    "difference_high",
    "retention",
    "n_sets",
    "n_items",
    "n_covered",
    "note",
    *_COSTS,
    "isotropy_before",
    "isotropy_after",
)


@dataclass(frozen=True, eq=False)
class _Average:
    """A score averaged over seeds."""

    value: float
    samples: Samples
    by_seed: tuple[float, ...]
    items: npt.NDArray[np.int64]
    n_items: int
    n_covered: int
    note: str


def summarize(cells: Sequence[Cell], reference: str) -> list[Row]:
    """Rows of a benchmark.

    Parameters
    ----------
    cells : sequence of Cell
        Of the same vectors.
    reference : str
        Method that differences are taken to.

    Returns
    -------
    list of dict
        With the keys :data:`COLUMNS`; None, never NaN, where there is no figure.
    """
    groups: dict[tuple[str, int], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.method, cell.n_bits), []).append(cell)
    floats: dict[Key, _Average] = {}
    for (method, _), group in groups.items():
        if method == reference:
            floats = {
                key: average
                for (_, key), (average, _) in _averages(group).items()
                if average is not None
            }
    rows: list[Row] = []
    for (method, n_bits), group in groups.items():
        head = {"method": method, "n_bits": n_bits, "n_seeds": len(group)}
        rows += _rows_of(head, _costs(group), _averages(group), floats)
    return rows


def _averages(
    group: Sequence[Cell],
) -> dict[tuple[str, Key], tuple[_Average | None, Scored]]:
    """Scoring and key -> mean over the seeds, and the first of them."""
    found: dict[tuple[str, Key], list[Scored]] = {}
    for cell in group:
        for scored in cell.scores:
            result = scored.result
            found.setdefault((result.space, result.key), []).append(scored)
    return {place: (_average(seeds), seeds[0]) for place, seeds in found.items()}


def _average(seeds: Sequence[Scored]) -> _Average | None:
    results = [each.result for each in seeds if each.result.value is not None]
    if not results:
        return None
    samples = [each.samples for each in seeds if each.result.value is not None]
    values = tuple(float(result.value or 0.0) for result in results)
    first = results[0]
    return _Average(
        float(np.mean(values)),
        np.mean(samples, axis=0),
        values,
        first.items,
        first.n_items,
        first.n_covered,
        # which clustering was best differs by seed; a rule for missing words does not
        first.note if all(result.note == first.note for result in results) else "",
    )


def _rows_of(
    head: Row,
    costs: Row,
    averages: dict[tuple[str, Key], tuple[_Average | None, Scored]],
    floats: dict[Key, _Average],
) -> list[Row]:
    rows: list[Row] = []
    by_task: dict[tuple[str, str, str], list[tuple[Key, _Average]]] = {}
    for (scoring, key), (average, first) in averages.items():
        task, dataset, metric = key
        place = {**head, "scoring": scoring, "task": task, "dataset": dataset, "metric": metric}
        if average is None:
            result = first.result
            counts = {"n_items": result.n_items, "n_covered": result.n_covered}
            rows.append(_full({**place, **counts, "n_sets": 0, "note": result.note}, costs))
            continue
        by_task.setdefault((scoring, task, metric), []).append((key, average))
        pairs = [(key, average)]
        rows.append(_full({**place, **_figures(pairs, floats), "note": average.note}, costs))
    for (scoring, task, metric), pairs in by_task.items():
        place = {**head, "scoring": scoring, "task": task, "dataset": MEAN, "metric": metric}
        rows.append(_full({**place, **_figures(pairs, floats), "note": ""}, costs))
    return rows


def _full(row: Row, costs: Row) -> Row:
    """All columns in their order."""
    known = {**row, **costs}
    return {column: known.get(column) for column in COLUMNS}


def _figures(pairs: Sequence[tuple[Key, _Average]], floats: dict[Key, _Average]) -> Row:
    """Macro average of scores, and of the differences where the reference has the set."""
    samples = np.mean([average.samples for _, average in pairs], axis=0)
    value = float(np.mean([average.value for _, average in pairs]))
    low, high = _interval(samples, value)
    n_seeds = min(len(average.by_seed) for _, average in pairs)
    by_seed = np.mean([average.by_seed[:n_seeds] for _, average in pairs], axis=0)
    figures: Row = {
        "value": value,
        "low": low,
        "high": high,
        "seed_sd": float(np.std(by_seed, ddof=1)) if n_seeds > 1 else None,
        "n_sets": len(pairs),
        "n_items": sum(average.n_items for _, average in pairs),
        "n_covered": sum(average.n_covered for _, average in pairs),
    }
    paired = [(average, floats[key]) for key, average in pairs if key in floats]
    if not paired:
        return figures
    for ours, theirs in paired:
        if not np.array_equal(ours.items, theirs.items):
            raise ValueError("a method covers other items than float; differences are not paired")
    differences = np.mean([ours.samples - theirs.samples for ours, theirs in paired], axis=0)
    level = float(np.mean([theirs.value for _, theirs in paired]))
    difference = float(np.mean([ours.value for ours, _ in paired])) - level
    low, high = _interval(differences, difference)
    figures |= {"difference": difference, "difference_low": low, "difference_high": high}
    figures["retention"] = (level + difference) / level if level > 0 else None
    return figures


def _interval(samples: Samples, value: float) -> tuple[float, float]:
    low, high = np.percentile(samples, _PERCENTILES)
    return min(float(low), value), max(float(high), value)


def _costs(group: Sequence[Cell]) -> Row:
    """Means over seeds of bytes, seconds and isotropy."""
    costs = {name: float(np.mean([cell.costs[name] for cell in group])) for name in _COSTS}
    for name in ("isotropy_before", "isotropy_after"):
        values = [cell.info[name] for cell in group if name in cell.info]
        costs[name] = float(np.mean(values)) if values else None  # type: ignore[assignment]
    return costs
