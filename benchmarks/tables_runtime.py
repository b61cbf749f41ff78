"""The tables of the benchmark of the runtime."""

from __future__ import annotations

from _markdown import Row, markdown, number

SPARSITIES = ("0.5", "0.75", "0.9", "0.95")


def products(rows: list[Row]) -> str:
    """Linear layers or cells: times faster than the best dense product of the same precision."""
    found = {(row["shape"], row["batch"], row["sparsity"], row["name"]): row for row in rows}
    cells = list(dict.fromkeys((row["shape"], row["batch"]) for row in rows))
    percents = [f"{100 * float(s):g} %" for s in SPARSITIES]
    header = ["shape, batch", "best dense float32, µs", *(f"float32, {p}" for p in percents)]
    header += ["best dense int8, µs", *(f"int8, {p}" for p in percents)]
    body = []
    for shape, batch in cells:
        line = [f"{shape}, {batch}"]
        for precision in ("float32", "int8"):
            ours = [found[shape, batch, s, f"ours {precision}"] for s in SPARSITIES]
            ratios = [float(row[f"best_dense_{precision}"]) for row in ours]
            dense = [ratio * float(row["us"]) for ratio, row in zip(ratios, ours, strict=True)]
            line.append(number(str(sorted(dense)[len(dense) // 2]), 0))
            line += [f"{ratio:.1f}x" for ratio in ratios]
        body.append(line)
    return markdown(header, body)


def contenders(rows: list[Row]) -> str:
    """Microseconds of every contender, cell by cell."""
    cells = list(dict.fromkeys((r["shape"], r["batch"], r["sparsity"]) for r in rows))
    names = list(dict.fromkeys(row["name"] for row in rows))
    found = {(r["shape"], r["batch"], r["sparsity"], r["name"]): r for r in rows}
    header = ["shape, batch, sparsity", *names]
    body = []
    for cell in cells:
        line = [f"{cell[0]}, {cell[1]}, {100 * float(cell[2]):.4g} %"]
        for name in names:
            row = found.get((*cell, name))
            if row is None:
                line.append("")
                continue
            ratio = float(row["best_dense_float32"])
            faster = f" ({ratio:.1f}x)" if name.startswith("ours") else ""
            line.append(number(row["us"], 0) + faster)
        body.append(line)
    return markdown(header, body)


def digits(rows: list[Row]) -> str:
    """The recurrent head: our time, and torch's by it."""
    header = ["precision, batch, sparsity", "torch, µs", "ours, µs", "faster"]
    body = []
    for row in rows:
        if not row["name"].startswith("ours"):
            continue
        ratio, time = float(row["best_dense_float32"]), float(row["us"])
        label = f"{row['question'].partition(', ')[2]}, {row['batch']}"
        body.append(
            [
                f"{label}, {100 * float(row['sparsity']):.3g} %",
                number(str(ratio * time), 0), number(row["us"], 0), f"{ratio:.1f}x",
            ]
        )  # fmt: skip
    return markdown(header, body)


def limit(rows: list[Row]) -> str:
    """Share of what one core can do."""
    header = ["shape, batch, sparsity", "µs", "limit, µs", "share"]
    return markdown(
        header,
        [
            [
                f"{row['shape']}, {row['batch']}, {100 * float(row['sparsity']):g} %",
                number(row["us"], 1), number(row["limit_us"], 1),
                f"{100 * float(row['share']):.0f} %",
            ]
            for row in rows
        ],
    )  # fmt: skip


def start(rows: list[Row]) -> str:
    """Seconds of a new process."""
    return markdown(
        ["step", "CPU seconds"], [[row["name"], number(row["seconds"], 2)] for row in rows]
    )
