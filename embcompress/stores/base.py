"""What every store can do, and the checks that all of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from types import TracebackType
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from embcompress.codes import Codes, check_codes
from embcompress.encoder import Encoder
from embcompress.progress import ProgressBar
from embcompress.stores._bits import reorder_bits
from embcompress.stores._description import Description, pack_encoder, unpack_encoder
from embcompress.stores._rows import Ids, Rows, check_metadata, check_pad_bits, check_rows
from embcompress.stores._urls import StoreURL
from embcompress.vectors import UnknownWordError

__all__ = ["Change", "Found", "Neighbors", "Store", "StoreInfo"]

# distances and ids of one query, nearest first, equal distances by id
Found = tuple[npt.NDArray[np.int32], Ids]
# what a load does to the place it goes to
Change = Literal["create", "replace", "merge"]

_BATCH_ROWS = 10_000


@dataclass(frozen=True)
class Neighbors:
    """What a search found.

    Attributes
    ----------
    distances : ndarray of int32, shape (n_queries, k)
        Numbers of differing bits, ascending; ``n_bits + 1`` where the store has fewer rows.
    ids : ndarray of int64, shape (n_queries, k)
        Equal distances in ascending order; -1 where the store has fewer rows.
    keys : list of lists of str, or None
        Keys of the rows, None for one without; no list at all if the store has no keys.
    """

    distances: npt.NDArray[np.int32]
    ids: Ids
    keys: list[list[str | None]] | None


@dataclass(frozen=True)
class StoreInfo:
    """What a store holds.

    Attributes
    ----------
    place : str
        Where it is, without a password.
    n_codes : int
    n_bits : int
    bit_order : {"big", "little"}
        Of the bytes in the store.
    has_keys, has_encoder : bool
    metadata : mapping of str to str
        What was given to :meth:`Store.write`.
    """

    place: str
    n_codes: int
    n_bits: int
    bit_order: str
    has_keys: bool
    has_encoder: bool
    metadata: Mapping[str, str]


class Store(ABC):
    """A place outside this package that keeps codes and finds those near a query.

    Made by :func:`~embcompress.stores.open_store`, which creates nothing: the place comes to be
    with the first :meth:`write`. Use it as a context manager, or call :meth:`close`.

    Whatever the store does inside, its results are those of a flat
    :class:`~embcompress.HammingIndex`: ordered by distance, then by id.
    """

    #: order of the bits in the store's bytes
    bit_order: ClassVar[str]

    def __init__(self, url: StoreURL) -> None:
        self.url = url
        self._known: Description | None = None

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.place})"

    @property
    @abstractmethod
    def place(self) -> str:
        """Where the codes are, for people; without a password."""

    @property
    def encoder(self) -> Encoder | None:
        """What makes codes of new vectors, if it was written with the codes.

        Raises
        ------
        OSError
            If the store is not there.
        FormatError
            If its metadata are damaged.
        """
        described = self._described()
        return None if described.encoder is None else unpack_encoder(described.encoder, self.place)

    def write(
        self,
        codes: npt.ArrayLike,
        *,
        n_bits: int,
        ids: npt.ArrayLike | None = None,
        keys: Sequence[str] | None = None,
        encoder: Encoder | None = None,
        metadata: Mapping[str, str] | None = None,
        replace: bool = False,
        batch_size: int = _BATCH_ROWS,
        progress: bool = False,
    ) -> int:
        """Write codes, whole or not at all.

        Rows whose ids are there already are replaced, so writing twice is writing once.

        Parameters
        ----------
        codes : array-like of uint8, shape (n, ceil(n_bits / 8))
        n_bits : int
            Code length in bits.
        ids : array-like of integers, shape (n,), optional
            Distinct, from 0; by default the positions 0 to n - 1.
        keys : sequence of str, optional
            A text for each row: its word, its title, the sentence itself.
        encoder : Encoder, optional
            Stored beside the codes, so that new vectors can be encoded with nothing else.
        metadata : mapping of str to str, optional
            Kept with the codes and shown by :meth:`info`.
        replace : bool, default False
            Drop what is there and write anew, in one step.
        batch_size : int, default 10000
            Rows handed to the store at a time.
        progress : bool, default False
            Show a progress bar.

        Returns
        -------
        int
            Number of rows written.

        Raises
        ------
        TypeError, ValueError
            If the arguments do not fit together; if the place holds codes of another length or of
            another encoder, or something that was not written by this package.
        OSError
            If the store cannot be reached, the connection is lost or the disk is full. Nothing is
            left behind then.
        """
        rows = check_rows(codes, n_bits, ids, keys)
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size} must be at least 1")
        new = self._describe(n_bits, keys is not None, encoder, metadata)
        self._known = None
        with (
            ProgressBar("Writing", len(rows), unit="rows", enabled=progress) as bar,
            self._errors(),
            self._transaction(),
        ):
            old = self._read()
            change: Change = "create" if old is None else "replace" if replace else "merge"
            if old is not None and not replace:
                new = old.with_more(new, self.place)
            self._load(self._batches(rows, batch_size, bar, new.bit_order), new, change)
        return len(rows)

    def search(self, queries: npt.ArrayLike, k: int) -> Neighbors:
        """Find the rows nearest to every query by Hamming distance.

        Parameters
        ----------
        queries : array-like of uint8, shape (n_queries, ceil(n_bits / 8))
        k : int
            How many to find per query.

        Returns
        -------
        Neighbors

        Raises
        ------
        TypeError, ValueError
            If the queries are not codes of the store's length, or `k` is smaller than 1.
        OSError
            If the store is not there or cannot be reached.
        """
        described = self._described()
        array = check_codes(queries, described.n_bits, name="queries")
        check_pad_bits(array, described.n_bits, "queries")
        if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
            raise ValueError(f"k={k!r} must be a whole number of at least 1")
        distances = np.full((len(array), k), described.n_bits + 1, dtype=np.int32)
        indices = np.full((len(array), k), -1, dtype=np.int64)
        with self._errors():
            found = self._nearest(reorder_bits(array, described.bit_order), int(k))
            for row, (near, ids) in enumerate(found):
                distances[row, : len(near)], indices[row, : len(ids)] = near, ids
            keys = self._keys(np.unique(indices[indices >= 0])) if described.has_keys else {}
        names = [[keys.get(i) for i in row] for row in indices.tolist()]
        return Neighbors(distances, indices, names if described.has_keys else None)

    def most_similar(self, key: str, topn: int = 10) -> list[tuple[str, float]]:
        """Rows nearest to the one with a key, which is left out itself.

        Parameters
        ----------
        key : str
        topn : int, default 10

        Returns
        -------
        list of (str, float)
            Keys (ids as text, for rows without) and similarities ``1 - 2 h / n_bits`` with the
            Hamming distance h, as :meth:`CompressedVectors.most_similar
            <embcompress.CompressedVectors.most_similar>` gives them.

        Raises
        ------
        UnknownWordError
            If no row has this key.
        ValueError, OSError
            As :meth:`search`.
        """
        described = self._described()
        with self._errors():
            given = self._find(key) if described.has_keys else None
        if given is None:
            reason = "" if described.has_keys else "; its rows have no keys"
            raise UnknownWordError(f"{key!r} is not in {self.place}{reason}")
        found = self.search(self.codes([given]), topn + 1)
        names, n_bits = (found.keys or [[]])[0], described.n_bits
        pairs = [
            (str(i) if name is None else name, (n_bits - 2 * h) / n_bits)
            for i, h, name in zip(
                found.ids[0].tolist(), found.distances[0].tolist(), names, strict=True
            )
            if i not in (given, -1)
        ]
        return pairs[:topn]

    def codes(self, ids: npt.ArrayLike) -> Codes:
        """Codes of rows, in the bit order of this package.

        Parameters
        ----------
        ids : array-like of integers, shape (n,)

        Returns
        -------
        codes : ndarray of uint8, shape (n, ceil(n_bits / 8))

        Raises
        ------
        ValueError
            If an id is not there.
        OSError
            If the store is not there or cannot be reached.
        """
        described = self._described()
        wanted = np.asarray(ids, dtype=np.int64)
        with self._errors():
            found = self._codes(np.unique(wanted))
        missing = [i for i in wanted.tolist() if i not in found]
        if missing:
            raise ValueError(f"id {missing[0]} is not in {self.place}")
        width = (described.n_bits + 7) // 8
        data = b"".join(found[i] for i in wanted.tolist())
        array = np.frombuffer(data, dtype=np.uint8).reshape(len(wanted), width)
        return reorder_bits(array, described.bit_order)

    def info(self) -> StoreInfo:
        """What the store holds.

        Returns
        -------
        StoreInfo

        Raises
        ------
        OSError
            If the store is not there or cannot be reached.
        FormatError
            If its metadata are damaged.
        """
        described = self._described()
        with self._errors():
            n_codes = self._count()
        return StoreInfo(
            self.place, n_codes, described.n_bits, described.bit_order, described.has_keys,
            described.encoder is not None, dict(described.info),
        )  # fmt: skip

    @abstractmethod
    def close(self) -> None:
        """Let go of files and connections; twice does no harm."""

    # What a store must do. Codes come and go in its own bit order.

    @abstractmethod
    def _errors(self) -> AbstractContextManager[None]:
        """Turn errors of the store's client into `OSError` and `ValueError`."""

    @abstractmethod
    def _transaction(self) -> AbstractContextManager[None]:
        """All that happens inside becomes visible at its end, or not at all."""

    @abstractmethod
    def _read(self) -> Description | None:
        """The metadata; None if there is no such place yet.

        Raises
        ------
        ValueError
            If the place holds something that was not written by this package.
        """

    @abstractmethod
    def _load(self, batches: Iterator[Rows], described: Description, change: Change) -> None:
        """Write metadata and rows, inside :meth:`_transaction`."""

    @abstractmethod
    def _nearest(self, queries: Codes, k: int) -> Iterator[Found] | Sequence[Found]:
        """The `k` nearest rows of every query, or all if there are fewer."""

    @abstractmethod
    def _count(self) -> int:
        """Number of rows."""

    @abstractmethod
    def _find(self, key: str) -> int | None:
        """Smallest id among the rows with a key."""

    @abstractmethod
    def _codes(self, ids: Ids) -> dict[int, bytes]:
        """Codes of those of the rows that are there."""

    @abstractmethod
    def _keys(self, ids: Ids) -> dict[int, str | None]:
        """Keys of those of the rows that are there."""

    def _described(self) -> Description:
        """The metadata, read once."""
        if self._known is None:
            with self._errors():
                self._known = self._read()
            if self._known is None:
                raise FileNotFoundError(f"{self.place}: there are no codes; write some first")
        return self._known

    def _describe(
        self,
        n_bits: int,
        has_keys: bool,
        encoder: Encoder | None,
        metadata: Mapping[str, str] | None,
    ) -> Description:
        if encoder is not None and encoder.n_second:
            raise ValueError(
                f"these codes of {n_bits} bits have two bits per direction, which the Hamming "
                "distances of a store do not compare; compress with bits_per_direction=1 "
                "(--bits-per-direction 1)"
            )
        if encoder is not None and encoder.n_bits != n_bits:
            raise ValueError(f"the encoder makes codes of {encoder.n_bits} bits, n_bits={n_bits}")
        check_metadata(metadata or {})
        packed = None if encoder is None else pack_encoder(encoder)
        return Description(n_bits, self.bit_order, has_keys, packed, dict(metadata or {}))

    def _batches(self, rows: Rows, size: int, bar: ProgressBar, order: str) -> Iterator[Rows]:
        for batch in rows.batches(size):
            yield replace(batch, codes=reorder_bits(batch.codes, order))
            bar.advance(len(batch))

    def _foreign(self, types: str = "") -> ValueError:
        """What to raise for a table that is not ours; `types` says what is known of its codes."""
        known = f" (it has {types})" if types else ""
        return ValueError(
            f"{self.place} exists and was not written by embcompress{known}; write elsewhere"
        )
