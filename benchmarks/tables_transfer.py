"""The tables of the benchmark of augmentation in embedding space."""

from __future__ import annotations

from collections.abc import Callable

from _markdown import Row, markdown, number

NAMES = {"mobilenet_v2": "MobileNetV2", "squeezenet11": "SqueezeNet 1.1"}


def kept(rows: list[Row]) -> str:
    """Share of the gain of raw augmentation, fixed views, classes for the report."""
    rows = _accuracy(rows, "report", "fixed")
    return _by_shots(rows, lambda row: "" if row["method"] == "none" else _interval(row), "kept")


def accuracy(rows: list[Row]) -> str:
    """Accuracy on clean / augmented test images, fixed views, classes for the report."""
    return _by_shots(_accuracy(rows, "report", "fixed"), _pair, "clean / augmented")


def accuracy_random(rows: list[Row]) -> str:
    """The same with views that are drawn."""
    return _with_kept(_accuracy(rows, "report", "random"))


def accuracy_all(rows: list[Row]) -> str:
    """The same with all 17 classes."""
    return _with_kept(_accuracy(rows, "all", "fixed"))


def cost(rows: list[Row]) -> str:
    """MACs and seconds of ten views."""
    header = [
        "backbone: operator",
        "MACs a view",
        "fewer MACs a view",
        "fewer MACs in all",
        "fewer seconds a view",
        "fewer seconds in all",
        "with the fit",
    ]
    return markdown(
        header,
        [
            [
                f"{NAMES[row['backbone']]}: {row['method']}",
                number(row["view_macs"], 0),
                _times(row["per_view_macs"], 0),
                _times(row["total_macs"], 2),
                _times(row["per_view_seconds"], 0),
                _times(row["total_seconds"], 2),
                _times(row["total_seconds_with_fit"], 2),
            ]
            for row in rows
            if row["part"] == "cost"
        ],
    )


def curve(rows: list[Row]) -> str:
    """Kept gain of each operator against its cost, MobileNetV2."""
    costs = {
        row["method"]: row
        for row in rows
        if row["part"] == "cost" and row["backbone"] == "mobilenet_v2"
    }
    found = {
        (row["method"], row["shots"]): row
        for row in _accuracy(rows, "report", "fixed")
        if row["backbone"] == "mobilenet_v2"
    }
    shots = list(dict.fromkeys(key[1] for key in found))
    return markdown(
        ["operator", "MACs a view", *(f"kept, {s} a class" for s in shots)],
        [
            [name, number(row["view_macs"], 0), *(_percent(found[name, s]["kept"]) for s in shots)]
            for name, row in sorted(costs.items(), key=lambda item: float(item[1]["view_macs"]))
        ],
    )


def displacement(rows: list[Row]) -> str:
    """Unexplained displacement of each transform."""
    rows = [row for row in rows if row["part"] == "displacement"]
    transforms = list(dict.fromkeys(row["transform"] for row in rows))
    found = {(row["backbone"], row["method"], row["transform"]): row["rho"] for row in rows}
    lines = dict.fromkeys((row["backbone"], row["method"]) for row in rows)
    return markdown(
        ["backbone: operator", *transforms],
        [
            [f"{NAMES[b]}: {m}", *(number(found[b, m, name], 2) for name in transforms)]
            for b, m in lines
        ],
    )


def pruned(rows: list[Row]) -> str:
    """An augmented head, pruned and compiled."""
    return markdown(
        ["head", "clean, %", "augmented, %", "draws"],
        [
            [row["method"], _percent(row["clean"]), _percent(row["augmented"]), row["n_draws"]]
            for row in rows
            if row["part"] == "pruned"
        ],
    )


def _accuracy(rows: list[Row], classes: str, views: str) -> list[Row]:
    return [
        row
        for row in rows
        if row["part"] == "accuracy" and row["classes"] == classes and row["views"] == views
    ]


def _by_shots(rows: list[Row], cell: Callable[[Row], str], unit: str) -> str:
    shots = list(dict.fromkeys(row["shots"] for row in rows))
    found = {(row["backbone"], row["method"], row["shots"]): cell(row) for row in rows}
    lines = dict.fromkeys((row["backbone"], row["method"]) for row in rows)
    return markdown(
        ["backbone: method", *(f"{s} a class, {unit}" for s in shots)],
        [[f"{NAMES[b]}: {m}", *(found[b, m, s] for s in shots)] for b, m in lines],
    )


def _with_kept(rows: list[Row]) -> str:
    def cell(row: Row) -> str:
        plain = row["method"] in ("none", "raw")
        return _pair(row) + ("" if plain else f" ({_percent(row['kept'], 0)} %)")

    return _by_shots(rows, cell, "clean / augmented")


def _pair(row: Row) -> str:
    return f"{_percent(row['clean'])} / {_percent(row['augmented'])}"


def _interval(row: Row) -> str:
    low, high = (_percent(row[key], 0) for key in ("kept_low", "kept_high"))
    text = _percent(row["kept"], 0)
    return text if row["method"] == "raw" else f"{text} [{low}, {high}]"


def _percent(text: str, digits: int = 1) -> str:
    return number(str(100 * float(text)), digits)


def _times(text: str, digits: int) -> str:
    return "no MACs" if text == "inf" else f"{number(text, digits)}x"


def pairs(rows: list[Row]) -> str:
    """All 17 classes with other numbers of unlabelled images."""
    shown = [row for row in rows if row["part"] == "pairs"]
    shown += [
        row
        for row in _accuracy(rows, "all", "fixed")
        if row["backbone"] == "mobilenet_v2"
        and row["shots"] in ("5", "20")
        and row["method"] in ("none", "raw", "default")
    ]
    shown = [row for row in shown if row["method"] not in ("none", "raw")]
    shown.sort(key=lambda row: (row["method"], int(row["shots"]), int(row["n_pairs"] or 300)))
    return markdown(
        ["method", "images a class", "unlabelled", "kept gain, %"],
        [[row["method"], row["shots"], row["n_pairs"] or "300", _interval(row)] for row in shown],
    )
