"""Make the Markdown tables from benchmarks/results and put them where their markers are.

A table stands between ``<!-- table:NAME -->`` and ``<!-- /table:NAME -->`` in a Markdown file at
the root of the project, in docs/ or in benchmarks/.

Run: ``python benchmarks/tables.py`` rewrites the files; ``--check`` only says which ones are out
of date, and exits 1 if any is.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import tables_augmentation as augmentation
import tables_bundle as bundle
import tables_explore as explore
import tables_layouts as layouts
import tables_pruning as pruning
import tables_quality as quality
import tables_runtime as runtime
import tables_scale as scale
import tables_search as search
import tables_stores as stores
import tables_transfer as transfer
from _markdown import Row, markdown, number

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"

_BLOCK = re.compile(
    r"(?P<open><!-- table:(?P<name>[\w-]+) -->\n)(?P<body>.*?)(?P<close><!-- /table:(?P=name) -->)",
    re.DOTALL,
)
_MARKER = re.compile(r"^<!-- /?table:", re.MULTILINE)


def parse(rows: list[Row]) -> str:
    """Speed of the readers of GloVe text."""
    return markdown(
        [
            "reader",
            "threads",
            "MB/s per CPU second",
            "again, same process",
            "against gensim",
            "peak memory, MB",
        ],
        [
            [
                row["method"],
                row["threads"],
                number(row["mb_per_s"], 0),
                number(row.get("mb_per_s_again", ""), 0),
                f"{number(row['speed_ratio_to_gensim'], 1)}x",
                "" if row["note"].startswith("prefix") else number(row["peak_rss_mb"], 0),
            ]
            for row in rows
        ],
    )


def compress(rows: list[Row]) -> str:
    """Cost of compressing the large file."""
    return markdown(
        ["method", "CPU seconds", "less than gensim + faiss", "peak memory, MB"],
        [
            [
                f"`{row['method']}`" if row["method"].startswith("embcompress") else row["method"],
                number(row["cpu_s"], 1),
                f"{number(row['cpu_ratio_to_gensim'], 1)}x",
                number(row["peak_rss_mb"], 0),
            ]
            for row in rows
        ],
    )


def similarity(rows: list[Row]) -> str:
    """Mean Spearman correlation, methods by files; the best row of one bit in bold."""
    files = list(dict.fromkeys(row["file"] for row in rows))
    found = {(row["method"], row["file"]): row for row in rows}
    best = {
        file: max(
            (float(row["spearman"]) for row in rows if row["file"] == file and _one_bit(row)),
            default=None,
        )
        for file in files
    }

    def cell(method: str, file: str) -> str:
        row = found.get((method, file))
        if row is None:
            return ""
        text = number(row["spearman"], 3)
        if _one_bit(row) and float(row["spearman"]) == best[file]:
            text = f"**{text}**"
        return f"{text} ± {number(row['sd'], 3)}" if int(row["n_seeds"]) > 1 else text

    methods = dict.fromkeys(row["method"] for row in rows)
    return markdown(["method", *files], [[m, *(cell(m, file) for file in files)] for m in methods])


def _one_bit(row: Row) -> bool:
    return row["n_bits"] == row["n_features"]


def index_open(rows: list[Row]) -> str:
    """Time to open a file of codes."""
    rows = [row for row in rows if row["question"] == "open"]
    header = ["opened by", "ms", "time by ours"]
    return markdown(
        header,
        [
            [
                row["name"],
                number(str(float(row["median_us"]) / 1000), 2),
                number(row["ratio_to_ours"], 2),
            ]
            for row in rows
        ],
    )


def open_(rows: list[Row]) -> str:
    """Processor time from a closed file to the first and second answer."""
    columns = {
        "load, ms": "load_ms",
        "first query, ms": "first_query_ms",
        "both, ms": "load_and_first_query_ms",
        "second query, ms": "second_query_ms",
        "file, MB": "file_MB",
    }
    rows = [row for row in rows if row["load_ms"]]
    return markdown(
        ["opened by", *columns],
        [[row["method"], *(number(row[key], 1) for key in columns.values())] for row in rows],
    )


def commands(rows: list[Row]) -> str:
    """Processor time of small commands."""
    rows = [row for row in rows if row.get("cpu_s")]
    return markdown(
        ["command", "CPU seconds", "peak memory, MB"],
        [
            [f"`{row['method']}`", number(row["cpu_s"], 2), number(row["peak_rss_mb"], 0)]
            for row in rows
        ],
    )


# name of a table -> file of results, maker
TABLES: dict[str, tuple[str, Callable[[list[Row]], str]]] = {
    "bundle": ("bundle", bundle.bundles),
    "augment-speed": ("augment_speed", augmentation.speed),
    "augmentation-accuracy": ("augmentation", transfer.accuracy),
    "augmentation-all": ("augmentation", transfer.accuracy_all),
    "augmentation-cost": ("augmentation", transfer.cost),
    "augmentation-curve": ("augmentation", transfer.curve),
    "augmentation-displacement": ("augmentation", transfer.displacement),
    "augmentation-kept": ("augmentation", transfer.kept),
    "augmentation-pairs": ("augmentation", transfer.pairs),
    "augmentation-pruned": ("augmentation", transfer.pruned),
    "augmentation-random": ("augmentation", transfer.accuracy_random),
    "commands": ("open", commands),
    "compress": ("compress", compress),
    "explore": ("explore", explore.pages),
    "index-open": ("index", index_open),
    "layouts": ("layouts", layouts.sizes),
    "open": ("open", open_),
    "parse": ("parse", parse),
    "pruning": ("pruning", pruning.results),
    "pruning-bytes": ("pruning", pruning.stored),
    "pruning-search": ("pruning_search", pruning.search),
    "pruning-long": ("pruning_long", pruning.results),
    "quality-analogy": ("quality", quality.analogy),
    "quality-retrieval": ("quality", quality.retrieval),
    "quality-short": ("quality", quality.short),
    "quality-similarity": ("quality", quality.similarity),
    "quality-text": ("quality", quality.text),
    "runtime-conv": ("runtime_conv", runtime.contenders),
    "runtime-digits": ("runtime_digits", runtime.digits),
    "runtime-gru": ("runtime_gru", runtime.products),
    "runtime-limit": ("runtime_limit", runtime.limit),
    "runtime-linear": ("runtime_linear", runtime.products),
    "runtime-resnet": ("runtime_resnet", runtime.contenders),
    "runtime-start": ("runtime_start", runtime.start),
    "search-approximate": ("search_approximate", search.approximate),
    "search-asymmetric": ("search", search.asymmetric),
    "search-bandwidth": ("search", search.bandwidth),
    "search-cpu": ("search", search.cpu),
    "search-first": ("search", search.first),
    "search-peers": ("search", search.peers),
    "search-recall": ("search_recall", search.recall),
    "search-wall": ("search", search.wall),
    "scale": ("scale", scale.one_process),
    "scale-billion": ("scale", scale.billion),
    "scale-dask": ("scale", scale.dask),
    "scale-gpu": ("scale_gpu", scale.gpu),
    "similarity": ("similarity", similarity),
    "stores": ("stores", stores.stores),
    "variants": ("variants", quality.variants),
}


def machine(results: Path) -> str:
    """What each file of results was measured on."""
    columns = ["cpu", "python", "numpy", "faiss", "numba", "date"]
    rows = [[path.stem, *_first(path, columns)] for path in sorted(results.glob("*.csv"))]
    return markdown(["results", *columns], rows)


def _first(path: Path, columns: Sequence[str]) -> list[str]:
    rows = read_rows(path)
    return [rows[0].get(column, "") if rows else "" for column in columns]


def read_rows(path: Path) -> list[Row]:
    """Rows of a file of results."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def make_table(name: str, results: Path = RESULTS) -> str:
    """The Markdown of one table.

    Parameters
    ----------
    name : str
    results : Path
        Folder of the CSV files.

    Returns
    -------
    str
        Ends with a line break.

    Raises
    ------
    ValueError
        If there is no such table.
    """
    if name == "machine":
        return machine(results)
    if name not in TABLES:
        allowed = ", ".join(sorted([*TABLES, "machine"]))
        raise ValueError(f"table:{name} is not a table; there are {allowed}")
    source, make = TABLES[name]
    path = results / f"{source}.csv"
    if not path.exists():
        return f"Not measured yet: run `python benchmarks/run.py {source}`.\n"
    return make(read_rows(path))


def fill(text: str, results: Path = RESULTS) -> str:
    """A Markdown text with its tables made anew.

    Raises
    ------
    ValueError
        If a marker names no table, or has no partner.
    """
    n_markers = len(_MARKER.findall(text))
    filled, n_blocks = _BLOCK.subn(
        lambda found: found["open"] + make_table(found["name"], results) + found["close"], text
    )
    if n_markers != 2 * n_blocks:
        raise ValueError(
            f"{n_markers} table markers make {n_blocks} tables; each needs "
            "<!-- table:NAME --> and <!-- /table:NAME -->, every one on a line of its own"
        )
    return filled


def documents(root: Path = ROOT) -> list[Path]:
    """Markdown files with markers."""
    paths = [*root.glob("*.md"), *root.glob("docs/**/*.md"), *root.glob("benchmarks/*.md")]
    return sorted(path for path in paths if _MARKER.search(path.read_text(encoding="utf-8")))


def update(root: Path = ROOT, results: Path = RESULTS, *, write: bool = True) -> list[Path]:
    """Find the files whose tables are out of date, and rewrite them.

    Returns
    -------
    list of Path
        The files that are, or were, out of date.
    """
    stale = []
    for path in documents(root):
        text = path.read_text(encoding="utf-8")
        try:
            filled = fill(text, results)
        except ValueError as error:
            raise ValueError(f"{path.relative_to(root)}: {error}") from None
        if filled != text:
            stale.append(path)
            if write:
                path.write_text(filled, encoding="utf-8")
    return stale


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Rewrite or check; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if out of date")
    options = parser.parse_args(arguments)
    try:
        stale = update(root, root / "benchmarks" / "results", write=not options.check)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    for path in stale:
        state = "out of date; run python benchmarks/tables.py" if options.check else "rewritten"
        print(f"{path.relative_to(root)}: {state}")
    return int(options.check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
