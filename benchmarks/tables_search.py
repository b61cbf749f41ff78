"""The tables of the search."""

from __future__ import annotations

from statistics import mean

from _markdown import Row, markdown, number


def _grid(rows: list[Row], question: str) -> str:
    rows = [row for row in rows if row["question"] == question]
    batches = list(dict.fromkeys(row["batch"] for row in rows))
    cells = list(dict.fromkeys((row["n_codes"], row["n_bits"]) for row in rows))
    found = {(row["n_codes"], row["n_bits"], row["batch"], row["name"]): row for row in rows}
    header = ["codes x bits"]
    for batch in batches:
        header += [f"batch {batch}, µs/query", "FAISS by ours"]
    body = []
    for n_codes, n_bits in cells:
        line = [f"{int(n_codes):,} x {n_bits}"]
        for batch in batches:
            line.append(number(found[n_codes, n_bits, batch, "ours"]["us_per_query"], 0))
            ratio = number(found[n_codes, n_bits, batch, "faiss"]["ratio_to_ours"], 2)
            padded = found.get((n_codes, n_bits, batch, "faiss, padded"))
            also = f", padded {number(padded['ratio_to_ours'], 2)}" if padded else ""
            line.append(f"{ratio}{also}")
        body.append(line)
    return markdown(header, body)


def cpu(rows: list[Row]) -> str:
    """Processor time on one thread."""
    return _grid(rows, "cpu")


def wall(rows: list[Row]) -> str:
    """Wall time on two threads."""
    return _grid(rows, "wall")


def peers(rows: list[Row]) -> str:
    """All contenders at one size."""
    rows = [
        r for r in rows if (r["question"], r["n_codes"], r["n_bits"]) == ("cpu", "400000", "256")
    ]
    batches = list(dict.fromkeys(row["batch"] for row in rows))
    found = {(row["name"], row["batch"]): row for row in rows}
    names = sorted(
        {row["name"] for row in rows}, key=lambda n: float(found[n, batches[0]]["us_per_query"])
    )
    header = [
        "search",
        *(f"µs/query, batch {batch}" for batch in batches),
        *(f"by ours, {b}" for b in batches),
    ]
    return markdown(
        header,
        [
            [
                {"ours": "HammingIndex"}.get(name, name),
                *(number(found[name, b]["us_per_query"], 0) for b in batches),
                *(number(found[name, b]["ratio_to_ours"], 1) for b in batches),
            ]
            for name in names
        ],
    )


def bandwidth(rows: list[Row]) -> str:
    """Bytes read per second."""
    rows = [row for row in rows if row["question"] == "bandwidth"]
    return markdown(
        ["batch 1, 400,000 x 256", "µs", "GB/s"],
        [
            [{"ours": "HammingIndex"}.get(r["name"], r["name"]), number(r["us_per_query"], 0),
             number(r["gb_per_s"], 1)]
            for r in rows
        ],
    )  # fmt: skip


def asymmetric(rows: list[Row]) -> str:
    """Cost of real-valued queries."""
    rows = [row for row in rows if row["question"] == "asymmetric"]
    names = list(dict.fromkeys(row["name"] for row in rows))
    cells = list(dict.fromkeys((row["n_bits"], row["batch"]) for row in rows))
    found = {(row["n_bits"], row["batch"], row["name"]): row for row in rows}
    header = [
        "bits, batch",
        "Hamming, µs/query",
        *(n.partition(", ")[2] for n in names if n != "ours"),
    ]
    body = []
    for cell in cells:
        line = [f"{cell[0]}, {cell[1]}", number(found[*cell, "ours"]["us_per_query"], 0)]
        for name in names:
            if name != "ours":
                row = found[*cell, name]
                line.append(
                    f"{number(row['us_per_query'], 0)} ({number(row['ratio_to_ours'], 1)}x)"
                )
        body.append(line)
    return markdown(header, body)


def first(rows: list[Row]) -> str:
    """Processor time of the first search of a process."""
    rows = [row for row in rows if row["question"] == "first"]
    return markdown(
        ["engine", "first search, ms"],
        [[row["name"], number(str(float(row["us_per_query"]) / 1000), 0)] for row in rows],
    )


def recall(rows: list[Row]) -> str:
    """Recall of codes, means over seeds."""
    cells = list(dict.fromkeys((row["method"], row["way"], row["bytes"]) for row in rows))
    body = []
    for method, way, n_bytes in cells:
        same = [r for r in rows if (r["method"], r["way"], r["bytes"]) == (method, way, n_bytes)]
        share, us = (mean(float(row[name]) for row in same) for name in ("recall", "us_per_query"))
        body.append([method, way, n_bytes, f"{share:.3f}", f"{us:.0f}"])
    return markdown(["codes", "scores", "bytes", "recall@10", "µs/query"], body)


def approximate(rows: list[Row]) -> str:
    """Effort and time of approximate kinds."""
    return markdown(
        ["kind", "recall wanted", "chosen", "recall@10", "µs/query", "built in CPU s"],
        [
            [
                row["kind"], row["recall_wanted"], row["effort"], number(row["recall"], 3),
                number(row["us_per_query"], 1), row["build_cpu_s"],
            ]
            for row in rows
        ],
    )  # fmt: skip
