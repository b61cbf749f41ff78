"""SQL that several stores share: the table of metadata, and names in quotes."""

from __future__ import annotations

from collections.abc import Iterable

from embcompress.stores._description import Description

__all__ = ["ENCODER", "from_metadata_rows", "metadata_rows", "quoted"]

# name of the one entry that is bytes
ENCODER = "encoder"


def quoted(name: str) -> str:
    """A name in the double quotes of SQL."""
    return '"' + name.replace('"', '""') + '"'


def metadata_rows(described: Description) -> list[tuple[str, str | None, bytes | None]]:
    """Rows (name, value, data) of the table of metadata."""
    rows: list[tuple[str, str | None, bytes | None]] = [
        (name, value, None) for name, value in described.entries().items()
    ]
    if described.encoder is not None:
        rows.append((ENCODER, None, described.encoder))
    return rows


def from_metadata_rows(
    rows: Iterable[tuple[str, str | None, bytes | None]], place: str
) -> Description:
    """Read the table of metadata back; `FormatError` if it makes no sense."""
    entries: dict[str, str] = {}
    encoder = None
    for name, value, data in rows:
        if name == ENCODER:
            encoder = None if data is None else bytes(data)
        elif value is not None:
            entries[name] = value
    return Description.from_entries(entries, encoder, place)
