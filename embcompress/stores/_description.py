"""What a store says of its codes: number and order of bits, the encoder that made them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from embcompress._version import __version__
from embcompress.container import FormatError, dump_container, parse_container
from embcompress.encoder import Encoder
from embcompress.stores._bits import BIT_ORDERS

__all__ = ["Description", "pack_encoder", "unpack_encoder"]

FORMAT_VERSION = 1
_ENCODER_KIND = "encoder"
_PREFIX = "info_"


@dataclass(frozen=True)
class Description:
    """The metadata of a store; written with the codes, in the same transaction.

    Attributes
    ----------
    n_bits : int
    bit_order : {"big", "little"}
        Of the codes as they are stored.
    has_keys : bool
        Whether any row was written with a key.
    encoder : bytes or None
        A safetensors file with the arrays of the encoder.
    info : mapping of str to str
        What the writer wanted to be kept.
    """

    n_bits: int
    bit_order: str
    has_keys: bool = False
    encoder: bytes | None = None
    info: Mapping[str, str] = field(default_factory=dict)

    def entries(self) -> dict[str, str]:
        """All but the encoder as text, to be stored under these names."""
        return {
            "format": "embcompress",
            "format_version": str(FORMAT_VERSION),
            "created_with": f"embcompress {__version__}",
            "n_bits": str(self.n_bits),
            "bitorder": self.bit_order,
            "has_keys": "true" if self.has_keys else "false",
            **{_PREFIX + name: value for name, value in self.info.items()},
        }

    @classmethod
    def from_entries(
        cls, entries: Mapping[str, str], encoder: bytes | None, place: str
    ) -> Description:
        """Read back what :meth:`entries` gave.

        Parameters
        ----------
        entries : mapping of str to str
        encoder : bytes or None
        place : str
            For messages.

        Returns
        -------
        Description

        Raises
        ------
        FormatError
            If an entry is missing or makes no sense, or the format is newer.
        """
        version = entries.get("format_version", "")
        if version != str(FORMAT_VERSION):
            raise FormatError(
                f"{place}: format version {version!r}, this embcompress {__version__} reads "
                f"version {FORMAT_VERSION}; it was written by "
                f"{entries.get('created_with', 'an unknown version')}"
            )
        n_bits, order = entries.get("n_bits", ""), entries.get("bitorder", "")
        if not (n_bits.isascii() and n_bits.isdigit() and int(n_bits) > 0):
            raise FormatError(f"{place}: n_bits={n_bits!r} in the metadata is no number of bits")
        if order not in BIT_ORDERS:
            raise FormatError(
                f"{place}: bitorder={order!r} in the metadata; allowed: {', '.join(BIT_ORDERS)}"
            )
        info = {
            name.removeprefix(_PREFIX): value
            for name, value in entries.items()
            if name.startswith(_PREFIX)
        }
        return cls(int(n_bits), order, entries.get("has_keys") == "true", encoder, info)

    def with_more(self, new: Description, place: str) -> Description:
        """The description after more codes are written to the same place.

        Parameters
        ----------
        new : Description
        place : str
            For messages.

        Returns
        -------
        Description

        Raises
        ------
        ValueError
            If the codes cannot stand side by side.
        """
        if self.n_bits != new.n_bits:
            raise ValueError(
                f"{place} holds codes of {self.n_bits} bits, these have {new.n_bits}; write "
                "elsewhere, or replace what is there with replace=True"
            )
        if new.encoder is not None and not _same_encoder(self.encoder, new.encoder):
            theirs = "no encoder" if self.encoder is None else "another encoder"
            raise ValueError(
                f"{place} holds codes with {theirs}, so distances to these would mean nothing; "
                "write elsewhere, or replace what is there with replace=True"
            )
        return replace(self, has_keys=self.has_keys or new.has_keys, info={**self.info, **new.info})


def pack_encoder(encoder: Encoder) -> bytes:
    """An encoder as the bytes of a safetensors file."""
    return dump_container(encoder.to_tensors(), kind=_ENCODER_KIND, metadata=encoder.to_metadata())


def unpack_encoder(data: bytes, place: str) -> Encoder:
    """The encoder behind the bytes; `FormatError` if they are damaged."""
    return Encoder.from_container(parse_container(data, place, kind=_ENCODER_KIND))


def _same_encoder(stored: bytes | None, new: bytes) -> bool:
    """Whether two encoders make the same codes; the version that wrote them does not count."""
    if stored is None:
        return False
    first, second = (unpack_encoder(data, "encoder") for data in (stored, new))
    a, b = first.to_tensors(), second.to_tensors()
    return (
        first.to_metadata() == second.to_metadata()
        and a.keys() == b.keys()
        and all(np.array_equal(a[name], b[name]) for name in a)
    )
