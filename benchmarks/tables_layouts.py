"""The table of the storage layouts."""

from __future__ import annotations

from _markdown import Row, markdown, number


def sizes(rows: list[Row]) -> str:
    """Index of the layout that suits each structure, beside that of CSR."""
    header = [
        "zeros",
        "kept weights, bytes",
        "layout",
        "its index, bytes",
        "index of CSR",
        "share of CSR",
        "fewest bytes in all",
    ]
    smallest = {row["structure"]: row["layout"] for row in rows if row["smallest"] == "True"}
    return markdown(
        header,
        [
            [
                f"{row['structure']} ({row['shape']})",
                number(row["weight_bytes"], 0),
                f"`{row['layout']}`",
                number(row["index_bytes"], 0),
                number(row["csr_index_bytes"], 0),
                f"{100 * int(row['index_bytes']) / int(row['csr_index_bytes']):.1f} %",
                f"`{smallest[row['structure']]}`",
            ]
            for row in rows
            if row["named"] == "True"
        ],
    )
