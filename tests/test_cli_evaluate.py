"""The commands evaluate and benchmark: what they print, write, resume and refuse."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from command import run_here

from embcompress import CompressedVectors, KeyedVectors, Sign, save_vectors
from embcompress.evaluation import suite_tasks
from embcompress.evaluation.suite_tasks import load_sets

COMMANDS = ("evaluate", "benchmark")


@pytest.fixture(autouse=True)
def nothing_at_hand(monkeypatch, tmp_path):
    monkeypatch.delenv("EMBCOMPRESS_DATA", raising=False)
    monkeypatch.setenv("EMBCOMPRESS_CACHE", str(tmp_path / "cache"))


def refused(*arguments):
    """The one line of a command that must end with status 2."""
    done = run_here(*arguments)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    line = done.stderr.splitlines()[-1]
    assert line.startswith("embcompress: ")
    return line


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Float vectors, codes of them, and vectors of other words."""
    folder = tmp_path_factory.mktemp("files")
    rows = np.random.default_rng(0).normal(size=(200, 32)).astype(np.float32)
    vectors = KeyedVectors([f"w{i}" for i in range(200)], rows)
    save_vectors(vectors, folder / "floats.txt")
    CompressedVectors.compress(vectors, Sign()).save(folder / "codes.safetensors")
    save_vectors(KeyedVectors([f"x{i}" for i in range(200)], rows), folder / "others.txt")
    np.save(folder / "matrix.npy", rows)
    return folder


def test_evaluate_codes_against_floats(files):
    done = run_here("evaluate", files / "codes.safetensors", "--against", files / "floats.txt")
    assert done.returncode == 0, done.stderr
    for text in (
        "recall@10",
        "NDCG@10",
        "asymmetric",
        "hamming x 4, then float",
        "MEN: not at hand",
    ):
        assert text in done.stdout
    assert "nan" not in done.stdout.lower()


def test_evaluate_json(files):
    done = run_here(
        "evaluate",
        files / "codes.safetensors",
        "--against",
        files / "floats.txt",
        "--tasks",
        "retrieval",
        "--json",
    )
    found = json.loads(done.stdout)
    assert {row["metric"] for row in found["results"]} == {"recall@10", "NDCG@10"}
    assert all(0 <= row["low"] <= row["value"] <= row["high"] <= 1 for row in found["results"])


def test_evaluate_messages(files, tmp_path):
    codes = files / "codes.safetensors"
    line = refused("evaluate", codes, "--tasks", "reading")
    assert "no task 'reading'; tasks: similarity, analogy, categorization, text, retrieval" in line
    line = refused("evaluate", files / "floats.txt")
    assert "no data set of similarity" in line
    assert "EMBCOMPRESS_DATA" in line
    assert "--fetch" in line
    line = refused("evaluate", codes, "--tasks", "retrieval")
    assert "--against" in line
    assert "are not the 200 words" in refused(
        "evaluate", codes, "--against", files / "others.txt", "--tasks", "retrieval"
    )
    assert "needs float vectors" in refused("evaluate", codes, "--against", codes)
    assert "--limit is for float" in refused("evaluate", codes, "--limit", 10)
    assert "--vocabulary" in refused("evaluate", files / "matrix.npy")
    assert "No such file" in refused("evaluate", tmp_path / "none.txt", "--tasks", "retrieval")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(codes.read_bytes()[:-100])
    assert "cut.safetensors" in refused("evaluate", cut, "--tasks", "retrieval")


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ((), {"evaluate": ("skip", None), "benchmark": ("skip", 30_000)}),
        (("--missing", "mean", "--restrict", 50), dict.fromkeys(COMMANDS, ("mean", 50))),
        (("--restrict", 0), dict.fromkeys(COMMANDS, ("skip", None))),
    ],
)
@pytest.mark.parametrize("command", COMMANDS)
def test_rules_for_words_reach_the_tasks(command, options, wanted, files, tmp_path, monkeypatch):
    given = {}

    def spy(tasks, **rules):
        given.update(rules)
        return load_sets(tasks, **rules)

    monkeypatch.setattr(suite_tasks, "load_sets", spy)
    if command == "evaluate":
        named = (files / "codes.safetensors", "--against", files / "floats.txt")
    else:
        named = (files / "floats.txt", "-o", tmp_path / "out", "--methods", "sign", "--jobs", 1)
    done = run_here(command, *named, "--tasks", "retrieval", *options)
    assert done.returncode == 0, done.stderr
    assert (given["missing"], given["restrict"]) == wanted[command]


def test_benchmark(files, tmp_path):
    asked = (
        "benchmark",
        files / "floats.txt",
        "--bits",
        "32,16",
        "--methods",
        "itq,sign",
        "--seeds",
        2,
        "-o",
        tmp_path / "out",
    )
    done = run_here(*asked)
    assert done.returncode == 0, done.stderr
    assert "not at hand and left out: MC-30, MEN" in done.stderr
    assert "sign, 16 bits: left out" in done.stderr
    assert "6 run, 0 finished before" in done.stdout
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"cells", "rows.csv", "rows.json", "table.md", "report.html"}
    for name in ("rows.csv", "table.md", "report.html"):
        assert str(tmp_path / "out" / name) in done.stdout
        assert "nan" not in (tmp_path / "out" / name).read_text("utf-8").lower()
    before = (tmp_path / "out" / "rows.csv").read_bytes()
    again = run_here(*asked)
    assert "0 run, 6 finished before" in again.stdout
    assert (tmp_path / "out" / "rows.csv").read_bytes() == before


def test_benchmark_messages(files, tmp_path):
    floats, out = files / "floats.txt", tmp_path / "out"
    line = refused("benchmark", floats, "--methods", "iiq,best", "-o", out)
    assert "no method 'best'; allowed: float, float-abtt, sign" in line
    assert "tasks: similarity" in refused("benchmark", floats, "--tasks", "x", "-o", out)
    assert "'a' is not a whole number" in refused("benchmark", floats, "--bits", "8,a", "-o", out)
    assert "no number is given" in refused("benchmark", floats, "--bits", ",", "-o", out)
    assert "one bit per feature" in refused(
        "benchmark", floats, "--bits", 16, "--methods", "sign", "-o", out
    )
    assert "the output is a file" in refused("benchmark", floats, "-o", floats)
    assert "--fetch" in refused("benchmark", floats, "--tasks", "text", "-o", out)
    assert "codes.safetensors" in refused("benchmark", files / "codes.safetensors", "-o", out)


def test_interrupted_benchmark_says_how_to_resume(files, tmp_path):
    asked = [
        "benchmark",
        str(files / "floats.txt"),
        "--bits",
        "32",
        "--methods",
        "itq",
        "--seeds",
        "400",
        "--tasks",
        "retrieval",
        "-o",
        str(tmp_path),
    ]
    started = subprocess.Popen(
        [sys.executable, "-m", "embcompress", *asked],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + 60
    while len(list(tmp_path.glob("cells/*.json"))) < 3 and time.monotonic() < end:
        time.sleep(0.05)
    started.send_signal(signal.SIGINT)
    out, err = started.communicate(timeout=60)
    assert started.returncode == 130
    assert out == ""
    assert "finished cells are in" in err
    assert err.strip().endswith("the same command goes on from there")
    assert "Traceback" not in err
    n_cells = len(list(tmp_path.glob("cells/*.json")))
    assert n_cells >= 3
    assert not list(tmp_path.glob("cells/.*"))
    asked[asked.index("400")] = "2"
    # cells of several processes are not finished in their order
    counts = re.search(r"(\d+) run, (\d+) finished before", run_here(*asked).stdout)
    assert counts is not None
    n_run, n_kept = map(int, counts.groups())
    assert n_run + n_kept == 3
    assert n_kept >= 1


def test_help_names_the_tasks():
    for command in ("evaluate", "benchmark"):
        page = run_here(command, "--help").stdout
        assert f"Usage: embcompress {command}" in page
        assert "retrieval" in page
