"""`embcompress prune`: what it prints and writes, the hand-over of masks, and its errors."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from command import run_here

import embcompress
from embcompress.cli.prune import RecipeName


def fails(*arguments):
    done = run_here("prune", *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr.removeprefix("embcompress: ").strip()


def test_without_torch(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in [n for n in sys.modules if n.startswith(("embcompress.heads", "embcompress.prun"))]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("heads", "pruning"):  # known to the package where a test before imported them
        monkeypatch.delitem(vars(embcompress), name, raising=False)
    arguments = ("h.safetensors", "--recipe", "pcnn", "--data", "d.npz", "-o", tmp_path / "o")
    assert 'pip install "embcompress[torch]"' in fails(*arguments)


torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A trained head, and its data."""
    from embcompress.heads import MLPHead

    folder = tmp_path_factory.mktemp("prune")
    rng = np.random.default_rng(0)
    y = np.array(["no", "yes", "maybe"])[np.arange(150) % 3]
    X = rng.normal(size=(150, 16)) + 2.0 * (np.arange(150) % 3 - 1)[:, None]
    np.savez(folder / "data.npz", X=X, y=y)
    MLPHead((24,), max_epochs=20, learning_rate=0.01, random_state=0).fit(X, y).save(
        folder / "head.safetensors"
    )
    return folder


def test_recipes_have_their_names():
    from embcompress.pruning.recipes import RECIPES

    assert {str(name) for name in RecipeName} == set(RECIPES)


def test_recipe(folder, tmp_path):
    from embcompress import heads

    target = tmp_path / "small.safetensors"
    common = ("prune", folder / "head.safetensors", "--recipe", "reweighted-unified")
    more = ("--rate", 4, "--data", folder / "data.npz", "--epochs", 5, "-o", target)
    done = run_here(*common, *more)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["layer", "kept", "weights", "rate"]
    # the rates of the layers are chosen, that of all is what was asked for
    assert lines[1].split()[::2] == ["layers.0.weight", "384"]
    assert lines[3].split() == ["all", "114", "456", "4.00x"]
    assert lines[-2].startswith("accuracy  ")
    assert "(30 rows kept aside)" in lines[-2]
    assert lines[-1] == f"written   {target}"
    small = heads.load(target)
    kept = {name: int(mask.sum()) for name, mask in small.masks_.items() if mask.ndim == 2}
    assert sum(kept.values()) == 114
    assert lines[1].split()[1] == str(kept["layers.0.weight"])
    with np.load(folder / "data.npz") as data:
        assert small.score(data["X"], data["y"]) > 0.8

    written = target.read_bytes()
    done = run_here(*common, *more, "--json")
    summary = json.loads(done.stdout)
    assert summary["rate"] == 4.0
    assert summary["layers"]["layers.3.weight"]["n_kept"] == kept["layers.3.weight"]
    assert summary["rows_aside"] == 30
    assert 0.7 < summary["accuracy_after"] <= 1
    assert target.read_bytes() == written  # same seed, same file
    run_here(*common, *more, "--seed", 1)
    assert target.read_bytes() != written


@pytest.mark.parametrize("recipe", RecipeName)
def test_every_recipe(folder, tmp_path, recipe):
    from embcompress import heads

    arguments = ("prune", folder / "head.safetensors", "--recipe", recipe, "--rate", 3)
    more = ("--data", folder / "data.npz", "--epochs", 2, "-o", tmp_path / "small.safetensors")
    done = run_here(*arguments, *more)
    assert (done.returncode, done.stderr) == (0, "")
    rate = heads.load(tmp_path / "small.safetensors").masks_.rate
    assert rate == pytest.approx(3, rel=0.15)


def test_masks_are_handed_over(folder, tmp_path):
    from embcompress import heads
    from embcompress.pruning import Masks

    # the designer, who has no data
    head, masks = folder / "head.safetensors", tmp_path / "masks.safetensors"
    private = ("--recipe", "privacy-preserving", "--rate", 3, "--epochs", 4, "--masks", masks)
    done = run_here("prune", head, *private, "-o", tmp_path / "designer.safetensors", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["accuracy_after"] is None
    # the client, who has no recipe
    target = tmp_path / "client.safetensors"
    data = ("--data", folder / "data.npz")
    done = run_here("prune", head, "--apply-masks", masks, *data, "-o", target, "--epochs", 8)
    assert done.returncode == 0, done.stderr
    client = heads.load(target)
    assert Masks(client.masks_) == Masks.load(masks)
    with np.load(folder / "data.npz") as arrays:
        assert client.score(arrays["X"], arrays["y"]) > 0.8


def test_errors(folder, tmp_path):
    head, data = folder / "head.safetensors", ("--data", folder / "data.npz")
    target = ("-o", tmp_path / "out.safetensors")
    recipe = ("--recipe", "rtmobile")
    assert fails(head, *data, *target).startswith("either --recipe or --apply-masks is needed")
    assert "--data is needed" in fails(head, *recipe, *target)
    assert "--holdout 1.0 must be" in fails(head, *recipe, *data, *target, "--holdout", 1)
    assert "leave out --rate" in fails(head, "--apply-masks", "m", *data, *target, "--rate", 2)
    assert "rtmobil" in fails(head, "--recipe", "rtmobil", *data, *target)
    assert "rate=0.5 must be more than 1" in fails(head, *recipe, *data, *target, "--rate", 0.5)
    assert "not 5000" in fails(head, *recipe, *data, *target, "--rate", 5000)
    assert "the output folder does not exist" in fails(head, *recipe, *data, "-o", "no/such/file")
    assert "same file" in fails(head, *recipe, *data, "-o", head)
    assert "No such file" in fails(tmp_path / "none", *recipe, *data, *target)
    assert "No such file" in fails(head, *recipe, "--data", tmp_path / "none", *target)
    assert fails(folder / "data.npz", *recipe, *data, *target)
    assert not (tmp_path / "out.safetensors").exists()


def test_bad_data(folder, tmp_path):
    head, target = folder / "head.safetensors", ("-o", tmp_path / "out.safetensors")

    def message(name="bad.npz", **arrays):
        path = tmp_path / name
        if arrays:
            np.savez(path, **arrays)
        return fails(head, "--recipe", "pcnn", "--data", path, *target)

    assert "no array y; arrays: X" in message(X=np.ones((3, 2)))
    assert "X has shape (3, 2) and y (2,)" in message(X=np.ones((3, 2)), y=np.ones(2))
    assert "plain arrays X and y" in message(X=np.ones((3, 2)), y=np.array([1, "a", None], object))
    assert "16 features" in message(X=np.ones((9, 2)), y=np.array(["no", "yes", "maybe"] * 3))
    assert "too few to keep" in message(X=np.ones((2, 16)), y=np.array(["no", "yes"]))
    (tmp_path / "text.npz").write_text("not an archive")
    assert "not an .npz file" in message("text.npz")
    (tmp_path / "cut.npz").write_bytes((folder / "data.npz").read_bytes()[:500])
    assert "not an .npz file" in message("cut.npz")
    np.save(tmp_path / "one.npy", np.ones(3))
    assert "not an .npz file" in message("one.npy")
    other = tmp_path / "masks.safetensors"
    from embcompress.pruning import Masks

    Masks({"layers.0.weight": torch.ones(2, 3, dtype=torch.bool)}).save(other)
    arguments = ("--apply-masks", other, "--data", folder / "data.npz")
    assert "masks for another model" in fails(head, *arguments, *target)
