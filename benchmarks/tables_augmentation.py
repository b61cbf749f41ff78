"""The tables of augmentation in embedding space."""

from __future__ import annotations

from _markdown import Row, markdown, number


def speed(rows: list[Row]) -> str:
    """Seconds to fit, embeddings a minute."""
    header = ["operator", "noise", "fit, s", "MACs a view", "million embeddings a minute"]
    body = [
        [
            row["operator"],
            row["noise"],
            number(row["fit_cpu_seconds"], 2),
            f"{int(row['macs']):,}",
            f"{float(row['embeddings_per_cpu_minute']) / 1e6:.1f}",
        ]
        for row in rows
    ]
    return markdown(header, body)
