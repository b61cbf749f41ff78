"""The tables of the benchmark of pruning."""

from __future__ import annotations

from collections.abc import Sequence

from _markdown import Row, markdown, number

NAMES = {
    "mlp-trec": "TREC",
    "mlp-imdb": "IMDB",
    "gru-digits": "digits",
    "resnet-cifar10": "CIFAR-10",
    "search-trec": "TREC",
}
# the dense model, and what is done to it without a rate
NO_RATE = ("dense", "trained on")


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
                "" if row["method"] in NO_RATE else f"{float(row['rate']):g}x",
                number(row["n_kept"], 0),
                _percent(row),
                "" if row["method"] == "dense" else number(row["loss_points"], 1),
                row["n_seeds"],
                number(row["cpu_s"], 0),
            ]
            for row in rows
        ],
    )


def stored(rows: list[Row]) -> str:
    """Bytes of the weights that are left, and of the index that says where they are."""
    header = ["data: method", "rate", "weights, kB", "index, kB", "index per weight, bytes"]
    return markdown(
        header,
        [
            [
                f"{NAMES.get(row['experiment'], row['experiment'])}: {row['method']}",
                f"{float(row['rate']):g}x",
                number(str(int(row["weight_bytes"]) / 1000), 1),
                number(str(int(row["index_bytes"]) / 1000), 1),
                number(str(int(row["index_bytes"]) / int(row["n_kept"])), 2),
            ]
            for row in rows
            if row.get("index_bytes")
        ],
    )


def search(rows: list[Row]) -> str:
    """Search from blocks against training every candidate, seed by seed and in the mean."""
    header = [
        "seed: way",
        "rates of the layers",
        "rate",
        "validation, %",
        "test, %",
        "candidates trained",
        "less training",
        "CPU seconds",
    ]
    seeds = [[f"{row['seed']}: {row['method']}", *_found(row)] for row in rows]
    means = []
    for way in dict.fromkeys(row["method"] for row in rows):
        group = [row for row in rows if row["method"] == way]
        mean: Row = {
            name: str(sum(float(row[name]) for row in group) / len(group))
            for name in ("rate_reached", "validation", "test", "saving", "n_tried", "cpu_s")
        }
        means.append([f"mean: {way}", *_found({**mean, "rates": "", "n_candidates": ""})])
    return markdown(header, [*seeds, *means])


def _found(row: Row) -> Sequence[str]:
    of = f" of {row['n_candidates']}" if row["n_candidates"] else ""
    return (
        row["rates"].replace(" ", " / "),
        number(row["rate_reached"], 2),
        number(str(100 * float(row["validation"])), 1),
        number(str(100 * float(row["test"])), 1),
        f"{float(row['n_tried']):.3g}{of}",
        f"{float(row['saving']):.3g}x",
        number(row["cpu_s"], 0),
    )


def _percent(row: Row) -> str:
    text = number(str(100 * float(row["accuracy"])), 1)
    if not row["accuracy_sd"]:
        return text
    return f"{text} ± {number(str(100 * float(row['accuracy_sd'])), 1)}"
