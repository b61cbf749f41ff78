"""The table of stores: loads and queries beside the clients by hand."""

from __future__ import annotations

from _markdown import Row, markdown, number


def stores(rows: list[Row]) -> str:
    """Rows a second and milliseconds a query, ours and by hand."""
    header = ["store", "load, rows/s", "by hand", "query, ms", "by hand"]
    return markdown(
        header,
        [
            [
                row["store"] + (" (wall time)" if row["clock"] == "wall" else ""),
                number(row["load_rows_per_s"], 0),
                number(row["load_rows_per_s_by_hand"], 0),
                number(row["query_ms"], 2),
                number(row["query_ms_by_hand"], 2),
            ]
            for row in rows
        ],
    )
