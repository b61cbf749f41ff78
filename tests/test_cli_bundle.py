"""`embcompress bundle` and `predict`: what they print and write, and their errors."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from command import run_here
from small_bundle import LABELS, TEXTS, graph

import embcompress
from embcompress import IIQ, Bundle, CompressedVectors, runtime
from embcompress.cli import bundle as command


def fails(*arguments):
    done = run_here(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr.removeprefix("embcompress: ").strip()


def prints(*arguments):
    done = run_here(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory, sample):
    """Vectors, a program on their means, and the bundle of both."""
    folder = tmp_path_factory.mktemp("bundle")
    small = CompressedVectors.compress(sample, IIQ(n_bits=128, random_state=0))
    small.save(folder / "vectors.safetensors")
    runtime.compile(graph(small)).save(folder / "program.safetensors")
    runtime.compile(graph(small, "codes")).save(folder / "codes.safetensors")
    done = run_here(
        "bundle", folder / "vectors.safetensors", folder / "program.safetensors",
        "-o", folder / "bundle.safetensors",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    (folder / "bundle.txt").write_text(done.stdout)
    np.save(folder / "X.npy", embcompress.TextVectors(small).transform(TEXTS))
    (folder / "texts.txt").write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    return folder


def test_bundle_says_where_the_bytes_go(folder):
    lines = (folder / "bundle.txt").read_text().splitlines()
    assert lines[0] == "words      5,000"
    assert lines[1] == "codes      128 bits; a text is the mean of decoded vectors"
    assert lines[2] == "classes    royal, wet"
    assert [line.split()[0] for line in lines[3:9]] == [
        "bytes", "codes", "words", "decoder", "program", "header",
    ]  # fmt: skip
    assert "2x100" in lines[-2]
    assert prints("info", folder / "bundle.safetensors").splitlines()[:3] == lines[:3]


def test_bundle_as_json(folder, tmp_path):
    target = tmp_path / "b.safetensors"
    arguments = (folder / "vectors.safetensors", folder / "codes.safetensors", "-o", target)
    more = ("--features", "codes", "--max-words", 2000, "--json")
    found = json.loads(prints("bundle", *arguments, *more))
    assert (found["words"], found["bits"], found["features"]) == (2000, 128, "codes")
    assert found["classes"] == ["royal", "wet"]
    assert found["file_bytes"] == target.stat().st_size == sum(found["parts"].values())
    assert found["layers"][0]["shape"] == [2, 128]
    assert found == json.loads(prints("info", target, "--json"))


def test_predict_texts(folder):
    model = folder / "bundle.safetensors"
    assert prints("predict", model, *TEXTS).split() == LABELS
    assert prints("predict", model, "--input", folder / "texts.txt").split() == LABELS
    lines = prints("predict", model, "the king", "--proba").splitlines()
    assert lines[0].split("\t") == ["class", "royal", "wet"]
    label, first, second = lines[1].split("\t")
    assert label == "royal"
    assert float(first) + float(second) == pytest.approx(1, abs=2e-4)


def test_predict_standard_input(folder, monkeypatch):
    text = "the river\r\n\nKÖNIG king\n".encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text), encoding="ascii"))
    done = run_here("predict", folder / "bundle.safetensors", "--input", "-", "--json")
    found = json.loads(done.stdout)
    assert [row["text"] for row in found] == ["the river", "", "KÖNIG king"]
    assert [row["known_words"] for row in found] == [2, 0, 1]
    assert (found[0]["class"], found[2]["class"]) == ("wet", "royal")
    assert done.stderr == (
        "embcompress: 1 of 3 texts have no word that the model knows; their class is that of no "
        "words\n"
    )


def test_predict_as_json(folder):
    found = json.loads(prints("predict", folder / "bundle.safetensors", "the king", "--json"))
    assert found == [{"text": "the king", "class": "royal", "known_words": 2}]
    more = ("the king", "--json", "--proba")
    found = json.loads(prints("predict", folder / "bundle.safetensors", *more))
    bundle = Bundle.load(folder / "bundle.safetensors")
    expected = bundle.predict_proba(["the king"])[0]
    assert list(found[0]["probabilities"]) == ["royal", "wet"]
    assert list(found[0]["probabilities"].values()) == pytest.approx(expected, abs=1e-6)


def test_predict_rows(folder, tmp_path):
    program = folder / "program.safetensors"
    assert prints("predict", program, "--input", folder / "X.npy").split() == LABELS
    X = np.load(folder / "X.npy")
    np.savez(tmp_path / "one.npz", rows=X)
    np.savez(tmp_path / "two.npz", X=X, y=X)
    for name in ("one", "two"):
        found = json.loads(prints("predict", program, "-i", tmp_path / f"{name}.npz", "--json"))
        assert [row["class"] for row in found] == LABELS
    lines = prints("predict", program, "-i", folder / "X.npy", "--proba").splitlines()
    assert lines[0].split("\t") == ["class", "royal", "wet"]
    assert len(lines) == 1 + len(TEXTS)


def test_predict_loads_little(folder):
    code = (
        "import sys\nfrom unittest import mock\nfrom embcompress.cli import main\n"
        f"sys.argv = ['embcompress', 'predict', {str(folder / 'bundle.safetensors')!r}, 'king']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    label, modules = done.stdout.splitlines()
    assert label == "royal"
    assert not {"torch", "sklearn", "faiss", "pandas"} & set(modules.split())


def test_a_saved_head(folder, tmp_path):
    pytest.importorskip("torch")
    from embcompress.heads import MLPHead

    if not hasattr(MLPHead, "layer_graph"):
        pytest.skip("heads are not translated to layers yet")
    X = np.load(folder / "X.npy")
    head = MLPHead((8,), max_epochs=200, learning_rate=0.01, random_state=0).fit(X, LABELS)
    head.save(tmp_path / "head.safetensors")
    arguments = (folder / "vectors.safetensors", tmp_path / "head.safetensors")
    target = tmp_path / "b.safetensors"
    for more in ((), ("--precision", "int8")):
        prints("bundle", *arguments, "-o", target, *more)
        bundle = Bundle.load(target)
        np.testing.assert_allclose(bundle.predict_proba(TEXTS), head.predict_proba(X), atol=0.03)
    layers = json.loads(prints("info", target, "--json"))["layers"]
    assert {layer["precision"] for layer in layers} == {"int8"}


def test_errors_of_bundle(folder, tmp_path, sample_path):
    vectors, program = folder / "vectors.safetensors", folder / "program.safetensors"
    target = ("-o", tmp_path / "b.safetensors")
    message = fails("bundle", program, vectors, *target)
    assert message == f"{program}: holds a compiled program; expected: compressed vectors"
    message = fails("bundle", vectors, folder / "bundle.safetensors", *target)
    assert message.endswith("holds a bundle; expected: a head or a compiled program")
    message = fails("bundle", sample_path, program, *target)
    assert "not a safetensors file" in message
    assert message.endswith("expected: compressed vectors (embcompress compress makes them)")
    message = fails("bundle", vectors, folder / "codes.safetensors", *target)
    assert "the head takes 128 numbers, but the mean of decoded vectors has 100" in message
    assert message.endswith("the mean of the whole numbers of codes has 128: --features codes")
    message = fails("bundle", vectors, program, *target, "--precision", "int8")
    assert message == f"{program}: a program has its precision; leave out --precision"
    message = fails("bundle", vectors, program, "-o", vectors)
    assert "input and output are the same file" in message
    assert "No such file" in fails("bundle", tmp_path / "none", program, *target)
    assert list(tmp_path.iterdir()) == []


def test_errors_of_predict(folder, tmp_path):
    model, program = folder / "bundle.safetensors", folder / "program.safetensors"
    assert fails("predict", model).startswith("no text was given; write it after the file")
    message = fails("predict", model, "text", "--input", folder / "texts.txt")
    assert message == "texts came as arguments and by --input; give one of them"
    message = fails("predict", folder / "vectors.safetensors", "text")
    assert "holds 'vectors'; predict takes what embcompress bundle or program.save" in message
    assert "a program without words" in fails("predict", program, "text")
    assert "--input X.npy" in fails("predict", program)
    assert "not an .npy or .npz" in fails("predict", program, "-i", folder / "texts.txt")
    np.savez(tmp_path / "two.npz", a=np.zeros(3), b=np.zeros(3))
    assert "no array X; arrays: a, b" in fails("predict", program, "-i", tmp_path / "two.npz")
    np.save(tmp_path / "narrow.npy", np.zeros((2, 3)))
    message = fails("predict", program, "-i", tmp_path / "narrow.npy")
    assert message == "x has shape (2, 3); the program takes (n, 100)"
    assert "No such file" in fails("predict", model, "--input", tmp_path / "none.txt")
    (tmp_path / "cut.safetensors").write_bytes(model.read_bytes()[:-50])
    assert "not a complete safetensors file" in fails("predict", tmp_path / "cut.safetensors", "a")


@pytest.mark.parametrize("name", ["bundle", "predict"])
def test_help(name):
    text = prints(name, "--help")
    assert "PyTorch" in text
    assert f"Usage: embcompress {name}" in text


def test_a_wait_is_explained_once(monkeypatch, tmp_path):
    terminal = SimpleNamespace(isatty=lambda: True, write=lambda text: told.append(text))
    monkeypatch.setattr(command.sys, "stderr", terminal)
    monkeypatch.setattr(command, "__file__", str(tmp_path / "cli" / "bundle.py"))
    kernels = tmp_path / "runtime" / "kernels"
    (kernels / "__pycache__").mkdir(parents=True)
    told = []
    command.tell_about_compiling()
    assert told == ["Compiling the kernels for this machine; this is done once ...\n"]
    (kernels / "__pycache__" / "machine.run-33.py311.nbi").touch()
    command.tell_about_compiling()
    assert len(told) == 1
