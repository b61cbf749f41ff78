"""A compiled program: numpy in, numpy out, one call."""

from __future__ import annotations

import os
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from embcompress import simd
from embcompress._compiled import tell_about_compiling
from embcompress.codes import check_codes, unpack_signs
from embcompress.runtime.assembler import Assembler
from embcompress.runtime.files import load_graph, save_graph
from embcompress.runtime.kernels import fields as f
from embcompress.runtime.kernels import machine
from embcompress.runtime.kernels.machine import run
from embcompress.runtime.records import Graph
from embcompress.runtime.steps import Plan

if TYPE_CHECKING:
    from embcompress.runtime.report import Report

__all__ = ["Program"]

Floats = npt.NDArray[np.float32]
Lengths = npt.NDArray[np.int64]

# samples that go through all steps together: their activations stay in the cache
_ROWS, _SEQUENCES, _MAPS = 64, 16, 1
# floats of the workspace above which fewer sequences go together
_WORK = 16_000_000
_PLANS = 8
# plans are made for a multiple of so many frames
_FRAMES = 16
_FLOAT = np.dtype(np.float32)


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
    output_shape : tuple of int
        Of one output, or of one frame of it.

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
        self.output_shape = assembler.output_shape
        arenas = assembler.arenas
        self._arrays = arenas.floats.build(), arenas.octets.build(), arenas.ints.build()
        self._plans: OrderedDict[Any, Plan] = OrderedDict()
        self._state_size = assembler.state_size
        self._plain, self._width = self.kind == "rows", self.input_shape[-1]
        self._tiles = self._steps[-1].fields.get(f.TO_OUTPUT) == 1

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
            Logits of a classifier. Frames after the end of a sequence are NaN.

        Raises
        ------
        TypeError
            If `x` is no array of real numbers.
        ValueError
            If the shape does not fit, or numbers are not finite where they must be.
        """
        # what most calls are takes the short way: a microsecond counts here
        if type(x) is np.ndarray and x.dtype is _FLOAT and state is None and self._plain:
            plan = self._plans.pop(len(x), None) if x.ndim == 2 else None
            if plan is not None and x.shape[1] == self._width and x.flags.carray:
                out: Any = np.empty((plan.room, self.n_outputs), _FLOAT)
                run(plan.table, x, out)
                self._plans[plan.n] = plan
                full: Floats = out
                return full if plan.room == plan.n else full[: plan.n]
        rows, n_frames, lengths = self._input(x)
        states = self._check_state(state, len(rows))
        return self._run_parts(rows, states, lengths, n_frames, n_jobs)

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

    def report(self, *, measure: bool = True, batch_size: int = 1) -> Report:
        """What became of each layer; print it for a table.

        Parameters
        ----------
        measure : bool, default True
            Take the time of each matrix against dense products.
        batch_size : int, default 1
            Rows at a time.

        Returns
        -------
        Report
        """
        from embcompress.runtime.report import report

        return report(self.graph, measure=measure, batch_size=batch_size)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one safetensors file.

        Parameters
        ----------
        path : path-like

        Raises
        ------
        OSError
            If the file cannot be written; nothing is left behind.
        """
        save_graph(path, self.graph)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Program:
        """Read a file that :meth:`save` wrote.

        Parameters
        ----------
        path : path-like

        Returns
        -------
        Program

        Raises
        ------
        FormatError
            If the file is damaged, or is no program.
        OSError
            If the file cannot be read.
        """
        return cls(load_graph(path))

    def _labels(self) -> npt.NDArray[Any]:
        if self.classes_ is None:
            raise ValueError("this program is no classifier; call it for its outputs")
        return self.classes_

    def _run_parts(
        self, x: Floats, state: Floats | None, lengths: Lengths | None, n_frames: int, n_jobs: int
    ) -> Floats:
        """Some samples at a time; the threads share the parts, and the kernels hold no lock."""
        if len(x) == 0:
            per_sample = (n_frames, self.n_outputs) if self._by_frame else self.output_shape
            return np.empty((0, *per_sample), np.float32)
        # sequences of like length go together, so that none waits for a long one
        order = None if lengths is None else np.argsort(lengths, kind="stable")
        numbers = np.arange(len(x)) if order is None else order
        step = self._chunk(n_frames)
        parts = [numbers[start : start + step] for start in range(0, len(x), step)]

        def work(part: npt.NDArray[np.int64]) -> Floats:
            where = slice(int(part[0]), int(part[-1]) + 1) if order is None else part
            states = None if state is None else state[where]
            return self._run(
                x[where], states, None if lengths is None else lengths[where], n_frames
            )

        if n_jobs == 1 or len(parts) == 1:
            found = [work(part) for part in parts]
        else:
            with ThreadPoolExecutor(min(n_jobs, len(parts))) as pool:
                found = list(pool.map(work, parts))
        out = found[0] if len(found) == 1 else np.concatenate(found)
        return out if order is None else out[np.argsort(order)]

    def _run(
        self, x: Floats, state: Floats | None, lengths: Lengths | None, n_frames: int
    ) -> Floats:
        n, longest, room_frames = len(x), n_frames, n_frames
        key: Any = n
        if lengths is not None:  # frames after the longest sequence are not looked at
            longest = int(lengths.max())
            x = np.ascontiguousarray(x[:, : longest * self._width])
            room_frames = -(-longest // _FRAMES) * _FRAMES
            key = (n, room_frames)
        # taken out while it is used, so that no other thread finds it
        plan = self._plans.pop(key, None) or self._new_plan(n, room_frames)
        if lengths is not None:
            plan.lengths[:], plan.table[-1] = lengths, longest
        if self._state_size:
            plan.state[:] = 0 if state is None else state
        width = longest * self.n_outputs if self._by_frame else self.n_outputs
        out: Any = np.empty((plan.room, width), _FLOAT)
        run(plan.table, x, out)
        self._plans[key] = plan
        if len(self._plans) > _PLANS:
            self._plans.popitem(last=False)
        if self._by_frame:
            frames: Floats = np.full((n, n_frames, self.n_outputs), np.nan, np.float32)
            frames[:, :longest] = out[:n].reshape(n, longest, self.n_outputs)
            return frames
        out = out[:n]
        return out if len(self.output_shape) == 1 else out.reshape(n, *self.output_shape)

    def _new_plan(self, n: int, n_frames: int) -> Plan:
        if not getattr(run, "signatures", True):  # plain Python has none
            tell_about_compiling(machine.__file__, "run", "the kernels")
        # the last step may write whole tiles of rows
        room = n + simd.LANES if self._tiles and n > 1 else n
        return Plan(self._steps, n, n_frames, self._arrays, self._n_quads, self._state_size, room)

    def _chunk(self, n_frames: int) -> int:
        if self.kind == "maps":
            return _MAPS
        if self.kind != "frames":
            return _ROWS
        one = Plan.size_of(self._steps, 1, n_frames)
        return int(np.clip(_WORK // max(one, 1), 1, _SEQUENCES))

    def _input(self, x: npt.ArrayLike) -> tuple[Floats, int, Lengths | None]:
        """Samples of float32 without gaps as rows, the number of frames, and lengths."""
        if self.kind == "codes":
            codes = check_codes(x, self.input_shape[0])
            return unpack_signs(codes, self.input_shape[0]), 1, None
        array = _as_floats(x)
        if self.kind == "frames":
            return self._frames(array)
        if array.shape[1:] != self.input_shape:
            raise ValueError(self._wrong_shape(array.shape))
        return array.reshape(len(array), int(np.prod(self.input_shape))), 1, None

    def _wrong_shape(self, shape: tuple[int, ...]) -> str:
        expected = ", ".join(map(str, self.input_shape))
        return f"x has shape {shape}; the program takes (n, {expected})"

    def _frames(self, array: Floats) -> tuple[Floats, int, Lengths]:
        if array.ndim != 3 or array.shape[2] != self.input_shape[-1]:
            raise ValueError(
                f"x has shape {array.shape}; the program takes (n, time, {self.input_shape[-1]})"
            )
        n, n_frames, _ = array.shape
        missing = np.isnan(array[:, :, 0])
        lengths = n_frames - missing.sum(axis=1)
        if not (missing == (np.arange(n_frames) >= lengths[:, None])).all():
            raise ValueError("frames of NaN must come after the end of a sequence")
        if n and (n_frames == 0 or (lengths == 0).any()):
            raise ValueError("a sequence has no frames")
        return array.reshape(n, n_frames * array.shape[2]), n_frames, lengths

    def _check_state(self, state: npt.ArrayLike | None, n: int) -> Floats | None:
        if state is None:
            return None
        if self._state_size == 0:
            raise ValueError("the program has no cell that takes a state")
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
    # for arrays that cannot be written to numba would compile all kernels anew
    return np.require(array, np.float32, ["C", "A", "W"])
