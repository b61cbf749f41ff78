"""Sparsity pattern masks: every kernel, or short vector, keeps equally many weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from embcompress.runtime.layouts.base import Layout, Misfit
from embcompress.runtime.layouts.patterns import (
    LONGEST,
    check_patterns,
    pattern_masks,
    pattern_type,
    patterns_of,
)

if TYPE_CHECKING:
    from typing import Self

__all__ = ["SPM"]

LONGEST_VECTOR = 16


@dataclass(frozen=True, eq=False)
class SPM(Layout):
    """A short code for the mask of each kernel or vector, and weights without offsets.

    The index of PCNN (DAC 2020): as all keep the same number n, the weights of the vector at
    place v start at ``v * n``. Kernels of convolutions larger than 1 x 1 are the vectors; other
    weights are cut, row by row, into vectors of 2 to 16 consecutive inputs, of the length that
    takes the fewest bytes. Vectors that keep nothing are not stored.

    Attributes
    ----------
    length : ndarray of uint8, shape (1,)
        Places of a vector; ``kh * kw`` for kernels.
    patterns : ndarray of uint16, shape (P,)
        Masks of vectors, ascending: bit i is set if place i is kept; n bits in each. uint32 for
        kernels of 17 to 32 places, uint64 for 33 to 64.
    codes : ndarray of uint8, shape (ceil(V b / 8),)
        For each of V stored vectors, its place in the table in ``b = ceil(log2(P))`` bits, one
        after the other from the highest bit of the first byte on, as `numpy.packbits` does;
        zeros behind the last.
    present : ndarray of uint8, shape (ceil(O K / length / 8),)
        A bit for each vector, in the same order of bits: whether it is stored. Empty if all are.
    weights : ndarray of shape (V, n)
        By vector, (o, i) row by row, then place.
    """

    length: npt.NDArray[np.uint8]
    patterns: npt.NDArray[np.unsignedinteger]
    codes: npt.NDArray[np.uint8]
    present: npt.NDArray[np.uint8]
    name = "spm"

    @classmethod
    def _pack(cls, weight: npt.NDArray, kept: npt.NDArray[np.bool_]) -> Self:
        forms = []
        for length in _lengths(weight.shape):
            vectors = kept.reshape(-1, length)
            patterns = patterns_of(vectors)
            if len(np.unique(np.bitwise_count(patterns[patterns > 0]))) <= 1:
                forms.append(cls._cut(weight, vectors, patterns))
        if not forms:
            raise Misfit(_misfit(kept))
        return min(forms, key=lambda form: form.index_nbytes)

    @classmethod
    def _cut(
        cls, weight: npt.NDArray, kept: npt.NDArray[np.bool_], patterns: npt.NDArray[np.uint64]
    ) -> Self:
        """With vectors whose patterns have equally many bits."""
        length = kept.shape[1]
        stored = patterns > 0
        table, codes = np.unique(patterns[stored], return_inverse=True)
        bits = codes[:, None] >> np.arange(_code_bits(len(table)))[::-1] & 1
        return cls(
            weight.shape,
            weight.reshape(-1, length)[kept].reshape(len(codes), -1 if len(codes) else 0),
            np.array([length], np.uint8),
            table.astype(pattern_type(length)),
            np.packbits(bits.astype(np.uint8)),
            np.packbits(stored[:0] if stored.all() else stored),
        )

    def _decoded(self) -> npt.NDArray[np.int64]:
        """Place in the table of the pattern of each stored vector."""
        width = _code_bits(len(self.patterns))
        n_vectors = len(self.weights)
        bits = np.unpackbits(self.codes, count=n_vectors * width).reshape(n_vectors, width)
        return bits @ (1 << np.arange(width)[::-1])

    def _write(self, matrix: npt.NDArray, weights: npt.NDArray) -> None:
        length = int(self.length[0])
        vectors = matrix.reshape(-1, length)
        masks = pattern_masks(self.patterns, length)[self._decoded()]
        stored = np.zeros(masks.shape, matrix.dtype)
        stored[masks] = weights.ravel()
        if len(self.present):
            vectors[np.unpackbits(self.present, count=len(vectors)).astype(np.bool_)] = stored
        else:
            vectors[:] = stored

    def _check(self) -> None:
        self._expect("length", np.uint8, (1,))
        length = int(self.length[0])
        lengths = _lengths(self.shape)
        if length not in lengths:
            allowed = ", ".join(map(str, lengths))
            self._fail(f"array 'length' holds {length}, expected one of {allowed}")
        self._expect("patterns", pattern_type(length), (None,))
        check_patterns(self, self.patterns, length)
        kept = np.unique(np.bitwise_count(self.patterns)).tolist()
        if len(kept) > 1:
            self._fail(f"array 'patterns' keeps {kept} places, expected the same number in each")
        n_vectors = self._matrix_shape[0] * self._matrix_shape[1] // length
        n_stored = n_vectors
        if self.present.size:
            self._expect_bits("present", n_vectors)
            n_stored = int(np.bitwise_count(self.present).sum(dtype=np.int64))
        self._expect("present", np.uint8, (None,))
        if n_stored and not kept:
            self._fail(f"array 'patterns' is empty, expected patterns for {n_stored} vectors")
        self._expect("weights", self.weights.dtype, (n_stored, kept[0] if kept else 0))
        self._expect_bits("codes", n_stored * _code_bits(len(self.patterns)))
        self._expect_lists(
            "codes", len(self.patterns), np.ones(n_stored, np.int64), self._decoded()
        )


def _code_bits(n_patterns: int) -> int:
    return max(0, n_patterns - 1).bit_length()


def _lengths(shape: tuple[int, ...]) -> list[int]:
    """Lengths that vectors of such a weight may have."""
    kernel = shape[2] * shape[3] if len(shape) == 4 else 1
    if kernel > LONGEST:
        raise Misfit(
            f"spm: kernels of {shape[2]}x{shape[3]} have {kernel} places; a pattern has {LONGEST}"
        )
    if kernel > 1:
        return [kernel]
    lengths = [n for n in range(2, LONGEST_VECTOR + 1) if shape[1] % n == 0]
    if not lengths:
        raise Misfit(f"spm cuts rows into vectors of 2 to 16; {shape[1]} inputs are no multiple")
    return lengths


def _misfit(kept: npt.NDArray[np.bool_]) -> str:
    """Why no length fits."""
    if kept.ndim == 4 and kept.shape[2] * kept.shape[3] > 1:
        counts = np.unique(np.count_nonzero(kept, axis=(2, 3)))
        text = ", ".join(map(str, counts[counts > 0]))
        return f"spm needs kernels that keep equally many weights or none; they keep {text}"
    lengths = ", ".join(map(str, _lengths(kept.shape)))
    return (
        "spm needs vectors that keep equally many weights or none; "
        f"those of {lengths} consecutive inputs do not"
    )
