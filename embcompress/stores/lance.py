"""LanceDB: a folder of columnar tables.

Codes are in a column ``code`` of fixed-size lists of uint8, which LanceDB takes as packed bits for
the metric ``hamming``; it has no bit order of its own, so bytes stay as they are. The metadata are
those of the table's schema, which makes every load one commit.
"""

from __future__ import annotations

import base64
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from embcompress._optional import require
from embcompress.codes import Codes, code_bytes
from embcompress.stores._description import Description
from embcompress.stores._rows import Ids, Rows
from embcompress.stores._sql import ENCODER
from embcompress.stores._ties import nearest_with_ties
from embcompress.stores._urls import StoreURL
from embcompress.stores.base import Change, Found, Store

__all__ = ["LanceStore"]

_FEATURE = "the LanceDB store"
_PREFIX = "embcompress."
_SIGNS = {"No space left": errno.ENOSPC, "File too large": errno.EFBIG}


class LanceStore(Store):
    """Codes in a table of a LanceDB folder: ``lancedb:///folder?table=words``."""

    bit_order = "big"

    def __init__(self, url: StoreURL) -> None:
        super().__init__(url)
        url.allow({"table"})
        self._folder = url.file
        name = url.table()
        if len(name) > 1:
            raise ValueError(f"{url.shown}: name the table without a schema")
        self._name = name[0]
        self._client = require("lancedb", extra="stores", feature=_FEATURE)
        self._pyarrow = require("pyarrow", extra="stores", feature=_FEATURE)
        self._table: Any = None

    @property
    def place(self) -> str:
        """Folder and table."""
        return f"{self._folder}, table {self._name}"

    @property
    def _path(self) -> Path:
        return self._folder / f"{self._name}.lance"

    def close(self) -> None:
        """Forget the table."""
        self._table = None

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:  # what the client raises, whatever went wrong
            text = " ".join(str(error).split())
            for sign, code in _SIGNS.items():
                if sign in text:
                    message = f"LanceDB: {sign.lower()}; nothing was written"
                    raise OSError(code, message, str(self._folder)) from error
            raise OSError(errno.EIO, f"LanceDB: {text[:500]}", str(self._path)) from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        yield  # every load is one commit or one rename

    def _open(self) -> Any:
        if self._table is None:
            self._table = self._client.connect(self._folder).open_table(self._name)
        return self._table

    def _read(self) -> Description | None:
        if not self._path.is_dir():
            return None
        stored = self._open().schema.metadata or {}
        entries = {
            name.decode().removeprefix(_PREFIX): value.decode()
            for name, value in stored.items()
            if name.decode().startswith(_PREFIX)
        }
        if not entries:
            lists = [
                f"{field.name} {field.type}"
                for field in self._open().schema
                if "list" in str(field.type)
            ]
            raise self._foreign(", ".join(lists))
        encoder = entries.pop(ENCODER, None)
        data = None if encoder is None else base64.b64decode(encoder)
        return Description.from_entries(entries, data, self.place)

    def _load(self, batches: Iterator[Rows], described: Description, change: Change) -> None:
        failures: list[BaseException] = []
        reader = self._reader(_watched(batches, failures), described)
        try:
            if change == "create":
                self._create(reader)
            elif change == "replace" or self._open().schema.metadata != reader.schema.metadata:
                self._overwrite(reader, keep=change == "merge")
            else:
                merge = self._open().merge_insert("id")
                merge.when_matched_update_all().when_not_matched_insert_all().execute(reader)
        except RuntimeError:
            if failures:  # what went wrong on our side, which the client shows as a text of its own
                raise failures[0] from None
            raise
        finally:
            self._table = None

    def _create(self, reader: Any) -> None:
        """Write a new table beside its place and rename it, so that nobody sees half of it."""
        parent = self._folder.parent
        if not parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, "the output folder does not exist", str(parent))
        is_new = not self._folder.exists()
        self._folder.mkdir(exist_ok=True)
        temporary = tempfile.mkdtemp(prefix=f".{self._name}.", suffix=".tmp", dir=self._folder)
        try:
            self._client.connect(temporary).create_table(
                self._name, data=reader, schema=reader.schema
            )
            os.rename(Path(temporary) / self._path.name, self._path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            if is_new:
                shutil.rmtree(self._folder, ignore_errors=True)
            raise
        shutil.rmtree(temporary, ignore_errors=True)

    def _overwrite(self, reader: Any, *, keep: bool) -> None:
        """Write the whole table as a new version; metadata change in no other way."""
        database = self._client.connect(self._folder)
        data = reader
        if keep:
            new = reader.read_all()
            old = self._open().to_arrow().replace_schema_metadata(reader.schema.metadata)
            compute = require("pyarrow.compute", extra="stores", feature=_FEATURE)
            stays = compute.invert(compute.is_in(old["id"], value_set=new["id"]))
            data = self._pyarrow.concat_tables([old.filter(stays), new])
        database.create_table(self._name, data=data, schema=reader.schema, mode="overwrite")

    def _reader(self, batches: Iterator[Rows], described: Description) -> Any:
        arrow = self._pyarrow
        metadata = described.entries()
        if described.encoder is not None:
            metadata[ENCODER] = base64.b64encode(described.encoder).decode()
        width = code_bytes(described.n_bits)
        schema = arrow.schema(
            [
                ("id", arrow.int64()),
                ("code", arrow.list_(arrow.uint8(), width)),
                ("key", arrow.string()),
            ],
            metadata={_PREFIX + name: value for name, value in metadata.items()},
        )
        records = (self._record(batch, schema) for batch in batches)
        return arrow.RecordBatchReader.from_batches(schema, records)

    def _record(self, batch: Rows, schema: Any) -> Any:
        arrow = self._pyarrow
        flat = arrow.array(np.ascontiguousarray(batch.codes).reshape(-1))
        keys = [None] * len(batch) if batch.keys is None else batch.keys
        columns = [
            arrow.array(batch.ids),
            arrow.FixedSizeListArray.from_arrays(flat, batch.codes.shape[1]),
            arrow.array(keys, arrow.string()),
        ]
        return arrow.record_batch(columns, schema=schema)

    def _nearest(self, queries: Codes, k: int) -> Iterator[Found]:
        table = self._open()
        for query in queries:

            def fetch(size: int, query: Codes = query) -> Found:
                search = table.search(query, vector_column_name="code").distance_type("hamming")
                found = search.limit(size).select(["id", "_distance"]).to_arrow()
                distances = found["_distance"].to_numpy().astype(np.int32)
                return distances, found["id"].to_numpy()

            found = nearest_with_ties(fetch, k)
            assert found is not None  # there is no largest number of rows
            yield found

    def _count(self) -> int:
        return self._open().count_rows()

    def _find(self, key: str) -> int | None:
        text = key.replace("'", "''")
        found = self._open().search().where(f"key = '{text}'").select(["id"]).to_arrow()
        return min(found["id"].to_pylist(), default=None)

    def _codes(self, ids: Ids) -> dict[int, bytes]:
        found = self._among(ids, "code")
        return {i: bytes(code) for i, code in found}

    def _keys(self, ids: Ids) -> dict[int, str | None]:
        return dict(self._among(ids, "key"))

    def _among(self, ids: Ids, column: str) -> list[tuple[int, Any]]:
        some = ", ".join(map(str, ids.tolist())) or "-1"
        search = self._open().search().where(f"id IN ({some})").select(["id", column])
        found = search.limit(max(len(ids), 1)).to_arrow()
        return list(zip(found["id"].to_pylist(), found[column].to_pylist(), strict=True))


def _watched(batches: Iterator[Rows], failures: list[BaseException]) -> Iterator[Rows]:
    """The same batches; an error on the way is kept, since the client hides its type."""
    try:
        yield from batches
    except BaseException as error:
        failures.append(error)
        raise
