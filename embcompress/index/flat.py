"""A flat index that this package searches itself."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import ModuleType

import numpy as np
import numpy.typing as npt

from embcompress.codes import Codes, code_bytes
from embcompress.index.engines import engine_for
from embcompress.index.files import write_flat
from embcompress.index.ids import IdMap
from embcompress.index.keys import Keys, distances_of, scores_of
from embcompress.index.storage import Rows, Scales, Storage, allowed_words
from embcompress.index.threads import available_cores

__all__ = ["FlatCodes"]

_CHUNK_ROWS = 65_536


@dataclass(frozen=True, eq=False)
class _State:
    """What a search needs; replaced as a whole, so that a search sees one of them throughout."""

    codes: Storage
    ids: IdMap
    scales: Scales | None = None

    def allowed(self, subset: npt.ArrayLike | None) -> npt.NDArray[np.int64]:
        if subset is None:
            return self.codes.allowed
        return allowed_words(self.codes.n, self.ids.subset(subset))


class FlatCodes:
    """Codes that are all compared with every query.

    Codes stay rows until the compiled search is used the first time. Those of a mapped file stay
    rows for good and are laid into blocks anew in every search, a few at a time.

    Parameters
    ----------
    n_bits : int
    engine : {"auto", "native", "numpy"}
    n_threads : int, optional
    """

    def __init__(self, n_bits: int, engine: str, n_threads: int | None) -> None:
        self.n_bits, self.engine, self.n_threads = n_bits, engine, n_threads
        self.fixed = False
        self._state = _State(Rows(code_bytes(n_bits)), IdMap())
        self._changing = threading.Lock()

    @classmethod
    def over(
        cls,
        rows: Codes,
        n_bits: int,
        engine: str,
        n_threads: int | None,
        *,
        fixed: bool,
        sections: Mapping[str, npt.NDArray],
    ) -> FlatCodes:
        """Codes that are there already; if they are fixed, they stay where they are."""
        flat = cls(n_bits, engine, n_threads)
        flat._state = _State(
            Rows(code_bytes(n_bits), (rows,)),
            IdMap(len(rows), sections.get("ids")),
            Scales(sections["scales"]) if "scales" in sections else None,
        )
        flat.fixed = fixed
        return flat

    @property
    def n(self) -> int:
        """Number of codes."""
        return self._state.codes.n

    @property
    def ids(self) -> IdMap:
        """Ids by row."""
        return self._state.ids

    def parts(self) -> Iterator[Codes]:
        """All codes in the order of ids, some rows at a time."""
        codes = self._state.codes
        for start in range(0, codes.n, _CHUNK_ROWS):
            yield codes.rows(start, min(start + _CHUNK_ROWS, codes.n))

    def add(
        self,
        codes: Codes,
        ids: npt.ArrayLike | None,
        scales: npt.NDArray[np.float32] | None,
        *,
        copy: bool = True,
    ) -> None:
        """Add codes; searches that run go on with what there was."""
        with self._changing:
            state = self._state
            if state.codes.n and (scales is None) != (state.scales is None):
                there, came = ("no ", "") if state.scales is None else ("", "no ")
                raise ValueError(f"the index has {there}scales, these codes came with {came}scales")
            if scales is not None and state.scales is not None:
                scales = np.concatenate([state.scales.values, scales])
            id_map = state.ids.added(len(codes), ids)
            storage = state.codes.appended(np.array(codes, order="C") if copy else codes)
            order = id_map.order()
            if order is not None:  # ties are broken by id, so rows lie in the order of ids
                storage, id_map = storage.taken(order), id_map.taken(order)
                scales = None if scales is None else scales[order]
            self._state = _State(storage, id_map, None if scales is None else Scales(scales))

    def remove(self, ids: npt.ArrayLike) -> int:
        """Remove codes; searches that run go on with what there was."""
        with self._changing:
            state = self._state
            rows = state.ids.rows_to_remove(ids)
            keep = np.ones(state.codes.n, dtype=np.bool_)
            keep[rows] = False
            scales = None if state.scales is None else Scales(state.scales.values[keep])
            self._state = _State(state.codes.taken(keep), state.ids.taken(keep), scales)
        return len(rows)

    def nearest(
        self, queries: Codes, k: int, subset: npt.ArrayLike | None
    ) -> tuple[npt.NDArray[np.int32], Keys]:
        """Distances and ids of the `k` nearest codes."""
        state, engine = self._ready(len(queries))
        keys = engine.nearest(
            state.codes,
            state.allowed(subset),
            queries,
            k,
            n_bits=self.n_bits,
            n_threads=self._threads(),
        )
        distances, rows = distances_of(keys, self.n_bits + 1)
        return distances, state.ids.of(rows)

    def within(
        self, queries: Codes, radius: int, subset: npt.ArrayLike | None
    ) -> tuple[Keys, npt.NDArray[np.int32], Keys]:
        """Ends of the results of each query, distances and ids of all codes within a radius."""
        state, engine = self._ready(len(queries))
        found = engine.within(
            state.codes, state.allowed(subset), queries, radius, n_threads=self._threads()
        )
        ends = np.cumsum([0, *map(len, found)])
        distances, rows = distances_of(np.concatenate([np.empty(0, np.int64), *found]), 0)
        return ends, distances, state.ids.of(rows)

    def best(
        self, queries: npt.NDArray[np.float64], k: int, subset: npt.ArrayLike | None
    ) -> tuple[npt.NDArray[np.float32], Keys]:
        """Scores and ids of the `k` codes with the highest scores."""
        state, engine = self._ready(len(queries))
        keys = engine.best(
            state.codes,
            state.allowed(subset),
            queries,
            state.scales,
            k,
            n_threads=self._threads(),
        )
        scores, rows = scores_of(keys)
        return scores, state.ids.of(rows)

    def save(self, path: str | os.PathLike[str], padded_bits: int) -> None:
        """Write a file that FAISS opens too."""
        state = self._state
        sections: dict[str, npt.NDArray] = {}
        if state.ids.array is not None:
            sections["ids"] = state.ids.array
        if state.scales is not None:
            sections["scales"] = state.scales.values
        write_flat(
            path,
            self.parts(),
            state.codes.n,
            n_bits=self.n_bits,
            padded_bits=padded_bits,
            sections=sections,
        )

    def _threads(self) -> int:
        return self.n_threads or available_cores()

    def _ready(self, n_queries: int) -> tuple[_State, ModuleType]:
        """What to search, laid out for what searches it."""
        state = self._state
        engine = engine_for(self.engine, state.codes, n_queries)
        if engine.WANTS_BLOCKS and not self.fixed and not state.codes.laid_out:
            with self._changing:
                state = self._state
                state = self._state = replace(state, codes=state.codes.in_blocks())
        return state, engine
