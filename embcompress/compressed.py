"""Word vectors as packed codes: a file that opens at once and answers in bits."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from embcompress.code_search import SCORINGS, SearchedCodes
from embcompress.codes import check_codes, code_bytes, unpack_signs
from embcompress.container import Container, FormatError, load_container, save_container
from embcompress.encoder import Encoder
from embcompress.fitted import Quantizer, stored_facts
from embcompress.model_card import Summary
from embcompress.pretrained import Pretrained, example_word
from embcompress.progress import ProgressBar
from embcompress.row_lengths import unit_rows
from embcompress.vectors import (
    Floats,
    KeyedVectors,
    Source,
    WordVectors,
)
from embcompress.vocabulary import Vocabulary, read_vocabulary

__all__ = ["SCORINGS", "CompressedVectors"]

_KIND = "vectors"
_CHUNK_ROWS = 16_384


class CompressedVectors(WordVectors, Pretrained, SearchedCodes):
    """Words with packed binary codes, and the encoder that made them.

    Made by :meth:`compress`, opened by :meth:`load`. Similarity is the cosine of the whole
    numbers that codes stand for (:meth:`Encoder.values <embcompress.encoder.Encoder.values>`).
    With one bit per direction these are -1 and 1, and it is ``1 - 2 h / n_bits`` with the Hamming
    distance h. With two bits it is made of the Hamming distances between first and second bits,
    weighted 4, 2, 2 and 1, and divided by the lengths.

    With ``scoring="hamming"`` (the default) a query is cut to bits first. With
    ``scoring="asymmetric"`` it keeps its real values: a user's own vector as it is projected, a
    word or a sum of words as it is decoded. That separates near ties and costs more time.

    Parameters
    ----------
    index_to_key : Vocabulary
    codes : ndarray of uint8, shape (n, ceil(n_bits / 8))
    encoder : Encoder
    quantizer : str
        Name of the class that made the codes.
    info : mapping of str to str, optional
        What else is to be stored in the header, such as the isotropy before and after.
    source : Source, optional
        Where the float vectors came from.
    engine : {"auto", "native", "numpy", "faiss"}, default "auto"
        What searches; see :class:`~embcompress.HammingIndex`.

    Raises
    ------
    TypeError, ValueError
        If the parts do not fit together.

    Examples
    --------
    >>> import numpy as np
    >>> from embcompress import CompressedVectors, KeyedVectors, Sign
    >>> kv = KeyedVectors(["cat", "dog", "car"], [[1, 2, -1], [1, 1, -2], [-1, 1, 2.0]])
    >>> small = CompressedVectors.compress(kv, Sign())
    >>> small.most_similar("cat", topn=1)
    [('dog', 1.0)]
    """

    def __init__(
        self,
        index_to_key: Vocabulary,
        codes: npt.NDArray[np.uint8],
        encoder: Encoder,
        *,
        quantizer: str,
        info: dict[str, str] | None = None,
        source: Source | None = None,
        engine: str = "auto",
    ) -> None:
        self.codes = check_codes(codes, encoder.n_bits)
        if len(self.codes) != len(index_to_key):
            raise ValueError(f"{len(index_to_key)} words came with {len(self.codes)} codes")
        self.index_to_key = index_to_key
        self.encoder = encoder
        self.quantizer = quantizer
        self.info = dict(info or {})
        self.source = source
        self.engine = engine

    def __repr__(self) -> str:
        return f"CompressedVectors({len(self):,} words x {self.n_bits} bits, {self.quantizer})"

    @property
    def vector_size(self) -> int:
        """Number of dimensions of the vectors that codes are decoded to."""
        return self.encoder.n_features

    @classmethod
    def compress(
        cls, vectors: KeyedVectors, quantizer: Quantizer, *, progress: bool = False
    ) -> CompressedVectors:
        """Fit a quantizer on word vectors and encode them.

        Parameters
        ----------
        vectors : KeyedVectors
        quantizer : quantizer of this package
            Fitted here; a fitted one is fitted again.
        progress : bool, default False
            Show progress bars.

        Returns
        -------
        CompressedVectors

        Raises
        ------
        ValueError
            If the quantizer's parameters do not fit the vectors.
        """
        quantizer.fit(vectors.vectors)
        return cls.encode(vectors, quantizer, progress=progress)

    @classmethod
    def encode(
        cls, vectors: KeyedVectors, quantizer: Quantizer, *, progress: bool = False
    ) -> CompressedVectors:
        """Encode word vectors with a fitted quantizer.

        Parameters
        ----------
        vectors : KeyedVectors
        quantizer : fitted quantizer
        progress : bool, default False
            Show a progress bar.

        Returns
        -------
        CompressedVectors
        """
        encoder = quantizer.encoder_
        codes = np.empty((len(vectors), code_bytes(encoder.n_bits)), dtype=np.uint8)
        with ProgressBar("Encoding", len(vectors), unit="words", enabled=progress) as bar:
            for start in range(0, len(vectors), _CHUNK_ROWS):
                rows = vectors.vectors[start : start + _CHUNK_ROWS]
                codes[start : start + len(rows)] = encoder.encode(rows)
                bar.advance(len(rows))
        return cls._from_fit(vectors.index_to_key, codes, quantizer, vectors.source)

    @classmethod
    def encode_chunks(
        cls, chunks: Iterable[tuple[Vocabulary, Floats]], quantizer: Quantizer
    ) -> CompressedVectors:
        """Encode a stream of words and vectors with a fitted quantizer.

        Only codes and words are kept, so memory is bounded by them and one chunk.

        Parameters
        ----------
        chunks : iterable of (Vocabulary, ndarray of shape (m, n_features))
        quantizer : fitted quantizer

        Returns
        -------
        CompressedVectors

        Raises
        ------
        ValueError
            If there is no chunk.
        """
        blobs, lengths, codes = [], [], []
        for words, rows in chunks:
            codes.append(quantizer.encoder_.encode(rows))
            blobs.append(words.blob)
            lengths.append(np.diff(words.offsets.astype(np.int64)))
        if not codes:
            raise ValueError("there are no vectors to encode")
        words = Vocabulary.from_lengths(np.concatenate(blobs), np.concatenate(lengths))
        return cls._from_fit(words, np.concatenate(codes), quantizer, None)

    @classmethod
    def _from_fit(
        cls,
        words: Vocabulary,
        codes: npt.NDArray[np.uint8],
        quantizer: Quantizer,
        source: Source | None,
    ) -> CompressedVectors:
        return cls(
            words,
            codes,
            quantizer.encoder_,
            quantizer=type(quantizer).__name__,
            info=stored_facts(quantizer),
            source=source,
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the file: one safetensors file, whole or not at all.

        Parameters
        ----------
        path : path-like
            Usually ends in ``.safetensors``.

        Raises
        ------
        OSError
            If the folder does not exist or is not writable, or the disk is full.
        """
        tensors = {
            "codes": self.codes,
            "vocab": self.index_to_key.blob,
            "vocab_offsets": self.index_to_key.offsets,
            **self.encoder.to_tensors(),
        }
        metadata = {
            **{f"info_{name}": value for name, value in self.info.items()},
            **self.encoder.to_metadata(),
            "quantizer": self.quantizer,
            "bitorder": "big",
        }
        if self.source is not None:
            metadata |= {
                "source": self.source.path,
                "source_format": self.source.format,
                "source_bytes": str(self.source.n_bytes),
            }
        save_container(path, tensors, kind=_KIND, metadata=metadata)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, engine: str = "auto") -> CompressedVectors:
        """Open a file by memory map: the time does not grow with the number of words.

        Parameters
        ----------
        path : path-like
        engine : {"auto", "native", "numpy", "faiss"}, default "auto"
            As for the class.

        Returns
        -------
        CompressedVectors

        Raises
        ------
        FormatError
            If the file is damaged, of a newer version, or no file of compressed vectors.
        OSError
            If it cannot be read.
        """
        container = load_container(path, kind=_KIND)
        encoder = Encoder.from_container(container)
        codes = container.tensor("codes", (np.uint8,), 2)
        if codes.shape[1] != code_bytes(encoder.n_bits):
            raise FormatError(
                f"{container.path}: codes have {codes.shape[1]} bytes per word, expected "
                f"{code_bytes(encoder.n_bits)} for n_bits={encoder.n_bits}"
            )
        if container.value("bitorder") != "big":
            raise FormatError(
                f"{container.path}: bit order {container.value('bitorder')!r}, expected 'big'"
            )
        prefix = "info_"
        info = {
            name.removeprefix(prefix): value
            for name, value in container.metadata.items()
            if name.startswith(prefix)
        }
        return cls(
            read_vocabulary(container, len(codes)),
            codes,
            encoder,
            quantizer=container.value("quantizer"),
            info=info,
            source=_read_source(container),
            engine=engine,
        )

    def _summary(self) -> Summary:
        words = self.index_to_key
        return Summary(
            kind=_KIND,
            what=f"Word vectors in packed binary codes of {self.n_bits} bits",
            task="feature-extraction",
            tags=("word-embeddings", "binary-codes", "quantization"),
            config={
                "quantizer": self.quantizer,
                "n_words": len(self),
                "n_bits": self.n_bits,
                "n_directions": self.encoder.n_directions,
                "n_features": self.vector_size,
                **self.info,
            },
            parts={
                "codes": self.codes.nbytes,
                "words": words.blob.nbytes + words.offsets.nbytes,
                "encoder": self.encoder.nbytes,
            },
            name="vectors",
            example=f"vectors.most_similar({example_word(words)!r}, topn=5)",
            n_float_bytes=4 * len(self) * self.vector_size,
        )

    def decode(self) -> KeyedVectors:
        """All vectors, decoded to float32.

        Returns
        -------
        KeyedVectors
            As large as the original vectors were.
        """
        return KeyedVectors(self.index_to_key, self.encoder.decode(self.codes), source=self.source)

    def _rows(self, indices: Sequence[int]) -> npt.NDArray[np.float32]:
        return self.encoder.decode(self.codes[list(indices)])

    def _unit_rows(self, indices: Sequence[int]) -> npt.NDArray[np.float32]:
        codes = self.codes[list(indices)]
        if self.encoder.n_second:
            return unit_rows(self.encoder.values(codes))
        gaps = np.abs(self.encoder.decode_scores(codes) - self.encoder.thresholds)
        # never 0: a bit whose side was empty in training still keeps its sign
        return unit_rows(
            unpack_signs(codes, self.n_bits) * np.maximum(gaps, 1e-12).astype(np.float32)
        )

    def _unit_query(self, vector: Floats) -> npt.NDArray[np.float32]:
        return unit_rows(self.encoder.project(vector[None, :].astype(np.float32)))[0]

    def similarity(self, key1: str, key2: str) -> float:
        """Similarity of two words by their codes, from -1 to 1.

        Parameters
        ----------
        key1, key2 : str

        Returns
        -------
        float

        Raises
        ------
        UnknownWordError
            If a word is not there.
        """
        rows = self.codes[[self.get_index(key1), self.get_index(key2)]]
        first, second = self.encoder.values(rows).astype(np.float64)
        return float(first @ second) / math.sqrt(float(first @ first) * float(second @ second))

    def _nearest(
        self, query: npt.NDArray[np.float32], k: int, scoring: str | None
    ) -> tuple[npt.NDArray[np.int64], Floats]:
        indices, scores = self.nearest(query[None, :], k, scoring or "hamming")
        return indices[0], scores[0]


def _read_source(container: Container) -> Source | None:
    if "source" not in container.metadata:
        return None
    return Source(
        path=container.value("source"),
        format=container.value("source_format"),
        n_bytes=container.integer("source_bytes"),
    )
