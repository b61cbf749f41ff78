"""The report: tables without holes, a page without outside requests that a browser can show."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest

from embcompress.report import save_report, to_csv, to_html, to_json, to_markdown
from embcompress.report.svg import Point, Series, line_chart
from embcompress.report.tables import brief_table, difference, lines_of, plain, score

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
COSTS = {
    "code_bytes": 4000.0,
    "overhead_bytes": 100.0,
    "stored_bytes": 4100.0,
    "float_bytes": 128000.0,
    "fit_seconds": 0.5,
    "encode_seconds": 0.25,
}


def row(method, n_bits, scoring, task, metric, value, **more):
    made = {
        "method": method,
        "n_bits": n_bits,
        "scoring": scoring,
        "task": task,
        "dataset": "mean",
        "metric": metric,
        "n_seeds": 1,
        "value": value,
        "low": None if value is None else value - 0.05,
        "high": None if value is None else value + 0.05,
        "difference": None if value is None or task == "retrieval" else value - 0.6,
        "difference_low": None if value is None or task == "retrieval" else value - 0.63,
        "difference_high": None if value is None or task == "retrieval" else value - 0.57,
        "retention": None if value is None or task == "retrieval" else value / 0.6,
        "n_items": 100,
        "n_covered": 90,
        "note": "",
        "bytes_per_vector": n_bits / 8,
        **COSTS,
        "isotropy_before": 0.4,
        "isotropy_after": 0.9,
    }
    return made | more


@pytest.fixture
def rows():
    similarity = ("similarity", "Spearman")
    retrieval = ("retrieval", "recall@10")
    made = [row("float", 1024, "float", *similarity, 0.6, encode_seconds=0.0, fit_seconds=0.0)]
    for method in ("iiq", "<b>sign</b>"):
        for n_bits in (32, 16):
            made += [
                row(method, n_bits, "hamming", *similarity, 0.5 + n_bits / 1000),
                row(method, n_bits, "hamming", *retrieval, 0.3),
                row(method, n_bits, "hamming x 4, then float", *retrieval, 0.7),
                row(method, n_bits, "asymmetric", *similarity, 0.55),
                row(method, n_bits, "decoded", "text classification", "accuracy", 0.7),
            ]
    made.append(row("iiq", 32, "hamming", *similarity, None, dataset="RW", note="RW: not covered"))
    made.append(row("iiq", 32, "hamming", *similarity, 0.5, dataset="MEN & more"))
    return made


@pytest.fixture
def page(rows):
    spectra = {"float, 1024 bits": [0.5, 0.3, 0.2], "iiq, 32 bits": [0.4, 0.3, 0.3, 0.0]}
    return to_html(
        rows,
        title="Compressing <vectors>",
        spectra=spectra,
        skipped=[("sign, 8 bits", "no such size")],
        about={"words": 1000, "dimensions": 32, "sets": {"similarity": []}},
    )


def test_numbers():
    given = row("iiq", 8, "hamming", "similarity", "Spearman", 0.5)
    assert score(given) == ".500 [.450, .550]"
    assert difference(given) == "-.100 [-.130, -.070] 83.3 %"
    assert score(None) == score({"value": None}) == difference({"difference": None}) == "–"  # noqa: RUF001
    assert [plain(v) for v in (None, 38.0, 9.5, 15000.0)] == ["–", "38", "9.5", "15,000"]  # noqa: RUF001


def test_one_line_for_each_method_bits_and_scoring(rows):
    lines = lines_of(rows)
    assert len(lines) == 1 + 2 * 2 * 3
    first = lines[1]
    assert (first.method, first.n_bits, first.scoring, first.is_first) == (
        "iiq",
        32,
        "hamming",
        True,
    )
    # what is decoded belongs to the method, not to one of its scorings
    assert ("text classification", "accuracy") in first.scores
    assert sum(line.is_first for line in lines) == 5


def test_markdown(rows):
    text = to_markdown(rows)
    head, rule, *_ = text.splitlines()
    assert head.startswith("| method | bits | scoring | bytes a word | similarity, Spearman |")
    assert rule.count("|") == head.count("|")
    assert "| iiq | 32 | hamming | 4 | .532 [.482, .582] | .300 [.250, .350] | .700" in text
    assert "Difference to float" in text
    assert "nan" not in text.lower()
    assert "None" not in text


def test_brief_table_marks_what_differs(rows):
    header, cells = brief_table(lines_of(rows))
    assert header == ["method", "bits", "scoring", "bytes", "similarity", "recall@10", "text"]
    assert cells[1] == ["iiq", "32", "hamming", "4", ".532*", ".300 ", ".700*"]
    near = row("iiq", 8, "hamming", "similarity", "Spearman", 0.6)
    assert brief_table(lines_of([near]))[1][0][-1] == ".600 "


def test_csv_and_json_hold_all_rows(rows):
    table = list(csv.DictReader(io.StringIO(to_csv(rows))))
    assert len(table) == len(rows)
    assert table[0]["value"] == "0.6"
    skipped = next(entry for entry in table if entry["dataset"] == "RW")
    assert (skipped["value"], skipped["note"]) == ("", "RW: not covered")
    document = json.loads(to_json(rows, skipped=[("a", "b")], about={"words": 3}))
    assert len(document["rows"]) == len(rows)
    assert document["skipped"] == [{"what": "a", "why": "b"}]
    bad = [rows[0] | {"value": float("nan")}]
    for write in (to_csv, to_json):
        with pytest.raises(ValueError, match="a row holds nan"):
            write(bad)


class _Page(HTMLParser):
    """Collects what a page would ask for, and whether its tags close."""

    EMPTY = ("meta", "link", "line", "rect", "circle", "polygon", "polyline")

    def __init__(self):
        super().__init__()
        self.requests, self.tags, self.open = [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in self.EMPTY:
            self.open.append(tag)
        self.requests += [v for k, v in attributes if k in ("src", "href", "action", "data")]

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_page_asks_for_nothing(page):
    parser = _Page()
    parser.feed(page)
    assert parser.open == []
    assert parser.requests == ["data:,"]
    assert not re.search(r"https?://|@import|url\(", page)
    assert "script" not in parser.tags
    assert "<b>" not in page
    assert "&lt;b&gt;sign&lt;/b&gt;" in page
    for text in ("nan", "None", "inf"):
        assert not re.search(rf"\b{text}\b", page), text


def test_page_is_accessible(page):
    parser = _Page()
    parser.feed(page)
    figures = re.findall(r"<figure>.*?</figure>", page, re.DOTALL)
    assert len(figures) > 8
    for figure in figures:
        assert "<figcaption>" in figure
        assert 'role="img"' in figure
        assert "<title>" in figure
        assert "<table>" in figure  # beside every plot
    assert '<html lang="en">' in page
    assert "prefers-color-scheme:dark" in page
    assert 'name="viewport"' in page


def test_page_of_little(rows):
    only_float = to_html(rows[:1], title="t")
    assert "<h1>t</h1>" in only_float
    assert "<h1>empty</h1>" in to_html([], title="empty")


def test_levels_and_equal_values_are_drawn():
    plot = line_chart(
        [
            Series("float", -1, [Point(9, 0.5, 0.4, 0.6)]),
            Series("one", 0, [Point(8, 0.5), Point(8, 0.5)]),
        ],
        title="t",
        x_label="x",
        y_label="y",
        log_x=True,
    )
    assert "level" in plot
    assert "nan" not in plot


def test_save_report(rows, tmp_path):
    found = SimpleNamespace(rows=rows, spectra={}, skipped=[], about={})
    paths = save_report(found, tmp_path, title="t")
    assert [path.name for path in paths] == ["rows.csv", "rows.json", "table.md", "report.html"]
    assert all(path.stat().st_size for path in paths)


@pytest.mark.skipif(BROWSER is None, reason="no chromium to render the page with")
@pytest.mark.parametrize("width", [1200, 390])
def test_browser_shows_the_page(width, page, tmp_path):
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    # a probe of the test, not of the page: does anything stick out at the side
    probe = (
        "<script>addEventListener('load',()=>{document.title="
        "`wide ${document.documentElement.scrollWidth>innerWidth}`})</script>"
    )
    (tmp_path / "probe.html").write_text(page.replace("</body>", probe + "</body>"), "utf-8")
    for name in ("page", "probe"):
        done = subprocess.run(
            [
                BROWSER,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-dev-shm-usage",
                "--enable-logging=stderr",
                "--v=0",
                f"--user-data-dir={tmp_path / 'profile'}",
                f"--window-size={width},1600",
                "--dump-dom",
                (tmp_path / f"{name}.html").as_uri(),
            ],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        assert "CONSOLE" not in done.stderr, done.stderr
        assert "</main>" in done.stdout
    assert "<title>wide false</title>" in done.stdout


def test_methods_look_different():
    from embcompress.report.style import N_COLOURS, N_STYLES, STYLE
    from embcompress.report.svg import mark

    looks = {(style % N_COLOURS, mark(style, 0, 0)) for style in range(N_STYLES)}
    assert len(looks) == N_STYLES >= 20
    assert all(
        f".s{style}{{--c:var(--c{style % N_COLOURS})}}" in STYLE for style in range(N_STYLES)
    )
