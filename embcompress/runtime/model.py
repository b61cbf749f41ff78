"""A compiled program: numpy in, numpy out, one call."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from embcompress.codes import check_codes, unpack_signs
from embcompress.runtime.assembler import Assembler
from embcompress.runtime.kernels.machine import run
from embcompress.runtime.records import Graph
from embcompress.runtime.steps import Plan

__all__ = ["Program"]

Floats = npt.NDArray[np.float32]
Lengths = npt.NDArray[np.int64]

# samples that go through all steps together: their activations stay in the cache
_ROWS, _SEQUENCES, _MAPS = 64, 16, 4
# floats of the workspace above which fewer sequences go together
_WORK = 16_000_000
_PLANS = 8
_NOTHING = np.zeros((1, 0), np.float32)
_ONE = np.ones(_ROWS, np.int64)


class Program:
    """A compiled head or network.

    Made by :func:`embcompress.runtime.compile` or :func:`embcompress.runtime.load`.

    Parameters
    ----------
    graph : Graph
        Whose weights have layouts.

    Attributes
    ----------
    graph : Graph
    kind : {"rows", "codes", "frames", "maps"}
        What it takes.
    input_shape : tuple of int
        Of one input.
    classes_ : ndarray or None
        Labels, if it is a classifier.
    n_outputs : int

    Notes
    -----
    Threads may share a program: each call takes a workspace of its own.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.kind, self.input_shape, self.classes_ = graph.kind, graph.shape, graph.classes
        assembler = Assembler(graph)
        self._steps, self._n_quads = assembler.steps, assembler.n_quads
        self.n_outputs, self._by_frame = assembler.width, assembler.by_frame
        arenas = assembler.arenas
        self._arrays = arenas.floats.build(), arenas.octets.build(), arenas.ints.build()
        self._plans: OrderedDict[tuple[int, int], Plan] = OrderedDict()
        self._state_size = assembler.state_size

    def __call__(
        self, x: npt.ArrayLike, state: npt.ArrayLike | None = None, *, n_jobs: int = 1
    ) -> Floats:
        """Run the program.

        Parameters
        ----------
        x : array-like
            ``rows``: numbers of shape (n, features). ``codes``: packed codes, uint8 of shape
            (n, bytes). ``frames``: (n, time, features), frames after the end of a sequence NaN.
            ``maps``: (n, channels, height, width). Numbers become float32; what is not
            contiguous is copied.
        state : array-like of shape (n, units), optional
            Of a recurrent cell; units, then cells of an LSTM. Default: zeros.
        n_jobs : int, default 1
            Threads; they share the samples, so one sample takes one.

        Returns
        -------
        ndarray of float32, shape (n, n_outputs), or (n, time, n_outputs)
            Logits of a classifier.

        Raises
        ------
        TypeError
            If `x` is no array of real numbers.
        ValueError
            If the shape does not fit, or numbers are not finite where they must be.
        """
        rows, n_frames, lengths = self._input(x)
        n = len(rows)
        states = self._state(state, n)
        per_row = n_frames if self._by_frame else 1
        out = np.empty((n, per_row * self.n_outputs), np.float32)
        step = self._chunk(n_frames)
        if n <= step:
            self._run(rows, states, lengths, n_frames, out)
        elif n_jobs == 1:
            for part in _parts(n, step):
                self._run(rows[part], states[part], _slice(lengths, part), n_frames, out[part])
        else:
            self._share(rows, states, lengths, n_frames, out, step, n_jobs)
        return out.reshape(n, n_frames, self.n_outputs) if self._by_frame else out

    def decision_function(self, X: npt.ArrayLike) -> Floats:
        """Logits.

        Parameters
        ----------
        X : array-like

        Returns
        -------
        scores : ndarray of float32, shape (n, n_classes), or (n,)
            With two classes the logit of the second minus that of the first.
        """
        logits = self(X)
        return logits[:, 1] - logits[:, 0] if len(self._labels()) == 2 else logits

    def predict_proba(self, X: npt.ArrayLike) -> Floats:
        """Probability of each class, in the order of `classes_`.

        Parameters
        ----------
        X : array-like

        Returns
        -------
        probabilities : ndarray of float32, shape (n, n_classes)
        """
        self._labels()
        logits = self(X)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[Any]:
        """Most probable class of each row.

        Parameters
        ----------
        X : array-like

        Returns
        -------
        labels : ndarray of shape (n,)
        """
        return self._labels()[self(X).argmax(axis=1)]

    def _labels(self) -> npt.NDArray[Any]:
        if self.classes_ is None:
            raise ValueError("this program is no classifier; call it for its outputs")
        return self.classes_

    def _share(
        self, rows: Floats, states: Floats, lengths: Lengths, n_frames: int, out: Floats,
        step: int, n_jobs: int,
    ) -> None:  # fmt: skip
        """Give each thread every so manieth part of the samples; the kernels hold no lock."""

        def work(job: int) -> None:
            for part in list(_parts(len(rows), step))[job::n_jobs]:
                self._run(rows[part], states[part], _slice(lengths, part), n_frames, out[part])

        with ThreadPoolExecutor(n_jobs) as pool:
            list(pool.map(work, range(n_jobs)))

    def _run(
        self, rows: Floats, states: Floats, lengths: Lengths, n_frames: int, out: Floats
    ) -> None:
        key = (len(rows), n_frames)
        # taken out while it is used, so that no other thread finds it
        plan = self._plans.pop(key, None)
        if plan is None:
            plan = Plan.of(self._steps, *key, self._n_quads)
        run(
            plan.code, *self._arrays, plan.work, plan.quads, plan.octets, rows.reshape(-1),
            states.reshape(-1), lengths, len(rows), n_frames, out.reshape(-1),
        )  # fmt: skip
        self._plans[key] = plan
        if len(self._plans) > _PLANS:
            self._plans.popitem(last=False)

    def _chunk(self, n_frames: int) -> int:
        if self.kind == "maps":
            return _MAPS
        if self.kind != "frames":
            return _ROWS
        one = Plan.size_of(self._steps, 1, n_frames)
        return int(np.clip(_WORK // max(one, 1), 1, _SEQUENCES))

    def _input(self, x: npt.ArrayLike) -> tuple[Floats, int, Lengths]:
        """Rows of float32 without gaps, the number of frames, and lengths."""
        if self.kind == "codes":
            codes = check_codes(x, self.input_shape[0])
            return unpack_signs(codes, self.input_shape[0]), 1, _ONE
        if type(x) is np.ndarray and x.dtype == np.float32 and x.flags.c_contiguous:
            array: Any = x
        else:
            array = _as_floats(x)
        if self.kind == "frames":
            return self._frames(array)
        if array.shape[1:] != self.input_shape:
            expected = ", ".join(map(str, self.input_shape))
            raise ValueError(f"x has shape {array.shape}; the program takes (n, {expected})")
        return array, 1, _ONE

    def _frames(self, array: Floats) -> tuple[Floats, int, Lengths]:
        if array.ndim != 3 or array.shape[2] != self.input_shape[-1]:
            raise ValueError(
                f"x has shape {array.shape}; the program takes (n, time, {self.input_shape[-1]})"
            )
        missing = np.isnan(array[:, :, 0])
        lengths = array.shape[1] - missing.sum(axis=1)
        if (
            array.shape[1]
            and not (missing == (np.arange(array.shape[1]) >= lengths[:, None])).all()
        ):
            raise ValueError("frames of NaN must come after the end of a sequence")
        if len(array) and (array.shape[1] == 0 or (lengths == 0).any()):
            raise ValueError("a sequence has no frames")
        return array, array.shape[1], lengths.astype(np.int64)

    def _state(self, state: npt.ArrayLike | None, n: int) -> Floats:
        if self._state_size == 0:
            if state is not None:
                raise ValueError("the program has no cell that takes a state")
            return np.broadcast_to(_NOTHING, (n, 0)) if n > 1 else _NOTHING
        if state is None:
            return np.zeros((n, self._state_size), np.float32)
        array = _as_floats(state)
        if array.shape != (n, self._state_size):
            raise ValueError(
                f"state has shape {array.shape}; the program takes ({n}, {self._state_size})"
            )
        return array


def _as_floats(x: npt.ArrayLike) -> Floats:
    array = np.asarray(x)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"x is an array of {array.dtype}; real numbers are needed")
    return np.ascontiguousarray(array, np.float32)


def _slice(lengths: Lengths, part: slice) -> Lengths:
    return lengths if lengths is _ONE else lengths[part]


def _parts(n: int, step: int) -> Iterator[slice]:
    return (slice(start, min(start + step, n)) for start in range(0, n, step))
