"""Compressed vectors and a compiled head in one file: texts in, classes out.

Needs NumPy, numba and safetensors. What predicting does without is left out of the file: the
projection that encodes new vectors, and words that no text can hold as it is cut into words.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from embcompress.container import FormatError, load_container, save_container
from embcompress.model_card import Summary
from embcompress.pretrained import Pretrained, example_word
from embcompress.runtime import Program, Report
from embcompress.runtime import compile as compile_program
from embcompress.runtime.files import graph_from, graph_to_arrays
from embcompress.text_means import FEATURES, CodeMeans
from embcompress.texts import TextVectors, tokenize
from embcompress.vocabulary import Vocabulary, read_short_vocabulary, short_vocabulary

if TYPE_CHECKING:
    from embcompress.compressed import CompressedVectors

__all__ = ["Bundle", "BundleReport"]

Floats = npt.NDArray[np.float32]

_KIND = "bundle"
_PROGRAM = "program"
_WHAT = {"decoded": "decoded vectors", "codes": "the whole numbers of codes"}


@dataclass(frozen=True)
class BundleReport:
    """What a bundle holds; print it for a table.

    Attributes
    ----------
    n_words, n_bits, n_directions : int
    features : {"decoded", "codes"}
    parts : mapping of str to int
        Bytes of codes, words, decoder and program in a file.
    program : Report
        Layer by layer.
    """

    n_words: int
    n_bits: int
    n_directions: int
    features: str
    parts: Mapping[str, int]
    program: Report

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(self.parts.values())

    def __str__(self) -> str:
        """One line on the vectors, one on the bytes, and the table of the program."""
        parts = ", ".join(f"{name} {size:,}" for name, size in self.parts.items())
        return (
            f"{self.n_words:,} words x {self.n_bits} bits, mean of {_WHAT[self.features]}\n"
            f"{self.nbytes:,} bytes: {parts}\n{self.program}"
        )


class Bundle(Pretrained):
    """Classifier of texts: words, their codes, what decodes them, and a compiled head.

    Made by :meth:`build`, opened by :meth:`load`.

    Parameters
    ----------
    words : Vocabulary
    means : CodeMeans
        Of the codes of the words.
    program : Program
        A classifier of mean vectors.
    quantizer : str
        Name of the class that made the codes.

    Attributes
    ----------
    texts : TextVectors
        Mean vectors of texts, as the program takes them.
    program : Program

    Raises
    ------
    ValueError
        If the parts do not fit together.

    Examples
    --------
    >>> import numpy as np
    >>> from embcompress import Bundle, CompressedVectors, KeyedVectors, Sign, runtime
    >>> kv = KeyedVectors(["good", "fine", "bad"], [[1, 1], [1, 0.5], [-1, -1.0]])
    >>> small = CompressedVectors.compress(kv, Sign())
    >>> layer = runtime.Node("out", runtime.Linear([[-1, -1], [1, 1.0]]))
    >>> head = runtime.Graph([layer], "rows", (2,), np.array(["no", "yes"]))
    >>> bundle = Bundle.build(small, head)
    >>> bundle.predict(["A good film.", "bad, bad!"])
    array(['yes', 'no'], dtype='<U3')
    """

    def __init__(
        self, words: Vocabulary, means: CodeMeans, program: Program, *, quantizer: str
    ) -> None:
        if len(words) != len(means.codes):
            raise ValueError(f"{len(words)} words came with {len(means.codes)} codes")
        _check_program(program, means)
        self.program, self.quantizer = program, quantizer
        self._means = means
        self.texts = TextVectors.from_means(words, means)

    def __repr__(self) -> str:
        return (
            f"Bundle({len(self.words):,} words x {self.n_bits} bits, {self.quantizer}, "
            f"{len(self.classes_)} classes)"
        )

    @property
    def words(self) -> Vocabulary:
        """Words that are known."""
        return self.texts.words

    @property
    def n_bits(self) -> int:
        """Length of a code."""
        return self._means.n_bits

    @property
    def features(self) -> str:
        """What a text is the mean of: ``"decoded"`` vectors, or ``"codes"``."""
        return self._means.features

    @property
    def classes_(self) -> npt.NDArray[Any]:
        """Labels, in the order of probabilities."""
        classes = self.program.classes_
        assert classes is not None, "checked when it was made"
        return classes

    @classmethod
    def build(
        cls,
        vectors: CompressedVectors,
        model: Any,
        *,
        features: Literal["decoded", "codes"] = "decoded",
        max_words: int | None = None,
        precision: Literal["float32", "int8"] | None = None,
        calibration: Iterable[str] | None = None,
    ) -> Bundle:
        """Put vectors and a head together.

        Parameters
        ----------
        vectors : CompressedVectors
        model : Program, head, or what :func:`embcompress.runtime.compile` takes
            Trained on ``TextVectors(vectors, features).transform(texts)``. All but a program is
            compiled here.
        features : {"decoded", "codes"}, default "decoded"
            See :class:`~embcompress.texts.TextVectors`.
        max_words : int, optional
            Keep only the first ones of those that texts can hold; files have frequent words
            first. Default: all.
        precision : {"float32", "int8"}, optional
            Of the compiled head. Default: float32.
        calibration : iterable of str, optional
            Texts that set the scales of inputs with int8. Default: each row has its own.

        Returns
        -------
        Bundle

        Raises
        ------
        TypeError
            If the vectors have no codes, or the model cannot be compiled.
        ValueError
            If the head takes other vectors than texts become, or is no classifier; if a program
            comes with a precision; if no word is left.
        """
        if not hasattr(vectors, "encoder"):
            raise TypeError(
                f"a bundle holds compressed vectors, not {type(vectors).__name__}; make them with "
                "CompressedVectors.compress"
            )
        texts = TextVectors(vectors, features)
        if not isinstance(model, Program):
            inputs = None if calibration is None else texts.transform(calibration)
            model = compile_program(model, precision=precision or "float32", calibration=inputs)
        elif precision is not None or calibration is not None:
            raise ValueError("precision= is for heads that are compiled here, not for a program")
        assert isinstance(texts.means, CodeMeans)
        _check_program(model, texts.means, vectors)
        rows = _reachable(vectors.index_to_key, max_words)
        means = _only(texts.means, rows).shortened()
        if len(rows) == len(vectors):
            words = vectors.index_to_key
        else:
            words = Vocabulary.from_words(vectors.index_to_key[int(row)] for row in rows)
        return cls(words, means, model, quantizer=vectors.quantizer)

    def predict(self, texts: Iterable[str]) -> npt.NDArray[Any]:
        """Most probable class of each text.

        Parameters
        ----------
        texts : iterable of str
            One without a known word is a vector of zeros; ``texts.with_counts`` tells them.

        Returns
        -------
        labels : ndarray of shape (n_texts,)

        Raises
        ------
        TypeError
            If `texts` is a single string, or not all of them are strings.
        """
        return self.program.predict(self.texts.transform(texts))

    def predict_proba(self, texts: Iterable[str]) -> Floats:
        """Probability of each class, in the order of `classes_`.

        Parameters
        ----------
        texts : iterable of str

        Returns
        -------
        probabilities : ndarray of float32, shape (n_texts, n_classes)
        """
        return self.program.predict_proba(self.texts.transform(texts))

    def report(self) -> BundleReport:
        """What it holds, and the bytes of each part.

        Returns
        -------
        BundleReport
        """
        means, words = self._means, short_vocabulary(self.words)
        arrays, _ = graph_to_arrays(self.program.graph)
        parts = {
            "codes": means.codes.nbytes,
            "words": sum(array.nbytes for array in words.values()),
            "decoder": sum(array.nbytes for array in means.decoding().values()),
            "program": sum(array.nbytes for array in arrays.values()),
        }
        return BundleReport(
            len(self.words), self.n_bits, means.n_directions, self.features, parts,
            self.program.report(measure=False),
        )  # fmt: skip

    def _summary(self) -> Summary:
        report = self.report()
        return Summary(
            kind=_KIND,
            what=f"A classifier of texts on word vectors in binary codes of {self.n_bits} bits",
            task="text-classification",
            tags=("text-classification", "binary-codes", "pruning"),
            config={
                "quantizer": self.quantizer,
                "n_words": report.n_words,
                "n_bits": report.n_bits,
                "n_directions": report.n_directions,
                "features": report.features,
                "classes": self.classes_.tolist(),
            },
            parts=report.parts,
            name="bundle",
            example=f"bundle.predict([{example_word(self.words)!r}])",
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one safetensors file, whole or not at all.

        Parameters
        ----------
        path : path-like

        Raises
        ------
        OSError
            If the file cannot be written; nothing is left behind.
        """
        program, description = graph_to_arrays(self.program.graph, f"{_PROGRAM}.")
        tensors = {
            **self._means.to_tensors(),
            **short_vocabulary(self.words),
            **program,
        }
        metadata = {
            **self._means.to_metadata(),
            "quantizer": self.quantizer,
            _PROGRAM: description,
        }
        save_container(path, tensors, kind=_KIND, metadata=metadata)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Bundle:
        """Open a file by memory map: codes are read when a text has their word.

        Parameters
        ----------
        path : path-like

        Returns
        -------
        Bundle

        Raises
        ------
        FormatError
            If the file is damaged, of a newer version, or no bundle.
        OSError
            If it cannot be read.
        """
        file = load_container(path, kind=_KIND)
        means = CodeMeans.from_container(file)
        program = Program(graph_from(file, f"{_PROGRAM}.", _PROGRAM))
        words = read_short_vocabulary(file, len(means.codes))
        try:
            return cls(words, means, program, quantizer=file.value("quantizer"))
        except FormatError:
            raise
        except ValueError as error:
            raise FormatError(f"{file.path}: {error}") from error


def _check_program(program: Program, means: CodeMeans, vectors: Any = None) -> None:
    """Program and vectors must fit; `vectors` tell whether other features would."""
    if program.kind != "rows" or program.classes_ is None:
        what = f"takes {program.kind}" if program.kind != "rows" else "has no classes"
        raise ValueError(f"the program {what}; a classifier of rows of numbers is needed")
    if program.input_shape == (means.size,):
        return
    taken, features = program.input_shape[0], means.features
    message = f"the head takes {taken} numbers, but the mean of {_WHAT[features]} has {means.size}"
    other = FEATURES[features == "decoded"]
    if vectors is not None and TextVectors(vectors, other).size == taken:
        raise ValueError(f'{message}; the mean of {_WHAT[other]} has {taken}: features="{other}"')
    raise ValueError(
        f"{message}; train a head on TextVectors(vectors).transform(texts) with these vectors, or "
        "give the vectors that it was trained on"
    )


def _reachable(words: Vocabulary, max_words: int | None) -> npt.NDArray[np.int64]:
    """Rows of the words that texts can hold: lower case, nothing that texts are cut at."""
    if max_words is not None and max_words < 1:
        raise ValueError(f"max_words={max_words} must be at least 1")
    found = [row for row, word in enumerate(words) if tokenize(word) == [word]]
    if not found:
        raise ValueError(
            f"none of the {len(words)} words can be in a text: texts are cut into runs of "
            "letters, digits and apostrophes, in lower case"
        )
    return np.array(found[:max_words], dtype=np.int64)


def _only(means: CodeMeans, rows: npt.NDArray[np.int64]) -> CodeMeans:
    """Some of the words."""
    return means if len(rows) == len(means.codes) else replace(means, codes=means.codes[rows])
