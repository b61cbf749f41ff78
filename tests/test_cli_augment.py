"""`embcompress augment` and `train-head`: what they print and write, and their errors."""

from __future__ import annotations

import json

import numpy as np
import pytest
from command import run_here

from embcompress.augmentation import EmbeddingAugmenter


def works(*arguments):
    done = run_here(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def fails(*arguments):
    done = run_here(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr.removeprefix("embcompress: ").strip()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pairs, labelled embeddings in several forms, and a fitted augmenter."""
    folder = tmp_path_factory.mktemp("augment")
    rng = np.random.default_rng(0)
    y = np.array(["no", "yes", "maybe"])[np.arange(150) % 3]
    Z = (rng.normal(size=(150, 8)) + 3 * np.eye(8)[np.arange(150) % 3]).astype(np.float32)
    turned = Z + np.linspace(0, 1, 150)[:, None] * (1 - Z)
    params = np.linspace(0, 1, 150)
    np.savez(folder / "pairs.npz", Z=Z, Z_flip=Z[:, ::-1], Z_dim=turned, params_dim=params)
    np.save(folder / "Z.npy", Z)
    np.save(folder / "Z_flip.npy", Z[:, ::-1])
    np.savez(folder / "data.npz", X=Z, y=y)
    (folder / "labels.txt").write_text("\n".join(y) + "\n")
    np.save(folder / "labels.npy", y)
    works(
        "augment",
        "fit",
        folder / "pairs.npz",
        "-o",
        folder / "a.safetensors",
        "--operator",
        "ridge",
    )
    return folder


def test_fit(folder, tmp_path):
    target = tmp_path / "a.safetensors"
    out = works(
        "augment", "fit", folder / "pairs.npz", "-o", target, "--operator", "ridge"
    ).splitlines()
    assert out[0].split() == [
        "augmentation", "operator", "unexplained", "strength", "cosine", "without",
    ]  # fmt: skip
    assert out[1].split()[:3] == ["flip", "ResidualRidge", "0.000"]
    assert out[2].split()[:2] == ["dim", "ParameterConditioned"]
    assert out[-2:] == ["pairs    150", f"written  {target}"]
    assert (folder / "a.safetensors").read_bytes() == target.read_bytes()
    split = [folder / "Z.npy", folder / "Z_flip.npy"]
    options = ("--operator", "lowrank", "--noise", "bank", "--normalize", "--json")
    summary = json.loads(works("augment", "fit", *split, "-o", target, *options))
    assert summary["operators"]["flip"]["operator"] == "LowRank"
    loaded = EmbeddingAugmenter.load(target)
    assert (loaded.noise, loaded.normalize, loaded.names_) == ("bank", True, ["flip"])


def test_operators_have_their_names():
    from embcompress.augmentation.forms import FORMS
    from embcompress.cli.augment import OperatorName

    # the form by strength is chosen where the pairs have strengths
    assert {str(name) for name in OperatorName} == set(FORMS) - {"conditioned"}


def test_weak_operators_are_noted(folder, tmp_path):
    target = tmp_path / "a.safetensors"
    done = run_here("augment", "fit", folder / "Z.npy", folder / "Z_flip.npy", "--operator",
                    "offset", "-o", target)  # fmt: skip
    assert done.returncode == 0
    assert "embcompress: note: operators leave much of the displacement" in done.stderr
    assert target.exists()


def test_apply(folder, tmp_path):
    target = tmp_path / "views.npz"
    with np.load(folder / "data.npz") as data:
        X, y = data["X"], data["y"]
    out = works("augment", "apply", folder / "a.safetensors", folder / "data.npz", "-o", target)
    assert out.splitlines()[0] == "rows     150 -> 450 (8 dimensions)"
    with np.load(target) as file:
        np.testing.assert_array_equal(file["X"][:150], X)
        assert file["X"].dtype == np.float32
        np.testing.assert_array_equal(file["y"], np.tile(y, 3))
    only = ("--name", "flip", "--views", 2, "--no-originals")
    works("augment", "apply", folder / "a.safetensors", folder / "Z.npy", "-o", target, *only)
    with np.load(target) as file:
        assert file.files == ["X"]
        np.testing.assert_allclose(file["X"], np.tile(X[:, ::-1], (2, 1)), atol=0.02)


def test_errors_of_fit_and_apply(folder, tmp_path):
    out = ("-o", tmp_path / "o.safetensors")
    assert "arrays Z and Z_NAME are needed, such as Z_flip; found: X, y" in fails(
        "augment", "fit", folder / "data.npz", *out
    )
    assert "there is an array 'Z' in a file before it too" in fails(
        "augment", "fit", folder / "pairs.npz", folder / "Z.npy", *out
    )
    assert "not an .npy or .npz file" in fails("augment", "fit", folder / "labels.txt", *out)
    assert "No such file" in fails("augment", "fit", folder / "nothing.npz", *out)
    np.savez(tmp_path / "short.npz", Z=np.zeros((5, 2)), Z_flip=np.zeros((4, 2)))
    assert "views 'flip' have shape (4, 2), Z has (5, 2)" in fails(
        "augment", "fit", tmp_path / "short.npz", *out
    )
    np.savez(tmp_path / "lost.npz", Z=np.zeros((5, 2)), Z_a=np.ones((5, 2)), params_b=np.zeros(5))
    assert "params_b has no array Z_b" in fails("augment", "fit", tmp_path / "lost.npz", *out)
    views = ("-o", tmp_path / "o.npz")
    fitted = folder / "a.safetensors"
    assert "no operator is called 'flop'; fitted are flip, dim" in fails(
        "augment", "apply", fitted, folder / "Z.npy", *views, "--name", "flop"
    )
    assert "the output is an .npz file" in fails("augment", "apply", fitted, folder / "Z.npy", *out)
    np.save(tmp_path / "wide.npy", np.zeros((3, 9)))
    assert "X has 9 features" in fails("augment", "apply", fitted, tmp_path / "wide.npy", *views)
    np.savez(tmp_path / "odd.npz", A=np.zeros((5, 8)), B=np.ones((5, 8)))
    assert "one array X or Z is needed; arrays: A, B" in fails(
        "augment", "apply", fitted, tmp_path / "odd.npz", *views
    )
    assert not (tmp_path / "o.npz").exists()


def test_train_head(folder, tmp_path):
    pytest.importorskip("torch")
    from embcompress import heads

    target = tmp_path / "head.safetensors"
    common = ("-o", target, "--epochs", 30, "--learning-rate", 0.01)
    out = works("train-head", folder / "data.npz", *common).splitlines()
    assert out[0] == "head        LinearHead"
    assert out[1] == "trained on  120 rows, 3 classes"
    assert out[2].endswith("on 30 rows kept aside")
    assert out[3] == f"written     {target}"
    augmented = ("--augmenter", folder / "a.safetensors", "--views", 2, "--json")
    data = (folder / "Z.npy", "--labels", folder / "labels.txt")
    for head in (("--head", "mlp", "--hidden", 16), ("--head", "linear")):
        summary = json.loads(works("train-head", *data, *common, *head, *augmented))
        assert summary["validation_accuracy"] > 0.6
        assert (summary["views"], summary["rows_aside"]) == (2, 30)
    first = target.read_bytes()
    works("train-head", folder / "Z.npy", "--labels", folder / "labels.npy", *common, *augmented)
    assert target.read_bytes() == first  # same seed, same file
    assert list(heads.load(target).classes_) == ["maybe", "no", "yes"]


def test_train_head_on_sequences(tmp_path):
    pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(60, 5, 3)) + (np.arange(60) % 2)[:, None, None]).astype(np.float32)
    np.savez(tmp_path / "s.npz", X=X, y=np.arange(60) % 2)
    common = ("train-head", tmp_path / "s.npz", "--head", "gru", "--epochs", 5, "--hidden", 8)
    out = works(*common, "-o", tmp_path / "g.safetensors")
    assert out.startswith("head        GRUHead")
    fitted = tmp_path / "a.safetensors"
    np.savez(tmp_path / "p.npz", Z=np.eye(3), Z_a=np.eye(3) + 1)
    works("augment", "fit", tmp_path / "p.npz", "-o", fitted, "--holdout", 0, "--operator", "bank")
    message = fails(*common, "-o", tmp_path / "g.safetensors", "--augmenter", fitted)
    assert "--augmenter moves rows of numbers; X has shape (48, 5, 3)" in message


def test_errors_of_train_head(folder, tmp_path):
    out = ("-o", tmp_path / "h.safetensors")
    Z, data = folder / "Z.npy", folder / "data.npz"
    assert "--labels is needed with an .npy file" in fails("train-head", Z, *out)
    assert "--views needs --augmenter" in fails("train-head", data, *out, "--views", 3)
    assert "--holdout 1.5 must be between" in fails("train-head", data, *out, "--holdout", 1.5)
    (tmp_path / "few.txt").write_text("a\nb\n")
    assert "2 labels for the 150 rows" in fails(
        "train-head", Z, "--labels", tmp_path / "few.txt", *out
    )
    (tmp_path / "none.txt").write_text("")
    assert "labels have shape (0,)" in fails("train-head", Z, "--labels", tmp_path / "none.txt",
                                             *out)  # fmt: skip
    assert "No such file" in fails("train-head", folder / "no.npz", *out)


def test_a_linear_head_has_no_hidden_layer(folder, tmp_path):
    pytest.importorskip("torch")
    out = ("-o", tmp_path / "h.safetensors")
    message = fails("train-head", folder / "data.npz", *out, "--hidden", 4)
    assert "a linear head has no hidden layer" in message
    assert "not an .npz file of plain arrays X and y" in fails("train-head", folder / "labels.txt",
                                                               *out)  # fmt: skip
