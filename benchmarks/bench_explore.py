"""The page of `embcompress explore`: its size, and how soon it opens and answers in Chromium.

50,000 words x 300 bits, one bit for each direction and two for half as many. Before anything is
timed, neighbours and analogies of the page are compared with Python's.

Run: ``EMBCOMPRESS_DATA=... python benchmarks/bench_explore.py``; needs Chromium and its driver.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _rows import write_rows

FILE = "enwiki_sgns300_50k.npz"
N_BITS = 300
CELLS = {"1 bit per direction": 1, "2 bits per direction": 2}
N_QUERIES = 200
N_LOADS = 5
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
ANALOGIES = [("man", "woman", "king"), ("france", "paris", "germany"), ("large", "larger", "small")]

# Milliseconds of each question; the first ones, before code is compiled, are given apart.
ASK = """
const [terms, options] = arguments;
const times = terms.map(term => {
  const started = performance.now();
  vectors.mostSimilar(term, options);
  return performance.now() - started;
});
return times;
"""
# From a key to what the page shows for it: neighbours, analogy, map, before it is painted.
TYPE = """
const [words] = arguments;
const field = document.getElementById("word");
return words.map(word => {
  field.value = word;
  const started = performance.now();
  field.dispatchEvent(new Event("input"));
  return performance.now() - started;
});
"""
OPENED = """
const [entry] = performance.getEntriesByType("navigation");
return entry.domContentLoadedEventEnd;
"""


def start_browser() -> Any:
    """Headless Chromium with a profile of its own."""
    from selenium import webdriver

    driver, browser = shutil.which("chromedriver"), shutil.which("chromium")
    if driver is None or browser is None:
        raise SystemExit("chromium and chromedriver are needed")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in (*FLAGS, f"--user-data-dir={tempfile.mkdtemp(prefix='bench-explore-')}"):
        options.add_argument(flag)
    return webdriver.Chrome(options, service=webdriver.ChromeService(driver))


def check(browser: Any, small: Any, words: list[str]) -> None:
    """The page must answer as Python does."""
    for word in words[:20]:
        found = browser.execute_script("return vectors.mostSimilar(arguments[0])", word)
        pairs = [(each["word"], each["similarity"]) for each in found]
        assert pairs == small.most_similar(word), word
    script = "return vectors.mostSimilar(...arguments)"
    for a, b, c in ANALOGIES:
        terms, options = {"positive": [b, c], "negative": [a]}, {"scoring": "asymmetric"}
        found = [each["word"] for each in browser.execute_script(script, terms, options)]
        assert found == [w for w, _ in small.most_similar([b, c], [a], scoring="asymmetric")]


def measure(browser: Any, page: Path, small: Any) -> dict[str, Any]:
    """Size, and milliseconds to open and to answer."""
    rng = np.random.default_rng(0)
    rows = rng.permutation(len(small))[:N_QUERIES]
    words = [small.index_to_key[row] for row in rows]
    opened, first = [], []
    for _ in range(N_LOADS):
        browser.get("about:blank")
        browser.get(page.as_uri())
        opened.append(browser.execute_script(OPENED))
        first.append(browser.execute_script(ASK, words[:1], {"topn": 10})[0])
    check(browser, small, words)
    hamming = browser.execute_script(ASK, words, {"topn": 10})
    sums = [{"positive": [b, c], "negative": [a]} for a, b, c in ANALOGIES] * (N_QUERIES // 3)
    analogy = browser.execute_script(ASK, sums, {"topn": 10, "scoring": "asymmetric"})
    typed = browser.execute_script(TYPE, words)
    return {
        "page_bytes": page.stat().st_size,
        "opened_ms": round(statistics.median(opened), 1),
        "first_ms": round(statistics.median(first), 1),
        "neighbours_ms": round(statistics.median(hamming), 2),
        "neighbours_p95_ms": round(float(np.percentile(hamming, 95)), 2),
        "analogy_ms": round(statistics.median(analogy), 2),
        "analogy_p95_ms": round(float(np.percentile(analogy, 95)), 2),
        "typed_ms": round(statistics.median(typed), 1),
    }


def main() -> None:
    """Make the pages, check and measure them, write rows."""
    from embcompress import IIQ, CompressedVectors, explore, load_vectors

    vectors = load_vectors(Path(os.environ["EMBCOMPRESS_DATA"]) / "embeddings" / FILE)
    browser = start_browser()
    rows = []
    try:
        version = browser.capabilities["browserVersion"]
        with tempfile.TemporaryDirectory() as folder:
            for name, bits in CELLS.items():
                quantizer = IIQ(N_BITS, bits_per_direction=bits, random_state=0)
                file, page = Path(folder) / "words.safetensors", Path(folder) / "page.html"
                CompressedVectors.compress(vectors, quantizer).save(file)
                small = CompressedVectors.load(file)
                explore.save_page(small, page)
                row = {"method": name, "words": len(small), "n_bits": N_BITS}
                row |= measure(browser, page, small) | {"chromium": version.split(".")[0]}
                rows.append(row)
                print(row, flush=True)
    finally:
        browser.quit()
    write_rows("explore", rows)


if __name__ == "__main__":
    main()
