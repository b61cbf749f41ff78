"""More vectors than memory holds: fit, encode, shard and search them in parts or on Dask.

Quantizers are fitted on files, tables, chunks and Dask collections as if these were one matrix
(:func:`fit`), codes are written as they are made (:func:`transform`, :func:`write_shards`), and
searched shard by shard (:class:`ShardedIndex`).
"""

from __future__ import annotations

from embcompress.scale.collections import to_dask
from embcompress.scale.fitting import fit, transform
from embcompress.scale.opened import ShardedCodes, open_shards
from embcompress.scale.sharded_index import ShardedIndex
from embcompress.scale.shards import write_shards
from embcompress.scale.sources import ArraySource, ChunkSource, Source, open_source

__all__ = [
    "ArraySource",
    "ChunkSource",
    "ShardedCodes",
    "ShardedIndex",
    "Source",
    "fit",
    "open_shards",
    "open_source",
    "to_dask",
    "transform",
    "write_shards",
]
