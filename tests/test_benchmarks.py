"""The tables of the documents, and that benchmarks can be imported."""

from __future__ import annotations

import csv
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
BENCHMARKS = ROOT / "benchmarks"


def load_script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"benchmarks_{name}", BENCHMARKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


sys.path.insert(0, str(BENCHMARKS))  # as when a script is run from there
tables, run = load_script("tables"), load_script("run")


def write_csv(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows(rows)


def similarity_row(method: str, file: str, n_bits: int, spearman: float, seeds: int) -> dict:
    return {
        "method": method, "file": file, "n_bits": n_bits, "n_features": 8,
        "spearman": spearman, "sd": 0.01, "n_seeds": seeds,
    }  # fmt: skip


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with one table of two rows and a README with its markers."""
    rows = [
        {"method": "embcompress compress", "cpu_s": 10.04, "cpu_ratio_to_gensim": 15.2,
         "peak_rss_mb": 1234},
        {"method": "by hand", "cpu_s": 152.6, "cpu_ratio_to_gensim": 1.0, "peak_rss_mb": 987},
    ]  # fmt: skip
    write_csv(tmp_path / "benchmarks" / "results" / "compress.csv", rows)
    text = "# A\n\n<!-- table:compress -->\nold\n<!-- /table:compress -->\n\nafter\n"
    (tmp_path / "README.md").write_text(text, encoding="utf-8")
    (tmp_path / "OTHER.md").write_text("no markers\n", encoding="utf-8")
    return tmp_path


EXPECTED = """# A

<!-- table:compress -->
| method | CPU seconds | less than gensim + faiss | peak memory, MB |
| --- | ---: | ---: | ---: |
| `embcompress compress` | 10.0 | 15.2x | 1,234 |
| by hand | 152.6 | 1.0x | 987 |
<!-- /table:compress -->

after
"""


def test_the_table_is_put_between_its_markers(project):
    assert tables.main([], project) == 0
    assert (project / "README.md").read_text(encoding="utf-8") == EXPECTED
    assert (project / "OTHER.md").read_text(encoding="utf-8") == "no markers\n"


def test_check_writes_nothing_and_says_what_is_out_of_date(project, capsys):
    before = (project / "README.md").read_text(encoding="utf-8")
    assert tables.main(["--check"], project) == 1
    assert "README.md: out of date" in capsys.readouterr().out
    assert (project / "README.md").read_text(encoding="utf-8") == before
    tables.main([], project)
    capsys.readouterr()
    assert tables.main(["--check"], project) == 0
    assert capsys.readouterr().out == ""


def test_filling_twice_changes_nothing(project):
    results = project / "benchmarks" / "results"
    assert tables.fill(EXPECTED, results) == EXPECTED


def test_tables_without_rows_say_what_to_run(project):
    text = "<!-- table:parse -->\n<!-- /table:parse -->\n"
    filled = tables.fill(text, project / "benchmarks" / "results")
    assert "Not measured yet: run `python benchmarks/run.py parse`." in filled


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<!-- table:speed -->\n<!-- /table:speed -->\n", "README.md: table:speed is not a table"),
        ("<!-- table:compress -->\n", "1 table markers make 0 tables"),
        ("<!-- table:compress -->\n<!-- /table:parse -->\n", "2 table markers make 0 tables"),
    ],
)
def test_wrong_markers_are_refused(project, capsys, text, message):
    (project / "README.md").write_text(text, encoding="utf-8")
    assert tables.main([], project) == 2
    assert message in capsys.readouterr().err
    assert (project / "README.md").read_text(encoding="utf-8") == text


def test_similarity_has_methods_by_files_and_the_best_bits_in_bold(tmp_path):
    rows = [
        similarity_row("float", "a", 256, 0.7, 1),
        similarity_row("Sign", "a", 8, 0.5, 1),
        similarity_row("IIQ", "a", 8, 0.6, 3),
        similarity_row("IIQ long", "a", 16, 0.65, 3),
        similarity_row("Sign", "b", 8, 0.4, 1),
    ]
    write_csv(tmp_path / "similarity.csv", rows)
    assert tables.make_table("similarity", tmp_path).splitlines() == [
        "| method | a | b |",
        "| --- | ---: | ---: |",
        "| float | 0.700 |  |",
        "| Sign | 0.500 | **0.400** |",
        "| IIQ | **0.600** ± 0.010 |  |",
        "| IIQ long | 0.650 ± 0.010 |  |",
    ]


def test_no_memory_is_shown_for_a_prefix(tmp_path):
    row = {"method": "a|b", "threads": 1, "mb_per_s": 5.4, "speed_ratio_to_gensim": 1, "note": ""}
    rows = [row | {"peak_rss_mb": 100}, row | {"peak_rss_mb": 7, "note": "prefix of 9 rows"}]
    write_csv(tmp_path / "parse.csv", rows)
    assert tables.make_table("parse", tmp_path).splitlines()[2:] == [
        "| a\\|b | 1 | 5 |  | 1.0x | 100 |",
        "| a\\|b | 1 | 5 |  | 1.0x |  |",
    ]


def test_open_and_commands_share_a_file(tmp_path):
    times = dict.fromkeys(
        ["load_ms", "first_query_ms", "load_and_first_query_ms", "second_query_ms"], 2.04
    )
    rows = [
        {"method": "load", "file_MB": 21.2} | times,
        {"method": "embcompress --help", "cpu_s": 0.214, "peak_rss_mb": 40},
    ]
    write_csv(tmp_path / "open.csv", rows)
    assert "| load | 2.0 | 2.0 | 2.0 | 2.0 | 21.2 |" in tables.make_table("open", tmp_path)
    assert "--help" not in tables.make_table("open", tmp_path)
    assert tables.make_table("commands", tmp_path).splitlines()[2:] == [
        "| `embcompress --help` | 0.21 | 40 |"
    ]


def test_documents_of_this_project_are_up_to_date():
    assert BENCHMARKS / "README.md" in tables.documents()
    assert tables.update(write=False) == [], "run python benchmarks/tables.py"


def test_every_benchmark_is_named_in_the_readme():
    text = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
    for name in run.benchmarks():
        assert f"\n## {name}: " in text


def test_benchmarks_import_without_running(tmp_path):
    names = sorted(path.stem for path in BENCHMARKS.glob("bench_*.py"))
    assert len(names) >= 5
    if importlib.util.find_spec("torch") is None:  # whose backbones are modules of PyTorch
        names.remove("bench_augmentation")
    code = f"import importlib\nfor name in {names}: importlib.import_module(name)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": f"{BENCHMARKS}:{ROOT}", "PATH": ""},
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_run_needs_the_data(monkeypatch, capsys):
    monkeypatch.delenv("EMBCOMPRESS_DATA", raising=False)
    with pytest.raises(SystemExit, match="2"):
        run.main(["open"])
    assert "EMBCOMPRESS_DATA is not set" in capsys.readouterr().err


def test_run_refuses_unknown_names(capsys):
    with pytest.raises(SystemExit, match="2"):
        run.main(["opne"])
    message = capsys.readouterr().err
    assert "no benchmark is called opne; there are augment_speed, augmentation, " in message


def test_run_lists_what_there_is(capsys):
    assert run.main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == sorted(run.benchmarks())


def quality_row(method, n_bits, scoring, task, metric, value, **more):
    return {
        "file": "enwiki_glove100_40k", "method": method, "n_bits": n_bits, "scoring": scoring,
        "task": task, "metric": metric, "dataset": "mean", "value": value, "retention": "",
        "difference": "", **more,
    }  # fmt: skip


def test_quality_tables(tmp_path):
    spearman, accuracy = ("similarity", "Spearman"), ("text classification", "accuracy")
    rows = [
        quality_row("iiq", 100, "hamming", *spearman, 0.5, retention=0.92),
        quality_row("iiq", 50, "hamming", *spearman, 0.4, retention=0.73),
        quality_row("float", 3200, "float", *spearman, 0.545),
        quality_row("pq", 100, "asymmetric", *spearman, 0.54, retention=0.99),
        quality_row("pq", 100, "asymmetric", "retrieval", "recall@10", 0.4, dataset="neighbours"),
        quality_row("float", 3200, "float", *accuracy, 0.8, dataset="mr"),
        quality_row("iiq", 100, "decoded", *accuracy, 0.79, dataset="mr", difference=-0.01),
    ]
    write_csv(tmp_path / "quality.csv", rows)

    def lines(name):
        made = tables.make_table(name, tmp_path).splitlines()
        return [[cell.strip() for cell in line.strip("|").split("|")] for line in made]

    header, _, float_, iiq, pq = lines("quality-similarity")
    assert header[-2:] == ["GloVe-100, 100 b", "GloVe-100, 50 b"]
    assert float_ == ["float", *[""] * 6, "0.545", "0.545"]
    assert iiq == ["IIQ: hamming", *[""] * 6, "0.500", "**0.400**"]
    assert pq[-2:] == ["**0.540**", ""]
    assert lines("quality-short")[-1][-2:] == ["0.540 (99 %)", "0.400"]
    assert lines("quality-text")[2:] == [
        ["GloVe-100, float", "80.0"], ["GloVe-100, IIQ", "79.0 (-1.0)"],
    ]  # fmt: skip


def test_bytes_of_pruned_weights():
    storage = load_script("_pruning_storage")
    kernels = np.zeros((2, 3, 9), dtype=bool)
    kernels[:, :, 4] = True
    kernels[0, :, :3] = kernels[1, :, 3] = kernels[1, :, 5:7] = True
    mask = kernels.reshape(2, 3, 3, 3)
    # two patterns: a table of two, and a bit for each of six kernels
    assert storage.spm(mask) == 2 * 2 + 1
    # starts, filters, channels, strides of two patterns
    assert storage.fkw(mask) == 4 * 3 + 2 * 2 + 2 * 6 + 2 * 2 * 3
    mask[1, 2] = False
    assert storage.fkw(mask) == 4 * 3 + 2 * 2 + 2 * 5 + 2 * 2 * 3
    matrix = np.array([[True, False, True], [False, False, False]])
    assert storage.csr(matrix) == storage.fkw(matrix) == 2 * 2 + 4 * 3
    assert storage.compact(matrix) == 2 * (1 + 2)
    assert storage.stored_bytes({}, "") == {}


def test_search_has_the_means_of_both_ways(tmp_path):
    row = {
        "experiment": "search-trec", "seed": 0, "method": "search", "rates": "8 4", "n_tried": 3,
        "n_candidates": 30, "rate_reached": 6.5, "validation": 0.79, "test": 0.85, "saving": 6,
        "cpu_s": 8,
    }  # fmt: skip
    every = row | {"method": "every candidate", "saving": 1, "n_tried": 30}
    write_csv(tmp_path / "pruning_search.csv", [every, row, row | {"seed": 1, "saving": 8}])
    assert tables.make_table("pruning-search", tmp_path).splitlines()[2:] == [
        "| 0: every candidate | 8 / 4 | 6.50 | 79.0 | 85.0 | 30 of 30 | 1x | 8 |",
        "| 0: search | 8 / 4 | 6.50 | 79.0 | 85.0 | 3 of 30 | 6x | 8 |",
        "| 1: search | 8 / 4 | 6.50 | 79.0 | 85.0 | 3 of 30 | 8x | 8 |",
        "| mean: every candidate |  | 6.50 | 79.0 | 85.0 | 30 | 1x | 8 |",
        "| mean: search |  | 6.50 | 79.0 | 85.0 | 3 | 7x | 8 |",
    ]
