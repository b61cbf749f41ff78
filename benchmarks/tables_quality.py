"""Tables of the benchmark of all methods."""

from __future__ import annotations

from _markdown import Row, markdown, number

# what a table calls the methods of the benchmark, in its order
_METHODS = {
    "float": "float",
    "float-abtt": "float, centred, directions removed",
    "iiq-2": "IIQ, 2 bits per direction",
    "iiq": "IIQ",
    "iiq-1": "IIQ, one rotation (the paper's form)",
    "sign": "Sign zero",
    "sign-mean": "Sign mean",
    "sign-median": "Sign median",
    "lsh": "LSH orthogonal",
    "pcasign": "PCASign",
    "itq": "ITQ",
    "faiss-itq": "ITQ of FAISS",
    "pruned": "magnitude pruning",
    "pq": "PQ",
    "pq-abtt": "PQ, centred, directions removed",
    "opq": "OPQ",
    "rabitq": "RaBitQ, + 8 bytes",
    "eden1": "EDEN 1 bit, + 8 bytes",
    "nlb": "near-lossless binarization",
}
_FILES = {
    "enwiki_glove300_40k": ("GloVe-300", (300, 150, 75)),
    "enwiki_sgns300_50k": ("SGNS-300", (300, 150, 75)),
    "enwiki_glove100_40k": ("GloVe-100", (100, 50)),
}
_TASKS = {
    "similarity": "Spearman",
    "analogy": "3CosAdd accuracy",
    "categorization": "purity",
    "text classification": "accuracy",
    "retrieval": "recall@10",
}
_WITHOUT_BITS = ("float", "float-abtt")


class _Found:
    """Rows of the benchmark of all methods, to be looked up."""

    def __init__(self, rows: list[Row]) -> None:
        self._found = {
            (
                row["file"],
                row["method"],
                row["n_bits"],
                row["scoring"],
                row["task"],
                row["metric"],
                row["dataset"],
            ): row
            for row in rows
        }
        self._widths = {
            (row["file"], row["method"]): row["n_bits"]
            for row in rows
            if row["method"] in _WITHOUT_BITS
        }
        pairs = dict.fromkeys((row["method"], row["scoring"]) for row in rows)
        # scorings that compare words, not those of a shortlist
        plain = ("float", "hamming", "decoded", "asymmetric")
        order = list(_METHODS)
        self.lines = sorted(
            (pair for pair in pairs if pair[1] in plain),
            key=lambda pair: (order.index(pair[0]), plain.index(pair[1])),
        )

    def row(
        self, file: str, method: str, n_bits: int, scoring: str, task: str, dataset: str = "mean"
    ) -> Row | None:
        width = self._widths.get((file, method), str(n_bits))
        metric = _TASKS[task]
        if task == "retrieval":
            dataset = "neighbours"
        return self._found.get((file, method, width, scoring, task, metric, dataset))


def _label(method: str, scoring: str) -> str:
    return _METHODS[method] if scoring == "float" else f"{_METHODS[method]}: {scoring}"


def _means(rows: list[Row], task: str) -> str:
    """Mean of a task: methods and scorings by files and bits; the best of each column in bold."""
    found = _Found(rows)
    columns = [(file, bits) for file, (_, widths) in _FILES.items() for bits in widths]
    cells = {}
    for line in found.lines:
        for file, bits in columns:
            row = found.row(file, line[0], bits, line[1], task)
            if row is not None and row["value"]:
                cells[line, file, bits] = float(row["value"])
    best = {
        column: max(
            (v for (line, *at), v in cells.items() if tuple(at) == column and _is_code(line[0])),
            default=None,
        )
        for column in columns
    }

    def text(line: tuple[str, str], column: tuple[str, int]) -> str:
        value = cells.get((line, *column))
        if value is None:
            return ""
        shown = f"{value:.3f}"
        return f"**{shown}**" if _is_code(line[0]) and value == best[column] else shown

    header = ["method: scoring", *(f"{_FILES[file][0]}, {bits} b" for file, bits in columns)]
    lines = [line for line in found.lines if any((line, *column) in cells for column in columns)]
    return markdown(header, [[_label(*line), *(text(line, c) for c in columns)] for line in lines])


def _is_code(method: str) -> bool:
    return method not in _WITHOUT_BITS


def similarity(rows: list[Row]) -> str:
    """Mean Spearman correlation of all methods."""
    return _means(rows, "similarity")


def retrieval(rows: list[Row]) -> str:
    """Recall of the float neighbours of all methods."""
    return _means(rows, "retrieval")


def analogy(rows: list[Row]) -> str:
    """Mean accuracy in analogies of all methods."""
    return _means(rows, "analogy")


def text(rows: list[Row]) -> str:
    """Accuracy of text classification with decoded vectors, in points lost against float."""
    found = _Found(rows)
    sets = list(
        dict.fromkeys(
            row["dataset"]
            for row in rows
            if row["task"] == "text classification" and row["dataset"] != "mean"
        )
    )
    lines = []
    for file, (name, widths) in _FILES.items():
        for method in _METHODS:
            scoring = "float" if method in _WITHOUT_BITS else "decoded"
            got = [
                found.row(file, method, widths[0], scoring, "text classification", each)
                for each in sets
            ]
            if any(row is not None for row in got):
                lines.append([f"{name}, {_METHODS[method]}", *(_accuracy(row) for row in got)])
    return markdown(["vectors, method", *sets], lines)


def _accuracy(row: Row | None) -> str:
    if row is None or not row["value"]:
        return ""
    value = f"{100 * float(row['value']):.1f}"
    if not row["difference"] or row["method"] == "float":
        return value
    return f"{value} ({100 * float(row['difference']):+.1f})"


def short(rows: list[Row]) -> str:
    """The methods one chooses from, at 32x: similarity and recall on each file."""
    found = _Found(rows)
    chosen = ("float", "iiq-2", "iiq", "iiq-1", "sign", "lsh", "itq", "pq", "pq-abtt", "rabitq")
    header = ["method: scoring"]
    for name, _ in _FILES.values():
        header += [f"{name}: similarity", "recall@10"]
    lines = []
    for method, scoring in found.lines:
        if method not in chosen:
            continue
        line = [_label(method, scoring)]
        for file, (_, widths) in _FILES.items():
            row = found.row(file, method, widths[0], scoring, "similarity")
            is_share = row and row["retention"] and method != "float"
            share = f" ({100 * float(row['retention']):.0f} %)" if is_share else ""
            line.append(number(row["value"], 3) + share if row else "")
            row = found.row(file, method, widths[0], scoring, "retrieval")
            line.append(number(row["value"], 3) if row else "")
        if any(line[1:]):
            lines.append(line)
    return markdown(header, lines)


def variants(rows: list[Row]) -> str:
    """Forms of IIQ by files: Spearman correlation and recall."""
    found = {(row["form"], row["file"]): row for row in rows}
    header = ["form"]
    for name, _ in _FILES.values():
        header += [f"{name}: similarity", "recall@10"]
    lines = []
    for form in dict.fromkeys(row["form"] for row in rows):
        line = [form]
        for file in _FILES:
            row = found.get((form, file))
            deviation = f" ± {number(row['spearman_sd'], 3)}" if row and row["spearman_sd"] else ""
            line += (
                ["", ""]
                if row is None
                else [number(row["spearman"], 3) + deviation, number(row["recall10"], 3)]
            )
        lines.append(line)
    return markdown(header, lines)
