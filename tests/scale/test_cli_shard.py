"""The command `embcompress shard`: what it prints, how it resumes, and what it refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest
from command import run_here

from embcompress import IIQ, scale
from embcompress.scale import shards as shards_module

ROWS = np.random.default_rng(0).normal(size=(5000, 16)).astype(np.float32)


def shard(*arguments):
    done = run_here("shard", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def fails(*arguments):
    done = run_here(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr.removeprefix("embcompress: ").strip()


@pytest.fixture
def rows(tmp_path):
    np.save(tmp_path / "rows.npy", ROWS)
    return tmp_path / "rows.npy"


@pytest.fixture
def table(tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    column = pa.FixedSizeListArray.from_arrays(pa.array(ROWS.ravel()), 16)
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"a": column, "b": column, "x": ROWS[:, 0], "y": ROWS[:, 1]}), path)
    return path


def test_a_matrix_becomes_shards(rows, tmp_path):
    text = shard(rows, "-o", tmp_path / "s", "--rows-per-shard", "2000")
    lines = dict(line.split("  ", 1) for line in text.splitlines())
    assert lines["vectors"].strip() == "5,000 x 16 dimensions"
    assert lines["codes"].strip() == "16 bits, IIQ"
    assert lines["shards"].strip() == "3"
    expected = IIQ(random_state=0).fit(ROWS).transform(ROWS)
    np.testing.assert_array_equal(scale.open_shards(tmp_path / "s")[:], expected)
    assert run_here("info", tmp_path / "s").stdout.splitlines()[:3] == text.splitlines()[:3]
    found = json.loads(run_here("info", "--json", tmp_path / "s").stdout)
    assert (found["vectors"], found["complete"], found["shards"]) == (5000, True, 3)


def test_columns_of_a_table(table, tmp_path):
    message = fails("shard", table, "-o", tmp_path / "s")
    assert message == "rows.parquet: name one of the columns of lists: a, b"
    found = json.loads(shard(table, "-o", tmp_path / "s", "--column", "b", "--json"))
    assert (found["vectors"], found["dimensions"]) == (5000, 16)
    found = json.loads(shard(table, "-o", tmp_path / "t", "--column", "x,y", "--json"))
    assert found["dimensions"] == 2


def test_words_are_left_out(sample_path, tmp_path):
    found = json.loads(
        shard(sample_path, "-o", tmp_path / "s", "--fit-rows", "500", "--quantizer", "lsh",
              "--bits", "40", "--json")
    )  # fmt: skip
    assert (found["vectors"], found["bits"], found["quantizer"]) == (5000, 40, "LSH")


def test_ctrl_c_and_again(rows, tmp_path, monkeypatch):
    save = shards_module.save_shard

    def failing(folder, number, *rest):
        if number == 1:
            raise KeyboardInterrupt
        return save(folder, number, *rest)

    arguments = (rows, "-o", tmp_path / "s", "--rows-per-shard", "2000")
    with monkeypatch.context() as patch:
        patch.setattr(shards_module, "save_shard", failing)
        done = run_here("shard", *arguments)
    assert done.returncode == 130
    assert done.stderr.strip().endswith("s, the same command goes on from there")
    info = run_here("info", tmp_path / "s").stdout
    assert "1, not complete: run the command again to go on" in info
    monkeypatch.setattr(scale, "fit", None)  # no second fit
    shard(*arguments)
    expected = IIQ(random_state=0).fit(ROWS).transform(ROWS)
    np.testing.assert_array_equal(scale.open_shards(tmp_path / "s")[:], expected)


def test_other_options_are_refused(rows, tmp_path):
    shard(rows, "-o", tmp_path / "s")
    assert "other options (n_bits was None)" in fails("shard", rows, "-o", tmp_path / "s",
                                                      "--bits", "8")  # fmt: skip
    message = fails("shard", rows, "-o", tmp_path / "s", "--rows-per-shard", "7")
    assert "have 1048576 rows, --rows-per-shard 7 was asked for" in message
    np.save(rows, ROWS + 1)
    assert "another source (crc32 differ)" in fails("shard", rows, "-o", tmp_path / "s")


def test_what_cannot_be_sharded(rows, table, tmp_path):
    none = tmp_path / "none"
    assert fails("shard", rows, "-o", none / "s") == f"{none}: the output folder does not exist"
    assert "No such file" in fails("shard", tmp_path / "none.npy", "-o", tmp_path / "s")
    assert "is no table" in fails("shard", rows, "-o", tmp_path / "s", "--column", "v")
    message = fails("compress", table, "-o", tmp_path / "x.safetensors")
    assert message.endswith("a table of vectors without words; use embcompress shard for it")
    assert "manifest.json" in fails("info", tmp_path)
