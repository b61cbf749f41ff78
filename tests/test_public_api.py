from __future__ import annotations

import importlib.util
import inspect
import subprocess
import sys

import pytest

import embcompress

HEAVY = ["torch", "gensim", "numba", "faiss", "sklearn", "matplotlib", "dask", "pandas", "scipy"]


HAS_TORCH = importlib.util.find_spec("torch") is not None
NEEDS_TORCH = {"heads", "pruning"}


def modules_after(code: str) -> set[str]:
    """Names of the top-level packages that a fresh interpreter has loaded after `code`."""
    program = f"{code}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_all_is_sorted_and_every_name_is_there():
    # ruff's order: constants and classes by name, then functions
    named = {*embcompress._LAZY, *embcompress._MODULES, "__version__"}
    assert named == set(embcompress.__all__)
    for name in embcompress.__all__:
        if name not in NEEDS_TORCH or HAS_TORCH:
            assert getattr(embcompress, name) is not None
    assert set(embcompress.__all__) <= set(dir(embcompress))


def test_unknown_name():
    with pytest.raises(AttributeError, match="module 'embcompress' has no attribute 'Nothing'"):
        embcompress.Nothing  # noqa: B018


@pytest.mark.parametrize("name", [n for n in embcompress.__all__ if not n.startswith("_")], ids=str)
def test_public_things_are_documented(name):
    if name in NEEDS_TORCH and not HAS_TORCH:
        pytest.skip("torch is not installed")
    thing = getattr(embcompress, name)
    assert inspect.getdoc(thing)
    if inspect.isclass(thing):
        for attribute, value in vars(thing).items():
            if not attribute.startswith("_") and callable(value):
                assert inspect.getdoc(getattr(thing, attribute)), f"{name}.{attribute}"


@pytest.mark.skipif(HAS_TORCH, reason="torch is installed")
@pytest.mark.parametrize("name", sorted(NEEDS_TORCH))
def test_without_torch_the_message_says_how_to_get_it(name):
    with pytest.raises(ImportError, match=r'needs torch.*pip install "embcompress\[torch\]"'):
        getattr(embcompress, name)


def test_import_loads_nothing_heavy():
    loaded = modules_after("import embcompress")
    assert not loaded & {*HEAVY, "numpy"}


def test_opening_and_asking_a_file_loads_little(tmp_path, sample):
    small = embcompress.CompressedVectors.compress(sample, embcompress.Sign())
    small.save(tmp_path / "s.safetensors")
    loaded = modules_after(
        "from embcompress import CompressedVectors\n"
        f"small = CompressedVectors.load({str(tmp_path / 's.safetensors')!r})\n"
        "small.similarity('king', 'queen')"
    )
    assert not loaded & set(HEAVY)


def test_help_loads_nothing_heavy():
    loaded = modules_after(
        "import sys\nsys.argv = ['embcompress', '--help']\n"
        "from embcompress.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass"
    )
    assert not loaded & {*HEAVY, "numpy"}
