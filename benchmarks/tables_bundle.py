"""The table of bundles: one file that classifies texts."""

from __future__ import annotations

from _markdown import Row, markdown, number


def bundles(rows: list[Row]) -> str:
    """Bytes, accuracy and speed beside float vectors and a dense head."""
    header = [
        "vectors",
        "file, MB",
        "weights fewer",
        "accuracy",
        "points lost",
        "texts/s",
        "one by one",
        "load and first, s",
    ]
    return markdown(
        header,
        [
            [
                row["method"],
                number(str(int(row["file_bytes"]) / 1e6), 2),
                f"{number(row['rate'], 0)}x" if float(row["rate"]) > 1 else "",
                number(str(100 * float(row["accuracy"])), 2),
                number(row["loss_points"], 2),
                number(row["texts_per_s"], 0),
                number(row["texts_per_s_single"], 0),
                number(row["first_s"], 2) if row["first_s"] else "",
            ]
            for row in rows
        ],
    )
