"""Search in codes that an encoder made: by Hamming distance, or with real-valued queries."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from embcompress.codes import Codes, asymmetric_scores
from embcompress.encoder import Encoder
from embcompress.vectors import Floats

if TYPE_CHECKING:
    from embcompress.index import HammingIndex

__all__ = ["SCORINGS", "SearchedCodes"]

SCORINGS = ("hamming", "asymmetric")


class SearchedCodes:
    """What codes and their encoder can be asked."""

    codes: Codes
    encoder: Encoder
    engine: str

    @property
    def n_bits(self) -> int:
        """Code length in bits."""
        return self.encoder.n_bits

    @property
    def index(self) -> HammingIndex:
        """Search index over the codes; built on first use.

        Raises
        ------
        ValueError
            If codes have two bits per direction: their plain Hamming distances mean little.
        """
        if self.encoder.n_second:
            raise ValueError(
                f"these codes of {self.n_bits} bits have two bits per direction, which plain "
                "Hamming distances do not compare; use most_similar, or compress with "
                "bits_per_direction=1 (--bits-per-direction 1) for a Hamming index"
            )
        return self._index

    @cached_property
    def _index(self) -> HammingIndex:
        from embcompress.index import HammingIndex

        index = HammingIndex(n_bits=self.n_bits, engine=self.engine)
        # with one bit per direction all lengths are equal
        index.add(self.codes, scales=1 / self._lengths if self.encoder.n_second else None)
        return index

    @cached_property
    def _lengths(self) -> npt.NDArray[np.float32]:
        return self.encoder.value_lengths(self.codes)

    def nearest(
        self, queries: Floats, k: int, scoring: str = "hamming"
    ) -> tuple[npt.NDArray[np.int64], Floats]:
        """Words nearest to queries that are in the space of the codes.

        Parameters
        ----------
        queries : ndarray of shape (n_queries, n_directions)
            Projections, or the whole numbers of codes.
        k : int
            How many words; no more than there are.
        scoring : {"hamming", "asymmetric"}, default "hamming"
            Whether queries are cut to bits first, or keep their real values.

        Returns
        -------
        indices : ndarray of int64, shape (n_queries, k)
            Nearest first, equal similarities in index order.
        similarities : ndarray of floats, shape (n_queries, k)

        Raises
        ------
        ValueError
            If there is no such scoring, or the engine does not have it.
        """
        if scoring not in SCORINGS:
            raise ValueError(f"scoring={scoring!r}; allowed: {' or '.join(map(repr, SCORINGS))}")
        encoder, k = self.encoder, min(k, len(self.codes))
        if scoring == "hamming":
            codes = encoder.cut(queries)
            if not encoder.n_second:
                distances, indices = self._index.search(codes, k)
                return indices, (self.n_bits - 2 * distances) / self.n_bits
            queries = encoder.values(codes)
        scores, indices = self._index.search_asymmetric(encoder.per_bit(queries), k)
        lengths = np.linalg.norm(queries, axis=1, keepdims=True)
        if not encoder.n_second:
            lengths = lengths * np.sqrt(np.float32(self.n_bits))
        return indices, scores / np.maximum(lengths, np.float32(1e-30))

    def scores(self, queries: Floats) -> npt.NDArray[np.float32]:
        """Scores of real-valued queries against all codes: cosines times the query's length.

        Parameters
        ----------
        queries : ndarray of shape (n_queries, n_directions)
            Projections, or the whole numbers of codes.

        Returns
        -------
        ndarray of float32, shape (n_queries, n)
        """
        scores = asymmetric_scores(self.encoder.per_bit(queries), self.codes, self.n_bits)
        scores /= self._lengths
        return scores
