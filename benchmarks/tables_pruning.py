"""The tables of the benchmark of pruning."""

from __future__ import annotations

from _markdown import Row, markdown, number

NAMES = {
    "mlp-trec": "TREC",
    "mlp-imdb": "IMDB",
    "gru-digits": "digits",
    "resnet-cifar10": "CIFAR-10",
}


def results(rows: list[Row]) -> str:
    """All experiments: accuracy of each way of pruning, and what it lost to the dense model."""
    header = [
        "data: method",
        "rate",
        "weights kept",
        "accuracy, %",
        "lost, points",
        "seeds",
        "CPU seconds",
    ]
    return markdown(
        header,
        [
            [
                f"{NAMES.get(row['experiment'], row['experiment'])}: {row['method']}",
                "" if row["method"] == "dense" else f"{float(row['rate']):g}x",
                number(row["n_kept"], 0),
                _percent(row),
                "" if row["method"] == "dense" else number(row["loss_points"], 1),
                row["n_seeds"],
                number(row["cpu_s"], 0),
            ]
            for row in rows
        ],
    )


def _percent(row: Row) -> str:
    text = number(str(100 * float(row["accuracy"])), 1)
    if not row["accuracy_sd"]:
        return text
    return f"{text} ± {number(str(100 * float(row['accuracy_sd'])), 1)}"
