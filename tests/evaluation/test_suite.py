"""The suite: what it runs, what it leaves out, and benchmarks that are interrupted."""

from __future__ import annotations

import json
import math
import os
import tempfile
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

from embcompress import CompressedVectors, KeyedVectors, Sign
from embcompress.evaluation import (
    AnalogyQuestions,
    Categories,
    LabelledTexts,
    SimilarityPairs,
    compare,
    evaluate_similarity,
    space_of,
)
from embcompress.evaluation.suite import evaluate, run_benchmark
from embcompress.evaluation.suite_jobs import usable_cores
from embcompress.evaluation.suite_tasks import TaskSets, load_sets

WORDS = [f"w{i}" for i in range(60)]


@pytest.fixture(scope="module")
def vectors() -> KeyedVectors:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(4, 32))
    rows = centres[np.arange(60) % 4] + 0.7 * rng.normal(size=(60, 32))
    return KeyedVectors(WORDS, rows)


@pytest.fixture
def sets(vectors) -> TaskSets:
    pairs = [(WORDS[i], WORDS[(7 * i + 1) % 60]) for i in range(60)]
    gold = np.array([vectors.similarity(*pair) for pair in pairs])
    questions = [tuple(WORDS[(i + j) % 60] for j in (0, 4, 8, 12)) for i in range(20)]
    texts = [f"{WORDS[i % 60]} {WORDS[(i + 4) % 60]}" for i in range(80)]
    return TaskSets(
        {
            "similarity": [
                SimilarityPairs("pairs", pairs, gold),
                SimilarityPairs("foreign", [("zz", "yy")] * 20, np.arange(20.0)),
            ],
            "analogy": [AnalogyQuestions("questions", questions, ["all"] * 20)],
            "categorization": [Categories("kinds", WORDS, [str(i % 4) for i in range(60)])],
            "text": [LabelledTexts("texts", texts, np.arange(80) % 4, list("abcd"))],
        },
        [],
        retrieval=True,
    )


@dataclass
class Method:
    """A stand-in for a method, which counts how often it is used."""

    name: str
    randomized: bool = False
    describe: str = "made up"
    n_made: int = 0
    fails: type[BaseException] | None = None

    def make(self, vectors, n_bits, seed):
        self.n_made += 1
        if self.fails is not None and seed == 1:
            if self.fails is SystemError:
                os._exit(1)  # as a process that is killed
            raise self.fails("no such size")
        if self.name == "float":
            small, scorings = vectors, ("float",)
        else:
            noise = np.random.default_rng(seed).normal(size=vectors.vectors.shape)
            rows = vectors.vectors + (0.3 * noise if self.randomized else 0)
            small = CompressedVectors.compress(KeyedVectors(WORDS, rows), Sign())
            scorings = ("hamming", "asymmetric")
        return SimpleNamespace(
            space=lambda scoring: space_of(small, scoring=None if scoring == "float" else scoring),
            scorings=scorings,
            decoded=vectors.vectors if scorings == ("float",) else small.decode().vectors,
            code_bytes=240,
            overhead_bytes=16,
            fit_seconds=0.5,
            encode_seconds=0.25,
            info={"isotropy_before": 0.5, "isotropy_after": 0.9, "broken": math.nan},
        )


def methods(**changes):
    made = {
        "float": Method("float"),
        "plain": Method("plain"),
        "noisy": Method("noisy", randomized=True),
    }
    for name, fails in changes.items():
        made[name].fails = fails
    return made


def bench(vectors, sets, folder, specs, **options):
    return run_benchmark(
        vectors,
        n_bits=[32],
        methods=["plain", "noisy"],
        folder=folder,
        seeds=2,
        sets=sets,
        specs=specs,
        **options,
    )


@pytest.mark.parametrize("kind", ["float", "codes"])
def test_evaluate_runs_all_tasks(kind, vectors, sets):
    small = CompressedVectors.compress(vectors, Sign())
    given = vectors if kind == "float" else small
    results = evaluate(given, floats=vectors, sets=sets, n_resamples=20)
    tasks = {result.task for result in results if not result.skipped}
    assert {"similarity", "analogy", "categorization", "text classification"} <= tasks
    assert all(
        result.value is not None and math.isfinite(result.value)
        for result in results
        if not result.skipped
    )
    skipped = [result for result in results if result.skipped]
    assert {result.dataset for result in skipped} >= {"foreign"}
    assert all("0 of 20" in result.note for result in skipped if result.dataset == "foreign")
    if kind == "codes":
        assert {result.space for result in results} >= {"hamming", "asymmetric", "decoded"}
        found = {r.space for r in results if r.metric == "recall@10"}
        assert found == {
            "hamming",
            "asymmetric",
            "hamming x 4, then float",
            "hamming x 4, then asymmetric",
        }


def test_evaluate_without_floats_names_retrieval(vectors, sets):
    results = evaluate(CompressedVectors.compress(vectors, Sign()), sets=sets, n_resamples=20)
    note = next(result.note for result in results if result.task == "retrieval")
    assert "no float vectors" in note


def test_evaluate_messages(vectors, sets, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="no task 'reading'; tasks: similarity, analogy"):
        evaluate(vectors, tasks=["reading"])
    with pytest.raises(ValueError, match="no task is given"):
        load_sets([])
    with pytest.raises(ValueError, match="scorings are for compressed"):
        evaluate(vectors, sets=sets, scorings=["hamming"])
    small = CompressedVectors.compress(vectors, Sign())
    with pytest.raises(ValueError, match="allowed: hamming, asymmetric"):
        evaluate(small, sets=sets, scorings=["cosine"])
    monkeypatch.setenv("EMBCOMPRESS_CACHE", str(tmp_path))
    monkeypatch.delenv("EMBCOMPRESS_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match=r"no data set of similarity.*EMBCOMPRESS_DATA"):
        evaluate(vectors, tasks=["similarity"])
    with pytest.raises(FileNotFoundError, match="retrieval needs the float vectors"):
        evaluate(small, tasks=["retrieval"])
    absent = load_sets(["mr", "retrieval"]).absent
    assert [(task, name) for task, name, _ in absent] == [("text", "mr")]


def test_sets_are_found_by_name(tmp_path, monkeypatch):
    folder = tmp_path / "word_eval" / "categorization"
    folder.mkdir(parents=True)
    (folder / "ap.csv").write_text("damaged")
    monkeypatch.setenv("EMBCOMPRESS_DATA", str(tmp_path))
    with pytest.raises(ValueError, match="wrong checksum"):
        load_sets(["categorization"])


def test_benchmark_rows(vectors, sets, tmp_path):
    found = bench(vectors, sets, tmp_path, methods())
    assert (found.n_run, found.n_kept) == (4, 0)  # float and plain have one seed
    assert not any(
        isinstance(value, float) and not math.isfinite(value)
        for row in found.rows
        for value in row.values()
    )
    means = [row for row in found.rows if row["dataset"] == "mean"]
    assert {row["task"] for row in means} == {
        "similarity",
        "analogy",
        "categorization",
        "text classification",
        "retrieval",
    }
    for row in means:
        assert row["low"] <= row["value"] <= row["high"]
        if row["method"] == "float":
            assert row["difference"] == 0
            assert row["retention"] in (1, None)
        elif row["task"] != "retrieval":
            assert row["difference_low"] <= row["difference"] <= row["difference_high"]
        assert row["bytes_per_vector"] == 4
        assert row["stored_bytes"] == 256
    assert {row["n_seeds"] for row in means if row["method"] == "noisy"} == {2}
    assert all(row["seed_sd"] is not None for row in means if row["method"] == "noisy")
    foreign = [row for row in found.rows if row["dataset"] == "foreign"]
    assert all(row["value"] is None and "foreign" in row["note"] for row in foreign)
    assert set(found.spectra) == {"float, 1024 bits", "plain, 32 bits", "noisy, 32 bits"}
    assert sum(found.spectra["plain, 32 bits"]) == pytest.approx(1, abs=1e-3)


def test_benchmark_agrees_with_the_tasks(vectors, sets, tmp_path):
    """The paired difference has the value of compare, and an interval as wide."""
    found = bench(vectors, sets, tmp_path, methods())
    gold = sets.sets["similarity"][0]
    small = CompressedVectors.compress(vectors, Sign())
    bits = evaluate_similarity(space_of(small), gold)
    wanted = compare(bits, evaluate_similarity(space_of(vectors), gold))
    row = next(
        row
        for row in found.rows
        if (row["method"], row["scoring"], row["dataset"]) == ("plain", "hamming", "pairs")
    )
    assert row["value"] == pytest.approx(bits.value)
    assert row["difference"] == pytest.approx(wanted.value)
    width = row["difference_high"] - row["difference_low"]
    assert width == pytest.approx(wanted.high - wanted.low, rel=0.2)


def test_finished_cells_are_not_run_again(vectors, sets, tmp_path):
    first = bench(vectors, sets, tmp_path, methods())
    specs = methods()
    second = bench(vectors, sets, tmp_path, specs)
    assert [spec.n_made for spec in specs.values()] == [0, 0, 0]
    assert (second.n_run, second.n_kept) == (0, 4)
    assert second.rows == first.rows
    assert second.spectra == first.spectra


@pytest.mark.parametrize("damage", ["cut json", "wrong json", "outcomes", "no outcomes"])
def test_damaged_cells_are_run_again(damage, vectors, sets, tmp_path):
    first = bench(vectors, sets, tmp_path, methods())
    file = next((tmp_path / "cells").glob("plain-*.json"))
    if damage == "cut json":
        file.write_bytes(file.read_bytes()[:100])
    elif damage == "wrong json":
        file.write_text(json.dumps({"results": 3}))
    elif damage == "outcomes":
        file.with_suffix(".npz").write_bytes(b"PK")
    else:
        file.with_suffix(".npz").unlink()
    said: list[str] = []
    specs = methods()
    second = bench(vectors, sets, tmp_path, specs, report=said.append)
    assert [spec.n_made for spec in specs.values()] == [0, 1, 0]
    assert len(said) == 1
    assert file.name in said[0]
    assert said[0].endswith("it is run again")
    assert [row["value"] for row in second.rows] == [row["value"] for row in first.rows]


def test_interrupted_benchmark_goes_on(vectors, sets, tmp_path):
    specs = methods(noisy=KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        bench(vectors, sets, tmp_path, specs)
    assert specs["noisy"].n_made == 2
    assert not list((tmp_path / "cells").glob(".*"))
    specs = methods()
    found = bench(vectors, sets, tmp_path, specs)
    assert [spec.n_made for spec in specs.values()] == [0, 0, 1]
    assert (found.n_run, found.n_kept) == (1, 3)


def test_other_vectors_and_settings_have_their_own_cells(vectors, sets, tmp_path):
    bench(vectors, sets, tmp_path, methods())
    moved = KeyedVectors(WORDS, vectors.vectors + 0.01)
    assert bench(moved, sets, tmp_path, methods()).n_run == 4
    sets.missing = "mean"
    assert bench(vectors, sets, tmp_path, methods()).n_run == 4


def test_methods_that_cannot_are_named(vectors, sets, tmp_path):
    said: list[str] = []
    specs = methods(noisy=ValueError)
    found = bench(vectors, sets, tmp_path, specs, report=said.append)
    assert said == ["noisy, 32 bits: left out, no such size"]
    assert ("noisy, 32 bits", "no such size") in found.skipped
    assert {row["n_seeds"] for row in found.rows if row["method"] == "noisy"} == {1}


def _without_seconds(rows):
    return [{key: row[key] for key in row if not key.endswith("seconds")} for row in rows]


def test_jobs_change_nothing(vectors, sets, tmp_path):
    asked = {"n_bits": [32, 16], "methods": ["sign", "iiq", "itq"], "seeds": 2, "sets": sets}
    said: dict[int, list[str]] = {1: [], 2: []}
    one, two = (
        run_benchmark(vectors, folder=tmp_path / str(n), n_jobs=n, report=said[n].append, **asked)
        for n in (1, 2)
    )
    assert _without_seconds(two.rows) == _without_seconds(one.rows)
    assert (two.spectra, two.skipped, two.n_run) == (one.spectra, one.skipped, one.n_run)
    assert said[2] == said[1]
    assert [line[:8] for line in said[2]] == ["sign, 16"]
    names = [sorted(path.name for path in (tmp_path / n / "cells").iterdir()) for n in "12"]
    assert names[0] == names[1]
    again = run_benchmark(vectors, folder=tmp_path / "2", n_jobs=2, **asked)
    assert (again.n_run, again.n_kept, again.rows) == (0, two.n_run, two.rows)


def test_what_cannot_be_made_is_named_once_by_several_jobs(vectors, sets, tmp_path):
    said: list[str] = []
    found = bench(vectors, sets, tmp_path, methods(noisy=ValueError), report=said.append, n_jobs=2)
    assert said == ["noisy, 32 bits: left out, no such size"]
    assert found.skipped == [("noisy, 32 bits", "no such size")]
    assert (found.n_run, len(list((tmp_path / "cells").glob("*.json")))) == (3, 3)


@pytest.mark.parametrize("fails", [KeyboardInterrupt, SystemError])
def test_jobs_that_are_ended_leave_the_finished_cells(fails, vectors, sets, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    expected, match = {
        KeyboardInterrupt: (KeyboardInterrupt, "no such size"),
        SystemError: (ChildProcessError, "ask for fewer"),
    }[fails]
    folder = tmp_path / "out"
    with pytest.raises(expected, match=match):
        bench(vectors, sets, folder, methods(noisy=fails), n_jobs=2)
    done = len(list((folder / "cells").glob("*.json")))
    assert not list((folder / "cells").glob(".*"))
    assert not list(tmp_path.glob("embcompress-*"))
    found = bench(vectors, sets, folder, methods(), n_jobs=2)
    assert (found.n_run, found.n_kept) == (4 - done, done)


def test_usable_cores():
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)


def test_benchmark_messages(vectors, sets, tmp_path):
    with pytest.raises(ValueError, match="no method 'best'; methods: float, noisy, plain"):
        run_benchmark(vectors, n_bits=[8], methods=["best"], folder=tmp_path, specs=methods())
    with pytest.raises(ValueError, match="n_bits=0 must be"):
        run_benchmark(vectors, n_bits=[0], methods=["plain"], folder=tmp_path, specs=methods())
    with pytest.raises(ValueError, match="n_jobs=0 must be at least 1"):
        run_benchmark(
            vectors, n_bits=[8], methods=["plain"], folder=tmp_path, specs=methods(), n_jobs=0
        )
    with pytest.raises(ValueError, match="one each is needed"):
        run_benchmark(vectors, n_bits=[], methods=["plain"], folder=tmp_path, specs=methods())


def test_package_methods_run(vectors, sets, tmp_path):
    found = run_benchmark(
        vectors, n_bits=[32], methods=["sign", "iiq"], folder=tmp_path, seeds=2, sets=sets
    )
    assert {row["method"] for row in found.rows} == {"float", "sign", "iiq"}
    assert found.n_run == 4


@pytest.mark.real_data
def test_small_benchmark_on_real_data(data_folder, tmp_path):
    from embcompress import load_vectors

    kv = load_vectors(data_folder / "embeddings" / "enwiki_sgns300_50k.npz", limit=5000)
    found = run_benchmark(
        kv,
        n_bits=[300],
        methods=["sign"],
        folder=tmp_path,
        seeds=1,
        tasks=["MEN", "ap", "retrieval"],
    )
    values = {
        (row["method"], row["scoring"], row["metric"]): row["value"]
        for row in found.rows
        if row["dataset"] == "mean"
    }
    assert 0.6 < values["sign", "hamming", "Spearman"] < values["float", "float", "Spearman"] < 0.8
    assert values["sign", "hamming", "recall@10"] < values["sign", "asymmetric", "recall@10"]
