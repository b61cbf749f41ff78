"""Cells of a benchmark: one method, number of bits and seed, each in files of its own."""

from __future__ import annotations

import hashlib
import io
import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from time import process_time
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from embcompress._version import __version__
from embcompress.container import atomic_write
from embcompress.evaluation.bootstrap import N_RESAMPLES, _draws, mean_outcome
from embcompress.evaluation.results import Result, Statistic
from embcompress.evaluation.similarity import spearman
from embcompress.evaluation.space import Space
from embcompress.evaluation.suite_tasks import Subject, TaskSets
from embcompress.progress import ProgressBar
from embcompress.row_lengths import unit_rows
from embcompress.vectors import KeyedVectors

if TYPE_CHECKING:
    from embcompress.evaluation.methods import Compressed, MethodSpec

__all__ = ["Cell", "CellStore", "DamagedCellError", "Scored", "fingerprint", "run_cell"]

_FORMAT = 2
_STATISTICS: dict[str, Statistic] = {"mean": mean_outcome, "Spearman": spearman}
_PERCENTILES = (2.5, 97.5)


class DamagedCellError(ValueError):
    """The file of a cell cannot be used."""


@dataclass(frozen=True, eq=False)
class Scored:
    """A result with its resampled values.

    Attributes
    ----------
    result : Result
    samples : ndarray of float64, shape (n_resamples,)
        Every cell draws the same items of a data set, so differences of samples are paired.
    """

    result: Result
    samples: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Cell:
    """What was measured of one method, number of bits and seed.

    Attributes
    ----------
    method, describe : str
    n_bits, seed : int
    scores : list of Scored
    costs : dict of str to float
        Bytes and CPU seconds.
    info : dict of str to float
        What the method tells of itself, such as the isotropy before and after.
    spectrum : list of float
        Shares of the variance of decoded unit vectors along principal directions, falling.
    """

    method: str
    describe: str
    n_bits: int
    seed: int
    scores: list[Scored]
    costs: dict[str, float]
    info: dict[str, float]
    spectrum: list[float]

    @property
    def label(self) -> str:
        """Method and bits, for a plot."""
        return f"{self.method}, {self.n_bits} bits"


def fingerprint(vectors: KeyedVectors) -> str:
    """Hash of words and vectors.

    Parameters
    ----------
    vectors : KeyedVectors

    Returns
    -------
    str
    """
    state = hashlib.sha256(str(vectors.vectors.shape).encode())
    for array in (vectors.index_to_key.blob, vectors.index_to_key.offsets, vectors.vectors):
        state.update(np.ascontiguousarray(array).data)
    return state.hexdigest()


def run_cell(
    spec: MethodSpec,
    made: Compressed,
    n_bits: int,
    seed: int,
    vectors: KeyedVectors,
    sets: TaskSets,
    floats: Space | None,
    bar: ProgressBar,
) -> Cell:
    """Run all tasks on what a method has made.

    Parameters
    ----------
    spec : MethodSpec
    made : Compressed
    n_bits, seed : int
    vectors : KeyedVectors
    sets : TaskSets
    floats : Space or None
        Reference of retrieval.
    bar : ProgressBar
        Moved on by 100 units.

    Returns
    -------
    Cell
    """
    text_name = "float" if made.scorings == ("float",) else "decoded"
    subject = Subject(
        vectors.index_to_key, made.scorings, made.space, lambda: made.decoded, text_name
    )
    start, total, done = process_time(), sets.n_steps(len(made.scorings)), 0
    scores, absent = [], {name for _, name, _ in sets.absent}
    # intervals come from the draws that all cells share, so those of the tasks are not needed
    for number, result in enumerate(sets.run(subject, floats=floats, n_resamples=1), 1):
        if result.dataset in absent or (floats is None and result.task == "retrieval"):
            continue  # named once for the benchmark, not in each cell
        scores.append(_resample(result))
        reached = min(99, 100 * number // max(total, 1))
        bar.advance(max(0, reached - done))
        done = max(done, reached)
    bar.advance(100 - done)
    costs = {
        "code_bytes": float(made.code_bytes),
        "overhead_bytes": float(made.overhead_bytes),
        "stored_bytes": float(made.code_bytes + made.overhead_bytes),
        "bytes_per_vector": made.code_bytes / len(vectors),
        "float_bytes": float(vectors.vectors.size * 4),
        "fit_seconds": made.fit_seconds,
        "encode_seconds": made.encode_seconds,
        "task_seconds": process_time() - start,
    }
    info = {name: float(value) for name, value in made.info.items() if math.isfinite(value)}
    return Cell(
        spec.name, spec.describe, n_bits, seed, scores, costs, info, _spectrum(made.decoded)
    )


def _resample(result: Result) -> Scored:
    """Draw items again and again, the same ones for every result of a data set."""
    if result.value is None:
        return Scored(result, np.empty(0))
    drawn = _shared_draws(result.key, len(result.items))
    parts = [result.statistic(result.outcomes, block.astype(np.float64)) for block in drawn]
    samples = np.concatenate(parts)
    low, high = np.percentile(samples, _PERCENTILES)
    value = result.value
    return Scored(
        replace(result, low=min(float(low), value), high=max(float(high), value)), samples
    )


@lru_cache(maxsize=64)
def _shared_draws(key: tuple[str, str, str], n: int) -> list[npt.NDArray[np.unsignedinteger]]:
    """Counts of the n items of a data set in each resample, in blocks as small as they can be."""
    seed = [0, zlib.crc32("\t".join(key).encode())]
    blocks = _draws(n, N_RESAMPLES, np.random.default_rng(seed))
    return [block.astype(np.min_scalar_type(int(block.max()))) for block in blocks]


def _spectrum(decoded: npt.NDArray[np.float32]) -> list[float]:
    unit = unit_rows(decoded).astype(np.float32, copy=False)
    covariance = np.asarray(unit.T @ unit, dtype=np.float64) / max(len(unit), 1)
    mean = unit.mean(axis=0, dtype=np.float64)
    values = np.linalg.eigvalsh(covariance - np.outer(mean, mean))[::-1].clip(min=0)
    total = float(values.sum()) or 1.0
    return [float(f"{value / total:.6g}") for value in values]


class CellStore:
    """Files of finished cells, by a hash of all that a cell depends on.

    Parameters
    ----------
    folder : Path
        Made where it is not there.
    base : mapping
        What all cells depend on: the vectors and the settings of the tasks.
    """

    def __init__(self, folder: Path, base: Mapping[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._base = {**base, "version": __version__, "format": _FORMAT}

    def key(self, spec: MethodSpec, n_bits: int, seed: int) -> dict[str, Any]:
        """What identifies a cell."""
        own = {"method": spec.name, "describe": spec.describe, "n_bits": int(n_bits), "seed": seed}
        return {**self._base, **own}

    def path(self, spec: MethodSpec, n_bits: int, seed: int) -> Path:
        """The file of a cell; the arrays of outcomes lie beside it in an .npz."""
        text = json.dumps(self.key(spec, n_bits, seed), sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        return self.folder / f"{spec.name}-{n_bits}-{seed}-{digest}.json"

    def save(self, spec: MethodSpec, cell: Cell) -> None:
        """Write a cell: first the outcomes, then the file that says that it is finished."""
        path = self.path(spec, cell.n_bits, cell.seed)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **_arrays(cell))
        outcomes = buffer.getvalue()
        with atomic_write(path.with_suffix(".npz")) as file:
            file.write(outcomes)
        content = {
            "key": self.key(spec, cell.n_bits, cell.seed),
            "outcomes_sha256": hashlib.sha256(outcomes).hexdigest(),
            "costs": cell.costs,
            "info": cell.info,
            "spectrum": cell.spectrum,
            "results": [_to_dict(scored.result) for scored in cell.scores],
        }
        text = json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False)
        with atomic_write(path) as file:
            file.write(text.encode())

    def load(self, spec: MethodSpec, n_bits: int, seed: int) -> Cell | None:
        """Read a finished cell.

        Returns
        -------
        Cell or None
            None where it is not finished.

        Raises
        ------
        DamagedCellError
            If its files do not hold what they should.
        """
        path = self.path(spec, n_bits, seed)
        if not path.is_file():
            return None
        try:
            content = json.loads(path.read_bytes())
            outcomes = path.with_suffix(".npz").read_bytes()
            if hashlib.sha256(outcomes).hexdigest() != content["outcomes_sha256"]:
                raise DamagedCellError("its outcomes have another checksum")
            with np.load(io.BytesIO(outcomes), allow_pickle=False) as arrays:
                scores = [
                    _from_dict(row, number, arrays) for number, row in enumerate(content["results"])
                ]
            return Cell(
                spec.name,
                spec.describe,
                n_bits,
                seed,
                scores,
                content["costs"],
                content["info"],
                content["spectrum"],
            )
        except (ValueError, KeyError, TypeError, OSError) as error:
            reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise DamagedCellError(f"{path.name} is damaged ({reason})") from error


def _arrays(cell: Cell) -> dict[str, npt.NDArray]:
    arrays: dict[str, npt.NDArray] = {}
    for number, scored in enumerate(cell.scores):
        arrays[f"outcomes_{number}"] = scored.result.outcomes
        arrays[f"items_{number}"] = scored.result.items
        arrays[f"samples_{number}"] = scored.samples
    return arrays


def _to_dict(result: Result) -> dict[str, Any]:
    statistic = next(
        (name for name, known in _STATISTICS.items() if known is result.statistic), None
    )
    if statistic is None:
        raise TypeError(f"{result.metric} is computed by {result.statistic!r}, which has no name")
    return {**result.to_row(), "details": result.details, "statistic": statistic}


def _from_dict(row: Mapping[str, Any], number: int, arrays: Any) -> Scored:
    result = Result(
        row["task"],
        row["dataset"],
        row["metric"],
        row["space"],
        row["value"],
        row["low"],
        row["high"],
        row["n_items"],
        row["n_covered"],
        outcomes=arrays[f"outcomes_{number}"],
        items=arrays[f"items_{number}"],
        statistic=_STATISTICS[row["statistic"]],
        note=row["note"],
        details=row["details"],
    )
    return Scored(result, arrays[f"samples_{number}"])
