"""What the benchmark of large collections runs in processes of their own."""

from __future__ import annotations

import json
import os
import pickle
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

N_FEATURES = N_BITS = 300
# Rows of a row group, and of a shard
GROUP_ROWS, SHARD_ROWS = 1 << 16, 1 << 20
SEED = 0


def make_quantizer() -> Any:
    """The quantizer that is measured: the defaults, with signs, which any Hamming index takes."""
    from embcompress import IIQ

    return IIQ(n_bits=N_BITS, random_state=SEED)


def spectrum() -> Any:
    """Standard deviations: three strong directions, then a power law."""
    import numpy as np

    deviations = np.arange(1, N_FEATURES + 1, dtype=np.float32) ** np.float32(-0.4)
    deviations[:3] *= 3
    return deviations


def make_rows(first: int, n: int) -> Any:
    """Rows from `first` on, a multiple of GROUP_ROWS: the same for every size of file."""
    import numpy as np

    generator = np.random.default_rng([SEED, first])
    rows = generator.standard_normal((n, N_FEATURES), dtype=np.float32)
    rows *= spectrum()
    rows += np.float32(0.2)
    return rows


def make(path: str, n_rows: str) -> None:
    """Write a Parquet file of one column of lists of float32, a row group at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("vector", pa.list_(pa.float32(), N_FEATURES))])
    # random floats neither compress nor repeat
    with pq.ParquetWriter(path, schema, compression="none", use_dictionary=False) as writer:
        for first in range(0, int(n_rows), GROUP_ROWS):
            rows = make_rows(first, min(GROUP_ROWS, int(n_rows) - first))
            column = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), N_FEATURES)
            writer.write_table(pa.table([column], schema=schema), row_group_size=GROUP_ROWS)


def compress(path: str, folder: str, max_rows: str) -> None:
    """Fit and encode; print seconds of processor time by phase."""
    marks = [time.process_time()]
    from embcompress import scale

    source = scale.open_source(path)
    marks.append(time.process_time())
    quantizer = make_quantizer()
    scale.fit(quantizer, source, max_rows=int(max_rows) or None)
    marks.append(time.process_time())
    codes = scale.write_shards(quantizer, source, folder, rows_per_shard=SHARD_ROWS)
    marks.append(time.process_time())
    phases = ("start_s", "fit_s", "encode_s")
    seconds = {
        name: end - begin for name, begin, end in zip(phases, marks, marks[1:], strict=False)
    }
    print(json.dumps({"rows": len(codes), **seconds}))


def check(path: str, folder: str) -> None:
    """Compare the shards with rows that are made again, and a fit with one in memory."""
    import numpy as np

    from embcompress import scale

    shards = scale.open_shards(folder)
    shards.verify()
    groups = range(0, len(shards), GROUP_ROWS)
    for first in (groups[0], groups[len(groups) // 2], groups[-1]):
        rows = make_rows(first, min(GROUP_ROWS, len(shards) - first))
        expected = shards.encoder.encode(rows)
        if not np.array_equal(shards[first : first + len(rows)], expected):
            raise SystemExit(f"{folder}: codes from row {first} on are not those of the rows")
    rows = make_rows(0, GROUP_ROWS)
    in_memory = make_quantizer().fit_transform(rows)
    in_parts = scale.fit(make_quantizer(), np.array_split(rows, 7))
    if not np.array_equal(in_parts.transform(rows), in_memory):
        raise SystemExit("a fit on chunks is not that in memory")
    print(f"{path}: {len(shards)} codes checked")


def dask(path: str, folder: str, workers: str) -> None:
    """The same work on a cluster of processes with one thread each; 0 workers: without Dask."""
    from embcompress import scale

    if workers == "0":
        source = scale.open_source(path)
        print(json.dumps(_timed(lambda: _work(source, folder), lambda: 0.0)))
        return
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=int(workers), threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as cluster,
        Client(cluster) as client,
    ):
        client.run(_warm_up)
        array = scale.to_dask(path, rows_per_block=GROUP_ROWS)

        def worker_seconds() -> float:
            return sum(client.run(time.process_time).values())

        row = _timed(lambda: _work(array, folder), worker_seconds)
        row["worker_peak_rss_mb"] = max(client.run(_peak_rss_mb).values())
        print(json.dumps(row))


def _work(source: Any, folder: str) -> None:
    from embcompress import scale

    quantizer = scale.fit(make_quantizer(), source)
    scale.write_shards(quantizer, source, folder, rows_per_shard=GROUP_ROWS)


def _timed(call: Callable[[], None], other_seconds: Callable[[], float]) -> dict[str, float]:
    """Wall and processor seconds of a call, with those that other processes spent on it."""
    others, cpu, wall = other_seconds(), time.process_time(), time.perf_counter()
    call()
    wall = time.perf_counter() - wall
    cpu = time.process_time() - cpu
    return {"wall_s": wall, "cpu_s": cpu + other_seconds() - others}


def _warm_up() -> None:
    """Import in the worker what the work needs: starting up is not what is measured."""
    import pyarrow.parquet  # noqa: F401

    import embcompress.scale  # noqa: F401


def _peak_rss_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def sizes() -> None:
    """Bytes that travel: sums of a partition, the sampled rows, the encoder."""
    import numpy as np

    from embcompress.quantizers._moments import MomentSums

    sums = MomentSums(N_FEATURES, normalize=True)
    rows = make_rows(0, GROUP_ROWS)
    sums.add(rows)
    quantizer = make_quantizer().fit(rows)
    needs = quantizer._needs(N_FEATURES, N_BITS)
    sample = np.empty((needs.limit, N_FEATURES), dtype=np.float32)
    print(
        json.dumps(
            {
                "sums_bytes": len(pickle.dumps(sums)),
                "sample_bytes": sample.nbytes,
                "encoder_bytes": len(pickle.dumps(quantizer.encoder_)),
            }
        )
    )


CHILDREN: dict[str, Callable[..., None]] = {
    "make": make, "compress": compress, "check": check, "dask": dask, "sizes": sizes,
}  # fmt: skip


def file_bytes(path: str | os.PathLike[str]) -> int:
    """Size of a file."""
    return Path(path).stat().st_size
