"""Rows as PostgreSQL's COPY takes them in binary: no text is made of bits, none is parsed."""

from __future__ import annotations

import numpy as np

from embcompress.stores._rows import Rows

__all__ = ["COPY_END", "COPY_START", "copy_rows"]

# signature, flags, length of the header extension
COPY_START = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_END = b"\xff\xff"
_NULL = (-1).to_bytes(4, "big", signed=True)


def copy_rows(batch: Rows, n_bits: int) -> bytes:
    """Rows (id bigint, code bit(n_bits), key text), without the start and the end of a stream.

    Parameters
    ----------
    batch : Rows
    n_bits : int

    Returns
    -------
    bytes
    """
    width = batch.codes.shape[1]
    fields = np.empty(
        len(batch),
        dtype=[
            ("n_fields", ">i2"), ("id_bytes", ">i4"), ("id", ">i8"), ("code_bytes", ">i4"),
            ("n_bits", ">i4"), ("code", "u1", (width,)),
        ],
    )  # fmt: skip
    fields["n_fields"], fields["id_bytes"], fields["id"] = 3, 8, batch.ids
    fields["code_bytes"], fields["n_bits"], fields["code"] = 4 + width, n_bits, batch.codes
    data, size = fields.tobytes(), fields.itemsize
    parts = []
    keys = [None] * len(batch) if batch.keys is None else batch.keys
    for place, key in enumerate(keys):
        parts.append(data[place * size : (place + 1) * size])
        if key is None:
            parts.append(_NULL)
        else:
            text = key.encode()
            parts += [len(text).to_bytes(4, "big"), text]
    return b"".join(parts)
