"""The table of pages that search themselves."""

from __future__ import annotations

from _markdown import Row, markdown, number


def pages(rows: list[Row]) -> str:
    """Size, and milliseconds to open and to answer in a browser."""
    header = [
        "codes",
        "page, MB",
        "opened, ms",
        "first answer, ms",
        "neighbours, ms",
        "95th percentile",
        "analogy, ms",
        "95th percentile",
        "whole page after a key, ms",
    ]
    columns = [
        ("opened_ms", 0), ("first_ms", 1), ("neighbours_ms", 1), ("neighbours_p95_ms", 1),
        ("analogy_ms", 1), ("analogy_p95_ms", 1), ("typed_ms", 0),
    ]  # fmt: skip
    return markdown(
        header,
        [
            [
                f"{number(row['words'], 0)} words x {row['n_bits']} bits, {row['method']}",
                number(str(int(row["page_bytes"]) / 1e6), 2),
                *(number(row[name], digits) for name, digits in columns),
            ]
            for row in rows
        ],
    )
