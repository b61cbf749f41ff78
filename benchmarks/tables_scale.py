"""The tables of large collections: one process, Dask, and what follows for a billion vectors."""

from __future__ import annotations

from _markdown import Row, markdown, number

# As in _scale_parts.py, which the rows were measured with.
_BLOCK_ROWS, _N_FEATURES, _CODE_BYTES = 1 << 16, 300, 38
_MANY = 1_000_000_000
_WORKERS = (1, 8, 64, 256)


def one_process(rows: list[Row]) -> str:
    """Time and memory of one process, by number of rows."""
    header = [
        "IIQ, 300 bits",
        "vectors",
        "CPU seconds",
        "of these start",
        "fit",
        "encode",
        "vectors per CPU second",
        "peak memory, MB",
    ]
    return markdown(
        header,
        [
            [
                row["method"],
                number(row["rows"], 0),
                *(number(row[name], 1) for name in ("cpu_s", "start_s", "fit_s", "encode_s")),
                number(row["vectors_per_cpu_s"], 0),
                number(row["peak_rss_mb"], 0),
            ]
            for row in rows
            if row["part"] == "one process"
        ],
    )


def dask(rows: list[Row]) -> str:
    """The same work without Dask and on its workers."""
    header = [
        "processes",
        "vectors",
        "wall seconds",
        "times as fast",
        "CPU seconds",
        "CPU overhead",
        "peak memory of a worker, MB",
    ]
    return markdown(
        header,
        [
            [
                row["method"],
                number(row["rows"], 0),
                number(row["wall_s"], 1),
                f"{number(row['speedup'], 2)}x",
                number(row["cpu_s"], 1),
                f"{100 * float(row['cpu_overhead']):+.0f} %",
                number(row["worker_peak_rss_mb"], 0) if row["workers"] != "0" else "",
            ]
            for row in rows
            if row["part"] == "dask"
        ],
    )


def billion(rows: list[Row]) -> str:
    """A billion vectors on paper: from the measured cost of a vector and bytes of a partition."""
    processes = [row for row in rows if row["method"] == "fit on all rows"]
    workers = [row for row in rows if row["part"] == "dask" and row["workers"] == "2"]
    sizes = [row for row in rows if row["part"] == "bytes"]
    if len(processes) < 2 or not workers or not sizes:
        return "Not measured yet: run `python benchmarks/run.py scale`.\n"
    fixed, each = _cost(processes[0], processes[-1])
    each *= 1 + float(workers[0]["cpu_overhead"])
    partial, sample, encoder = (
        int(sizes[0][name]) for name in ("sums_bytes", "sample_bytes", "encoder_bytes")
    )
    header = [
        "workers of one core",
        "minutes",
        "memory per worker, MB",
        "network per worker, MB",
        "read per worker, GB",
        "codes written per worker, GB",
    ]
    body = []
    for n in _WORKERS:
        share = _MANY / n
        travels = share / _BLOCK_ROWS * partial + sample / n + encoder
        body.append(
            [
                str(n),
                f"{(fixed + share * each) / 60:,.1f}",
                number(workers[0]["worker_peak_rss_mb"], 0),
                f"{travels / 1e6:,.0f}",
                f"{2 * share * 4 * _N_FEATURES / 1e9:,.0f}",
                f"{share * _CODE_BYTES / 1e9:,.2f}",
            ]
        )
    return markdown(header, body)


def _cost(few: Row, many: Row) -> tuple[float, float]:
    """Seconds that do not depend on the number of vectors, and seconds of each vector."""
    (n, seconds), (more, longer) = ((int(row["rows"]), float(row["cpu_s"])) for row in (few, many))
    each = (longer - seconds) / (more - n)
    return max(seconds - n * each, 0.0), each


def gpu(rows: list[Row]) -> str:
    """Fit and encode on a GPU and on the processor beside it."""
    header = ["1,000,000 x 300", "fit, GPU, s", "fit, processor, s", "encode, GPU, s"]
    header += ["encode, processor, s", "bits that differ, same fit", "own fit"]
    body = []
    for row in rows:
        times = (
            row[f"{what}_{where}_s"] for what in ("fit", "encode") for where in ("cuda", "numpy")
        )
        n_bits = int(row["rows"]) * 300
        body.append([
            row["quantizer"], *(number(time, 3) for time in times),
            f"{row['differing_bits_same_fit']} of {n_bits:,}",
            f"{100 * float(row['share_differing_own_fit']):.2g} %",
        ])  # fmt: skip
    return markdown(header, body)
