"""`embcompress export --to URL` and `embcompress search --store URL`."""

from __future__ import annotations

import json

import numpy as np
import pytest
from command import run_here

from embcompress import CompressedVectors, Sign, open_store


@pytest.fixture(scope="module")
def compressed(tmp_path_factory, sample):
    path = tmp_path_factory.mktemp("stores") / "sample.safetensors"
    CompressedVectors.compress(sample, Sign()).save(path)
    return path


@pytest.fixture
def faiss_url(tmp_path):
    return f"faiss:///{tmp_path}/s.faiss"


def runs(*arguments):
    done = run_here(*arguments)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def fails(*arguments):
    done = run_here(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    return done.stderr.strip()


def test_export_and_search(url, compressed):
    text = runs("export", compressed, "--to", url, "--batch-size", 2000)
    assert "5,000 rows x 100 bits, " in text
    assert "rows/s" in text
    again = runs("export", compressed, "--to", url, "--replace", "--json")
    assert json.loads(again)["rows_in_store"] == 5000
    # the file is not needed any more, and the page is that of the file
    shown = runs("search", "--store", url, "king", "music", "-n", 3)
    assert shown == runs("search", compressed, "king", "music", "-n", 3)
    found = json.loads(runs("search", "--store", url, "king", "--json"))
    assert [item["word"] for item in found["king"]] == [
        word for word, _ in CompressedVectors.load(compressed).most_similar("king")
    ]
    with open_store(url) as store:
        assert store.info().metadata["quantizer"] == "Sign"
        assert store.info().metadata["source"].endswith("enwiki_sample_5k_100d.txt")


def test_a_matrix_of_codes(tmp_path, faiss_url):
    codes = np.random.default_rng(0).integers(0, 256, (4, 32), dtype=np.uint8)
    np.save(tmp_path / "c.npy", codes)
    np.save(tmp_path / "ids.npy", np.array([5, 6, 7, 900]))
    (tmp_path / "keys.txt").write_text("a sentence\nanother, with comma\n\nthe last\n")
    options = ["--ids", tmp_path / "ids.npy", "--keys", tmp_path / "keys.txt"]
    text = runs("export", tmp_path / "c.npy", "--n-bits", 256, *options, "--to", faiss_url)
    assert "4 rows x 256 bits" in text
    np.save(tmp_path / "more.npy", codes[:1])
    text = runs("export", tmp_path / "more.npy", "--n-bits", 256, "--to", faiss_url)
    assert "1 rows x 256 bits (5 there now)" in text
    shown = runs("search", "--store", faiss_url, "a sentence", "-n", 1)
    assert shown.splitlines()[1].split() == ["0", "1.000"]  # a row without a key, by its id
    with open_store(faiss_url) as store:
        found = store.search(codes[3:], 1)
        assert (found.ids.tolist(), found.keys) == ([[900]], [["the last"]])


def test_errors(tmp_path, compressed, faiss_url):
    np.save(tmp_path / "c.npy", np.zeros((3, 5), np.uint8))
    np.save(tmp_path / "floats.npy", np.zeros((3, 5), np.float32))
    (tmp_path / "bad.npy").write_text("no array")
    to = ("--to", faiss_url)
    for arguments, message in (
        (["export", compressed, "--to", "sqlite"], "--to 'sqlite' is not known; allowed: word2v"),
        (["export", compressed, "--to", "oracle:///x"], "no store is called 'oracle'; there are"),
        (["export", compressed, "--to", "glove"], "--to glove needs -o"),
        (["export", compressed, *to, "-o", "x"], "--output x has no use with a store"),
        (["export", compressed, "--to", "npz", "-o", "x", "--replace"], "are for stores"),
        (["export", compressed, *to, "--n-bits", 100], "--n-bits and --keys are for an .npy"),
        (["export", tmp_path / "c.npy", *to], "c.npy: a matrix of codes needs --n-bits"),
        (["export", tmp_path / "c.npy", *to, "--n-bits", 41], "41 bits need 6"),
        (["export", tmp_path / "floats.npy", *to, "--n-bits", 40], "codes has dtype float32"),
        (["export", tmp_path / "bad.npy", *to, "--n-bits", 40], "bad.npy: not a NumPy file"),
        (["export", tmp_path / "no.npy", *to, "--n-bits", 40], "no.npy: No such file"),
        (["search", "--store", faiss_url, "king"], "s.faiss: there are no codes; write some"),
        (["search", faiss_url, "king"], f"{faiss_url} is a store; write --store"),
        (["search", compressed, "king", "--store", faiss_url], "no file is named, words only"),
        (["search", compressed], "name words to look up behind the file"),
        (["search", "--store", faiss_url, "a", "--scoring", "asymmetric"], "stores compare bits"),
    ):
        assert message in fails(*arguments)
    runs("export", compressed, *to)
    assert "'kingg' is not in" in fails("search", "--store", faiss_url, "kingg")
    assert "or replace what is there with --replace" in fails(
        "export", tmp_path / "c.npy", *to, "--n-bits", 40
    )


def test_codes_of_two_bits_are_refused(tmp_path, sample, faiss_url):
    from embcompress import IIQ

    small = CompressedVectors.compress(sample, IIQ(n_bits=100, bits_per_direction=2))
    small.save(tmp_path / "two.safetensors")
    message = fails("export", tmp_path / "two.safetensors", "--to", faiss_url)
    assert "compress with bits_per_direction=1 (--bits-per-direction 1)" in message
